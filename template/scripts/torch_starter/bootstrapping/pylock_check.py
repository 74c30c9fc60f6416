"""Whether what uv has locked for a build is what was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from surroundings.versions import canonical

from .lock_project import Known, commits_in, packages_in, versions
from .machine_build import read_data
from .places import TYPED, StopError
from .project import Project
from .requirements import Table
from .runner import Runner

# Of what torch requires, each build has its own versions.
OF_A_BUILD = re.compile(r"nvidia-|cuda-|(.*-)?triton(-|$)")
TAGS = {
    "linux-x86_64": r"linux.*_x86_64",
    "linux-aarch64": r"linux.*_aarch64",
    "windows-amd64": r"win_amd64",
    "macos-arm64": r"macosx.*_(arm64|universal2)",
}


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
    mine = own_lock(runner, name)
    for package, one, other in differences(project, mine, lock):
        what = f"{package} would be {other} for {name}, and is {one} in the project's own build."
        todo = f"Ask for a version of {package} that both can have. {again}"
        raise StopError(5, what, todo)
    if project.manager == "pip":  # whose lock file is none but ours
        return
    commits = dict(commits_in(mine))
    for package, commit in commits_in(lock):
        if commits.get(package, commit) != commit:
            what = f"{package} would be of another commit for {name} than in {project.lock.name}."
            raise StopError(5, what, f"Name its commit in pyproject.toml (rev). {again}")
    for file in changed(mine, lock):
        what = f"{file} on the index is not the file that {project.lock.name} has the hash of."
        todo = f"Find out who has changed it; do not install it. {again}"
        raise StopError(5, what, todo)


def own_lock(runner: Runner, name: str) -> Table:
    """What the lock file of the project's own build says; nothing if it is the one at hand."""
    project = runner.project
    if name == project.compute_platform:
        return {}
    mine = project.pylock_name(project.compute_platform)
    return read_data(runner, mine if project.manager == "pip" else project.lock.name)[0]


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


def differences(project: Project, mine: Table, lock: Table) -> Iterator[tuple[str, str, str]]:
    """What has another version than in the project's own build, and is no part of a build."""
    here, there = several(versions(mine)), several(versions(lock))
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


def changed(mine: Table, lock: Table) -> Iterator[str]:
    """The files that the project's own lock file has with another hash."""
    known = dict(hashes(mine))
    for file, found in hashes(lock):
        if known.get(file, found) != found:
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
