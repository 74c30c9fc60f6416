"""Checks without torch: this Python, its packages, settings, memory, paths."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import re
import sys
import sysconfig
from collections.abc import Mapping
from importlib.machinery import FrozenImporter
from pathlib import Path

from surroundings.knowledge import table

from .check import Check, CheckFunction, because, check
from .dlls import search_path, trouble
from .machine import (
    BUILDS,
    NAMES,
    ROOT,
    SWITCH,
    UNSET_COMMAND,
    WINDOWS,
    Machine,
    accelerators,
    in_venv,
    installed,
    python_fits,
    repair,
)
from .metadata import installed_packages, text_of
from .origins import is_own, module_with

CHECKS: dict[str, CheckFunction] = {}
COMPANIONS = ("torchvision", "torchaudio", "torchcodec")
CHANGE = "To change that,"
PINS_EDITED = "The project's files ask for another torch than scripts/torch_builds.json: undo that "
PINS_EDITED += "edit (`git diff HEAD -- pyproject.toml requirements` may show it), or move both by "
PINS_EDITED += f"`{SWITCH}`."


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
    found = [
        path
        for path in sorted([*BUILDS.parent.iterdir(), *ROOT.iterdir()])
        if path.suffix == ".py" or os.access(path / "__init__.py", os.R_OK)
    ]
    modules = sys.stdlib_module_names - {"test"}  # nothing needs Python's own tests
    for status, names in {"fail": packages, "warn": modules}.items():
        for path in found:
            if path.stem in names:
                problem = f"{path} takes the place of {path.stem} in all that is started beside it."
                return Check(status, problem, "Rename it.")
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
        return Check("fail", problem, repair() if machine.pinned() else PINS_EDITED)
    if metadata != wheels["packages"]["torch"]:
        problem = f"torch {have} is mixed with another one: its metadata says {metadata}."
        return Check("fail", problem, repair())
    if machine.accelerator not in accelerators(torch):
        problem = f"torch {have} is not built for {NAMES[machine.accelerator]}."
        return Check("fail", problem, f"{machine.to_use_it(machine.accelerator, CHANGE)}.")
    if machine.accelerator == "cpu" and gpu and not torch.get("cuda"):
        here = f"{platform.system()} {platform.machine()}"
        whose = f"PyPI's torch for {here}" if machine.optional() else f"torch {have}"
        problem = f"{whose} cannot use the {gpu['name']} of this machine."
        also = "; else test with `--device cpu`" if machine.cuda_build() else ""
        return Check("warn", problem, f"{machine.to_use_it()}{also}.")
    if machine.stands_in:
        instead = f"PyPI's own wheels stand in for the project's own build, {machine.own}, on this "
        data = {"stands_in_for": machine.own, "reason": machine.stands_in}
        return Check("pass", f"{instead}machine alone: {machine.stands_in}", data=data)
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


def nvidia_packages() -> dict[str, set[str]]:
    """The installed packages of NVIDIA that are named after a CUDA version: {"cudnn": {"13"}}."""
    found: dict[str, set[str]] = {}
    for package in installed_packages():
        if parts := re.fullmatch(r"nvidia-(.+)-cu(\d\d)", package.key):
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


# --- Environment variables, memory, and paths


SHARED_MEMORY = 256 * 2**20  # bytes; containers have 64 MiB unless they are told otherwise
LONGEST_PATH = 259  # what Windows allows by default


def listed(folder: str, pattern: str) -> list[Path]:
    """What a folder has, by its names; nothing, if it may not be read."""
    try:
        return sorted(Path(folder).glob(pattern))
    except OSError:
        return []


def traps(accelerator: str, env: Mapping[str, str]) -> list[tuple[str, str]]:
    """Environment variables that are known to break things: what they do, and the way out."""
    found = []

    def trap(name: str, problem: str) -> None:
        found.append((f"{name}={env[name]!r} {problem}", f"type `{UNSET_COMMAND.format(name)}`"))

    if env.get("PYTHONHOME") and not sys.flags.ignore_environment:
        trap("PYTHONHOME", "lets Python take its modules from there, and not from .venv")
    if env.get("KMP_DUPLICATE_LIB_OK", "").lower() in ("1", "true", "yes", "on"):
        trap("KMP_DUPLICATE_LIB_OK", "lets two OpenMP libraries compute wrong numbers")
    if accelerator == "cuda":
        for folder in filter(None, env.get("LD_LIBRARY_PATH", "").split(os.pathsep)):
            # Torch finds its own libraries, but what cuDNN loads later is found here first.
            outside = not is_own(folder)
            for library in listed(folder, "libcudnn*.so*")[:1] if outside else ():
                problem = f"LD_LIBRARY_PATH offers {library}, but torch brings its own cuDNN"
                found.append((problem, f"take {folder} out of LD_LIBRARY_PATH"))
        for name in ("CUDA_HOME", "CUDA_PATH"):
            if env.get(name) and not listed(env[name], "*"):
                trap(name, "is no folder that has something, where extensions are compiled")
    if accelerator in ("cuda", "rocm") and env.get("CUDA_LAUNCH_BLOCKING") == "1":
        trap("CUDA_LAUNCH_BLOCKING", "makes every call wait for the GPU")
    if accelerator == "rocm":
        if env.get("HSA_OVERRIDE_GFX_VERSION"):
            trap("HSA_OVERRIDE_GFX_VERSION", "makes the GPU pass for another one")
        for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
            if env.get(name) in ("", "-1"):
                trap(name, "hides all AMD GPUs")
    return found


# What torch imports, or is loaded with it, besides its companions.
NEEDS = [
    "numpy",
    "sympy",
    "mpmath",
    "networkx",
    "jinja2",
    "fsspec",
    "filelock",
    "typing_extensions",
    "triton",
    "nvidia",
]


def python_path(env: Mapping[str, str]) -> list[str]:
    """The folders that PYTHONPATH names, if Python heeds it."""
    text = "" if sys.flags.ignore_environment else env.get("PYTHONPATH", "")
    return [one for one in text.split(os.pathsep) if one]


def shadows(env: Mapping[str, str]) -> dict[str, list[str]]:
    """By folder of PYTHONPATH, the modules of Python's own whose place its files take."""
    found: dict[str, list[str]] = {}
    library = os.path.realpath(Path(os.__file__).parent)
    for folder in python_path(env):
        files = listed(folder, "*") if os.path.realpath(folder) != library else []
        named = {one.stem for one in files if one.suffix == ".py"}
        named |= {one.name for one in files if os.access(one / "__init__.py", os.R_OK)}
        taken = sorted(named & sys.stdlib_module_names - {"test"} - set(sys.builtin_module_names))
        if taken := [one for one in taken if not FrozenImporter.find_spec(one)]:
            found[folder] = taken
    return found


def as_python_has_it(env: Mapping[str, str]) -> None:
    """Let sys.path begin with PYTHONPATH again, before what is not ours is imported.

    gpu_smoke_test.py has put Python's own modules first; what is needed of them later is loaded.
    """
    if shadows(env):
        table("causes")
        table("codes.ini")
        first = [str(Path(one).absolute()) for one in python_path(env)]
        sys.path.sort(key=lambda one: one not in first)


def foreign(env: Mapping[str, str]) -> dict[str, str]:
    """What is imported in place of this environment's: by module, the folder it lies in.

    What lies in the project is its owner's, and what the environment does not have is no harm; but
    for a torch that a variable brings, which nobody has chosen for this project.
    """
    found: dict[str, str] = {}
    inside = [os.path.realpath(one) for one in (sys.prefix, ROOT, Path(os.__file__).parent)]
    outside = {
        os.path.realpath(folder): folder
        for folder in filter(None, dict.fromkeys([*python_path(env), *sys.path]))
        if not any(Path(os.path.realpath(folder)).is_relative_to(one) for one in inside)
    }
    if not outside or not in_venv():
        return found
    own = Path(sysconfig.get_path("purelib"))
    for name in ("torch", *COMPANIONS, *NEEDS):
        spec = importlib.util.find_spec(name)
        origin = os.path.realpath(spec.origin) if spec and spec.origin else ""
        there = (own / name).is_dir() or (own / f"{name}.py").is_file()
        for place, folder in outside.items():
            missed = name == "torch" and folder in python_path(env)
            if Path(origin).is_relative_to(place) and (there or missed):
                found[name] = folder
    return found


def from_elsewhere(found: Mapping[str, str], env: Mapping[str, str]) -> tuple[str, str]:
    """What is wrong with PYTHONPATH, and the way out."""
    folder = next(iter(found.values()))
    names = [name for name, place in found.items() if place == folder]
    if folder not in python_path(env):
        who = who_adds(folder)
        problem = f"{who} brings {' and '.join(names)} from {folder} in place of .venv's"
        return problem, f"take {folder} out of {who}"
    problem = f"PYTHONPATH brings {' and '.join(names)} from {folder} in place of .venv's"
    if module := module_with(folder):
        return problem, f"type `module unload {module}`"
    return problem, out_of_python_path(folder, env)


def out_of_python_path(folder: str, env: Mapping[str, str]) -> str:
    """How to get rid of a folder of PYTHONPATH."""
    unset = f"type `{UNSET_COMMAND.format('PYTHONPATH')}`"
    alone = len(python_path(env)) == 1
    return unset if alone else f"take {folder} out of PYTHONPATH, or {unset}"


def who_adds(folder: str) -> str:
    """The file that puts a folder on sys.path when Python starts, or sys.path itself."""
    for file in listed(sysconfig.get_path("purelib"), "*.pth"):
        if folder in text_of(file):
            return str(file)
    starts = (sys.modules.get(name) for name in ("sitecustomize", "usercustomize"))
    files = (getattr(one, "__file__", None) or "" for one in starts)
    return next((one for one in files if one and folder in text_of(Path(one))), "sys.path")


@check(CHECKS, "ENV-VARS")
def check_environment(machine: Machine) -> Check:
    """Is an environment variable set that is known to break things?"""
    found, others = traps(machine.accelerator, os.environ), foreign(os.environ)
    if others:
        found.insert(0, from_elsewhere(others, os.environ))
    if taken := shadows(os.environ):
        return python_s_own(taken)
    if not found:
        return Check("pass", "no environment variable is in the way")
    problem, way_out = ("; ".join(parts) for parts in zip(*found, strict=True))
    remedy = f"If you did not mean that, {way_out}."
    return Check("warn", f"{problem}.", remedy, {"foreign": list(others)} if others else {})


def python_s_own(taken: Mapping[str, list[str]]) -> Check:
    """What it means that PYTHONPATH hides modules of Python's own."""
    folder, names = next(iter(taken.items()))
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
    problem = f"PYTHONPATH names {folder}, which takes the place of modules of Python's own: "
    remedy = out_of_python_path(folder, os.environ)
    # What this program itself needs, torch needs as well.
    status = "fail" if any(one in sys.modules for one in names) else "warn"
    remedy = f"{remedy[0].upper()}{remedy[1:]}; or rename what is yours in there."
    return Check(status, f"{problem}{shown}.", remedy, {"foreign": ["python"]})


@check(CHECKS, "SYS-SHM")
def check_shared_memory(machine: Machine) -> Check | None:
    """Is there room for the batches of DataLoader workers?"""
    if not sys.platform.startswith("linux") or not Path("/dev/shm").is_dir():
        return None
    room = os.statvfs("/dev/shm")
    free = room.f_bavail * room.f_frsize
    if free >= SHARED_MEMORY:
        return Check("pass", f"{free / 2**30:.1f} GiB of shared memory")
    found = because("little-shared-memory", free=free // 2**20)
    found.status = "warn"
    return found


def path_trouble(site_packages: str, machine: Machine) -> str:
    """Why torch's files do not fit where Windows has not been told to allow long paths."""
    length = len(site_packages) + machine.windows_path.get("letters", 0)
    if length <= LONGEST_PATH:
        return ""
    would = "would" if machine.windows_path["measured"] else "may"  # the longest known, then
    paths = f"Paths of torch {machine.release} {would} be {length} letters long"
    return f"{paths}, Windows allows {LONGEST_PATH}"


@check(CHECKS, "SYS-LONGPATH")
def check_path_length(machine: Machine) -> Check | None:
    """Do the paths of torch's files fit?"""
    if sys.platform != "win32":
        return None
    import winreg

    place = r"SYSTEM\CurrentControlSet\Control\FileSystem"
    allowed = 0  # where nobody has set it, there may be no such value
    with contextlib.suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:
        allowed = winreg.QueryValueEx(key, "LongPathsEnabled")[0]
    trouble = "" if allowed else path_trouble(sysconfig.get_path("purelib"), machine)
    if not trouble:
        return Check("pass", "torch's paths fit")
    remedy = "Move the project to a shorter folder such as C:\\src, or set LongPathsEnabled to 1."
    certain = machine.windows_path["measured"] and not machine.torch
    return Check("fail" if certain else "warn", f"{trouble}.", remedy)
