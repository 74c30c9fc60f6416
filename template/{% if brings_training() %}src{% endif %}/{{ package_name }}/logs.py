"""What a run shows: lines, curves for TensorBoard, and metrics.jsonl, for its report."""

import json
import shutil
import sys
import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor

# A process alone has no group: that is meant.
warnings.filterwarnings("ignore", "torch.distributed is disabled, unavailable or uninitialized")


def write_whole(path: Path, text: str) -> None:
    """Write a file that others see as it was or as it will be, whenever this is killed."""
    beside = path.with_suffix(".unfinished")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


class Log:
    """The first process's record of a run that goes on after a step; the others' writes nothing."""

    def __init__(self, folder: Path, step: int, last: int, first: bool) -> None:
        self.step, self.last, self.begin, self.first = step, last, time.monotonic(), first
        if first:
            from torch.utils.tensorboard.writer import SummaryWriter  # not by all: it takes a while

            self.file = folder / "metrics.jsonl"
            lines = self.file.read_text("utf-8").splitlines() if self.file.exists() else []
            kept = [one for one in lines if one.endswith("}") and json.loads(one)["step"] <= step]
            write_whole(self.file, "".join(f"{line}\n" for line in kept))
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def say(self, text: str, end: str = "\n") -> None:
        """A line."""
        if self.first:
            columns = shutil.get_terminal_size().columns - 1 if sys.stdout.isatty() else 0
            shown = text[:columns] if end == "\r" else text
            print(f"{shown:<{columns}}", end=end, flush=True)  # over the line before

    def metrics(self, step: int, samples: int, device: torch.device, **values: float) -> None:
        """The figures of a step; a terminal shows one line that changes, a file all of them."""
        if not self.first:
            return
        each = (time.monotonic() - self.begin) / max(1, step - self.step)
        values["samples/s"] = samples / each
        if hasattr(memory := torch.get_device_module(device), "max_memory_allocated"):
            values["GiB"] = memory.max_memory_allocated() / 2**30
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        minutes, seconds = divmod(round(each * (self.last - step)), 60)
        text = f"step {step}/{self.last}  {shown}  {minutes}:{seconds:02} left"
        self.say(text, end="\r" if sys.stdout.isatty() and step < self.last else "\n")
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self.board.add_scalar(name, value, step)

    def examples(self, step: int, images: Tensor, guesses: Tensor) -> None:
        """Images (n, 1, h, w), and what the model takes them for (n,)."""
        if self.first:
            self.board.add_images("examples", images, step)
            self.board.add_text("guesses", " ".join(map(str, guesses.tolist())), step)
            self.board.flush()


def profiler(file: Path | None) -> AbstractContextManager[torch.profiler.profile | None]:
    """Records a few steps in a file, if one is wanted."""
    if file is None:
        return nullcontext()
    return torch.profiler.profile(
        schedule=torch.profiler.schedule(wait=5, warmup=2, active=5, repeat=1),
        on_trace_ready=lambda one: one.export_chrome_trace(str(file)),
    )
