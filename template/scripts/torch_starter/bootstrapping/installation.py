"""How .venv is filled with what the lock file, or for pip the requirements file, says."""

from __future__ import annotations

import re
from pathlib import Path

from .locking import bring_lock, check_lock, lock_packages, why_no_lock
from .machine_build import install_machine_build
from .places import ROOT, TOOLS, VENV, read, say, venv_python
from .project import Project
from .pylock_install import freshen, has_pylock, install_pylock
from .runner import Runner
from .wheelhouse import no_index, pins


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
    if has_pylock(runner, manager):
        install_pylock(runner, manager, title)
    elif project.machine_build:
        if project.extras:
            say(f"  {project.machine_build} is not among the builds in locks: no hash is checked")
        install_machine_build(runner, manager, title, why_no_lock(runner, manager))
    elif project.manager == "uv":
        sync = [*manager, "sync", "--python", project.python, *project.without]
        runner.run(title, sync, venv=True)
    elif project.manager == "poetry":
        sync = [*manager, "sync", "--no-interaction", *project.without]
        runner.run(title, sync, venv=True)
    else:
        runner.run(title, [*pip, *for_pip(project, lock)], venv=True)
    if lock.exists() and lock.read_bytes() != before:
        news = "was out of date and has been made again" if before else "is new"
        say(f"  {lock.name} {news}: commit it")
    if not project.machine_build:
        freshen(runner, manager)


def for_pip(project: Project, constraints: Path) -> list[str]:
    """What pip is told to install, and with which versions of torch."""
    group = ["--group", "dev"] if project.dev else []
    return ["-c", str(constraints.relative_to(ROOT)), *group, "-e", "."]


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
    if has_pylock(runner, manager):
        install_pylock(runner, manager, "installing")
    elif project.machine_build:
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
        lines = read(project.lock).splitlines()
        PINS.write_text("\n".join([*pins(project, lines), ""]), encoding="utf-8")
    into = [*no_index(runner.options.wheelhouse), *for_pip(project, PINS)]
    runner.run("installing", [*pip, *into], venv=True)


def install_by_uv(runner: Runner, manager: list[str]) -> None:
    """uv: from its cache, or with the lock's versions and hashes from the folder of wheels."""
    python, without = ["--python", runner.project.python], runner.project.without
    if not runner.options.wheelhouse:
        runner.run("installing", [*manager, "sync", "--offline", *python, *without], venv=True)
        return
    export = [*manager, "export", "--frozen", "--no-emit-project", "--quiet", *without]
    runner.run("reading uv.lock", [*export, "--output-file", str(LOCKED.relative_to(ROOT))])
    wheels = ["--offline", *no_index(runner.options.wheelhouse)]
    exactly = ["--no-deps", "--python", venv_python(VENV), "-r", str(LOCKED.relative_to(ROOT))]
    runner.run("installing", [*manager, "pip", "install", *wheels, *exactly], venv=True)
    # All is there but the project itself, for which it finds the build requirements.
    sync = [*manager, "sync", "--frozen", *wheels, *python, *without]
    runner.run("installing the project", sync, venv=True)


def install_by_poetry(runner: Runner, manager: list[str]) -> None:
    """Poetry, which always asks an index: pip installs for it, from the wheels that it has kept."""
    if not runner.options.dry_run:
        LOCKED.write_text(locked_by_poetry(runner, manager), encoding="utf-8")
    pip = [venv_python(VENV), "-m", "pip", "install", "--no-deps"]
    pip += no_index(runner.options.wheelhouse)
    runner.run("installing", [*pip, "-r", str(LOCKED.relative_to(ROOT))], venv=True)
    # Nothing is left to be fetched: it removes what is too much, and installs the project itself.
    sync = [*manager, "sync", "--no-interaction", *runner.project.without]
    runner.run("installing the project", sync, venv=True)


def locked_by_poetry(runner: Runner, manager: list[str]) -> str:
    """What Poetry would install here, as requirements with the hashes of poetry.lock."""
    how = ["--dry-run", "--no-interaction", "--no-ansi", *runner.project.without]
    plan = runner.ask([*manager, "sync", *how]) or ""
    hashes: dict[tuple[str, str], list[str]] = {}
    for package in read(runner.project.lock).split("[[package]]")[1:]:
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
