"""The bootstrap is killed at random moments, and two run at once: the next run puts all right."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from bootstrap import SMOKE_TEST, Bench

from install.checkouts import BOOTSTRAPS
from install.managers import Tools
from install.real_torch import NOT_COMPILED, needs_real_torch, real_index
from render.projects import render

pytestmark = [*BOOTSTRAPS, pytest.mark.slow]
SEED = 20261121
MANAGERS = ("uv", "pip", "poetry")
Record = Callable[[str, object], None]
CHECK = "import importlib.metadata as m, my_torch_project; print(m.version('torch'))"


def start(tools: Tools, project: Path, *options: str) -> subprocess.Popen[str]:
    """A bootstrap in a process group of its own."""
    return subprocess.Popen(
        ["sh", "bootstrap.sh", *(options or ["--no-smoke"])],
        cwd=project,
        env=tools.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        start_new_session=True,
    )


def stage(output: str) -> str:
    """What a run was at when it ended."""
    steps = [line.partition(" ...")[0].strip() for line in output.splitlines() if " ..." in line]
    finished = "Done." in output
    return "the end" if finished else steps[-1].partition(" (")[0] if steps else "looking around"


def kill(process: subprocess.Popen[str], now: Callable[[], bool]) -> str:
    """Kill the process and its children when it is time; where it was by then."""
    while not now():
        with suppress(subprocess.TimeoutExpired):
            return stage(process.communicate(timeout=0.005)[0])
    os.killpg(process.pid, signal.SIGKILL)
    return stage(process.communicate()[0])


def after(seconds: float) -> Callable[[], bool]:
    """Whether these have passed."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def remove_what_it_makes(project: Path) -> None:
    for folder in (".venv", ".tools"):
        shutil.rmtree(project / folder, ignore_errors=True)
    for lock in project.glob("*.lock"):
        lock.unlink()


class Kills:
    """Kills a project's bootstrap at random moments, and runs it again after each."""

    def __init__(self, tools: Tools, project: Path, *options: str) -> None:
        self.tools, self.project, self.options = tools, project, options
        self.stages = Counter[str]()

    def run(self) -> tuple[int, str]:
        """Let a bootstrap come to its end: exit code and output."""
        process = start(self.tools, self.project, *self.options)
        output, _ = process.communicate()
        return process.returncode, output

    def usual_seconds(self) -> float:
        """How long it takes from nothing when it is not killed; the first run fills the caches."""
        for _ in range(2):
            remove_what_it_makes(self.project)
            started = time.monotonic()
            code, output = self.run()
            assert code == 0, output
        return time.monotonic() - started

    def __call__(self, times: int) -> Iterator[str]:
        """Kill it this often; the output of each next run, which must end well."""
        seconds = self.usual_seconds() if times > 4 else 3.0  # for a few a guess will do
        chance = random.Random(SEED)
        for _ in range(times):
            remove_what_it_makes(self.project)
            moment = chance.triangular(0, seconds, seconds)  # it begins with looking
            if self.kill(after(moment)) == "the end":  # it was faster than usual
                seconds *= 0.7
            yield self.run_after(f"{moment:.3f} s")

    def half_a_torch(self) -> Iterator[str]:
        """Kill it once, while torch is put into .venv."""
        torch = "lib/python*/site-packages/torch/*"
        remove_what_it_makes(self.project)
        assert self.kill(lambda: any((self.project / ".venv").glob(torch))) == "installing"
        yield self.run_after("half of torch")

    def kill(self, now: Callable[[], bool]) -> str:
        """Kill a run when it is time; where it was by then."""
        stage = kill(start(self.tools, self.project, *self.options), now)
        self.stages[stage] += 1
        return stage

    def run_after(self, what: str) -> str:
        """The output of a run after a kill, which must end well."""
        code, output = self.run()
        assert code == 0, f"after {what}: {output}"
        left = {path.name for path in (self.project / ".tools").iterdir()}
        assert left <= {"bootstrap.log", "bootstrap.lock"}
        return output


@pytest.mark.some(1)
@pytest.mark.parametrize(("manager", "times"), [("uv", 12), ("pip", 1), ("poetry", 2)])
def test_a_run_after_a_kill_at_any_moment_is_as_good_as_the_first(
    tools: Tools, tmp_path: Path, record_property: Record, manager: str, times: int
) -> None:
    url = tools.index.pytorch_url
    project = render(tmp_path / "demo", package_manager=manager, pytorch_index_url=url)
    kills = Kills(tools, project)
    for _ in kills(times):
        installed = tools.run(project / ".venv/bin/python", "-c", CHECK, cwd=project)
        assert installed.strip().endswith("+cpu")
    for name, count in kills.stages.items():
        record_property(f"kills of a {manager} bootstrap while {name}", count)
    assert len(kills.stages) > (1 if times > 4 else 0)


@pytest.mark.some(1)
@pytest.mark.xdist_group("real install")
@needs_real_torch
@pytest.mark.parametrize("manager", ["uv", "pip"])
def test_a_run_after_a_kill_ends_in_a_passing_smoke_test(
    tmp_path: Path, record_property: Record, manager: str
) -> None:
    """With the real torch, half unpacked; KILLS=50 kills it so often at any moment."""
    with real_index() as index:
        times = int(os.environ.get("KILLS", "0"))
        bench = Bench(manager, index, tmp_path)
        bench.tools.environment |= NOT_COMPILED
        kills = Kills(bench.tools, bench.project, "--verbose")
        for output in kills(times) if times else kills.half_a_torch():
            assert "\nPASS  torch 2" in output or "Nothing to do" in output, output
            bench.tools.run(*SMOKE_TEST, cwd=bench.project)
    record_property(f"kills of a {manager} bootstrap with the real torch", times or 1)


def test_a_second_bootstrap_leaves_the_work_to_the_first(tools: Tools, tmp_path: Path) -> None:
    url = tools.index.pytorch_url
    project = render(tmp_path / "demo", package_manager="uv", pytorch_index_url=url)
    processes = [start(tools, project) for _ in range(4)]

    outputs = [process.communicate()[0] for process in processes]

    refused = [text for text in outputs if "Another bootstrap (process " in text]
    codes = sorted(process.returncode for process in processes)
    assert codes == [0] * (4 - len(refused)) + [2] * len(refused), outputs
    assert len(refused) < 4
    installed = tools.run(project / ".venv/bin/python", "-c", CHECK, cwd=project)
    assert installed.strip().endswith("+cpu")


def test_the_refusal_names_the_process_and_a_kill_lifts_it(tools: Tools, tmp_path: Path) -> None:
    url = tools.index.pytorch_url
    project = render(tmp_path / "demo", package_manager="uv", pytorch_index_url=url)
    (project / ".tools").mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(project / ".tools" / "bootstrap.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"

    process = start(tools, project)
    output, _ = process.communicate()
    holder.kill()
    holder.communicate()

    assert process.returncode == 2
    named = f"bootstrap: Another bootstrap (process {holder.pid}) works on this project.\n"
    assert output.endswith(f"{named}Wait until it has ended, then run this again.\n")
    assert not (project / ".venv").exists()
    output, _ = start(tools, project).communicate()
    assert "Done." in output, output


# Holds the lock as a bootstrap does, until it is killed.
HOLDER = """
import fcntl, os, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
file.write(str(os.getpid()))
file.flush()
print("held", flush=True)
sys.stdin.read()
"""
