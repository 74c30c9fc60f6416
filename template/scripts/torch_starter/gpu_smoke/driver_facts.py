"""What this machine, its kernel and its drivers tell of GPUs, without torch: facts, no verdict."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import sys
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

from surroundings.linux import text_of

from . import cards as on_the_bus
from .check import run_child
from .machine import VISIBLE, WINDOWS

# Of cuda.h: COMPUTE_CAPABILITY_MAJOR and _MINOR, MULTIPROCESSOR_COUNT, CLOCK_RATE (kHz),
# MEMORY_CLOCK_RATE (kHz), GLOBAL_MEMORY_BUS_WIDTH (bits).
ATTRIBUTES = (75, 76, 16, 13, 36, 37)
# Products of float16 or bfloat16 that the tensor cores of a multiprocessor add up in float32, in
# one clock, by compute capability. 8.0, 9.0, 10.0: torch/cuda/_device_limits.py. 7.0: V100's data
# sheet (125 TFLOP/s of 80 at 1.53 GHz). The others: NVIDIA's white papers on GA102, Ada and RTX
# Blackwell for GeForce (71 of 82 at 1.695 GHz, 165 of 128 at 2.52, 209 of 170 at 2.41);
# professional cards reach twice that. Not 7.5: some of those GPUs have no tensor cores.
PRODUCTS = {"7.0": 512, "8.0": 1024, "8.6": 256, "8.9": 256, "9.0": 2048, "10.0": 4096, "12.0": 256}
GPU_IS_LOST = 15  # nvmlReturn_t
NO_FILES = "NoDevFiles"  # as Slurm says it in CUDA_VISIBLE_DEVICES
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
    devices = list(Path("/sys/bus/pci/devices").glob("*"))
    cards = [
        device
        for device in devices
        if first_line(device / "vendor") == "0x10de"
        and first_line(device / "class").startswith("0x03")  # a display controller
    ]
    rows, ended = run_child("driver", {}, limit)
    return {
        "card": bool(cards),
        "bus": bool(devices),  # whether the kernel says what is on it
        "cards": [
            (int(first_line(card / "device") or "0", 16), link(card / "driver")) for card in cards
        ],
        "module": first_line(Path("/proc/driver/nvidia/version")),
        "secure_boot": secure_boot(),
        "amd": os.access("/dev/kfd", os.R_OK | os.W_OK),
        "ended": ended,
        **(rows[0] if rows else {}),
    }


def first_line(file: Path) -> str:
    """The first line of a file of the kernel's; "" if it is not there."""
    return text_of(file).partition("\n")[0].strip()


def link(path: Path) -> str:
    """The name of what a link leads to; "" if there is none."""
    try:
        return path.readlink().name
    except OSError:
        return ""


def secure_boot() -> bool:
    """Whether the firmware starts only what is signed, and so the kernel loads only that."""
    for file in Path("/sys/firmware/efi/efivars").glob("SecureBoot-*"):
        with suppress(OSError):  # four bytes of attributes, then the value
            return file.read_bytes()[4:5] == b"\1"
    return False


def ask_driver() -> dict[str, Any]:
    """Ask libcuda and NVML: their return codes are the causes that torch's messages hide."""
    facts: dict[str, Any] = {}
    for ask in (ask_cuda, ask_nvml):
        with suppress(OSError, AttributeError):  # no such library, or not all of it
            ask(facts)
    if not facts.get("gpus") and sys.platform == "linux":
        facts["nodes"] = device_files()
    return facts


class Found(ctypes.Structure):
    """dlfcn.h: Dl_info."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def origin(library: ctypes.CDLL, function: str) -> str:
    """The file that a library was loaded from, or "" where the system does not tell."""
    if sys.platform == "win32":
        name = ctypes.create_unicode_buffer(1000)
        ctypes.WinDLL("kernel32").GetModuleFileNameW(
            ctypes.c_void_p(library._handle), name, len(name)
        )
        return name.value
    found = Found()
    address = ctypes.cast(getattr(library, function), ctypes.c_void_p)
    if not ctypes.CDLL(None).dladdr(address, ctypes.byref(found)) or not found.file:
        return ""
    return os.fsdecode(found.file)


def device_files() -> dict[str, str]:
    """The device files of NVIDIA's driver, each with the error of opening it, or with none.

    Whether a container's or a job's control group allows it is told only by trying.
    """
    found = {}
    for pattern in ("nvidiactl", "nvidia-uvm", "nvidia[0-9]*"):
        for path in sorted(Path("/dev").glob(pattern)):
            found[str(path)] = ""
            try:
                os.close(os.open(path, os.O_RDWR))
            except OSError as error:
                found[str(path)] = errno.errorcode.get(error.errno or 0, str(error.errno))
    return found


def ask_cuda(facts: dict[str, Any]) -> None:
    """What libcuda knows: GPUs are in the order in which torch sees them."""
    cuda = ctypes.CDLL("nvcuda.dll" if WINDOWS else "libcuda.so.1")
    number, device, text = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(100)
    facts["libcuda"] = origin(cuda, "cuInit")
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
    facts["libnvml"] = origin(nvml, "nvmlInit_v2")
    facts["nvml"] = nvml.nvmlInit_v2()
    if facts["nvml"]:
        return
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(number))
    nvml.nvmlSystemGetDriverVersion(text, 100)
    facts["nvml_count"], facts["driver_version"] = number.value, text.value.decode()
    facts["uuids"], facts["mig"], facts["lost"], facts["modes"] = [], 0, 0, []
    facts["instances"] = 0
    facts["not_ready"] = confidential_and_not_ready(nvml)
    for index in range(number.value):
        error = nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
        facts["lost"] += error == GPU_IS_LOST
        if not error:
            facts["mig"] += mig_is_on(nvml, handle)
            facts["instances"] += instances_of(nvml, handle)
            facts["modes"].append(value_of(nvml, "nvmlDeviceGetComputeMode", handle))
            if not nvml.nvmlDeviceGetUUID(handle, text, 100):
                facts["uuids"].append(text.value.decode())
    for peak, bus in zip(facts.get("peaks", []), facts.get("buses", []), strict=False):
        if not nvml.nvmlDeviceGetHandleByPciBusId_v2(bus.encode(), ctypes.byref(handle)):
            lanes, generation = ctypes.c_uint(), ctypes.c_uint()
            unknown = nvml.nvmlDeviceGetMaxPcieLinkWidth(handle, ctypes.byref(lanes))
            unknown |= nvml.nvmlDeviceGetMaxPcieLinkGeneration(handle, ctypes.byref(generation))
            speed = LANES.get(generation.value, 0) * lanes.value
            peak |= {"host": speed} if speed and not unknown else {}


def value_of(nvml: ctypes.CDLL, function: str, *arguments: ctypes.c_void_p) -> int:
    """What a function of NVML writes into its last argument; 0 if it cannot."""
    value = ctypes.c_uint()
    if not hasattr(nvml, function):  # an older driver
        return 0
    error = getattr(nvml, function)(*arguments, ctypes.byref(value))
    return 0 if error else value.value


def confidential_and_not_ready(nvml: ctypes.CDLL) -> bool:
    """Whether confidential computing is on, and the GPU is not yet allowed to work."""
    state, ready = (ctypes.c_uint * 3)(), ctypes.c_uint(1)
    try:
        if nvml.nvmlSystemGetConfComputeState(state) or not state[1]:  # environment, feature
            return False
        error = nvml.nvmlSystemGetConfComputeGpusReadyState(ctypes.byref(ready))
    except AttributeError:  # an older driver
        return False
    return not error and not ready.value


def mig_is_on(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> bool:
    """Whether a GPU is split into instances; most GPUs cannot be, and return an error."""
    mode, pending = ctypes.c_uint(), ctypes.c_uint()
    if not hasattr(nvml, "nvmlDeviceGetMigMode"):
        return False  # a driver from before MIG
    error = nvml.nvmlDeviceGetMigMode(handle, ctypes.byref(mode), ctypes.byref(pending))
    return not error and mode.value == 1


def instances_of(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> int:
    """How many instances a GPU has that MIG splits; 0 for any other, or if that is not told."""
    if not mig_is_on(nvml, handle) or not hasattr(nvml, "nvmlDeviceGetMigDeviceHandleByIndex"):
        return 0
    most = value_of(nvml, "nvmlDeviceGetMaxMigDeviceCount", handle)
    instance = ctypes.c_void_p()
    ask = nvml.nvmlDeviceGetMigDeviceHandleByIndex
    return sum(not ask(handle, index, ctypes.byref(instance)) for index in range(most))


def amd_facts() -> dict[str, Any]:
    """What this machine shows of AMD."""
    kfd = Path("/dev/kfd")
    return {
        "kfd": kfd.exists(),
        "kfd_usable": os.access(kfd, os.R_OK | os.W_OK),
        "render": any(Path("/dev/dri").glob("renderD*")),
    }


def two_versions(facts: dict[str, Any]) -> bool:
    """Whether libcuda is of another driver than NVML, or than the kernel's module."""
    mine, others = version_of(facts, "libcuda"), version_of(facts, "libnvml")
    return bool(mine and others and mine != others)


def version_of(facts: dict[str, Any], library: str) -> str:
    """The version of the driver that a library is of, by the name of its file."""
    name = PurePath(os.path.realpath(facts.get(library) or "/")).name
    found = re.search(r"\.so\.(\d+\.[\d.]+)$", name)
    return found[1] if found else ""


def running_driver(facts: dict[str, Any]) -> str:
    """The version of the driver that runs, by NVML, the kernel's module, or a library's name."""
    module = re.search(r"\b(\d{3,}\.\d[\d.]*)", facts.get("module", ""))
    of_module = module[1] if module else ""
    of_library = version_of(facts, "libnvml") or version_of(facts, "libcuda")
    return facts.get("driver_version") or of_module or of_library


def wrong_entry(facts: dict[str, Any]) -> str:
    """What CUDA_VISIBLE_DEVICES names that NVML does not know; "" if all is there, or if unsure."""
    for entry in filter(None, map(str.strip, os.environ.get(VISIBLE, "").split(","))):
        unsure = len(facts.get("uuids", [])) != (facts.get("nvml_count") or -1)
        if unsure or entry.startswith(("-", "MIG-", NO_FILES)):
            return ""  # a negative number ends the list
        if entry.startswith("GPU-"):
            known = any(one.startswith(entry) for one in facts["uuids"])
        else:
            known = entry.isdecimal() and int(entry) < facts["nvml_count"]
        if not known:
            return entry
    return ""


def in_compat(facts: dict[str, Any]) -> bool:
    """Whether libcuda is CUDA's own, for GPUs of data centers, that goes with an older driver."""
    found = facts.get("libcuda", "")
    return any(map(on_the_bus.in_compat, (found, os.path.realpath(found))))
