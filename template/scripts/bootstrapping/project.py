"""What scripts/torch_builds.json asks for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from .places import BUILDS, ROOT, WINDOWS, StopError, update_command
from .pythons import Python, satisfies


class Project(NamedTuple):
    """What scripts/torch_builds.json says about this project."""

    manager: str
    python: str
    requires_python: str
    compute_platform: str
    build: dict[str, Any]
    alternatives: dict[str, Any]

    @property
    def lock(self) -> Path:
        """The file that pins the packages."""
        pins = f"requirements/torch-{self.compute_platform}.txt"
        return ROOT / (pins if self.manager == "pip" else f"{self.manager}.lock")

    def fingerprint(self, python: Python) -> str:
        """A hash of everything that .venv is made from."""
        digest = hashlib.sha256(repr((python.version, python.base_prefix)).encode())
        for path in (ROOT / "pyproject.toml", self.lock, BUILDS):
            digest.update(hashlib.sha256(path.read_bytes() if path.exists() else b"").digest())
        return digest.hexdigest()

    def misfit(self, python: Python) -> str:
        """Why the project cannot use this Python; empty if it can."""
        if not satisfies(python.version, self.requires_python):
            return f"is {python.name}, not {self.requires_python}"
        if python.platform not in self.build["platforms"]:
            return f"is for {python.platform}"
        return python.odd


def load_project() -> Project:
    """Read scripts/torch_builds.json."""
    todo = "Restore it: git checkout scripts/torch_builds.json"
    try:
        data = json.loads(BUILDS.read_text(encoding="utf-8"))
        name = data["compute_platform"]
        answers = [data[key] for key in ("package_manager", "python", "requires_python")]
        build, alternatives = data["builds"][name], data["alternatives"]
        project = Project(answers[0], answers[1], answers[2], name, build, alternatives)
        if data["schema"] != 1 or project.manager not in ("uv", "poetry", "pip"):
            raise ValueError("unknown schema or package_manager")
        if not {"label", "release", "index_url", "platforms"} <= project.build.keys():
            raise ValueError(f"the build {name} is incomplete")
    except FileNotFoundError:
        raise StopError(2, f"{BUILDS} is missing.", todo) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StopError(2, f"{BUILDS} cannot be used: {error!r}.", todo) from None
    return project


def check_system(project: Project, platform: str) -> None:
    """Stop where this project can have no .venv."""
    if not WINDOWS and ":" in str(ROOT):
        raise StopError(
            4, f"No .venv can be in {ROOT}: the path has a colon.", "Rename the folder."
        )
    if platform in project.build["platforms"]:
        return
    have = ", ".join(project.build["platforms"])
    others = [k for k, other in project.alternatives.items() if platform in other["platforms"]]
    todo = "No other compute platform of this project has them: use another machine."
    if others:
        best = next((name for name in ("cpu", "pypi") if name in others), others[0])
        move = update_command(f"compute_platform={best}")
        todo = f"Here work {', '.join(others)}: {move}"
    label = project.build["label"]
    raise StopError(2, f"{label} has PyTorch wheels for {have}, not for {platform}.", todo)
