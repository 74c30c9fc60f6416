"""Which build .venv gets, and why: the project's own, or one for this machine alone."""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from types import ModuleType
from typing import Any

from surroundings.versions import numbers

from .contents import read_stamp
from .fit import check_fit
from .places import MACHINERY, TYPED, StopError, say
from .project import FALLBACK, Project
from .requirements import one_index

OPTION = "--compute-platform"


def choose(project: Project, wanted: str | None, platform: str) -> Project:
    """The project with the build that was asked for; Stop if this machine cannot have it."""
    if not wanted:
        return project
    name = propose(project, platform) if wanted == "auto" else wanted
    if name not in project.builds:
        raise refusal(project, name, platform)
    if (
        project.manager == "uv" and name not in project.locked
    ):  # whose lock file is for the systems of the project's own build
        check_fit(project, platform)
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
    if name not in project.locked:
        one_index(project)
    return project


def chosen_before(project: Project) -> str | None:
    """The build that .venv was made for, if it was chosen for this machine: it stays so."""
    stamp = read_stamp()
    name = str(stamp.get("machine_build") or "")
    if not name or stamp.get("fallback"):
        return None
    if name not in project.builds:
        what = f".venv was made for {name}, which torch {project.build['release']} does not have."
        own = f"{TYPED} {OPTION} {project.compute_platform}"
        raise StopError(2, what, f"Choose another build: {own}, or {OPTION} auto")
    return name


def refusal(project: Project, name: str, platform: str) -> StopError:
    """Why there is no such build of the project's release, and what to do."""
    release, known = project.build["release"], project.alternatives
    works = [n for n, build in project.builds.items() if platform in build["platforms"]]
    if name in project.moves:
        other = known[name]["release"]
        what = f"{OPTION} {name}: there is such a build of torch {other}, but not of {release}."
        if other == release:
            what = f"{OPTION} {name}: that build lacks a package that the project has beside torch."
        return StopError(2, what, f"To move the whole project to it: {project.move(name)}")
    names = dict.fromkeys(["auto", *works, *known])
    near = [known for known in names if known.startswith(name)][:3]
    near = near or difflib.get_close_matches(name, names)
    what = f"{OPTION} {name}: there is no compute platform of this name."
    did = f"Did you mean {' or '.join(near)}? " if near else ""
    return StopError(2, what, f"{did}Here work: {', '.join(['auto', *works])}.")


def propose(project: Project, platform: str) -> str:
    """The build that suits this machine; says what was seen, and why."""
    facts = {} if platform.startswith("macos") else look()
    say(f"  this machine: {seen(facts, platform)}")
    name, why = pick(project, platform, facts)
    say(f"  {OPTION} auto takes {name}: {why}")
    return name


def smoke(module: str) -> ModuleType:
    """A module of the smoke test, which knows drivers and GPUs."""
    package = MACHINERY / "gpu_smoke" / "__init__.py"
    try:
        if "gpu_smoke" not in sys.modules:
            spec = importlib.util.spec_from_file_location("gpu_smoke", package)
            if spec and spec.loader:
                sys.modules["gpu_smoke"] = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(sys.modules["gpu_smoke"])
        return importlib.import_module(f"gpu_smoke.{module}")
    except (FileNotFoundError, ImportError):
        todo = "Restore it: git checkout HEAD -- scripts/torch_starter"
        raise StopError(2, "scripts/torch_starter is missing or incomplete.", todo) from None


@functools.cache  # a run looks once
def look(limit: float = 30) -> dict[str, Any]:
    """The GPUs and drivers here: what the driver's libraries say, else `nvidia-smi`.

    `limit`: seconds for either.
    """
    driver = smoke("driver_facts")
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # .venv is for the machine, not for this shell
    facts = {**driver.nvidia_facts(limit), **driver.amd_facts()}
    if not facts.get("gpus") and not facts["ended"] and facts.get("init", 0) in (0, 100):
        facts.update(ask_nvidia_smi(limit))
    return facts


def ask_nvidia_smi(limit: float) -> dict[str, Any]:
    """Driver and GPUs as nvidia-smi lists them; empty if it does not."""
    program = shutil.which("nvidia-smi")
    command = [program or "", "--query-gpu=driver_version,compute_cap,name"]
    try:
        done = subprocess.run(
            [*command, "--format=csv,noheader"], capture_output=True, check=True, timeout=limit
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
            (row["toolkit"] == usual, numbers(row["toolkit"]), name)
            for name, row in rows.items()
            if row["accelerator"] == accelerator
            and name != "pypi"
            and not misfit(row, facts)
            and (accelerator != "cuda" or row["gpu_architectures"] or row["ptx"])
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
    driver = numbers(facts.get("driver_version", ""))
    known = facts.get("cuda", 0) // 1000  # the CUDA major that the driver's library is for
    if driver < numbers(minimum) if driver else known < numbers(row["toolkit"])[0]:
        return f"it needs NVIDIA driver {minimum} or newer"
    known = row["gpu_architectures"] or row["ptx"]  # else the user's choice is not to be doubted
    lost = [gpu["capability"] for gpu in gpus if known and not machine.runs_on(row, gpu)]
    return f"it has no code for compute capability {lost[0]}" if lost else ""


# --- PyPI's own wheels in the place of a build whose index does not answer


def why_no_fallback(project: Project, platform: str) -> str:
    """Why PyPI's own wheels would not do what the build is for; empty if they would.

    On a machine without a GPU no build is used for what it is for: that is no reason.
    """
    build, release = project.build, project.build["release"]
    if FALLBACK not in project.builds:
        if FALLBACK in project.alternatives:
            return f"PyPI has no wheels of torch {release} for Python {project.python}"
        return "the template of this project does not offer them"
    row = project.builds[FALLBACK]["platforms"].get(platform)
    if not row:
        return f"PyPI has no wheel of torch {release} for {platform}"
    kind = build["platforms"][platform]["accelerator"] if platform in build["platforms"] else "cpu"
    if kind in ("cpu", "mps"):
        return ""
    if row["accelerator"] != kind:
        what = {"cpu": "the CPU"}.get(row["accelerator"], row["accelerator"].upper())
        return f"for {platform} they compute on {what}, and {build['label']} is for a GPU"
    facts = look(limit=5)
    return misfit(row, facts) if facts.get("gpus") and not facts["ended"] else ""
