"""The Windows that all of these tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from install.conftest import index as index
from install.conftest import real_pip as real_pip
from install.conftest import tools as tools
from windows.session import Windows
from wine import CannotError, prepared


@pytest.fixture(scope="session")
def windows() -> Iterator[Windows]:
    """A running Windows session, in the Wine that tools/wine.py has made or is making."""
    try:
        session = Windows(prepared())
    except CannotError as error:
        pytest.skip(f"the tests of Windows did NOT run, since there is no Wine: {error}")
    yield session
    session.close()
