"""The command line: `python -m PACKAGE`, or `torchrun --nproc-per-node=N -m PACKAGE`."""

import math
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
import tyro

from .checkpoints import Checkpoints
from .data import Digits
from .failures import TrainingError, explain
from .logs import Log
from .processes import AGAIN, Processes, leave
from .report import write_about, write_report
from .settings import Settings
from .training import Trainer


def train(settings: Settings) -> int:
    """Train until the end or a signal; returns the exit code."""
    together = Processes(settings.device)
    trainer, held_out = Trainer(settings, together), Digits(held_out=True)
    write_about(settings, together)
    checkpoints = Checkpoints(settings.folder / "checkpoints", settings.keep, together)
    state = trainer.state()
    if checkpoints.load(state):
        trainer.resume(state)
    log = Log(settings.folder, trainer.step, trainer.last, together.first)
    log.say(f"Step {trainer.step} of {trainer.last}, {together.count} x {together.device.type}")
    trace = settings.folder / "trace.json" if settings.profile and together.first else None
    scores = None
    with profiler(trace) as profile:
        while trainer.step < trainer.last:
            loss, norm = trainer.take_step()
            checkpoints.when_done()
            if profile:
                profile.step()
            stop, end = together.stop(), trainer.step == trainer.last
            save = stop or end or trainer.step % settings.save_every == 0
            if save or trainer.step % settings.log_every == 0:
                mean = float(together.sum(loss)) / together.count
                values = {"loss": mean, "norm": float(norm)}
                check_finite(trainer.step, **values, scaled=trainer.scaler.is_enabled())
                values["rate"] = float(trainer.rates()[0])
                log.metrics(trainer.step, settings.batch, together.device, **values)
            if end or trainer.step % trainer.per_epoch == 0:
                scores = trainer.measure(held_out)
                right = (scores.argmax(1) == held_out.labels).float().mean()
                log.metrics(trainer.step, settings.batch, together.device, accuracy=float(right))
                log.examples(trainer.step, held_out.images[:16], scores[:16].argmax(1))
            if save:  # last, so that what was found until here is kept too
                checkpoints.save(trainer.step, trainer.state())
            if stop:
                checkpoints.finish()
                log.say(f"Told to stop: step {trainer.step} is saved, the same command goes on.")
                (settings.folder / "again").touch()  # torchrun does not pass on a code
                return AGAIN
    if scores is None:  # it had ended before
        scores = trainer.measure(held_out)
    checkpoints.finish()
    if together.first:
        log.say(f"Done: {write_report(settings.folder, held_out, scores)}")
        (settings.folder / "done").touch()
    return 0


def check_finite(step: int, loss: float, norm: float, scaled: bool) -> None:
    """Stop before weights that are no numbers are saved; a scaler leaves out such gradients."""
    if not math.isfinite(loss if scaled else loss + norm):
        raise TrainingError(
            f"The loss of step {step} is {loss}, its gradient's norm {norm}. Take a smaller"
            " --learning-rate or --precision float32, and another --folder."
        )


def profiler(file: Path | None) -> AbstractContextManager[torch.profiler.profile | None]:
    """Records a few steps in a file, if one is wanted."""
    if file is None:
        return nullcontext()
    return torch.profiler.profile(
        schedule=torch.profiler.schedule(wait=5, warmup=2, active=5, repeat=1),
        on_trace_ready=lambda one: one.export_chrome_trace(str(file)),
    )


def main() -> None:
    """The command line."""
    settings = tyro.cli(Settings, prog=f"python -m {__package__}")
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts
        torch.use_deterministic_algorithms(True)
    if settings.memory_snapshot and torch.cuda.is_available():
        torch.cuda.memory._record_memory_history()
    try:
        code = train(settings)
    except BaseException as error:  # noqa: BLE001 - CheckpointException is no Exception
        print(explain(error), file=sys.stderr)
        if settings.memory_snapshot and isinstance(error, torch.OutOfMemoryError):
            torch.cuda.memory._dump_snapshot(str(settings.folder / "memory.pickle"))
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
    leave(code)


if __name__ == "__main__":
    main()
