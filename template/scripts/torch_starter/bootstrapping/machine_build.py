"""Installs a build for one machine alone, beside the locked versions of everything else.

Whatever the manager: exact pins of the build's wheels, and lines for the rest, all in one file in
.tools; what git tracks stays. See requirements.py for these lines.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from .places import ROOT, TOOLS, VENV, StopError, say, venv_python
from .project import Project
from .requirements import (
    Table,
    asked,
    constraining,
    own_packages,
    poetry_asked,
    poetry_lines,
    uv_asked,
)
from .runner import Runner
from .wheelhouse import no_index, pins

# Run by .venv's own Python: another one may be too old for tomllib.
READ_TOML = """
import json, sys
try:
    import tomllib
except ImportError:
    import ensurepip, pathlib  # uv puts no pip into .venv
    sys.path += map(str, pathlib.Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))
    from pip._vendor import tomli as tomllib
found = []
for name in sys.argv[1:]:
    with open(name, "rb") as file:
        found.append(tomllib.load(file))
print(json.dumps(found, default=str))
"""


def install_machine_build(runner: Runner, manager: list[str], title: str, lock: str = "") -> None:
    """Install the machine's build and what the project asks for beside it.

    `lock`: why the lock file does not do, or empty if it does, or if there is none to be had.
    """
    project = runner.project
    install = [venv_python(VENV), "-m", "pip", "install"]
    if project.manager == "uv":
        install = [*manager, "pip", "install", "--python", venv_python(VENV)]
    if runner.options.offline and (runner.options.wheelhouse or project.manager != "uv"):
        install += no_index(runner.options.wheelhouse)
    if lock:
        say(f"  {project.lock.name} {lock}: what it lacks is resolved for this machine, in .tools")
    if project.manager == "uv":
        install_with_uv(runner, manager, install, title, bool(lock))
    elif project.manager == "poetry":
        install_for_poetry(runner, install, title, bool(lock))
    else:
        data = read_toml(runner, "pyproject.toml")
        drop_own_constraints(runner)
        if not runner.options.dry_run:
            write(constraints(project), build_lines(project, runner.platform))
        name = write_requirements(runner, asked(project, *data) if data else [])
        runner.run(title, [*install, "-r", name], venv=True)
    # Its metadata ask for the project's own build.
    runner.run("installing the project", [*install, "--no-deps", "-e", "."], venv=True)


def install_with_uv(
    runner: Runner, manager: list[str], install: list[str], title: str, resolve: bool
) -> None:
    """uv: what its lock file says; else resolved anew, near to what it says or said before."""
    if not resolve:
        name = write_requirements(runner, uv_lines(runner, manager))
        runner.run(title, [*install, "-r", name], venv=True)
        return
    project, done = runner.project, TOOLS / f"resolved-{runner.project.machine_build}.txt"
    data = read_toml(runner, "pyproject.toml")
    name = write_requirements(runner, uv_asked(project, *data) if data else [])
    kept = runner.ask(uv_export(project, manager)) if project.lock.exists() else None
    if kept and not runner.options.dry_run:
        write(done, kept.splitlines())  # which uv prefers to newer versions
    target = str(done.relative_to(ROOT))
    how = ["--python", venv_python(VENV), "--quiet", "--no-header"]
    runner.run("resolving", [*manager, "pip", "compile", name, "--output-file", target, *how])
    runner.run(title, [*install, "-r", target, "-r", name], venv=True)


def install_for_poetry(runner: Runner, install: list[str], title: str, resolve: bool) -> None:
    """pip for Poetry: what its lock file says; else resolved anew, near to what it says."""
    project, lock = runner.project, runner.project.lock
    if not resolve:
        data = read_toml(runner, lock.name, "pyproject.toml")
        lines = poetry_lines(project, *data) if data else []
        name = write_requirements(runner, logged_in(runner, lines, *data[1:]))
        runner.run(title, [*install, "-r", name], venv=True)
        return
    data = read_toml(runner, "pyproject.toml")
    lines = poetry_asked(project, *data) if data else []
    name = write_requirements(runner, logged_in(runner, lines, *data))
    near: list[str] = []
    with contextlib.suppress(StopError):  # it has merge markers, say
        old = read_toml(runner, lock.name, "pyproject.toml") if lock.exists() else []
        if old:
            write(TOOLS / "locked.txt", constraining(poetry_lines(project, *old)))
            near = ["-c", str((TOOLS / "locked.txt").relative_to(ROOT))]
    try:
        runner.run(title, [*install, "-r", name, *near], venv=True)
    except StopError:
        if not near:
            raise
        say(f"  again, without the versions of {lock.name}, which pyproject.toml rules out")
        runner.run(title, [*install, "-r", name], venv=True)


def read_toml(runner: Runner, *names: str) -> list[dict[str, Any]]:
    """The data of TOML files of the project; none in a dry run, which has no .venv to read them."""
    return [] if runner.options.dry_run else read_data(runner, *names)


def read_data(runner: Runner, *names: str) -> list[dict[str, Any]]:
    """The data of TOML files of the project, by .venv's Python or else by the running one."""
    paths, python = [str(ROOT / name) for name in names], venv_python(VENV)
    answer = runner.ask([python, "-I", "-c", READ_TOML, *paths])
    answer = answer or runner.ask([sys.executable, "-I", "-c", READ_TOML, *paths])
    if answer is None:
        todo = "Mend it, or restore it with git, then run this again."
        raise StopError(5, f"{' or '.join(names)} cannot be read.", todo)
    return list(json.loads(answer))


def logged_in(runner: Runner, lines: list[str], *pyproject: Table) -> list[str]:
    """These lines, without an index that Poetry has a password for: pip gets it in a variable."""
    sources = pyproject[0].get("tool", {}).get("poetry", {}).get("source", []) if pyproject else []
    for source in sources:
        line = f"--index-url {str(source.get('url', '')).rstrip('/')}"
        mine = [one for one in lines if one.rstrip("/") == line]
        url = with_login(runner, source["name"], mine[0].partition(" ")[2]) if mine else ""
        if "@" in url:
            runner.env["PIP_INDEX_URL"] = url
            return [one for one in lines if one not in mine]
    return lines


def with_login(runner: Runner, name: str, url: str) -> str:
    """The address of an index with the login that Poetry has for it in variables, if it has."""
    prefix = f"POETRY_HTTP_BASIC_{re.sub(r'[^A-Z0-9]', '_', name.upper())}_"
    user, word = (runner.env.get(f"{prefix}{part}", "") for part in ("USERNAME", "PASSWORD"))
    parts = urlsplit(url)
    place = f"{quote(user, '')}:{quote(word, '')}@{parts.netloc}"
    return parts._replace(netloc=place).geturl() if user else url


def write_requirements(runner: Runner, lines: list[str]) -> str:
    """Write the pins of the build and these lines; the file as the managers are given it."""
    project = runner.project
    lines = [*build_lines(project, runner.platform), *lines]
    if runner.options.offline and (runner.options.wheelhouse or project.manager != "uv"):
        lines = pins(project, lines)
    file = TOOLS / f"requirements-{project.machine_build}.txt"
    if not runner.options.dry_run:
        write(file, lines)
    return str(file.relative_to(ROOT))


def write(file: Path, lines: list[str]) -> None:
    """Write lines to a file in .tools."""
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")


def constraints(project: Project) -> Path:
    """The same for `pip install -c` of more packages: of torch alone, as the project's own has."""
    return TOOLS / f"torch-{project.machine_build}.txt"


def build_lines(project: Project, platform: str) -> list[str]:
    """Exact pins of the build's wheels, and the pages of its index.

    PyPI's 2.14.1 is to be no 2.14.1+cu130 of another index that this machine has set.
    """
    build = project.build
    packages = build["platforms"][platform]["packages"]
    exactly = "==" if build["index_url"] else "==="
    pins = [f"{package}{exactly}{version}" for package, version in packages.items()]
    return [*build_pages(project, platform), *pins]


def build_pages(project: Project, platform: str) -> list[str]:
    """The only pages of the build's index that are looked at, as lines of a requirements file."""
    build = project.build
    pages = [*build["platforms"][platform]["packages"], *build["extra_packages"]]
    url = build["index_url"]
    return [f"--find-links {url}/{page}/" for page in pages] if url else []


def drop_own_constraints(runner: Runner) -> None:
    """Keep PIP_CONSTRAINT from asking for the project's own build, for which the README has it."""
    own = runner.project.lock.resolve()
    named = runner.env.get("PIP_CONSTRAINT", "").split()
    runner.env["PIP_CONSTRAINT"] = " ".join(
        one for one in named if Path(ROOT, one).resolve() != own
    )


def uv_export(project: Project, manager: list[str]) -> list[str]:
    """The command that shows what uv.lock says, without torch and what only torch needs."""
    pruned = [word for name in sorted(own_packages(project)) for word in ("--prune", name)]
    pruned += project.without
    how = ["--frozen", "--quiet", "--no-header", "--no-annotate", "--no-hashes"]
    return [*manager, "export", *how, "--no-emit-project", "--python", project.python, *pruned]


def uv_lines(runner: Runner, manager: list[str]) -> list[str]:
    """What `uv sync` would install, without torch and what only torch needs."""
    project, file = runner.project, TOOLS / "locked.txt"
    export = [*uv_export(project, manager), "--output-file", str(file)]
    runner.run(f"reading {project.lock.name}", export)
    return [] if runner.options.dry_run else file.read_text(encoding="utf-8").splitlines()
