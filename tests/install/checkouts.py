"""A rendered project under git, on the loopback index, and what its bootstrap has made of it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.pylock import Pylock, is_valid_pylock_path

from install.index_server import Request
from install.managers import ToolFailedError, Tools
from render.projects import git, render, under_git

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MANAGERS = ("uv", "poetry", "pip")
# The marks of a test that runs bootstrap.sh with each of them.
BOOTSTRAPS = [
    pytest.mark.skipif(os.name == "nt", reason="runs bootstrap.sh"),
    pytest.mark.usefixtures("real_pip"),
    pytest.mark.network,
]
INSTALLED = """
import importlib.metadata as m, json
print(json.dumps({d.name.lower().replace("_", "-"): d.version for d in m.distributions()}))
"""


def started(tools: Tools, folder: Path, manager: str, compute_platform: str = "cpu") -> Path:
    """A fresh project, as somebody has just made it: without a lock file."""
    return under_git(rendered(tools, folder / "a project", manager, compute_platform))


def committed(tools: Tools, folder: Path, manager: str, compute_platform: str) -> Path:
    """A project with its lock file."""
    project = rendered(tools, folder / "a project", manager, compute_platform)
    if manager == "uv":
        tools.uv_lock(project)
    elif manager == "poetry":
        tools.poetry_lock(project)
    return under_git(project)


def rendered(
    tools: Tools,
    project: Path,
    manager: str = "uv",
    compute_platform: str = "cpu",
    **others: Any,  # noqa: ANN401
) -> Path:
    """A project whose PyTorch index is the one on loopback."""
    answers = {"package_manager": manager, "compute_platform": compute_platform, **others}
    if compute_platform != "pypi":
        answers["pytorch_index_url"] = tools.index.pytorch_url
    return render(project, **answers)


def repository(tools: Tools, folder: Path, manager: str, name: str, platform: str) -> Path:
    """A project of the organisation, under git."""
    project = render(
        folder / name,
        package_manager=manager,
        project_name=name,
        compute_platform=platform,
        torch_version="2.10",
        pytorch_index_url=tools.index.pytorch_url,
    )
    return under_git(project)


def edit(project: Path, old: str, new: str) -> None:
    """Change pyproject.toml, as an owner does."""
    file = project / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def changes(project: Path) -> str:
    """What git says is not committed."""
    return git(project, "status", "--porcelain")


def installed(tools: Tools, project: Path) -> dict[str, str]:
    """The versions of all packages in .venv."""
    said = tools.run(project / ".venv/bin/python", "-c", INSTALLED, cwd=project)
    found: dict[str, str] = json.loads(said)
    return found


def wheels(requests: list[Request]) -> list[str]:
    """The wheels that were downloaded, whole or in part."""
    names = [request.path.rpartition("/")[2] for request in requests]
    return sorted({name.replace("%2B", "+") for name in names if name.endswith(".whl")})


def build_check(tools: Tools, project: Path) -> str:
    """What the smoke test says of the build; the stub torch cannot do more."""
    command = ("scripts/gpu_smoke_test.py", "--only", "TORCH-BUILD")
    try:
        said = tools.run(project / ".venv/bin/python", *command, cwd=project)
    except ToolFailedError as error:
        said = str(error)
    return " ".join(said.split())


def project_with(tools: Tools, folder: Path, manager: str, own: str, *extras: str) -> Path:
    """A new project that keeps other builds, and has a package that depends on torch."""
    answers: dict[str, Any] = {"package_manager": manager, "compute_platform": own}
    answers["extra_compute_platforms"] = list(extras)
    project = render(folder / "a project", pytorch_index_url=tools.index.pytorch_url, **answers)
    edit(project, "    # Your dependencies.\n", '    # Your dependencies.\n    "torchmetrics",\n')
    return under_git(project)


def lock_of(project: Path, name: str) -> Pylock:
    """A lock file, as the standard's own reader understands it."""
    path = project / "locks" / f"pylock.{name.replace('.', '_')}.toml"
    assert is_valid_pylock_path(path)
    return Pylock.from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
