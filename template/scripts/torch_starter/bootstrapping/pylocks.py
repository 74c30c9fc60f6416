"""locks/pylock.*.toml (PEP 751): a build that the project keeps, every version and hash of it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

from .lock_project import (
    Beside,
    Known,
    beside_pip,
    beside_poetry,
    beside_uv,
    packages_in,
    preferred_text,
    pyproject_text,
    toml,
    versions,
)
from .locking import bring_lock, lock_state
from .machine_build import read_data
from .managers import find_manager
from .places import ROOT, TOOLS, TYPED, VENV, StopError, say, venv_python
from .project import Project
from .pylock_check import check
from .requirements import Table
from .runner import Runner
from .settings import pip_setting

HEAD = "# Written by `{} --lock`, like all in this folder: every version and hash of {}.\n"
# How it differs without the tools for development: what is left out, and what has another marker.
DEV = "\n[tool.torch-starter]\ndev = {}\n"
TAIL = 'inputs = "{}"\ncontent = "{}"\n'
WHOLE = re.compile(
    r'(.*\n\[tool\.torch-starter\]\ndev = [^\n]*\n)inputs = "(\w+)"\ncontent = "(\w+)"\n', re.DOTALL
)
PACKAGE = re.compile(
    r'^\[\[packages\]\]\nname = "([^"]+)"\n(?:version = "([^"]+)"\n)?'
    r".*?(?=^\[\[packages\]\]|^\[tool\.)",
    re.DOTALL | re.MULTILINE,
)


def inputs(runner: Runner, name: str) -> str:
    """A hash of all that a lock file follows from."""
    project = runner.project
    build = project.builds[name]
    packages = {platform: row["packages"] for platform, row in build["platforms"].items()}
    keys = ("index_url", "extra_packages", "only_on")
    asked = [project.requires_python, packages, [build.get(key) for key in keys]]
    parts = [json.dumps(asked, sort_keys=True)]
    if name == project.compute_platform:  # which only pip has here
        pyproject = read_data(runner, "pyproject.toml")[0]
        tables = ("dependencies", "optional-dependencies")
        wanted = {key: pyproject.get("project", {}).get(key) for key in tables}
        parts.append(json.dumps([wanted, pyproject.get("dependency-groups")], sort_keys=True))
    else:
        file = (
            project.pylock(project.compute_platform) if project.manager == "pip" else project.lock
        )
        parts.append(file.read_text(encoding="utf-8") if file.exists() else "")
    return digest("\n".join(parts))


def state(runner: Runner, name: str) -> str:
    """Why a lock file does not do; empty if it does. Asks no network."""
    file = runner.project.pylock(name)
    if not file.exists():
        return "is missing"
    found = WHOLE.fullmatch(file.read_text(encoding="utf-8", errors="replace"))
    if not found:
        return "is not whole"
    if found[2] != inputs(runner, name):
        return "is out of date"
    return "" if found[3] == digest(found[1]) else "is not as it was written"


def digest(text: str) -> str:
    """What shows that a text is another one."""
    return hashlib.sha256(text.encode()).hexdigest()


def stale(runner: Runner) -> list[str]:
    """The platforms whose lock files do not do, the project's own first: others follow from it."""
    return [name for name in runner.project.locked if state(runner, name)]


def bring_pylocks(runner: Runner, manager: list[str], names: list[str]) -> None:
    """Make these lock files anew if they do not do."""
    project = runner.project
    if project.manager == "pip" and names and project.compute_platform not in names:
        names = [project.compute_platform, *names]
    for name in names:
        if why := state(runner, name):
            make(runner, manager, name)
            if not runner.options.dry_run:
                say(f"  {project.pylock_name(name)} {news(why)}: commit it")


def news(why: str) -> str:
    """What has become of a lock file that was no good."""
    return (
        "is new"
        if why == "is missing"
        else f"{why.replace('is', 'was', 1)} and has been made again"
    )


def read_pylock(runner: Runner, name: str) -> Table:
    """What the lock file of a platform says."""
    return read_data(runner, runner.project.pylock_name(name))[0]


def without_tools(lock: Table, main: Table) -> dict[str, str | bool]:
    """How `main` differs from a lock file: by package, false if it lacks it, else its marker."""
    whole, wanted = (
        {f"{row['name']} {row.get('version', '')}": str(row.get("marker", "")) for row in packages}
        for packages in (packages_in(lock), packages_in(main))
    )
    found = {key: wanted.get(key, False) for key in whole}
    return {key: value for key, value in found.items() if value != whole[key]}


def without_dev(runner: Runner, name: str) -> str:
    """Write a copy of a lock file that lacks the tools for development; its path from the top."""
    file = runner.project.pylock(name)
    dev = read_pylock(runner, name)["tool"]["torch-starter"]["dev"]

    def kept(row: re.Match[str]) -> str:
        known = dev.get(f"{row[1]} {row[2] or ''}")
        if known is None or known is False:
            return row[0] if known is None else ""
        text = re.sub(r"^marker = .*\n", "", row[0], count=1, flags=re.MULTILINE)
        marker = f"marker = {toml(known)}\n" if known else ""
        return text.replace("name = ", f"{marker}name = ", 1)

    write(TOOLS / file.name, PACKAGE.sub(kept, file.read_text(encoding="utf-8")))
    return (TOOLS / file.name).relative_to(ROOT).as_posix()


def make(runner: Runner, manager: list[str], name: str) -> None:
    """Let uv lock a build, and keep what it says if it is what was asked for."""
    project, folder = runner.project, TOOLS / "locking" / name
    uv = manager if project.manager == "uv" else find_uv(runner)
    exported, main = folder / "pylock.toml", folder / "pylock.main.toml"
    python = venv_python(VENV) if Path(venv_python(VENV)).exists() else project.python
    lock = [*uv, "--directory", str(folder), "lock", "--python", python]
    export = [*uv, "--directory", str(folder), "export", "--frozen", "--quiet", "--no-header"]
    export += ["--no-emit-project", "--python", python, "--format", "pylock.toml"]
    before = {**runner.env}
    own = name == project.compute_platform
    runner.project = project._replace(machine_build="" if own else name, dev=True)
    try:
        if not runner.options.dry_run:
            folder.mkdir(parents=True, exist_ok=True)
            beside, known = gathered(runner, name)
            write(folder / "pyproject.toml", pyproject_text(project, name, beside))
            write(folder / "uv.lock", preferred_text(known, project.requires_python))
        runner.env.update(logins(runner, before))
        runner.run(f"locking {name}", lock)
        writing = f"writing {project.pylock_name(name)}"
        runner.run(writing, [*export, "--output-file", str(exported)])
        apart = "telling the tools for development apart"
        runner.run(apart, [*export, "--no-dev", "--output-file", str(main)])
        runner.project = project
        if not runner.options.dry_run:
            keep(runner, name, exported, main)
    finally:
        runner.project = project
        runner.env.clear()
        runner.env.update(before)
        shutil.rmtree(folder, ignore_errors=True)  # it may have a password that pyproject.toml has


def keep(runner: Runner, name: str, exported: Path, main: Path) -> None:
    """Make what uv has written the lock file, if it is what was asked for.

    `main`: the same without the tools for development.
    """
    project = runner.project
    found = read_data(runner, *(one.relative_to(ROOT).as_posix() for one in (exported, main)))
    check(runner, name, found[0])
    file = project.pylock(name)
    file.parent.mkdir(exist_ok=True)
    label = f"torch {project.build['release']}, {project.builds[name]['label']}"
    half = exported.with_name(file.name)
    text = HEAD.format(TYPED, label) + relative(exported.read_text(encoding="utf-8"))
    text += DEV.format(toml(without_tools(*found)))
    write(half, text + TAIL.format(inputs(runner, name), digest(text)))
    half.replace(file)


def write(file: Path, text: str) -> None:
    """Write a file with the same ends of lines everywhere."""
    file.write_text(text, encoding="utf-8", newline="\n")


@functools.cache  # a run looks once
def find_uv(runner: Runner) -> list[str]:
    """uv, for a project of another manager."""
    base = runner.probe([sys.executable])
    if not base:
        raise StopError(3, f"{sys.executable} cannot start itself.", "Take another Python.")
    return find_manager(runner, base, "uv")


def gathered(runner: Runner, name: str) -> tuple[Beside, Known]:
    """What is to be locked beside a build, and the versions to be kept."""
    project = runner.project
    if project.manager == "pip":
        pyproject = read_data(runner, "pyproject.toml")[0]
        known: list[tuple[str, str]] = []
        for one in (name, project.compute_platform):  # the last word has the project's own
            if project.pylock(one).exists():
                known += versions(read_pylock(runner, one))
        return beside_pip(project, pyproject), dict(known).items()
    pyproject, lock = read_data(runner, "pyproject.toml", project.lock.name)
    beside = beside_uv if project.manager == "uv" else beside_poetry
    return beside(project, pyproject, lock), versions(lock)


def logins(runner: Runner, env: dict[str, str]) -> dict[str, str]:
    """What uv has to know of the indexes and logins that are set for Poetry or pip."""
    found: dict[str, str] = {}
    if runner.project.manager == "poetry":
        for key, value in env.items():
            if mine := re.fullmatch(r"POETRY_HTTP_BASIC_(\w+)_(USERNAME|PASSWORD)", key):
                found[f"UV_INDEX_{mine[1]}_{mine[2]}"] = value
    if runner.project.manager == "pip":
        for setting, variable in (
            ("index-url", "UV_DEFAULT_INDEX"),
            ("extra-index-url", "UV_INDEX"),
        ):
            if value := pip_setting(setting, env):
                found[variable] = value
    return found


def relative(text: str) -> str:
    """An exported lock file whose folders are told from `locks`, as the standard wants it."""

    def from_locks(found: re.Match[str]) -> str:
        path = Path(TOOLS / "locking" / "x", json.loads(f'"{found[2]}"'))
        with contextlib.suppress(ValueError):  # on another drive
            path = Path(os.path.relpath(path, ROOT / "locks"))
        return f'{found[1]}"{path.as_posix()}"'

    return re.sub(r'(directory = \{ path = )"((?:[^"\\]|\\.)*)"', from_locks, text)


# --- All of them


def left_over(project: Project) -> list[Path]:
    """The lock files that were written here for builds that the project keeps no more."""
    kept = [project.pylock(name) for name in project.locked]
    found = sorted((ROOT / "locks").glob("pylock.*.toml"))
    return [file for file in found if file not in kept and written_here(file)]


def written_here(file: Path) -> bool:
    """Whether a lock file is one of ours: somebody may have others beside them."""
    return bool(WHOLE.fullmatch(file.read_text(encoding="utf-8", errors="replace")))


def lock_all(runner: Runner, manager: list[str]) -> None:
    """--lock: make every lock file that is missing or out of date."""
    project, for_pip = runner.project, runner.project.manager == "pip"
    if not for_pip:
        before = project.lock.read_bytes() if project.lock.exists() else b""
        bring_lock(runner, manager)
        if project.lock.exists() and project.lock.read_bytes() != before:
            say(f"  {project.lock.name} is {'made again' if before else 'new'}: commit it")
    bring_pylocks(runner, manager, project.locked or [project.compute_platform] * for_pip)
    for file in left_over(project):
        say(f"  {file.relative_to(ROOT).as_posix()} is of no build that is kept here: removed")
        if not runner.options.dry_run:
            file.unlink()


def check_all(runner: Runner, manager: list[str]) -> None:
    """--check-locks: Stop if a lock file is missing or out of date. Asks no network."""
    project, found = runner.project, list[str]()
    if project.manager != "pip" and (why := lock_state(runner, manager)):
        found.append(f"{project.lock.name} {why}")
    found += [
        f"{project.pylock_name(name)} {why}"
        for name in project.locked
        if (why := state(runner, name))
    ]
    found += [f"locks/{file.name} is of no build that is kept here" for file in left_over(project)]
    if found:
        todo = f"Type: {TYPED} --lock\nThen commit what it has written."
        if "cannot be checked" in found[0]:
            todo = "Bring what it names here (into an image: by COPY), or let nothing ask for it."
        raise StopError(5, f"{'; '.join(found)}.", todo)
    say("All lock files are up to date.")
