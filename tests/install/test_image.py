"""The Dockerfile of a project's page, as far as it can be tried without Docker: its steps install
the project's own build with the real uv, Poetry and pip, and nothing that only developers need."""

from __future__ import annotations

import shlex
import shutil
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from install.checkouts import BOOTSTRAPS, MANAGERS, installed, rendered, wheels
from install.managers import Tools
from render.reading import block

pytestmark = BOOTSTRAPS


class Image:
    """A folder in which the steps of a Dockerfile are done; its root is the folder."""

    def __init__(self, tools: Tools, folder: Path, context: Path, ignored: list[str]) -> None:
        self.tools, self.folder, self.context, self.ignored = tools, folder, context, ignored
        self.env: dict[str, str] = {}

    def copy(self, names: list[str], into: str) -> None:
        """COPY from the context: files by their names, of a folder what is in it."""
        target = self.folder / into
        without = shutil.ignore_patterns(*(name.rpartition("/")[2] for name in self.ignored))
        for name in names:
            source = self.context / name
            assert source.exists(), name
            if source.is_dir():
                shutil.copytree(source, target, ignore=without, dirs_exist_ok=True)
            else:
                shutil.copy(source, target)

    def build(self, dockerfile: str) -> list[str]:
        """Do the steps of the first stage; returns those that install the manager itself."""
        left = []
        for line in dockerfile.partition("\n\n")[0].splitlines():
            instruction, _, rest = line.partition(" ")
            if instruction == "COPY":
                *names, into = rest.split()
                self.copy(names, into)
            elif instruction == "ENV":
                self.env |= dict(one.split("=", 1) for one in shlex.split(rest))
            elif rest.startswith("python -m pip install "):
                left.append(rest)  # uv and Poetry are on PATH, and see the index on loopback
            elif instruction == "RUN":
                self.tools.run("sh", "-euc", rest, cwd=self.folder, env=self.env)
            else:
                assert line == "WORKDIR /app" or fnmatch(line, "FROM python:3.*-slim AS build")
        return left


@pytest.mark.some(4)
@pytest.mark.few(1)
@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("compute_platform", ["cu130", "cpu", "pypi"])
def test_an_image_gets_the_project_s_own_build_and_no_tools_of_developers(
    tools: Tools, tmp_path: Path, manager: str, compute_platform: str
) -> None:
    project = rendered(tools, tmp_path / "project", manager, compute_platform)
    page = (project / "docs/pytorch-build.md").read_text(encoding="utf-8")
    if manager == "uv":
        tools.uv_lock(project)
    elif manager == "poetry":
        tools.poetry_lock(project)
    (project / ".venv").mkdir()  # of the machine that makes the image
    (project / ".venv" / "pyvenv.cfg").write_text("home = /nowhere\n", encoding="utf-8")
    app = tmp_path / "app"
    app.mkdir()
    image = Image(tools, app, project, block(page, "In an image", "text").split())
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    image.env["PATH"] = f"{tools.environment['PATH']}:{tmp_path / 'bin'}"
    with tools.index.recorded() as requests:
        left = image.build(block(page, "In an image", "dockerfile"))
    assert [line.split("'")[1].partition(">")[0] for line in left] == (
        [manager] if manager != "pip" else []
    )
    packages = installed(tools, app)
    platform = "cu132" if compute_platform == "pypi" else compute_platform
    local = "" if compute_platform == "pypi" else f"+{platform}"
    assert packages["torch"].endswith(local)
    assert ("+" in packages["torch"]) == bool(local)
    assert not {"pytest", "ruff", "mypy"} & set(packages)
    assert "project" in " ".join(packages)
    assert any(name.startswith("torch-") for name in wheels(requests))
    # What the second stage starts: the project is where it was, and .venv knows it.
    tools.run(app / ".venv/bin/python", "-c", "import my_torch_project", cwd=tmp_path)
