"""The project's .venv: whether it is what it should be, how it is made, and its stamp."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from .installation import install, install_offline
from .locking import restore_lock
from .places import (
    LOCK_BEFORE,
    LOG,
    ROOT,
    STAMP,
    TOOLS,
    UNFINISHED,
    VENV,
    WINDOWS,
    StopError,
    read,
    say,
    venv_python,
)
from .project import MANAGERS
from .runner import Runner
from .system import (
    Python,
    get_python,
    install_ensurepip,
    pyenv_pythons,
    satisfies,
    this_system,
    warn_of_surroundings,
)
from .wheelhouse import no_index

SITE = "Lib/site-packages" if WINDOWS else "lib/python3*/site-packages"  # of an environment


def venv_command(python: Python, folder: Path) -> list[str]:
    """How this Python makes a virtual environment with pip in it."""
    if not python.can_venv:  # venv would fail and leave half an environment
        todo = install_ensurepip("{}.{}".format(*python.version), this_system())
        raise StopError(
            4, f"{python.executable} has no ensurepip, so it cannot make a .venv.", todo
        )
    return [python.executable, "-m", "venv", str(folder)]


def find_manager(runner: Runner, base: Python) -> list[str]:
    """The command of uv or Poetry: from PATH, else from its own environment in .tools."""
    name = runner.project.manager
    specifier, key = MANAGERS[name]
    text = read(ROOT / "pyproject.toml")
    narrower = re.search(rf'^{key}\s*=\s*"([^"]+)"', text, re.MULTILINE)
    specifier += f",{narrower[1]}" if narrower else ""
    home = TOOLS / name
    own = [venv_python(home), "-m", name]
    if name == "uv":  # not by -m, which would show uv its own environment as the active one
        own = [str(Path(own[0]).with_name("uv.exe" if WINDOWS else "uv"))]
    for command in ([runner.which(name)], own):
        version = re.search(r"(\d+)\.(\d+)\.(\d+)", runner.ask([*command, "--version"]) or "")
        if version and satisfies([int(part) for part in version.groups()], specifier):
            say(f"  {name} {version[0]} ({command[0]})")
            return command
    make = venv_command(base, home)
    runner.remove(home, f"it has no working {name} {specifier}")
    runner.run(f"making .tools/{name}", make, 4)
    pip = [venv_python(home), "-m", "pip", "install"]
    runner.run(f"installing {name} into it", [*pip, name + specifier])
    return own


def check_workspace(runner: Runner, uv: list[str]) -> None:
    """Stop if this project is a part of another one to uv, which then fills the other's .venv."""
    whole = runner.ask([*uv, "workspace", "dir"]) or ""  # an older uv does not tell
    known = whole and Path(whole).is_dir()  # a space at the end was cut off
    if not known or ROOT.samefile(whole):
        return
    what = f"To uv, this project is a part of the workspace {whole}, which has one .venv for all."
    part = Path(os.path.relpath(ROOT.resolve(), Path(whole).resolve())).as_posix()
    where = f"[tool.uv.workspace] of {Path(whole, 'pyproject.toml')}"
    todo = f'Let it stand on its own, then run this again: in {where}\n  exclude = ["{part}"]'
    raise StopError(2, what, todo)


# --- .venv, and its stamp


def find_python(runner: Runner, running: Python, uv: list[str]) -> Python | None:
    """A Python for .venv: the running one, else from PATH, else pyenv's or uv's."""
    minor = runner.project.python
    if not runner.project.misfit(running):
        return running
    commands = [["py", f"-{minor}"]] if WINDOWS else []
    commands += [[runner.which(name)] for name in (f"python{minor}", "python3", "python")]
    commands += [[path] for path in pyenv_pythons(minor)]
    if uv:
        wanted = runner.project.requires_python
        commands.append([runner.ask([*uv, "python", "find", "--no-project", wanted]) or ""])
    found = (python for python in map(runner.probe, commands) if python)
    return next((python for python in found if not runner.project.misfit(python)), None)


def named_python(runner: Runner, name: str) -> Python:
    """The Python of --python."""
    path = Path(name)
    python = runner.probe([str(path.absolute()) if path.exists() else runner.which(name)])
    misfit = runner.project.misfit(python) if python else "does not run"
    if not python or misfit:
        todo = "Give the path of another one, or leave it out."
        raise StopError(3, f"--python {name} {misfit}.", todo)
    return python


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
        what = f"No Python {runner.project.requires_python} was found."
        raise StopError(3, what, get_python(minor, runner.project.pythons, runner.project.update))
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
    try:
        return not VENV.samefile(named[2])
    except OSError:  # it is gone, or somebody else's
        return True


def reopen_stamp() -> None:
    """Take back that .venv is complete; that it was begun for a machine build stays true."""
    kept = {name: read_stamp().get(name, "") for name in ("machine_build", "fallback")}
    STAMP.unlink(missing_ok=True)
    if kept["machine_build"]:
        write_stamp(**kept)


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
    return not has_build(runner)


def has_build(runner: Runner) -> bool:
    """Whether .venv has the packages of the build: somebody may have put others there, or none."""
    packages = runner.project.build["platforms"][runner.platform]["packages"]
    names = (f"{name}-{version}" for name, version in packages.items())
    return all(any(VENV.glob(f"{SITE}/{name}.dist-info")) for name in names)


def check_filled(runner: Runner) -> None:
    """Stop if a manager ended well, and torch is not in .venv: a setting can send it elsewhere."""
    names = runner.project.build["platforms"][runner.platform]["packages"]
    if not any(any(VENV.glob(f"{SITE}/{name}-*.dist-info")) for name in names):
        manager = runner.project.manager
        what = f"{manager} ended well, but {next(iter(names))} is not in {VENV}."
        todo = f"Take away what tells {manager} to install less, or elsewhere, then run this again"
        found = [name for name in os.environ if name.startswith(f"{manager.upper()}_")]
        settings = ", ".join(sorted(found)) or f"settings in a file of {manager}"
        raise StopError(5, what, f"{todo}: {settings}.\nThe whole output is in {LOG}.")


def set_up(runner: Runner, running: Python, named: Python | None, rebuild: str) -> None:
    """Bring .venv to what the project asks for, and stamp it."""
    kind, dry_run = runner.project.manager, runner.options.dry_run
    if not dry_run:
        shutil.rmtree(TOOLS / "removing", ignore_errors=True)
        if LOCK_BEFORE.exists():
            say(f"  {runner.project.lock.name} is as it was before the interrupted run")
        restore_lock(runner.project.lock)
        reopen_stamp()
    manager = find_manager(runner, named or running) if kind != "pip" else []
    if kind == "uv":
        check_workspace(runner, manager)
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
    begun_for = {"machine_build": runner.project.machine_build, "fallback": runner.project.fallback}
    if begun_for["machine_build"] and not dry_run:  # half made, it must not pass for the project's
        write_stamp(**begun_for)
    (install_offline if runner.options.offline else install)(runner, manager)
    made = None if dry_run else runner.probe([venv_python(VENV)])
    if made:
        check_filled(runner)
        write_stamp(**begun_for, inputs=runner.project.fingerprint(made))


def up_to_date(runner: Runner, named: Python | None) -> bool:
    """Whether .venv is what the project asks for."""
    current = runner.probe([venv_python(VENV)])
    if not current or why_rebuild(runner, current, named):
        return False
    same = read_stamp().get("inputs") == runner.project.fingerprint(current)
    return same and has_build(runner)
