"""How long the bootstrap takes to a passing smoke test, against the manager's own commands.

    python benchmarks/bootstrap.py [--runs 3] [--managers uv pip poetry]

The real torch, from an index on loopback, so that no network hides what the bootstrap costs. The
commands by hand are those of each manager's documentation. Both sides are measured in turn, cold
(empty caches) and warm, and begin without .venv and without a lock file; the fastest run of each
counts. The index notes what it was asked for: a CPU project must not download a wheel of CUDA's.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "extensions"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from install.loopback_index import LoopbackIndex
from install.managers import Tools
from install.real_torch import real_index
from render.projects import render

AIM_COLD, AIM_NOTHING = 1.05, 1.0  # times the commands by hand; seconds
CUDA = re.compile(r"/(nvidia|cuda|triton|torch-[^/]*cu\d)[^/]*\.whl$", re.IGNORECASE)
SMOKE_TEST = [".venv/bin/python", "scripts/gpu_smoke_test.py"]
PIP = [".venv/bin/python", "-m", "pip", "install"]
BY_HAND: dict[str, list[list[str]]] = {
    "uv": [["uv", "sync"], SMOKE_TEST],
    "poetry": [["poetry", "install"], SMOKE_TEST],
    "pip": [
        [sys.executable, "-m", "venv", ".venv"],
        [*PIP, "--upgrade", "pip"],
        [*PIP, "-c", "requirements/torch-cpu.txt", "--group", "dev", "-e", "."],
        SMOKE_TEST,
    ],
}
BOOTSTRAP = [["sh", "bootstrap.sh"]]


class Bench:
    """One manager's project, and the ways to bring it from nothing to a passing smoke test."""

    def __init__(self, manager: str, index: LoopbackIndex, folder: Path) -> None:
        self.index = index
        self.tools = Tools(index, folder / "home")
        self.project = render(
            folder / "project",
            package_manager=manager,
            compute_platform="cpu",
            torch_version="2.13",
            torch_packages=[],
            pytorch_index_url=index.pytorch_url,
        )

    def seconds(self, commands: Sequence[Sequence[str]]) -> float:
        """How long these commands take; each has to end with 0."""
        started = time.perf_counter()
        for command in commands:
            self.tools.run(*command, cwd=self.project, env={"POETRY_VIRTUALENVS_IN_PROJECT": "1"})
        return time.perf_counter() - started

    def forget(self, cold: bool) -> None:
        """Back to a fresh checkout; `cold`: with empty caches, too."""
        for name in (".venv", ".tools"):
            shutil.rmtree(self.project / name, ignore_errors=True)
        for lock in self.project.glob("*.lock"):
            lock.unlink()
        for cache in self.tools.home.glob("*cache") if cold else ():
            shutil.rmtree(cache)


def measure(manager: str, index: LoopbackIndex, runs: int) -> dict[str, list[float]]:
    """Seconds of each way of one manager; the first round only warms the disk up."""
    ways = {"by hand": BY_HAND[manager], "bootstrap": BOOTSTRAP}
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name, index.recorded() as requests:
        bench = Bench(manager, index, Path(name))
        for number in range(runs + 1):
            for temperature in ("cold", "warm"):
                for way, commands in ways.items():
                    bench.forget(temperature == "cold")
                    took = bench.seconds(commands)
                    if number:
                        seconds.setdefault(f"{way}, {temperature}", []).append(took)
            took = bench.seconds(BOOTSTRAP)
            if number:
                seconds.setdefault("nothing to do", []).append(took)
    if cuda := [request.path for request in requests if CUDA.search(request.path)]:
        raise SystemExit(f"{manager} downloaded CUDA: {cuda[:3]}")
    torch = [request for request in requests if re.search(r"/torch-[^/]*\.whl$", request.path)]
    print(f"{manager}: {len(requests)} requests, {len(torch)} for wheels of torch, none of CUDA's")
    return seconds


def report(manager: str, seconds: dict[str, list[float]]) -> bool:
    """Print a manager's rows, the fastest run of each way; whether the aims are met."""
    best = {name: min(times) for name, times in seconds.items()}
    ratio = {
        kind: best[f"bootstrap, {kind}"] / best[f"by hand, {kind}"] for kind in ("cold", "warm")
    }
    for kind in ("cold", "warm"):
        hand, ours = (best[f"{way}, {kind}"] for way in ("by hand", "bootstrap"))
        print(f"| {manager}, {kind} | {hand:.2f} s | {ours:.2f} s | {ratio[kind]:.2f} |")
    print(f"| {manager}, nothing to do | - | {best['nothing to do']:.2f} s | - |", flush=True)
    return ratio["cold"] <= AIM_COLD and best["nothing to do"] < AIM_NOTHING


def main() -> int:
    """Command line: see the top of this file. Exits 1 if an aim is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--managers", nargs="+", choices=BY_HAND, default=list(BY_HAND))
    asked = parser.parse_args()
    with real_index() as index:
        met = [report(name, measure(name, index, asked.runs)) for name in asked.managers]
    print(f"Aims: {AIM_COLD} times the commands by hand when cold, {AIM_NOTHING} s to do nothing")
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
