"""Checks without torch: drivers and their GPUs."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from surroundings.knowledge import code
from surroundings.place import here

from .check import Check, CheckFunction, because, check, run_child
from .machine import UNSET, VISIBLE, WINDOWS, Machine, advise, numbers, runs_on

# Of cuda.h: COMPUTE_CAPABILITY_MAJOR and _MINOR, MULTIPROCESSOR_COUNT, CLOCK_RATE (kHz),
# MEMORY_CLOCK_RATE (kHz), GLOBAL_MEMORY_BUS_WIDTH (bits).
ATTRIBUTES = (75, 76, 16, 13, 36, 37)
# Products of float16 or bfloat16 that the tensor cores of a multiprocessor add up in float32, in
# one clock, by compute capability. 8.0, 9.0, 10.0: torch/cuda/_device_limits.py. 7.0: V100's data
# sheet (125 TFLOP/s of 80 at 1.53 GHz). The others: NVIDIA's white papers on GA102, Ada and RTX
# Blackwell for GeForce (71 of 82 at 1.695 GHz, 165 of 128 at 2.52, 209 of 170 at 2.41);
# professional cards reach twice that. Not 7.5: some of those GPUs have no tensor cores.
PRODUCTS = {"7.0": 512, "8.0": 1024, "8.6": 256, "8.9": 256, "9.0": 2048, "10.0": 4096, "12.0": 256}
# GB/s of a lane of PCI Express each way, by generation: GT/s less the encoding, as PCI-SIG says.
LANES = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563}


def peak_of(
    capability: str, processors: int, clock: int, memory_clock: int, bus: int
) -> dict[str, float]:
    """What a GPU is made for, where that is known: TFLOP/s in half precision, GB/s of its memory.

    Clocks in kHz, the memory bus in bits; its memory moves data twice a clock.
    """
    tflops = 2 * PRODUCTS.get(capability, 0) * processors * clock / 1e9
    bandwidth = 2 * bus / 8 * memory_clock / 1e6
    return {name: peak for name, peak in (("tflops", tflops), ("gb_s", bandwidth)) if peak}


def nvidia_facts(limit: float) -> dict[str, Any]:
    """What this machine shows of NVIDIA. A child asks the driver, since that too can hang."""
    cards = [
        (device / "class").read_text().startswith("0x03")  # a display controller
        for device in Path("/sys/bus/pci/devices").glob("*")
        if (device / "vendor").read_text().strip() == "0x10de"
    ]
    rows, ended = run_child("driver", {}, limit)
    return {
        "card": any(cards),
        "amd": os.access("/dev/kfd", os.R_OK | os.W_OK),
        "ended": ended,
        **(rows[0] if rows else {}),
    }


def ask_driver() -> dict[str, Any]:
    """Ask libcuda and NVML: their return codes are the causes that torch's messages hide."""
    facts: dict[str, Any] = {}
    for ask in (ask_cuda, ask_nvml):
        with suppress(OSError, AttributeError):  # no such library, or not all of it
            ask(facts)
    return facts


def ask_cuda(facts: dict[str, Any]) -> None:
    """What libcuda knows: GPUs are in the order in which torch sees them."""
    cuda = ctypes.CDLL("nvcuda.dll" if WINDOWS else "libcuda.so.1")
    number, device, text = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(100)
    cuda.cuDriverGetVersion(ctypes.byref(number))
    facts["cuda"], facts["gpus"], facts["peaks"], facts["buses"] = number.value, [], [], []
    facts["init"] = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(number))
    for ordinal in range(0 if facts["init"] else number.value):
        cuda.cuDeviceGet(ctypes.byref(device), ordinal)
        values = []
        for attribute in ATTRIBUTES:
            unknown = cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
            values.append(0 if unknown else number.value)
        capability = f"{values[0]}.{values[1]}"
        cuda.cuDeviceGetName(text, 100, device)
        facts["gpus"] += [{"name": text.value.decode(), "capability": capability}]
        facts["peaks"] += [peak_of(capability, *values[2:])]
        cuda.cuDeviceGetPCIBusId(text, 100, device)
        facts["buses"] += [text.value.decode()]


def ask_nvml(facts: dict[str, Any]) -> None:
    """What NVML knows: GPUs are those of the machine, whatever CUDA_VISIBLE_DEVICES says."""
    nvml = ctypes.CDLL("nvml.dll" if WINDOWS else "libnvidia-ml.so.1")
    number, handle = ctypes.c_int(), ctypes.c_void_p()
    text = ctypes.create_string_buffer(100)
    facts["nvml"] = nvml.nvmlInit_v2()
    if facts["nvml"]:
        return
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(number))
    nvml.nvmlSystemGetDriverVersion(text, 100)
    facts["nvml_count"], facts["driver_version"] = number.value, text.value.decode()
    facts["uuids"], facts["mig"] = [], 0
    for index in range(number.value):
        if not nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)):
            facts["mig"] += mig_is_on(nvml, handle)
            if not nvml.nvmlDeviceGetUUID(handle, text, 100):
                facts["uuids"].append(text.value.decode())
    for peak, bus in zip(facts.get("peaks", []), facts.get("buses", []), strict=False):
        if not nvml.nvmlDeviceGetHandleByPciBusId_v2(bus.encode(), ctypes.byref(handle)):
            lanes, generation = ctypes.c_uint(), ctypes.c_uint()
            unknown = nvml.nvmlDeviceGetMaxPcieLinkWidth(handle, ctypes.byref(lanes))
            unknown |= nvml.nvmlDeviceGetMaxPcieLinkGeneration(handle, ctypes.byref(generation))
            speed = LANES.get(generation.value, 0) * lanes.value
            peak |= {"host": speed} if speed and not unknown else {}


def mig_is_on(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> bool:
    """Whether a GPU is split into instances; most GPUs cannot be, and return an error."""
    mode, pending = ctypes.c_uint(), ctypes.c_uint()
    if not hasattr(nvml, "nvmlDeviceGetMigMode"):
        return False  # a driver from before MIG
    error = nvml.nvmlDeviceGetMigMode(handle, ctypes.byref(mode), ctypes.byref(pending))
    return not error and mode.value == 1


def amd_facts() -> dict[str, Any]:
    """What this machine shows of AMD."""
    kfd = Path("/dev/kfd")
    return {
        "kfd": kfd.exists(),
        "kfd_usable": os.access(kfd, os.R_OK | os.W_OK),
        "render": any(Path("/dev/dri").glob("renderD*")),
    }


# --- The checks

CHECKS: dict[str, CheckFunction] = {}


def no_device(machine: Machine, problem: str, remedy: str) -> Check:
    """There is no device: nothing is wrong where the CPU will do, as on most machines of a CI."""
    if not machine.fallback():
        return Check("fail", problem, remedy)
    if not machine.optional():
        return Check("skip", f"{problem} The CPU will do.")
    problem = f"{problem[:-1]}: PyPI's wheels compute on the CPU."
    if option := machine.other_gpu():
        remedy = f"{option[0].upper()}{option[1:]}."
    else:
        remedy = f"If this machine has an NVIDIA GPU: {remedy}"
    return Check("warn", problem, f"{remedy} `--device cuda` insists on an NVIDIA GPU.")


def no_gpu(machine: Machine, cause: str, certain: bool = False) -> Check:
    """The same, by its cause. `certain`: there is a GPU, so no word of having none."""
    _, problem, remedy = advise(cause, **machine.words())
    if not certain and not machine.optional():
        remedy += f" Without a GPU, {machine.without_gpu()}."
    return no_device(machine, problem, remedy)


@check(CHECKS, "DRV-LIBCUDA")
def check_libcuda(machine: Machine) -> Check | None:
    """Is there an NVIDIA driver that answers? If not, why?"""
    facts = machine.driver
    if machine.accelerator != "cuda":
        return None
    if facts["ended"]:
        return because("driver-does-not-answer", {"ended": facts["ended"]}, **machine.words())
    if "init" in facts:
        return Check("pass", f"NVIDIA driver {facts.get('driver_version', '')}".strip())
    if machine.half_a_driver():
        return no_gpu(machine, "half-a-driver", certain=True)
    outside = here().is_a("container") or here().is_a("wsl")
    certain = facts["card"] and not outside
    return no_gpu(machine, "card-without-driver" if certain else "no-driver", certain)


@check(CHECKS, "DRV-OLD")
def check_driver_version(machine: Machine) -> Check | None:
    """Does the driver know the CUDA major version of the project's torch?"""
    toolkit, cuda = machine.wheels.get("toolkit") or "", machine.driver.get("cuda")
    if machine.accelerator != "cuda" or not toolkit or cuda is None:
        return None
    supports = f"CUDA {cuda // 1000}.{cuda % 1000 // 10}"
    if cuda // 1000 >= numbers(toolkit)[0]:
        return Check("pass", f"the driver supports {supports}, this torch needs {toolkit}")
    if machine.fallback() and machine.driver["init"] in (0, 100):
        return Check("skip", f"the driver supports {supports}, and there is no GPU to need more")
    problem = f"The NVIDIA driver supports {supports}, but this torch needs CUDA {toolkit}."
    remedy = f"Update the NVIDIA driver to {machine.wheels['minimum_driver']} or newer"
    driver = machine.driver.get("driver_version", "")
    other = driver and machine.cuda_build(driver)
    remedy += f", or {machine.move_to(other)}" if other else ""
    return Check("fail", problem, f"{remedy}{machine.until_then()}.")


def nvml_error(machine: Machine) -> str:
    """The cause that nvmlInit's code is a sure sign of. 999 is one only in a container."""
    if machine.optional() and machine.fallback():
        return ""  # there is no GPU to be wrong
    if machine.driver.get("nvml") == 999 and here().is_a("container"):
        return "lost-in-container"
    return code("nvml", machine.driver.get("nvml", 0)).cause


@check(CHECKS, "DRV-NOTLOADED")
def check_nvml(machine: Machine) -> Check | None:
    """Does the driver's library reach its kernel module? A failure has the id of its cause."""
    cause = nvml_error(machine)
    if machine.accelerator != "cuda" or "init" not in machine.driver or not cause:
        return None
    harmless = machine.driver["gpus"] or machine.fallback()
    found = because(cause, {"nvmlInit": machine.driver["nvml"]}, **machine.words())
    found.status = "warn" if harmless else "fail"
    return found


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
    if os.environ.get(VISIBLE, "").startswith("MIG-") or here().is_a("container"):
        return Check("pass", "an instance of a GPU that MIG splits")
    problem = f"MIG splits {facts['mig']} GPU(s) of this machine; CUDA takes the first instance."
    return Check("warn", problem, remedy, {"mig": facts["mig"]})


def wrong_entry(facts: dict[str, Any]) -> str:
    """What CUDA_VISIBLE_DEVICES names that NVML does not know; "" if all is there, or if unsure."""
    for entry in filter(None, map(str.strip, os.environ.get(VISIBLE, "").split(","))):
        unsure = len(facts.get("uuids", [])) != (facts.get("nvml_count") or -1)
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
    number, known = facts["init"] or 100, facts.get("nvml_count")
    if number != 100:
        name, _, cause = code("cuda", number)
        words: dict[str, Any] = {"call": "cuInit", "number": number, "name": name}
        words |= machine.words()
        return because(cause or "unknown-code", {"cuInit": number}, **words)
    if known and VISIBLE in os.environ:
        problem = (
            f"{VISIBLE}={os.environ[VISIBLE]!r} hides the {known} NVIDIA GPU(s) of this machine."
        )
        return Check("fail", problem, f"Type `{UNSET}`, or test with `--device cpu`.")
    if known:
        problem = f"CUDA may use none of the {known} NVIDIA GPU(s) of this machine."
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
    all_lost = len(lost) == len(gpus)
    remedy = machine.to_use_it() if all_lost else f"{hide} {machine.way_out()}"
    also = machine.until_then() if machine.cuda_build() else ""
    return Check("fail", problem, f"{remedy}{also}.")


@check(CHECKS, "ROCM-KFD")
def check_kfd(machine: Machine) -> Check | None:
    """May this user open AMD's devices?"""
    facts = machine.driver
    if machine.accelerator != "rocm" or here().is_a("wsl"):
        return None
    if facts["kfd_usable"] and facts["render"]:
        return Check("pass", "/dev/kfd can be opened")
    group = "Type `sudo usermod -aG render,video $USER` and log in again"
    devices = "`--device /dev/kfd --device /dev/dri`"
    if here().is_a("container"):
        problem = "This container has no right to use an AMD GPU."
        remedy = f"Start it with {devices}, and `--group-add` the number of the host's group render"
    elif facts["kfd"] and not facts["kfd_usable"]:
        problem, remedy = "There is an AMD GPU, but you may not open /dev/kfd.", group
    else:
        missing = "render node in /dev/dri" if facts["kfd"] else "/dev/kfd"
        problem = f"There is no {missing}: no AMD GPU, or no driver for it."
        remedy = f"Install AMD's driver amdgpu; without a GPU, {machine.without_gpu()}"
    return no_device(machine, problem, f"{remedy}.")
