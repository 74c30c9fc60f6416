"""What scripts/torch_builds.json asks for, and whether this system can have it."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .places import (
    BUILDS,
    ROOT,
    WINDOWS,
    StopError,
    copier_update,
    read,
    restore,
    update_command,
)
from .system import Python, locale_encoding, satisfies

# What a manager must be, and the key in pyproject.toml that may narrow it.
MANAGERS = {"uv": (">=0.9.25", "required-version"), "poetry": (">=2.2,<3", "requires-poetry")}

SCHEMA = 2  # of torch_builds.json
FALLBACK = "pypi"  # the build that needs no index but the usual one

# What torch_builds.json leaves out of a build, and of its wheels for a platform.
NO_BUILD: dict[str, Any] = {"index_url": None, "extra_packages": []}
NO_WHEELS: dict[str, Any] = {
    "toolkit": None,
    "minimum_driver": None,
    "gpu_architectures": [],
    "ptx": None,
    "glibc": None,
}
WHEELS = {"packages", "accelerator", *NO_WHEELS}  # all that is read of it here


class Project(NamedTuple):
    """What scripts/torch_builds.json says about this project."""

    manager: str
    python: str
    requires_python: str
    compute_platform: str
    builds: dict[str, Any]
    alternatives: dict[str, Any]
    moves: Mapping[str, str] = {}  # by compute platform, what else Copier must be told
    answers_file: str = ""  # of Copier, where it has a name of its own
    older_glibc: Mapping[str, str] = {}  # by platform, the torch for systems with one
    pythons: tuple[str, ...] = ()  # for which the template would give it the same torch
    machine_build: str = ""  # what .venv is for, where it is not the project's own build
    cool_down: int = 0  # days for which no release is locked
    extras: tuple[str, ...] = ()  # the compute platforms that are locked beside the own one
    fallback: str = ""  # why PyPI's wheels stand in for the build that was asked for
    dev: bool = True  # whether .venv gets the tools for development

    @property
    def wanted(self) -> str:
        """The compute platform of what .venv is to get."""
        return self.machine_build or self.compute_platform

    @property
    def build(self) -> dict[str, Any]:
        """What .venv is to get."""
        return dict(self.builds[self.wanted])

    @property
    def lock(self) -> Path:
        """The file that pins the packages."""
        pins = f"requirements/torch-{self.compute_platform}.txt"
        return ROOT / (pins if self.manager == "pip" else f"{self.manager}.lock")

    def pylock(self, name: str) -> Path:
        """The lock file of a build (PEP 751, which has no dot in the name)."""
        return ROOT / "locks" / f"pylock.{name.replace('.', '_')}.toml"

    def pylock_name(self, name: str) -> str:
        """The path of that file, from the top of the project."""
        return self.pylock(name).relative_to(ROOT).as_posix()

    @property
    def locked(self) -> list[str]:
        """The compute platforms with such a lock file: pip has one for its own build, too."""
        own, pip = self.compute_platform, self.manager == "pip"
        others = [name for name in self.extras if name in self.builds and name != own]
        return [*([own] if pip and (others or self.pylock(own).exists()) else []), *others]

    @property
    def installer(self) -> str:
        """What fills .venv: Poetry knows no build but the project's own."""
        return "pip" if self.manager == "poetry" and self.machine_build else self.manager

    @property
    def without(self) -> list[str]:
        """What the manager is told to leave the tools for development out, if it is to."""
        words = {"uv": ["--no-dev"], "poetry": ["--only", "main"], "pip": []}
        return [] if self.dev else words[self.manager]

    def other_than(self, made_for: str) -> str:
        """Why a .venv that was made for a machine build, or for none (""), does not do."""
        if made_for == self.machine_build:
            return ""
        if not self.machine_build:
            return f"it was made for {made_for}, the project's own is {self.compute_platform}"
        return f"it was made for {made_for or self.compute_platform}"

    def fingerprint(self) -> str:
        """A hash of the files that say what .venv is to have."""
        digest = hashlib.sha256()
        pylock = [self.pylock(self.wanted)] if self.wanted in self.locked else []
        for path in (ROOT / "pyproject.toml", self.lock, BUILDS, *pylock):
            digest.update(hashlib.sha256(path.read_bytes() if path.exists() else b"").digest())
        return digest.hexdigest()

    def update(self, answers: str) -> str:
        """How to change answers of the template."""
        return update_command(self.answers_file, answers)

    def move(self, name: str) -> str:
        """How to move the whole project to another compute platform that it can have."""
        return self.update(f"--data compute_platform={name} {self.moves[name]}".strip())

    def misfit(self, python: Python) -> str:
        """Why the project cannot use this Python; empty if it can."""
        if not satisfies(python.version, self.requires_python):
            return f"is {python.name}, not {self.requires_python}"
        if python.platform not in self.build["platforms"]:
            return f"is for {python.platform}"
        return python.odd


def extra_packages(build: Mapping[str, Any]) -> list[str]:
    """What torch requires that only its own index has; NVIDIA's, pinned for Poetry, are on PyPI."""
    return [name for name in build["extra_packages"] if not name.startswith("nvidia-")]


def load_project() -> Project:
    """Read scripts/torch_builds.json."""
    todo = "Restore it: git checkout HEAD -- scripts/torch_builds.json"
    try:
        data = json.loads(BUILDS.read_text(encoding="utf-8"))
        name = data["compute_platform"]
        answers = [data[key] for key in ("package_manager", "python", "requires_python")]
        if data["schema"] != SCHEMA:
            what = f"{BUILDS} has schema {data['schema']!r}, these scripts read {SCHEMA}."
            command = copier_update(data.get("answers_file", ""))
            raise StopError(2, what, f"Bring both to one version of the template: {command}")
        if answers[0] not in ("uv", "poetry", "pip") or type(answers[2]) is not str:
            raise ValueError("unknown package_manager or requires_python")
        builds = {key: whole(build, data) for key, build in data["builds"].items()}
        others = alternatives(data, builds)
        project = Project(
            answers[0],
            answers[1],
            answers[2],
            name,
            builds,
            others,
            moves=dict(data.get("moves", {})),
            answers_file=data.get("answers_file", ""),
            older_glibc=dict(data.get("older_glibc", {})),
            pythons=tuple(data.get("pythons", ())),
            cool_down=int(data.get("cool_down", 0)),
            extras=tuple(data.get("extra_compute_platforms", ())),
        )
        for other, build in builds.items():
            if "label" not in build:
                raise ValueError(f"the build {other} is incomplete")
            if any(not wheels.keys() >= WHEELS for wheels in build["platforms"].values()):
                raise ValueError(f"a platform of the build {other} is incomplete")
        if name not in builds:
            raise ValueError(f"there is no build {name}")
    except FileNotFoundError:
        raise StopError(2, f"{BUILDS} is missing.", todo) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StopError(2, f"{BUILDS} cannot be used: {error!r}.", todo) from None
    return project


def check_pyproject() -> None:
    """Stop if pyproject.toml is not what every manager can read."""
    file, back = ROOT / "pyproject.toml", restore(ROOT / "pyproject.toml")
    try:
        text = read(file)
        if text.startswith("\ufeff"):  # uv reads it; Python's own reader, and so all others, do not
            what = f"{file} begins with a byte order mark, which not all tools can read."
            raise StopError(2, what, f"Save it as UTF-8 without one, or {back}")
        if sys.version_info >= (3, 11):
            import tomllib

            tomllib.loads(text)
    except FileNotFoundError:
        raise StopError(2, f"{file} is missing.", f"R{back[1:]}") from None
    except ValueError as error:
        raise StopError(2, f"{file} is no TOML: {error}.", f"Mend it, or {back}") from None


def whole(build: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """A build of torch_builds.json, with what that says once for several builds or platforms."""
    same = {key: build[key] for key in WHEELS & build.keys()}
    platforms = {key: {**NO_WHEELS, **same, **row} for key, row in build["platforms"].items()}
    everywhere = data.get("in_every_build", {})
    platforms |= {key: {**NO_WHEELS, **row} for key, row in everywhere.items()}
    of_all = {"release": data["release"], "windows_path": data.get("windows_path")}
    return {**NO_BUILD, **of_all, **build, "platforms": platforms}


def alternatives(data: dict[str, Any], builds: dict[str, Any]) -> dict[str, Any]:
    """What the project would get if it moved: other builds of its release, or of another one."""
    found: dict[str, Any] = {}
    for name, build in builds.items():
        rows = build["platforms"].items()
        moves = {key: row for key, row in rows if not row.get("machine_only")}
        if name in data.get("moves", {}):
            found[name] = {"release": build["release"], "platforms": moves}
    for platform, others in data.get("alternatives", {}).items():
        for name, row in others.items():
            known = found.setdefault(name, {"release": row["release"], "platforms": {}})
            known["platforms"][platform] = row
    return found


def check_place() -> None:
    """Stop where no folder can be a .venv."""
    if not WINDOWS and ":" in str(ROOT):
        raise StopError(
            4, f"No .venv can be in {ROOT}: the path has a colon.", "Rename the folder."
        )
    if not WINDOWS and not str(ROOT).isascii() and locale_encoding() != "UTF-8":
        what = f"No .venv works in {ROOT} with this locale: Python reads no UTF-8 in it."
        raise StopError(4, what, "Type: export LC_ALL=C.UTF-8\nThen run this again.")
