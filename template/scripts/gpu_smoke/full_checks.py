"""Checks with torch, in the child process, that take some time: those of `--level full`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from .check import Check, CheckFunction, check, one_line
from .job import Dtype, Job, Tensor, exact, half, judge, judge_losses, learn, relative_error
from .machine import repair
from .words import FAULTY, WINDOWS, in_container

CHECKS: dict[str, CheckFunction] = {}


@check(CHECKS, "NUM-AMP")
def check_mixed_precision(job: Job) -> Check:
    """Forty steps of AdamW in bfloat16 on each device; on CUDA also in float16, with GradScaler."""
    losses = {}
    for device in job.devices:
        also = [job.torch.float16] if device.startswith("cuda") else []
        for dtype in {half(job, device), *also}:
            losses[f"{device} in {dtype}"] = amp_losses(job, device, dtype)
    return judge_losses(losses)


def amp_losses(job: Job, device: str, dtype: Dtype) -> list[float]:
    """The losses of some steps."""
    torch, losses = job.torch, []
    x, y, *weights = learn(job, device)
    optimizer = torch.optim.AdamW(weights, lr=0.01)
    scaler = None
    if dtype == torch.float16:  # torch.amp has it only from torch 2.3 on
        scaler = getattr(torch.amp, "GradScaler", torch.cuda.amp.GradScaler)()
    for _ in range(40):
        with torch.autocast(device.partition(":")[0], dtype):
            output = (x @ weights[0]).tanh() @ weights[1]
        loss = (output.float() - y).square().mean()
        optimizer.zero_grad()
        if scaler:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        else:
            loss.backward()
            optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@check(CHECKS, "NUM-SDPA")
def check_attention(job: Job) -> Check:
    """Attention in float32 and in half precision on each device, against float64 on the CPU."""
    random = job.torch.Generator().manual_seed(5)
    inputs = [job.torch.randn(2, 4, 64, 32, generator=random) for _ in "qkv"]
    q, k, v = (one.double() for one in inputs)
    reference = (q @ k.transpose(-1, -2) / 32**0.5).softmax(-1) @ v
    attend = job.torch.nn.functional.scaled_dot_product_attention

    def errors(types: dict[str, Dtype]) -> dict[str, float]:
        found = {d: attend(*(one.to(d, types[d]) for one in inputs)) for d in job.devices}
        return {d: relative_error(result, reference) for d, result in found.items()}

    single = judge(errors(dict.fromkeys(job.devices, job.torch.float32)), exact(job.devices[0]))
    if single.status == "fail":
        return single
    return judge(errors({d: half(job, d) for d in job.devices}), 2e-2)


@check(CHECKS, "VISION-NMS")
def check_vision(job: Job) -> Check:
    """Do torchvision's own operators work on each device?"""
    if not importlib.util.find_spec("torchvision"):
        return Check("skip", "torchvision is not installed")
    boxes = job.torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]])
    scores = job.torch.tensor([0.7, 0.9, 0.8])
    try:
        nms = importlib.import_module("torchvision.ops").nms
        kept = {d: nms(boxes.to(d), scores.to(d), 0.5).tolist() for d in job.devices}
    except Exception as error:
        return Check("fail", f"torchvision does not work; it says {one_line(error)}.", repair())
    for device, found in kept.items():
        if found != [1, 2]:
            problem = f"torchvision keeps the boxes {found} on {device}, [1, 2] is right."
            return Check("fail", problem, FAULTY)
    return Check("pass", "torchvision's nms keeps the right boxes")


@check(CHECKS, "DATA-WORKERS")
def check_workers(job: Job) -> Check:
    """Two DataLoader workers bring batches of 8 MiB, pinned where that is of use."""
    torch = job.torch
    data = torch.arange(8.0).repeat_interleave(2**20).view(8, 2**20)
    pin = job.devices[0].startswith("cuda")
    remedy = "Use `num_workers=0`."
    if in_container():
        remedy = "Start the container with `--shm-size=8g`, or use `num_workers=0`."
    elif sys.platform == "linux":
        remedy = "Type `sudo mount -o remount,size=8g /dev/shm`, or use `num_workers=0`."
    try:
        dataset = torch.utils.data.TensorDataset(data)
        loader = torch.utils.data.DataLoader(dataset, 2, num_workers=2, pin_memory=pin)
        for device in job.devices:
            means = [float(batch.to(device).mean()) for (batch,) in loader]
            if means != [0.5, 2.5, 4.5, 6.5]:
                problem = f"Batches have the means {means} on {device}, which is wrong."
                return Check("fail", problem, FAULTY)
    except Exception as error:
        problem = f"DataLoader workers do not work; torch says {one_line(error)}."
        return Check("fail", problem, remedy)
    return Check("pass", "two workers brought 32 MiB")


@check(CHECKS, "COMPILE")
def check_compile(job: Job) -> Check:
    """Does torch.compile work on each device? A warning, since not every project needs it."""
    x = job.torch.linspace(-2, 2, 1000)

    def function(x: Tensor) -> Tensor:
        return (x.sin() * x).relu() + 1

    reference = function(x.double())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # what a compiler made that is now gone
        try:
            compiled = job.torch.compile(function)
            errors = {d: relative_error(compiled(x.to(d)), reference) for d in job.devices}
        except Exception as error:
            problem = f"torch.compile does not work; it says {one_line(error)}."
            return Check("warn", problem, compile_remedy(str(error)))
    return judge(errors, 1e-5)


def compile_remedy(said: str) -> str:
    """What to install for torch.compile, by what it says and what is not there."""
    if "triton" in said.lower() and not importlib.util.find_spec("triton"):
        other = "Add the package triton-windows to the project, or do without torch.compile."
        return other if WINDOWS else repair()
    if WINDOWS:
        return "Install Visual Studio's build tools for C++, and start their developer prompt."
    if sys.platform == "darwin":
        return "Type `xcode-select --install`, or do without torch.compile."
    header = Path(sysconfig.get_path("include"), "Python.h").is_file()
    compiler = any(map(shutil.which, ("g++", "clang++")))
    packages = ["python3-dev"] * (not header) + ["build-essential"] * (not compiler)
    packages = packages or ["build-essential", "python3-dev"]
    return f"Type `sudo apt install {' '.join(packages)}`, or do without torch.compile."


@check(CHECKS, "CKPT")
def check_checkpoint(job: Job) -> Check:
    """What each device saves, the CPU loads."""
    random = job.torch.Generator().manual_seed(6)
    wanted = job.torch.randn(1000, generator=random)
    with tempfile.TemporaryDirectory() as folder:
        for device in job.devices:
            file = Path(folder) / "checkpoint.pt"
            job.torch.save({"weight": wanted.to(device)}, file)
            found = job.torch.load(file, map_location="cpu", weights_only=True)["weight"]
            if not found.equal(wanted):
                problem = f"A checkpoint saved on {device} is not what was saved."
                return Check("fail", problem, FAULTY)
    return Check("pass", "a checkpoint came back as it was")
