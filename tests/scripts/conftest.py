"""The real torch, for the tests that need it; projects for uv and for pip."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from install.begun import begun
from install.real_torch import NOT_COMPILED, alone, cpu_wheel, what_it_needs
from scripts.bootstrap_helpers import ODD_NAME, Demo, make_demo, make_wheel, tool
from scripts.smoke_helpers import ROOT, TORCH, Project
from scripts.torch_helpers import real_project


@pytest.fixture(scope="session")
def torch_venv() -> Path:
    """A virtual environment with the real CPU build of torch, made once and kept."""
    folder = ROOT / ".cache" / "torch-venv"
    wheel, needs = cpu_wheel(), what_it_needs()
    ready = folder / f"torch-{TORCH}-{sys.version_info[0]}.{sys.version_info[1]}"
    with alone("torch-venv"):
        if not ready.exists():
            venv.create(folder, clear=True, with_pip=True)
            python = str(folder / "bin" / "python")
            command = [str(tool("uv")), "pip", "install", "--quiet", "--python", python]
            command += ["--no-index", "--find-links", str(needs), str(wheel)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            ready.touch()
    return folder


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    """A project for uv, which makes and fills a .venv in a moment."""
    return make_demo(tmp_path, "uv", ODD_NAME)


@pytest.fixture(scope="session")
def new_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a pip that knows --group."""
    folder = tmp_path_factory.mktemp("pip")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), "pip"]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("pip-*.whl"))


@pytest.fixture
def pip_demo(tmp_path: Path, new_pip: Path) -> Demo:
    """A project for pip that gets everything from a folder of wheels."""
    demo = make_demo(tmp_path, "pip", ODD_NAME)
    wheels = tmp_path / "wheels"
    shutil.copy(new_pip, wheels)
    make_wheel(wheels, "demo_stub", "2.0")  # newer than what the requirements file pins
    demo.env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels.as_uri(), **NOT_COMPILED}
    return demo


@pytest.fixture
def begun_demo(pip_demo: Demo) -> Demo:
    """The same with pip in its .venv, where a test is of what comes then."""
    begun(pip_demo.root)
    return pip_demo


@pytest.fixture
def healthy(tmp_path: Path, torch_venv: Path) -> Project:
    """A CPU project with its own .venv."""
    return real_project(tmp_path, torch_venv)
