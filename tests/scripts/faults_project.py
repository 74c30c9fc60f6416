"""Faults of a project: its Python, its packages, settings and memory."""

from __future__ import annotations

from scripts.injections import (
    RECREATE,
    Injection,
    asks_for,
    file,
    packages,
    variable,
    without,
)
from scripts.smoke_helpers import TORCH
from scripts.worlds import world

VISION = {"torch": f"{TORCH}+cpu", "torchvision": "0.28.0+cpu"}
CUDNN = "libcudnn.so.9: cannot open shared object file: No such file or directory"

FAULTS: list[Injection] = [
    # --- this Python and its packages
    Injection(
        "a Python that the project is not for",
        "PY-VERSION",
        RECREATE,
        "asks for ==3.9.*",
        1,
        change=asks_for(requires_python="==3.9.*"),
    ),
    Injection(
        "another Python than that of .venv",
        "PY-VENV",
        "Type `./bootstrap.sh`.",
        "not that of the project's .venv",
        0,
        change=without(".venv"),
    ),
    Injection(
        "scripts/torch.py, a file of the user's",
        "PY-SHADOW",
        "Rename it.",
        "torch.py takes the place of torch",
        1,
        change=file("scripts/torch.py"),
    ),
    Injection(
        "random.py in the project's folder",
        "PY-SHADOW",
        "Rename it.",
        "random.py takes the place of random",
        0,
        change=file("random.py"),
    ),
    Injection(
        "no torch",
        "TORCH-FOUND",
        RECREATE,
        "torch is not installed for",
        1,
        change=without("site"),
    ),
    Injection(
        "what an uninstall has left of torch",
        "TORCH-FOUND",
        RECREATE,
        "is incomplete",
        1,
        change=without("site/torch/__init__.py"),
    ),
    Injection(
        "a CPU build, where CUDA is asked for",
        "TORCH-BUILD",
        RECREATE,
        f"torch {TORCH}+cpu (CPU) is installed, but the project asks for {TORCH}+cu130 (CUDA 13.0)",
        build="cu130",
        driver=True,
        installed=f"{TORCH}+cpu",
    ),
    Injection(
        "another version of torch than is asked for",
        "TORCH-BUILD",
        RECREATE,
        "asks for 2.12.1+cpu",
        change=asks_for(torch_version="2.12.1+cpu"),
    ),
    Injection(
        "files of one torch, and metadata of another",
        "TORCH-BUILD",
        RECREATE,
        "its metadata says",
        change=asks_for(packages={"torch": "2.12.1+cpu"}),
    ),
    Injection(
        "a system that the build has no wheels for",
        "TORCH-BUILD",
        "Use a machine that torch_builds.json names",
        "CPU has no torch wheels for",
        change=asks_for(none=True),
    ),
    Injection(
        "the CPU build, and --device mps",
        "TORCH-BUILD",
        "To change that",
        "is not built for MPS",
        arguments=("--device", "mps"),
    ),
    Injection(
        "the CPU build on a machine with an NVIDIA GPU, and --device auto",
        "TORCH-BUILD",
        "compute_platform=cu130",
        "cannot use the NVIDIA Test 0",
        0,
        driver=True,
        arguments=("--device", "auto"),
    ),
    Injection(
        "torchvision for another torch",
        "PKG-VISION",
        RECREATE,
        "goes with torchvision 0.28.0+cpu, but 1.0 is installed",
        1,
        change=lambda project: [
            asks_for(packages=VISION)(project),
            packages("torchvision")(project),
        ],
    ),
    Injection(
        "no torchvision, where it is asked for",
        "PKG-VISION",
        RECREATE,
        "but none is installed",
        1,
        change=asks_for(packages=VISION),
    ),
    Injection(
        "nvidia-cudnn for CUDA 12 and for CUDA 13",
        "PKG-NVMIX",
        RECREATE,
        "Both nvidia-cudnn-cu12 and nvidia-cudnn-cu13",
        1,
        build="cu130",
        driver=True,
        change=packages("nvidia-cudnn-cu13", "nvidia_cudnn_cu12"),
    ),
    Injection(
        "nvidia-nccl-cu12, left over beside CUDA 13",
        "PKG-NVMIX",
        "If nothing else needs it",
        "nvidia-nccl-cu12 is installed",
        0,
        build="cu130",
        driver=True,
        change=packages("nvidia-nccl-cu12"),
    ),
    # --- settings and memory
    variable("KMP_DUPLICATE_LIB_OK", "TRUE"),
    variable("HSA_OVERRIDE_GFX_VERSION", "10.3.0", "rocm7.2"),
    variable("HIP_VISIBLE_DEVICES", "-1", "rocm7.2"),
    variable("CUDA_LAUNCH_BLOCKING", "1", "cu130"),
    variable("CUDA_HOME", "/no/such/cuda", "cu130"),
    Injection(
        "64 MiB of /dev/shm in a container",
        "SYS-SHM",
        "Start the container with `--shm-size=8g`",
        "64 MiB left",
        0,
        before=world(container=True, shm="64m"),
    ),
    Injection(
        "64 MiB of /dev/shm",
        "SYS-SHM",
        "Type `sudo mount -o remount,size=8g /dev/shm`",
        "64 MiB left",
        0,
        before=world(shm="64m"),
    ),
]
