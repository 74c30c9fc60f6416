"""Runs a tool of `.venv`, wherever this system has it: python in_venv.py ruff check."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PLACES = ("bin/python", "Scripts/python.exe")


def main(module: str, *arguments: str) -> int:
    """The exit code of the tool, or 3 where there is none."""
    for place in PLACES:
        python = PROJECT / ".venv" / place
        if python.exists():
            command = [str(python), "-m", module, *arguments]
            return subprocess.run(command, cwd=PROJECT, check=False).returncode
    print("There is no .venv, whose tools check this.", file=sys.stderr)
    print("Make it: sh bootstrap.sh (Windows: bootstrap.cmd)", file=sys.stderr)
    return 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
