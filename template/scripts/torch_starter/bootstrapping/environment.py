"""The project's .venv: whether it is what it should be, and how it is made."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

from surroundings.versions import canonical

from .contents import (
    ASIDE,
    MOVING,
    entries,
    packages,
    read_stamp,
    replacing,
    settle,
    write_stamp,
)
from .installation import install, install_offline
from .locking import restore_lock
from .managers import find_manager, venv_command, working_manager
from .places import (
    LOG,
    ROOT,
    TOOLS,
    UNFINISHED,
    VENV,
    WINDOWS,
    StopError,
    say,
    venv_python,
)
from .pylocks import stale
from .runner import Runner
from .settings import refuse_astray, settings_advice
from .system import (
    Python,
    get_python,
    pyenv_pythons,
    satisfies,
    warn_of_surroundings,
)
from .wheelhouse import no_index

ODD = {  # what to name in the place of a Python that no wheel is for
    "is a 32-bit Python": "Name a 64-bit one, or leave it out.",
    "is a free-threaded Python": "Name the usual one, whose name has no t at its end.",
    "is not CPython": "Name CPython, from python.org or your system, or leave it out.",
}
SHARES = re.compile(r"^include-system-site-packages *= *true", re.IGNORECASE | re.MULTILINE)


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


# --- .venv


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
    for python in (running, *filter(None, map(runner.probe, commands))):
        if not (misfit := runner.project.misfit(python)):
            return python
        if satisfies(python.version, runner.project.requires_python):
            say(f"  {python.executable} {misfit}: passed over, PyTorch has no wheels for it")
    return None


def named_python(runner: Runner, name: str) -> Python:
    """The Python of --python."""
    path = Path(name)
    python = runner.probe([str(path.absolute()) if path.exists() else runner.which(name)])
    misfit = runner.project.misfit(python) if python else "does not run"
    if not python or misfit:
        todo = ODD.get(misfit, "Give the path of another one, or leave it out.")
        raise StopError(3, f"--python {name} {misfit}.", todo)
    return python


def environment_command(runner: Runner, uv: list[str], python: Python | None) -> list[str]:
    """How to make an empty .venv with this Python, or else with one that uv downloads."""
    kind, minor = runner.project.installer, runner.project.python
    uv = uv if python or not runner.options.offline else []  # it would have to download one
    if uv and (kind == "uv" or not python or not python.can_venv):
        runner.env["UV_PYTHON_INSTALL_DIR"] = str(TOOLS / "python")
        request = python.executable if python else runner.project.requires_python
        seed = ["--seed"] if kind == "pip" or (kind == "poetry" and runner.options.offline) else []
        if seed and runner.options.offline:
            seed += no_index(runner.options.wheelhouse)
        how = ["--no-project", "--allow-existing", *seed, "--python", request]
        return [*uv, "venv", *how, str(VENV)]
    if not python:
        what = f"No Python {runner.project.requires_python} was found."
        raise StopError(3, what, get_python(minor, runner.project.pythons, runner.project.update))
    place = VENV.resolve() if VENV.is_symlink() else VENV  # `venv` takes no link
    if kind == "poetry" and not runner.options.offline:
        return [python.executable, "-m", "venv", "--without-pip", str(place)]
    return venv_command(python, place)


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


def why_rebuild(
    runner: Runner, current: Python | None, named: Python | None, have: dict[str, str]
) -> str:
    """Why .venv cannot be kept as it is; empty if it can, or if there is none.

    `have`: the packages in it.
    """
    stamp, here = read_stamp(), str(ROOT.resolve())
    if UNFINISHED.exists() or ASIDE.exists() or MOVING.exists():
        return "an earlier run was interrupted"
    refuse_foreign()
    if not entries():
        return ""
    if runner.options.recreate:
        return "--recreate"
    if current is None:
        return "its Python does not run"
    if SHARES.search((VENV / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")):
        return "it takes packages from outside"
    if stamp.get("root", here) != here or made_elsewhere():
        return "the folder of the project was moved"
    other = runner.project.other_than(stamp.get("machine_build", ""))
    if other:
        return other
    if not runner.project.dev and (more := superfluous(stamp, have)):
        return more
    differs = lacking(runner, have, exactly=True) if "inputs" in stamp else []
    if runner.project.machine_build and differs:
        return "another torch has been put into it"  # `uv run` and the like bring the own one back
    mixed = [name for name in differs if have.get(canonical(name))]
    if mixed and runner.project.installer != "uv":  # a kill would halve it
        return f"it has another version of {', '.join(mixed)}"
    before = stamp.get("packages", {})
    lost = [name for name in have if name in before and not have[name] and before[name]]
    if lost:
        return f"files of {', '.join(lost)} are lost"
    if named and not Path(named.base_prefix).samefile(current.base_prefix):
        return f"it is from another Python than {named.executable}"
    return runner.project.misfit(current).replace("is", "it is", 1)


def superfluous(stamp: dict[str, Any], have: dict[str, str]) -> str:
    """What .venv has that an image or a server is to go without; empty if there is nothing."""
    if stamp.get("dev", True):
        return f"it {'has' if 'dev' in stamp else 'may have'} the tools for development"
    added = sorted(have.keys() - stamp["packages"].keys()) if "inputs" in stamp else []
    return f"{', '.join(added[:3])} {'was' if len(added) == 1 else 'were'} added" if added else ""


def refuse_foreign() -> None:
    """Stop if something else is in the place of .venv: it is not touched."""
    if not os.path.lexists(VENV):
        return
    if VENV.is_symlink() and not VENV.exists():
        what = f"{VENV} is a link to {VENV.readlink()}, which is not there."
        raise StopError(4, what, "Make that folder, or remove the link, then run this again.")
    if not VENV.is_dir() or (entries() and not (VENV / "pyvenv.cfg").exists()):
        todo = "Move it away and run this again."
        raise StopError(4, f"{VENV} is there, but is not a virtual environment.", todo)


def lacking(runner: Runner, have: dict[str, str], exactly: bool = False) -> list[str]:
    """The packages of the build that are not in .venv, or not in that version."""
    build = runner.project.build["platforms"][runner.platform]["packages"]
    found = {name: have.get(canonical(name)) for name in build}
    return [name for name in build if (found[name] != build[name] if exactly else not found[name])]


def set_up(runner: Runner, running: Python, named: Python | None) -> None:
    """Bring .venv to what the project asks for, and stamp it."""
    dry_run, lock = runner.options.dry_run, runner.project.lock
    if runner.project.installer == "pip" or runner.project.machine_build:
        refuse_astray(runner.project.installer, runner.env)
    if not dry_run:
        settle()
        if restore_lock(lock):
            say(f"  {lock.name} was left half written: it is as it was before")
    current = runner.probe([venv_python(VENV)])
    rebuild = why_rebuild(runner, current, named, packages())
    name = runner.project.manager
    manager = find_manager(runner, named or running, name) if name != "pip" else []
    if runner.project.manager == "uv":
        check_workspace(runner, manager)
    needs_pip = runner.project.installer == "pip" and current and not rebuild
    if needs_pip and not runner.ask([venv_python(VENV), "-m", "pip", "-V"]):
        rebuild = "it has no pip"
    if current and not rebuild:
        complete(runner, manager)
        return
    if rebuild and VENV.is_symlink() and not read_stamp() and not UNFINISHED.exists():
        what = f"{VENV} is a link to an environment that this script did not make, and {rebuild}."
        raise StopError(4, what, "Empty that folder, or remove the link, then run this again.")
    uv = [path for path in [runner.which("uv")] if path]
    uv = manager if runner.project.manager == "uv" else uv
    python = named or find_python(runner, running, uv)
    make = environment_command(runner, uv, python)
    say(f"  {python.name} ({python.executable})" if python else "  uv gets the Python")
    warn_of_surroundings(python)
    if rebuild:
        say(f"  removing .venv: {rebuild}")
    with contextlib.nullcontext() if dry_run else replacing():
        runner.run("making .venv", make, 4, venv=True)
        if not dry_run and not any(ASIDE.iterdir()):
            ASIDE.rmdir()  # what is made from here on can be gone on with
        complete(runner, manager)


def complete(runner: Runner, manager: list[str]) -> None:
    """Fill .venv, and stamp it when it has what the project asks for."""
    project, dry_run = runner.project, runner.options.dry_run
    begun_for: dict[str, str | bool] = {
        "machine_build": project.machine_build,
        "fallback": project.fallback,
        "dev": project.dev,
    }
    if not dry_run:  # half made, it must not pass for whole, nor for the project's own build
        write_stamp(**begun_for, packages=read_stamp().get("packages", {}))
    (install_offline if runner.options.offline else install)(runner, manager)
    if dry_run:
        return
    have, tool = packages(), project.installer
    if missing := lacking(runner, have):
        wheels = project.build["platforms"][runner.platform]["packages"]
        advice = settings_advice(tool, runner.env, wheels)
        todo = advice[1] if advice else "See what it said, and run this again."
        if tool == "uv" and any(canonical(name) in have for name in missing):
            todo = f"Its cache is damaged: uv cache clean {' '.join(missing)}\nThen run this again."
        what = f"{tool} ended without an error, but {', '.join(missing)} is not in .venv."
        raise StopError(5, what, f"{todo}\nThe whole output is in {LOG}.")
    write_stamp(**begun_for, inputs=project.fingerprint(), packages=have)


def up_to_date(runner: Runner, named: Python | None) -> bool:
    """Whether .venv is what the project asks for: uv is asked, for the others it is remembered."""
    current, have, stamp = runner.probe([venv_python(VENV)]), packages(), read_stamp()
    if not current or why_rebuild(runner, current, named, have):
        return False
    if stamp.get("dev", True) != runner.project.dev:
        return False
    if not {"inputs", "packages"} <= stamp.keys() or not stamp["packages"].items() <= have.items():
        return False
    same = bool(stamp["inputs"] == runner.project.fingerprint())
    if not runner.project.machine_build and stale(runner):
        return False
    if runner.project.manager != "uv" or runner.project.machine_build:
        return same
    uv, _ = working_manager(runner, "uv")
    check = ["sync", "--check", "--locked", "--inexact", "--offline"]
    check += runner.project.without
    check += ["--no-install-project"] if same else []  # which it builds anew after a mere `touch`
    check += ["--python", runner.project.python]
    return bool(uv) and runner.ask([*uv, *check]) is not None
