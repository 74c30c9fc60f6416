"""Places of this project, words of the command line, and how a run ends."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

ROOT = Path(os.path.abspath(__file__)).parents[2]  # a mapped drive stays one
VENV = ROOT / ".venv"
STAMP = VENV / "bootstrap-stamp.json"  # written last: what .venv was made from
TOOLS = ROOT / ".tools"
UNFINISHED = TOOLS / "bootstrap.unfinished"  # exists while .venv is being changed
LOCK_BEFORE = TOOLS / "lock.before"  # exists while a manager writes its lock file
GUARD = TOOLS / "bootstrap.lock"  # held by the one run that may change anything
LOG = TOOLS / "bootstrap.log"
BUILDS = ROOT / "scripts" / "torch_builds.json"
SMOKE_TEST = ROOT / "scripts" / "gpu_smoke_test.py"
WINDOWS = os.name == "nt"
SHIM = "bootstrap.cmd" if WINDOWS else "bootstrap.sh"


class StopError(Exception):
    """The end of a run: exit code, one sentence what is wrong, one what to do."""

    def __init__(self, code: int, what: str, todo: str) -> None:
        super().__init__(what)
        self.code, self.what, self.todo = code, what, todo


def display(command: list[str]) -> str:
    """A command as one would type it."""
    if WINDOWS:
        return " ".join(
            f'"{word}"' if re.search(r"[^\w\\/:.=-]", word) else word for word in command
        )
    return shlex.join(command)


def update_command(answer: str) -> str:
    """How to change an answer of the template: Copier wants the project to be under git."""
    tracked = any((folder / ".git").exists() for folder in (ROOT, *ROOT.parents))
    first = "" if tracked else "git init && git add --all && git commit -m Start && "
    return f"{first}copier update --defaults --trust -d {answer}"


def venv_python(folder: Path) -> str:
    """The interpreter of a virtual environment."""
    return str(folder / ("Scripts/python.exe" if WINDOWS else "bin/python"))
