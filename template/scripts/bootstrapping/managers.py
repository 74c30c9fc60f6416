"""The package managers: where they are, how they lock and install."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from .machine_build import install_machine_build
from .places import LOCK_BEFORE, LOG, ROOT, TOOLS, VENV, WINDOWS, StopError, venv_python
from .progress import say
from .project import MANAGERS
from .pythons import Python, satisfies
from .runner import Runner
from .systems import install_ensurepip, this_system


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
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
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


def install(runner: Runner, manager: list[str]) -> None:
    """Install what the lock file, or for pip the requirements file, says."""
    project, lock = runner.project, runner.project.lock
    title = "installing (the first time can take long)"
    before = lock.read_bytes() if lock.exists() else b""
    if project.manager == "uv":
        lock_packages(runner, [*manager, "lock", "--python", project.python])  # only if it must
    elif project.manager == "poetry":
        if not before or runner.ask([*manager, "check", "--lock", "--no-interaction"]) is None:
            lock_packages(runner, [*manager, "lock", "--no-interaction"])
    else:
        pip = [venv_python(VENV), "-m", "pip", "install"]
        runner.run("updating pip", [*pip, "pip>=25.1"], venv=True)  # the first with --group
    if project.machine_build:
        install_machine_build(runner, manager, title)
    elif project.manager == "uv":
        runner.run(title, [*manager, "sync", "--python", project.python], venv=True)
    elif project.manager == "poetry":
        sync_with_poetry(runner, title, [*manager, "sync", "--no-interaction"])
    else:
        pins = str(lock.relative_to(ROOT))
        runner.run(title, [*pip, "-c", pins, "--group", "dev", "-e", "."], venv=True)
    if lock.exists() and lock.read_bytes() != before:
        news = "was out of date and has been made again" if before else "is new"
        say(f"  {lock.name} {news}: commit it")


def sync_with_poetry(runner: Runner, title: str, command: list[str]) -> None:
    """Install what poetry.lock says, if need be past Poetry's cache.

    There a damaged download, or a login page in its place, stays until somebody removes it by hand.
    """
    try:
        runner.run(title, command, venv=True)
    except StopError:
        if "not found in known hashes" not in LOG.read_text(encoding="utf-8", errors="replace"):
            raise
        cache = TOOLS / "poetry-cache"
        runner.env["POETRY_CACHE_DIR"] = str(cache)
        say("  Poetry's cache has a damaged file: again, with an empty cache")
        try:
            runner.run(title, command, venv=True)
        finally:
            shutil.rmtree(cache, ignore_errors=True)


def lock_packages(runner: Runner, command: list[str]) -> None:
    """Run a manager's lock command, so that the lock file is whole afterwards or as before."""
    if not runner.options.dry_run:
        keep_lock(runner.project.lock)
    try:
        runner.run("locking", command)
    except BaseException:  # whatever it was: the lock file was not finished
        restore_lock(runner.project.lock)
        raise
    LOCK_BEFORE.unlink(missing_ok=True)


def keep_lock(lock: Path) -> None:
    """Put a copy of the lock file aside, since a killed manager may leave half of one."""
    aside = LOCK_BEFORE.with_suffix(".new")
    aside.write_bytes(lock.read_bytes() if lock.exists() else b"")
    aside.replace(LOCK_BEFORE)


def restore_lock(lock: Path) -> None:
    """Bring the lock file back to what it was before an interrupted locking."""
    if not LOCK_BEFORE.exists():
        return
    say(f"  {lock.name} is as it was before the interrupted run")
    if LOCK_BEFORE.stat().st_size:
        LOCK_BEFORE.replace(lock)
    else:
        lock.unlink(missing_ok=True)
        LOCK_BEFORE.unlink()
