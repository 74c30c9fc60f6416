"""A project that trains, and an environment that has all it imports."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from install.real_torch import NOT_COMPILED, TORCH, alone, cpu_wheel, pip, what_it_needs
from machine_settings import environment_before
from render.projects import PYTHON, ROOT, render
from render.reading import pyproject
from training.runs import Program
from training.warm import DRIVER, IN_ITS_OWN_MOUNTS, Warm

FOLDER = ROOT / ".cache" / "training-venv"


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project for uv with the program that trains."""
    return render(tmp_path_factory.mktemp("training") / "project", starter="training")


@pytest.fixture(scope="session")
def python(project: Path) -> Path:
    """The Python of a virtual environment with the real torch and all that a project asks for."""
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    data = pyproject(text)
    asked = [*data["project"]["dependencies"], *data["dependency-groups"]["dev"]]
    asked = sorted(line for line in asked if not line.startswith("torch"))
    wheel, needs = cpu_wheel(), what_it_needs()
    ready = FOLDER / f"{TORCH}-{PYTHON}.txt"
    with alone("training-venv"):
        if not ready.exists() or ready.read_text(encoding="utf-8") != "\n".join(asked):
            shutil.rmtree(FOLDER, ignore_errors=True)
            venv.create(FOLDER, with_pip=False)
            options = ("--python", FOLDER / "bin" / "python", "install", "--quiet")
            where = ("--only-binary=:all:", "--find-links", needs)
            env = {**environment_before(), **NOT_COMPILED}
            failed = pip(*options, *where, wheel, *asked, env=env)
            assert not failed, failed
            ready.write_text("\n".join(asked), encoding="utf-8")
    return FOLDER / "bin" / "python"


@pytest.fixture
def program(project: Path, python: Path, tmp_path: Path) -> Program:
    """The program of that project, in a folder of its own."""
    return Program(python, project / "src", tmp_path / "run")


@pytest.fixture(scope="session")
def driver(project: Path, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """What starts many runs of that project, if it may in mounts of its own."""
    may = subprocess.run([*IN_ITS_OWN_MOUNTS, "true"], check=False, capture_output=True)
    mounts = may.returncode == 0
    command = [*(IN_ITS_OWN_MOUNTS if mounts else ()), str(python), str(DRIVER)]
    variables = {"PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"}
    env = {**os.environ, **variables}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, text=True, stdin=pipe, stdout=pipe) as started:
        yield Warm(started, mounts, tmp_path_factory.mktemp("warm") / "run")
        assert started.stdin
        started.stdin.close()


@pytest.fixture
def warm(driver: Warm, tmp_path: Path) -> Warm:
    """The same, in a folder of its own."""
    return replace(driver, folder=tmp_path / "run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of it needs torch from the registry, and Linux."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("network")
            item.add_marker(pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"))
