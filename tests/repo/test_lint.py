"""The repository is clean in the eyes of its linters and its type checker."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "tool", ["ruff check", "ruff format --check", "mypy", "shellcheck .ci/run"]
)
def test_it_is_clean(tool: str) -> None:
    name, *arguments = tool.split()
    launcher = [sys.executable, "-m", name]
    if name == "shellcheck":
        launcher = [str(Path(sys.executable).with_name("shellcheck"))]
    done = subprocess.run([*launcher, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
