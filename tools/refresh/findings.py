"""What a comparison finds, and what is found of torch and of its companions alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from refresh.observed import Seen
from refresh.rows import (
    letters,
    told,
    wheels,
)
from torch_template.matrix.facts import PLATFORMS, PYPI, is_unsuffixed
from torch_template.matrix.model import Companion, Matrix, PyPIBuilds, Release

INDEX_SOURCE, PYPI_SOURCE = "INDEX", "PYPI-FILES"
SOURCES = {
    INDEX_SOURCE: "pages and METADATA of the PyTorch index, read by tools/refresh_matrix.py",
    PYPI_SOURCE: "pages, METADATA and version.py on PyPI, read by tools/refresh_matrix.py",
}
SETTLED = timedelta(days=3)  # after the last file of a release, what is missing is not to come


@dataclass(frozen=True)
class Edit:
    """A row of the YAML, or a key of one, that is to be written."""

    path: tuple[str, ...]
    value: Any


@dataclass(frozen=True)
class Finding:
    """What a person has to look at; nothing is written for it."""

    kind: str  # promised, half there, differs, not taken, gap
    about: str  # torch 2.16.0
    text: str


@dataclass
class Comparison:
    """What differs."""

    edits: list[Edit] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def find(self, kind: str, about: str, text: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(kind, about, text))

    def put(self, *path: str, value: Any) -> None:  # noqa: ANN401
        """Add an edit."""
        self.edits.append(Edit(path, value))


def sourced(row: Mapping[str, Any], *pages: str) -> dict[str, Any]:
    """A row with its confidence and sources; `pages`: where it was seen."""
    found = [INDEX_SOURCE] * any(page != PYPI for page in pages) + [PYPI_SOURCE] * (PYPI in pages)
    return {**row, "confidence": "verified", "sources": found}


def neighbour(rows: Mapping[str, Seen], one: Seen) -> Seen | None:
    """The release before, of those that the PyTorch index has."""
    older = [v for v in rows if rows[v].index and Version(v) < Version(one.version)]
    return rows[max(older, key=Version)] if older else None


def half_there(one: Seen, before: Seen | None, today: date) -> str | None:
    """Why a release is not complete yet; None if it is, or if no more is to come.

    On its day the wheels appear platform by platform: what the release before has, and its own
    Requires-Python does not exclude, is to come, until there was no new file for three days.
    """
    if not one.pypi:
        return "The PyTorch index has it, PyPI has not."
    settled = one.newest_file is not None and one.newest_file + SETTLED <= today
    if settled or before is None:
        return None
    asked = SpecifierSet(one.python or "")
    had = {(page, p, minor) for page, p, minor in wheels(before.cells) if f"{minor}.99" in asked}
    if missing := had - wheels(one.cells):
        return f"It has no wheels yet where {before.version} has them: {told(missing)}."
    return None


def unread_builds(one: Seen) -> str | None:
    """Why a release cannot be taken: PyPI has wheels of it that do not say what they are for."""
    unread = {*one.pypi} - {*one.builds}
    if not unread:
        return None
    on = ", ".join(PLATFORMS[p] for p in sorted(unread, key="LAWM".index))
    return f"What PyPI's wheel for {on} is built for cannot be read: write it by hand."


def unsuffixed_rows(
    matrix: Matrix, one: Seen, torch: str | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of `unsuffixed` for wheels without a suffix that the matrix expects with one."""
    torch = torch or one.version
    bare = {p for _, p in one.unsuffixed if p != "M"}
    new = {p for p in bare if not is_unsuffixed(matrix, one.package, torch, p)}
    if new:
        row = {"package": one.package, "platforms": letters(new), "since": torch, "until": torch}
        yield sourced(row, "cpu")


def now_seen(found: Comparison, path: tuple[str, ...], row: Release | Companion, one: Seen) -> None:
    """Take away what says that a wheel was not seen, for those that are."""
    weaker = {"one_source": row.one_source}
    if isinstance(row, Release):
        weaker["inferred"] = row.inferred
    for key, known in weaker.items():
        left = {
            page: letters(unseen)
            for page, on in known.items()
            if (unseen := {*on} - {*one.cells.get(page, ())})
        }
        if left != {page: letters(on) for page, on in known.items()}:
            found.put(*path, key, value=left or None)


def other_builds(found: Comparison, ours: PyPIBuilds, one: Seen) -> None:
    """Tell where PyPI's wheels are built for something else than the matrix says."""
    for letter, build in ours.on().items():
        seen = one.builds.get(letter, build)
        if seen != build:
            text = f"PyPI's wheel for {PLATFORMS[letter]} is built for {seen}, the matrix says"
            found.find("differs", f"{one.package} {one.version}", f"{text} {build}.")
