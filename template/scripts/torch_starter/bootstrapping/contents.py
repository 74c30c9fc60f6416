"""What is in .venv: its stamp, its packages; and the old one, until a new one is whole."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from surroundings.versions import canonical

from .places import ROOT, STAMP, UNFINISHED, VENV, WINDOWS, display, say

# .venv may be a mount point or a link, and is no .venv under another name: what it holds is moved.
ASIDE = VENV / ".before"  # the old one, whole, while a new one is made
MOVING = VENV / ".moving"  # the old one on its way there, or back
REMAINS = ".old-"  # begins the name of what cannot be removed of it


def read_stamp() -> dict[str, Any]:
    """What .venv was made from; without `inputs` if this script did not complete it."""
    try:
        return dict(json.loads(STAMP.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def write_stamp(**facts: object) -> None:
    """Say what .venv is made from."""
    text = json.dumps({"root": str(ROOT.resolve()), **facts})
    STAMP.write_text(text, encoding="utf-8")


def packages() -> dict[str, str]:
    """The packages in .venv with their versions, "" for one that has lost files, or what is in one.

    Of which no manager takes notice. What Python has compiled may come and go. Of the project it
    tells whether it is there as it lies in src, or a copy of that.
    """
    found: dict[str, str] = {}
    for info in VENV.glob(f"{'Lib' if WINDOWS else 'lib/python3*'}/site-packages/*.dist-info"):
        name, _, version = info.name.removesuffix(".dist-info").partition("-")
        try:
            with (info / "RECORD").open(encoding="utf-8", errors="replace", newline="") as record:
                rows = [row for row in csv.reader(record) if row and not row[0].endswith(".pyc")]
            # 15,000 files of torch in 0.05 s, of which Paths would take three.
            top = str(info.parent)
            sizes = [(os.stat(os.path.join(top, row[0])).st_size, row) for row in rows]  # noqa: PTH116, PTH118
            whole = all(size or row[2:] in (["0"], [""], []) for size, row in sizes)
        except (OSError, csv.Error):
            whole = False
        found[canonical(name)] = (version + kind(info)) if whole else ""
    return found


def kind(info: Path) -> str:
    """How a package was installed, if it is editable."""
    try:
        text = (info / "direct_url.json").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return " (editable)" if re.search(r'"editable"\s*:\s*true', text) else ""


def entries() -> list[Path]:
    """What lies in .venv: nothing of the old one, nor what a file system has at its top."""
    others = (ASIDE.name, MOVING.name, "lost+found")
    there = VENV.iterdir() if VENV.is_dir() else ()
    return [one for one in there if one.name not in others and not one.name.startswith(REMAINS)]


@contextlib.contextmanager
def replacing() -> Iterator[None]:
    """Let a new .venv be made; if it does not become whole, the old one is there again."""
    VENV.mkdir(exist_ok=True)
    MOVING.mkdir()
    try:
        for path in entries():  # which also shows whether a program still uses it
            path.rename(MOVING / path.name)
        MOVING.rename(ASIDE)
        yield
    finally:
        settle()


def settle() -> None:
    """Remove the old .venv if the new one is whole, else bring it back; after any kill, too."""
    if ASIDE.exists() and "inputs" in read_stamp() and (errors := remove(ASIDE)):
        number = 1
        while (rest := VENV / f"{REMAINS}{number}").exists():
            number += 1
        ASIDE.rename(rest)  # for an interrupted run it must not pass
        todo = "delete it by hand" if WINDOWS else display(["sudo", "rm", "-rf", str(rest)])
        why = f"not all of the old .venv can be removed ({errors[0].strerror})"
        print(f"  warning: {why}; nothing uses {rest}: {todo}", flush=True)
    if ASIDE.exists():
        for path in entries():
            if errors := remove(path):
                raise errors[0]
        ASIDE.rename(MOVING)
    if MOVING.exists():
        old = list(MOVING.iterdir())
        for path in old:
            path.rename(VENV / path.name)
        MOVING.rmdir()
        if not old:  # there was none
            with contextlib.suppress(OSError):
                VENV.rmdir()
        elif not UNFINISHED.exists():  # half made as it is, the next run replaces it
            say("  .venv is as it was before")


def remove(path: Path) -> list[OSError]:
    """Remove as much as can be; what kept the rest, each with its whole path."""
    errors: list[OSError] = []

    def note(_: object, name: str, info: tuple[Any, Any, Any]) -> None:
        errors.append(OSError(info[1].errno, info[1].strerror, name))

    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, onerror=note)
    return errors
