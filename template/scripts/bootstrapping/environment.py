"""The project's .venv: whether it is what it should be, how to make it, its stamp."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from .managers import find_manager, install, restore_lock, venv_command
from .offline import install_offline
from .places import ROOT, STAMP, TOOLS, UNFINISHED, VENV, WINDOWS, StopError, venv_python
from .progress import say
from .pythons import Python, find_python
from .runner import Runner
from .surroundings import warn_of_surroundings
from .systems import install_python, this_system
from .wheelhouse import no_index


def environment_command(
    runner: Runner, manager: list[str], uv: list[str], python: Python | None
) -> list[str]:
    """How to make an empty .venv with this Python, or else with one that uv downloads."""
    kind, minor = runner.project.installer, runner.project.python
    uv = uv if python or not runner.options.offline else []  # it would have to download one
    if uv and (kind == "uv" or not python or not python.can_venv):
        runner.env["UV_PYTHON_INSTALL_DIR"] = str(TOOLS / "python")
        request = python.executable if python else runner.project.requires_python
        seed = ["--seed"] if kind == "pip" or (kind == "poetry" and runner.options.offline) else []
        if seed and runner.options.offline:
            seed += no_index(runner.options.wheelhouse)
        return [*uv, "venv", "--no-project", *seed, "--python", request, str(VENV)]
    if not python:
        todo = install_python(minor, this_system())
        todo += f"\nOr name one: --python /path/to/python{minor}"
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


def made_elsewhere() -> bool:
    """Whether .venv says of itself that it is another folder: its programs do not run here.

    What a tool made has no stamp, but a script that activates it, with the folder in one quoted
    word (on Windows some write it otherwise; those are believed).
    """
    script = Path(venv_python(VENV)).with_name("activate")
    text = script.read_text(encoding="utf-8", errors="replace") if script.exists() else ""
    line = r"^\s*(?:export )?VIRTUAL_ENV=(['\"]?)([^'\"$\n]+)\1$"
    named = re.search(line, text, re.MULTILINE)
    if not named:
        return False
    return not Path(named[2]).exists() or not VENV.samefile(named[2])


def reopen_stamp() -> None:
    """Take back that .venv is complete; that it was begun for a machine build stays true."""
    machine_build = read_stamp().get("machine_build")
    STAMP.unlink(missing_ok=True)
    if machine_build:
        write_stamp(machine_build=machine_build)


def write_stamp(**facts: str) -> None:
    """Say what .venv is made from."""
    text = json.dumps({"root": str(ROOT.resolve()), **facts})
    STAMP.write_text(text, encoding="utf-8")


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
    if read_stamp().get("root", str(ROOT.resolve())) != str(ROOT.resolve()) or made_elsewhere():
        return "the folder of the project was moved"
    other = runner.project.other_than(read_stamp().get("machine_build", ""))
    if other:
        return other
    if replaced(runner):
        return "another torch has been put into it"
    if named and not Path(named.base_prefix).samefile(current.base_prefix):
        return f"it is from another Python than {named.executable}"
    return runner.project.misfit(current).replace("is", "it is", 1)


def replaced(runner: Runner) -> bool:
    """Whether a machine build is gone: `uv run` and the like bring the project's own back."""
    if not runner.project.machine_build or "inputs" not in read_stamp():
        return False
    version = runner.project.build["platforms"][runner.platform]["packages"]["torch"]
    site = "Lib/site-packages" if WINDOWS else "lib/python3*/site-packages"
    return not any(VENV.glob(f"{site}/torch-{version}.dist-info"))


def set_up(runner: Runner, running: Python, named: Python | None, rebuild: str) -> None:
    """Bring .venv to what the project asks for, and stamp it."""
    kind, dry_run = runner.project.manager, runner.options.dry_run
    if not dry_run:
        shutil.rmtree(TOOLS / "removing", ignore_errors=True)
        restore_lock(runner.project.lock)
        reopen_stamp()
    manager = find_manager(runner, named or running) if kind != "pip" else []
    needs_pip = runner.project.installer == "pip"
    if needs_pip and not rebuild and not runner.ask([venv_python(VENV), "-m", "pip", "-V"]):
        rebuild = "it has no pip"
    if rebuild or not os.path.lexists(VENV):
        uv = manager if kind == "uv" else [path for path in [runner.which("uv")] if path]
        python = named or find_python(runner, running, uv)
        make = environment_command(runner, manager, uv, python)
        news = f"{python.name} ({python.executable})" if python else "uv gets the Python"
        say(f"  {news}")
        warn_of_surroundings(python)
        runner.remove(VENV, rebuild)
        runner.run("making .venv", make, 4, venv=True)
    begun_for = runner.project.machine_build
    if begun_for and not dry_run:  # what is half made must not pass for the project's own
        write_stamp(machine_build=begun_for)
    (install_offline if runner.options.offline else install)(runner, manager)
    made = None if dry_run else runner.probe([venv_python(VENV)])
    if made:
        write_stamp(machine_build=begun_for, inputs=runner.project.fingerprint(made))


def up_to_date(runner: Runner, named: Python | None) -> bool:
    """Whether .venv is what the project asks for."""
    current = runner.probe([venv_python(VENV)])
    if not current or why_rebuild(runner, current, named):
        return False
    return bool(read_stamp().get("inputs") == runner.project.fingerprint(current))
