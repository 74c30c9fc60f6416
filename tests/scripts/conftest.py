"""The real torch, for the tests that need it."""

import fcntl
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from scripts.bootstrap_helpers import ODD_NAME, Demo, make_demo
from scripts.smoke_helpers import ROOT, TORCH, Project
from scripts.torch_helpers import real_project

INDEX = ["--index-url", "https://download.pytorch.org/whl/cpu"]


@pytest.fixture(scope="session")
def torch_venv() -> Path:
    """A virtual environment with the real CPU build of torch, made once and kept."""
    folder = ROOT / ".cache" / "torch-venv"
    folder.parent.mkdir(exist_ok=True)
    ready = folder / f"torch-{TORCH}-{sys.version_info[0]}.{sys.version_info[1]}"
    with (folder.parent / "torch-venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one test process makes it, the others wait
        if not ready.exists():
            venv.create(folder, clear=True, with_pip=True)
            install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--no-input"]
            for source in ([], INDEX):
                command = [*install, f"torch=={TORCH}+cpu", *source]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if not done.returncode:
                    ready.touch()
                    break
    if not ready.exists():
        pytest.skip(f"torch {TORCH}+cpu cannot be installed: {done.stderr.splitlines()[-1:]}")
    return folder


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    """A project for uv, which makes and fills a .venv in a moment."""
    return make_demo(tmp_path, "uv", ODD_NAME)


@pytest.fixture
def healthy(tmp_path: Path, torch_venv: Path) -> Project:
    """A CPU project with its own .venv."""
    return real_project(tmp_path, torch_venv)
