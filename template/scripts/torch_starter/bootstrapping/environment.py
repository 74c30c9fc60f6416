"""The project's .venv: whether it is what it should be, how it is made and filled."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from .locking import bring_lock, check_lock, lock_packages, restore_lock, why_no_lock
from .machine_build import install_machine_build
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
    say,
    venv_python,
)
from .project import MANAGERS, no_index, pins
from .runner import Runner
from .system import (
    Python,
    find_python,
    get_python,
    install_ensurepip,
    satisfies,
    this_system,
    warn_of_surroundings,
)


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
    pip = [venv_python(VENV), "-m", "pip", "install"]
    if project.manager == "pip":
        runner.run("updating pip", [*pip, "pip>=25.1"], venv=True)  # the first with --group
    elif not project.machine_build:
        bring_lock(runner, manager)
    if project.machine_build:
        install_machine_build(runner, manager, title, why_no_lock(runner, manager))
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


# --- Without a network: from a folder of wheels, or from what a manager has kept

LOCKED = TOOLS / "locked.txt"  # what the lock file says, in pip's words
PINS = TOOLS / "pins.txt"  # the requirements file without its links to an index
OPERATION = re.compile(
    r"^\s*- (?:Installing|Updating|Downgrading) (\S+) \((?:\S+ -> )?([^\s)]+)\)$", re.MULTILINE
)


def install_offline(runner: Runner, manager: list[str]) -> None:
    """Install what the lock file, or for pip the requirements file, says, and ask no network."""
    project, python = runner.project, ["--python", runner.project.python]
    if project.manager == "uv" and not runner.options.wheelhouse:
        lock_packages(runner, [*manager, "lock", "--offline", *python])
    elif project.manager != "pip":
        check_lock(runner, manager)
    else:
        pip = [venv_python(VENV), "-m", "pip", "install", *no_index(runner.options.wheelhouse)]
        runner.run("updating pip", [*pip, "pip>=25.1"], venv=True)
    if project.machine_build:
        install_machine_build(runner, manager, "installing")
    elif project.manager == "uv":
        install_by_uv(runner, manager)
    elif project.manager == "poetry":
        install_by_poetry(runner, manager)
    else:
        install_by_pip(runner)


def install_by_pip(runner: Runner) -> None:
    """pip: the requirements file without its links, which pip would ask even so."""
    project, pip = runner.project, [venv_python(VENV), "-m", "pip", "install"]
    if not runner.options.dry_run:
        lines = project.lock.read_text(encoding="utf-8").splitlines()
        PINS.write_text("\n".join([*pins(project, lines), ""]), encoding="utf-8")
    into = ["-c", str(PINS.relative_to(ROOT)), "--group", "dev", "-e", "."]
    runner.run("installing", [*pip, *no_index(runner.options.wheelhouse), *into], venv=True)


def install_by_uv(runner: Runner, manager: list[str]) -> None:
    """uv: from its cache, or with the lock's versions and hashes from the folder of wheels."""
    python = ["--python", runner.project.python]
    if not runner.options.wheelhouse:
        runner.run("installing", [*manager, "sync", "--offline", *python], venv=True)
        return
    export = [*manager, "export", "--frozen", "--no-emit-project", "--quiet"]
    runner.run("reading uv.lock", [*export, "--output-file", str(LOCKED.relative_to(ROOT))])
    wheels = ["--offline", *no_index(runner.options.wheelhouse)]
    exactly = ["--no-deps", "--python", venv_python(VENV), "-r", str(LOCKED.relative_to(ROOT))]
    runner.run("installing", [*manager, "pip", "install", *wheels, *exactly], venv=True)
    # All is there but the project itself, for which it finds the build requirements.
    sync = [*manager, "sync", "--frozen", *wheels, *python]
    runner.run("installing the project", sync, venv=True)


def install_by_poetry(runner: Runner, manager: list[str]) -> None:
    """Poetry, which always asks an index: pip installs for it, from the wheels that it has kept."""
    if not runner.options.dry_run:
        LOCKED.write_text(locked_by_poetry(runner, manager), encoding="utf-8")
    pip = [venv_python(VENV), "-m", "pip", "install", "--no-deps"]
    pip += no_index(runner.options.wheelhouse)
    runner.run("installing", [*pip, "-r", str(LOCKED.relative_to(ROOT))], venv=True)
    # Nothing is left to be fetched: it removes what is too much, and installs the project itself.
    sync = [*manager, "sync", "--no-interaction"]
    runner.run("installing the project", sync, venv=True)


def locked_by_poetry(runner: Runner, manager: list[str]) -> str:
    """What Poetry would install here, as requirements with the hashes of poetry.lock."""
    plan = runner.ask([*manager, "sync", "--dry-run", "--no-interaction", "--no-ansi"]) or ""
    hashes: dict[tuple[str, str], list[str]] = {}
    for package in runner.project.lock.read_text(encoding="utf-8").split("[[package]]")[1:]:
        name = re.search(r'^name = "(.+)"', package, re.MULTILINE)
        version = re.search(r'^version = "(.+)"', package, re.MULTILINE)
        if name and version:
            hashes[name[1], version[1]] = re.findall(r'hash = "(\w+:\w+)"', package)
    lines = kept_by_poetry(runner, manager)
    for name, version in OPERATION.findall(plan):
        words = [f"{name}=={version}", *(f"--hash={text}" for text in hashes[name, version])]
        lines.append(" ".join(words))
    return "".join(f"{line}\n" for line in lines)


def kept_by_poetry(runner: Runner, manager: list[str]) -> list[str]:
    """Options of pip for the folders of Poetry's cache, where no other folder is named."""
    if runner.options.wheelhouse:
        return []
    cache = Path(runner.ask([*manager, "config", "cache-dir"]) or TOOLS)
    return [f"--find-links {folder.as_uri()}" for folder in wheel_folders(cache / "artifacts")]


def wheel_folders(top: Path) -> list[Path]:
    """The folders at any depth that have wheels."""
    return sorted({wheel.parent for wheel in top.rglob("*.whl")})


# --- .venv, and its stamp


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
        raise StopError(3, what, get_python(minor, runner.project.pythons))
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
    site = "Lib/site-packages" if WINDOWS else "lib/python3*/site-packages"
    names = (f"{name}-{version}" for name, version in packages.items())
    return all(any(VENV.glob(f"{site}/{name}.dist-info")) for name in names)


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
        write_stamp(**begun_for, inputs=runner.project.fingerprint(made))


def up_to_date(runner: Runner, named: Python | None) -> bool:
    """Whether .venv is what the project asks for."""
    current = runner.probe([venv_python(VENV)])
    if not current or why_rebuild(runner, current, named):
        return False
    same = read_stamp().get("inputs") == runner.project.fingerprint(current)
    return same and has_build(runner)
