"""What goes wrong while the indexes are read, in words for whoever runs the tool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class RefreshError(Exception):
    """An index cannot be read: one sentence on what is wrong, one on what to do."""


class NoPageError(RefreshError):
    """What answers is no page of a package index."""


class ShrunkError(RefreshError):
    """A page lists far fewer wheels than when it was last read, and so is not believed."""


@contextmanager
def understood(url: str) -> Iterator[None]:
    """RefreshError, instead of whatever an odd page or wheel makes the libraries raise."""
    try:
        yield
    except RefreshError:
        raise
    except Exception as error:
        raise RefreshError(
            f"What {url.partition('#')[0]} says cannot be understood ({type(error).__name__}:"
            f" {error}). Look at it; if it is as it should be, this tool has to learn it."
        ) from error
