"""Run a command as somebody does who sits at no terminal, and keep what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest


def run(
    command: str | Sequence[str | Path],
    cwd: Path,
    env: Mapping[str, str] | None = None,
    *,
    apart: bool = False,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command, or a line of a shell; stdout has both outputs, unless they are kept apart."""
    words = ["sh", "-c", command] if isinstance(command, str) else [str(part) for part in command]
    return subprocess.run(
        words,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if apart else subprocess.STDOUT,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )


def bound_by_rights() -> list[str]:
    """What starts a program that may not read what its mode forbids, as root may."""
    if os.getuid():
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root may read everything, and there is no setpriv to take that away")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
