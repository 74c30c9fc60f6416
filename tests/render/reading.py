"""Read rendered files back with the parsers of their formats, as the tools would."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from validate_pyproject.api import Validator

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Machines, as markers see them. Only the first four can have wheels.
MACHINES = {
    "linux-x86_64": ("linux", "x86_64"),
    "linux-aarch64": ("linux", "aarch64"),
    "windows-amd64": ("win32", "AMD64"),
    "macos-arm64": ("darwin", "arm64"),
    "macos-x86_64": ("darwin", "x86_64"),
    "windows-arm64": ("win32", "ARM64"),
    "linux-s390x": ("linux", "s390x"),
}


@cache
def holds_on(marker: str) -> frozenset[str]:
    """The machines on which a marker holds; every one for the empty marker."""
    parsed = Marker(marker) if marker else None
    return frozenset(
        name
        for name, (system, machine) in MACHINES.items()
        if not parsed or parsed.evaluate({"sys_platform": system, "platform_machine": machine})
    )


def holds_somewhere(markers: Iterable[str]) -> frozenset[str]:
    """The machines on which at least one of the markers holds."""
    return frozenset[str]().union(*map(holds_on, markers))


@cache
def pyproject(text: str) -> dict[str, Any]:
    """The data of a pyproject.toml, which is valid TOML and a valid pyproject.

    Raises:
        ValidationError: if validate-pyproject finds a fault.
    """
    data: dict[str, Any] = tomllib.loads(text)
    _validator()(data)
    return data


@cache
def _validator() -> Validator:
    return Validator()


@cache
def requirement(text: str) -> Requirement:
    """A requirement; what is written is valid."""
    return Requirement(text)


def pinned(lines: Iterable[str]) -> dict[str, str]:
    """The exact versions of the requirements that hold everywhere."""
    found = {}
    for line in map(requirement, lines):
        if line.marker is None and str(line.specifier).startswith("=="):
            found[line.name] = str(line.specifier).removeprefix("==")
    return found


def pins_of(files: Mapping[str, str]) -> dict[str, str]:
    """The exact versions of a build's packages, without `+cu128`, in a project of any manager."""
    group = pyproject(files["pyproject.toml"])["dependency-groups"].get("torch")
    if group is not None:
        return pinned(group)
    [text] = [text for name, text in files.items() if name.startswith("requirements/torch-")]
    return {name: pin for name, [pin] in Requirements.parse(text).on("macos-arm64").items()}


def pins_in(project: Path) -> dict[str, str]:
    """The same, of a project's folder."""
    paths = [project / "pyproject.toml", *project.glob("requirements/torch-*.txt")]
    return pins_of({p.relative_to(project).as_posix(): p.read_text("utf-8") for p in paths})


@dataclass(frozen=True)
class Requirements:
    """A requirements file: its options, and its requirements in order."""

    options: tuple[tuple[str, str], ...]
    lines: tuple[Requirement, ...]

    @classmethod
    def parse(cls, text: str) -> Requirements:
        """Read a file's text."""
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        options = [line.split(" ") for line in lines if line.startswith("--")]
        rest = [requirement(line) for line in lines if not line.startswith("--")]
        return cls(tuple((name, value) for name, value in options), tuple(rest))

    def on(self, machine: str) -> dict[str, list[str]]:
        """The versions that are pinned on a machine, by package."""
        found: dict[str, list[str]] = {}
        for line in self.lines:
            if machine in holds_on(str(line.marker or "")):
                version = str(line.specifier).removeprefix("==")
                found.setdefault(line.name, []).append(version)
        return found


@dataclass(frozen=True)
class Builds:
    """scripts/torch_builds.json: the project's build, and those that a machine can have.

    Each row of a build has all that is said of its wheels, wherever the file says it.
    """

    data: dict[str, Any]
    text: str

    @classmethod
    def parse(cls, text: str) -> Builds:
        """Read the file's text."""
        data = json.loads(text)
        everywhere = data.get("in_every_build", {})
        for build in data["builds"].values():
            rows = {name: {**build, **row} for name, row in build["platforms"].items()}
            build["platforms"] = {
                name: {"torch_version": row["packages"]["torch"], **row}
                for name, row in {**rows, **everywhere}.items()
            }
        return cls(data, text)

    @property
    def build(self) -> dict[str, Any]:
        """The project's build."""
        build: dict[str, Any] = self.data["builds"][self.data["compute_platform"]]
        return build

    @property
    def platforms(self) -> dict[str, Any]:
        """The rows of the platforms that have wheels."""
        platforms: dict[str, Any] = self.build["platforms"]
        return platforms


def block(page: str, title: str, language: str, number: int = 0) -> str:
    """A code block of a language under a title of a page; a title below it is a part of it."""
    marks, _, rest = re.split(rf"^(#+) ({re.escape(title)})\n", page, maxsplit=1, flags=re.M)[1:]
    section = re.split(rf"^#{{1,{len(marks)}}} ", rest, maxsplit=1, flags=re.M)[0]
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", section, re.M | re.S)
    return found[number]
