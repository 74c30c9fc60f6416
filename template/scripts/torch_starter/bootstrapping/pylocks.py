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
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from surroundings.versions import canonical

from .lock_project import (
    Beside,
    Known,
    beside_pip,
    beside_poetry,
    beside_uv,
    commits_in,
    packages_in,
    preferred_text,
    pyproject_text,
)
from .locking import bring_lock, lock_state
from .machine_build import read_data
from .managers import find_manager
from .places import ROOT, TOOLS, TYPED, VENV, StopError, say, venv_python
from .project import Project
from .requirements import Table
from .runner import Runner
from .settings import pip_setting

HEAD = "# Written by `{} --lock`, like all in this folder: every version and hash of {}.\n"
TAIL = '\n[tool.torch-starter]\ninputs = "{}"\ncontent = "{}"\n'
WHOLE = re.compile(
    r'(.*)\n\[tool\.torch-starter\]\ninputs = "(\w+)"\ncontent = "(\w+)"\n', re.DOTALL
)
# Of what torch requires, each build has its own versions.
OF_A_BUILD = re.compile(r"nvidia-|cuda-|(.*-)?triton(-|$)")
TAGS = {
    "linux-x86_64": r"linux.*_x86_64",
    "linux-aarch64": r"linux.*_aarch64",
    "windows-amd64": r"win_amd64",
    "macos-arm64": r"macosx.*_(arm64|universal2)",
}


def inputs(runner: Runner, name: str) -> str:
    """A hash of all that a lock file follows from."""
    project = runner.project
    build = project.builds[name]
    packages = {platform: row["packages"] for platform, row in build["platforms"].items()}
    keys = ("index_url", "extra_packages", "only_on")
    asked = [project.requires_python, packages, [build.get(key) for key in keys]]
    parts = [json.dumps(asked, sort_keys=True)]
    if own(project, name):  # which only pip has here
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
                say(f"  {shown(project, name)} {news(why)}: commit it")


def news(why: str) -> str:
    """What has become of a lock file that was no good."""
    return (
        "is new"
        if why == "is missing"
        else f"{why.replace('is', 'was', 1)} and has been made again"
    )


def shown(project: Project, name: str) -> str:
    """The path of a lock file, from the top of the project."""
    return project.pylock(name).relative_to(ROOT).as_posix()


def read_pylock(runner: Runner, name: str) -> Table:
    """What the lock file of a platform says."""
    return read_data(runner, shown(runner.project, name))[0]


def make(runner: Runner, manager: list[str], name: str) -> None:
    """Let uv lock a build, and keep what it says if it is what was asked for."""
    project, folder = runner.project, TOOLS / "locking" / name
    uv = manager if project.manager == "uv" else find_uv(runner)
    exported = folder / "pylock.toml"
    python = venv_python(VENV) if Path(venv_python(VENV)).exists() else project.python
    lock = [*uv, "--directory", str(folder), "lock", "--python", python]
    export = [*uv, "--directory", str(folder), "export", "--frozen", "--quiet", "--no-header"]
    export += ["--no-emit-project", "--python", python, "--format", "pylock.toml"]
    before = {**runner.env}
    runner.project = project._replace(machine_build="" if own(project, name) else name)
    try:
        if not runner.options.dry_run:
            folder.mkdir(parents=True, exist_ok=True)
            beside, known = gathered(runner, name)
            write(folder / "pyproject.toml", pyproject_text(project, name, beside))
            write(folder / "uv.lock", preferred_text(known, project.requires_python))
        runner.env.update(logins(runner, before))
        runner.run(f"locking {name}", lock)
        runner.run(f"writing {shown(project, name)}", [*export, "--output-file", str(exported)])
        runner.project = project
        if not runner.options.dry_run:
            keep(runner, name, exported)
    finally:
        runner.project = project
        runner.env.clear()
        runner.env.update(before)
        shutil.rmtree(folder, ignore_errors=True)  # it may have a password that pyproject.toml has


def keep(runner: Runner, name: str, exported: Path) -> None:
    """Make what uv has written the lock file, if it is what was asked for."""
    project = runner.project
    check(runner, name, read_data(runner, exported.relative_to(ROOT).as_posix())[0])
    file = project.pylock(name)
    file.parent.mkdir(exist_ok=True)
    label = f"torch {project.build['release']}, {project.builds[name]['label']}"
    half = exported.with_name(file.name)
    text = HEAD.format(TYPED, label) + relative(exported.read_text(encoding="utf-8"))
    write(half, text + TAIL.format(inputs(runner, name), digest(text)))
    half.replace(file)


def own(project: Project, name: str) -> bool:
    """Whether this is the project's own build."""
    return name == project.compute_platform


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


def versions(lock: Table) -> list[tuple[str, str]]:
    """The names and versions in a lock file of uv, Poetry or the standard."""
    return [(row["name"], row["version"]) for row in packages_in(lock) if "version" in row]


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


# --- Whether it is what was asked for


def check(runner: Runner, name: str, lock: Table) -> None:
    """Stop if a lock file lacks a wheel or a hash, or has other versions than the project's own."""
    project, rows = runner.project, lock.get("packages", [])
    again = f"Nothing was written to locks/. Then run this again: {TYPED} --lock"
    for row in rows:
        files = [*row.get("wheels", []), *(row[key] for key in ("sdist", "archive") if key in row)]
        if any(not one.get("hashes") for one in files):
            raise no_hash(row, name)
    if lacking := next(lacks(project, name, rows), ""):
        what = f"The index of {name} has no wheel of {lacking}: it cannot be locked."
        raise StopError(5, what, f"Take another mirror, or leave {name} out. {again}")
    for package, one, other in differences(runner, name, lock):
        what = f"{package} would be {other} for {name}, and is {one} in the project's own build."
        todo = f"Ask for a version of {package} that both can have. {again}"
        raise StopError(5, what, todo)
    mine = (
        {}
        if project.manager == "pip"
        else dict(commits_in(read_data(runner, project.lock.name)[0]))
    )
    for package, commit in commits_in(lock):
        if mine.get(package, commit) != commit:
            what = f"{package} would be of another commit for {name} than in {project.lock.name}."
            raise StopError(5, what, f"Name its commit in pyproject.toml (rev). {again}")
    for file in changed(runner, lock):
        what = f"{file} on the index is not the file that {project.lock.name} has the hash of."
        todo = f"Find out who has changed it; do not install it. {again}"
        raise StopError(5, what, todo)


class NoHashError(StopError):
    """The end of a run whose index does not say what its files are."""


def no_hash(row: Table, name: str) -> StopError:
    """What to say of such an index."""
    index = row.get("index", "An index")
    what = f"{index} gives no hash for {row['name']}, so {name} cannot be locked."
    todo = "Take a mirror that has hashes, as the PyTorch index itself does; or leave"
    return NoHashError(
        5, what, f"{todo} {name} out of extra_compute_platforms: it is then resolved anew."
    )


def lacks(project: Project, name: str, rows: list[Table]) -> Iterator[str]:
    """The wheels of a build that are not in its lock file, each with its platform."""
    have: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        files = [unquote(one.get("url", one.get("path", ""))) for one in row.get("wheels", [])]
        have.setdefault((canonical(row["name"]), row.get("version", "")), []).extend(files)
    for platform, wheels in project.builds[name]["platforms"].items():
        for package, version in wheels["packages"].items():
            files = have.get((canonical(package), version), [])
            fits = re.compile(rf"{TAGS[platform]}[\w.]*\.whl$|-none-any\.whl$")
            if not any(fits.search(one) for one in files):
                yield f"{package} {version} for {platform}"


def differences(runner: Runner, name: str, lock: Table) -> Iterator[tuple[str, str, str]]:
    """What has another version than in the project's own build, and is no part of a build."""
    project = runner.project
    if own(project, name):
        return
    mine = shown(project, project.compute_platform)
    file = mine if project.manager == "pip" else project.lock.name
    here, there = several(versions(read_data(runner, file)[0])), several(versions(lock))
    of_builds = {
        p for b in project.builds.values() for r in b["platforms"].values() for p in r["packages"]
    }
    for package in sorted(here.keys() & there.keys() - set(map(canonical, of_builds))):
        if not there[package] <= here[package] and not OF_A_BUILD.match(package):
            yield package, " or ".join(here[package]), " or ".join(there[package] - here[package])


def several(known: Known) -> dict[str, set[str]]:
    """The versions of each package."""
    found: dict[str, set[str]] = {}
    for name, version in known:
        found.setdefault(canonical(name), set()).add(version)
    return found


def changed(runner: Runner, lock: Table) -> Iterator[str]:
    """The files that the project's own lock file has with another hash."""
    project = runner.project
    if project.manager == "pip":
        return
    mine = dict(hashes(read_data(runner, project.lock.name)[0]))
    for file, found in hashes(lock):
        if mine.get(file, found) != found:
            yield file


def hashes(lock: Table) -> Iterator[tuple[str, str]]:
    """The files in a lock file that have a hash, with it."""
    for row in packages_in(lock):
        files: list[dict[str, Any]] = [*row.get("wheels", []), *row.get("files", [])]
        for file in [*files, *([row["sdist"]] if "sdist" in row else [])]:
            name = unquote(file.get("file") or file.get("url", "").rpartition("/")[2])
            found = file.get("hash") or f"sha256:{file.get('hashes', {}).get('sha256', '')}"
            if str(found).startswith("sha256:") and found != "sha256:":
                yield name, str(found)


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
        f"{shown(project, name)} {why}" for name in project.locked if (why := state(runner, name))
    ]
    found += [f"locks/{file.name} is of no build that is kept here" for file in left_over(project)]
    if found:
        what = f"{'; '.join(found)}."
        raise StopError(5, what, f"Type: {TYPED} --lock\nThen commit what it has written.")
    say("All lock files are up to date.")
