"""What is kept of a run beside its checkpoints: how to make it again, and a page on how it went."""

import errno
import json
import math
import os
import secrets
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .data import Digits
from .device import describe
from .failures import TrainingError
from .logs import write_whole
from .processes import Processes
from .settings import Settings

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

# What may change while a run goes on.
FREE = {"folder", "micro_batch", "workers", "parallel", "save_every", "keep", "log_every"}
FREE |= {"compile", "device", "profile", "memory_snapshot"}


def write_about(settings: Settings, together: Processes) -> None:
    """Write run.json: all that is needed to make a run again.

    Raises:
        TrainingError: if the folder has a run with other settings.
    """
    path = settings.folder / "run.json"
    wanted = {name: str(value) for name, value in asdict(settings).items()}
    before = json.loads(path.read_text("utf-8"))["settings"] if path.exists() else wanted
    for name in wanted.keys() - FREE:
        if before.get(name) != wanted[name]:
            option = name.replace("_", "-")
            raise TrainingError(
                f"The run in {settings.folder} has --{option} {before.get(name)}, and not"
                f" {wanted[name]}. Give it the same, or take another --folder."
            )

    check_shared(settings.folder, together)  # from here on, all have read run.json

    if together.first:
        commit = git("rev-parse", "--verify", "--quiet", "HEAD") or "unknown"
        about = {
            "settings": wanted,
            "commit": commit + " and changes" * bool(git("status", "--short")),
            "python": sys.version.split()[0],
            "device": describe(together.device),
            "processes": together.count,
        }
        (settings.folder / "again").unlink(missing_ok=True)
        write_whole(path, json.dumps(about, indent=2) + "\n")


def git(*words: str) -> str:
    """What git says of this program; "" where it is not, or not there."""
    command = ["git", "-C", str(Path(__file__).parent), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def hold(folder: Path) -> bool:
    """Whether this process alone writes to a folder, from now on until it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)  # which is never closed
    try:
        if sys.platform == "win32":
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # or a file system that has no locks
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def check_shared(folder: Path, together: Processes) -> None:
    """Each process writes a part of a checkpoint, which is of no use in a folder of its own.

    Raises:
        TrainingError: if another run writes there, or a process does not see the first's folder.
    """
    if together.sum(torch.tensor(int(together.first and not hold(folder)))):
        raise TrainingError(
            f"Another run writes to {folder}. Wait for its end, or take another --folder."
        )
    # A new name, since network file systems remember for a while which ones there are not.
    number = int(together.sum(torch.tensor(secrets.randbits(48) * together.first)))
    mark = folder / f"shared-{number}"
    if together.first:
        mark.touch()
    together.sum(torch.zeros(1))
    missing = int(together.sum(torch.tensor(int(not mark.exists()))))
    if together.first:
        mark.unlink()
    if missing:
        raise TrainingError(
            f"{missing} of {together.count} processes do not see what the first one writes to"
            f" {folder}. Let --folder be on a file system that all machines share."
        )


def write_report(folder: Path, data: Digits, scores: Tensor) -> Path:
    """Draw report.png from metrics.jsonl and the scores (n, classes) of held-out data."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    from matplotlib.figure import Figure  # not by all processes: it takes a while

    figure = Figure(figsize=(13, 4.4), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, squeeze=False, width_ratios=(5, 4, 4))[0]
    draw_curves(left, rows)
    draw_table(middle, data.labels, scores)
    draw_mistakes(right, data, scores)
    path = folder / "report.png"
    figure.savefig(path, dpi=100)
    return path


def draw_curves(figure: "SubFigure", rows: list[dict[str, float]]) -> None:
    """The loss of batches, and the accuracy on held-out data."""
    loss = figure.subplots()
    accuracy = loss.twinx()
    for axis, name, style in ((loss, "loss", "C0"), (accuracy, "accuracy", "C1.-")):
        known = [row for row in rows if name in row]
        axis.plot([row["step"] for row in known], [row[name] for row in known], style)
    loss.set(yscale="log", xlabel="step", xlim=(0, None))
    loss.set_title(f"The curve of {rows[-1]['step']} steps")
    loss.set_ylabel("loss of one batch", color="C0")
    accuracy.set_ylim(0, 1.03)
    accuracy.yaxis.set_major_formatter("{x:.0%}")
    accuracy.set_ylabel("accuracy on what is held out", color="C1")


def draw_table(figure: "SubFigure", labels: Tensor, scores: Tensor) -> None:
    """How many of each class are taken for each."""
    axis, classes, guesses = figure.subplots(), scores.shape[1], scores.argmax(1)
    counts = torch.bincount(labels * classes + guesses, minlength=classes**2)
    shades = counts.float().log1p()
    axis.imshow(shades.view(classes, classes), cmap="Blues")
    for place in counts.nonzero().flatten().tolist():
        color = "white" if shades[place] > shades.max() / 2 else "black"
        text = axis.text(place % classes, place // classes, str(int(counts[place])))
        text.set(ha="center", va="center", size=8, color=color)
    right = int((guesses == labels).sum())
    axis.set_title(f"{right} of {len(labels)} held out are right: {right / len(labels):.2%}")
    axis.set(xlabel="taken for", ylabel="is", xticks=range(classes), yticks=range(classes))


def draw_mistakes(figure: "SubFigure", data: Digits, scores: Tensor) -> None:
    """Those held-out images whose class gets the least of the probability."""
    guesses, sure = scores.argmax(1), scores.softmax(1).gather(1, data.labels[:, None]).squeeze(1)
    wrong = [one for one in sure.argsort().tolist() if guesses[one] != data.labels[one]]
    shown = wrong[:12]
    worst = f"the worst {len(shown)} of " if len(shown) < len(wrong) else ""
    figure.suptitle(f"Mistakes: {worst}{len(wrong)}")
    columns = max(2, math.ceil(math.sqrt(len(shown))))
    axes = figure.subplots(max(2, -(-len(shown) // columns)), columns)
    for number, axis in enumerate(axes.flat):
        axis.axis("off")
        if number < len(shown):
            index = shown[number]
            axis.imshow(data.images[index, 0], cmap="gray_r")
            axis.set_title(f"{data.labels[index]}, taken for {guesses[index]}", size=9)
