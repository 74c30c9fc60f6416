"""From pages to facts: what the PyTorch index and PyPI have of each release, and nothing else."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from packaging.requirements import Requirement
from packaging.specifiers import Specifier, SpecifierSet
from packaging.version import Version

from refresh.insides import SYSTEMS as MARKERS
from refresh.listing import Progress, Source
from refresh.wheels import File, Page
from torch_template.matrix.facts import COMPANIONS, PLATFORMS, PYPI, series
from torch_template.matrix.model import Matrix

SYSTEMS = {"L": "Linux", "A": "Linux", "W": "Windows", "M": "Darwin"}  # as markers say them
LETTERS = {name: letter for letter, name in PLATFORMS.items()}
TORCH = "torch"
TOOLKIT = "cuda-toolkit"
WITH_CUDA = re.compile(rf"cu\d+|{PYPI}")
BUILD = re.compile(r"cpu|xpu|cu\d+|rocm\d+(\.\d+)*")  # else nobody knows what it is
NOT_CUDA = re.compile(r"cpu|rocm.+|xpu")

Cells = Mapping[str, Mapping[str, frozenset[str]]]  # page, letter of a platform: the Pythons


@dataclass(frozen=True)
class Seen:
    """A release of torch or of a companion, as its pages and its wheels show it."""

    package: str
    version: str
    cells: Cells
    unsuffixed: frozenset[tuple[str, str]] = frozenset()  # page and letter, without `+cu130`
    released: date | None = None  # the day of the first file on PyPI
    newest_file: date | None = None  # the day of the last file on any page that says it
    builds: Mapping[str, str] = field(default_factory=dict)  # what PyPI's are for, by letter
    toolkits: Mapping[str, str] = field(default_factory=dict)  # by page
    needs: Mapping[str, tuple[Requirement, ...]] = field(default_factory=dict)  # by page
    not_whole: frozenset[tuple[str, str, str]] = frozenset()  # left out: their triton is missing
    torch: str | None = None  # a companion: the torch that it requires
    python: str | None = None  # Requires-Python

    @property
    def index(self) -> Cells:
        """Its wheels on the PyTorch index."""
        return {page: row for page, row in self.cells.items() if page != PYPI}

    @property
    def pypi(self) -> Mapping[str, frozenset[str]]:
        """Its wheels on PyPI, by letter."""
        return self.cells.get(PYPI, {})

    @property
    def python_excluded(self) -> list[str]:
        """The patches of Python that Requires-Python leaves out: `!=3.14.1`."""
        rows = SpecifierSet(self.python or "")
        left_out = (row.version for row in rows if row.operator == "!=")
        return sorted((v for v in left_out if re.fullmatch(r"\d+\.\d+\.\d+", v)), key=Version)


@dataclass(frozen=True)
class Observed:
    """All that was seen: releases by version, and Poetry's pins by CUDA toolkit."""

    torch: Mapping[str, Seen]
    companions: Mapping[str, Mapping[str, Seen]]
    pins: Mapping[str, Mapping[str, str]]


def is_new(version: str, known: Iterable[str]) -> bool:
    """Whether a release is newer than all known ones, or than those of its own series.

    What is missing below that was left out on purpose: it is too old.
    """
    rows = [*known]
    same = [one for one in rows if series(one) == series(version)] or rows
    return version not in rows and all(Version(version) > Version(one) for one in same)


def observe(source: Source, matrix: Matrix, progress: Progress | None = None) -> Observed:
    """Read the pages, and look into the wheels of the releases that the matrix has or lacks."""
    known = [name for name in matrix.compute_platforms if name != PYPI]
    platforms = [*dict.fromkeys([*known, *source.compute_platforms(known)])]
    packages = (TORCH, *(name for name in COMPANIONS if matrix.companions.get(name)))
    wanted = [(page, package) for package in packages for page in (*platforms, PYPI)]
    pages = source.pages(wanted, progress)
    files = {package: _by_version(pages, package) for package in packages}
    torchs = [name for name in files[TORCH] if _counts(name, matrix.releases)]
    torch = _look(source, {(TORCH, name): files[TORCH][name] for name in torchs}, progress)
    torch = _installable(source, matrix, torch)
    beside = {
        (package, version): rows
        for package in packages[1:]
        for version, rows in files[package].items()
        if Version(version) > min(map(Version, matrix.companions[package]), default=Version("0"))
        or version in matrix.companions[package]
    }
    companions = _look(source, beside, progress)
    return Observed(
        torch={one.version: one for one in torch},
        companions={
            package: {one.version: one for one in companions if one.package == package}
            for package in packages[1:]
        },
        pins=_pins(source, {name: files[TORCH][name] for name in torchs}),
    )


def _counts(version: str, known: Iterable[str]) -> bool:
    known = [*known]
    return version in known or is_new(version, known)


def _by_version(
    pages: Mapping[tuple[str, str], Page | None], package: str
) -> dict[str, list[tuple[str, File]]]:
    """The files of each version of a package, with the page that each is on, oldest first."""
    found: defaultdict[str, list[tuple[str, File]]] = defaultdict(list)
    for (name, of), page in pages.items():
        for file in page.files if page and of == package else ():
            if file.platform in LETTERS:
                found[file.version].append((name, file))
    return dict(sorted(found.items(), key=lambda row: Version(row[0])))


def _look(
    source: Source,
    wanted: Mapping[tuple[str, str], list[tuple[str, File]]],
    progress: Progress | None,
) -> list[Seen]:
    """Each release, with what is written inside one wheel of each kind."""
    return source.each(lambda row: _seen(source, *row), wanted.items(), progress)


def _seen(source: Source, key: tuple[str, str], rows: list[tuple[str, File]]) -> Seen:
    package, version = key
    found: defaultdict[str, dict[str, frozenset[str]]] = defaultdict(dict)
    suffixed: set[tuple[str, str]] = set()
    bare: set[tuple[str, str]] = set()
    for page, file in rows:
        letter = LETTERS[file.platform]
        found[page][letter] = found[page].get(letter, frozenset()) | file.pythons
        if page != PYPI:
            (suffixed if file.local else bare).add((page, letter))
    on_pypi = {LETTERS[file.platform]: file for page, file in rows if page == PYPI}
    sample = on_pypi.get("L") or next(iter(on_pypi.values()), rows[0][1])
    days = [file.uploaded for page, file in rows if page == PYPI and file.uploaded]
    any_day = [file.uploaded for _, file in rows if file.uploaded]
    builds = {letter: source.built_for(file) for letter, file in sorted(on_pypi.items())}
    return Seen(
        package,
        version,
        cells=_filled(found),
        unsuffixed=frozenset(bare - suffixed),
        released=min(days, default=None),
        newest_file=max(any_day, default=None),
        builds={p: build for p, build in builds.items() if build and BUILD.fullmatch(build)},
        toolkits=dict(_toolkits(source, rows)) if package == TORCH else {},
        needs=dict(_needs(source, rows)) if package == TORCH else {},
        torch=None if package == TORCH else _requirement(source, sample),
        python=source.requires_python(sample),
    )


def _toolkits(source: Source, rows: list[tuple[str, File]]) -> Iterator[tuple[str, str]]:
    """The CUDA toolkit that the wheels of each page require, by a wheel for Linux."""
    for page, file in _samples(rows, WITH_CUDA).items():
        toolkit = source.toolkit(file)
        if toolkit and re.fullmatch(r"\d+(\.\d+)+", toolkit):  # and not 13.0.*
            yield page, toolkit_version(toolkit)


def _needs(
    source: Source, rows: list[tuple[str, File]]
) -> Iterator[tuple[str, tuple[Requirement, ...]]]:
    """What wheels require that are not for CUDA, all of whose packages PyPI has."""
    for page, file in _samples(rows, NOT_CUDA).items():
        yield page, source.requires(file)


def _installable(source: Source, matrix: Matrix, torch: list[Seen]) -> list[Seen]:
    """The releases without the wheels that require what the index does not have for their Python.

    That is a triton, which only the PyTorch index has for ROCm and XPU.
    """
    names = {row.package for row in matrix.index_only}
    wanted = {
        (page, need.name)
        for one in torch
        for page, needs in one.needs.items()
        for need in needs
        if need.name in names
    }
    pages = source.pages(wanted) if wanted else {}

    def can_be_had(one: Seen, page: str, letter: str, minor: str) -> bool:
        needs = [need for need in one.needs.get(page, ()) if need.name in names]
        return all(_has(pages[page, need.name], need, letter, minor) for need in needs)

    found = []
    for one in torch:
        lacking = {
            (page, letter, minor)
            for page, row in one.cells.items()
            for letter, minors in row.items()
            for minor in minors
            if not can_be_had(one, page, letter, minor)
        }
        cells = {
            page: {
                p: frozenset(m for m in ms if (page, p, m) not in lacking) for p, ms in row.items()
            }
            for page, row in one.cells.items()
        }
        found.append(replace(one, cells=_filled(cells), not_whole=frozenset(lacking)))
    return found


def _filled(cells: Cells) -> Cells:
    """The cells without those that have no Python, and without pages that have no others."""
    rows = {page: {p: found for p, found in row.items() if found} for page, row in cells.items()}
    return {page: row for page, row in rows.items() if row}


def _has(page: Page | None, need: Requirement, letter: str, minor: str) -> bool:
    """Whether a page has what a wheel for a platform and Python requires, if it requires it."""
    system = SYSTEMS[letter]
    here = {"python_version": minor, "python_full_version": f"{minor}.0", "extra": ""}
    here |= {"platform_system": system, "sys_platform": system.lower().replace("windows", "win32")}
    if need.marker and not need.marker.evaluate(here):
        return True
    return page is not None and any(
        file.platform == PLATFORMS[letter]
        and minor in file.pythons
        and file.version in need.specifier
        for file in page.files
    )


def _samples(rows: Iterable[tuple[str, File]], pages: re.Pattern[str]) -> dict[str, File]:
    """A wheel for Linux of each of the pages."""
    linux = [(page, file) for page, file in rows if LETTERS[file.platform] == "L"]
    return {page: file for page, file in linux if pages.fullmatch(page)}


def toolkit_version(version: str) -> str:
    """`13.0.3.0` -> `13.0.3`: a toolkit as NVIDIA's release notes call it."""
    return ".".join(version.split(".")[:3])


def _requirement(source: Source, file: File) -> str | None:
    """The torch that a companion requires: `==2.14.0`, `>=2.14.0`.

    None: none in particular, or not the same on each system.
    """
    found = {torch_required(source.requires(file), letter) for letter in SYSTEMS}
    return found.pop() if len(found) == 1 else None


def torch_required(requires: Iterable[Requirement], letter: str) -> str | None:
    """The torch that is required on a platform without extras, as the matrix writes it."""
    name, _, machine = PLATFORMS[letter].partition("-")
    here = {**MARKERS[name], "platform_machine": machine, "extra": ""}
    rows = [
        _written(row)
        for one in requires
        if one.name == TORCH and (one.marker is None or one.marker.evaluate(here))
        for row in one.specifier
    ]
    return ",".join(sorted({*rows})) or None


def _written(row: Specifier) -> str:
    """`==2.16.0` of `==2.16` and of `==2.16.0+cu130`; the rest as it is."""
    if row.operator != "==" or row.version.endswith("*"):
        return str(row)
    numbers = (*Version(row.version).release, 0, 0)[:3]
    exact = Version(row.version)
    return str(row) if exact.pre or exact.dev else f"=={'.'.join(map(str, numbers))}"


# --- Poetry's pins -----------------------------------------------------------------------------


def _pins(
    source: Source, releases: Mapping[str, list[tuple[str, File]]]
) -> dict[str, dict[str, str]]:
    """By CUDA toolkit that a wheel requires, the exact pins that Poetry needs beside it.

    Poetry locks two versions of a package that cuda-toolkit pins behind two extras or more, if
    something else asks for it without a version: a package beside the toolkit, as cuDNN asks for
    cuBLAS, or one that is locked twice itself, as cuBLAS then asks for NVRTC.
    """
    asking: defaultdict[str, set[tuple[Requirement, ...]]] = defaultdict(set)  # by toolkit
    wheels = [file for rows in releases.values() for file in _samples(rows, WITH_CUDA).values()]
    for requires in source.each(source.requires, wheels):
        for one in requires:
            if one.name == TOOLKIT and (version := _exact(one)):
                asking[version].add(requires)
    names = {
        one.name
        for several in asking.values()
        for requires in several
        for one in requires
        if one.name.startswith("nvidia-")
    }
    pages = source.pages([(PYPI, name) for name in (TOOLKIT, *sorted(names))] if asking else [])
    return {
        toolkit_version(version): {
            name: pin
            for requires in several
            for name, pin in _pins_of(source, pages, version, requires).items()
        }
        for version, several in asking.items()
        if _wheel(pages, TOOLKIT, version)
    }


def _pins_of(
    source: Source,
    pages: dict[tuple[str, str], Page | None],
    version: str,
    requires: tuple[Requirement, ...],
) -> dict[str, str]:
    extras = next(one.extras for one in requires if one.name == TOOLKIT)
    behind: defaultdict[str, set[str]] = defaultdict(set)
    pinned: dict[str, str] = {}
    toolkit = _wheel(pages, TOOLKIT, version)
    for one in source.requires(toolkit) if toolkit else ():
        named = {extra for extra in extras if one.marker and one.marker.evaluate(_linux(extra))}
        behind[one.name] |= named
        if named and (exact := _exact(one)):
            pinned[one.name] = exact
    twice = {name for name in pinned if len(behind[name]) > 1}
    beside = {one.name: _exact(one) for one in requires if one.name.startswith("nvidia-")}
    found: dict[str, str] = {}
    while beside:
        asked = {
            name
            for package, exact in beside.items()
            if exact
            for name in _unpinned(source, pages, package, exact)
            if name in twice and name not in found
        }
        beside = {name: pinned[name] for name in asked}
        found |= {name: pinned[name] for name in asked}
    return dict(sorted(found.items()))


def _linux(extra: str) -> dict[str, str]:
    return {"extra": extra, "sys_platform": "linux", "platform_system": "Linux"}


def _exact(requirement: Requirement) -> str | None:
    """`13.1.1.3` of `==13.1.1.3.*`."""
    found = [row.version for row in requirement.specifier if row.operator == "=="]
    return found[0].removesuffix(".*") if len(found) == 1 else None


def _wheel(pages: Mapping[tuple[str, str], Page | None], package: str, version: str) -> File | None:
    """A wheel of a version on PyPI, one for Linux if there are several."""
    page = pages.get((PYPI, package))
    files = [f for f in (page.files if page else ()) if Version(f.version) == Version(version)]
    return min(files, key=lambda file: not file.platform.startswith("linux"), default=None)


def _unpinned(
    source: Source, pages: dict[tuple[str, str], Page | None], package: str, version: str
) -> list[str]:
    """What a package of NVIDIA asks for without a version."""
    if (PYPI, package) not in pages:
        pages |= source.pages([(PYPI, package)])
    file = _wheel(pages, package, version)
    return [one.name for one in (source.requires(file) if file else ()) if not one.specifier]
