"""The report of a failed test begins with what was run and what came back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from render.projects import ROOT

TESTS = """
import subprocess, pytest
from copier import run_copy

PROGRAM = "echo first; echo second; echo problem >&2; exit 5"

def test_a_command(tmp_path):
    done = subprocess.run(["sh", "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0

def test_a_hang():
    subprocess.run(["sh", "-c", "echo begun; sleep 9"], capture_output=True, timeout=0.5)

def test_copier(tmp_path):
    run_copy(str(tmp_path / "none"), tmp_path / "project", {"name": "value"}, vcs_ref="v9")

def test_a_verdict(tmp_path):
    subprocess.run(["sh", "-c", "exit 3"])
    pytest.fail("without a traceback", pytrace=False)

@pytest.fixture
def made():
    subprocess.run(["no-such-program"])

def test_a_fixture(made):
    pass

def test_that_passes():
    subprocess.run(["sh", "-c", PROGRAM])
"""


def run(tmp_path: Path, *options: str) -> str:
    """The output of these tests, with the plugin; none of them is told of where it passes."""
    (tmp_path / "test_it.py").write_text(TESTS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "ran", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert "4 failed, 1 passed, 1 error" in done.stdout, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(os.name == "nt", reason="runs sh")
@pytest.mark.parametrize("processes", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_the_first_lines_say_what_was_run_and_what_came_back(
    tmp_path: Path, processes: str
) -> None:
    output = re.sub(r"(?m)^\[gw\d\].*\n", "", run(tmp_path, "-n", processes))
    heads = {
        part.partition(" ")[0].strip(): [line.strip() for line in part.splitlines()[1:9] if line]
        for part in output.split("___ ")[1:]
    }
    ran, came, *said = heads["test_a_command"]
    assert ran.startswith("ran: sh -c 'echo first; echo second; echo problem >&2; exit 5' (in /")
    assert came.startswith("exit code 5 after 0.")
    assert said[:3] == ["first", "second", "problem"]
    ran, came, *said = heads["test_a_hang"]
    assert came.startswith("it had not ended after 0.5 s, said:")
    assert said[0] == "begun"
    ran, came, *said = heads["test_copier"]
    assert ran.startswith("ran: copier copy /")
    assert "--vcs-ref=v9 --data=name=value" in ran
    assert came.startswith("it raised ")
    assert heads["test_a_verdict"][:2] == [
        f"ran: sh -c 'exit 3' (in {tmp_path})",
        "exit code 3 after 0.0 s",
    ]
    error = heads["ERROR"]
    assert error[0].startswith("ran: no-such-program (in ")
    assert error[1].startswith("it did not start: ")
    assert output.count("ran: ") == 5
