"""Checks without torch: do the packages that are installed go together with it?"""

from __future__ import annotations

import re
from pathlib import Path

from surroundings.versions import numbers

from .check import Check, CheckFunction, check
from .elf import lacking, open_library
from .environment_checks import COMPANIONS
from .machine import (
    NAMES,
    SWITCH,
    Machine,
    accelerators,
    installed,
    repair,
    version_file,
)
from .metadata import Package, broken, installed_packages
from .origins import folder_of_torch
from .requirements import applies, packages, requirements, satisfied

CHECKS: dict[str, CheckFunction] = {}
# Of what a wheel was built for: its name, and the line of torch/version.py that says so of torch.
KINDS = {"cu": "cuda", "rocm": "rocm", "xpu": "xpu"}
TOOLKITS = {"cu": "cuda", "rocm": "hip", "xpu": "xpu"}
# Up to this one, torchaudio's _extension/utils.py also compares CUDA's minor version; torchvision's
# extension.py the major one, whose libraries torchcodec links.
EXACT_AUDIO = [2, 11, 0]


def built_for(version: str) -> tuple[str, str]:
    """What a wheel was built for: 2.11.0+cu130 -> cu, 13.0; "" if its version does not say it."""
    local = version.partition("+")[2]
    if parts := re.fullmatch(r"cu(\d\d)(\d+)", local):
        return "cu", f"{parts[1]}.{parts[2]}"
    parts = re.fullmatch(r"(cpu|rocm|xpu)([\d.]*)", local)
    return (parts[1], parts[2]) if parts else ("", "")


def misfit(name: str, torch: dict[str, str]) -> str:
    """Why an installed companion cannot load beside this torch, by what both were built for.

    "" if it can or if that cannot be told. What was built for the CPU loads beside any torch.
    """
    version = version_file(name).get("__version__", "")
    kind, toolkit = built_for(version)
    if kind not in TOOLKITS:
        return ""
    have = torch.get(TOOLKITS[kind], "")
    exact = name == "torchaudio" and numbers(version.partition("+")[0]) <= EXACT_AUDIO
    compared = {"cu": 2 if exact else 1}.get(kind, 0)
    if have and numbers(have)[:compared] == numbers(toolkit)[:compared]:
        return ""
    other = accelerators(torch)[0]
    mine = f"{NAMES[KINDS[kind]]} {toolkit}".strip()
    whose = {"cuda": f"CUDA {torch.get('cuda')}", "cpu": "the CPU"}.get(other, NAMES[other])
    return f"{name} {version} is built for {mine}, but torch {torch['__version__']} for {whose}."


def torch_is_right(machine: Machine) -> bool:
    """Whether torch is the one that is asked for."""
    return bool(machine.torch.get("__version__") == machine.wheels.get("torch_version", ""))


def misfits(machine: Machine) -> dict[str, str]:
    """The installed companions that cannot load beside torch, and why.

    None, where torch itself is another one than is asked for, or that companion of another release:
    that is the cause then.
    """
    if not torch_is_right(machine):
        return {}
    wanted = machine.wheels["packages"]
    likely = [
        name
        for name in COMPANIONS
        if wanted.get(name, installed(name)).split("+")[0] == installed(name).split("+")[0]
    ]
    found = {name: misfit(name, machine.torch) for name in likely}
    return {name: why for name, why in found.items() if why}


def right_one(name: str, machine: Machine) -> str:
    """How to get the companion that goes with torch."""
    wanted = machine.wheels.get("packages", {}).get(name)
    if wanted and wanted != installed(name):
        return repair()
    if wanted:
        return f"Type `{SWITCH}`, and choose without {name}, or a torch that it goes with."
    source = f", from {machine.index}" if machine.index else ""
    return f"Let the template add the {name} that fits{source}: `{SWITCH}`; or remove it."


@check(CHECKS, "PKG-VISION")
def check_companions(machine: Machine) -> Check | None:
    """Are torchvision, torchaudio and torchcodec those that go with the project's torch?"""
    wanted = dict(machine.wheels.get("packages", {}))
    torch = wanted.pop("torch", "")
    misfit_ones = misfits(machine)  # as PKG-CUDA says
    others = [name for name in wanted if name not in misfit_ones]
    if not others or not machine.torch:
        return None
    wrong = [name for name in others if installed(name) != wanted[name]]
    if not wrong:
        return Check("pass", ", ".join(f"{name} {wanted[name]}" for name in others))
    name, data = wrong[0], {"packages": wrong}
    problem = f"torch {torch} goes with {name} {wanted[name]}, but {installed(name)} is installed."
    return Check("fail", problem, repair(), data)


@check(CHECKS, "PKG-CUDA")
def check_toolkits(machine: Machine) -> Check | None:
    """Were torch's companions built for the CUDA, ROCm or XPU that torch was built for?"""
    if wrong := misfits(machine):
        name = next(iter(wrong))
        return Check("fail", wrong[name], right_one(name, machine), {"packages": list(wrong)})
    if not torch_is_right(machine):
        return None
    versions = {name: version_file(name).get("__version__", "") for name in COMPANIONS}
    told = [name for name, one in versions.items() if built_for(one)[0] in TOOLKITS]
    alike = [f"{name} {versions[name]}" for name in told if not misfit(name, machine.torch)]
    return Check("pass", f"built as torch is: {', '.join(alike)}") if alike else None


@check(CHECKS, "PKG-REQUIRES")
def check_requirements(machine: Machine) -> Check | None:
    """Does torch have the libraries it requires, and does each package that requires a torch?"""
    wanted, have = machine.wheels.get("packages", {}), installed("torch")
    if not torch_is_right(machine) or have != wanted["torch"]:
        return None  # as TORCH-BUILD says
    every = packages()
    named = {*misfits(machine), *(name for name in wanted if installed(name) != wanted[name])}
    found = [
        (name, f"torch{one.clauses}")
        for name, package in every.items()
        for one in (requirements(package) if name not in named else ())
        if one.name == "torch" and applies(one.marker) and not satisfied(have, one.clauses)
    ]
    if found:
        name, needs = found[0]
        problem = f"{name} {every[name].version} needs {needs}, but torch {have} is installed."
        fatal = any(one in COMPANIONS for one, _ in found)
        remedy = f"Take a {name} that is for torch {machine.torch['__version__']}, or remove it."
        remedy = right_one(name, machine) if name in COMPANIONS else remedy
        data = {"packages": [one for one, _ in found], "harmless": True}  # to torch itself
        return Check("fail" if fatal else "warn", problem, remedy, data)
    return check_libraries(every) or check_metadata()


def check_metadata() -> Check | None:
    """Does each folder of metadata say of which package it is?"""
    if not (found := broken()):
        return None
    others = f", as are {len(found) - 1} more" if found[1:] else ""
    problem = f"{found[0]} is what was left of a package, or is damaged{others}: it has no name "
    problem += "or no version, at which pip and others may stop."
    remedy = "Remove that folder; if you need its package, install that again."
    return Check("warn", problem, remedy, {"harmless": True})


# What torch requires and loads as libraries; the rest are modules in Python alone.
COMPILED = re.compile(
    "nvidia-|cuda-|triton|pytorch-triton|intel-|mkl|onemkl|oneccl|dpcpp|impi|tbb|tcmlib|umf|rocm"
)


def check_libraries(every: dict[str, Package]) -> Check | None:
    """Are the packages there that torch's metadata asks for, and of the versions it asks for?"""
    for source, extras in needed_by_torch(every).items():
        for one in requirements(every[source]):
            if not any(applies(one.marker, extra) for extra in extras):
                continue
            have = every[one.name].version if one.name in every else ""
            if have and satisfied(have, one.clauses):
                continue
            but = f"but {have} is installed" if have else "which is not installed"
            problem = f"{source} {every[source].version} needs {one.name}{one.clauses}, {but}."
            compiled = COMPILED.match(one.name)
            data = {"packages": [one.name], "explains": "libraries" if compiled else "modules"}
            return Check("warn", problem, repair(), data)
    return None


def needed_by_torch(every: dict[str, Package]) -> dict[str, set[str]]:
    """torch, and those packages of CUDA of which it asks for extras: with which ones."""
    found = {"torch": {""}} if "torch" in every else {}
    rows = list(requirements(every["torch"])) if found else []
    for row in rows:
        extras = {extra for one in rows if one.name == row.name for extra in one.extras}
        if extras and row.name in every and applies(row.marker):
            found.setdefault(row.name, set()).update(extras)
    return found


# torch's own, as mangled names begin, and those of its stable interface.
TORCH_SYMBOLS = re.compile(rb"_Z(N|NK|T[ISV]N)(3c10|2at|5torch)|aoti_torch_")


@check(CHECKS, "PKG-BUILT")
def check_extensions(machine: Machine) -> Check | None:
    """Was each package that is compiled against torch compiled for this one?"""
    folder = Path(folder_of_torch(), "lib")
    libraries = [open_library(path) for path in sorted(folder.glob("lib*.so"))]
    there = [one for one in libraries if one]
    if not there or not torch_is_right(machine):
        return None
    named, good = misfits(machine), []
    for package in installed_packages():
        name = package.key
        needs_torch = any(re.match(r"torch\b", one) for one in package.requires)
        if name == "torch" or name in named or not needs_torch:
            continue
        files = [one for one in package.files() if one.suffix == ".so"]
        if symbol := lacking(files, TORCH_SYMBOLS, there):
            problem = f"{name} {package.version} was built for another torch than "
            problem += f"{machine.torch['__version__']}: its code calls {symbol}, which that lacks."
            remedy = f"Take a {name} that was built for it, or build it again: "
            remedy += "`pip install --no-build-isolation --no-binary :all: --force-reinstall "
            remedy += f"--no-deps {name}=={package.version}`."
            remedy = right_one(name, machine) if name in COMPANIONS else remedy
            return Check("warn", problem, remedy, {"packages": [name], "symbol": symbol})
        good += [name] if files else []
    return Check("pass", f"built for this torch: {', '.join(good)}") if good else None
