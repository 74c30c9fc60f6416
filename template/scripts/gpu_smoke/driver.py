"""What the machine shows of its GPUs, and what the NVIDIA driver says itself."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from .child import run_child
from .words import WINDOWS, in_container

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
        "container": in_container(),
        "wsl": Path("/dev/dxg").exists(),
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
        "container": in_container(),
        "wsl": Path("/dev/dxg").exists(),
    }
