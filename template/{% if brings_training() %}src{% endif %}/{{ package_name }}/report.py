"""What is kept of a run beside its checkpoints: how to make it again, and a page on how it went."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from .data import Digits
from .device import describe
from .failures import TrainingError
from .logs import write_whole
from .processes import Processes
from .settings import Settings

# What may change while a run goes on.
FREE = {"folder", "micro_batch", "workers", "parallel", "save_every", "keep", "log_every"}
FREE |= {"compile", "profile", "memory_snapshot"}


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

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    if together.first:
        about = {
            "settings": wanted,
            "commit": git("rev-parse", "HEAD") + " and changes" * bool(git("status", "--short")),
            "python": sys.version.split()[0],
            "device": describe(together.device),
            "processes": together.count,
        }
        settings.folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(about, indent=2) + "\n")


def write_report(folder: Path, data: Digits, scores: Tensor) -> Path:
    """Draw report.png from metrics.jsonl and the scores (n, classes) of held-out data."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    figure = Figure(figsize=(11, 6), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False)[0]
    curve, table = left.subplots(2, 1)
    for axis, name, style in ((curve, "loss", "C0"), (curve.twinx(), "accuracy", "C1.-")):
        known = [row for row in rows if name in row]
        axis.plot([row["step"] for row in known], [row[name] for row in known], style)
        axis.set_ylabel(name, color=style[:2])
    right_ones = (scores.argmax(1) == data.labels).float().mean()
    curve.set(yscale="log", title=f"{right_ones:.1%} right after {rows[-1]['step']} steps")
    guesses, classes = scores.argmax(1), scores.shape[1]
    counts = torch.bincount(data.labels * classes + guesses, minlength=classes**2)
    table.imshow(counts.view(classes, classes).float().log1p(), cmap="Blues")
    for place, count in enumerate(counts.tolist()):
        if count:
            table.text(place % classes, place // classes, count, ha="center", va="center", size=7)
    table.set(xlabel="taken for", ylabel="is", xticks=range(classes), yticks=range(classes))
    sure = scores.log_softmax(1).gather(1, data.labels[:, None]).squeeze(1)
    right.suptitle("The worst mistakes")
    for axis, index in zip(right.subplots(3, 4).flat, sure.argsort().tolist(), strict=False):
        axis.imshow(data.images[index, 0], cmap="gray_r")
        axis.set_title(f"{data.labels[index]}, taken for {guesses[index]}", size=8)
        axis.axis("off")
    path = folder / "report.png"
    figure.savefig(path, dpi=120)
    return path
