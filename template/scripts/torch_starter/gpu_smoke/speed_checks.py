"""Checks of speed with torch, in the child process, for `--level full`: figures, and a warning.

They never fail: a laptop, a limit on its power or another's work may well slow a healthy GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from .check import Check, CheckFunction, Job, Tensor, check, half, one_line, synchronize
from .machine import SLOW

CHECKS: dict[str, CheckFunction] = {}

SIZES = {"cpu": 1024, "mps": 4096}  # of matrices for PERF-TFLOPS
SIZE = 8192  # the same, of other devices: smaller ones do not fill a large GPU
COPY = 256 * 2**20  # bytes: more than any cache holds
SECONDS = 0.2  # to measure each device
SHARES = {"tflops": 0.25, "gb_s": 0.4, "host": 0.4}  # of the peak: less is worth a warning


def seconds_of(job: Job, device: str, work: Callable[[], object]) -> float:
    """How long some work takes on a device, on average, when it is warm."""
    calls, spent = 1, 0.0
    work()
    synchronize(job, device)
    while True:
        begin = time.perf_counter()
        for _ in range(calls):
            work()
        synchronize(job, device)
        spent = time.perf_counter() - begin
        if spent >= SECONDS:
            return spent / calls
        calls = max(calls * 2, int(calls * SECONDS / max(spent, 1e-6)))


def measure(job: Job, peak: str, words: str, work: Callable[[str], float]) -> Check:
    """What every device reaches, in units of 10^9 or 10^12 a second, against its peak if known."""
    try:
        reached = {device: round(work(device), 3) for device in job.devices}
    except Exception as error:
        problem = f"The speed of the device cannot be measured; torch says {one_line(error)}."
        return Check("warn", problem, "Look at `nvidia-smi` for who else uses it.")
    peaks = {d: one.get(peak, 0.0) for d, one in zip(job.devices, job.peaks, strict=False)}
    data = {"reached": reached, "peaks": {d: round(one, 3) for d, one in peaks.items() if one}}
    share = {d: figure / peaks[d] for d, figure in reached.items() if peaks.get(d)}
    slowest = min(reached, key=lambda device: share.get(device, reached[device]))
    text = f"{slowest} reaches {reached[slowest]:.3g} {words}"
    if slowest in share:
        text += f", {share[slowest]:.0%} of the {peaks[slowest]:.3g} that it is made for"
    if share.get(slowest, 1) < SHARES[peak]:
        return Check("warn", f"{text}.", SLOW, data)
    return Check("pass", text + ", the slowest" * (len(reached) > 1), data=data)


@check(CHECKS, "PERF-TFLOPS")
def check_arithmetic(job: Job) -> Check:
    """How fast does each device multiply large matrices? In float32 on the CPU."""
    kind = job.devices[0].partition(":")[0]
    size = SIZES.get(kind, SIZE)
    dtypes = {d: job.torch.float32 if kind == "cpu" else half(job, d) for d in job.devices}

    def work(device: str) -> float:
        def matrix() -> Tensor:
            return job.torch.randn(size, size, device=device, dtype=dtypes[device])

        a, b = matrix(), matrix()
        product = job.torch.empty_like(a)

        def multiply() -> Tensor:
            return job.torch.mm(a, b, out=product)

        return 2 * size**3 / seconds_of(job, device, multiply) / 1e12

    name = str(dtypes[job.devices[0]]).removeprefix("torch.")
    return measure(job, "tflops", f"TFLOP/s in {name}", work)


@check(CHECKS, "PERF-BW")
def check_bandwidth(job: Job) -> Check:
    """How fast does each device copy its own memory? A copy reads and writes."""

    def work(device: str) -> float:
        source = job.torch.ones(COPY, dtype=job.torch.uint8, device=device)
        target = job.torch.empty_like(source)
        seconds = seconds_of(job, device, lambda: target.copy_(source))
        return 2 * COPY / seconds / 1e9

    return measure(job, "gb_s", "GB/s of its own memory", work)


@check(CHECKS, "PERF-H2D")
def check_transfer(job: Job) -> Check:
    """How fast do pinned batches reach each device?"""
    if job.devices == ["cpu"]:
        return Check("skip", "the CPU has its batches in its own memory")
    pinned = job.devices[0].startswith("cuda")

    def work(device: str) -> float:
        source = job.torch.ones(COPY, dtype=job.torch.uint8, pin_memory=pinned)
        target = job.torch.empty_like(source, device=device)
        seconds = seconds_of(job, device, lambda: target.copy_(source, non_blocking=True))
        return COPY / seconds / 1e9

    return measure(job, "host", f"GB/s from {'pinned ' * pinned}memory of the host", work)
