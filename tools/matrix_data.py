"""The matrix for programs: what docs/matrix.json says, as docs/matrix.schema.json describes it.

One row of `builds` is one torch wheel that a project can have, by release, compute platform and
system, with its Pythons and what goes beside it. It is found by the same code as a project's build.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from packaging.version import Version

from torch_template.build import Asked, Build, Wheels
from torch_template.matrix.facts import (
    COMPANIONS,
    PLATFORMS,
    PYPI,
    driver_of,
    python_key,
    releases_of,
    toolkit_name,
)
from torch_template.matrix.model import Companion, Matrix
from torch_template.resolving import find_build

SCHEMA = "matrix/1"
ESTABLISHED = {True: "established", False: "not established"}
COPIER_YML = Path(__file__).parents[1] / "copier.yml"
Row = dict[str, Any]


def document(matrix: Matrix) -> Row:
    """Everything that docs/matrix.json says."""
    questions = yaml.safe_load(COPIER_YML.read_text(encoding="utf-8"))
    return {
        "$schema": "matrix.schema.json",
        "schema": SCHEMA,
        "reviewed": str(matrix.reviewed),
        "index_url": questions["pytorch_index_url"]["default"],
        "sources": matrix.sources,
        "pythons": [_python(matrix, minor) for minor in every_python(matrix)],
        "compute_platforms": [_compute_platform(matrix, name) for name in matrix.compute_platforms],
        "releases": [_release(matrix, torch) for torch in matrix.newest_first],
        "companions": [
            _companion(name, version, rows[version])
            for name, rows in matrix.companions.items()
            for version in sorted(rows, key=Version, reverse=True)
        ],
        "builds": [row for torch in matrix.newest_first for row in _builds(matrix, torch)],
    }


def text(document: Mapping[str, Any]) -> str:
    """The file's text, one row a line, so that a change shows as the row that changed."""
    parts = []
    for key, value in document.items():
        shown = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list):
            rows = ",\n".join(f"    {json.dumps(row, ensure_ascii=False)}" for row in value)
            shown = f"[\n{rows}\n  ]"
        elif isinstance(value, dict):
            shown = json.dumps(value, ensure_ascii=False, indent=2).replace("\n", "\n  ")
        parts.append(f"  {json.dumps(key)}: {shown}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def every_python(matrix: Matrix) -> list[str]:
    """Every minor that a release of torch has wheels for, oldest first."""
    found = {minor for one in matrix.releases.values() for minor in one.python}
    found |= {m for one in matrix.releases.values() for row in one.more_python for m in row.python}
    return sorted(found | {*matrix.pythons}, key=python_key)


def _python(matrix: Matrix, minor: str) -> Row:
    known = matrix.pythons.get(minor)
    return {
        "python": minor,
        "security_fixes_until": str(known.ends) if known else None,
        "confidence": known.confidence if known else None,
        "sources": known.sources if known else [],
    }


def _compute_platform(matrix: Matrix, name: str) -> Row:
    known = matrix.compute_platforms[name]
    driver = driver_of(matrix, name)
    return {
        "id": name,
        "name": known.name,
        "accelerator": known.accelerator if name != PYPI else None,
        "toolkit": toolkit_name(name) if known.accelerator in ("cuda", "rocm") else None,
        "nvidia_driver": {"linux": driver.linux, "windows": driver.windows} if driver else None,
        "driver_confidence": driver.confidence if driver else None,
        "torch": releases_of(matrix, name),
        "not_installable": known.blocked,
    }


def _release(matrix: Matrix, torch: str) -> Row:
    release = matrix.releases[torch]
    return {
        "torch": torch,
        "released": str(release.released) if release.released else None,
        "index": ESTABLISHED[bool(release.index)],
        "pypi": ESTABLISHED[bool(release.pypi.on())],
        "companions_not_established": [
            name for name in COMPANIONS if not matrix.partners[torch].get(name)
        ],
        "left_out": release.not_offered,
        "confidence": release.confidence,
        "sources": release.sources,
    }


def _companion(name: str, version: str, known: Companion) -> Row:
    return {
        "name": name,
        "version": version,
        "torch": known.torch,
        "python_excluded": known.python_excluded,
        "confidence": known.confidence,
        "sources": known.sources,
    }


# --- Builds -----------------------------------------------------------------------------------


def only(matrix: Matrix, torch: str) -> Matrix:
    """The same matrix with one release, so that the newest that fits is that one."""
    facts = {**dict(matrix), "releases": {torch: matrix.releases[torch]}}
    return Matrix.model_construct(**facts)  # the facts are valid already


def confidence(matrix: Matrix, torch: str, compute_platform: str, letter: str) -> str:
    """How sure it is that there is this wheel: a cell can be weaker than its release."""
    release = matrix.releases[torch]
    for word, cells in (("inferred", release.inferred), ("one source", release.one_source)):
        if letter in cells.get(compute_platform, ()):
            return word
    return release.confidence


def _builds(matrix: Matrix, torch: str) -> Iterator[Row]:
    """The rows of one release. What macOS gets, from PyPI, is told once: as `cpu` and `pypi`."""
    alone = only(matrix, torch)
    for name in matrix.compute_platforms:
        builds = {minor: _build(alone, minor, name) for minor in every_python(matrix)}
        for letter, system in PLATFORMS.items():
            has = {m: b for m, b in builds.items() if b and system in b.wheels}
            if has and (letter != "M" or name in ("cpu", PYPI)):
                wheels = next(iter(has.values())).wheels[system]
                yield {
                    "torch": torch,
                    "compute_platform": name,
                    "system": system,
                    "pythons": list(has),
                    **_facts(matrix, torch, name, letter, wheels),
                    "from": PYPI if name == PYPI or letter == "M" else "index",
                    "confidence": confidence(matrix, torch, name, letter),
                    "companions": _companions(alone, name, system, list(has)),
                }


def _build(matrix: Matrix, python: str, compute_platform: str, *packages: str) -> Build | None:
    """As uv has it, which can take every wheel that there is."""
    return find_build(matrix, Asked("uv", python, compute_platform, packages=packages))


def _facts(matrix: Matrix, torch: str, name: str, letter: str, wheels: Wheels) -> Row:
    """What one wheel is and needs; null for GPUs that are not established."""
    release = matrix.releases[torch]
    built_for = release.pypi.on()[letter] if name == PYPI or letter == "M" else name
    spans = matrix.gpu_architectures.get(built_for, [])
    span = next((one for one in spans if one.holds(torch, letter)), None)
    names = matrix.gpu_generations.names
    has_gpu = wheels.accelerator in ("cuda", "rocm", "xpu")
    known = wheels.gpu_architectures or None if has_gpu else []
    found = None if known is None else list(dict.fromkeys(names[c] for c in known if c in names))
    return {
        "version": wheels.packages["torch"],
        "torch_version": wheels.torch_version,
        "built_for": built_for,
        "accelerator": wheels.accelerator,
        "toolkit": wheels.toolkit,
        "nvidia_driver": wheels.minimum_driver,
        "gpu_architectures": known,
        "gpu_ptx": wheels.ptx,
        "gpu_generations": found,
        "gpu_confidence": span.confidence if span else None,
    }


def _companions(
    matrix: Matrix, compute_platform: str, system: str, pythons: Sequence[str]
) -> list[Row]:
    """What goes beside a wheel, by name and version, with the Pythons that can have it."""
    rows: dict[tuple[str, str], Row] = {}
    for name in COMPANIONS:
        for minor in pythons:
            build = _build(matrix, minor, compute_platform, name)
            if not build or name not in build.versions or system not in build.wheels:
                continue
            version = build.wheels[system].packages[name]
            pypi = compute_platform == PYPI or system == PLATFORMS["M"]
            row = rows.setdefault(
                (name, version),
                {
                    "name": name,
                    "version": version,
                    "from": PYPI if pypi else "index",
                    "pythons": [],
                },
            )
            row["pythons"].append(minor)
    return list(rows.values())
