"""The Dockerfile of a project, as far as it can be tried without an engine: its steps install the
project's own build with the real uv, Poetry and pip, and nothing that only developers need, or
another one by the bootstrap. `test_container.py` builds one with a real engine."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest

from install.checkouts import BOOTSTRAPS, MANAGERS, edit, installed, rendered, wheels
from install.managers import ToolFailedError, Tools

pytestmark = BOOTSTRAPS


INSTALLS_MANAGER = re.compile(r"^python -m pip install .*'(uv|poetry)\\b.*$", re.MULTILINE)
LAST = "COPY . ."


class Image:
    """A folder in which the steps of a Dockerfile are done; its root is the folder."""

    def __init__(self, tools: Tools, folder: Path, context: Path, ignored: list[str]) -> None:
        self.tools, self.folder, self.context, self.ignored = tools, folder, context, ignored
        self.env: dict[str, str] = {}

    def copy(self, names: list[str], into: str) -> None:
        """COPY from the context: files by their names, of a folder what is in it."""
        target = self.folder / into
        if into.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
        without = shutil.ignore_patterns(*(name.rpartition("/")[2] for name in self.ignored))
        for name in names:
            source = self.context / name
            assert source.exists(), name
            if source.is_dir():
                shutil.copytree(source, target, ignore=without, dirs_exist_ok=True)
            else:
                shutil.copy(source, target)

    def build(self, dockerfile: str, argument: str) -> None:
        """Do the steps of the first stage; uv and Poetry are on PATH, and see the index here."""
        for line in dockerfile.partition("\n\n")[0].splitlines():
            instruction, _, rest = line.partition(" ")
            if line == LAST:
                self.before_last()
            if instruction == "COPY":
                *names, into = rest.split()
                self.copy(names, into)
            elif instruction == "RUN":
                command = rest.removeprefix("--mount=type=cache,target=/root/.cache ")
                script = self.folder / "containers/install.sh"
                text = script.read_text(encoding="utf-8")
                script.write_text(INSTALLS_MANAGER.sub("", text), encoding="utf-8")
                env = {**self.env, "COMPUTE_PLATFORM": argument}
                self.said = self.tools.run("sh", "-euc", command, cwd=self.folder, env=env)
            else:
                known = (
                    "#*",
                    "ARG COMPUTE_PLATFORM=",
                    "WORKDIR /app",
                    "FROM python:3.*-slim AS build",
                )
                assert any(fnmatch(line, one) for one in known), line

    def before_last(self) -> None:
        """All is installed before the files that change each day come, and nothing after."""
        self.early = installed(self.tools, self.folder)


@pytest.fixture
def made(tools: Tools, tmp_path: Path) -> Callable[..., Image]:
    """Makes a project and does the steps of its Dockerfile."""

    def make(
        manager: str, compute_platform: str, argument: str = "", lock: bool = False, more: str = ""
    ) -> Image:
        project = rendered(tools, tmp_path / "project", manager, compute_platform, container=True)
        if manager == "uv":
            tools.uv_lock(project)
        elif manager == "poetry":
            tools.poetry_lock(project)
        elif lock:
            tools.bootstrap(project, "--lock")
        if more:
            edit(
                project, "    # Your dependencies.\n", f'    # Your dependencies.\n    "{more}",\n'
            )
        (project / ".venv").mkdir()  # of the machine that makes the image
        (project / ".venv" / "pyvenv.cfg").write_text("home = /nowhere\n", encoding="utf-8")
        (tmp_path / "app").mkdir()
        ignored = (project / ".dockerignore").read_text(encoding="utf-8").split()
        image = Image(tools, tmp_path / "app", project, ignored)
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "python").symlink_to(sys.executable)
        image.env["PATH"] = f"{tools.environment['PATH']}:{tmp_path / 'bin'}"
        image.build((project / "Dockerfile").read_text(encoding="utf-8"), argument)
        return image

    return make


@pytest.mark.some(4)
@pytest.mark.few(1)
@pytest.mark.usefixtures("cold_caches")
@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("compute_platform", ["cu130", "cpu", "pypi"])
def test_an_image_gets_the_project_s_own_build_and_no_tools_of_developers(
    tools: Tools, made: Callable[..., Image], manager: str, compute_platform: str
) -> None:
    with tools.index.recorded() as requests:
        image = made(manager, compute_platform)
    packages = installed(tools, image.folder)
    assert packages == image.early
    local = "" if compute_platform == "pypi" else f"+{compute_platform}"
    assert packages["torch"].endswith(local)
    assert ("+" in packages["torch"]) == bool(local)
    assert not {"pytest", "ruff", "mypy"} & set(packages)
    assert "my-torch-project" in packages
    assert any(name.startswith("torch-") for name in wheels(requests))
    # What the second stage starts: the project is where it was, and .venv knows it.
    code = "import importlib.util as u; print(u.find_spec('my_torch_project.device').origin)"
    said = tools.run(image.folder / ".venv/bin/python", "-c", code, cwd=image.folder.parent)
    assert said.strip() == str(image.folder / "src/my_torch_project/device.py")


@pytest.mark.slow
def test_a_lock_file_of_a_pip_project_is_what_its_image_is_made_by(
    tools: Tools, made: Callable[..., Image]
) -> None:
    image = made("pip", "cpu", lock=True)
    assert "locks/pylock.cpu.toml: each file by its hash" in image.said
    assert not {"pytest", "ruff", "mypy"} & set(installed(tools, image.folder))


@pytest.mark.slow
@pytest.mark.parametrize("manager", MANAGERS)
def test_no_image_is_made_by_a_lock_file_that_is_out_of_date(
    made: Callable[..., Image], manager: str
) -> None:
    with pytest.raises(ToolFailedError) as stopped:
        made(manager, "cpu", lock=True, more="idna")
    lock = "locks/pylock.cpu.toml" if manager == "pip" else f"{manager}.lock"
    assert f"bootstrap: {lock} " in str(stopped.value)
    assert "Type: sh bootstrap.sh --lock" in str(stopped.value)
    assert "installing" not in str(stopped.value)


@pytest.mark.slow
@pytest.mark.some(1)
@pytest.mark.parametrize("manager", MANAGERS)
def test_a_build_argument_brings_another_build(
    tools: Tools, made: Callable[..., Image], manager: str
) -> None:
    image = made(manager, "cpu", "cu126")
    packages = installed(tools, image.folder)
    assert packages["torch"].endswith("+cu126")
    assert packages == image.early
    assert not {"pytest", "ruff", "mypy"} & set(packages)
    assert not (image.folder / ".tools").exists()
