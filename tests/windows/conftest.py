"""The Windows that all of these tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from install.conftest import index as index
from install.conftest import real_pip as real_pip
from install.conftest import tools as tools
from windows.session import Windows

if sys.platform == "linux":
    from wine import CannotError, prepared


@pytest.fixture(scope="session")
def windows() -> Iterator[Windows]:
    """A running Windows session, in the Wine that tools/wine.py has made or is making."""
    if sys.platform != "linux":
        pytest.skip("Wine is for Linux; on Windows, the workflow runs the real thing")
    try:
        session = Windows(prepared())
    except CannotError as error:
        pytest.skip(f"the tests of Windows did NOT run, since there is no Wine: {error}")
    yield session
    session.close()
