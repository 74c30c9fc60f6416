"""--compute-platform: which build .venv gets, why, and how it is installed."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from .places import ROOT, SMOKE_TEST, TOOLS, VENV, StopError, say, update_command, venv_python
from .project import Project, check_system, no_index, normal, pins
from .runner import Runner

OPTION = "--compute-platform"


def choose(project: Project, wanted: str | None, platform: str) -> Project:
    """The project with the build that was asked for; Stop if this machine cannot have it."""
    if not wanted:
        return project
    name = propose(project, platform) if wanted == "auto" else wanted
    if name not in project.builds:
        raise refusal(project, name, platform)
    if project.manager == "uv":  # whose lock file is for the systems of the project's own build
        check_system(project, platform)
    other = project.builds[name]["platforms"].get(platform)
    if not other:
        here = ", ".join(n for n, build in project.builds.items() if platform in build["platforms"])
        label = project.builds[name]["label"]
        what = f"{OPTION} {name}: {label} has no PyTorch wheels for {platform}."
        raise StopError(2, what, f"Here work: {here or 'none'}.")
    own = project.build["platforms"].get(platform)
    if own and own["packages"] == other["packages"]:
        if name != project.compute_platform:
            say(f"  {name} has the same wheels here as the project's own build")
        return project
    project = project._replace(machine_build=name)
    one_index(project)
    return project


def refusal(project: Project, name: str, platform: str) -> StopError:
    """Why there is no such build of the project's release, and what to do."""
    release, known = project.build["release"], project.alternatives
    works = [n for n, build in project.builds.items() if platform in build["platforms"]]
    if name in known:
        other = known[name]["release"]
        stays = other.rpartition(".")[0] == release.rpartition(".")[0]  # in the same series
        answer = f"compute_platform={name}" + ("" if stays else " -d torch_version=latest")
        what = f"{OPTION} {name}: there is such a build of torch {other}, but not of {release}."
        return StopError(2, what, f"To move the whole project to it: {update_command(answer)}")
    names = dict.fromkeys(["auto", *works, *known])
    near = [known for known in names if known.startswith(name)][:3]
    near = near or difflib.get_close_matches(name, names)
    what = f"{OPTION} {name}: there is no compute platform of this name."
    did = f"Did you mean {' or '.join(near)}? " if near else ""
    return StopError(2, what, f"{did}Here work: {', '.join(['auto', *works])}.")


def propose(project: Project, platform: str) -> str:
    """The build that suits this machine; says what was seen, and why."""
    facts = {} if platform.startswith("macos") else look(smoke("driver_checks"))
    say(f"  this machine: {seen(facts, platform)}")
    name, why = pick(project, platform, facts)
    say(f"  {OPTION} auto takes {name}: {why}")
    return name


def smoke(module: str) -> ModuleType:
    """A module of the smoke test, which knows drivers and GPUs."""
    package = SMOKE_TEST.with_name("gpu_smoke") / "__init__.py"
    try:
        if "gpu_smoke" not in sys.modules:
            spec = importlib.util.spec_from_file_location("gpu_smoke", package)
            if spec and spec.loader:
                sys.modules["gpu_smoke"] = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(sys.modules["gpu_smoke"])
        return importlib.import_module(f"gpu_smoke.{module}")
    except (FileNotFoundError, ImportError):
        todo = "Restore it: git checkout HEAD -- scripts/gpu_smoke"
        raise StopError(2, "scripts/gpu_smoke is missing or incomplete.", todo) from None


def look(driver: ModuleType) -> dict[str, Any]:
    """The GPUs and drivers here: what the driver's libraries say, else `nvidia-smi`."""
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # .venv is for the machine, not for this shell
    facts = {**driver.nvidia_facts(30), **driver.amd_facts()}
    if not facts.get("gpus") and not facts["ended"] and facts.get("init", 0) in (0, 100):
        facts.update(ask_nvidia_smi())
    return facts


def ask_nvidia_smi() -> dict[str, Any]:
    """Driver and GPUs as nvidia-smi lists them; empty if it does not."""
    program = shutil.which("nvidia-smi")
    command = [program or "", "--query-gpu=driver_version,compute_cap,name"]
    try:
        done = subprocess.run(
            [*command, "--format=csv,noheader"], capture_output=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = [line.split(", ", 2) for line in done.stdout.decode("utf-8", "replace").splitlines()]
    gpus = [{"name": row[2], "capability": row[1]} for row in rows if len(row) == 3]
    return {"gpus": gpus, "driver_version": rows[0][0]} if gpus else {}


def seen(facts: dict[str, Any], platform: str) -> str:
    """What was found, in words."""
    gpus = facts.get("gpus", [])
    found = [f"{gpu['name']} of compute capability {gpu['capability']}" for gpu in gpus]
    if facts.get("driver_version"):
        found.insert(0, f"NVIDIA driver {facts['driver_version']}")
    elif facts.get("card"):
        found.append("an NVIDIA GPU without a driver")
    if facts.get("kfd"):
        found.append("an AMD GPU" + ("" if facts["kfd_usable"] else " that you may not open"))
    return f"{platform}, {', '.join(found) or 'no NVIDIA driver, no AMD GPU'}"


def pick(project: Project, platform: str, facts: dict[str, Any]) -> tuple[str, str]:
    """The compute platform that suits, the project's own if it does; and why.

    The driver must be new enough, and the wheels compiled for each GPU, as torch_builds.json says.
    """
    own, builds = project.compute_platform, project.builds
    rows = {n: b["platforms"][platform] for n, b in builds.items() if platform in b["platforms"]}
    if platform.startswith("macos"):
        return own, "on macOS all builds have the same wheels"
    if own == "pypi":
        return own, "this project takes all of its packages from PyPI"
    kind = rows[own]["accelerator"] if own in rows else ""
    problem = misfit(rows[own], facts) if own in rows else "it has no wheels for this system"
    if kind != "cpu" and not problem:
        return own, "the project's own build suits"
    if kind == "cuda" and (facts.get("ended") or facts.get("init", 0) not in (0, 100)):
        return own, "the NVIDIA driver does not answer, and the smoke test says more of that"
    usual = rows.get("pypi", {}).get("toolkit")  # what PyTorch itself takes by default
    for accelerator in ("cuda", "rocm"):
        fitting = [
            (row["toolkit"] == usual, smoke("machine").numbers(row["toolkit"]), name)
            for name, row in rows.items()
            if row["accelerator"] == accelerator and name != "pypi" and not misfit(row, facts)
        ]
        if fitting:
            why = f"{own} does not suit: {problem}" if problem else "it can use this GPU"
            return max(fitting)[2], why
    if kind == "cpu" or "cpu" not in rows:
        return own, "no other build suits better"
    return "cpu", f"{own} does not suit: {problem}"


def misfit(row: dict[str, Any], facts: dict[str, Any]) -> str:
    """Why a build's wheels cannot be used on this machine; empty if they can."""
    machine, gpus, minimum = smoke("machine"), facts.get("gpus"), row["minimum_driver"] or ""
    if row["accelerator"] == "rocm":
        return "" if facts.get("kfd_usable") else "there is no AMD GPU that you may open"
    if row["accelerator"] == "xpu":
        return "" if facts.get("render") else "there is no Intel GPU"
    if row["accelerator"] != "cuda":
        return ""
    if not gpus:
        return "there is no NVIDIA GPU with a driver"
    driver = machine.numbers(facts.get("driver_version", ""))
    known = facts.get("cuda", 0) // 1000  # the CUDA major that the driver's library is for
    if driver < machine.numbers(minimum) if driver else known < machine.numbers(row["toolkit"])[0]:
        return f"it needs NVIDIA driver {minimum} or newer"
    lost = [gpu["capability"] for gpu in gpus if not machine.runs_on(row, gpu)]
    return f"it has no code for compute capability {lost[0]}" if lost else ""


# --- Installing it, beside the locked versions of everything else
#
# Whatever the manager: exact pins of the build's wheels, and a line for each package that the
# project locks, but those that only its own torch needs. All is in one file in .tools; what git
# tracks stays.

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
    own_lines = build_lines(project, runner.platform)
    if project.manager == "pip" and not runner.options.dry_run:
        text = "\n".join(own_lines)
        constraints(project).write_text(text + "\n", encoding="utf-8")
    lines = [*own_lines, *lines]
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


def constraints(project: Project) -> Path:
    """The same for `pip install -c` of more packages: of torch alone, as the project's own has."""
    return TOOLS / f"torch-{project.machine_build}.txt"


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
