"""Render a project from this template, as `copier copy` does."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import copier
from copier.errors import DirtyLocalWarning

ROOT = Path(__file__).parents[2]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def render(destination: Path, **answers: object) -> Path:
    """A new project in `destination`, for the running Python unless the answers name another."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DirtyLocalWarning)
        copier.run_copy(
            str(ROOT),
            destination,
            data={"python_version": PYTHON, "ci": "none"} | answers,
            defaults=True,
            quiet=True,
            unsafe=True,
            vcs_ref="HEAD",
        )
    return destination
