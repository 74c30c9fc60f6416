"""From facts to the rows of version_matrix.yml that say them, and back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.version import Version

from refresh.observed import Cells, Seen
from torch_template.matrix.facts import PLATFORMS, PYPI, python_key, pythons, toolkit_name
from torch_template.matrix.model import Companion, Matrix, Release

ORDER = "LAWM"
KINDS = ("cpu", "cu", "rocm", "xpu")
Wheel = tuple[str, str, str]  # page, letter, Python


def accelerator(page: str) -> str:
    """The accelerator of a page of the PyTorch index, by its name; PyPI's counts as the CPU."""
    kind = next((kind for kind in KINDS if page.startswith(kind)), "cpu")
    return {"cu": "cuda"}.get(kind, kind)


def page_key(page: str) -> tuple[int, Version]:
    """Sort key of a page: cpu, CUDA, ROCm and XPU, each with the oldest first."""
    kind = next((n for n, kind in enumerate(KINDS) if page.startswith(kind)), len(KINDS))
    return kind, Version(toolkit_name(page) if kind in (1, 2) else "0")


def letters(found: Iterable[str]) -> str:
    """`L A W`."""
    return " ".join(sorted(found, key=ORDER.index))


def span(minors: Iterable[str]) -> str:
    """`3.10 - 3.14`, or the one minor; ValueError where one is missing between."""
    keys = sorted(map(python_key, minors))
    if keys != [*range(keys[0], keys[-1] + 1)]:
        raise ValueError(f"Python {', '.join(f'3.{key}' for key in keys)}: one is missing between")
    return f"3.{keys[0]}" if len(keys) == 1 else f"3.{keys[0]} - 3.{keys[-1]}"


def wheels(cells: Cells) -> set[Wheel]:
    """Cells as single wheels: page, letter, Python."""
    return {
        (page, letter, minor)
        for page, row in cells.items()
        for letter, minors in row.items()
        for minor in minors
    }


def cells_of(found: Iterable[Wheel]) -> dict[str, dict[str, frozenset[str]]]:
    """Single wheels as cells."""
    rows: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for page, letter, minor in found:
        rows[page][letter].add(minor)
    return {
        page: {letter: frozenset(minors) for letter, minors in row.items()}
        for page, row in rows.items()
    }


def told(found: Iterable[Wheel]) -> str:
    """Wheels in words: `cu126 on linux-aarch64 (Python 3.10 - 3.14) and linux-x86_64 (...)`."""
    said: defaultdict[str, list[str]] = defaultdict(list)
    rows = cells_of(found)
    for page in sorted(rows, key=page_key):
        for letter in sorted(rows[page], key=ORDER.index):
            try:
                minors = span(rows[page][letter])
            except ValueError:
                minors = ", ".join(sorted(rows[page][letter], key=python_key))
            said[f"{PLATFORMS[letter]} (Python {minors})"].append(page)
    return "; ".join(f"{', '.join(pages)} on {where}" for where, pages in said.items())


# --- what the matrix says ----------------------------------------------------------------------


def promised(release: Release) -> set[Wheel]:
    """The wheels of torch that a row of the matrix promises."""
    rows: list[tuple[str, str]] = [(PYPI, p) for p in release.pypi.on()]
    rows += [(page, p) for page, row in release.index.items() for p in row.platforms]
    return {
        (page, letter, minor)
        for page, letter in rows
        for minor in pythons(release, page, accelerator(page), letter)
    }


def companion_promised(matrix: Matrix, row: Companion, torch: str) -> set[Wheel]:
    """The wheels of a companion that its row promises beside a release of torch."""
    release = matrix.releases[torch]
    index = row.index
    if index is None:
        index = {page: one.platforms for page, one in release.index.items()}
    pypi = row.pypi or release.pypi
    rows = [(page, p) for page, on in index.items() for p in on] + [(PYPI, p) for p in pypi.on()]
    return {
        (page, letter, minor) for page, letter in rows for minor in row.pythons(release, letter)
    }


# --- what a row has to say ---------------------------------------------------------------------


@dataclass
class Said:
    """The keys of a row, and the wheels that no row can say, which it leaves out."""

    row: dict[str, Any]
    left_out: set[Wheel] = field(default_factory=set)


def python_rows(cells: Cells, of_torch: bool = True) -> Said:
    """`python` and `more_python`: the minors of all cells, and those of some.

    `of_torch`: a row of torch can leave out pages, and has nothing older than `python`.
    ValueError: no minor is in all of them, or one is missing between.
    """
    flat = [(page, letter, minors) for page, row in cells.items() for letter, minors in row.items()]
    base = frozenset.intersection(*(minors for _, _, minors in flat)) if flat else frozenset()
    if not base:
        raise ValueError("there is no Python that all of its wheels are for")
    said = Said({"python": span(base)})
    newest, more = max(map(python_key, base)), []
    for minor in sorted({m for _, _, minors in flat for m in minors} - base, key=python_key):
        on = {
            letter: {page: minor in row[letter] for page, row in cells.items() if letter in row}
            for letter in ORDER
        }
        rows = _more(on, of_torch) if not of_torch or python_key(minor) > newest else []
        for where, without in rows:
            row = {"python": minor, "platforms": letters(where)}
            more.append(row | ({"not_for": " ".join(without)} if without else {}))
        for letter, pages in on.items():
            had = {page for page, there in pages.items() if there}
            taken = {p for where, out in rows if letter in where for p in _left(pages, out)}
            said.left_out |= {(page, letter, minor) for page in had - taken}
    if more:
        said.row["more_python"] = more
    return said


def _more(
    on: Mapping[str, Mapping[str, bool]], of_torch: bool
) -> list[tuple[list[str], tuple[str, ...]]]:
    """Which platforms have a Python, and for which pages or accelerators not: a row for each.

    `on`: by platform, whether each page has the Python there.
    """
    own: dict[str, tuple[str, ...]] = {}
    for letter, pages in on.items():
        lacks = {page for page, there in pages.items() if not there}
        kinds = {kind for page in lacks if (kind := accelerator(page)) != "cpu"}
        whole = {k for k in kinds if all(p in lacks for p in pages if accelerator(p) == k)}
        without = sorted(whole | {page for page in lacks if accelerator(page) not in whole})
        if _left(pages, tuple(without)) and (of_torch or not without):
            own[letter] = tuple(without)
    together = tuple(sorted({one for without in own.values() for one in without}))
    alike = [p for p in own if _left(on[p], together) == _left(on[p], own[p])]
    rows = [(alike, together)] if alike else []
    return rows + [([letter], own[letter]) for letter in own if letter not in alike]


def _left(pages: Iterable[str], without: tuple[str, ...]) -> set[str]:
    """The pages that a `not_for` leaves."""
    return {page for page in pages if {page, accelerator(page)}.isdisjoint(without)}


def release_row(seen: Seen) -> Said:
    """What the row of a release of torch has to say. ValueError: no row can say it."""
    said = python_rows(seen.cells)
    said.row = {"released": seen.released, **said.row}
    said.row["index"] = {
        page: {"platforms": letters(seen.index[page])}
        | ({"toolkit": seen.toolkits[page]} if page in seen.toolkits else {})
        for page in sorted(seen.index, key=page_key)
    }
    said.row["pypi"] = pypi_row(seen)
    return said


def pypi_row(seen: Seen) -> dict[str, str]:
    """What PyPI's wheels are built for, by letter; the toolkit, where the index does not say it."""
    row = {letter: seen.builds[letter] for letter in ORDER if letter in seen.builds}
    toolkit = seen.toolkits.get(PYPI)
    if toolkit and seen.toolkits.get(row.get("L", "")) != toolkit:
        row["toolkit"] = toolkit
    return row


def companion_row(matrix: Matrix, seen: Seen, torch: str | None) -> Said:
    """What the row of a companion has to say; `torch`: the one release that it is for, if it is.

    What is as that release has it is left out. ValueError: no row can say it.
    """
    cells = {page: row for page, row in seen.cells.items() if page in matrix.compute_platforms}
    said = python_rows(cells, of_torch=False)
    said.row = {"torch": seen.torch, **said.row}
    if seen.python_excluded:
        said.row["python_excluded"] = seen.python_excluded
    said.row["index"] = {
        page: letters(cells[page]) for page in sorted(cells, key=page_key) if page != PYPI
    }
    said.row["pypi"] = pypi_row(seen)
    if torch is None:
        return said
    release = matrix.releases[torch]
    ours = {(page, p) for page, row in release.index.items() for p in row.platforms}
    if ours <= {(page, p) for page, row in cells.items() for p in row}:
        del said.row["index"]
    if said.row["pypi"] == release.pypi.on():
        del said.row["pypi"]
    _leave_out_pythons(said.row, cells, release)
    return said


def _leave_out_pythons(row: dict[str, Any], cells: Cells, release: Release) -> None:
    """Say nothing of Pythons that are as torch has them, nor of those that torch does not have."""
    on: dict[str, frozenset[str]] = {}
    for one in cells.values():
        on |= {p: minors & on.get(p, minors) for p, minors in one.items()}
    base = frozenset.intersection(*on.values())
    if base >= {*release.python}:
        del row["python"]
        base = frozenset(release.python)
    row.pop("more_python", None)
    of_torch = {minor for more in release.more_python for minor in more.python} - base
    more = [
        {"python": minor, "platforms": letters(p for p in on if minor in on[p])}
        for minor in sorted(of_torch, key=python_key)
        if any(minor in minors for minors in on.values())
    ]
    if more:
        row["more_python"] = more
