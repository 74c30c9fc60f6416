"""What the torch checks share: the devices to go over, and how numbers are judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .check import Check
from .words import FAULTY

Tensor = Any  # torch.Tensor, but only the child imports torch
Dtype = Any  # torch.dtype
Torch = Any  # the module


@dataclass
class Job:
    """What the torch checks share."""

    accelerator: str
    fallback: bool
    names: list[str]  # the checks to carry out
    way_out: str = ""  # to a build for the GPUs that are here
    mig: bool = False  # whether a GPU is split into instances
    limit: float = 600  # seconds, for all checks
    peaks: list[dict[str, float]] = field(default_factory=list)  # of each GPU, see peak_of
    torch: Torch = None
    devices: list[str] = field(default_factory=list)


def synchronize(job: Job, device: str) -> None:
    """Wait until a device has done all that it was told."""
    kind, _, index = device.partition(":")
    wait = getattr(getattr(job.torch, kind), "synchronize", None)
    if wait and kind != "cpu":
        wait() if kind == "mps" else wait(int(index))


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


def exact(device: str) -> float:
    """The relative error to allow in float32: cuDNN rounds its input to TF32."""
    return 2e-3 if device.startswith("cuda") else 1e-5


def half(job: Job, device: str) -> Dtype:
    """bfloat16, or float16 for NVIDIA's GPUs from before it."""
    torch = job.torch
    old = device.startswith("cuda") and torch.cuda.get_device_capability(device)[0] < 8
    return torch.float16 if old else torch.bfloat16


def learn(job: Job, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A task that can be learnt, x and y, and two matrices to learn it with."""
    random = job.torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return job.torch.randn(*shape, generator=random)

    x = normal(256, 32)
    y = (x @ normal(32, 8)).tanh()
    weights = [(normal(32, 64) / 6).to(device), (normal(64, 8) / 8).to(device)]
    return x.to(device), y.to(device), *(one.requires_grad_() for one in weights)


def judge_losses(losses: dict[str, list[float]]) -> Check:
    """Every device's loss must fall."""
    for device, values in losses.items():
        if not values[-1] < 0.7 * values[0]:  # so that NaN fails
            problem = f"{device} does not learn: its loss went from {values[0]:.3g} to "
            return Check("fail", f"{problem}{values[-1]:.3g}.", FAULTY)
    first, last = next(iter(losses.values()))[0], max(values[-1] for values in losses.values())
    return Check("pass", f"the loss fell from {first:.3g} to {last:.3g}")
