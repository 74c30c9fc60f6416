"""Which wheel each platform gets from a lock file: markers and tags, as the tools read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import BuildTag, canonicalize_name, parse_wheel_filename


@dataclass(frozen=True)
class Platform:
    """An operating system on a machine, as markers and wheel tags name it."""

    name: str
    sys_platform: str
    platform_system: str
    platform_machine: str
    tags: tuple[str, ...]

    def environment(self, python: str) -> dict[str, str]:
        """Return the values that markers are evaluated with, for a Python minor like "3.12"."""
        return {
            "os_name": "nt" if self.sys_platform == "win32" else "posix",
            "sys_platform": self.sys_platform,
            "platform_system": self.platform_system,
            "platform_machine": self.platform_machine,
            "platform_release": "",
            "platform_version": "",
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
            "implementation_version": f"{python}.5",
            "python_version": python,
            "python_full_version": f"{python}.5",
            "extra": "",
        }

    def wheel_tags(self, python: str) -> list[Tag]:
        """Return the tags that an interpreter takes here, the best first."""
        major, minor = (int(part) for part in python.split("."))
        interpreter = f"cp{major}{minor}"
        return [
            *cpython_tags((major, minor), [interpreter], self.tags),
            *compatible_tags((major, minor), interpreter, self.tags),
        ]


def _linux(machine: str) -> tuple[str, ...]:
    new = [f"manylinux_2_{minor}_{machine}" for minor in range(39, 16, -1)]
    old = [f"manylinux2014_{machine}", f"manylinux_2_12_{machine}", f"manylinux2010_{machine}"]
    return (*new, *old, f"manylinux_2_5_{machine}", f"manylinux1_{machine}", f"linux_{machine}")


PLATFORMS = {
    platform.name: platform
    for platform in (
        Platform("linux-x86_64", "linux", "Linux", "x86_64", _linux("x86_64")),
        Platform("linux-aarch64", "linux", "Linux", "aarch64", _linux("aarch64")),
        Platform("windows-amd64", "win32", "Windows", "AMD64", ("win_amd64",)),
        Platform(
            "macos-arm64", "darwin", "Darwin", "arm64", tuple(mac_platforms((14, 0), "arm64"))
        ),
    )
}


@dataclass(frozen=True)
class Locked:
    """A version that a platform gets.

    `filename` is None where the lock has no wheel for the platform; `index` is the address that the
    lock has: of the index, or of the wheel, or "" (Poetry names no index for PyPI).
    """

    project: str
    version: str
    filename: str | None
    index: str

    @property
    def compute_platform(self) -> str:
        """The folder of the PyTorch index that this comes from ("cu130"), or "pypi"."""
        found = re.search(r"/whl/([^/]+)", self.index)
        return found[1] if found else "pypi"


def best_wheel(names: Iterable[str], platform: str, python: str) -> str | None:
    """Return the wheel that an installer takes of a release's files."""
    order = {tag: place for place, tag in enumerate(PLATFORMS[platform].wheel_tags(python))}
    found: list[tuple[int, BuildTag, str]] = []
    for name in names:
        if not name.endswith(".whl"):
            continue
        _, _, build, tags = parse_wheel_filename(name)
        places = [order[tag] for tag in tags if tag in order]
        if places:
            found.append((-min(places), build, name))
    return max(found)[2] if found else None


def holds(marker: str | None, platform: str, python: str) -> bool:
    """Say whether a marker is true on a platform."""
    environment = PLATFORMS[platform].environment(python)
    return marker is None or Marker(marker).evaluate(dict(environment))


def from_pylock(lock: Mapping[str, Any], platform: str, python: str) -> list[Locked]:
    """Return what a pylock.toml installs on a platform."""
    locked = []
    for package in lock["packages"]:
        if holds(package.get("marker"), platform, python):
            urls = [wheel["url"] for wheel in package.get("wheels", [package.get("sdist")])]
            names = [unquote(url.rpartition("/")[2]) for url in urls]
            wheel = best_wheel(names, platform, python)
            index = package.get("index", urls[0])
            locked.append(Locked(package["name"], package["version"], wheel, index))
    return locked


def from_poetry(
    lock: Mapping[str, Any], platform: str, python: str, groups: Iterable[str] = ("main",)
) -> list[Locked]:
    """Return what a poetry.lock installs on a platform, for some dependency groups."""
    locked = []
    for package in lock["package"]:
        markers = package.get("markers")
        wanted = [group for group in groups if group in package["groups"]]
        if isinstance(markers, dict):
            applies = any(holds(markers.get(group), platform, python) for group in wanted)
        else:
            applies = bool(wanted) and holds(markers, platform, python)
        if applies and not package.get("optional"):
            names = [file["file"] for file in package["files"]]
            index = package.get("source", {}).get("url", "")
            wheel = best_wheel(names, platform, python)
            locked.append(Locked(package["name"], package["version"], wheel, index))
    return locked


def from_requirements(text: str, platform: str, python: str) -> list[str]:
    """Return the requirements of a requirements.txt that hold on a platform, without markers."""
    held = []
    for line in text.splitlines():
        line = line.partition(" #")[0].strip()
        if not line or line.startswith(("#", "-")):
            continue
        requirement = Requirement(line)
        if holds(str(requirement.marker) if requirement.marker else None, platform, python):
            requirement.marker = None
            held.append(str(requirement))
    return held


def of(locked: Iterable[Locked], project: str) -> list[Locked]:
    """Return the locked versions of a project: one, if the lock is sound."""
    return [entry for entry in locked if canonicalize_name(entry.project) == project]


def only(locked: Iterable[Locked], project: str) -> Locked:
    """Return the one locked version of a project."""
    (entry,) = of(locked, project)
    return entry
