"""How long `copier copy` of this template takes, against a bare template and against Copier alone.

    python benchmarks/copier_copy.py [--runs 15] [--peer REPOSITORY]

Every figure is the wall time of a real process. The runs are interleaved, so that a busy machine
slows all of them, and the ratios of the medians are what to read.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from two_versions import ahead_of_peer, bare_template, data_options, parse_options, peer

from snapshot import commit_all, git, snapshot

COPIER = [sys.executable, "-m", "copier"]
COPY = [*COPIER, "copy", "--trust", "--defaults", "--quiet"]
AIM = 1.4


def measure(commands: dict[str, list[str]], runs: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of each run of each command; the first round only warms the caches up."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, command in commands.items():
            target = [str(folder / f"{name}-{number}")] if "copy" in command else []
            started = time.perf_counter()
            subprocess.run([*command, *target], check=True, stdout=subprocess.DEVNULL)
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def main() -> int:
    """Command line: see the top of this file. Exits 1 if the aim is missed."""
    options = parse_options(__doc__, 15)
    runs = options.runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = snapshot(folder / "torch-starter")
        bare = bare_template(folder / "bare")
        commit_all(bare, "0.0.1")
        for template in (ours, bare):  # packed, as a clone from a server is
            git("gc", "--quiet", cwd=template)
        commands = {
            "copier --version": [*COPIER, "--version"],
            "bare template": [*COPY, str(bare)],
            "torch-starter": [*COPY, str(ours)],
        }
        if other := peer(options, folder / "peer"):
            commands["peer"] = [*COPY, *data_options(options.peer_data), str(other)]
        seconds = measure(commands, runs, folder)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{'':18}{'median':>9}{'fastest':>9}{'/ version':>11}{'/ bare':>8}   ({runs} runs each)")
    for name, median in medians.items():
        print(
            f"{name:18}{median:7.3f} s{min(seconds[name]):7.3f} s"
            f"{median / medians['copier --version']:11.2f}{median / medians['bare template']:8.2f}"
        )
    ratio = medians["torch-starter"] / medians["bare template"]
    print(f"torch-starter takes {ratio:.2f} times the bare template's time (aim: {AIM} at most)")
    return int(not ahead_of_peer(medians) or ratio > AIM)


if __name__ == "__main__":
    sys.exit(main())
