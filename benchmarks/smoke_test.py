"""How long the quick smoke test of a project takes, against torch's bare import and one product.

    python benchmarks/smoke_test.py [--runs 7] [--torch-python .cache/torch-venv/bin/python]

The aim is at most 1.5 times the bare run plus one second; the script exits 1 beyond it. The Python
is one with the torch that the smoke test's own tests install: run those first.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from scripts.smoke_helpers import ROOT, Project
from scripts.torch_helpers import real_project

BARE = "import torch; torch.ones(2) @ torch.ones(2)"
FACTOR, EXTRA = 1.5, 1.0  # the aim: FACTOR * bare + EXTRA seconds


def seconds(command: Sequence[str], project: Project) -> float:
    """The time of one run, which must pass."""
    began = time.perf_counter()
    subprocess.run(command, env=project.env, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> int:
    """Command line: see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--torch-python", type=Path, default=ROOT / ".cache/torch-venv/bin/python")
    arguments = parser.parse_args()
    if not arguments.torch_python.is_file():
        sys.exit(f"{arguments.torch_python} is missing: run `pytest tests/scripts` first.")
    with tempfile.TemporaryDirectory() as folder:
        project = real_project(Path(folder), arguments.torch_python.parents[1].absolute())
        commands = {
            "a bare product": [project.executable, "-c", BARE],
            "quick smoke test": project.command(),
            "its checks without torch": project.command("--only", "PY-VERSION"),
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.runs + 1):  # in turn, so that all suffer alike from other work
            for name, command in commands.items():
                times[name].append(seconds(command, project))
    found = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    bare = found["a bare product"]
    for name, taken in found.items():
        print(f"{name:26}{taken:7.2f} s{taken / bare:7.2f} x   (median of {arguments.runs})")
    aim, quick = FACTOR * bare + EXTRA, found["quick smoke test"]
    print(f"{'the aim':26}{aim:7.2f} s{aim / bare:7.2f} x   {'met' if quick <= aim else 'MISSED'}")
    return 0 if quick <= aim else 1


if __name__ == "__main__":
    sys.exit(main())
