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
from collections.abc import Callable
from pathlib import Path

import pytest

from install.managers import Tools
from install.rendered import render

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="runs bootstrap.sh"),
    pytest.mark.usefixtures("real_pip"),
    pytest.mark.network,
    pytest.mark.slow,
]
SEED = 20261121
CHECK = "import importlib.metadata as m, my_torch_project; print(m.version('torch'))"


def start(tools: Tools, project: Path) -> subprocess.Popen[str]:
    """A bootstrap in a process group of its own."""
    return subprocess.Popen(
        ["sh", "bootstrap.sh", "--no-smoke"],
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


def kill(process: subprocess.Popen[str], moment: float) -> str:
    """Kill the process and its children at a moment; where it was by then."""
    try:
        output, _ = process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    return stage(output)


def remove_what_it_makes(project: Path) -> None:
    for folder in (".venv", ".tools"):
        shutil.rmtree(project / folder, ignore_errors=True)
    for lock in project.glob("*.lock"):
        lock.unlink()


@pytest.mark.parametrize(("manager", "times"), [("uv", 34), ("pip", 8), ("poetry", 8)])
def test_a_run_after_a_kill_at_any_moment_is_as_good_as_the_first(
    tools: Tools,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    manager: str,
    times: int,
) -> None:
    url = tools.index.pytorch_url
    project = render(tmp_path / "demo", package_manager=manager, pytorch_index_url=url)
    durations = []
    for _ in range(2):  # the first fills the caches
        remove_what_it_makes(project)
        started = time.monotonic()
        output, _ = start(tools, project).communicate()
        durations.append(time.monotonic() - started)
        assert "Done." in output, output
    chance, stages = random.Random(SEED), Counter[str]()
    for _ in range(times):
        remove_what_it_makes(project)
        moment = chance.triangular(0, durations[-1], durations[-1])  # it begins with looking
        stages[kill(start(tools, project), moment)] += 1

        process = start(tools, project)
        output, _ = process.communicate()

        assert process.returncode == 0, f"after {moment:.3f} s: {output}"
        installed = tools.run(project / ".venv/bin/python", "-c", CHECK, cwd=project)
        assert installed.strip().endswith("+cpu")
        left = {path.name for path in (project / ".tools").iterdir()}
        assert left <= {"bootstrap.log", "bootstrap.lock"}
    for name, count in stages.items():
        record_property(f"kills of a {manager} bootstrap while {name}", count)
    assert len(stages) > 2


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
