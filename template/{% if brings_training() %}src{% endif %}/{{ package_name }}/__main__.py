"""The command line: `python -m PACKAGE`, or `torchrun --nproc-per-node=N -m PACKAGE`."""

import os
import sys

import torch
import tyro

from .checkpoints import Checkpoints
from .data import Digits
from .failures import TrainingError, check_finite, explain
from .logs import Log, profiler
from .processes import AGAIN, Processes, leave
from .record import write_about
from .settings import Settings
from .training import Trainer


def train(settings: Settings) -> int:
    """Train until the end or a signal; returns the exit code."""
    together = Processes(settings.device)
    trainer, held_out = Trainer(settings, together), Digits(held_out=True)
    if not len(held_out):
        raise TrainingError("Nothing is held out to be measured on. See Digits in data.py.")
    write_about(settings, together, trainer.data)
    checkpoints = Checkpoints(settings.folder / "checkpoints", settings.keep, together)
    if state := checkpoints.load(trainer.state):
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
    if scores is None:
        log.say("This run has ended before. Take another --folder to train anew.")
        scores = trainer.measure(held_out)
    checkpoints.finish()
    if together.first:
        from .report import write_report  # not by all processes: it takes a while

        log.say(f"Done: {write_report(settings.folder, held_out, scores)}")
        (settings.folder / "done").touch()
    return 0


def main() -> None:
    """The command line."""
    try:
        settings = tyro.cli(Settings, prog=f"python -m {__package__}")
    except TrainingError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts
        torch.use_deterministic_algorithms(True)
    if settings.memory_snapshot and torch.cuda.is_available():
        torch.cuda.memory._record_memory_history()
    try:
        code = train(settings)
    except BaseException as error:  # noqa: BLE001 - CheckpointException is no Exception
        print("\n" * sys.stdout.isatty() + explain(error, settings.folder), file=sys.stderr)
        if settings.memory_snapshot and isinstance(error, torch.OutOfMemoryError):
            torch.cuda.memory._dump_snapshot(str(settings.folder / "memory.pickle"))
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
    leave(code)


if __name__ == "__main__":
    main()
