"""Checks with torch, in the child process: importing it can crash or hang.

Every check goes over all of job.devices: one bad card in eight is the real case.
"""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass, field
from typing import Any

from .check import Check, CheckFunction, carry_out, check, one_line
from .child import tell
from .machine import repair
from .words import FAULTY, NAMES, RECREATE

Tensor = Any  # torch.Tensor, but only the child imports torch
CHECKS: dict[str, CheckFunction] = {}


@dataclass
class Job:
    """What the torch checks share."""

    accelerator: str
    fallback: bool
    torch: Any = None
    devices: list[str] = field(default_factory=list)


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


def relative_error(result: Tensor, reference: Tensor) -> float:
    """The Frobenius norm of the difference, as a share of the reference's."""
    return float((result.cpu().double() - reference).norm() / reference.norm())


def judge(errors: dict[str, float], limit: float) -> Check:
    """Every device's relative error must be small: one bad card in eight is the real case."""
    for device, error in errors.items():
        if not error <= limit:  # so that NaN fails
            problem = f"{device} computes wrong numbers: their relative error is {error:.1e}, "
            return Check("fail", f"{problem}at most {limit:.0e} is right.", FAULTY)
    return Check("pass", f"relative error {max(errors.values()):.1e} (at most {limit:.0e})")


@check(CHECKS, "NUM-MATMUL")
def check_matmul(job: Job) -> Check:
    """A float32 matrix product on each device, against float64 on the CPU."""
    job.torch.set_float32_matmul_precision("highest")  # no TF32, whatever the environment says
    random = job.torch.Generator().manual_seed(1)
    a, b = (job.torch.randn(512, 512, generator=random) for _ in "ab")
    reference = a.double() @ b.double()
    return judge({d: relative_error(a.to(d) @ b.to(d), reference) for d in job.devices}, 1e-5)


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


def run_all(asked: dict[str, Any]) -> None:
    """The child's work; a device that does not open has no numbers to check."""
    job = Job(**asked)
    for name, function in CHECKS.items():
        tell({"start": name})
        found = carry_out(name, function, job, FAULTY)
        if found:
            tell(asdict(found))
            if found.status == "fail" and name in ("TORCH-IMPORT", "DEV-OPEN"):
                return
    tell({"start": "TORCH-EXIT"})  # to be blamed for a crash after all checks
