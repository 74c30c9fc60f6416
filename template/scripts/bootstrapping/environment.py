"""The project's .venv: whether it is what it should be, how to make it, its stamp."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from .managers import find_manager, install, restore_lock, venv_command
from .places import ROOT, STAMP, TOOLS, UNFINISHED, VENV, StopError, venv_python
from .pythons import Python, find_python, warn_of_surroundings
from .runner import Runner


def environment_command(
    runner: Runner, manager: list[str], uv: list[str], python: Python | None
) -> list[str]:
    """How to make an empty .venv with this Python, or else with one that uv downloads."""
    kind, minor = runner.project.manager, runner.project.python
    if uv and (kind == "uv" or not python or not python.can_venv):
        runner.env["UV_PYTHON_INSTALL_DIR"] = str(TOOLS / "python")
        request = python.executable if python else runner.project.requires_python
        seed = ["--seed"] if kind == "pip" else []
        return [*uv, "venv", "--no-project", *seed, "--python", request, str(VENV)]
    if not python:
        todo = f"Install Python {minor} or uv, or name one: --python /path/to/python{minor}"
        raise StopError(3, f"No Python {runner.project.requires_python} was found.", todo)
    if kind == "poetry":
        return [*manager, "env", "use", "--no-interaction", python.executable]
    return venv_command(python, VENV)


def read_stamp() -> dict[str, Any]:
    """What .venv was made from; empty if this script did not complete it."""
    try:
        return dict(json.loads(STAMP.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def why_rebuild(runner: Runner, current: Python | None, named: Python | None) -> str:
    """Why .venv cannot be kept as it is; empty if it can, or if there is none."""
    if not os.path.lexists(VENV):
        return ""
    if UNFINISHED.exists():
        return "an earlier run was interrupted"
    foreign = VENV.exists() and not (VENV / "pyvenv.cfg").exists()
    if foreign and (not VENV.is_dir() or any(VENV.iterdir())):
        todo = "Move it away and run this again."
        raise StopError(4, f"{VENV} is there, but is not a virtual environment.", todo)
    if runner.options.recreate:
        return "--recreate"
    if current is None:
        return "its Python does not run"
    if read_stamp().get("root", str(ROOT.resolve())) != str(ROOT.resolve()):
        return "the folder of the project was moved"
    if named and not Path(named.base_prefix).samefile(current.base_prefix):
        return f"it is from another Python than {named.executable}"
    return runner.project.misfit(current).replace("is", "it is", 1)


def set_up(runner: Runner, running: Python, named: Python | None, rebuild: str) -> None:
    """Bring .venv to what the project asks for, and stamp it."""
    kind, dry_run = runner.project.manager, runner.options.dry_run
    if not dry_run:
        shutil.rmtree(TOOLS / "removing", ignore_errors=True)
        restore_lock(runner.project.lock)
        STAMP.unlink(missing_ok=True)
    manager = find_manager(runner, named or running) if kind != "pip" else []
    if kind == "pip" and not rebuild and not runner.ask([venv_python(VENV), "-m", "pip", "-V"]):
        rebuild = "it has no pip"
    if rebuild or not os.path.lexists(VENV):
        uv = manager if kind == "uv" else [path for path in [runner.which("uv")] if path]
        python = named or find_python(runner, running, uv)
        make = environment_command(runner, manager, uv, python)
        news = f"{python.name} ({python.executable})" if python else "uv gets the Python"
        print(f"  {news}", flush=True)
        warn_of_surroundings(python)
        runner.remove(VENV, rebuild)
        runner.run("making .venv", make, 4, venv=True)
    install(runner, manager)
    made = None if dry_run else runner.probe([venv_python(VENV)])
    if made:
        stamp = {"root": str(ROOT.resolve()), "inputs": runner.project.fingerprint(made)}
        STAMP.write_text(json.dumps(stamp), encoding="utf-8")


def up_to_date(runner: Runner, named: Python | None) -> bool:
    """Whether .venv is what the project asks for."""
    current = runner.probe([venv_python(VENV)])
    if not current or why_rebuild(runner, current, named):
        return False
    return bool(read_stamp().get("inputs") == runner.project.fingerprint(current))
