"""Reads the PyTorch index and PyPI: which wheels there are, and what is written in them.

source = Source(index_url, PYPI_URL, CACHE)
pages = source.pages([("cu130", "torch"), (PYPI, "torch")])
built_for = source.each(source.built_for, pages[PYPI, "torch"].files)
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from packaging.requirements import Requirement
from platformdirs import user_cache_path
from pypi_simple import ACCEPT_ANY, PYPI_SIMPLE_ENDPOINT

from refresh.cache import Cache, Kept
from refresh.client import Client, Patience, shown
from refresh.errors import NoPageError, RefreshError, ShrunkError, understood
from refresh.insides import Insides, compute_platform, pinned, requirements, requires_python
from refresh.pages import (
    CPU,
    PYPI,
    Row,
    file_of,
    folders,
    minors,
    newest_minor,
    parse,
    parse_html,
    refuse_odd,
    sort_out,
)
from refresh.wheels import File, Page

__all__ = [
    "CACHE",
    "PYPI",
    "PYPI_URL",
    "File",
    "Page",
    "Patience",
    "RefreshError",
    "ShrunkError",
    "Source",
    "shown_progress",
]

PYPI_URL = PYPI_SIMPLE_ENDPOINT
CACHE = user_cache_path("torch-starter", appauthor=False) / "refresh"
SHRUNK = 0.9  # of the wheels that a page had: releases come, and hardly ever go
MISSING = (403, 404)  # the PyTorch index answers 403 where it has nothing

Item = TypeVar("Item")
Result = TypeVar("Result")
Key = tuple[str, str]  # an index and a package
Progress = Callable[[int, int], None]  # how many are done, of how many
Read = tuple[list[Row], Counter[str]]  # what counts on a page, and how much does not, by why


class Source:
    """Both indexes. Every method raises RefreshError when one of them cannot be read."""

    def __init__(
        self,
        index_url: str,  # such as https://download.pytorch.org/whl
        pypi_url: str = PYPI_URL,  # a simple API's
        cache: Path = CACHE,  # a folder, which need not be there
        *,
        accept_shrunk: bool = False,
        threads: int = 8,
        patience: Patience | None = None,
    ) -> None:
        self._index_url, self._pypi_url = index_url.rstrip("/"), pypi_url.rstrip("/")
        self._accept_shrunk, self._threads = accept_shrunk, threads
        self._client, self._cache = Client(patience or Patience(), threads), Cache(cache)
        self._insides = Insides(self._client, self._cache)

    def pages(
        self, wanted: Iterable[Key], progress: Progress | None = None
    ) -> dict[Key, Page | None]:
        """The pages of (index, package); None: the index says that it has no such package.

        A wheel for many Pythons (abi3, py3) counts up to the newest that any of the pages names.
        ShrunkError: one has lost more than a tenth of the wheels that it had the last time.
        """
        asked = list(dict.fromkeys(wanted))
        found = dict(zip(asked, self.each(self._read, asked, progress), strict=True))
        self._refuse_blocked(found)
        newest = newest_minor(row for read in found.values() if read for row in read[0])
        pythons = self._requires_pythons(found)
        return {key: read and self._page(key, read, newest, pythons) for key, read in found.items()}

    def requires(self, file: File) -> tuple[Requirement, ...]:
        """What a wheel requires: the Requires-Dist of its METADATA."""
        with understood(file.url):
            return requirements(self._insides.metadata(file), file)

    def requires_python(self, file: File) -> str | None:
        """The Requires-Python of a wheel's METADATA: `>=3.10,!=3.14.1`."""
        with understood(file.url):
            return requires_python(self._insides.metadata(file))

    def built_for(self, file: File) -> str | None:
        """The compute platform inside a wheel, which PyPI's do not have in their name: cu130.

        None: nothing inside says it, as in the first torchcodec.
        """
        with understood(file.url):
            return compute_platform(self._insides.version_py(file), file)

    def toolkit(self, file: File) -> str | None:
        """The CUDA toolkit that a wheel requires on its platform: `13.2.2`; None: it pins none."""
        requires = self.requires(file)
        with understood(file.url):
            return pinned(requires, "cuda-toolkit", file.platform)

    def compute_platforms(self, asked: Iterable[str]) -> list[str]:
        """The folders that the PyTorch index's root page lists; if it lists none, those asked."""
        kept = self._client.get(f"{self._index_url}/", accept="text/html", missing=MISSING)
        listed: list[str] = []
        with suppress(NoPageError):  # a mirror may have anything there
            listed = folders(parse_html(kept)) if kept else []
        if not listed:
            told = f"{shown(self._index_url)}/ does not list its folders: a new one is not seen."
            print(told, file=sys.stderr)
        return listed or list(asked)

    def each(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        progress: Progress | None = None,
    ) -> list[Result]:
        """The results for all items, in their order; several are asked for at once."""
        pool = ThreadPoolExecutor(self._threads)
        try:
            futures = [pool.submit(function, item) for item in items]
            for number, future in enumerate(as_completed(futures), start=1):
                future.result()
                if progress:
                    progress(number, len(futures))
            return [future.result() for future in futures]
        finally:  # who is stopped does not wait for a server that is silent
            pool.shutdown(wait=False, cancel_futures=True)

    def _url(self, key: Key) -> str:
        index, package = key
        base = self._pypi_url if index == PYPI else f"{self._index_url}/{index}"
        return f"{base}/{package}/"

    def _read(self, key: Key) -> Read | None:
        """The wheels of one page, which is kept once it is believed."""
        url = self._url(key)
        known = self._cache.get(url)
        kept = self._client.get(
            url, accept=ACCEPT_ANY, known=known, missing=(404,) if key[0] == PYPI else MISSING
        )
        read = self._sort_out(key, kept) if kept else None
        wheels = len(read[0]) if read else 0
        if known and known.wheels and wheels < SHRUNK * known.wheels and not self._accept_shrunk:
            now = f"has {wheels} instead of" if kept else "is gone, with"
            raise ShrunkError(
                f"{shown(url)} {now} the {known.wheels} wheels that it had when it was last read."
                " Run this again later; if they really were taken away, accept it with"
                " --accept-shrunk."
            )
        if kept is None:
            self._cache.drop(url)
        elif kept is not known or kept.wheels != wheels:
            self._cache.put(replace(kept, wheels=wheels))
        return read

    def _sort_out(self, key: Key, kept: Kept) -> Read:
        with understood(self._url(key)):
            files = parse(kept)
            rows, left_out = sort_out(*key, files)
            refuse_odd(kept, left_out, len(files))
            return rows, left_out

    def _refuse_blocked(self, found: dict[Key, Read | None]) -> None:
        """A RefreshError if it is the network that says that the PyTorch index has nothing."""
        of_pytorch = {key: read for key, read in found.items() if key[0] != PYPI}
        if any(of_pytorch.values()) or not of_pytorch:
            return
        always_there = (CPU, "torch")
        if always_there in of_pytorch or self._read(always_there) is None:
            raise RefreshError(
                f"{shown(self._index_url)} has not even {'/'.join(always_there)}: the network"
                " blocks it, or it is no PyTorch index. Log in to the network or its proxy, or"
                " name a mirror."
            )

    def _requires_pythons(self, found: dict[Key, Read | None]) -> dict[tuple[Key, str], str | None]:
        """Requires-Python of wheels for many Pythons, where a page does not have it, by version."""
        samples = {
            (key, row.version.public): file_of(row, frozenset())
            for key, read in found.items()
            for row in (read[0] if read else ())
            if row.is_for_many and row.listed.requires_python is None
        }
        return dict(zip(samples, self.each(self.requires_python, samples.values()), strict=True))

    def _page(
        self, key: Key, read: Read, newest: int, pythons: dict[tuple[Key, str], str | None]
    ) -> Page:
        rows, left_out = read
        files = []
        for row in rows:
            asked = row.listed.requires_python or pythons.get((key, row.version.public))
            files.append(file_of(row, minors(row, newest, asked)))
        return Page(*key, tuple(files), MappingProxyType(left_out))


@contextmanager
def shown_progress(what: str) -> Iterator[Progress | None]:
    """Tells how far it is, in one line of stderr, on a terminal only."""
    if not sys.stderr.isatty():
        yield None
        return

    def show(done: int, total: int) -> None:
        print(f"\r{what}: {done} of {total} ", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        print(f"\r{' ' * (len(what) + 24)}\r", end="", file=sys.stderr, flush=True)
