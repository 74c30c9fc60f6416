"""The loopback index, and the tools that see nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from install.loopback_index import LoopbackIndex
from install.managers import Tools


@pytest.fixture(scope="session")
def index() -> Iterator[LoopbackIndex]:
    """The running index: one for each process of the test run."""
    with LoopbackIndex() as index:
        yield index


@pytest.fixture(scope="session")
def tools(index: LoopbackIndex, tmp_path_factory: pytest.TempPathFactory) -> Tools:
    """uv, Poetry and pip against the running index; they share their caches."""
    return Tools(index, tmp_path_factory.mktemp("tools"))
