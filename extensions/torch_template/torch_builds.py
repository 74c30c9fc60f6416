"""Writes scripts/torch_builds.json, the data file of a project's plain scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .build import ANSWERS_FILE, Build, Wheels
from .managers.lines import MARKERS, index_url
from .moves import answers


def torch_builds(
    build: Build,
    same_release: Sequence[Build],
    alternatives: Sequence[Build],
    pythons: Sequence[str],
    older_glibc: Mapping[str, str],
    base: str,
    cool_down: int = 0,
) -> str:
    """The text of scripts/torch_builds.json, the data file of the plain scripts.

    `builds` has the project's own build, and those of its release that one machine can have instead
    of it, of which `extra_compute_platforms` are locked. `alternatives` has, by platform, what the
    project would get beyond these if it moved, and `moves` has what it must answer for that beside
    the compute platform.
    `cool_down` is the days for which no release is locked, where the manager has no setting for it.
    `older_glibc` has, by platform, the series of torch for systems with an older glibc.
    `pythons` are the minors for which it would get the same release as now. What is the same on all
    platforms of a build is said once, and nothing is said of what there is not.
    """
    answers_file = build.asked.answers_file
    builds = {other.asked.compute_platform: other for other in (build, *same_release)}
    reach = {other.asked.compute_platform: other for other in alternatives}
    common = _in_every_build([*builds.values()])
    rooms = [other.windows_path for other in builds.values() if other.windows_path]
    data = {
        "schema": 2,
        "package_manager": build.asked.manager,
        "answers_file": answers_file if answers_file != ANSWERS_FILE else None,
        "python": build.asked.python,
        "pythons": list(pythons),
        "requires_python": ",".join(
            [f"=={build.asked.python}.*", *(f"!={version}" for version in build.python_excluded)]
        ),
        "compute_platform": build.asked.compute_platform,
        "extra_compute_platforms": [
            name for name in build.asked.extras if name != build.asked.compute_platform
        ],
        "release": build.torch,
        "windows_path": rooms[0] if rooms else None,
        "older_glibc": dict(older_glibc),
        "cool_down": cool_down,
        "in_every_build": common,
        "builds": {
            name: _build(other, build if other is build else reach.get(name), common, base)
            for name, other in builds.items()
        },
        "alternatives": _alternatives(builds, reach, common),
        "moves": {name: _more_answers(build, other) for name, other in reach.items()},
    }
    return _json({key: value for key, value in data.items() if value})


def _more_answers(build: Build, other: Build) -> str:
    """The options of Copier that a move to another compute platform needs beside its name."""
    name = f"--data compute_platform={other.asked.compute_platform}"
    return answers(build, other).replace(name, "").strip()


def _in_every_build(builds: Sequence[Build]) -> dict[str, Any]:
    """The platforms whose wheels do not depend on the build: macOS, where there are any."""
    rows = [
        {name: wheels for name, wheels in build.wheels.items() if wheels.accelerator == "mps"}
        for build in builds
    ]
    same = all(row == rows[0] for row in rows)
    return {name: _row(wheels) for name, wheels in rows[0].items()} if same else {}


def _row(wheels: Wheels) -> dict[str, Any]:
    """What there is to say of the wheels for a platform."""
    row = {key: value for key, value in asdict(wheels).items() if value}
    if wheels.torch_version == wheels.packages["torch"]:
        del row["torch_version"]
    return row


def _build(
    build: Build, reached: Build | None, common: Mapping[str, Any], base: str
) -> dict[str, Any]:
    """A build; `reached` is what the project would get if it moved there, None if it cannot."""
    rows = {name: _row(wheels) for name, wheels in build.wheels.items() if name not in common}
    first = next(iter(rows.values()))
    same = {
        key: value
        for key, value in first.items()
        if all(key in row and row[key] == value for row in rows.values())
    }
    platforms = {
        name: {key: value for key, value in row.items() if key not in same}
        | ({} if reached and name in reached.wheels else {"machine_only": True})
        for name, row in rows.items()
    }
    said = {"label": build.name, "index_url": index_url(build, base), **same}
    said["extra_packages"] = [*build.index_only, *build.nvidia_pins]
    said["only_on"] = {
        package: found
        for package, found in build.index_only.items()
        if {*found}
        != {name for name, wheels in build.wheels.items() if wheels.accelerator != "mps"}
    }
    return {key: value for key, value in said.items() if value} | {"platforms": platforms}


def _alternatives(
    builds: Mapping[str, Build], reach: Mapping[str, Build], common: Mapping[str, Any]
) -> dict[str, Any]:
    """By platform, what the project would get if it moved, where `builds` does not say it."""
    keys = ("accelerator", "minimum_driver", "gpu_architectures", "ptx")
    found: dict[str, Any] = {platform: {} for platform in MARKERS if platform not in common}
    for name, other in reach.items():
        here = builds[name].wheels if name in builds else {}
        for platform, wheels in other.wheels.items():
            if platform in found and platform not in here:
                row = {key: getattr(wheels, key) for key in keys}
                said = {key: value for key, value in row.items() if value}
                found[platform][name] = {"release": other.torch, **said}
    return {platform: rows for platform, rows in found.items() if rows}


def _json(value: object, margin: str = "\n") -> str:
    """JSON for people: a line for each list, and for each object that has no others in it."""
    if not isinstance(value, dict) or not any(isinstance(part, dict) for part in value.values()):
        return json.dumps(value)
    inner = margin + "  "
    rows = (f"{json.dumps(key)}: {_json(part, inner)}" for key, part in value.items())
    return f"{{{inner}{f',{inner}'.join(rows)}{margin}}}"
