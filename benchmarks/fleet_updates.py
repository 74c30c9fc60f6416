"""How many projects a second tools/fleet.py updates, against one `copier update` after the other.

    python benchmarks/fleet_updates.py [--projects 100] [--runs 3]

Every figure is the wall time of real processes on fresh copies of a project with one update to
make; the fleet also makes its branches, which `copier update` does not. A tenth of the projects is
updated by both in turn, so that a busy machine slows both, and then all of them by the fleet: a
growth of 10 is linear.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from two_versions import our_versions, started

TOOLS = Path(__file__).parents[1] / "tools"
UPDATE = [sys.executable, "-m", "copier", "update", "--trust", "--defaults"]
AIM = 0.975  # of the cores: 1.95 times on two
FLEET = [sys.executable, str(TOOLS / "fleet.py"), "--trust", "--apply"]


def one_by_one(projects: Path) -> None:
    """What a loop in a shell does."""
    for project in sorted(projects.iterdir()):
        subprocess.run([*UPDATE, str(project)], check=True, capture_output=True)


def fleet(projects: Path) -> None:
    """What the tool does."""
    done = subprocess.run([*FLEET, str(projects)], check=True, capture_output=True, text=True)
    count = len(list(projects.iterdir()))
    if not done.stdout.endswith(f"{count} projects: {count} branch made\n"):
        raise AssertionError(done.stdout)


def computed() -> float:
    """The seconds that cores have spent on the processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds(
    update: Callable[[Path], None], project: Path, count: int, folder: Path
) -> tuple[float, float]:
    """The wall time of an update of so many copies of a project, and that of the cores."""
    projects = folder / "projects"
    for number in range(count):
        shutil.copytree(project, projects / f"project-{number:03}")
    started_at, before = time.perf_counter(), computed()
    update(projects)
    taken = time.perf_counter() - started_at, computed() - before
    shutil.rmtree(projects)
    return taken


def main() -> int:
    """Command line: see the top of this file. Exits 1 if the cores are not made use of."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--projects", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    many, few, cores = options.projects, options.projects // 10, os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = started(our_versions(folder / "torch-starter"), folder / "project")
        loop, tool = [], []
        for _ in range(options.runs):
            loop.append(seconds(one_by_one, project, few, folder))
            tool.append(seconds(fleet, project, few, folder))
        all_of_them = seconds(fleet, project, many, folder)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    of_loop, of_tool = (statistics.median(wall for wall, _ in runs) for runs in (loop, tool))
    rates = {
        f"{few} projects, one by one": few / of_loop,
        f"{few} projects, fleet": few / of_tool,
        f"{many} projects, fleet": many / all_of_them[0],
    }
    cost = [min(work for _, work in runs) / few for runs in (loop, tool)]
    cost.append(all_of_them[1] / many)
    head = f"{'':28}{'a second':>9}{'/ one by one':>14}{'core time each':>16}"
    print(f"{head}   ({options.runs} runs, {cores} cores)")
    for (what, rate), work in zip(rates.items(), cost, strict=True):
        print(f"{what:28}{rate:9.2f}{rate / next(iter(rates.values())):14.2f}{work:14.2f} s")
    print(
        f"{many / few:g} times as many projects take {all_of_them[0] / of_tool:.1f} times as long;"
        f" the largest process had {peak:.0f} MiB"
    )
    gain = rates[f"{many} projects, fleet"] / rates[f"{few} projects, one by one"]
    print(f"the fleet updates {gain:.2f} times as many a second (aim: {AIM * cores:g})")
    return int(gain < AIM * cores)


if __name__ == "__main__":
    sys.exit(main())
