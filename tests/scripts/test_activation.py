"""What the bootstrap says at its end is typed into the shell it was started from, and works."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from scripts.bootstrap_helpers import Demo, make_demo, tool

pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="needs POSIX shells")
# yash cannot read the activate that uv writes.
# Something that only an interactive one has by itself.
FIRST = {"tcsh": "set prompt = '> '; "}
SHOW = "python -c 'import sys; print(sys.prefix)'"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    demo = make_demo(tmp_path_factory.mktemp("activation"), "uv", "my project")
    done = demo.run("--no-smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    return demo


def typed(demo: Demo, shell: str, line: str, cwd: Path) -> str:
    """What a line prints that somebody types into a shell."""
    program, *options = shell.split()
    done = subprocess.run(
        [str(tool(program)), *options, "-c", line],
        cwd=cwd,
        env={**demo.env, "PATH": f"{demo.env['PATH']}:{os.defpath}", "SHELL": str(tool(program))},
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "shell", ["bash", "zsh", "dash", "mksh", "ksh93", "busybox sh", "fish", "tcsh"]
)
def test_the_advice_activates_the_environment(demo: Demo, shell: str) -> None:
    told = typed(demo, shell, "my\\ project/bootstrap.sh --no-smoke", demo.root.parent)
    steps = [line.strip() for line in told.partition("Next steps:")[2].splitlines() if line]
    enter, activate, without = steps[0], steps[1], steps[2].rpartition(": ")[2]
    assert enter == f"cd '{demo.root}'"
    assert "bin/activate" in activate

    line = f"{FIRST.get(shell, '')}{enter}; {activate}; {SHOW}"
    assert typed(demo, shell, line, Path("/")).splitlines()[-1] == f"{demo.root}/.venv"

    line = f"{enter}; {without.replace('-m pytest', '-c')} 'import sys; print(sys.prefix)'"
    assert typed(demo, shell, line, Path("/")).splitlines()[-1] == f"{demo.root}/.venv"
