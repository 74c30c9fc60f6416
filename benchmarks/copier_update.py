"""How long `copier update` of a project takes, against the update of a bare template's project.

    python benchmarks/copier_update.py [--runs 11] [--peer REPOSITORY]

Both templates have two versions, and both projects go from the first to the second: ours from the
newest torch but two to the newest, the bare one from one line of text to another. Two more
templates are the bare one with files as large as ours, which need no rendering: with those of the
project, and with those of the whole repository. That is what Copier and git take for files.
The peer goes from its last release but one to its last.
Every figure is the wall time of a real process on a fresh copy of the project. The runs are
interleaved, so that a busy machine slows all of them, and the ratio of the medians is what to read.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from two_versions import ahead_of_peer, bare_versions, our_versions, parse_options, peer, started

from snapshot import tracked_files

COPIER = [sys.executable, "-m", "copier"]
UPDATE = [*COPIER, "update", "--trust", "--defaults", "--quiet"]
AIM = 1.9


def seconds_of_update(project: Path, folder: Path) -> float:
    """The wall time of an update of a copy of the project."""
    copy = Path(shutil.copytree(project, folder / "project", symlinks=True))
    started_at = time.perf_counter()
    subprocess.run([*UPDATE, str(copy)], check=True, stdout=subprocess.DEVNULL)
    taken = time.perf_counter() - started_at
    shutil.rmtree(copy)
    return taken


def sizes(repository: Path) -> list[int]:
    """How many bytes each file in a repository has."""
    return [(repository / name).stat().st_size for name in tracked_files(repository)]


def main() -> int:
    """Command line: see the top of this file. Exits 1 if the aim is missed."""
    options = parse_options(__doc__, 11)
    runs = options.runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = started(our_versions(folder / "torch-starter"), folder / "ours")
        of_project = sizes(ours)
        of_repository = sizes(folder / "torch-starter")
        beside = of_repository[len(of_project) :]
        templates = {
            "bare template": bare_versions(folder / "bare"),
            f"{len(of_project)} files": bare_versions(folder / "files", of_project),
            f"{len(of_repository)} in repo": bare_versions(folder / "more", of_project, beside),
        }
        projects = {
            name: started(template, folder / f"{template.name}-project")
            for name, template in templates.items()
        }
        projects["torch-starter"] = ours
        if other := peer(options, folder / "peer"):
            projects["peer"] = started(other, folder / "peer-project", None, options.peer_data)
        seconds: dict[str, list[float]] = {name: [] for name in projects}
        for number in range(runs + 1):  # the first round only warms the caches up
            for name, project in projects.items():
                taken = seconds_of_update(project, folder)
                seconds[name] += [taken] if number else []
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{'':18}{'median':>9}{'fastest':>9}{'/ bare':>8}   ({runs} runs each)")
    for name, median in medians.items():
        ratio = median / medians["bare template"]
        print(f"{name:18}{median:7.3f} s{min(seconds[name]):7.3f} s{ratio:8.2f}")
    ratio = medians["torch-starter"] / medians["bare template"]
    print(f"torch-starter takes {ratio:.2f} times the bare template's time (aim: {AIM} at most)")
    return int(not ahead_of_peer(medians) or ratio > AIM)


if __name__ == "__main__":
    sys.exit(main())
