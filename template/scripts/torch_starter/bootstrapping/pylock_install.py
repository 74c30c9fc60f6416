"""Installs what a lock file of locks/ says: each file by its hash, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .locking import why_no_lock
from .machine_build import (
    build_lines,
    build_pages,
    constraints,
    drop_own_constraints,
    read_data,
    read_toml,
    with_login,
    write,
)
from .places import ROOT, TOOLS, TYPED, VENV, StopError, say, venv_python
from .pylock_check import NoHashError
from .pylocks import bring_pylocks, stale, state, without_dev
from .requirements import Table
from .runner import Runner
from .wheelhouse import no_index


def has_pylock(runner: Runner, manager: list[str]) -> bool:
    """Whether the build has a lock file of its own, which then is up to date.

    Stop if it should have one that cannot be made: nothing is to be installed in its place.
    """
    project = runner.project
    name = project.wanted
    if name not in project.locked or project.fallback:
        return False
    if runner.options.offline:
        if why := state(runner, name):
            todo = f"Type `{TYPED} --lock` where there is one, and bring the file here."
            what = f"{project.pylock_name(name)} {why}, and only a network can mend that."
            raise StopError(5, what, todo)
        return True
    if why := why_no_lock(runner, manager):
        todo = f"Type `{TYPED} --lock` where its index can be reached, and commit what it writes."
        what = f"{project.lock.name} {why}, and {project.pylock_name(name)} follows from it."
        raise StopError(5, what, todo)
    try:
        bring_pylocks(runner, manager, [name])
    except NoHashError as stop:
        print(f"  {stop.what}", flush=True)
        print("  so this build is resolved anew, and no hash is checked", flush=True)
        return False
    return True


def freshen(runner: Runner, manager: list[str]) -> None:
    """Make the lock files of the other builds anew; say so if that does not work here."""
    for name in stale(runner):
        freshen_one(runner, manager, name)


def freshen_one(runner: Runner, manager: list[str], name: str) -> None:
    """Make one lock file anew, or say why not."""
    try:
        bring_pylocks(runner, manager, [name])
    except StopError as stop:
        print(f"  warning: {runner.project.pylock_name(name)} {state(runner, name)}: {stop.what}")
        print(f"  once that is mended: {TYPED} --lock", flush=True)


def install_pylock(runner: Runner, manager: list[str], title: str) -> None:
    """Install what the lock file says, and the project itself."""
    project, options = runner.project, runner.options
    name = project.wanted
    file, into = project.pylock_name(name), ["--python", venv_python(VENV)]
    install = [venv_python(VENV), "-m", "pip", "install"]
    if project.manager == "uv":
        install = [*manager, "pip", "install", *into]
    if options.offline and (options.wheelhouse or project.manager != "uv"):
        install += no_index(options.wheelhouse)
    say(f"  {file}: each file by its hash")
    if not project.dev and not options.dry_run:
        file = without_dev(runner, name)
    if project.manager == "uv" and not options.wheelhouse:
        runner.run(title, [*manager, "pip", "sync", *into, file], venv=True)
    else:
        drop_own_constraints(runner)
        if project.manager == "pip" and project.machine_build and not options.dry_run:
            write(constraints(project), build_lines(project, runner.platform))
        lock = {} if options.dry_run else read_data(runner, file)[0]
        if project.manager == "poetry" and not options.offline:
            runner.env.update(indexes(runner, lock, *read_toml(runner, "pyproject.toml")))
        pages = [] if options.offline else build_pages(project, runner.platform)
        hashed = written(runner, f"locked-{name}.txt", [*pages, *requirement_lines(lock)])
        runner.run(title, [*install, "--no-deps", "--require-hashes", "-r", hashed], venv=True)
        if places := [*places_of(lock)]:
            places_file = written(runner, f"places-{name}.txt", places)
            how = [*install, "--no-deps", "-r", places_file]
            runner.run("installing what has no hash: folders and repositories", how, venv=True)
    runner.run("installing the project", [*install, "--no-deps", "-e", "."], venv=True)


def indexes(runner: Runner, lock: Table, *pyproject: Table) -> dict[str, str]:
    """Where pip finds what Poetry has from elsewhere than PyPI; the hashes decide what it is."""
    project = runner.project
    sources = pyproject[0].get("tool", {}).get("poetry", {}).get("source", []) if pyproject else []
    used = {str(row["index"]).rstrip("/") for row in lock.get("packages", []) if "index" in row}
    used.discard((project.build["index_url"] or "").rstrip("/"))
    found = {str(one["url"]).rstrip("/"): one["name"] for one in sources if "url" in one}
    urls = [with_login(runner, name, url) for url, name in found.items() if url in used]
    if not urls:
        return {}
    if used <= found.keys():  # nothing is from PyPI
        return {"PIP_INDEX_URL": urls[0], "PIP_EXTRA_INDEX_URL": " ".join(urls[1:])}
    return {"PIP_EXTRA_INDEX_URL": " ".join([runner.env.get("PIP_EXTRA_INDEX_URL", ""), *urls])}


def written(runner: Runner, name: str, lines: list[str]) -> str:
    """Write lines to a file in .tools; its path from the top."""
    if not runner.options.dry_run:
        write(TOOLS / name, lines)
    return str((TOOLS / name).relative_to(ROOT))


def requirement_lines(lock: Table) -> Iterator[str]:
    """What a lock file says, as requirements with hashes: pip cannot read one with a folder."""
    for row in lock.get("packages", []):
        files = [*row.get("wheels", []), *([row["sdist"]] if "sdist" in row else [])]
        requirement = f"{row['name']}=={row.get('version', '')}"
        if "archive" in row:
            files, requirement = [row["archive"]], f"{row['name']} @ {row['archive']['url']}"
        marker = f" ; {row['marker']}" if "marker" in row else ""
        found = dict.fromkeys(f"{k}:{v}" for one in files for k, v in one["hashes"].items())
        if files:
            yield f"{requirement}{marker} {' '.join(f'--hash={one}' for one in found)}"


def places_of(lock: Table) -> Iterator[str]:
    """The packages that are no files: folders, and repositories at a commit."""
    for row in lock.get("packages", []):
        marker = f" ; {row['marker']}" if "marker" in row else ""
        if "directory" in row:
            folder = Path(os.path.normpath(ROOT / "locks" / row["directory"]["path"]))
            if row["directory"].get("editable"):
                yield f"-e {folder.as_uri()}{marker}"
            else:
                yield f"{row['name']} @ {folder.as_uri()}{marker}"
        elif "vcs" in row:
            vcs = row["vcs"]
            part = f"#subdirectory={vcs['subdirectory']}" if vcs.get("subdirectory") else ""
            at = f"{vcs['type']}+{vcs['url']}@{vcs['commit-id']}{part}"
            yield f"{row['name']} @ {at}{marker}"
