"""A project that trains, as its owner has it: its own tests, its linters, its first run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from training.runs import Program

pytestmark = pytest.mark.slow


# Its own tests are run by tests/install/test_first_run.py, too.
@pytest.mark.some(3)
@pytest.mark.parametrize(
    "command", [["ruff", "check"], ["pytest", "-q"], ["ruff", "format", "--check"], ["mypy"]]
)
def test_what_its_ci_runs_is_clean(project: Path, python: Path, command: list[str]) -> None:
    path = str(project / "src")
    done = subprocess.run(
        [python, "-m", *command],
        cwd=project,
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "MYPYPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_first_run_reaches_its_accuracy_and_leaves_all_it_promises(program: Program) -> None:
    command = [str(program.python), "-m", "my_torch_project", "--folder", str(program.folder)]
    running = program.start(command)
    said, _ = running.communicate(timeout=300)

    assert running.returncode == 0, said
    accuracies = [row["accuracy"] for row in program.metrics() if "accuracy" in row]
    assert accuracies[-1] >= 0.98
    assert "\r" not in said
    about = json.loads((program.folder / "run.json").read_text(encoding="utf-8"))
    assert about["settings"]["seed"] == "0"
    assert about["starts"][0]["device"].startswith("cpu: ")
    assert (program.folder / "report.png").read_bytes().startswith(b"\x89PNG")
    assert list((program.folder / "tensorboard").iterdir())
    kept = [path.name for path in sorted((program.folder / "checkpoints").iterdir())]
    assert len(kept) == 3
    assert kept[-1] == "step-00000368"
