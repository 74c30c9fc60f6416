"""Reads scripts/torch_builds.json: what the project asks for, and what else it could have."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

from surroundings.versions import numbers

from .machine import MADE_FOR, STANDS_IN, Machine, in_venv, python_fits

SCHEMA = 2  # of that file
# What torch_builds.json leaves out of the wheels for a platform.
NO_WHEELS: dict[str, Any] = {
    "toolkit": None,
    "minimum_driver": None,
    "gpu_architectures": [],
    "ptx": None,
}


def wheels_for(here: str, build: dict[str, Any], project: dict[str, Any]) -> dict[str, Any]:
    """What torch_builds.json says of a build's wheels for a platform; {} if there are none."""
    everywhere = project.get("in_every_build", {})
    if here in everywhere:
        row = {**NO_WHEELS, **everywhere[here]}
    elif here in build["platforms"]:
        row = {**NO_WHEELS, **build, **build["platforms"][here]}
    else:
        return {}
    keys = ("accelerator", "packages", *NO_WHEELS)
    torch = row.get("torch_version", row["packages"]["torch"])
    return {**{key: row[key] for key in keys}, "torch_version": torch}


class VersionError(ValueError):
    """torch_builds.json is of another version of the template than these scripts."""


def read_machine(builds_file: Path) -> Machine:
    """Read torch_builds.json; a broken one raises ValueError, KeyError or the like."""
    project = json.loads(builds_file.read_text(encoding="utf-8"))
    if project["schema"] != SCHEMA:
        raise VersionError(f"its schema is {project['schema']}, not {SCHEMA} as in these scripts")
    system = {"Darwin": "macos"}.get(platform.system(), platform.system().lower())
    here = f"{system}-{platform.machine().lower()}"
    python_fits(project["requires_python"])
    own, builds = project["compute_platform"], project["builds"]
    mine = MADE_FOR if in_venv() and MADE_FOR in builds else own
    rows = {name: wheels_for(here, build, project) for name, build in builds.items()}
    beyond = project.get("alternatives", {}).get(here, {})
    others = {name: {**NO_WHEELS, **row} for name, row in beyond.items() if name not in builds}
    others |= {name: {**row, "release": project["release"]} for name, row in rows.items() if row}
    # uv.lock has nothing for a system that the project's own build has no wheels for.
    locked_out = project["package_manager"] == "uv" and not rows[own]
    ready = [] if locked_out else [name for name in others if name in builds and name != own]
    reach = {own, *ready, *project.get("moves", {})} - {mine}
    others = {name: others[name] for name in sorted(others) if name in reach}

    def nearness(name: str) -> tuple[bool, list[int], list[int]]:
        release, driver = others[name]["release"], others[name]["minimum_driver"] or ""
        return release == project["release"], numbers(release), numbers(driver)

    return Machine(
        python=project["requires_python"],
        label=builds[mine]["label"],
        release=project["release"],
        windows_path=project.get("windows_path", {}),
        wheels=rows[mine],
        name=mine,
        index=builds[mine].get("index_url", ""),
        own="" if mine == own else own,
        stands_in="" if mine == own else STANDS_IN,
        ready=tuple(ready),
        moves=project.get("moves", {}),
        alternatives={name: others[name] for name in sorted(others, key=nearness, reverse=True)},
    )
