"""What was read before, on disk: pages with what a server needs to say "not changed", and facts."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from refresh.errors import RefreshError


@dataclass(frozen=True)
class Kept:
    """An answer of a server, or a fact read from one."""

    key: str  # the address that was asked for
    url: str  # the address that answered, after redirects: links are relative to it
    content_type: str
    body: bytes
    etag: str | None = None
    last_modified: str | None = None
    wheels: int | None = None  # of a page: how many wheels were found on it


class Cache:
    """A folder with one file for each address. It may be deleted at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Kept | None:
        """What was kept for an address; a file that cannot be read counts as none."""
        try:
            data = json.loads(gzip.decompress(self._path(key).read_bytes()))
            kept = Kept(**{**data, "body": data["body"].encode("latin-1")})
        except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, AttributeError):
            return None
        return kept if kept.key == key else None

    def put(self, kept: Kept) -> None:
        """Keep something, whole or not at all, whatever else writes there at the same time."""
        data = {**asdict(kept), "body": kept.body.decode("latin-1")}
        packed = gzip.compress(json.dumps(data).encode(), mtime=0)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, suffix=".new")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(packed)
                with suppress(PermissionError):  # Windows: somebody reads the old one right now
                    Path(name).replace(self._path(kept.key))
            finally:
                Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise RefreshError(
                f"The cache folder {self._folder} cannot be written: {error.strerror}."
                " Name another one with --cache."
            ) from error

    def drop(self, key: str) -> None:
        """Forget an address."""
        with suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.json.gz"
