"""What a machine lacks for PyPI's wheels: no GPU is worth a warning, one that does not do fails."""

from __future__ import annotations

from dataclasses import replace

from scripts.injections import (
    DRIVER,
    NO_CUDA,
    UNSET,
    Injection,
    cpu_wheels,
    device,
    instead,
    only_nvml,
)
from scripts.smoke_helpers import TORCH
from scripts.worlds import world

CPU = ": PyPI's wheels compute on the CPU."
INSISTS = "; `--device cuda` insists on an NVIDIA GPU."
LATER = "; until then, test with `--device cpu`."


def pypi(
    what: str, name: str, remedy: str, said: str = "", before: str = "", **env: str
) -> Injection:
    """A GPU, or a driver, that does not do for PyPI's wheels."""
    what = f"PyPI's wheels: {what}"
    return replace(device(what, name, remedy, said, "pypi", before), env=env)


FAULTS: list[Injection] = [
    # --- no GPU: the CPU does
    instead(
        "neither a driver nor a card",
        "DRV-LIBCUDA",
        f"If this machine has an NVIDIA GPU, install {DRIVER}{INSISTS}",
        f"There is no NVIDIA driver, and no sign of an NVIDIA GPU{CPU}",
        before=world(),
    ),
    instead(
        "neither a driver nor a card, and --device auto",
        "DRV-LIBCUDA",
        f"If this machine has an NVIDIA GPU, install {DRIVER}{INSISTS}",
        f"There is no NVIDIA driver, and no sign of an NVIDIA GPU{CPU}",
        before=world(),
        arguments=("--device", "auto"),
    ),
    instead(
        "an NVIDIA card without a driver",
        "DRV-LIBCUDA",
        f"Install {DRIVER}{INSISTS}",
        f"There is an NVIDIA GPU, but no NVIDIA driver{CPU}",
        before=world(card=True),
    ),
    instead(
        "a container that was not given the GPU",
        "DRV-LIBCUDA",
        f"start this container with `docker run --gpus all`{INSISTS}",
        f"This container was started without an NVIDIA GPU{CPU}",
        before=world(card=True, container=True),
    ),
    instead(
        "WSL without a driver on Windows",
        "DRV-LIBCUDA",
        f"If Windows has an NVIDIA GPU, install {DRIVER} on Windows, not inside WSL",
        f"WSL offers no NVIDIA driver{CPU}",
        before=world("dxg"),
    ),
    instead(
        "NVML of a driver that is not there, as a monitor brings it",
        "DRV-LIBCUDA",
        f"If this machine has an NVIDIA GPU, install {DRIVER}{INSISTS}",
        f"no sign of an NVIDIA GPU{CPU}",
        before=world(),
        change=only_nvml,
        FAKE_NVML="9",
    ),
    instead(
        "a driver, and no GPU",
        "CUDA-NODEVICE",
        f"If this machine has an NVIDIA GPU, type `nvidia-smi` to see why{INSISTS}",
        f"There is an NVIDIA driver, but it finds no GPU{CPU}",
        before=world(),
        driver=True,
        FAKE_INIT="100",
        FAKE_SEEN="0",
    ),
    instead(
        "a driver that is too old, and no GPU",
        "CUDA-NODEVICE",
        f"type `nvidia-smi` to see why{INSISTS}",
        f"it finds no GPU{CPU}",
        before=world(),
        driver=True,
        FAKE_INIT="100",
        FAKE_SEEN="0",
        FAKE_CUDA="11040",
        FAKE_DRIVER="470.57.02",
    ),
    instead(
        "a driver without its kernel module, and no GPU",
        "CUDA-NODEVICE",
        f"type `nvidia-smi` to see why{INSISTS}",
        f"it finds no GPU{CPU}",
        before=world(),
        driver=True,
        FAKE_INIT="100",
        FAKE_NVML="9",
    ),
    instead(
        "a container with a driver, and no GPU",
        "CUDA-NODEVICE",
        f"start this container with `docker run --gpus all`{INSISTS}",
        f"it finds no GPU{CPU}",
        before=world(container=True),
        driver=True,
        FAKE_INIT="100",
        FAKE_NVML="9",
    ),
    instead(
        "a driver that counts no GPU, with CUDA_VISIBLE_DEVICES=0",
        "CUDA-NODEVICE",
        f"type `nvidia-smi` to see why{INSISTS}",
        f"it finds no GPU{CPU}",
        before=world(),
        driver=True,
        FAKE_GPUS="",
        FAKE_SEEN="0",
        CUDA_VISIBLE_DEVICES="0",
    ),
    replace(
        instead(
            "an NVIDIA GPU that they are not built for, as on Windows",
            "TORCH-BUILD",
            "where its index can be reached; else test with `--device cpu`.",
            "cannot use the NVIDIA Test 0 of this machine.",
            driver=True,
            change=cpu_wheels,
        ),
        installed=f"{TORCH}+cpu",
        verdict=f"PASS  torch {TORCH}+cpu on the CPU  (",
    ),
    # --- a GPU that does not do, or one that is insisted on
    replace(
        pypi(
            "--device cuda without a driver",
            "DRV-LIBCUDA",
            f"Install {DRIVER}; without a GPU, test with `--device cpu`.",
            "no sign of an NVIDIA GPU.",
            before=world(),
        ),
        arguments=("--device", "cuda"),
        driver=False,
    ),
    replace(
        pypi(
            "--device cuda with a driver and no GPU",
            "CUDA-NODEVICE",
            "Type `nvidia-smi` to see why; without a GPU, test with `--device cpu`.",
            "it finds no GPU.",
            before=world(),
            FAKE_INIT="100",
            FAKE_SEEN="0",
        ),
        arguments=("--device", "cuda"),
    ),
    pypi(
        "a driver that is too old for its GPU",
        "DRV-OLD",
        "Update the NVIDIA driver to 580.65.06 or newer, or type `copier update --defaults --trust "
        "-d compute_platform=cu126 -d torch_version=latest` (torch 2.13.0) and then "
        f"`./bootstrap.sh` where its index can be reached{LATER}",
        "supports CUDA 12.0, but this torch needs CUDA 13.0",
        FAKE_CUDA="12000",
        FAKE_DRIVER="525.85.12",
    ),
    replace(
        pypi(
            "a driver that is too old and finds no GPU, where there is a card",
            "DRV-OLD",
            f"Update the NVIDIA driver to 580.65.06 or newer{LATER}",
            "supports CUDA 11.4",
            before=world(card=True),
            FAKE_CUDA="11040",
            FAKE_DRIVER="470.57.02",
            FAKE_INIT="100",
            FAKE_SEEN="0",
        ),
        also=("CUDA-NODEVICE", "DEV-OPEN"),
    ),
    replace(
        pypi(
            "half a driver: NVML shows a GPU, and there is no libcuda",
            "DRV-LIBCUDA",
            f"Install {DRIVER}, and reboot.",
            "it has no libcuda",
            before=world(),
        ),
        change=only_nvml,
        driver=False,
    ),
    replace(
        pypi(
            "half a driver: NVML without its kernel module beside a card, and no libcuda",
            "DRV-LIBCUDA",
            f"Install {DRIVER}, and reboot.",
            "it has no libcuda",
            before=world(card=True),
            FAKE_NVML="9",
        ),
        change=only_nvml,
        driver=False,
    ),
    replace(
        pypi(
            "a container that was given NVML, and not CUDA",
            "DRV-LIBCUDA",
            "Start it with `-e NVIDIA_DRIVER_CAPABILITIES=compute,utility`.",
            "it has no libcuda",
            before=world(container=True),
        ),
        change=only_nvml,
        driver=False,
    ),
    pypi(
        "nvmlInit that returns 9 beside a card",
        "DRV-NOTLOADED",
        "Type `sudo modprobe nvidia`",
        before=world(card=True),
        FAKE_NVML="9",
        FAKE_INIT="100",
    ),
    pypi(
        "nvmlInit that returns 18",
        "DRV-MISMATCH",
        "Reboot;",
        before=world(),
        FAKE_NVML="18",
        FAKE_INIT="803",
    ),
    pypi(
        "nvmlInit that returns 999 in a container",
        "DRV-CGROUP",
        "set `native.cgroupdriver=cgroupfs` for Docker.",
        before=world(container=True),
        FAKE_NVML="999",
        FAKE_INIT="100",
    ),
    pypi(
        "a card that a driver does not find",
        "CUDA-NODEVICE",
        "Type `nvidia-smi` to see why",
        "it finds no GPU.",
        before=world(card=True),
        FAKE_INIT="100",
        FAKE_SEEN="0",
    ),
    pypi(
        "CUDA_VISIBLE_DEVICES=-1",
        "CUDA-NODEVICE",
        f"{UNSET}, or test with `--device cpu`.",
        "hides the 1 NVIDIA GPU",
        FAKE_INIT="100",
        CUDA_VISIBLE_DEVICES="-1",
    ),
    pypi(
        "a GPU of compute capability 6.1",
        "DRV-ARCH",
        f"`./bootstrap.sh` where its index can be reached{LATER}",
        "has compute capability 6.1, but",
        FAKE_GPUS="61",
    ),
    pypi(
        "a GPU of compute capability 3.5, which no build is for",
        "DRV-ARCH",
        "No build on offer is, so test with `--device cpu`.",
        "has compute capability 3.5, but",
        FAKE_GPUS="35",
    ),
    *(
        pypi(f"cuInit that returns {code}", name, remedy, before=world(), FAKE_INIT=code, **none)
        for code, name, remedy in (
            ("46", "CUDA-BUSY", "`nvidia-smi` lists it"),
            ("802", "CUDA-FABRIC", "restart nvidia-fabricmanager"),
            ("803", "CUDA-MISMATCH", "Reboot;"),
            ("999", "CUDA-UNKNOWN", "modprobe -r nvidia_uvm"),
            ("3", "CUDA-UNKNOWN", "Reboot"),
        )
        for none in ({"FAKE_SEEN": "0"},)
    ),
    Injection(
        "PyPI's wheels: a driver that hangs in cuInit",
        "DRV-LIBCUDA",
        "Reboot",
        "did not answer within 2 s",
        4,
        build="pypi",
        torch=NO_CUDA,
        driver=True,
        env={"FAKE_TROUBLE": "hang"},
        arguments=("--timeout", "2"),
    ),
]
