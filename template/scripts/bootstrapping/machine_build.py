"""Installs a build for this machine alone, beside the locked versions of everything else.

Whatever the manager: exact pins of the build's wheels, and a line for each package that the project
locks, but those that only its own torch needs. All is in one file in .tools; what git tracks stays.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .places import ROOT, TOOLS, VENV, StopError, update_command, venv_python
from .project import Project
from .runner import Runner
from .wheelhouse import no_index, normal, pins

# Run by .venv's own Python: another one may be too old for tomllib.
READ_TOML = """
import json, sys
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib
found = []
for name in sys.argv[1:]:
    with open(name, "rb") as file:
        found.append(tomllib.load(file))
print(json.dumps(found, default=str))
"""


def install_machine_build(runner: Runner, manager: list[str], title: str) -> None:
    """Install the build of --compute-platform and what the project asks for beside it."""
    project, python = runner.project, venv_python(VENV)
    file = requirements(project)
    name = str(file.relative_to(ROOT))
    install, groups = [python, "-m", "pip", "install"], []
    if project.manager == "uv":
        install = [*manager, "pip", "install", "--python", python]
        lines = uv_lines(runner, manager)
    elif project.manager == "poetry":
        data = read_toml(runner, "poetry.lock", "pyproject.toml")
        lines = poetry_lines(project, *data) if data else []
    else:
        data = read_toml(runner, "pyproject.toml")
        lines = pip_lines(project, *data) if data else []
        groups = ["--group", "dev"]
        drop_own_constraints(runner)
    lines = [*build_lines(project, runner.platform), *lines]
    if runner.options.offline and (runner.options.wheelhouse or project.manager != "uv"):
        lines = pins(project, lines)
        install += no_index(runner.options.wheelhouse)
    if not runner.options.dry_run:
        text = "\n".join(lines)
        file.write_text(text + "\n", encoding="utf-8")
    runner.run(title, [*install, "-r", name, *groups], venv=True)
    # Its metadata ask for the project's own build.
    runner.run("installing the project", [*install, "--no-deps", "-e", "."], venv=True)


def requirements(project: Project) -> Path:
    """The file that has the pins of the machine's build."""
    return TOOLS / f"requirements-{project.machine_build}.txt"


def build_lines(project: Project, platform: str) -> list[str]:
    """Exact pins of the build's wheels, and the only pages of its index that are looked at."""
    build = project.build
    packages = build["platforms"][platform]["packages"]
    pages = [*packages, *build["extra_packages"]] if build["index_url"] else []
    return [
        *(f"--find-links {build['index_url']}/{page}/" for page in pages),
        *(f"{package}=={version}" for package, version in packages.items()),
    ]


def own_packages(project: Project) -> set[str]:
    """What the project asks for only to have its own build."""
    own = project.builds[project.compute_platform]
    packages = (row["packages"] for row in own["platforms"].values())
    return {plain(name) for name in (*own["extra_packages"], *(n for row in packages for n in row))}


def plain(requirement: str) -> str:
    """The normalized name at the beginning of a requirement."""
    return normal(re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0])


def one_index(project: Project) -> str:
    """The index of everything that is locked but torch; empty for the usual one.

    Stop if there are several: a private package could then come from the wrong one.
    """
    text = project.lock.read_text(encoding="utf-8") if project.lock.exists() else ""
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
        todo = (
            f"Give it to the project: {update_command(f'compute_platform={project.machine_build}')}"
        )
        raise StopError(2, f"{what} for this machine alone can be installed.", todo)
    return found[0] if found and project.manager == "poetry" else ""


def uv_lines(runner: Runner, manager: list[str]) -> list[str]:
    """What `uv sync` would install, without torch and what only torch needs."""
    project, file = runner.project, TOOLS / "locked.txt"
    pruned = [word for name in sorted(own_packages(project)) for word in ("--prune", name)]
    how = ["--frozen", "--quiet", "--no-header", "--no-annotate", "--no-hashes"]
    export = [*manager, "export", *how, "--no-emit-project", "--python", project.python, *pruned]
    runner.run(f"reading {project.lock.name}", [*export, "--output-file", str(file)])
    return [] if runner.options.dry_run else file.read_text(encoding="utf-8").splitlines()


def read_toml(runner: Runner, *names: str) -> list[dict[str, Any]]:
    """The data of TOML files of the project; none in a dry run, which has no .venv to read them."""
    if runner.options.dry_run:
        return []
    paths = [str(ROOT / name) for name in names]
    answer = runner.ask([venv_python(VENV), "-I", "-c", READ_TOML, *paths])
    if answer is None:
        todo = "Mend it, or restore it with git, then run this again."
        raise StopError(5, f"{' or '.join(names)} cannot be read.", todo)
    return list(json.loads(answer))


def drop_own_constraints(runner: Runner) -> None:
    """Keep PIP_CONSTRAINT from asking for the project's own build, for which the README has it."""
    own = runner.project.lock.resolve()
    named = runner.env.get("PIP_CONSTRAINT", "").split()
    runner.env["PIP_CONSTRAINT"] = " ".join(
        one for one in named if Path(ROOT, one).resolve() != own
    )


def pip_lines(project: Project, pyproject: dict[str, Any]) -> list[str]:
    """The project's dependencies, without those that make its own build."""
    own = own_packages(project)
    asked = pyproject.get("project", {}).get("dependencies", [])
    return [line for line in asked if plain(line) not in own]


def poetry_lines(project: Project, lock: dict[str, Any], pyproject: dict[str, Any]) -> list[str]:
    """What `poetry sync` would install, without torch and what only torch needs."""
    own, rows = own_packages(project), dict[str, list[dict[str, Any]]]()
    for row in lock.get("package", []):
        rows.setdefault(plain(row["name"]), []).append(row)
    wanted, left = set[str](), poetry_roots(pyproject)
    while left:
        name = left.pop()
        if name in rows and name not in own | wanted:
            wanted.add(name)
            left += [plain(other) for row in rows[name] for other in row.get("dependencies", {})]
    chosen = [row for name in sorted(wanted) for row in rows[name]]
    index = one_index(project)
    return [*([f"--index-url {index}"] if index else []), *map(poetry_line, chosen)]


def poetry_roots(pyproject: dict[str, Any]) -> list[str]:
    """The names that a Poetry project asks for itself, in all groups that are not optional."""
    poetry = pyproject.get("tool", {}).get("poetry", {})
    tables = poetry.get("group", {})
    lists = [pyproject.get("project", {}).get("dependencies", []), poetry.get("dependencies", {})]
    for name in {*tables, *pyproject.get("dependency-groups", {})}:
        if not tables.get(name, {}).get("optional"):
            lists.append(pyproject.get("dependency-groups", {}).get(name, []))
            lists.append(tables.get(name, {}).get("dependencies", {}))
    return [plain(entry) for one in lists for entry in one if isinstance(entry, str)]


def poetry_line(row: dict[str, Any]) -> str:
    """A package of poetry.lock as a requirement."""
    source, markers = row.get("source", {}), row.get("markers", "")
    if isinstance(markers, dict):  # by group; a group without one wants it everywhere
        everywhere = set(row["groups"]) - set(markers)
        markers = "" if everywhere else " or ".join(f"({one})" for one in markers.values())
    line = f"{row['name']}=={row['version']}"
    if source.get("type") == "git":
        line = f"{row['name']} @ git+{source['url']}@{source['resolved_reference']}"
    elif source.get("type") == "url":
        line = f"{row['name']} @ {source['url']}"
    elif source.get("type") in ("directory", "file"):
        line = f"{row['name']} @ {Path(ROOT, source['url']).resolve().as_uri()}"
    return f"{line} ; {markers}" if markers else line
