"""Machines with an NVIDIA driver that are none: trees of files, and an NVML compiled from C."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

PROPRIETARY = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.124.06  Wed Feb 26 01:46:31 UTC 2025\n"
    "GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n"
)
OPEN = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build"
    "  (dvs-builder@U22-I3-AE18-23-3)  Tue Sep 23 10:11:16 UTC 2025\n"
    "GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)\n"
)
TWO_3090 = "86 NVIDIA GeForce RTX 3090|86 NVIDIA GeForce RTX 3090"
WSL_LIBRARY = "usr/lib/wsl/lib/libnvidia-ml.so.1"


def write(path: Path, content: str | bytes = b"") -> Path:
    """Write a file and the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("ascii"))
    return path


def gpu_file(bus: int) -> str:
    """The file about a GPU. Linux has ':' in the name of its folder, which Windows has not."""
    colon = "_" if sys.platform == "win32" else ":"
    return f"proc/driver/nvidia/gpus/0000{colon}{bus:02x}{colon}00.0/information"


def linux(root: Path, version: str | bytes = PROPRIETARY, models: Sequence[str] = ()) -> Path:
    """The files of a Linux with NVIDIA's driver."""
    write(root / "proc/driver/nvidia/version", version)
    for bus, model in enumerate(models, start=1):
        text = f"Model: \t\t {model}\nIRQ:   \t\t 182\nGPU UUID: \t GPU-5a1\nBus Type: \t PCIe\n"
        write(root / gpu_file(bus), text)
    write(root / "dev/nvidiactl")
    return root


def wsl(root: Path, library: Path) -> Path:
    """The files of a Linux in Windows that shares its GPUs."""
    write(root / "dev/dxg")
    write(root / WSL_LIBRARY, library.read_bytes())
    return root


def fake_nvml(folder: Path, *without: str) -> Path:
    """A folder with an NVML that the FAKE_ variables of fake_nvml.c command, as a library path."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler, to build a fake NVML")
    library = folder / "libnvidia-ml.so.1"
    options = ["-Wall", "-Werror", "-shared", "-fPIC", *(f"-DWITHOUT_{name}" for name in without)]
    source = Path(__file__).with_name("fake_nvml.c")
    subprocess.run([compiler, *options, "-o", str(library), str(source)], check=True)
    return library


def fork(template: Path, folder: Path, root: Path) -> Path:
    """A copy of the template that takes a folder for the root of this machine's files."""
    copy = shutil.copytree(template, folder)
    module = copy / "extensions" / "torch_template" / "machine_hint.py"
    text = module.read_text(encoding="utf-8")
    assert text.count('ROOT = Path("/")\n') == 1
    changed = text.replace('ROOT = Path("/")\n', f"ROOT = Path({str(root)!r})\n")
    module.write_text(changed, encoding="utf-8")
    return copy
