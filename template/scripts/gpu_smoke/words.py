"""Places of this project, and what to type: words that several checks use."""

from __future__ import annotations

import json
import os
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ENTRY = FOLDER.parent / "gpu_smoke_test.py"
BUILDS = FOLDER.parent / "torch_builds.json"
ROOT = FOLDER.parent.parent

WINDOWS = os.name == "nt"
BOOTSTRAP = "bootstrap.cmd" if WINDOWS else "./bootstrap.sh"
OPTION = "--compute-platform"
PYTHON = r".venv\Scripts\python" if WINDOWS else ".venv/bin/python"


def machine_build() -> str:
    """What bootstrap made .venv for, where that is not the project's own compute platform."""
    try:
        stamp = json.loads((ROOT / ".venv" / "bootstrap-stamp.json").read_text(encoding="utf-8"))
        return str(stamp.get("machine_build", ""))
    except (OSError, ValueError, AttributeError):
        return ""


MADE_FOR = machine_build()
AGAIN = f"{BOOTSTRAP} {OPTION} {MADE_FOR}" if MADE_FOR else BOOTSTRAP
RECREATE = f"Type `{AGAIN} --recreate`."
VISIBLE = "CUDA_VISIBLE_DEVICES"
UNSET_COMMAND = "set {}=" if WINDOWS else "unset {}"
UNSET = UNSET_COMMAND.format(VISIBLE)
REBOOT = "Reboot; in a container, start a new container."
RELOAD = "Type `sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm`, or reboot."
FABRIC = "Type `sudo systemctl restart nvidia-fabricmanager`."
COMPAT = "Take the compat folder out of LD_LIBRARY_PATH."
RESTORE = "Type `git checkout HEAD -- scripts/torch_builds.json`."
FAULTY = f"Type `{AGAIN} --recreate`, and reboot; if it stays, the hardware is faulty."
REDISTRIBUTABLE = "Install https://aka.ms/vc14/vc_redist.x64.exe; without the right to, add the "
REDISTRIBUTABLE += "package msvc-runtime to the project, and activate .venv."
ONE_OPENMP = "Take torch and numpy from one source, not one from conda and one from PyPI. As a "
ONE_OPENMP += "last resort set KMP_DUPLICATE_LIB_OK=TRUE, which may compute wrong numbers."
LEVEL_ZERO = "Install Intel's newest compute runtime and Level Zero, and join the group render."
if WINDOWS:
    LEVEL_ZERO = "Install Intel's newest graphics driver."
NEWER_MACOS = "Use macOS 14 or newer and an arm64 Python; in a virtual machine, `--device cpu`."
MPS_FALLBACK = "Set PYTORCH_ENABLE_MPS_FALLBACK=1 for the CPU to do, slowly, what MPS cannot."
PEER = "Set NCCL_P2P_DISABLE=1; so that GPUs may talk directly, set `iommu=pt` on the kernel's "
PEER += "command line, or turn ACS off in the BIOS."
SLOW = "Type `nvidia-smi -q -d PERFORMANCE`: heat, a limit on power, or another's work slows it."
NAMES = {"cpu": "CPU", "cuda": "CUDA", "rocm": "ROCm", "mps": "MPS", "xpu": "XPU"}


def in_container() -> bool:
    """Whether Docker, Podman or the like runs this."""
    return Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()
