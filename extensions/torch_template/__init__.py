"""The template's own logic: from answers to a build, and to the lines of files that carry it.

Each module imports only those that stand above it here:

    matrix/  what PyTorch has published, and what is on offer here
    build  what a build is
    managers/  what each package manager can do, and the lines that it gets
    resolving  from answers to the build that fits
    reasons  why none fits, and the way out
    moves  the commands that take a project to another build, and what they change
    notes  what an update tells the owner
    menus, torch_builds, answers, given, machine_hint, template_cache
    questions  the menus, defaults and refusals of copier.yml's questions
    template_globals  what copier.yml and the templates call
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment

from .matrix.loading import load_matrix
from .template_cache import cache_templates
from .template_globals import TemplateGlobals


def read_facts() -> None:
    """Read what will be asked for, while the folder is there.

    Raises:
        UserMessageError: if the matrix is broken.
    """
    load_matrix()


def register(environment: Environment, template: Path) -> None:
    """Make an environment one of this template, whose folder is given."""
    cache_templates(environment)
    TemplateGlobals(template).register(environment)
