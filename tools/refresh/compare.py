"""What was seen of torch against what version_matrix.yml says: what to write, what to tell."""

from __future__ import annotations

import re
from datetime import date

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
from refresh.platforms import new_platforms, new_toolkits, strange_needs
from refresh.rows import (
    Wheel,
    cells_of,
    letters,
    page_key,
    promised,
    python_rows,
    release_row,
    told,
    wheels,
)
from torch_template.matrix.facts import PLATFORMS, PYPI, is_unsuffixed, python_key
from torch_template.matrix.model import Matrix, Release


def compare_torch(matrix: Matrix, seen: Observed, today: date) -> Comparison:
    """The releases of torch, the compute platforms and CUDA toolkits that they bring."""
    found = Comparison()
    lost = _lost_pages(matrix, seen)
    for version in sorted(seen.torch, key=Version):
        one = seen.torch[version]
        if version in matrix.releases:
            _known_release(found, matrix, one, neighbour(seen.torch, one), today)
        elif is_new(version, matrix.releases) and lost:
            text = f"No release has {' and '.join(lost)} now, which the matrix promises."
            why = "so nothing new is taken: see whether that page is gone or does not answer."
            found.find("half there", f"torch {version}", f"{text[:-1]}, {why}")
        elif is_new(version, matrix.releases):
            _new_release(found, matrix, seen, one, today)
    for version in matrix.newest_first:
        if version not in seen.torch:
            found.find("promised", f"torch {version}", "No page has any wheel of it now.")
    new_toolkits(found, matrix, seen)
    new_platforms(found, matrix, seen)
    return found


def _lost_pages(matrix: Matrix, seen: Observed) -> list[str]:
    """The compute platforms that the matrix promises, and that no release has: a missing page."""
    there = {page for one in seen.torch.values() for page in one.cells}
    known = {
        page
        for version in seen.torch
        if version in matrix.releases
        for page, _, _ in promised(matrix.releases[version])
    }
    return sorted(known - there, key=page_key)


# --- new releases of torch ---------------------------------------------------------------------


def _new_release(found: Comparison, matrix: Matrix, seen: Observed, one: Seen, today: date) -> None:
    about = f"torch {one.version}"
    if why := half_there(one, neighbour(seen.torch, one), today):
        found.find("half there", about, f"{why} It is not taken yet.")
        return
    if why := unread_builds(one) or _odd_suffixes(matrix, one):
        found.find("not taken", about, why)
        return
    try:
        said = release_row(one)
    except ValueError as error:
        found.find("not taken", about, f"{error}, which no row can say: write it by hand.")
        return
    said.row["not_offered"] = [
        f"{page} on {PLATFORMS[letter]}: Python {minor}, {why}"
        for why, wheels_out in (
            ("for which its triton has no wheel", one.not_whole),
            ("which other builds there do not have", said.left_out),
        )
        for page, letter, minor in sorted(wheels_out)
    ]
    if not said.row["not_offered"]:
        del said.row["not_offered"]
    found.put("releases", one.version, value=sourced(said.row, *one.cells))
    for page in sorted({*one.needs} & {*matrix.compute_platforms}, key=page_key):
        strange = strange_needs(matrix, seen, one.version, page)
        if strange and not matrix.compute_platforms[page].blocked:
            text = f"Its wheel on {page} requires {' and '.join(strange)}, which no build on offer"
            found.find("differs", about, f"{text} before it did: see whether a lock finds it.")
    for row in unsuffixed_rows(matrix, one):
        found.put("unsuffixed", value=row)


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
    other_builds(found, release.pypi, one)
    now_seen(found, ("releases", one.version), release, one)


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
