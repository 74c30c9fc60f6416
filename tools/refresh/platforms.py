"""What releases bring along: compute platforms, CUDA toolkits, and what no index tells of them."""

from __future__ import annotations

from typing import Any

from packaging.version import Version

from refresh.findings import (
    INDEX_SOURCE,
    Comparison,
    Edit,
    Finding,
    sourced,
)
from refresh.observed import Observed
from refresh.rows import (
    accelerator,
    page_key,
)
from torch_template.matrix.facts import PLATFORMS, PYPI, toolkit_name
from torch_template.matrix.model import Matrix, cuda_major

NO_DRIVER = "the least NVIDIA driver for CUDA {} is not established"


def new_toolkits(found: Comparison, matrix: Matrix, seen: Observed) -> None:
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


def new_platforms(found: Comparison, matrix: Matrix, seen: Observed) -> None:
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
        elif kind != "cuda" and (strange := strange_needs(matrix, seen, pages[page], page)):
            why = f"it requires {' and '.join(strange)}, which no build on offer before it did"
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


def strange_needs(matrix: Matrix, seen: Observed, torch: str, page: str) -> list[str]:
    """What a build of torch requires that no earlier one on offer did.

    Such packages may lie where no lock finds them, as those of ROCm 7.14 do.
    """
    known = {row.package for row in matrix.index_only if row.holds(torch, row.platforms[0])}
    for version, one in seen.torch.items():
        for name, needs in one.needs.items():
            row = matrix.compute_platforms.get(name)
            earlier = Version(version) < Version(torch) or (version == torch and name == "cpu")
            if row and not row.blocked and earlier:
                known |= {need.name for need in needs}
    return sorted({need.name for need in seen.torch[torch].needs.get(page, ())} - known)


def _newest(matrix: Matrix) -> dict[str, tuple[str, set[str]]]:
    """By compute platform that the newest index has, its newest release and where that has it."""
    found: dict[str, tuple[str, set[str]]] = {}
    index = next((torch for torch in matrix.newest_first if matrix.releases[torch].index), None)
    for torch in dict.fromkeys(filter(None, (*matrix.newest_first[:1], index))):
        release = matrix.releases[torch]
        builds: dict[str, set[str]] = {
            page: {*row.platforms} for page, row in release.index.items()
        }
        for platform, page in release.pypi.on().items():
            builds.setdefault(page, set()).add(platform)
        for page in sorted(builds, key=page_key):
            found.setdefault(page, (torch, builds[page]))
    return found


def gaps(matrix: Matrix) -> list[Finding]:
    """What is not known of the newest releases and of blocked platforms, and who says it."""
    found = Comparison()
    for name, row in matrix.compute_platforms.items():
        major = cuda_major(name)
        if row.accelerator == "cuda" and major not in matrix.drivers:
            text = (
                f"{NO_DRIVER.format(major)}, so nobody gets it: write `drivers:` from NVIDIA's CUDA"
            )
            found.find("gap", name, f"{text} release notes, and take `blocked:` out.")
    newest = _newest(matrix)
    for page, (torch, platforms) in newest.items():
        rows = matrix.gpu_architectures.get(page, [])
        unknown = [p for p in platforms if not any(span.holds(torch, p) for span in rows)]
        if unknown and accelerator(page) == "cuda":
            on = ", ".join(PLATFORMS[p] for p in sorted(unknown, key="LAWM".index))
            text = f"for which GPUs {page} is built on {on} is not known: see RELEASE.md of torch,"
            found.find("gap", f"torch {torch}", f"{text} and write `gpu_architectures:`.")
    releases = [matrix.releases[torch] for torch in dict(newest.values())]
    toolkits = {row.toolkit for release in releases for row in release.index.values()}
    toolkits |= {release.pypi.toolkit for release in releases}
    for toolkit in sorted(filter(None, toolkits), key=Version):
        known = matrix.cuda_toolkits.versions[toolkit]
        if known.linux is None and known.windows is None:
            text = "the driver that ships with it is not known: see NVIDIA's CUDA release notes."
            found.find("gap", f"CUDA toolkit {toolkit}", text)
        if known.poetry_pins is None:
            text = "Poetry's pins are not known, so Poetry is not offered for it."
            found.find("gap", f"CUDA toolkit {toolkit}", text)
    return found.findings
