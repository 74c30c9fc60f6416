"""A check with torch, in processes that torchrun starts: do they compute together?"""

from __future__ import annotations

import importlib
import os
import threading
import time
from datetime import timedelta
from typing import Any

from .check import Check, CheckFunction, check, one_line
from .child import run_child, tell
from .job import Dtype, Job, Tensor, Torch
from .words import FAULTY, PEER, WINDOWS, in_container

CHECKS: dict[str, CheckFunction] = {}

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
    if backend == "nccl" and not all_reduce(backend, devices, limit, NCCL_P2P_DISABLE="1")[0]:
        direct = "which go well when the GPUs do not talk to each other directly."
        return Check("fail", f"{group} do not do sums: {problem}, {direct}", PEER, data)
    return Check("fail", f"{group} do not do sums: {problem}.", remedy_of(problem, backend), data)


def remedy_of(problem: str, backend: str) -> str:
    """What to do if processes cannot do sums together."""
    if "wrong sum" in problem or problem.startswith("crashed"):
        return FAULTY
    if "shared memory" in problem or "No space left" in problem:
        larger = "Start the container with `--shm-size=8g`"
        return f"{larger}." if in_container() else "Make /dev/shm larger."
    if backend == "gloo":
        return (
            "Let localhost be 127.0.0.1 in the hosts file, and no firewall stand between processes."
        )
    return "Train with one GPU; `nvidia-smi -q` and `nvidia-smi topo -m` show which is in trouble."


def all_reduce(backend: str, devices: list[str], limit: float, **env: str) -> tuple[str, float]:
    """Let one process for each device sum with the others: what went wrong, or "", and GB/s."""
    job = {"backend": backend, "devices": devices, "limit": limit}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    launcher.append(f"--nproc-per-node={len(devices)}")
    # Windows' torch has no libuv: "run with USE_LIBUV=0 to disable it", says even 2.13.
    env = {"OMP_NUM_THREADS": "1", **({"USE_LIBUV": "0"} if WINDOWS else {}), **env}
    rows, ended = run_child("all-reduce", job, limit + 30, launcher, **env)
    errors = [row["error"] for row in rows if "error" in row]
    speeds = [row["busbw"] for row in rows if "busbw" in row]
    if errors:
        return errors[0], 0  # one that fails makes the others fail after it
    if len(speeds) < len(devices):
        return ended or f"{len(devices) - len(speeds)} process(es) ended without a word", 0
    return "", min(speeds)


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
