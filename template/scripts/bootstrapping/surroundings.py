"""Where the project lies, and what is active there, that can get in the way."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .places import ROOT, VENV, WINDOWS, StopError
from .progress import say

if TYPE_CHECKING:
    from .pythons import Python

LONGEST_PATH = 259  # letters, what Windows grants a file by default
SHORTER = r"Move the project to a shorter folder such as C:\src, or set LongPathsEnabled to 1."


def check_path_length(root: str, build: Mapping[str, Any], manager: str) -> None:
    """Warn where torch's files would have too long paths on Windows; Stop if they are sure to.

    Those of pip and Poetry are, since these write as Python does; for uv that is not known.
    """
    need = build.get("windows_path") or {"letters": 0, "measured": False}
    length = len(rf"{root}\.venv\Lib\site-packages") + need["letters"]
    if length <= LONGEST_PATH:
        return
    would = "would" if need["measured"] else "may"
    what = f"Paths of torch {build['release']} {would} be {length} letters long"
    what += f", Windows allows {LONGEST_PATH}"
    if need["measured"] and manager != "uv":
        raise StopError(4, f"{what}.", SHORTER)
    print(f"  warning: {what}\n  {SHORTER}", flush=True)


def long_paths_enabled() -> bool:
    """Whether this Windows has been told to allow long paths."""
    if sys.platform != "win32":
        return True
    import winreg

    try:
        place = r"SYSTEM\CurrentControlSet\Control\FileSystem"
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:
        return False


def is_synchronised(root: str, environment: Mapping[str, str]) -> bool:
    """Whether a folder is OneDrive's, which refuses the hard links that uv makes (error 396)."""
    folders = root.replace("\\", "/").lower().split("/")
    names = ("OneDrive", "OneDriveCommercial", "OneDriveConsumer")
    own = [environment[name].rstrip("\\/").lower() for name in names if environment.get(name)]
    inside = any((root.lower() + os.sep).startswith(folder + os.sep) for folder in own)
    return inside or any(re.match(r"onedrive\b", name) for name in folders)


def prepare_for_place(environment: dict[str, str], build: Mapping[str, Any], manager: str) -> None:
    """Warn of the folder's own pitfalls, and set what they ask for."""
    if WINDOWS and not long_paths_enabled():
        check_path_length(str(ROOT), build, manager)
    if is_synchronised(str(ROOT), environment):
        environment.setdefault("UV_LINK_MODE", "copy")
        print("  warning: OneDrive copies this folder, .venv too, and may lock files meanwhile")
        print("  A project outside of it installs faster.", flush=True)


def warn_of_surroundings(python: Python | None) -> None:
    """Say what is active here, and may mislead: it is not what the project uses."""
    active = os.environ.get("VIRTUAL_ENV", "")
    if active and Path(active).resolve() != VENV.resolve():
        say(f"  note: the active environment {active} is left alone, .venv is used")
    if python and Path(python.base_prefix, "conda-meta").is_dir():
        print(f"  warning: {python.executable} is conda's, whose libraries can get in torch's way")
        print("  If torch does not load, name another: --python PATH --recreate", flush=True)
