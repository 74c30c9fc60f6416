"""What a run can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .failures import TrainingError

POSITIVE = {"epochs", "batch", "micro_batch", "save_every", "keep", "log_every"}
POSITIVE |= {"learning_rate", "clip"}


@dataclass(frozen=True)
class Settings:
    """Train a classifier of handwritten digits, or go on with the run in --folder."""

    folder: Path = Path("runs/digits")
    """Where checkpoints, curves and the report go."""
    epochs: int = 16
    batch: int = 64
    """Samples of a step, of all processes together: the curve depends on it, and not on them."""
    micro_batch: int = 64
    """Samples that a process computes at once; the gradients of several make a batch."""
    workers: int = 0
    """Processes that read data beside each that trains."""
    learning_rate: float = 4e-3
    weight_decay: float = 0.05
    clip: float = 1.0
    """The largest norm that a gradient keeps; inf for any."""
    seed: int = 0
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Whether each process has the whole model, or a part of each of its layers."""
    device: Literal["auto", "cpu"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: bool = False
    deterministic: bool = False
    """Only algorithms that compute the same each time; an error where there is none."""
    save_every: int = 100
    """Steps from a checkpoint to the next."""
    keep: int = 3
    """How many of the newest checkpoints stay."""
    log_every: int = 10
    """Steps from a line to the next."""
    profile: bool = False
    """Write trace.json of the 8th to the 12th step, for ui.perfetto.dev."""
    memory_snapshot: bool = False
    """Write memory.pickle when a GPU's memory is full, for pytorch.org/memory_viz."""

    def __post_init__(self) -> None:
        for name in (*POSITIVE, "workers", "weight_decay"):
            value = getattr(self, name)
            if not (value > 0 if name in POSITIVE else value >= 0):
                option = f"--{name.replace('_', '-')} {value}"
                raise TrainingError(f"{option} makes no sense. Give it a larger value.")
