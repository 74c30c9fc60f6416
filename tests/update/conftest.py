"""The template's history that most tests of updates share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from render.projects import release
from update.versions import clone, cloned_once, release_as_of


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory, git_template: Path) -> Iterator[Path]:
    """Versions as of torch 2.11.0 (v1.1.0), 2.13.0 (v1.2.0), 2.14.0 (v1.3.0), now (v2.0.0)."""
    repository = clone(git_template, tmp_path_factory.mktemp("history") / "torch-starter")
    now = (repository / "extensions" / "version_matrix.yml").read_bytes()
    release_as_of(repository, "2.11.0", "v1.1.0")
    release_as_of(repository, "2.13.0", "v1.2.0")
    release_as_of(repository, "2.14.0", "v1.3.0")
    (repository / "extensions" / "version_matrix.yml").write_bytes(now)
    release(repository, "v2.0.0")
    with cloned_once(repository):
        yield repository


@pytest.fixture
def repository(tmp_path: Path, git_template: Path) -> Path:
    """A repository of the template for one test to change; it has the version v1.0.0."""
    return clone(git_template, tmp_path / "torch-starter")
