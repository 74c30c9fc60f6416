"""Versions of the template: a git repository whose matrix and rules change from tag to tag."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from matrix.doctored import data_as_of
from render.projects import MATRIX_YML, files, git, release

CONFLICTS = (b"<<<<<<<", b">>>>>>>")
Change = Callable[[dict[str, Any]], None]


def clone(source: Path, repository: Path) -> Path:
    """A copy of a template's repository, with its tags."""
    git(source, "clone", "--quiet", ".", str(repository))
    return repository


def write_matrix(repository: Path, facts: dict[str, Any]) -> None:
    """Replace the matrix of a template."""
    text = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)
    (repository / MATRIX_YML).write_text(text, encoding="utf-8")


def release_as_of(repository: Path, torch: str, tag: str) -> None:
    """A version of the template whose newest torch is that one."""
    write_matrix(repository, data_as_of(torch))
    release(repository, tag)


def release_with(repository: Path, tag: str, change: Change) -> None:
    """A version of the template whose matrix was changed."""
    facts: dict[str, Any] = yaml.safe_load((repository / MATRIX_YML).read_text(encoding="utf-8"))
    change(facts)
    write_matrix(repository, facts)
    release(repository, tag)


def edit(repository: Path, file: str, old: str, new: str) -> None:
    """Change a text in a file, everywhere."""
    path = repository / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8", newline="")


def forget(compute_platform: str) -> Change:
    """The change that takes a compute platform out of the matrix altogether."""

    def change(facts: dict[str, Any]) -> None:
        facts["policy"]["compute_platforms"]["offered"].remove(compute_platform)
        del facts["compute_platforms"][compute_platform]
        facts["gpu_architectures"].pop(compute_platform, None)
        for row in facts["releases"].values():
            row["index"].pop(compute_platform, None)

    return change


def assert_clean(project: Path) -> None:
    """No conflict was left in a project."""
    for name, content in files(project).items():
        assert not name.endswith((".rej", ".orig")), name
        assert not any(mark in content for mark in CONFLICTS), name
