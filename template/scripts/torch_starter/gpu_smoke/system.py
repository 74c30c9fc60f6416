"""How to install a program of the system's: by its package manager, or in a container's image."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from .machine import WINDOWS

# By what /etc/os-release calls a distribution or what that is like; the first that fits counts.
COMMANDS = {
    "debian": "apt install",
    "ubuntu": "apt install",
    "rhel": "dnf install",
    "fedora": "dnf install",
    "suse": "zypper install",
    "opensuse": "zypper install",
    "arch": "pacman -S",
    "alpine": "apk add",
}

OS_RELEASE = Path("/etc/os-release")


def in_container() -> bool:
    """Whether Docker, Podman or the like runs this."""
    return Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()


def system() -> str:
    """windows, macos, or a key of COMMANDS; "" for any other."""
    if WINDOWS or sys.platform == "darwin":
        return "windows" if WINDOWS else "macos"
    try:
        text = OS_RELEASE.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    lines = re.findall(r"^(?:ID|ID_LIKE)=[\"']?([^\"'\n]*)", text, re.MULTILINE)
    names = {name for line in lines for name in line.split()}
    return next((name for name in COMMANDS if name in names), "")


def install(packages: Mapping[str, str], what: str) -> str:
    """A sentence that says how to install a program here.

    Args:
        packages: Its package by system; what has "" as its key is for all others.
        what: The program in words, where nothing is known of this system.
    """
    here, inside = system(), in_container()
    package = packages.get(here, packages[""])
    if (Path(sys.base_prefix) / "conda-meta").is_dir():
        return f"Type `conda install -c conda-forge {packages['']}`."
    if here in ("windows", "macos"):
        return f"Type `{'winget' if here == 'windows' else 'brew'} install {package}`."
    if not here:
        return f"Install {what}."
    command = f"{COMMANDS[here]} {package}"
    if not inside:
        return f"Type `sudo {command}`."
    if "apt" in command:
        command = f"apt-get update && apt-get install -y {package}"
    return f"Type `{command}` here, and add it to the image, so that it stays."
