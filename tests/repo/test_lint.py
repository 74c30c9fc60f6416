"""The repository is clean in the eyes of its linters and its type checker."""

import subprocess
import sys
from pathlib import Path

import pytest

from render.projects import ROOT

SCRIPTS = ".ci/run template/bootstrap.sh"


@pytest.mark.parametrize(
    "tool",
    [
        "ruff check",
        "ruff format --check",
        "mypy",
        f"shellcheck {SCRIPTS}",
        f"shfmt --diff --indent 4 {SCRIPTS}",
    ],
)
def test_it_is_clean(tool: str) -> None:
    name, *arguments = tool.split()
    launcher = [sys.executable, "-m", name]
    if name.startswith("sh"):
        launcher = [str(Path(sys.executable).with_name(name))]
    done = subprocess.run([*launcher, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
