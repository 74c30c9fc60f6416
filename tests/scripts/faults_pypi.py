"""What a machine lacks for PyPI's wheels: no GPU is worth a warning, one that does not do fails."""

from __future__ import annotations

from dataclasses import replace

from scripts.injections import (
    DRIVER,
    NO_CODE,
    UPDATE,
    Injection,
    cpu_wheels,
    device,
    hanging_driver,
    hidden_gpu,
    instead,
    only_nvml,
)
from scripts.smoke_helpers import TORCH
from scripts.worlds import world

CPU = ": PyPI's wheels compute on the CPU."
INSISTS = ". `--device cuda` insists on an NVIDIA GPU."
LATER = "; until then, test with `--device cpu`."


def pypi(
    what: str, name: str, remedy: str, said: str = "", before: str = "", **env: str
) -> Injection:
    """A GPU, or a driver, that does not do for PyPI's wheels."""
    what = f"PyPI's wheels: {what}"
    return replace(device(what, name, remedy, said, "pypi", before), env=env)


def no_driver(
    what: str,
    said: str,
    remedy: str = f"If this machine has an NVIDIA GPU, install {DRIVER}{INSISTS}",
    before: str = world(),
    arguments: tuple[str, ...] = (),
) -> Injection:
    """Nothing of NVIDIA's driver: the CPU does."""
    return instead(what, "DRV-LIBCUDA", remedy, said + CPU, before=before, arguments=arguments)


def no_gpu(
    what: str,
    remedy: str = f"type `nvidia-smi` to see why{INSISTS}",
    before: str = world(),
    **env: str,
) -> Injection:
    """A driver that finds no GPU: the CPU does."""
    said = f"it finds no GPU{CPU}"
    fault = instead(what, "CUDA-NODEVICE", remedy, said, before=before, driver=True)
    return replace(fault, env=env)


def no_libcuda(what: str, remedy: str, before: str, **env: str) -> Injection:
    """NVML without libcuda, where there is a GPU."""
    fault = pypi(what, "DRV-LIBCUDA", remedy, "it has no libcuda", before=before, **env)
    return replace(fault, change=only_nvml, driver=False)


FAULTS: list[Injection] = [
    # --- no GPU: the CPU does
    no_driver(
        "neither a driver nor a card", "There is no NVIDIA driver, and no sign of an NVIDIA GPU"
    ),
    no_driver(
        "neither a driver nor a card, and --device auto",
        "There is no NVIDIA driver, and no sign of an NVIDIA GPU",
        arguments=("--device", "auto"),
    ),
    no_driver(
        "an NVIDIA card without a driver",
        "There is an NVIDIA GPU, but no NVIDIA driver",
        f"Install {DRIVER}, and reboot{INSISTS}",
        before=world(card=True),
    ),
    no_driver(
        "a container that was not given the GPU",
        "This container was started without an NVIDIA GPU",
        "If this machine has an NVIDIA GPU, start it with `docker run --gpus all`",
        before=world(card=True, container=True),
    ),
    no_driver(
        "WSL without a driver on Windows",
        "WSL offers no NVIDIA driver",
        f"If this machine has an NVIDIA GPU, install {DRIVER} on Windows, not inside WSL",
        before=world("dxg"),
    ),
    replace(
        no_driver(
            "NVML of a driver that is not there, as a monitor brings it",
            "no sign of an NVIDIA GPU",
        ),
        change=only_nvml,
        env={"FAKE_NVML": "9"},
    ),
    replace(
        no_gpu(
            "a driver, and no GPU",
            f"If this machine has an NVIDIA GPU, type `nvidia-smi` to see why{INSISTS}",
            FAKE_INIT="100",
            FAKE_SEEN="0",
        ),
        said=f"There is an NVIDIA driver, but it finds no GPU{CPU}",
    ),
    no_gpu(
        "a driver that is too old, and no GPU",
        FAKE_INIT="100",
        FAKE_SEEN="0",
        FAKE_CUDA="11040",
        FAKE_DRIVER="470.57.02",
    ),
    no_gpu("a driver without its kernel module, and no GPU", FAKE_INIT="100", FAKE_NVML="9"),
    replace(
        no_gpu(
            "a container with a driver, and no GPU",
            "If this machine has an NVIDIA GPU, start it with `docker run --gpus all`",
            before=world(container=True),
            FAKE_INIT="100",
            FAKE_NVML="9",
        ),
        said=f"This container has an NVIDIA driver, but no GPU{CPU}",
    ),
    no_gpu(
        "a driver that counts no GPU, with CUDA_VISIBLE_DEVICES=0",
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
    replace(
        instead(
            "an NVIDIA GPU of compute capability 3.5 that they are not built for, as on Windows",
            "TORCH-BUILD",
            f"{NO_CODE.format('3.5')}, so test with `--device cpu`.",
            "cannot use the NVIDIA Test 0 of this machine.",
            driver=True,
            change=cpu_wheels,
            FAKE_GPUS="35",
        ),
        installed=f"{TORCH}+cpu",
        verdict=f"PASS  torch {TORCH}+cpu on the CPU  (",
    ),
    # --- a GPU that does not do, or one that is insisted on
    replace(
        pypi(
            "--device cuda without a driver",
            "DRV-LIBCUDA",
            f"Install {DRIVER}. Without a GPU, test with `--device cpu`.",
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
            "Type `nvidia-smi` to see why. Without a GPU, test with `--device cpu`.",
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
        f"Update the NVIDIA driver to 580.65.06 or newer, or type `{UPDATE} --data "
        "compute_platform=cu126` (torch 2.13.0) and then "
        f"`sh bootstrap.sh` where its index can be reached{LATER}",
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
    no_libcuda(
        "half a driver: NVML shows a GPU, and there is no libcuda",
        f"Install {DRIVER}, and reboot.",
        before=world(),
    ),
    no_libcuda(
        "half a driver: NVML without its kernel module beside a card, and no libcuda",
        f"Install {DRIVER}, and reboot.",
        before=world(card=True),
        FAKE_NVML="9",
    ),
    no_libcuda(
        "a container that was given NVML, and not CUDA",
        "Start it with `-e NVIDIA_DRIVER_CAPABILITIES=compute,utility`",
        before=world(container=True),
    ),
    pypi(
        "nvmlInit that returns 9 beside a card",
        "DRV-NOTLOADED",
        "modprobe nvidia`",
        before=world(card=True),
        FAKE_NVML="9",
        FAKE_INIT="100",
    ),
    pypi(
        "nvmlInit that returns 18",
        "DRV-MISMATCH",
        "Reboot.",
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
        "a line with RmInitAdapter tells why",
        "its driver finds none",
        before=world(card=True),
        FAKE_INIT="100",
        FAKE_SEEN="0",
    ),
    hidden_gpu("PyPI's wheels: CUDA_VISIBLE_DEVICES=-1", "-1", "pypi"),
    pypi(
        "a GPU of compute capability 6.1",
        "DRV-ARCH",
        f"`sh bootstrap.sh` where its index can be reached{LATER}",
        "has compute capability 6.1, but",
        FAKE_GPUS="61",
    ),
    pypi(
        "a GPU of compute capability 3.5, which no build is for",
        "DRV-ARCH",
        f"{NO_CODE.format('3.5')}, so test with `--device cpu`.",
        "has compute capability 3.5, but",
        FAKE_GPUS="35",
    ),
    *(
        pypi(f"cuInit that returns {code}", name, remedy, before=world(), FAKE_INIT=code, **none)
        for code, name, remedy in (
            ("46", "CUDA-BUSY", "`nvidia-smi` lists it"),
            ("802", "CUDA-FABRIC", "enable --now nvidia-fabricmanager`"),
            ("803", "CUDA-MISMATCH", "Reboot."),
            ("999", "CUDA-UNKNOWN", "modprobe -r nvidia_uvm"),
            ("3", "CUDA-UNKNOWN", "report.md` writes"),
        )
        for none in ({"FAKE_SEEN": "0"},)
    ),
    hanging_driver("PyPI's wheels: a driver that hangs in cuInit", "pypi"),
]
