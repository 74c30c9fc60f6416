"""What was seen against what version_matrix.yml says: what to write, and what a person must do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from refresh.observed import Observed, Seen, is_new
from refresh.rows import (
    Said,
    Wheel,
    accelerator,
    cells_of,
    companion_promised,
    companion_row,
    letters,
    page_key,
    promised,
    python_rows,
    release_row,
    told,
    wheels,
)
from torch_template.matrix.facts import PLATFORMS, PYPI, is_unsuffixed, python_key, toolkit_name
from torch_template.matrix.model import Companion, Matrix, PyPIBuilds, Release

INDEX_SOURCE, PYPI_SOURCE = "INDEX", "PYPI-FILES"
SOURCES = {
    INDEX_SOURCE: "pages and METADATA of the PyTorch index, read by tools/refresh_matrix.py",
    PYPI_SOURCE: "pages, METADATA and version.py on PyPI, read by tools/refresh_matrix.py",
}
SETTLED = timedelta(days=3)  # after the last file of a release, what is missing is not to come
NO_DRIVER = "the least NVIDIA driver for CUDA {} is not established"


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


def compare_torch(matrix: Matrix, seen: Observed, today: date) -> Comparison:
    """The releases of torch, the compute platforms and CUDA toolkits that they bring."""
    found = Comparison()
    for version in sorted(seen.torch, key=Version):
        one = seen.torch[version]
        if version in matrix.releases:
            _known_release(found, matrix, one, _neighbour(seen.torch, one), today)
        elif is_new(version, matrix.releases):
            _new_release(found, matrix, seen, one, today)
    for version in matrix.newest_first:
        if version not in seen.torch:
            found.find("promised", f"torch {version}", "No page has any wheel of it now.")
    _new_toolkits(found, matrix, seen)
    _new_platforms(found, matrix, seen)
    return found


# --- new releases of torch ---------------------------------------------------------------------


def _new_release(found: Comparison, matrix: Matrix, seen: Observed, one: Seen, today: date) -> None:
    about = f"torch {one.version}"
    if why := half_there(one, _neighbour(seen.torch, one), today):
        found.find("half there", about, f"{why} It is not taken yet.")
        return
    if why := _odd_suffixes(matrix, one):
        found.find("not taken", about, why)
        return
    try:
        said = release_row(one)
    except ValueError as error:
        found.find("not taken", about, f"{error}, which no row can say: write it by hand.")
        return
    if said.left_out:
        said.row["not_offered"] = [told({wheel}) for wheel in sorted(said.left_out)]
    found.put("releases", one.version, value=sourced(said.row, *one.cells))
    for row in _unsuffixed_rows(matrix, one):
        found.put("unsuffixed", value=row)


def _neighbour(rows: Mapping[str, Seen], one: Seen) -> Seen | None:
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


def _odd_suffixes(matrix: Matrix, one: Seen) -> str | None:
    """Why the file names of a release are such that no row can say them."""
    cells = {(page, p) for page, row in one.index.items() for p in row if p != "M"}
    for letter in sorted({p for page, p in one.unsuffixed if p != "M"}):
        bare = {page for page, p in one.unsuffixed if p == letter}
        with_suffix = {page for page, p in cells if p == letter} - bare
        if with_suffix:
            return (
                f"On {PLATFORMS[letter]} its wheels are named without a suffix on"
                f" {', '.join(sorted(bare))}, and with one on {', '.join(sorted(with_suffix))},"
                " which no row can say: write it by hand."
            )
    return None


def _unsuffixed_rows(
    matrix: Matrix, one: Seen, torch: str | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of `unsuffixed` for wheels without a suffix that the matrix expects with one."""
    torch = torch or one.version
    bare = {p for _, p in one.unsuffixed if p != "M"}
    new = {p for p in bare if not is_unsuffixed(matrix, one.package, torch, p)}
    if new:
        row = {"package": one.package, "platforms": letters(new), "since": torch, "until": torch}
        yield sourced(row, "cpu")


# --- releases that the matrix has --------------------------------------------------------------


def _known_release(
    found: Comparison, matrix: Matrix, one: Seen, before: Seen | None, today: date
) -> None:
    release, about = matrix.releases[one.version], f"torch {one.version}"
    ours, theirs = promised(release), wheels(one.cells)
    if missing := ours - theirs:
        found.find("promised", about, f"The matrix has wheels that no page shows: {told(missing)}.")
    odd = _other_suffixes(matrix, one, one.version)
    for page, letter in sorted(odd):
        found.find("differs", about, _suffix_text(page, letter, one))
    pages = {*matrix.compute_platforms}
    if one.version == next(v for v in matrix.newest_first if matrix.releases[v].index) or (
        one.version == matrix.newest_first[0]
    ):
        pages |= {*one.cells}  # an old release's other pages were left out on purpose
    extra = {
        wheel
        for wheel in theirs - ours
        if wheel[0] in pages and wheel[:2] not in odd and not _is_left_out(release, wheel)
    }
    why = half_there(one, before, today) if extra and not release.index else None
    if why:
        found.find("half there", about, f"{why} Its wheels on the index are not taken yet.")
    elif extra:
        _more_wheels(found, release, one, ours, extra)
    if one.released and release.released and one.released != release.released:
        text = f"PyPI got its first file on {one.released}, the matrix says {release.released}."
        found.find("differs", about, text)
    for page, toolkit in one.toolkits.items():
        _toolkit(found, release, one, page, toolkit)
    _builds(found, release.pypi, one)


def _builds(found: Comparison, ours: PyPIBuilds, one: Seen) -> None:
    """Tell where PyPI's wheels are built for something else than the matrix says."""
    for letter, build in ours.on().items():
        seen = one.builds.get(letter, build)
        if seen != build:
            text = f"PyPI's wheel for {PLATFORMS[letter]} is built for {seen}, the matrix says"
            found.find("differs", f"{one.package} {one.version}", f"{text} {build}.")


def _is_left_out(release: Release, wheel: Wheel) -> bool:
    """Whether `not_offered` names a wheel: `cu124 on linux-aarch64: ...`, or its Python."""
    page, letter, minor = wheel
    for line in release.not_offered:
        where, named, why = line.partition(f"{page} on {PLATFORMS[letter]}")
        some = re.search(r"Python (3\.\d+)(?: - (3\.\d+))?", why)
        if where or not named or why[:1] not in (":", " "):
            continue
        if some is None:
            return True
        first, last = some[1], some[2] or some[1]
        if python_key(first) <= python_key(minor) <= python_key(last):
            return True
    return False


def _more_wheels(
    found: Comparison, release: Release, one: Seen, ours: set[Wheel], extra: set[Wheel]
) -> None:
    """Write wheels that came to a release since its row was written."""
    about, cells = f"torch {one.version}", cells_of(ours | extra)
    try:
        said, before = python_rows(cells), python_rows(cells_of(ours))
    except ValueError as error:
        found.find("not taken", about, f"It has {told(extra)}. {error}: write it by hand.")
        return
    row = ("releases", one.version)
    for key in ("python", "more_python"):
        if said.row.get(key) != before.row.get(key):
            found.put(*row, key, value=said.row.get(key))
    for page in sorted({*cells} - {PYPI}, key=page_key):
        known, now = release.index.get(page), letters(cells[page])
        if known is None:
            toolkit = {"toolkit": one.toolkits[page]} if page in one.toolkits else {}
            found.put(*row, "index", page, value={"platforms": now, **toolkit})
        elif now != letters(known.platforms):
            found.put(*row, "index", page, "platforms", value=now)
    for letter in sorted(cells.get(PYPI, {}), key="LAWM".index):
        if letter not in release.pypi.on() and letter in one.builds:
            found.put(*row, "pypi", letter, value=one.builds[letter])
    if unsaid := said.left_out & extra:
        found.find("not taken", about, f"No row can say that it has {told(unsaid)}.")


def _toolkit(found: Comparison, release: Release, one: Seen, page: str, toolkit: str) -> None:
    about = f"torch {one.version}"
    if page == PYPI:
        build = release.index.get(release.pypi.L or "")
        known = release.pypi.toolkit or (build.toolkit if build else None)
        if known is None and release.pypi.L:
            found.put("releases", one.version, "pypi", "toolkit", value=toolkit)
    else:
        row = release.index.get(page)
        known = row.toolkit if row else toolkit
        if known is None:
            found.put("releases", one.version, "index", page, "toolkit", value=toolkit)
    if known not in (None, toolkit):
        text = f"Its wheel on {page} requires the CUDA toolkit {toolkit}, the matrix says {known}."
        found.find("differs", about, text)


def _other_suffixes(matrix: Matrix, one: Seen, torch: str) -> set[tuple[str, str]]:
    """The pages and platforms whose wheels are not named as the matrix expects."""
    return {
        (page, letter)
        for page, row in one.index.items()
        for letter in row
        if letter != "M"
        and ((page, letter) in one.unsuffixed) != is_unsuffixed(matrix, one.package, torch, letter)
    }


def _suffix_text(page: str, letter: str, one: Seen) -> str:
    now, expected = ("no", "one") if (page, letter) in one.unsuffixed else ("a", "none")
    return (
        f"Its wheels for {PLATFORMS[letter]} on {page} have {now} suffix, where the matrix expects"
        f" {expected}: see `unsuffixed:`."
    )


# --- what releases bring -----------------------------------------------------------------------


def _new_toolkits(found: Comparison, matrix: Matrix, seen: Observed) -> None:
    """Rows for the CUDA toolkits that are written, and Poetry's pins where they were not known."""
    named = {name for edit in found.edits for name in _toolkits_in(edit)}
    for version in sorted(named | {*matrix.cuda_toolkits.versions}, key=Version):
        row, pins = matrix.cuda_toolkits.versions.get(version), seen.pins.get(version)
        path = ("cuda_toolkits", "versions", version)
        if row is None:
            known = {} if pins is None else {"poetry_pins": dict(pins)}
            found.put(*path, value=sourced(known, PYPI))
        elif pins is not None and row.poetry_pins is None:
            found.put(*path, "poetry_pins", value=dict(pins))
        elif pins is not None and row.poetry_pins != dict(pins):
            text = f"Poetry needs the pins {dict(pins)}, the matrix has {row.poetry_pins}."
            found.find("differs", f"CUDA toolkit {version}", text)


def _toolkits_in(edit: Edit) -> list[str]:
    """The CUDA toolkits that an edit of a release names."""
    if edit.path[-1] == "toolkit":
        return [edit.value]
    if edit.path[0] != "releases":
        return []
    rows = [edit.value]
    if len(edit.path) == 2:
        rows = [*edit.value["index"].values(), edit.value["pypi"]]
    return [row["toolkit"] for row in rows if isinstance(row, dict) and "toolkit" in row]


def _new_platforms(found: Comparison, matrix: Matrix, seen: Observed) -> None:
    """Rows for compute platforms that a written release has; what cannot be offered is blocked."""
    pages = {
        page: edit.path[1]
        for edit in found.edits
        if edit.path[0] == "releases"
        for page in _pages_in(edit)
        if page not in matrix.compute_platforms
    }
    for page in sorted(pages, key=page_key):
        kind = accelerator(page)
        name = {"cuda": "CUDA", "rocm": "ROCm"}.get(kind, kind.upper())
        version = toolkit_name(page) if kind in ("cuda", "rocm") else ""
        row: dict[str, Any] = {"name": f"{name} {version}".strip(), "accelerator": kind}
        major = version.partition(".")[0]
        why = None
        if kind == "cuda" and major not in matrix.drivers:
            why = NO_DRIVER.format(major)
        elif kind != "cuda" and (strange := _strange_needs(matrix, seen, pages[page], page)):
            why = f"it requires {' and '.join(strange)}, which no build before it did"
        if why:
            row |= {"blocked": why, "sources": [INDEX_SOURCE]}
        found.put("compute_platforms", page, value=row)
        found.put("policy", "compute_platforms", "offered", value=page)


def _pages_in(edit: Edit) -> list[str]:
    """The compute platforms that an edit of a release names."""
    value = edit.value
    if len(edit.path) == 2:
        return [*value["index"], *(value["pypi"][p] for p in PLATFORMS if p in value["pypi"])]
    if edit.path[2:3] == ("index",) and len(edit.path) == 4:
        return [edit.path[3]]
    return [value] if edit.path[2:3] == ("pypi",) and edit.path[3] in PLATFORMS else []


def _strange_needs(matrix: Matrix, seen: Observed, torch: str, page: str) -> list[str]:
    """What a new platform's torch requires that no other platform's torch did before.

    The packages of such a one may lie where no lock finds them.
    """
    one = seen.torch[torch]
    known = {row.package for row in matrix.index_only if row.holds(torch, row.platforms[0])}
    for version, other in seen.torch.items():
        for name, needs in other.needs.items():
            if name in matrix.compute_platforms and Version(version) <= Version(torch):
                known |= {need.name for need in needs}
    return sorted({need.name for need in one.needs.get(page, ())} - known)


# --- companions --------------------------------------------------------------------------------


def compare_companions(matrix: Matrix, seen: Observed, today: date) -> Comparison:
    """The companions, beside the releases of torch that the matrix has now."""
    found = Comparison()
    for name, rows in seen.companions.items():
        known = matrix.companions[name]
        for version in sorted(rows, key=Version):
            one, row = rows[version], known.get(version)
            if row is not None:
                _known_companion(found, matrix, one, row)
            elif one.torch is not None:
                _new_companion(found, matrix, rows, one, today)
            elif is_new(version, known):
                text = (
                    "It declares no torch: see in its notes with which it works, and write its row."
                )
                found.find("not taken", f"{name} {version}", text)
        for version in known:
            if version not in rows:
                found.find("promised", f"{name} {version}", "No page has any wheel of it now.")
    return found


def only_torch(matrix: Matrix, wanted: str) -> str | None:
    """The release that `==2.14.0` names; None for a requirement that more can meet."""
    rows = [*SpecifierSet(wanted)]
    exact = len(rows) == 1 and rows[0].operator == "==" and not rows[0].version.endswith("*")
    return rows[0].version if exact else None


def _new_companion(
    found: Comparison, matrix: Matrix, rows: Mapping[str, Seen], one: Seen, today: date
) -> None:
    wanted, about = one.torch or "", f"{one.package} {one.version}"
    torch = only_torch(matrix, wanted)
    fitting = [name for name in matrix.releases if name in SpecifierSet(wanted)]
    if not fitting:
        return  # for a torch that is not in the matrix
    before = _neighbour(rows, one)
    if before and torch:  # where torch is not, no companion of it is to come
        there = {*matrix.releases[torch].index, PYPI}
        before = replace(before, cells={n: row for n, row in before.cells.items() if n in there})
    if why := half_there(one, before, today):
        found.find("half there", about, f"{why} It is not taken yet.")
        return
    try:
        said: Said = companion_row(matrix, one, torch)
    except ValueError as error:
        found.find("not taken", about, f"{error}, which no row can say: write it by hand.")
        return
    found.put("companions", one.package, one.version, value=sourced(said.row, *one.cells))
    for row in _unsuffixed_rows(matrix, one, torch or max(fitting, key=Version)):
        found.put("unsuffixed", value=row)


def _known_companion(found: Comparison, matrix: Matrix, one: Seen, row: Companion) -> None:
    about = f"{one.package} {one.version}"
    fitting = [name for name in matrix.newest_first if name in SpecifierSet(row.torch)]
    if one.torch is not None:
        excluded = [name for name in fitting if name not in SpecifierSet(one.torch)]
        if excluded:
            text = f"It requires torch {one.torch}, the matrix has it beside {', '.join(excluded)}."
            found.find("differs", about, text)
    if one.python_excluded != sorted(row.python_excluded, key=Version):
        text = (
            f"Requires-Python is {one.python}, the matrix excludes {row.python_excluded or 'none'}."
        )
        found.find("differs", about, text)
    if not fitting:
        return
    theirs = wheels(one.cells)
    beside = companion_promised(matrix, row, fitting[0])
    whole = promised(matrix.releases[fitting[0]])
    needed = {wheel for wheel in beside if row.index is not None or wheel in whole}
    if missing := needed - theirs:
        found.find("promised", about, f"The matrix has wheels that no page shows: {told(missing)}.")
    if row.index is not None:
        for page in sorted({*one.index} & {*matrix.compute_platforms}, key=page_key):
            known = row.index.get(page, ())
            if not {*one.index[page]} <= {*known}:
                now = letters({*known, *one.index[page]})
                found.put("companions", one.package, one.version, "index", page, value=now)
    _builds(found, row.pypi or matrix.releases[fitting[0]].pypi, one)


# --- what no index can tell --------------------------------------------------------------------


def gaps(matrix: Matrix) -> list[Finding]:
    """What is not known of the newest release and of blocked platforms, and who says it."""
    found = Comparison()
    for name, row in matrix.compute_platforms.items():
        major = name[2:-1]
        if row.accelerator == "cuda" and major not in matrix.drivers:
            text = (
                f"{NO_DRIVER.format(major)}, so nobody gets it: write `drivers:` from NVIDIA's CUDA"
            )
            found.find("gap", name, f"{text} release notes, and take `blocked:` out.")
    torch = next(iter(matrix.newest_first), None)
    if torch is None:
        return found.findings
    release = matrix.releases[torch]
    builds = {(build, p) for p, build in release.pypi.on().items()}
    builds |= {(page, p) for page, row in release.index.items() for p in row.platforms}
    unknown: dict[str, set[str]] = {}
    for page, p in builds:
        rows = matrix.gpu_architectures.get(page, [])
        if accelerator(page) == "cuda" and not any(span.holds(torch, p) for span in rows):
            unknown.setdefault(page, set()).add(p)
    for page in sorted(unknown, key=page_key):
        on = ", ".join(PLATFORMS[p] for p in sorted(unknown[page], key="LAWM".index))
        text = f"for which GPUs {page} is built on {on} is not known: see RELEASE.md of torch, and"
        found.find("gap", f"torch {torch}", f"{text} write `gpu_architectures:`.")
    toolkits = {row.toolkit for row in release.index.values()} | {release.pypi.toolkit}
    for toolkit in sorted(filter(None, toolkits), key=Version):
        known = matrix.cuda_toolkits.versions[toolkit]
        if known.linux is None and known.windows is None:
            text = "the driver that ships with it is not known: see NVIDIA's CUDA release notes."
            found.find("gap", f"CUDA toolkit {toolkit}", text)
        if known.poetry_pins is None:
            text = "Poetry's pins are not known, so Poetry is not offered for it."
            found.find("gap", f"CUDA toolkit {toolkit}", text)
    return found.findings
