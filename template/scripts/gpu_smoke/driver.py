"""The NVIDIA driver's own words: its return codes are the causes that torch's messages hide."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path
from typing import Any

from .child import run_child
from .words import WINDOWS


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
        "container": Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
        "wsl": Path("/dev/dxg").exists(),
        "ended": ended,
        **(rows[0] if rows else {}),
    }


def ask_driver() -> dict[str, Any]:
    """Ask libcuda and NVML: their return codes are the causes that torch's messages hide."""
    facts: dict[str, Any] = {}
    number, device, text = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(100)
    with suppress(OSError):  # no such library
        cuda = ctypes.CDLL("nvcuda.dll" if WINDOWS else "libcuda.so.1")
        cuda.cuDriverGetVersion(ctypes.byref(number))
        facts["cuda"], facts["gpus"] = number.value, []
        facts["init"] = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(number))
        for ordinal in range(0 if facts["init"] else number.value):
            cuda.cuDeviceGet(ctypes.byref(device), ordinal)
            capability = []
            for attribute in (75, 76):  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
                cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
                capability.append(str(number.value))
            cuda.cuDeviceGetName(text, 100, device)
            facts["gpus"] += [{"name": text.value.decode(), "capability": ".".join(capability)}]
    with suppress(OSError):
        nvml = ctypes.CDLL("nvml.dll" if WINDOWS else "libnvidia-ml.so.1")
        if not nvml.nvmlInit_v2():
            nvml.nvmlDeviceGetCount_v2(ctypes.byref(number))
            nvml.nvmlSystemGetDriverVersion(text, 100)
            facts["nvml_count"], facts["driver_version"] = number.value, text.value.decode()
    return facts
