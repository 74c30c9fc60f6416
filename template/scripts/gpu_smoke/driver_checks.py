"""Checks without torch: drivers and their GPUs."""

from __future__ import annotations

import os
from typing import Any

from .check import Check, CheckFunction, check
from .machine import Machine, numbers, runs_on
from .words import COMPAT, FABRIC, REBOOT, RELOAD, UNSET, VISIBLE

CHECKS: dict[str, CheckFunction] = {}


def no_device(machine: Machine, problem: str, remedy: str) -> Check:
    """There is no device: nothing is wrong where the CPU will do, as on most machines of a CI."""
    if machine.fallback():
        return Check("skip", f"{problem} The CPU will do.")
    return Check("fail", problem, remedy)


@check(CHECKS, "DRV-LIBCUDA")
def check_libcuda(machine: Machine) -> Check | None:
    """Is there an NVIDIA driver that answers? If not, why?"""
    facts, minimum = machine.driver, machine.wheels.get("minimum_driver")
    if machine.accelerator != "cuda":
        return None
    if facts["ended"]:
        problem = f"The NVIDIA driver {facts['ended']} when asked for its GPUs."
        remedy = "Reboot; if that does not help, install the NVIDIA driver again."
        return Check("fail", problem, remedy, {"ended": facts["ended"]})
    if "init" in facts:
        return Check("pass", f"NVIDIA driver {facts.get('driver_version', '')}".strip())
    driver = f"the NVIDIA driver {minimum} or newer" if minimum else "the NVIDIA driver"
    if facts["wsl"]:
        problem = "WSL offers no NVIDIA driver."
        remedy = f"Install {driver} on Windows, not inside WSL, then type `wsl --update` there."
    elif facts["container"]:
        problem = "This container was started without an NVIDIA GPU."
        remedy = f"Start it with `docker run --gpus all`; without a GPU, {machine.without_gpu()}."
    elif facts["card"]:
        problem = "There is an NVIDIA GPU, but no NVIDIA driver."
        remedy = f"Install {driver}, and reboot."
    else:
        problem = "There is no NVIDIA driver, and no sign of an NVIDIA GPU."
        remedy = f"Install {driver}; without a GPU, {machine.without_gpu()}."
    return no_device(machine, problem, remedy)


@check(CHECKS, "DRV-OLD")
def check_driver_version(machine: Machine) -> Check | None:
    """Does the driver know the CUDA major version of the project's torch?"""
    toolkit, cuda = machine.wheels.get("toolkit") or "", machine.driver.get("cuda")
    if machine.accelerator != "cuda" or not toolkit or cuda is None:
        return None
    supports = f"CUDA {cuda // 1000}.{cuda % 1000 // 10}"
    if cuda // 1000 >= numbers(toolkit)[0]:
        return Check("pass", f"the driver supports {supports}, this torch needs {toolkit}")
    problem = f"The NVIDIA driver supports {supports}, but this torch needs CUDA {toolkit}."
    remedy = f"Update the NVIDIA driver to {machine.wheels['minimum_driver']} or newer"
    driver = machine.driver.get("driver_version", "")
    other = driver and machine.cuda_build(driver)
    return Check("fail", problem, remedy + (f", or {machine.move_to(other)}." if other else "."))


CUDA_ERRORS = {  # what cuInit returned: id, message, remedy
    46: ("CUDA-BUSY", "Another process holds the GPU.", "End it: `nvidia-smi` lists it."),
    101: ("CUDA-VISIBLE", f"{VISIBLE} names a GPU that is not there.", f"Type `{UNSET}`."),
    802: ("CUDA-FABRIC", "The fabric between the GPUs is not up.", FABRIC),
    803: ("CUDA-MISMATCH", "The NVIDIA driver does not match its running kernel module.", REBOOT),
    804: ("CUDA-COMPAT", "This GPU cannot use CUDA's compat driver.", COMPAT),
    999: ("CUDA-UNKNOWN", "The NVIDIA driver cannot start CUDA, as after a suspend.", RELOAD),
}


LOAD = "Type `sudo modprobe nvidia`; if it refuses, install the driver again for this kernel, or "
LOAD += "sign the module for Secure Boot."
NVML_ERRORS = {  # what nvmlInit returned: id, message, remedy
    9: (
        "DRV-NOTLOADED",
        "The NVIDIA driver is installed, but its kernel module is not loaded.",
        LOAD,
    ),
    18: (
        "DRV-MISMATCH",
        "The NVIDIA driver was updated, but its old kernel module still runs.",
        REBOOT,
    ),
    999: (
        "DRV-CGROUP",
        "This container has lost its right to use the NVIDIA GPU.",
        "Start it again; so that it stays, set `native.cgroupdriver=cgroupfs` for Docker.",
    ),
}


def nvml_error(machine: Machine) -> tuple[str, str, str] | None:
    """What nvmlInit says is wrong, if it is sure. 999 means so only in a container."""
    facts = machine.driver
    if facts.get("nvml") == 9 and facts["container"]:
        problem = "This container was started without an NVIDIA GPU."
        return "DRV-NOTLOADED", problem, "Start it with `docker run --gpus all`."
    if facts.get("nvml") == 999 and not facts["container"]:
        return None
    return NVML_ERRORS.get(facts.get("nvml", 0))


@check(CHECKS, "DRV-NOTLOADED")
def check_nvml(machine: Machine) -> Check | None:
    """Does the driver's library reach its kernel module? A failure has the id of its cause."""
    cause = nvml_error(machine)
    if machine.accelerator != "cuda" or "init" not in machine.driver or not cause:
        return None
    name, problem, remedy = cause
    harmless = machine.driver["gpus"] or machine.fallback()
    data = {"nvmlInit": machine.driver["nvml"]}
    return Check("warn" if harmless else "fail", problem, remedy, data, name)


def hidden() -> bool:
    """Whether the user hides all GPUs."""
    return os.environ.get(VISIBLE) in ("", "-1")


@check(CHECKS, "DRV-MIG")
def check_instances(machine: Machine) -> Check | None:
    """Does CUDA see the instance of a GPU that is split?"""
    facts = machine.driver
    if machine.accelerator != "cuda" or facts.get("init") not in (0, 100) or not facts.get("mig"):
        return None
    if hidden():
        return None  # as CUDA-NODEVICE says
    remedy = f"Set {VISIBLE} to one of the MIG- names of `nvidia-smi -L`."
    if not facts["gpus"]:
        problem = f"MIG splits {facts['mig']} GPU(s) of this machine, but CUDA sees no instance."
        return Check("fail", problem, remedy, {"mig": facts["mig"]})
    if os.environ.get(VISIBLE, "").startswith("MIG-") or facts["container"]:
        return Check("pass", "an instance of a GPU that MIG splits")
    problem = f"MIG splits {facts['mig']} GPU(s) of this machine; CUDA takes the first instance."
    return Check("warn", problem, remedy, {"mig": facts["mig"]})


def wrong_entry(facts: dict[str, Any]) -> str:
    """What CUDA_VISIBLE_DEVICES names that NVML does not know; "" if all is there, or if unsure."""
    for entry in filter(None, map(str.strip, os.environ.get(VISIBLE, "").split(","))):
        unsure = len(facts.get("uuids", [])) != facts.get("nvml_count", -1)
        if unsure or entry.startswith(("-", "MIG-")):
            return ""  # a negative number ends the list
        if entry.startswith("GPU-"):
            known = any(one.startswith(entry) for one in facts["uuids"])
        else:
            known = entry.isdecimal() and int(entry) < facts["nvml_count"]
        if not known:
            return entry
    return ""


@check(CHECKS, "CUDA-VISIBLE")
def check_visible(machine: Machine) -> Check | None:
    """Is every GPU there that CUDA_VISIBLE_DEVICES names? CUDA ignores those after a wrong one."""
    facts = machine.driver
    wrong = wrong_entry(facts) if machine.accelerator == "cuda" else ""
    every = len(facts.get("gpus", [])) == os.environ.get(VISIBLE, "").count(",") + 1
    if not wrong or every or facts.get("init") not in (0, 100, 101):
        return None
    problem = f"{VISIBLE}={os.environ[VISIBLE]!r} names {wrong!r}, but this machine has "
    problem += f"{facts['nvml_count']} NVIDIA GPU(s), the first of which is 0"
    problem += f": CUDA sees {len(facts['gpus'])}." if facts["gpus"] else "."
    remedy = f"Type `{UNSET}`, or take a number or a GPU- name of `nvidia-smi -L`."
    return Check("warn" if facts["gpus"] else "fail", problem, remedy, {"entry": wrong})


@check(CHECKS, "CUDA-NODEVICE")
def check_cuda(machine: Machine) -> Check | None:
    """Does CUDA start and show a GPU? A failure has the id of its cause."""
    facts, gpus = machine.driver, machine.driver.get("gpus", [])
    if machine.accelerator != "cuda" or "init" not in facts:
        return None
    if not gpus and nvml_error(machine):
        return None  # as check_nvml says
    if not gpus and facts["init"] in (0, 100) and facts.get("mig") and not hidden():
        return None  # as check_instances says
    if not gpus and facts["init"] in (0, 100, 101) and wrong_entry(facts):
        return None  # as check_visible says
    if gpus:
        found = [f"{gpu['name']} of compute capability {gpu['capability']}" for gpu in gpus]
        return Check("pass", ", ".join(found), data={"gpus": gpus})
    code, here = facts["init"] or 100, facts.get("nvml_count")
    if code != 100:
        unknown = ("CUDA-UNKNOWN", f"The NVIDIA driver returns {code} from cuInit.", REBOOT)
        name, problem, remedy = CUDA_ERRORS.get(code, unknown)
        return Check("fail", problem, remedy, {"cuInit": code}, name)
    if here and VISIBLE in os.environ:
        problem = (
            f"{VISIBLE}={os.environ[VISIBLE]!r} hides the {here} NVIDIA GPU(s) of this machine."
        )
        return Check("fail", problem, f"Type `{UNSET}`, or test with `--device cpu`.")
    if here:
        problem = f"CUDA may use none of the {here} NVIDIA GPU(s) of this machine."
        remedy = f"With MIG, set {VISIBLE} to a MIG- name of `nvidia-smi -L`; else reboot."
        return Check("fail", problem, remedy)
    problem = "There is an NVIDIA driver, but it finds no GPU."
    remedy = f"Type `nvidia-smi` to see why; without a GPU, {machine.without_gpu()}."
    return no_device(machine, problem, remedy)


@check(CHECKS, "DRV-ARCH")
def check_architectures(machine: Machine) -> Check | None:
    """Does the project's torch have code for every visible GPU?"""
    gpus, wheels = machine.driver.get("gpus", []), machine.wheels
    if machine.accelerator != "cuda" or not gpus or not wheels.get("gpu_architectures"):
        return None
    architectures = ", ".join(wheels["gpu_architectures"])
    lost = [gpu for gpu in gpus if not runs_on(wheels, gpu)]
    if not lost:
        return Check("pass", f"this torch is compiled for {architectures}")
    problem = f"{lost[0]['name']} has compute capability {lost[0]['capability']}, but this torch "
    problem += f"is compiled for {architectures}."
    hide = "Set CUDA_VISIBLE_DEVICES to the other GPUs of `nvidia-smi -L`, or"
    alone = "To use it," if machine.cuda_build() else "No build on offer is, so"
    remedy = hide if len(lost) < len(gpus) else alone
    return Check("fail", problem, f"{remedy} {machine.way_out()}.")


@check(CHECKS, "ROCM-KFD")
def check_kfd(machine: Machine) -> Check | None:
    """May this user open AMD's devices?"""
    facts = machine.driver
    if machine.accelerator != "rocm" or facts["wsl"]:
        return None
    if facts["kfd_usable"] and facts["render"]:
        return Check("pass", "/dev/kfd can be opened")
    group = "Type `sudo usermod -aG render,video $USER` and log in again"
    devices = "`--device /dev/kfd --device /dev/dri`"
    if facts["container"]:
        problem = "This container has no right to use an AMD GPU."
        remedy = f"Start it with {devices}, and `--group-add` the number of the host's group render"
    elif facts["kfd"] and not facts["kfd_usable"]:
        problem, remedy = "There is an AMD GPU, but you may not open /dev/kfd.", group
    else:
        missing = "render node in /dev/dri" if facts["kfd"] else "/dev/kfd"
        problem = f"There is no {missing}: no AMD GPU, or no driver for it."
        remedy = f"Install AMD's driver amdgpu; without a GPU, {machine.without_gpu()}"
    return no_device(machine, problem, f"{remedy}.")
