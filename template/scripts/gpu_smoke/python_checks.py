"""Checks without torch: this Python, and the packages that it finds."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import sys
from pathlib import Path

from .check import Check, CheckFunction, check
from .machine import Machine, accelerators, in_venv, installed, python_fits, repair
from .windows_dlls import search_path, trouble
from .words import BUILDS, NAMES, ROOT, WINDOWS

CHECKS: dict[str, CheckFunction] = {}


@check(CHECKS, "PY-VERSION")
def check_python(machine: Machine) -> Check:
    """Is this a Python that the project's wheels are for?"""
    have, want = platform.python_version(), machine.python
    if python_fits(want):
        return Check("pass", f"Python {have}")
    return Check("fail", f"This is Python {have}, but the project asks for {want}.", repair())


@check(CHECKS, "PY-VENV")
def check_venv(machine: Machine) -> Check:
    """Is this the project's own environment?"""
    if in_venv():
        return Check("pass", "the project's .venv")
    problem = f"This Python is not that of the project's .venv but of {sys.prefix}."
    return Check("warn", problem, repair())


@check(CHECKS, "PY-SHADOW")
def check_shadows(machine: Machine) -> Check:
    """Does a file of the user's take the place of torch, or of a module that torch needs?"""
    packages = {"torch", *machine.wheels.get("packages", {})}
    spec = importlib.util.find_spec("torch")
    if spec and spec.origin and spec.submodule_search_locations is None:
        return Check(
            "fail", f"`import torch` finds {spec.origin} instead of PyTorch.", "Rename it."
        )
    for path in [*BUILDS.parent.iterdir(), *ROOT.iterdir()]:
        if path.suffix == ".py" or (path / "__init__.py").is_file():
            problem = f"{path} takes the place of {path.stem} in all that is started beside it."
            if path.stem in packages:
                return Check("fail", problem, "Rename it.")
            if path.stem in sys.stdlib_module_names - {"test"}:  # nothing needs Python's own tests
                return Check("warn", problem, "Rename it.")
    return Check("pass", "no file takes the place of a module")


@check(CHECKS, "TORCH-FOUND")
def check_torch_found(machine: Machine) -> Check | None:
    """Is there a torch to import?"""
    if machine.torch:
        return Check("pass", f"torch {machine.torch['__version__']}")
    spec = importlib.util.find_spec("torch")
    if not spec:
        return Check("fail", f"torch is not installed for {sys.executable}.", repair())
    where = spec.origin or next(iter(spec.submodule_search_locations or []), "")
    if spec.submodule_search_locations is None:
        return None  # PY-SHADOW has said so
    return Check("fail", f"The torch in {where} is incomplete.", repair())


@check(CHECKS, "TORCH-BUILD")
def check_torch_build(machine: Machine) -> Check | None:
    """Is torch the build that the project asks for, and is that one for the device?"""
    torch, wheels, label = machine.torch, machine.wheels, machine.label
    if not wheels:
        problem = f"{label} has no torch wheels for {platform.system()} {platform.machine()}."
        remedy = "Use a machine that torch_builds.json names"
        other = f", or {machine.move_to('cpu')}" if "cpu" in machine.alternatives else ""
        return Check("fail", problem, f"{remedy}{other}.")
    if not torch:
        return None
    have, want, metadata = torch["__version__"], wheels["torch_version"], installed("torch")
    toolkit = torch.get("cuda") or torch.get("hip") or ""
    gpu = next(iter(machine.driver.get("gpus", [])), None)
    if have != want or not toolkit.startswith(wheels["toolkit"] or ""):
        kind = f"{NAMES[accelerators(torch)[0]]} {toolkit}".strip()
        asks = "this .venv was made for" if machine.own else "the project asks for"
        problem = f"torch {have} ({kind}) is installed, but {asks} {want} ({label})."
        return Check("fail", problem, repair())
    if metadata != wheels["packages"]["torch"]:
        problem = f"torch {have} is mixed with another one: its metadata says {metadata}."
        return Check("fail", problem, repair())
    if machine.accelerator not in accelerators(torch):
        problem = f"torch {have} is not built for {NAMES[machine.accelerator]}."
        return Check("fail", problem, f"To change that, {machine.way_out(machine.accelerator)}.")
    if machine.accelerator == "cpu" and gpu:
        problem = f"torch {have} cannot use the {gpu['name']} of this machine."
        remedy = f"To use it, {machine.way_out()}; else test with `--device cpu`."
        return Check("warn", problem, remedy)
    if machine.own:
        return Check("pass", f"this machine uses {label}; the project's own is {machine.own}")
    return Check("pass", f"the project's build for {label}")


@check(CHECKS, "TORCH-DLL")
def check_dlls(machine: Machine) -> Check | None:
    """Does Windows find all DLLs that those of torch need?"""
    spec = importlib.util.find_spec("torch")
    if not WINDOWS or not machine.torch or not spec or not spec.origin:
        return None
    found = trouble(Path(spec.origin).with_name("lib"), search_path())
    return Check("fail", *found) if found else Check("pass", "torch's DLLs find all they need")


@check(CHECKS, "PKG-VISION")
def check_companions(machine: Machine) -> Check | None:
    """Are torchvision and torchaudio the partners of the project's torch?"""
    wanted = dict(machine.wheels.get("packages", {}))
    torch = wanted.pop("torch", "")
    if not wanted or not machine.torch:
        return None
    for name, version in wanted.items():
        have = installed(name)
        if have != version:
            problem = f"torch {torch} goes with {name} {version}, but {have} is installed."
            return Check("fail", problem, repair())
    return Check("pass", ", ".join(map(" ".join, wanted.items())))


def nvidia_packages() -> dict[str, set[str]]:
    """The installed packages of NVIDIA that are named after a CUDA version: {"cudnn": {"13"}}."""
    found: dict[str, set[str]] = {}
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", str(distribution.metadata["Name"])).lower()
        if parts := re.fullmatch(r"nvidia-(.+)-cu(\d\d)", name):
            found.setdefault(parts[1], set()).add(parts[2])
    return found


@check(CHECKS, "PKG-NVMIX")
def check_nvidia_packages(machine: Machine) -> Check | None:
    """Are NVIDIA's libraries those of one CUDA? Two of one kind overwrite each other's files."""
    major = (machine.wheels.get("toolkit") or "").partition(".")[0]
    if machine.wheels.get("accelerator") != "cuda" or not machine.torch or not major:
        return None
    packages = nvidia_packages()
    for name, found in sorted(packages.items()):
        if len(found) > 1:
            names = " and ".join(f"nvidia-{name}-cu{one}" for one in sorted(found))
            problem = f"Both {names} are installed, and have overwritten each other's files."
            return Check("fail", problem, repair())
    for name, found in sorted(packages.items()):
        if major not in found:
            other = f"nvidia-{name}-cu{min(found)}"
            problem = f"{other} is installed, but this torch is for CUDA {major}."
            return Check("warn", problem, f"If nothing else needs it: {repair()}")
    return Check("pass", f"NVIDIA's packages are those of CUDA {major}")
