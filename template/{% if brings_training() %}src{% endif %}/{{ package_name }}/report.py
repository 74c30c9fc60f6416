"""A page on how a run went: its curves, and what it mistakes for what."""

import json
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from .data import Digits


def write_report(folder: Path, data: Digits, scores: Tensor) -> Path:
    """Draw report.png from metrics.jsonl and the scores (n, classes) of held-out data."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, squeeze=False, width_ratios=(5, 4, 4))[0]
    draw_curves(left, rows)
    draw_table(middle, data.labels, scores)
    draw_mistakes(right, data, scores)
    path = folder / "report.png"
    figure.savefig(path, dpi=100)
    return path


def draw_curves(figure: SubFigure, rows: list[dict[str, float]]) -> None:
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


def draw_table(figure: SubFigure, labels: Tensor, scores: Tensor) -> None:
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


def draw_mistakes(figure: SubFigure, data: Digits, scores: Tensor) -> None:
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
