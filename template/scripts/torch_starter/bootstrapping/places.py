"""Places of this project, what a run says, and how it ends."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(os.path.abspath(__file__)).parents[3]  # a mapped drive stays one
VENV = ROOT / ".venv"
STAMP = VENV / "bootstrap-stamp.json"  # written last: what .venv was made from
LOCKS = ROOT / "locks"
TOOLS = ROOT / ".tools"
UNFINISHED = VENV / "bootstrap.unfinished"  # exists while .venv is being changed
LOCK_BEFORE = TOOLS / "lock.before"  # exists while a manager writes its lock file
GUARD = TOOLS / "bootstrap.lock"  # held by the one run that may change anything
LOG = TOOLS / "bootstrap.log"
MACHINERY = ROOT / "scripts" / "torch_starter"
BUILDS = ROOT / "scripts" / "torch_builds.json"
SMOKE_TEST = ROOT / "scripts" / "gpu_smoke_test.py"
WINDOWS = os.name == "nt"
SHIM = "bootstrap.cmd" if WINDOWS else "bootstrap.sh"
TYPED = SHIM if WINDOWS else f"sh {SHIM}"  # in the project's folder


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


def copier_update(answers_file: str = "") -> str:
    """The command that updates the project; `answers_file` is named if it has a name of its own."""
    named = f" --answers-file {display([answers_file])}" if answers_file else ""
    return f"copier update --trust{named} --defaults"


def update_command(answers_file: str, answers: str) -> str:
    """How to change answers of the template: Copier wants the project to be under git.

    `answers`: options that torch_builds.json has; they hold for the template's version as it is.
    """
    tracked = any((folder / ".git").exists() for folder in (ROOT, *ROOT.parents))
    first = "" if tracked else "git init && git add --all && git commit -m Start && "
    return f"{first}{copier_update(answers_file)} --vcs-ref=:current: {answers}"


def elsewhere() -> bool:
    """Whether this runs in another folder than the project's, or in one that is gone."""
    try:
        return Path.cwd() != ROOT
    except FileNotFoundError:
        return True


def read(file: Path) -> str:
    """The text of a file of the project; Stop if it is none."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise StopError(2, f"{file} is not in UTF-8.", f"Save it so, or {restore(file)}") from None


def restore(file: Path) -> str:
    """How to get a file of the project back."""
    return f"restore it: git checkout HEAD -- {file.relative_to(ROOT).as_posix()}"


def venv_python(folder: Path) -> str:
    """The interpreter of a virtual environment."""
    return str(folder / ("Scripts/python.exe" if WINDOWS else "bin/python"))


# --- What a run says while it works: plain lines, or on a terminal one that moves


class Voice:
    """What --quiet and --verbose leave of it."""

    quiet = False
    verbose = False


def say(*words: str, end: str = "\n") -> None:
    """Print what is no warning, no error and no verdict."""
    if not Voice.quiet:
        print(*words, end=end, flush=True)


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Say what is done now and, when it is, how long it took.

    The seconds move where somebody is looking; elsewhere there is one plain line, or with --verbose
    one before and one after what the step prints.
    """
    line, started, done = f"  {title} ...", time.monotonic(), threading.Event()
    dumb = os.environ.get("TERM") == "dumb"
    moves = sys.stdout.isatty() and not (dumb or Voice.verbose or Voice.quiet)

    def move() -> None:
        while not done.wait(1):
            say(f"\r{line} {time.monotonic() - started:.0f} s", end="")

    clock = threading.Thread(target=move, daemon=True)
    say(line, end="\n" if Voice.verbose else "")
    if moves:
        clock.start()
    try:
        yield
    finally:
        done.set()
        if moves:
            clock.join()
        again = line if Voice.verbose else f"\r{line}" if moves else ""
        say(f"{again} {time.monotonic() - started:.1f} s")
