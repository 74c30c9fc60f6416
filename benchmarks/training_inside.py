"""What training_cost.py measures within a process that has torch: prints one line of JSON.

PYTHONPATH=PROJECT/src python benchmarks/training_inside.py step|rate|checkpoint [ARGUMENT]
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from my_torch_project import training
from my_torch_project.checkpoints import Checkpoints
from my_torch_project.data import Digits
from my_torch_project.logs import Log
from my_torch_project.model import Classifier
from my_torch_project.processes import Processes, leave
from my_torch_project.settings import Settings
from torch import nn

BLOCK = 23  # steps, an epoch of the program as shipped
ENDLESS = 10**5  # epochs: no measurement gets there


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long it takes, with all that a GPU still has to do before and afterwards."""
    settle(device)
    began = time.perf_counter()
    work()
    settle(device)
    return time.perf_counter() - began


def settle(device: torch.device) -> None:
    """Wait until a GPU has done all."""
    if device.type != "cpu":
        torch.accelerator.synchronize()


def repeat(work: Callable[[], object], times: int = BLOCK) -> None:
    """Do it some times."""
    for _ in range(times):
        work()


def bare_step(settings: Settings, device: torch.device) -> Callable[[], None]:
    """A step of the least loop that learns the same: no processes, logs, checkpoints, settings."""
    torch.manual_seed(0)
    data, model = Digits(), Classifier().to(device)
    images, labels = data.images.to(device), data.labels.to(device)
    rate, last = settings.learning_rate, settings.epochs * BLOCK
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=last)
    dtype = training.dtype_of(settings.precision, device)
    queue: list[Any] = []

    def step() -> None:
        if not queue:
            queue.extend(torch.randperm(len(data)).split(settings.batch))
        batch = queue.pop(0).to(device)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            scores = model(images[batch])
        nn.functional.cross_entropy(scores.float(), labels[batch]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()

    return step


def program_step(trainer: training.Trainer) -> Callable[[], None]:
    """A step as the program's loop takes it, but for its lines and checkpoints."""

    def step() -> None:
        trainer.take_step()
        trainer.together.stop()

    return step


def program_line(trainer: training.Trainer, log: Log) -> Callable[[], None]:
    """What the program's loop does for a line, and for the points of its curves."""
    loss, norm = trainer.take_step()

    def line() -> None:
        mean = float(trainer.together.sum(loss)) / trainer.together.count
        values = {"loss": mean, "norm": float(norm)}
        values["rate"] = float(trainer.rates()[0])
        log.metrics(trainer.step, trainer.settings.batch, trainer.device, **values)

    return line


def measure_step(folder: Path, blocks: int) -> dict[str, float]:
    """Seconds of a bare step; how many times that the program's takes, without and with lines."""
    settings, together = Settings(folder=folder, epochs=ENDLESS), Processes()
    trainer, device = training.Trainer(settings, together), together.device
    steps = {"bare": bare_step(settings, device), "program": program_step(trainer)}
    for step in steps.values():
        repeat(step)
    line = program_line(trainer, Log(folder, 0, trainer.last, first=True))
    taken: dict[str, list[float]] = {name: [] for name in (*steps, "line")}
    for _ in range(blocks):  # in turn, so that all suffer alike from other work
        for name, step in random.sample(list(steps.items()), k=len(steps)):
            step()  # what the other one has put into the caches is no part of it
            taken[name].append(seconds(partial(repeat, step), device) / BLOCK)
        taken["line"].append(seconds(line, device))
    bare, program, each = (statistics.median(times) for times in taken.values())
    lines = program + each / settings.log_every
    return {"bare": bare, "program": program / bare, "with lines": lines / bare}


def measure_rate(folder: Path, batch: int) -> dict[str, float]:
    """Seconds of a step, in as many processes as torchrun started."""
    together = Processes()
    share = -(-batch // together.count)
    settings = Settings(folder=folder, epochs=ENDLESS, batch=batch, micro_batch=share)
    step = program_step(training.Trainer(settings, together))
    repeat(step)
    times = [seconds(partial(repeat, step, 10), together.device) / 10 for _ in range(8)]
    return {"step": statistics.median(times)} if together.first else {}


def measure_checkpoint(folder: Path, width: int) -> dict[str, float]:
    """Seconds that the loop waits for a checkpoint, and until it is on the disk."""
    training.Classifier = partial(Classifier, width=width)
    settings, together = Settings(folder=folder, batch=16, micro_batch=16), Processes()
    trainer = training.Trainer(settings, together)
    trainer.take_step()  # which makes the optimizer's state
    checkpoints = Checkpoints(folder / "checkpoints", settings.keep, together)
    taken: dict[str, list[float]] = {"sync": [], "waits": [], "written": []}

    def save() -> None:
        checkpoints.save(len(taken["sync"]), trainer.state())

    for number in range(6):
        place = folder / f"sync-{number}"

        def save_at_once(at: Path = place) -> None:
            dcp.save(trainer.state(), checkpoint_id=at)

        taken["sync"].append(seconds(save_at_once, together.device))
        waits = seconds(save, together.device)
        taken["waits"].append(waits)
        taken["written"].append(waits + seconds(checkpoints.finish, together.device))
    size = sum(one.stat().st_size for one in place.iterdir())
    found = {name: statistics.median(times[1:]) for name, times in taken.items()}
    return {"MB": size / 1e6, **found}


def main() -> None:
    """Command line: see the top of this file."""
    torch.set_num_threads(1)
    measure = {"step": measure_step, "rate": measure_rate, "checkpoint": measure_checkpoint}
    with tempfile.TemporaryDirectory() as folder:
        found = measure[sys.argv[1]](Path(folder), int(sys.argv[2]))
    if found:
        print(json.dumps(found))
    leave(0)


if __name__ == "__main__":
    main()
