"""Indexes of a few made-up pages: first as the matrix says, then as a test wants them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from functools import cache

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from refresh.cutting import cut_back
from refresh.findings import Finding
from refresh.observed import Observed, Seen
from refresh.rows import Wheel, cells_of, companion_promised, promised, wheels
from refresh.writing import loaded
from refresh_matrix import Refreshed, refreshed
from torch_template.matrix.facts import PYPI, is_unsuffixed
from torch_template.matrix.model import Matrix

NEWEST = "2.13.0"  # in these tests, whatever came later: each torchvision is for one torch
DAY = date(2026, 12, 9)  # of the release that a test makes up
LATER = date(2026, 12, 31)
# Without what is only inferred, which the made-up pages show.
BASE = re.sub(r"^ +(one_source|inferred): .*\n", "", cut_back(NEWEST), flags=re.MULTILINE)


@cache
def base() -> Matrix:
    """The matrix as it was then."""
    return loaded(BASE)


@cache
def as_written(text: str = BASE) -> Observed:
    """Indexes that have exactly what a matrix says."""
    matrix = loaded(text)
    torch = {name: _torch(matrix, name) for name in matrix.releases}
    companions = {
        name: {version: _companion(matrix, name, version) for version in rows}
        for name, rows in matrix.companions.items()
        if rows
    }
    pins = {
        name: row.poetry_pins
        for name, row in matrix.cuda_toolkits.versions.items()
        if row.poetry_pins is not None
    }
    return Observed(torch, companions, pins)


def _bare(matrix: Matrix, package: str, torch: str, found: Iterable[Wheel]) -> set[tuple[str, str]]:
    on_index = {(page, p) for page, p, _ in found if page != PYPI}
    return {(page, p) for page, p in on_index if is_unsuffixed(matrix, package, torch, p)}


def _torch(matrix: Matrix, version: str) -> Seen:
    release = matrix.releases[version]
    found = promised(release)
    toolkits = {page: row.toolkit for page, row in release.index.items() if row.toolkit}
    return Seen(
        "torch",
        version,
        cells=cells_of(found),
        unsuffixed=frozenset(_bare(matrix, "torch", version, found)),
        released=release.released,
        newest_file=release.released,
        builds=release.pypi.on(),
        toolkits=toolkits,
        needs={page: (Requirement("filelock"),) for page in release.index},
    )


def _companion(matrix: Matrix, name: str, version: str) -> Seen:
    row = matrix.companions[name][version]
    torch = next(t for t in matrix.newest_first if version in matrix.partners[t][name])
    found = companion_promised(matrix, row, torch)
    excluded = ",".join(f"!={one}" for one in row.python_excluded)
    return Seen(
        name,
        version,
        cells=cells_of(found),
        unsuffixed=frozenset(_bare(matrix, name, torch, found)),
        newest_file=matrix.releases[torch].released,
        builds=(row.pypi or matrix.releases[torch].pypi).on(),
        torch=None if row.index else row.torch,
        python=f">=3.8,{excluded}".rstrip(","),
    )


def release(
    version: str = "2.16.0",
    *,
    like: str = NEWEST,
    without: Iterable[str] = (),
    renamed: Mapping[str, str] | None = None,
    python: str = ">=3.10",
) -> Seen:
    """A release of `DAY` as an older one is, without some pages, or with others in their place."""
    old, names = as_written().torch[like], renamed or {}
    gone = {*without}
    found = {
        (names.get(page, page), p, minor)
        for page, p, minor in wheels(old.cells)
        if page not in gone and f"{minor}.5" in SpecifierSet(python)
    }
    return replace(
        old,
        version=version,
        cells=cells_of(found),
        released=DAY,
        newest_file=DAY,
        builds={p: names.get(build, build) for p, build in old.builds.items()},
        toolkits={page: one for page, one in old.toolkits.items() if page not in gone | {*names}},
        needs={page: (Requirement("filelock"),) for page in {page for page, _, _ in found}},
        python=python,
    )


def companion(name: str = "torchvision", version: str = "0.31.0", torch: str = "==2.16.0") -> Seen:
    """A release of a companion that has what the newest one has."""
    like = as_written().companions[name]["0.28.0"]
    return replace(like, version=version, torch=torch, newest_file=DAY)


def less(
    seen: Seen, *, page: str | None = None, on: str = "LAWM", minor: str | None = None
) -> Seen:
    """A release without some of its wheels."""
    found = {
        wheel
        for wheel in wheels(seen.cells)
        if page not in (None, wheel[0]) or wheel[1] not in on or minor not in (None, wheel[2])
    }
    return replace(seen, cells=cells_of(found))


def world(*changed: Seen, pins: Mapping[str, Mapping[str, str]] | None = None) -> Observed:
    """The indexes with these releases, too, or in the place of those of the same version."""
    old = as_written()
    torch, companions = {**old.torch}, {name: {**rows} for name, rows in old.companions.items()}
    for one in changed:
        (torch if one.package == "torch" else companions[one.package])[one.version] = one
    return Observed(torch, companions, {**old.pins, **(pins or {})})


def refresh(*changed: Seen, today: date = LATER, text: str = BASE) -> Refreshed:
    """What a refresh makes of such indexes."""
    return refreshed(text, world(*changed), today)


def found(result: Refreshed, kind: str) -> list[Finding]:
    """The findings of a kind."""
    return [one for one in result.findings if one.kind == kind]
