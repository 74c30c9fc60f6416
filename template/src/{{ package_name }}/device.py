"""Pick the device that tensors live on."""

from __future__ import annotations

import torch


def pick_device() -> torch.device:
    """The accelerator that this build of torch can use on this machine, else the CPU.

    NVIDIA and AMD GPUs are `cuda` to torch, Intel GPUs `xpu`, Apple GPUs `mps`. A `cpu` that
    surprises you is explained by `python scripts/gpu_smoke_test.py`.
    """
    # torch.accelerator is new in torch 2.6, whose current_accelerator() raises where there is none.
    if (accelerator := getattr(torch, "accelerator", None)) is not None:
        found = accelerator.current_accelerator() if accelerator.is_available() else None
        return torch.device(found.type if found is not None else "cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def describe(device: torch.device) -> str:
    """The device and its build in a few words, e.g. `cuda: NVIDIA H200 (torch 2.14.1+cu130)`."""
    name = "no GPU in use"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif device.type == "xpu":
        name = torch.xpu.get_device_name(device)
    elif device.type == "mps":
        name = "Apple GPU"
    return f"{device.type}: {name} (torch {torch.__version__})"


if __name__ == "__main__":
    print(describe(pick_device()))
