"""The loopback index, and the tools that see nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from install.loopback_index import LoopbackIndex
from install.managers import Tools, add_real, own_caches
from install.real_torch import NOT_COMPILED
from install.registry import lock_with_poetry
from render.projects import render


@pytest.fixture(scope="session")
def index() -> Iterator[LoopbackIndex]:
    """The running index: one for each process of the test run."""
    with LoopbackIndex() as index:
        yield index


@pytest.fixture(scope="session")
def tools(index: LoopbackIndex, tmp_path_factory: pytest.TempPathFactory) -> Tools:
    """uv, Poetry and pip against the running index; they share their caches."""
    tools = Tools(index, tmp_path_factory.mktemp("tools"))
    tools.environment |= NOT_COMPILED
    return tools


@pytest.fixture
def cold_caches(tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test that counts downloads: nothing has been downloaded yet, whatever ran before."""
    for name, folder in own_caches(tmp_path).items():
        monkeypatch.setitem(tools.environment, name, folder)


@pytest.fixture(scope="session")
def real_pip(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A pip new enough for dependency groups, on the loopback index: a stub could not install."""
    add_real(tools, tmp_path_factory.mktemp("pip"), "pip>=25.1")


@pytest.fixture(scope="session")
def by_poetry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of PyPI's own wheels, locked by Poetry: nobody changes it."""
    folder = tmp_path_factory.mktemp("real")
    project = render(folder / "by poetry", package_manager="poetry", compute_platform="pypi")
    lock_with_poetry(project)
    return project
