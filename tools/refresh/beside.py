"""What was seen of companions against what version_matrix.yml says: what to write, what to tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from refresh.findings import (
    Comparison,
    half_there,
    neighbour,
    now_seen,
    other_builds,
    sourced,
    unread_builds,
    unsuffixed_rows,
)
from refresh.observed import Observed, Seen, is_new
from refresh.rows import (
    companion_promised,
    companion_row,
    letters,
    page_key,
    promised,
    told,
    wheels,
)
from torch_template.matrix.facts import PYPI
from torch_template.matrix.model import Companion, Matrix


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
                    "It declares no torch, or not the same on each system: see in its notes with"
                    " which it works, and write its row."
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
    before = neighbour(rows, one)
    if before and torch:  # where torch is not, no companion of it is to come
        there = {*matrix.releases[torch].index, PYPI}
        before = replace(before, cells={n: row for n, row in before.cells.items() if n in there})
    if why := half_there(one, before, today):
        found.find("half there", about, f"{why} It is not taken yet.")
        return
    if (why := unread_builds(one)) and before and before.builds:
        found.find("not taken", about, why)
        return
    try:
        said = companion_row(matrix, one, torch)
    except ValueError as error:
        found.find("not taken", about, f"{error}, which no row can say: write it by hand.")
        return
    found.put("companions", one.package, one.version, value=sourced(said.row, *one.cells))
    for row in unsuffixed_rows(matrix, one, torch or max(fitting, key=Version)):
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
    other_builds(found, row.pypi or matrix.releases[fitting[0]].pypi, one)
    now_seen(found, ("companions", one.package, one.version), row, one)
