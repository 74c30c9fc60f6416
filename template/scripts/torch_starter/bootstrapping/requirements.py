"""What is installed beside torch, as lines of a requirements file.

With a machine build, whatever the manager: a line for each package that the project locks, but
those that only its own torch needs; where the lock file does not do, what pyproject.toml asks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from surroundings.versions import canonical

from .places import ROOT, TYPED, StopError
from .project import Project

Table = dict[str, Any]


def own_packages(project: Project) -> set[str]:
    """What the project asks for only to have its own build."""
    own = project.builds[project.compute_platform]
    packages = (row["packages"] for row in own["platforms"].values())
    return {plain(name) for name in (*own["extra_packages"], *(n for row in packages for n in row))}


def plain(requirement: str) -> str:
    """The normalized name at the beginning of a requirement."""
    return canonical(re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0])


def one_index(project: Project) -> str:
    """The index of everything that is locked but torch; empty for the usual one.

    Stop if there are several: a private package could then come from the wrong one.
    """
    lock = project.lock
    text = lock.read_text(encoding="utf-8", errors="replace") if lock.exists() else ""
    if project.manager == "uv":
        urls = re.findall(r'^source = \{ registry = "([^"]+)" \}', text, re.MULTILINE)
    else:
        urls = re.findall(r'^type = "legacy"\nurl = "([^"]+)"', text, re.MULTILINE)
        if text.count("[[package]]") > text.count("[package.source]"):
            urls.append("")  # PyPI
    own = project.builds[project.compute_platform]["index_url"] or ""
    found = sorted({url.rstrip("/") for url in urls} - ({own.rstrip("/")} if own else set()))
    if len(found) > 1:
        names = " and ".join(url or "PyPI" for url in found)
        what = (
            f"{project.lock.name} has packages from {names}, which must not be mixed up: no build"
        )
        name = project.machine_build
        todo = f"Let the project's own build be used here: {TYPED}"
        if name in project.moves:
            todo = f"Give it to the project: {project.move(name)}"
        raise StopError(2, f"{what} for this machine alone can be installed.", todo)
    return found[0] if found and project.manager == "poetry" else ""


def poetry_lines(project: Project, lock: Table, pyproject: Table) -> list[str]:
    """The same as lines, with the one index that they are from."""
    index = one_index(project)
    rows = poetry_rows(project, lock, pyproject)
    lines = [poetry_line(row, project.dev) for row in rows]
    return [*([f"--index-url {index}"] if index else []), *lines]


def poetry_rows(project: Project, lock: Table, pyproject: Table) -> list[Table]:
    """What `poetry sync` would install, without torch and what only torch needs."""
    own, rows = own_packages(project), dict[str, list[dict[str, Any]]]()
    for row in lock.get("package", []):
        if not project.dev and "main" not in row.get("groups", ["main"]):
            continue
        rows.setdefault(plain(row["name"]), []).append(row)
    wanted, left = set[str](), poetry_roots(project, pyproject)
    while left:
        name = left.pop()
        if name in rows and name not in own | wanted:
            wanted.add(name)
            left += [plain(other) for row in rows[name] for other in row.get("dependencies", {})]
    return [row for name in sorted(wanted) for row in rows[name]]


def poetry_roots(project: Project, pyproject: dict[str, Any]) -> list[str]:
    """The names that a Poetry project asks for itself, in all groups that are not optional."""
    poetry = pyproject.get("tool", {}).get("poetry", {})
    tables = poetry.get("group", {})
    lists = [pyproject.get("project", {}).get("dependencies", []), poetry.get("dependencies", {})]
    for name in {*tables, *pyproject.get("dependency-groups", {})} if project.dev else ():
        if not tables.get(name, {}).get("optional"):
            lists.append(pyproject.get("dependency-groups", {}).get(name, []))
            lists.append(tables.get(name, {}).get("dependencies", {}))
    return [plain(entry) for one in lists for entry in one if isinstance(entry, str)]


def poetry_line(row: dict[str, Any], dev: bool = True) -> str:
    """A package of poetry.lock as a requirement; `dev`: of all groups, else of the main one."""
    source, markers = row.get("source", {}), row.get("markers", "")
    if isinstance(markers, dict):  # by group; a group without one wants it everywhere
        wanted = row["groups"] if dev else ["main"]
        everywhere = not {*wanted} <= markers.keys()
        mine = [f"({marker})" for group, marker in markers.items() if group in wanted]
        markers = "" if everywhere else " or ".join(mine)
    line = f"{row['name']}=={row['version']}"
    if source.get("type") == "git":
        line = f"{row['name']} @ git+{source['url']}@{source['resolved_reference']}"
        line += f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
    elif source.get("type") == "url":
        line = f"{row['name']} @ {source['url']}"
    elif source.get("type") in ("directory", "file"):
        line = f"{row['name']} @ {Path(ROOT, source['url']).resolve().as_uri()}"
    return f"{line} ; {markers}" if markers else line


# --- Without a lock file, or one that does: what pyproject.toml asks for


def asked(project: Project, pyproject: Table) -> list[str]:
    """The project's dependencies and those of its default groups, without its own build."""
    own = own_packages(project)
    groups = pyproject.get("dependency-groups", {})
    wanted = list(pyproject.get("project", {}).get("dependencies", []))
    for name in default_groups(project, pyproject):
        wanted += flat(groups, name)
    if project.manager == "uv" and project.dev:  # as it had them before there were groups
        wanted += pyproject.get("tool", {}).get("uv", {}).get("dev-dependencies", [])
    return [line for line in with_own_extras(pyproject, wanted) if plain(line) not in own]


def with_own_extras(pyproject: Table, lines: Iterable[str], seen: str = " ") -> Iterator[str]:
    """These requirements, with what the project's own extras ask for in the place of its name.

    By that name, an index may have something else.
    """
    project = pyproject.get("project", {})
    extras = {
        canonical(name): more for name, more in project.get("optional-dependencies", {}).items()
    }
    for line in lines:
        if plain(line) != canonical(project.get("name", "")):
            yield line
            continue
        named = re.match(r"[\w.-]+\s*\[([^]]*)\]", line.strip())
        for name in map(canonical, named[1].replace(" ", "").split(",") if named else []):
            if f" {name} " not in seen:
                yield from with_own_extras(pyproject, extras.get(name, []), f"{seen}{name} ")


def default_groups(project: Project, pyproject: Table) -> list[str]:
    """The dependency groups that the manager installs when it is told nothing."""
    tool, names = pyproject.get("tool", {}), list(pyproject.get("dependency-groups", {}))
    if project.manager == "poetry":
        tables = tool.get("poetry", {}).get("group", {})
        kept = names if project.dev else []
        return [name for name in kept if not tables.get(name, {}).get("optional")]
    names = [name for name in names if project.dev or canonical(name) != "dev"]
    chosen = tool.get("uv", {}).get("default-groups", ["dev"])
    return (
        names if chosen == "all" else [n for n in names if canonical(n) in map(canonical, chosen)]
    )


def flat(groups: Table, name: str, seen: tuple[str, ...] = ()) -> Iterator[str]:
    """The requirements of a dependency group, with those of the groups that it includes."""
    spelt = {canonical(key): entries for key, entries in groups.items()}
    for entry in [] if canonical(name) in seen else spelt.get(canonical(name), []):
        if isinstance(entry, str):
            yield entry
        else:
            yield from flat(groups, str(entry.get("include-group", "")), (*seen, canonical(name)))


def uv_asked(project: Project, pyproject: Table) -> list[str]:
    """The same for uv, with each package from the place that `[tool.uv.sources]` names.

    From no other: somebody else may have put a package of that name there.
    """
    table = pyproject.get("tool", {}).get("uv", {}).get("sources", {})
    sources = {canonical(name): source for name, source in table.items()}
    lines: list[str] = []
    for line in asked(project, pyproject):
        source = sources.get(plain(line), [])
        rows = [source] if isinstance(source, dict) else source
        lines += [placed(project, line, row) for row in rows] or [line]
    return lines


def placed(project: Project, line: str, source: Table) -> str:
    """A requirement with the place of its source, in the words of a requirements file."""
    requirement, _, marker = (part.strip() for part in line.partition(";"))
    name = re.match(r"[\w.-]+\s*(\[[^]]*\])?", requirement)
    at = source.get("url", "")
    if "git" in source:
        rev = source.get("rev") or source.get("tag") or source.get("branch")
        at = f"git+{source['git']}" + (f"@{rev}" if rev else "")
        at += f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
    elif "path" in source:
        at = Path(ROOT, source["path"]).resolve().as_uri()
        if source.get("editable"):
            return f"-e {at}"
    if not at or not name:
        raise needs_lock(project, f"{plain(line)} comes from a place of its own")
    markers = [f"({one})" for one in (marker, source.get("marker")) if one]
    return f"{name[0]} @ {at}" + (f" ; {' and '.join(markers)}" if markers else "")


def poetry_asked(project: Project, pyproject: Table) -> list[str]:
    """The same for Poetry; what is written in its own words needs its lock file."""
    poetry, own = pyproject.get("tool", {}).get("poetry", {}), own_packages(project)
    lines = asked(project, pyproject)
    tables = [poetry.get("dependencies", {})]
    for group in poetry.get("group", {}).values() if project.dev else ():
        tables += [] if group.get("optional") else [group.get("dependencies", {})]
    known = {plain(line) for line in lines} | own | {"python"}
    for name, entry in ((name, entry) for table in tables for name, entry in table.items()):
        if canonical(name) not in known or (
            canonical(name) not in own | {"python"} and entry != "*"
        ):
            raise needs_lock(project, f"{name} is written in Poetry's own words")
    return [*(f"--index-url {url}" for url in primary_sources(project, poetry)), *lines]


def primary_sources(project: Project, poetry: Table) -> list[str]:
    """The address of the index that stands in PyPI's place, if there is one."""
    usual = primary(poetry)
    if len(usual) > 1:
        raise needs_lock(project, "packages may come from several indexes")
    return usual


def primary(poetry: Table) -> list[str]:
    """The addresses of the indexes from which Poetry takes any package."""
    rows = [row for row in poetry.get("source", []) if row.get("url")]
    return [row["url"] for row in rows if row.get("priority", "primary") != "explicit"]


def needs_lock(project: Project, why: str) -> StopError:
    """The end of a run that only the lock file could have helped."""
    lock, url = project.lock.name, project.builds[project.compute_platform]["index_url"]
    todo = f"Type `{project.manager} lock` where {url or 'PyPI'} can be reached, commit {lock}, and"
    return StopError(5, f"{lock} cannot be made here, and {why}.", f"{todo} run this again.")


def constraining(lines: Iterable[str]) -> list[str]:
    """Those of these lines that pip takes as constraints: it takes no places."""
    return [line for line in lines if not line.startswith("-") and " @ " not in line]
