"""Checks with torch, in the child process, that take no time.

Every check goes over all of job.devices: one bad card in eight is the real case.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from pathlib import Path

from .check import Check, CheckFunction, check, one_line
from .job import Job, Tensor, exact, judge, judge_losses, learn, relative_error
from .machine import repair
from .words import FAULTY, NAMES, RECREATE

CHECKS: dict[str, CheckFunction] = {}


OPEN_REMEDIES = {
    "cpu": RECREATE,
    "cuda": "Type `nvidia-smi`: end what fills the GPU, or reboot if it reports an error.",
    "rocm": "Type `sudo usermod -aG render,video $USER` and log in again; give a container "
    "`--device /dev/kfd --device /dev/dri`.",
    "xpu": "Install Intel's compute runtime and Level Zero, and join the group render.",
    "mps": "Use macOS 14 or newer and an arm64 Python; in a virtual machine, `--device cpu`.",
}


@check(CHECKS, "TORCH-IMPORT")
def check_import(job: Job) -> Check:
    """Can torch be imported?"""
    try:
        job.torch = importlib.import_module("torch")
    except Exception as error:
        remedy = repair()
        if "undefined symbol" in str(error):
            remedy = "Type `unset LD_LIBRARY_PATH`: a library there is not of torch's version."
        elif "WinError" in str(error):
            remedy = "Install https://aka.ms/vc14/vc_redist.x64.exe."
        return Check("fail", f"`import torch` ended in {one_line(error)}.", remedy)
    if hasattr(job.torch, "set_float32_matmul_precision"):
        job.torch.set_float32_matmul_precision("highest")  # no TF32, whatever the environment says
    return Check("pass", f"torch {job.torch.__version__}")


@check(CHECKS, "DEV-OPEN")
def check_open(job: Job) -> Check:
    """Run a kernel on every visible device, and read its result back."""
    torch, kind = job.torch, "cuda" if job.accelerator == "rocm" else job.accelerator
    backend = getattr(torch, "accelerator", None) or getattr(torch, kind)
    count = 0 if kind == "cpu" else backend.device_count()
    if job.fallback and not count:
        kind = "cpu"
    job.devices = ["cpu"] if kind == "cpu" else [f"{kind}:{i}" for i in range(count or 1)]
    names = []
    for device in job.devices:
        try:
            total = float((torch.zeros(1000, device=device) + 1).sum())
            names.append(getattr(getattr(torch, kind), "get_device_name", str)(device))
        except Exception as error:
            problem = f"{device} cannot be used; torch says {one_line(error)}."
            return Check(
                "fail", problem, OPEN_REMEDIES["cpu" if kind == "cpu" else job.accelerator]
            )
        if total != 1000:
            return Check("fail", f"{device} counts a thousand ones as {total}.", FAULTY)
    data = {"kind": kind, "devices": names}
    if kind == "cpu" and job.accelerator in ("mps", "xpu"):  # no machine check has said so
        problem = f"torch finds no {NAMES[job.accelerator]} device, so the CPU is tested."
        return Check("warn", problem, OPEN_REMEDIES[job.accelerator], data)
    return Check("pass", ", ".join(names), data=data)


@check(CHECKS, "NUM-MATMUL")
def check_matmul(job: Job) -> Check:
    """A float32 matrix product on each device, against float64 on the CPU."""
    random = job.torch.Generator().manual_seed(1)
    a, b = (job.torch.randn(512, 512, generator=random) for _ in "ab")
    reference = a.double() @ b.double()
    return judge({d: relative_error(a.to(d) @ b.to(d), reference) for d in job.devices}, 1e-5)


@check(CHECKS, "NUM-CONV")
def check_convolution(job: Job) -> Check:
    """A float32 convolution on each device (cuDNN's on CUDA), against float64 on the CPU."""
    random = job.torch.Generator().manual_seed(4)
    image = job.torch.randn(4, 16, 32, 32, generator=random)
    kernel = job.torch.randn(32, 16, 3, 3, generator=random)
    convolve = job.torch.nn.functional.conv2d
    reference = convolve(image.double(), kernel.double())
    found = {d: convolve(image.to(d), kernel.to(d)) for d in job.devices}
    errors = {d: relative_error(result, reference) for d, result in found.items()}
    return judge(errors, exact(job.devices[0]))


@check(CHECKS, "NUM-GRAD")
def check_gradient(job: Job) -> Check:
    """The gradient of sum(tanh(x w)^2) on each device, against float64 on the CPU."""
    random = job.torch.Generator().manual_seed(2)
    x, w = (job.torch.randn(128, 128, generator=random) / 8 for _ in "xw")

    def gradient(x: Tensor, w: Tensor) -> Tensor:
        w = w.detach().requires_grad_()
        (x @ w).tanh().square().sum().backward()
        return w.grad

    reference = gradient(x.double(), w.double())
    found = {d: gradient(x.to(d), w.to(d)) for d in job.devices}
    return judge({d: relative_error(result, reference) for d, result in found.items()}, 1e-4)


@check(CHECKS, "TRAIN-STEPS")
def check_steps(job: Job) -> Check:
    """Twenty steps of gradient descent on each device; by hand, since torch.optim loads slowly."""
    losses: dict[str, list[float]] = {}
    for device in job.devices:
        x, y, *weights = learn(job, device)
        for _ in range(20):
            loss = ((x @ weights[0]).tanh() @ weights[1] - y).square().mean()
            loss.backward()
            with job.torch.no_grad():
                for weight in weights:
                    weight -= weight.grad
                    weight.grad = None
            losses.setdefault(device, []).append(float(loss.detach()))
    return judge_losses(losses)


NVIDIA = re.compile(r"lib(cu(dnn|blas|dart|fft|rand|solver|sparse)|nvrtc|nvJitLink|nccl)[^/]*\.so")


@check(CHECKS, "LIB-MAPS")
def check_loaded_libraries(job: Job) -> Check:
    """Do all of NVIDIA's libraries in this process come from the environment?"""
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        return Check("skip", "only Linux tells which libraries are loaded")
    site = Path(os.path.realpath(job.torch.__file__)).parents[1]
    own = (site, os.path.realpath(sys.prefix))
    paths = {line.split(maxsplit=5)[5] for line in maps.read_text().splitlines() if ".so" in line}
    loaded = sorted(path for path in paths if NVIDIA.match(Path(path).name))
    foreign = [path for path in loaded if not any(Path(path).is_relative_to(one) for one in own)]
    if not foreign:
        return Check("pass", f"{len(loaded)} libraries of NVIDIA, all of this environment")
    problem = f"{foreign[0]} is loaded, which is not of this environment."
    remedy = "Take its folder out of LD_LIBRARY_PATH and /etc/ld.so.conf.d, or remove it."
    return Check("warn", problem, remedy, {"libraries": foreign})
