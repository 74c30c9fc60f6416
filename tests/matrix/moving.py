"""The projects that there can be under a policy, and what a printed command makes of one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import islice, product

from matrix.doctored import MANAGERS, shipped_data
from torch_template.build import Asked, Build
from torch_template.matrix.facts import COMPANIONS, all_series
from torch_template.matrix.model import Matrix
from torch_template.menus import (
    Choice,
    compute_platform_choices,
    python_choices,
    torch_package_choices,
    torch_version_choices,
    why_not,
)
from torch_template.resolving import find_build

FIELDS = {
    "python_version": "python",
    "compute_platform": "compute_platform",
    "torch_version": "torch",
    "torch_packages": "packages",
}


@cache
def with_policy(name: str) -> Matrix:
    """The shipped facts, under one of the policies."""
    facts = shipped_data()
    policy = facts["policy"]
    if name == "without cpu":
        policy["compute_platforms"] |= {"offered": ["cu130", "cu126"], "default": "cu130"}
    if name == "with retirements":
        retired = {"cu118": "cu126", "cu121": "cu126", "rocm6.4": "cpu"}
        policy["compute_platforms"]["retired"] = retired
        policy["python"]["retired"] = {"3.10": "3.14", "3.11": "3.13"}
    return Matrix.model_validate(facts)


def projects(matrix: Matrix, every: int = 1) -> Iterator[Build]:
    """The build of every project that there can be, also of those that have what is retired.

    `every`: of so many answers one; a prime meets all of each question.
    """
    menus = matrix.policy
    names = dict.fromkeys([*menus.compute_platforms.offered, *menus.compute_platforms.retired])
    series = ("latest", *all_series(matrix))
    answers = product(MANAGERS, menus.python.offered, names, series)
    for manager, python, name, torch in islice(answers, 0, None, every):
        asked = Asked(manager, python, name, torch, COMPANIONS)
        if build := find_build(matrix, asked):
            had = tuple(one for one in COMPANIONS if one in build.versions)
            yield replace(build, asked=replace(asked, packages=had))


def follow(asked: Asked, command: str) -> Asked:
    """The answers of a project after a command."""
    words = shlex.split(command)
    assert words[:4] == ["copier", "update", "--trust", "--defaults"]
    given = [words[n + 1] for n, word in enumerate(words) if word == "--data"]
    for answer in given:
        question, _, value = answer.partition("=")
        packages = tuple(one for one in value.strip("[]").split(", ") if one)
        changed = {FIELDS[question]: packages if question == "torch_packages" else value}
        asked = replace(asked, **changed)  # type: ignore[arg-type]
    assert given, command
    return asked


def refusals(matrix: Matrix, old: Asked, new: Asked) -> list[str]:
    """Why an update to these answers would stop, question by question, as Copier asks them."""
    menus: list[tuple[list[Choice], object]] = [
        (python_choices(matrix, old.python), new.python),
        (compute_platform_choices(matrix, new, old.compute_platform), new.compute_platform),
        (torch_version_choices(matrix, new), new.torch),
        *((torch_package_choices(matrix, new, old.packages), one) for one in new.packages),
    ]
    return [sentence for choices, value in menus if (sentence := why_not(choices, value))]
