"""Installing without a network: from a folder of wheels, or from what a manager has kept."""

from __future__ import annotations

import re
from pathlib import Path

from .managers import lock_packages
from .places import ROOT, TOOLS, VENV, StopError, venv_python
from .project import Project
from .runner import Runner

LOCKED = TOOLS / "locked.txt"  # what the lock file says, in pip's words
PINS = TOOLS / "pins.txt"  # the requirements file without its links to an index
OPERATION = re.compile(
    r"^\s*- (?:Installing|Updating|Downgrading) (\S+) \((?:\S+ -> )?([^\s)]+)\)$", re.MULTILINE
)


def install_offline(runner: Runner, manager: list[str]) -> None:
    """Install what the lock file, or for pip the requirements file, says, and ask no network."""
    kind = runner.project.manager
    if kind == "pip":
        install_by_pip(runner)
    elif kind == "uv":
        install_by_uv(runner, manager)
    else:
        install_by_poetry(runner, manager)


def from_wheelhouse(runner: Runner) -> list[str]:
    """The options of pip and uv for the folder of wheels, if one was named."""
    folder = runner.options.wheelhouse
    return ["--no-index", *(["--find-links", str(folder)] if folder else [])]


def install_by_pip(runner: Runner) -> None:
    """pip: the requirements file without its links, which pip would ask even so."""
    project = runner.project
    pip = [venv_python(VENV), "-m", "pip", "install", *from_wheelhouse(runner)]
    if not runner.options.dry_run:
        PINS.write_text(pins(project), encoding="utf-8")
    runner.run("updating pip", [*pip, "pip>=25.1"], venv=True)
    into = ["-c", str(PINS.relative_to(ROOT)), "--group", "dev", "-e", "."]
    runner.run("installing", [*pip, *into], venv=True)


def pins(project: Project) -> str:
    """The lines of the requirements file that pin, those of torch to exactly that build.

    `torch==2.14.1` would also let 2.14.1+cpu in, which a folder of wheels may hold.
    """
    lines = project.lock.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.lstrip().startswith("-")]
    packages = {
        name for wheels in project.build["platforms"].values() for name in wheels["packages"]
    }
    exactly = re.compile(rf"^((?:{'|'.join(packages)})\s*)==(?=\s*[^=*;\s]+\s*(?:;|$))")
    return "".join(exactly.sub(r"\1===", line) + "\n" for line in kept)


def install_by_uv(runner: Runner, manager: list[str]) -> None:
    """uv: from its cache, or with the lock's versions and hashes from the folder of wheels."""
    python = ["--python", runner.project.python]
    if not runner.options.wheelhouse:
        lock_packages(runner, [*manager, "lock", "--offline", *python])
        runner.run("installing", [*manager, "sync", "--offline", *python], venv=True)
        return
    check_lock(runner, [*manager, "lock", "--check", "--offline", *python])
    export = [*manager, "export", "--frozen", "--no-emit-project", "--quiet"]
    runner.run("reading uv.lock", [*export, "--output-file", str(LOCKED.relative_to(ROOT))])
    wheels = ["--offline", *from_wheelhouse(runner)]
    exactly = ["--no-deps", "--python", venv_python(VENV), "-r", str(LOCKED.relative_to(ROOT))]
    runner.run("installing", [*manager, "pip", "install", *wheels, *exactly], venv=True)
    # All is there but the project itself, for which it finds the build requirements.
    sync = [*manager, "sync", "--frozen", *wheels, *python]
    runner.run("installing the project", sync, venv=True)


def install_by_poetry(runner: Runner, manager: list[str]) -> None:
    """Poetry, which always asks an index: pip installs for it, from the wheels that it has kept."""
    check_lock(runner, [*manager, "check", "--lock", "--no-interaction"])
    if not runner.options.dry_run:
        LOCKED.write_text(locked_by_poetry(runner, manager), encoding="utf-8")
    pip = [venv_python(VENV), "-m", "pip", "install", "--no-deps", *from_wheelhouse(runner)]
    runner.run("installing", [*pip, "-r", str(LOCKED.relative_to(ROOT))], venv=True)
    # Nothing is left to be fetched: it removes what is too much, and installs the project itself.
    sync = [*manager, "sync", "--no-interaction"]
    runner.run("installing the project", sync, venv=True)


def check_lock(runner: Runner, command: list[str]) -> None:
    """Stop if the lock file cannot be used: to make it needs the network."""
    lock = runner.project.lock
    if runner.options.dry_run or (lock.exists() and runner.ask(command) is not None):
        return
    state = "does not fit pyproject.toml" if lock.exists() else "is missing"
    todo = f"Type `{runner.project.manager} lock` where there is one, and bring the file here."
    raise StopError(5, f"{lock.name} {state}, and only a network can mend that.", todo)


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
