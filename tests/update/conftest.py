"""The template's history that most tests of updates share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from render.projects import MATRIX_YML, commit, release, start
from update.versions import clone, cloned_once, release_as_of
from update.weekly_update import Host, WeeklyUpdate


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory, git_template: Path) -> Iterator[Path]:
    """Versions as of torch 2.11.0 (v1.1.0), 2.13.0 (v1.2.0), 2.14.0 (v1.3.0), now (v2.0.0)."""
    repository = clone(git_template, tmp_path_factory.mktemp("history") / "torch-starter")
    now = (repository / MATRIX_YML).read_bytes()
    release_as_of(repository, "2.11.0", "v1.1.0")
    release_as_of(repository, "2.13.0", "v1.2.0")
    release_as_of(repository, "2.14.0", "v1.3.0")
    (repository / MATRIX_YML).write_bytes(now)
    release(repository, "v2.0.0")
    with cloned_once(repository):
        yield repository


@pytest.fixture
def repository(tmp_path: Path, git_template: Path) -> Path:
    """A repository of the template for one test to change; it has the version v1.0.0."""
    return clone(git_template, tmp_path / "torch-starter")


@pytest.fixture(scope="module")
def conflicting(history: Path, tmp_path_factory: pytest.TempPathFactory) -> WeeklyUpdate:
    """A project of torch 2.13 whose torch its owner changed: an update conflicts."""
    folder = tmp_path_factory.mktemp("conflicting")
    project = start(history, folder / "project", "v1.2.0")
    path = project / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"torch == 2.13.0"', '"torch>=2.13"'), encoding="utf-8")
    commit(project)
    return WeeklyUpdate(project, folder)


@pytest.fixture
def weekly(conflicting: WeeklyUpdate, tmp_path: Path) -> Iterator[WeeklyUpdate]:
    """That project, for one test."""
    weekly = conflicting.copy_to(tmp_path)
    with Host(weekly.remote) as weekly.host:
        yield weekly


@pytest.fixture(scope="module")
def prepared_once(
    conflicting: WeeklyUpdate, tmp_path_factory: pytest.TempPathFactory
) -> WeeklyUpdate:
    """It with its update prepared: nobody changes it."""
    weekly = conflicting.copy_to(tmp_path_factory.mktemp("prepared"))
    weekly.done("prepare")
    return weekly


@pytest.fixture
def prepared(prepared_once: WeeklyUpdate, tmp_path: Path) -> Iterator[WeeklyUpdate]:
    """That, for one test."""
    prepared = prepared_once.copy_to(tmp_path)
    with Host(prepared.remote) as prepared.host:
        yield prepared


@pytest.fixture(scope="session")
def checkouts(tmp_path_factory: pytest.TempPathFactory, history: Path) -> dict[str, Path]:
    """A committed project of three versions of the template; nobody changes them."""
    folder = tmp_path_factory.mktemp("fleet-projects")
    return {
        "old": start(history, folder / "old", "v1.2.0"),
        "ended": start(history, folder / "ended", "v1.1.0", compute_platform="cu128"),
        "new": start(history, folder / "new", "v2.0.0"),
    }


@pytest.fixture
def project(checkouts: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """Makes a checkout in tmp_path/clones."""

    def make(name: str, kind: str = "old") -> Path:
        return Path(shutil.copytree(checkouts[kind], tmp_path / "clones" / name))

    return make
