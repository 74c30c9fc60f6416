"""Linters of workflows that more than one test runs."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path


def zizmor(*workflows: Path) -> None:
    """Fail if zizmor finds anything in workflows."""
    program = shutil.which("zizmor", path=sysconfig.get_path("scripts"))
    assert program
    options = ["--offline", "--persona=pedantic", "--min-severity=low", "--no-progress"]
    done = subprocess.run([program, *options, *workflows], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
