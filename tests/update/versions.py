"""Versions of the template: a git repository whose matrix and rules change from tag to tag."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from copier._vcs import clone as really_clone
from copier.errors import UserMessageError

from matrix.doctored import data_as_of
from render.projects import MATRIX_YML, files, git, release, update

CONFLICTS = (b"<<<<<<<", b">>>>>>>")
Change = Callable[[dict[str, Any]], None]


def clone(source: Path, repository: Path) -> Path:
    """A copy of a template's repository, with its tags."""
    git(source, "clone", "--quiet", ".", str(repository))
    return repository


@contextmanager
def cloned_once(repository: Path) -> Iterator[None]:
    """Let Copier keep its clones of a repository whose versions stay as they are.

    It clones the template three times in each update, and does not change what it has cloned.
    """
    kept: dict[str, str] = {}

    def clone(url: str, ref: str = "HEAD", location: str | None = None) -> str:
        if url != str(repository):
            return really_clone(url, ref, location)
        if ref not in kept:
            kept[ref] = really_clone(url, ref)
        return kept[ref]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("copier._template.clone", clone)
        yield
    for checkout in kept.values():
        shutil.rmtree(checkout)


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
        facts["glibc"] = [row for row in facts["glibc"] if row.get("for") != compute_platform]
        for row in facts["releases"].values():
            row["index"].pop(compute_platform, None)
        for rows in facts["companions"].values():
            for row in rows.values():
                row.get("index", {}).pop(compute_platform, None)
                row["one_source"] = {
                    k: v for k, v in row.get("one_source", {}).items() if k != compute_platform
                }

    return change


def assert_clean(project: Path) -> None:
    """No conflict was left in a project."""
    for name, content in files(project).items():
        assert not name.endswith((".rej", ".orig")), name
        assert not any(mark in content for mark in CONFLICTS), name


def refused(project: Path, **answers: Any) -> str:  # noqa: ANN401
    """The sentence with which an update is refused; the project is untouched."""
    before = files(project)
    with pytest.raises(UserMessageError) as error:
        update(project, **answers)
    assert files(project) == before
    assert git(project, "status", "--porcelain") == ""
    return str(error.value)
