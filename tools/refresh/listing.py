"""Reads the PyTorch index and PyPI: which wheels there are, and what is written in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from packaging.requirements import Requirement

from refresh.errors import RefreshError, ShrunkError
from refresh.wheels import File, Page

__all__ = ["File", "Page", "RefreshError", "ShrunkError", "Source"]

Progress = Callable[[int, int], None]  # how many are done, of how many


class Source:
    """Both indexes. Every method raises RefreshError when one cannot be read."""

    def __init__(
        self,
        index_url: str,  # https://download.pytorch.org/whl
        pypi_url: str,
        cache: Path,
        *,
        accept_shrunk: bool = False,
        threads: int = 8,
    ) -> None: ...

    def pages(
        self, wanted: Iterable[tuple[str, str]], progress: Progress | None = None
    ) -> dict[tuple[str, str], Page | None]:
        """The pages of (index, package); None: the index says that it has no such package."""
        raise NotImplementedError

    def requires(self, file: File) -> tuple[Requirement, ...]:
        """What a wheel requires (Requires-Dist)."""
        raise NotImplementedError

    def requires_python(self, file: File) -> str | None:
        """The Pythons that a wheel asks for (Requires-Python)."""
        raise NotImplementedError

    def built_for(self, file: File) -> str:
        """The compute platform of a wheel, from package/version.py inside: cpu, cu130, ..."""
        raise NotImplementedError

    def toolkit(self, file: File) -> str | None:
        """The CUDA toolkit that a wheel pins: 13.2.2; None: it pins none."""
        raise NotImplementedError

    def compute_platforms(self, asked: Iterable[str]) -> list[str]:
        """The folders that the PyTorch index's root page lists; where it lists none, those asked."""
        raise NotImplementedError
