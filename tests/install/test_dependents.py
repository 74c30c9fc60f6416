"""Projects that depend on each other, each with a build of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from install.checkouts import BOOTSTRAPS, MANAGERS, edit, installed, repository
from install.managers import Tools

pytestmark = [pytest.mark.slow, *BOOTSTRAPS]
TORCH = "2.10.0"


def built(project: Path, folder: Path) -> Path:
    """The wheel that the real build backend makes of a project."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), "."]
    subprocess.run(command, cwd=project, check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def depend(project: Path, library: Path, how: str, folder: Path) -> None:
    """Let a project depend on another one, by a line that all managers read."""
    at = {"path": library.as_uri(), "git": f"git+{library.as_uri()}"}
    place = at.get(how) or built(library, folder).as_uri()
    edit(project, '    "numpy",\n', f'    "numpy",\n    "library @ {place}",\n')


@pytest.mark.some(5)
@pytest.mark.parametrize("how", ["path", "git", "wheel"])
@pytest.mark.parametrize("manager", MANAGERS)
def test_a_project_keeps_its_build_beside_one_of_another(
    tools: Tools, tmp_path: Path, manager: str, how: str
) -> None:
    library = repository(tools, tmp_path, manager, "library", "cu126")
    project = repository(tools, tmp_path, manager, "project", "cu130")
    depend(project, library, how, tmp_path / "wheels")

    before = len(tools.index.requests)
    said = tools.bootstrap(project)
    assert "cu126" not in said
    assert not any("cu126" in request.path for request in tools.index.requests[before:])
    have = installed(tools, project)
    assert (have["torch"], have["library"]) == (f"{TORCH}+cu130", "0.1.0")
    assert have["torchvision"] == "0.25.0+cu130"
    # One machine's own build goes with it, too.
    tools.bootstrap(project, "--compute-platform", "cpu")
    assert installed(tools, project)["torch"] == f"{TORCH}+cpu"


@pytest.mark.some(1)
@pytest.mark.parametrize("manager", MANAGERS)
def test_the_metadata_of_a_built_wheel_have_no_build(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    library = repository(tools, tmp_path, manager, "library", "cu126")
    with zipfile.ZipFile(built(library, tmp_path / "wheels")) as wheel:
        [name] = [one for one in wheel.namelist() if one.endswith("/METADATA")]
        metadata = message_from_string(wheel.read(name).decode("utf-8"))
    asked = [re.sub(r"[\s()]", "", one) for one in metadata.get_all("Requires-Dist") or ()]
    assert [one for one in asked if one.startswith("torch")] == ["torch>=2.4", "torchvision"]
    assert not any("==" in one or "+" in one for one in asked)


# What people type after the bootstrap: none of it changes the build.
TYPED = {
    "uv": (
        "uv run --no-sync true",
        "uv run python -c 1",
        "uv sync",
        "uv sync --no-dev",
        "uv sync --no-default-groups",
        "uv sync --no-group torch",
        "uv sync --all-groups",
        "uv add lightning",
        "uv lock --upgrade",
        "uv sync",
    ),
    "poetry": (
        "poetry install",
        "poetry sync",
        "poetry install --only main --sync",
        "poetry install --without torch --sync",
        "poetry install",
        "poetry add lightning",
        "poetry lock",
        "poetry update",
    ),
    "pip": (
        ".venv/bin/python -m pip install -e .",
        ".venv/bin/python -m pip install --group dev -e .",
        ".venv/bin/python -m pip install -c requirements/torch-cu126.txt lightning",
        ".venv/bin/python -m pip install lightning",
    ),
}


@pytest.mark.some(2)
@pytest.mark.parametrize("manager", MANAGERS)
def test_what_people_type_keeps_the_build(tools: Tools, tmp_path: Path, manager: str) -> None:
    project = repository(tools, tmp_path, manager, "project", "cu126")
    tools.bootstrap(project)
    for command in TYPED[manager]:
        tools.run("sh", "-c", command, cwd=project)
        have = installed(tools, project)
        assert have["torch"] == f"{TORCH}+cu126", command
        assert have["torchvision"] == "0.25.0+cu126", command
