"""Where a result goes: a list for people, and files or texts for others."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from .bug_report import bug_report
from .report import markdown, report, wants_colours
from .result import Result

# An option each: what it is for, and its text; the number is for how many seconds it may ask torch.
OUTPUTS: dict[str, tuple[str, Callable[[Result, float], str]]] = {
    "json": ("for programs", lambda result, limit: json.dumps(result.document(), indent=2)),
    "markdown": ("a table for a CI summary", lambda result, limit: markdown(result)),
    "report": ("all that a bug report needs", bug_report),
}


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Give the command line its options."""
    for name, (what, _) in OUTPUTS.items():
        help_text = f"{what}; without FILE: to stdout"
        parser.add_argument(
            f"--{name}", nargs="?", const="-", default="", metavar="FILE", help=help_text
        )


def output_trouble(options: argparse.Namespace) -> str:
    """Why a result could not be written as asked: better said before the checks than after."""
    targets = {name: target for name in OUTPUTS if (target := getattr(options, name))}
    if len(set(targets.values())) < len(targets):
        return "each output needs a FILE of its own, but for one that goes to stdout"
    for name, target in targets.items():
        if Path(target).is_dir() or not Path(target).parent.is_dir():
            return f"--{name}: {target} is a folder, or is in none"
    return ""


def show(result: Result, options: argparse.Namespace, limit: float) -> None:
    """Write it; the list for people first, so that a full disk does not swallow that too."""
    texts = {
        target: make for name, (_, make) in OUTPUTS.items() if (target := getattr(options, name))
    }
    to_stdout = texts.pop("-", None)
    text = to_stdout(result, limit) if to_stdout else report(result, wants_colours())
    try:
        print(text.encode("ascii", "backslashreplace").decode(), flush=True)
    except BrokenPipeError:  # `| head`: nobody reads on, and nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    for target, make in texts.items():
        text = make(result, limit) + "\n"
        Path(target).write_text(text, encoding="utf-8", errors="backslashreplace")
