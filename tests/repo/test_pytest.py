"""How the tests themselves run."""

import subprocess
import sys
from pathlib import Path

import pytest

GROUPED = """
import os, pytest

@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(8))
def test_it(number):
    with open("processes.txt", "a") as file:
        file.write(f"{os.getpid()}\\n")
"""


@pytest.mark.slow
def test_tests_of_one_group_run_in_one_process(tmp_path: Path) -> None:
    """Else two would prepare the same project, or use the same Wine."""
    (tmp_path / "test_grouped.py").write_text(GROUPED, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist=loadgroup", "-q"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    processes = (tmp_path / "processes.txt").read_text(encoding="utf-8").split()
    assert len(processes) == 8
    assert len(set(processes)) == 1
