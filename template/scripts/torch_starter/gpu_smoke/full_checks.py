"""Checks with torch, in the child process, for `--level full`: is what it computes right?"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from surroundings.knowledge import code, find_cause

from .blame import code_of, explain_end
from .check import (
    Check,
    CheckFunction,
    Dtype,
    Job,
    Tensor,
    Torch,
    because,
    check,
    exact,
    half,
    judge,
    judge_losses,
    learn,
    one_line,
    relative_error,
    run_child,
    tell,
)
from .machine import ENTRY, FAULTY, PEER, WINDOWS, advise, repair

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
    try:
        dataset = torch.utils.data.TensorDataset(data)
        loader = torch.utils.data.DataLoader(dataset, 2, num_workers=2, pin_memory=pin)
        for device in job.devices:
            means = [float(batch.to(device).mean()) for (batch,) in loader]
            if means != [0.5, 2.5, 4.5, 6.5]:
                problem = f"Batches have the means {means} on {device}, which is wrong."
                return Check("fail", problem, FAULTY)
    except Exception as error:
        return because("workers-fail", said=one_line(error))
    return Check("pass", "two workers brought 32 MiB")


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


# --- In processes that torchrun starts: do they compute together?


LIMIT = 60  # seconds for a group of processes, where --timeout allows it
ELEMENTS = {"nccl": 2**26, "gloo": 2**20}  # of the float32 tensor whose sum is timed
LOOPS = 5


@check(CHECKS, "NCCL")
def check_all_reduce(job: Job) -> Check:
    """Do processes under torchrun get exact sums? NCCL on several GPUs, else gloo on the CPU."""
    torch = job.torch
    if not torch.distributed.is_available():
        return Check("skip", "this torch is built without torch.distributed")
    gpus = job.devices[0].startswith("cuda")
    if gpus and job.mig:
        return Check("skip", "instances of a GPU that MIG splits cannot talk to each other")
    backend, devices = "gloo", ["cpu", "cpu"]
    if gpus and len(job.devices) > 1 and not WINDOWS and torch.distributed.is_nccl_available():
        backend, devices = "nccl", job.devices
    limit = min(LIMIT, job.limit / 8)
    problem, speed = all_reduce(backend, devices, limit)
    group = (
        f"{len(devices)} processes with {backend} on {'the CPU' if backend == 'gloo' else 'GPUs'}"
    )
    if not problem:
        return Check("pass", f"exact sums of {group}, {speed:.2g} GB/s", data={"busbw": speed})
    data = {"backend": backend, "devices": devices}
    cause = find_cause(problem, "sums")
    if cause and cause.cause == "libuv":  # torch itself is well, and one process trains
        _, says, do = advise("libuv")
        return Check("warn", f"{says[:-1]}: {problem}.", do, data)
    if backend == "nccl" and not all_reduce(backend, devices, limit, NCCL_P2P_DISABLE="1")[0]:
        direct = "which go well when the GPUs do not talk to each other directly."
        return Check("fail", f"{group} do not do sums: {problem}, {direct}", PEER, data)
    return Check("fail", f"{group} do not do sums: {problem}.", remedy_of(problem, backend), data)


def remedy_of(problem: str, backend: str) -> str:
    """What to do if processes cannot do sums together."""
    if "wrong sum" in problem:
        return FAULTY
    if problem.startswith("crashed"):
        return explain_end(problem, [], ["NCCL"], LIMIT).remedy
    if match := find_cause(problem, "sums"):
        return advise(match.cause, **{"on": "", **match.words}).do
    if found := code_of(problem):
        name, meaning, cause = code(*found)
        words = {"name": name, "number": found[1], "meaning": meaning, "on": ""}
        return advise(cause or "unknown-error", **words).do
    return advise(f"{backend}-fails").do


def all_reduce(backend: str, devices: list[str], limit: float, **env: str) -> tuple[str, float]:
    """Let one process for each device sum with the others: what went wrong, or "", and GB/s."""
    job = {"backend": backend, "devices": devices, "limit": limit}
    env = {"OMP_NUM_THREADS": "1", **env}  # as torchrun itself sets it, with a warning
    rows, ended = run_child("torchrun", job, limit + 30, **env)
    errors = [row["error"] for row in rows if "error" in row]
    speeds = [row["busbw"] for row in rows if "busbw" in row]
    if errors:
        return errors[0], 0  # one that fails makes the others fail after it
    if len(speeds) < len(devices):
        return ended or f"{len(devices) - len(speeds)} process(es) ended without a word", 0
    return "", min(speeds)


def start_processes(job: dict[str, Any]) -> None:
    """The child's work: torchrun, whose processes take part."""
    options = ["--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={len(job['devices'])}"]
    take_part = [str(ENTRY), "--child", "all-reduce", json.dumps(job)]
    importlib.import_module("torch.distributed.run").main([*options, *take_part])


def take_part(job: dict[str, Any]) -> None:
    """The work of one of these processes."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])

    def give_up() -> None:
        tell({"error": f"no answer within {job['limit']:g} s"})
        os._exit(1)

    try:
        torch = importlib.import_module("torch")
        clock = threading.Timer(job["limit"], give_up)  # torch and NCCL may wait for ever
        clock.daemon = True
        clock.start()
        tell({"busbw": sum_up(torch, job, rank, size)})
        clock.cancel()
    except Exception as error:
        # NCCL's own words come after torch's, which are the same for many causes.
        reason = str(error).partition("Last error:")[2].strip().partition("\n")[0]
        tell({"error": one_line(error) + (f" ({reason})" if reason else "")})
        os._exit(1)


def sum_up(torch: Torch, job: dict[str, Any], rank: int, size: int) -> float:
    """Sum exactly in int64 and float32; returns the bus bandwidth in GB/s, as nccl-tests count."""
    distributed, device = torch.distributed, job["devices"][rank]
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    distributed.init_process_group(job["backend"], timeout=timedelta(seconds=job["limit"]))

    def reduced(dtype: Dtype, elements: int) -> Tensor:
        tensor = torch.full((elements,), rank + 1, dtype=dtype, device=device)
        distributed.all_reduce(tensor)
        return tensor

    right = size * (size + 1) // 2
    for dtype in (torch.int64, torch.float32):
        low, high = (float(one) for one in reduced(dtype, 2**16).aminmax())
        if not low == high == right:
            wrong = low if low != right else high
            raise ArithmeticError(f"{device} got the wrong sum {wrong:g} instead of {right}")
    elements = ELEMENTS[job["backend"]]
    tensor = torch.zeros(elements, device=device)
    distributed.all_reduce(tensor)
    float(tensor[0])  # waits for the device
    begin = time.perf_counter()
    for _ in range(LOOPS):
        distributed.all_reduce(tensor)
    float(tensor[0])
    seconds = (time.perf_counter() - begin) / LOOPS
    distributed.destroy_process_group()
    return 4 * elements / seconds * 2 * (size - 1) / size / 1e9
