"""Checks without torch: environment variables, memory, and paths."""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from .check import Check, CheckFunction, check
from .machine import Machine
from .words import UNSET_COMMAND, in_container

CHECKS: dict[str, CheckFunction] = {}

SHARED_MEMORY = 256 * 2**20  # bytes; containers have 64 MiB unless they are told otherwise
LONGEST_PATH = 259  # what Windows allows by default


def traps(accelerator: str, env: Mapping[str, str]) -> list[tuple[str, str]]:
    """Environment variables that are known to break things: what they do, and the way out."""
    found = []

    def trap(name: str, problem: str) -> None:
        found.append((f"{name}={env[name]!r} {problem}", f"type `{UNSET_COMMAND.format(name)}`"))

    if env.get("KMP_DUPLICATE_LIB_OK", "").lower() in ("1", "true", "yes", "on"):
        trap("KMP_DUPLICATE_LIB_OK", "lets two OpenMP libraries compute wrong numbers")
    if accelerator == "cuda":
        for folder in filter(None, env.get("LD_LIBRARY_PATH", "").split(os.pathsep)):
            # Torch finds its own libraries, but what cuDNN loads later is found here first.
            for library in sorted(Path(folder).glob("libcudnn*.so*"))[:1]:
                problem = f"LD_LIBRARY_PATH offers {library}, but torch brings its own cuDNN"
                found.append((problem, f"take {folder} out of LD_LIBRARY_PATH"))
        for name in ("CUDA_HOME", "CUDA_PATH"):
            if env.get(name) and not Path(env[name]).is_dir():
                trap(name, "is no folder, where extensions are compiled")
    if accelerator in ("cuda", "rocm") and env.get("CUDA_LAUNCH_BLOCKING") == "1":
        trap("CUDA_LAUNCH_BLOCKING", "makes every call wait for the GPU")
    if accelerator == "rocm":
        if env.get("HSA_OVERRIDE_GFX_VERSION"):
            trap("HSA_OVERRIDE_GFX_VERSION", "makes the GPU pass for another one")
        for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
            if env.get(name) in ("", "-1"):
                trap(name, "hides all AMD GPUs")
    return found


@check(CHECKS, "ENV-VARS")
def check_environment(machine: Machine) -> Check:
    """Is an environment variable set that is known to break things?"""
    found = traps(machine.accelerator, os.environ)
    if not found:
        return Check("pass", "no environment variable is in the way")
    problem, way_out = ("; ".join(parts) for parts in zip(*found, strict=True))
    remedy = f"If you did not mean that, {way_out}."
    return Check("warn", f"{problem}.", remedy)


@check(CHECKS, "SYS-SHM")
def check_shared_memory(machine: Machine) -> Check | None:
    """Is there room for the batches of DataLoader workers?"""
    if not sys.platform.startswith("linux") or not Path("/dev/shm").is_dir():
        return None
    room = os.statvfs("/dev/shm")
    free = room.f_bavail * room.f_frsize
    if free >= SHARED_MEMORY:
        return Check("pass", f"{free / 2**30:.1f} GiB of shared memory")
    problem = f"/dev/shm has {free // 2**20} MiB left: DataLoader workers may end in a bus error."
    remedy = "Type `sudo mount -o remount,size=8g /dev/shm`, or use `num_workers=0`."
    if in_container():
        remedy = "Start the container with `--shm-size=8g`, or use `num_workers=0`."
    return Check("warn", problem, remedy)


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
