"""What goes wrong while the indexes are read, in words for whoever runs the tool."""

from __future__ import annotations


class RefreshError(Exception):
    """An index cannot be read: one sentence on what is wrong, one on what to do."""


class NoPageError(RefreshError):
    """What answers is no page of a package index."""


class ShrunkError(RefreshError):
    """A page lists far fewer wheels than when it was last read, and so is not believed."""
