"""The project that uv locks in the place of the real one: the same packages, beside another build.

uv alone locks one build for all systems in the standard's format, for Poetry and pip as well. It is
shown a project that asks for what the real one asks for, and the versions that it is to keep.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from surroundings.versions import canonical

from .places import ROOT
from .project import Project, extra_packages
from .requirements import Table, asked, own_packages, poetry_line, poetry_rows, primary

INDEX = "pytorch"  # its name in pyproject.toml, by which the managers know its login
LINUX = "sys_platform == 'linux' and platform_machine == "
MARKERS = {
    "linux-x86_64": f"{LINUX}'x86_64'",
    "linux-aarch64": f"{LINUX}'aarch64'",
    "windows-amd64": "sys_platform == 'win32' and platform_machine == 'AMD64'",
    "macos-arm64": "sys_platform == 'darwin' and platform_machine == 'arm64'",
}
# Of [tool.uv], what is only for the real project, or is written anew.
NOT_TAKEN = (
    "build-backend cache-keys environments exclude-newer-package index managed package "
    "required-environments required-version sources workspace"
)
Known = Iterable[tuple[str, str]]  # names and versions


class Beside(NamedTuple):
    """What there is beside torch, in the tables of a pyproject.toml."""

    project: Table
    uv: Table
    sources: Table
    indexes: list[Table]
    groups: Table
    exempt: Table  # from a cool-down


def beside_uv(project: Project, pyproject: Table, lock: Table) -> Beside:
    """What a uv project asks for: its own tables, without its build."""
    own, tool = own_packages(project), pyproject.get("tool", {}).get("uv", {})
    url = (project.builds[project.compute_platform]["index_url"] or "").rstrip("/")
    indexes = [
        {**one, "url": absolute(one["url"])}
        for one in tool.get("index", [])
        if one.get("name") != INDEX and one["url"].rstrip("/") != url
    ]
    commits = dict(commits_in(lock))
    members = {row["name"]: place for row in packages_in(lock) if (place := local(row))}
    sources = {
        name: [
            at_commit(placed(row, members.get(canonical(name), "")), commits.get(canonical(name)))
            for row in rows_of(source)
        ]
        for name, source in tool.get("sources", {}).items()
        if canonical(name) not in own
    }
    groups = pyproject.get("dependency-groups", {})
    kept = {name: lines for name, lines in groups.items() if canonical(name) != "torch"}
    table = pyproject.get("project", {})
    keys = ("name", "dependencies", "optional-dependencies")
    return Beside(
        project={key: table[key] for key in keys if key in table},
        uv={key: value for key, value in tool.items() if key not in NOT_TAKEN.split()},
        sources=sources,
        indexes=indexes,
        groups=kept,
        exempt=tool.get("exclude-newer-package", {}),
    )


def rows_of(source: object) -> list[Table]:
    """The rows of a source, which may be one or a list of them."""
    return (
        [source] if isinstance(source, dict) else list(source) if isinstance(source, list) else []
    )


def packages_in(lock: Table) -> list[Table]:
    """The packages of a lock file of uv, Poetry or the standard."""
    return list(lock.get("package") or lock.get("packages") or [])


def versions(lock: Table) -> list[tuple[str, str]]:
    """The names and versions in a lock file of uv, Poetry or the standard."""
    return [(row["name"], row["version"]) for row in packages_in(lock) if "version" in row]


def commits_in(lock: Table) -> Iterator[tuple[str, str]]:
    """The packages that a lock file of uv or of the standard has from git, with their commits."""
    for row in packages_in(lock):
        url = str(row.get("source", {}).get("git", ""))
        commit = url.rpartition("#")[2] or row.get("vcs", {}).get("commit-id", "")
        if commit:
            yield canonical(row["name"]), str(commit)


def at_commit(row: Table, commit: str | None) -> Table:
    """A source of git at the commit that is locked, whatever its branch has become."""
    if "git" not in row or not commit:
        return row
    rest = {key: value for key, value in row.items() if key not in ("branch", "tag")}
    return {**rest, "rev": commit}


def local(row: Table) -> str:
    """The folder of a package of uv.lock that is no download; empty for another."""
    source = row.get("source", {})
    return str(source.get("editable") or source.get("directory") or "")


def placed(row: Table, member: str) -> Table:
    """A source with its path from the top, also where it is a member of the workspace."""
    if row.get("workspace"):
        rest = {key: value for key, value in row.items() if key != "workspace"}
        return {**rest, "path": absolute(member), "editable": True}
    return {**row, "path": absolute(row["path"])} if "path" in row else row


def absolute(place: str) -> str:
    """A path that was relative to the project; an address stays."""
    return place if "://" in place else str(Path(ROOT, place))


def beside_poetry(project: Project, pyproject: Table, lock: Table) -> Beside:
    """What Poetry has locked, each package in its version and from its own index."""
    poetry = pyproject.get("tool", {}).get("poetry", {})
    names = {
        one["url"].rstrip("/"): one["name"] for one in poetry.get("source", []) if "url" in one
    }
    rows = [(row, index_of(row)) for row in poetry_rows(project, lock, pyproject)]
    main = poetry_rows(project._replace(dev=False), lock, pyproject)
    # Where nothing is from PyPI, what torch requires is not either.
    usual = [url.rstrip("/") for url in primary(poetry) if all(index for _, index in rows)][:1]
    used = dict.fromkeys(index for _, index in rows if index in names and index not in usual)
    return Beside(
        project={"name": "locked", "dependencies": [poetry_line(row, dev=False) for row in main]},
        uv={},
        sources={row["name"]: [{"index": names[index]}] for row, index in rows if index in used},
        indexes=[
            *({"name": names[url], "url": url, "default": True} for url in usual),
            *({"name": names[url], "url": url, "explicit": True} for url in used),
        ],
        groups={"dev": [poetry_line(row) for row, _ in rows]},
        exempt={},
    )


def index_of(row: Table) -> str:
    """The index that Poetry has a package from; empty for PyPI, and for no index at all."""
    source = row.get("source", {})
    return str(source.get("url", "")).rstrip("/") if source.get("type") == "legacy" else ""


def beside_pip(project: Project, pyproject: Table) -> Beside:
    """What a pip project asks for."""
    main, days = asked(project._replace(dev=False), pyproject), project.cool_down
    return Beside(
        project={"name": "locked", "dependencies": main},
        uv={"exclude-newer": f"{days} days"} if days else {},
        sources={},
        indexes=[],
        groups={"dev": asked(project, pyproject)},
        exempt={},
    )


# --- Its files


def requirements(build: Mapping[str, Any]) -> list[str]:
    """What makes a build: each of its wheels by its whole version, where there is such a wheel."""
    versions: dict[str, list[str]] = {}
    for platform, wheels in build["platforms"].items():
        for package, version in wheels["packages"].items():
            versions.setdefault(f"{package} == {version}", []).append(platform)
    only, own = build.get("only_on", {}), [p for p in build["platforms"] if "macos" not in p]
    for package in extra_packages(build):
        versions[package] = only.get(package, own)
    return [f"{one} ; {any_of(platforms)}" for one, platforms in versions.items()]


def any_of(platforms: Iterable[str]) -> str:
    """The marker that holds on each of these platforms."""
    return " or ".join(f"({MARKERS[platform]})" for platform in platforms)


def pyproject_text(project: Project, name: str, beside: Beside) -> str:
    """The pyproject.toml of the project that uv locks for a compute platform."""
    build = project.builds[name]
    rows, packages = list(build["platforms"].values()), dict.fromkeys(extra_packages(build))
    packages.update((package, None) for row in rows for package in row["packages"])
    markers = [MARKERS[platform] for platform in build["platforms"]]
    sources, indexes = dict(beside.sources), list(beside.indexes)
    if build["index_url"]:
        source = {"index": INDEX, "marker": "sys_platform != 'darwin'"}
        sources.update((package, [source]) for package in packages)
        indexes.append({"name": INDEX, "url": build["index_url"], "explicit": True})
    tables: Table = {
        "project": {
            "version": "0",
            "requires-python": project.requires_python,
            **beside.project,
            "dependencies": [*beside.project.get("dependencies", ()), *requirements(build)],
        },
        "dependency-groups": {**beside.groups, "torch": []},
        "tool": {
            "uv": {
                **beside.uv,
                "package": False,
                "workspace": {},  # it is a part of nothing that it lies in
                "environments": markers,
                "required-environments": markers,
                "exclude-newer-package": {
                    **beside.exempt,
                    **dict.fromkeys([*packages, "triton"], False),
                },
                "sources": sources,
                "index": indexes,
            }
        },
    }
    return "".join(f"{toml(key)} = {toml(value)}\n" for key, value in tables.items())


def preferred_text(known: Known, requires_python: str) -> str:
    """A uv.lock that says no more than which versions there were: uv prefers them."""
    rows = (
        f"\n[[package]]\nname = {toml(name)}\nversion = {toml(version)}\n"
        'source = { registry = "https://locked.invalid/simple" }\n'
        for name, version in known
    )
    return f"version = 1\nrequires-python = {toml(requires_python)}\n{''.join(rows)}"


def toml(value: object) -> str:
    """A value in TOML, whose strings have JSON's escapes, but for DEL."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml(key)} = {toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
