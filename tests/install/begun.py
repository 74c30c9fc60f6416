"""A .venv that a bootstrap by pip has begun: a new pip is in it, and nothing else.

To make one is half of what such a bootstrap does. A test of what comes then takes a copy; with
nothing begin those of test_rendered_bootstrap.py, test_machine_build.py and, for a fallback,
test_fallback.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from install.real_torch import NOT_COMPILED, alone
from render.projects import PYTHON, ROOT


def begun(project: Path, machine_build: str = "") -> Path:
    """The project with such a .venv, for its own build or for one of this machine alone."""
    venv = Path(shutil.copytree(_with_pip(), project / ".venv", symlinks=True))
    stamp = {"root": str(project.resolve()), "machine_build": machine_build}
    (venv / "bootstrap-stamp.json").write_text(json.dumps(stamp), encoding="utf-8")
    return project


def _with_pip() -> Path:
    """A virtual environment whose pip knows --group, made once and kept."""
    folder = ROOT / ".cache" / "pip-venv"
    ready = folder / f"{PYTHON}.ready"
    with alone("pip-venv"):
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            env = {**os.environ, **NOT_COMPILED}
            subprocess.run([*pip, "pip>=25.1"], env=env, check=True)
            for script in (folder / "bin").glob("[Aa]ctivate*"):  # which name that folder
                script.unlink()
            ready.touch()
    return folder
