"""The lines of the rendered files that carry a build: requirements, sources, torch_builds.json.

Each function takes the build that `torch_build()` of version_matrix.py returns. A new package
manager is one more function here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jinja2 import Environment
from jinja2.ext import Extension

if TYPE_CHECKING:
    from version_matrix import Build, Wheels

NOT_MACOS = "sys_platform != 'darwin'"
MACOS = "sys_platform == 'darwin'"
AARCH64 = "sys_platform == 'linux' and platform_machine == 'aarch64'"
NOT_AARCH64 = "sys_platform != 'darwin' and platform_machine != 'aarch64'"
MARKERS = {
    "linux-x86_64": "sys_platform == 'linux' and platform_machine == 'x86_64'",
    "linux-aarch64": AARCH64,
    "windows-amd64": "sys_platform == 'win32' and platform_machine == 'AMD64'",
    "macos-arm64": "sys_platform == 'darwin' and platform_machine == 'arm64'",
}


def any_of(platforms: Sequence[str]) -> str:
    """The marker that holds on each of the platforms."""
    return " or ".join(MARKERS[platform] for platform in platforms)


def requires_python(build: Build) -> str:
    """Exactly the chosen minor, without the patch releases that a wheel excludes."""
    minor = int(build.asked.python.removeprefix("3."))
    excluded = "".join(f",!={version}" for version in build.python_excluded)
    return f">=3.{minor},<3.{minor + 1}{excluded}"


def torch_requirements(build: Build) -> list[str]:
    """The direct dependencies that make the build, as in `[project] dependencies` (PEP 508).

    The public versions: the PyTorch index's `2.14.1+cu130` and PyPI's `2.14.1` both match.
    """
    return [
        *(f"{package}=={version}" for package, version in build.versions.items()),
        *(f"{package} ; {any_of(platforms)}" for package, platforms in build.index_only.items()),
        *(
            f"{package}=={version} ; sys_platform == 'linux'"
            for package, version in build.nvidia_pins.items()
        ),
    ]


def index_sources(build: Build) -> dict[str, str]:
    """Every package that comes from the PyTorch index, with the marker of where it does."""
    if build.asked.compute_platform == "pypi":
        return {}
    others = {package: any_of(platforms) for package, platforms in build.index_only.items()}
    return dict.fromkeys(build.versions, NOT_MACOS) | others


def environments(build: Build) -> list[str]:
    """The markers of the platforms that have wheels."""
    return [MARKERS[platform] for platform in build.wheels]


def index_version(build: Build, package: str) -> str:
    """The version that the PyTorch index has a package in, e.g. `2.14.1+cu130`.

    Unsuffixed aarch64 wheels aside, which only uv can tell apart.
    """
    return build.main.packages[package]


def find_links(build: Build, base: str) -> list[str]:
    """The pages of the PyTorch index that pip may look at: those of the build's packages alone.

    With `--extra-index-url` pip would take the stale copies of other packages there as well.
    """
    index = index_url(build, base)
    return [f"{index}/{package}/" for package in index_sources(build)]


def pip_lines(build: Build) -> list[str]:
    """Exact pins of the wheels, for a file that serves as requirements and as constraints.

    The marker of the index's own wheels matches every other system too: where there is no such
    wheel pip then says so, instead of taking PyPI's.
    """
    if build.asked.compute_platform == "pypi":
        return [f"{package}=={version}" for package, version in build.versions.items()]
    lines = []
    for package, version in build.versions.items():
        pins = {platform: wheels.packages[package] for platform, wheels in build.wheels.items()}
        main = index_version(build, package)
        if pins.get("linux-aarch64", main) != main:
            lines.append(f"{package}=={main} ; {NOT_AARCH64}")
            lines.append(f"{package}=={pins['linux-aarch64']} ; {AARCH64}")
        else:
            lines.append(f"{package}=={main} ; {NOT_MACOS}")
        lines.append(f"{package}=={version} ; {MACOS}")
    return lines


def index_url(build: Build, base: str) -> str | None:
    """The index of the compute platform; None for PyPI's own wheels."""
    name = build.asked.compute_platform
    return None if name == "pypi" else f"{base.rstrip('/')}/{name}"


def torch_builds(
    build: Build,
    same_release: Sequence[Build],
    alternatives: Sequence[Build],
    pythons: Sequence[str],
    base: str,
) -> str:
    """The text of scripts/torch_builds.json, the data file of the plain scripts.

    `builds` has the project's own build, and those of its release that one machine can have instead
    of it. `alternatives` has, by platform, what the project would get beyond these if it moved.
    `pythons` are the minors for which it would get the same release as now. What is the same on all
    platforms of a build is said once, and nothing is said of what there is not.
    """
    builds = {other.asked.compute_platform: other for other in (build, *same_release)}
    reach = {other.asked.compute_platform: other for other in alternatives}
    common = _in_every_build([*builds.values()])
    rooms = [other.windows_path for other in builds.values() if other.windows_path]
    data = {
        "schema": 2,
        "package_manager": build.asked.manager,
        "python": build.asked.python,
        "pythons": list(pythons),
        "requires_python": ",".join(
            [f"=={build.asked.python}.*", *(f"!={version}" for version in build.python_excluded)]
        ),
        "compute_platform": build.asked.compute_platform,
        "release": build.torch,
        "windows_path": rooms[0] if rooms else None,
        "in_every_build": common,
        "builds": {
            name: _build(other, reach.get(name, other), common, base)
            for name, other in builds.items()
        },
        "alternatives": _alternatives(builds, reach, common),
    }
    return _json({key: value for key, value in data.items() if value})


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


def _build(build: Build, reached: Build, common: Mapping[str, Any], base: str) -> dict[str, Any]:
    """A build; `reached` is what the project would get if it moved to its compute platform."""
    rows = {name: _row(wheels) for name, wheels in build.wheels.items() if name not in common}
    first = next(iter(rows.values()))
    same = {
        key: value
        for key, value in first.items()
        if all(key in row and row[key] == value for row in rows.values())
    }
    platforms = {
        name: {key: value for key, value in row.items() if key not in same}
        | ({} if name in reached.wheels else {"machine_only": True})
        for name, row in rows.items()
    }
    said = {"label": build.name, "index_url": index_url(build, base), **same}
    said["extra_packages"] = [*build.index_only, *build.nvidia_pins]
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


class ProjectFilesExtension(Extension):
    """Registers the lines as Jinja globals."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals.update(
            environments=environments,
            find_links=find_links,
            index_sources=index_sources,
            index_url=index_url,
            index_version=index_version,
            pip_lines=pip_lines,
            requires_python=requires_python,
            torch_builds=torch_builds,
            torch_requirements=torch_requirements,
        )
