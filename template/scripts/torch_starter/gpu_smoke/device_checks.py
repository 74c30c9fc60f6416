"""Checks with torch, in the child process: does torch load, and does each device open?

Those that name a cause come before DEV-OPEN, which fails if a device does not work for any reason.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from surroundings.knowledge import code, cuda_code, find_cause
from surroundings.place import here

from .check import Check, CheckFunction, Job, check, one_line
from .loading import explain_import
from .machine import (
    FAULTY,
    LEVEL_ZERO,
    NEWER_MACOS,
    OF_JETSONS,
    RECREATE,
    advise,
    repair,
    runs_on,
)

CHECKS: dict[str, CheckFunction] = {}
ONLY_FOR = {"CUDA-ARCH": "cuda", "ROCM-ARCH": "rocm", "XPU-INIT": "xpu", "MPS": "mps"}

OPEN_REMEDIES = {"cpu": RECREATE, "xpu": LEVEL_ZERO, "mps": NEWER_MACOS}
# What causes of cuInit's codes name, and nobody has asked for where torch tells of them.
UNASKED = {"mode": "", "node": "", "libcuda": "libcuda", "at_compat": "", "cuda_version": ""}
UNASKED |= {"driver_version": "another", "driver": "the NVIDIA driver"}
FREE = 2**30  # bytes: more than what these checks need at once
# The small chips of RDNA 2 and 3 mostly run the code of their largest sibling (pytorch #164346):
# by the chips' common beginning, that sibling and the HSA_OVERRIDE_GFX_VERSION that names it.
OVERRIDES = {"gfx103": ("gfx1030", "10.3.0"), "gfx110": ("gfx1100", "11.0.0")}


@check(CHECKS, "TORCH-IMPORT")
def check_import(job: Job) -> Check:
    """Can torch be imported? A failure has the id of its cause."""
    try:
        job.torch = importlib.import_module("torch")
    except Exception as error:
        return explain_import(error)
    if hasattr(job.torch, "set_float32_matmul_precision"):
        job.torch.set_float32_matmul_precision("highest")  # no TF32, whatever the environment says
    return Check("pass", f"torch {job.torch.__version__}")


def devices_of(job: Job, what: str) -> list[str]:
    """An attribute of each GPU that torch sees; [] if torch cannot tell, as DEV-OPEN then says."""
    with suppress(Exception):
        cuda = job.torch.cuda
        every = [cuda.get_device_properties(index) for index in range(cuda.device_count())]
        if what == "capability":
            return [f"{one.major}.{one.minor}" for one in every]
        return [str(getattr(one, what)) for one in every]
    return []


@check(CHECKS, "CUDA-ARCH")
def check_cuda_code(job: Job) -> Check | None:
    """Has the installed torch code for each visible NVIDIA GPU?"""
    capabilities = devices_of(job, "capability")
    compiled: dict[str, list[str]] = {"sm": [], "compute": []}
    for text in job.torch.cuda.get_arch_list() if capabilities else []:
        if parts := re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", text):
            compiled[parts[1]].append(f"{parts[2]}.{parts[3]}")
    if not compiled["sm"]:
        return None
    wheels = {
        "gpu_architectures": compiled["sm"],
        "ptx": min(compiled["compute"], default="", key=float),
    }
    for index, capability in enumerate(capabilities):
        if not runs_on(wheels, {"capability": capability}):
            problem = f"cuda:{index} has compute capability {capability}, but the installed torch "
            problem += f"is compiled for {', '.join(compiled['sm'])}."
            remedy = f"{job.way_out}."
            if capability in OF_JETSONS:
                remedy = advise("jetson-wheels").do
            return Check("fail", problem, remedy, {"compiled": compiled})
    return Check("pass", f"the installed torch is compiled for {', '.join(compiled['sm'])}")


@check(CHECKS, "ROCM-ARCH")
def check_rocm_code(job: Job) -> Check | None:
    """Has the installed torch code for each visible AMD GPU?"""
    chips = devices_of(job, "gcnArchName")
    compiled = job.torch.cuda.get_arch_list() if chips else []
    if not compiled:
        return None
    for index, chip in enumerate(chips):
        name = chip.partition(":")[0]  # gfx90a:sramecc+:xnack-
        if name in compiled:
            continue
        problem = f"cuda:{index} is a {name}, but the installed torch is compiled for "
        problem += f"{', '.join(compiled)}."
        sibling, version = OVERRIDES.get(name[:6], ("", ""))
        if sibling in compiled:
            remedy = f"Type `export HSA_OVERRIDE_GFX_VERSION={version}`, with which it may work."
        else:
            remedy = f"See whether another ROCm build names it; else {job.way_out}."
        return Check("fail", problem, remedy, {"compiled": compiled})
    return Check("pass", f"the installed torch is compiled for {', '.join(sorted(set(chips)))}")


@check(CHECKS, "XPU-INIT")
def check_xpu(job: Job) -> Check:
    """Does Intel's driver start, and show a GPU?"""
    said = "torch finds no XPU device"
    try:
        if count := job.torch.xpu.device_count():
            names = [job.torch.xpu.get_device_name(index) for index in range(count)]
            return Check("pass", ", ".join(names))
    except Exception as error:
        said = f"Intel's driver does not start; torch says {one_line(error)}"
    else:
        if job.fallback:  # for which there must be no render node either
            return Check("skip", f"{said}. The CPU will do.")
    nodes = [str(path) for path in Path("/dev/dri").glob("renderD*")]
    status, remedy = "warn" if job.fallback else "fail", LEVEL_ZERO
    if nodes and not any(os.access(node, os.R_OK | os.W_OK) for node in nodes):
        said += f", and you may not open {nodes[0]}"
        remedy = advise("intel-refused").do
    so = ", so the CPU is tested" if job.fallback else ""
    return Check(status, f"{said}{so}.", remedy)


def translated() -> bool:
    """Whether Rosetta runs this: a Python for Intel's processors on one of Apple's."""
    value, size = ctypes.c_int(), ctypes.c_size_t(4)
    with suppress(OSError, AttributeError):  # neither on other systems nor on Intel's
        system = ctypes.CDLL(None)
        name = b"sysctl.proc_translated"
        system.sysctlbyname(name, ctypes.byref(value), ctypes.byref(size), None, 0)
    return platform.machine() == "x86_64" and value.value == 1


@check(CHECKS, "MPS")
def check_mps(job: Job) -> Check:
    """Does macOS let torch use Apple's GPU?"""
    backend, status = job.torch.backends.mps, "warn" if job.fallback else "fail"
    so = ", so the CPU is tested" if job.fallback else ""
    if backend.is_available():
        return Check("pass", "macOS offers torch the GPU")
    if translated():
        problem = "This Python is for Intel's processors, and Rosetta translates it"
        remedy = f"Install a Python for arm64. {RECREATE}"
        return Check(status, f"{problem}{so}.", remedy)
    if not backend.is_built():
        return Check(status, f"The installed torch is built without MPS{so}.", repair())
    problem = f"torch is built for MPS, but macOS {platform.mac_ver()[0]} offers no GPU to it{so}."
    return Check(status, problem, NEWER_MACOS)


@check(CHECKS, "DEV-OPEN")
def check_open(job: Job) -> Check:
    """Run a kernel on every visible device, and read its result back."""
    torch, kind = job.torch, "cuda" if job.accelerator == "rocm" else job.accelerator
    backend = getattr(torch, "accelerator", None) or getattr(torch, kind)
    count = 0 if kind == "cpu" else backend.device_count()
    if job.fallback and not count:
        kind = "cpu"
    job.devices = ["cpu"] if kind == "cpu" else [f"{kind}:{i}" for i in range(count or 1)]
    names = []
    for device in job.devices:
        try:
            total = float((torch.zeros(1000, device=device) + 1).sum())
            names.append(getattr(getattr(torch, kind), "get_device_name", str)(device))
        except Exception as error:
            return explain_open(job, device, error)
        if total != 1000:
            return Check("fail", f"{device} counts a thousand ones as {total}.", FAULTY)
    return Check("pass", ", ".join(names), data={"kind": kind, "devices": names})


def explain_open(job: Job, device: str, error: Exception) -> Check:
    """Why a device cannot be used: what torch says has a code, or it is looked up by the device."""
    problem = f"{device} cannot be used; torch says {one_line(error)}."
    if device == "cpu" or job.accelerator in OPEN_REMEDIES:
        return Check("fail", problem, OPEN_REMEDIES.get(job.accelerator, RECREATE))
    if job.accelerator == "rocm":
        return explain_amd(problem)
    number = cuda_code(str(error)) if job.accelerator == "cuda" else None
    if number is None:
        return Check("fail", problem, advise("cuda-does-not-open").do)
    words: dict[str, Any] = {"call": "CUDA", "number": number, "name": code("cuda", number).name}
    known = code("context", number).cause or code("cuda", number).cause
    if known == "no-code" and on_jetson(job, device):
        known = "jetson-wheels"
    found = advise(known or "unknown-code", **{**UNASKED, **words, "way_out": job.way_out})
    return Check("fail", f"{problem} {found.says}".strip(), found.do, {"cuda": number})


def closed_to_this_user() -> bool:
    """Whether AMD's devices are there, and one kind of them may not be opened."""
    nodes = [[Path("/dev/kfd")], list(Path("/dev/dri").glob("renderD*"))]
    there = [[node for node in kind if node.exists()] for kind in nodes]
    return any(
        kind and not any(os.access(node, os.R_OK | os.W_OK) for node in kind) for kind in there
    )


def explain_amd(problem: str) -> Check:
    """The same for AMD's GPUs, of which torch sees none where this user may not open them."""
    found = find_cause(problem, "amd")
    cause = found.cause if found else "amd-does-not-open"
    if cause in ("amd-none", "amd-does-not-open") and closed_to_this_user():
        cause = "amd-refused"
    told = advise(cause)
    return Check("fail", f"{problem} {told.says}".strip(), told.do, {"cause": cause})


def on_jetson(job: Job, device: str) -> bool:
    """Whether a GPU is one of a Jetson, which runs no code of builds for other machines."""
    every = devices_of(job, "capability")
    index = int(device.partition(":")[2] or 0)
    return here().is_a("jetson") or (index < len(every) and every[index] in OF_JETSONS)


@check(CHECKS, "DEV-MEM")
def check_memory(job: Job) -> Check | None:
    """Is there free memory on every visible device?"""
    kind = job.devices[0].partition(":")[0]
    try:
        ask = getattr(job.torch, kind).mem_get_info
        memory = {device: ask(device) for device in job.devices}
    except Exception:
        return None  # not every kind of device tells, nor every Intel GPU
    for device, (free, total) in memory.items():
        if free < FREE:
            problem = f"{device} has {free / 2**30:.1f} of its {total / 2**30:.1f} GiB free."
            seen = "`nvidia-smi`" if job.accelerator == "cuda" else "the driver's own tool"
            remedy = f"End what fills it: {seen} lists it."
            return Check("warn", problem, remedy, {"free": free, "total": total})
    least = min(free for free, _ in memory.values())
    return Check("pass", f"{least / 2**30:.1f} GiB free" + " at least" * (len(memory) > 1))
