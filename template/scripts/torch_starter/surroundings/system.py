"""Which system this is, and how to install a program there: here, or in a container's image."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from .knowledge import table
from .place import here

# By what /etc/os-release calls a distribution or what that is like; the first that fits counts.
COMMANDS = {
    "debian": "apt install",
    "ubuntu": "apt install",
    "rhel": "dnf install",
    "fedora": "dnf install",
    "amzn": "dnf install",
    "suse": "zypper install",
    "opensuse": "zypper install",
    "arch": "pacman -S",
    "alpine": "apk add",
    "nixos": "nix-shell -p",
}
# What tells of which package a file is, by the program that installs them.
OWNS = {"apt": "dpkg -S", "dnf": "rpm -qf", "zypper": "rpm -qf", "pacman": "pacman -Qo"}
OWNS |= {"apk": "apk info --who-owns"}

OS_RELEASE = Path("/etc/os-release")


def distribution(os_release: str) -> set[str]:
    """What a Linux is, and what it is like: the ids in the text of /etc/os-release."""
    found = re.findall(r"^(?:ID|ID_LIKE)=[\"']?([^\"'\n]*)", os_release, re.MULTILINE)
    return {name for line in found for name in line.split()}


def this_system() -> set[str]:
    """`windows`, `macos`, or the ids of this Linux."""
    if sys.platform in ("win32", "darwin"):
        return {"windows" if sys.platform == "win32" else "macos"}
    try:
        return distribution(OS_RELEASE.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return set()


def system() -> str:
    """windows, macos, or a key of COMMANDS; "" for any other."""
    names = this_system()
    return next((name for name in ("windows", "macos", *COMMANDS) if name in names), "")


def administrator() -> str:
    """What to type before a command that changes the system: "sudo ", or nothing for root.

    Windows asks by itself.
    """
    return "sudo " if getattr(os, "geteuid", lambda: 0)() else ""


def owns() -> str:
    """The command that tells of which package a file is; "" where nothing is known of that."""
    return OWNS.get(COMMANDS.get(system(), "").partition(" ")[0], "")


def packages(name: str, **words: str) -> dict[str, str]:
    """What is called so in packages.ini, by system, for install()."""
    rows = {key: text.format_map(words) for key, text in table("packages.ini")[name].items()}
    return {**rows, "": rows["other"]}


def brought_by(library: str) -> dict[str, str]:
    """The packages of the system that bring a library, by system; {} if that is not known."""
    names = table("packages.ini").sections()
    return next((packages(name) for name in names if library.startswith(name)), {})


def install(packages: Mapping[str, str], what: str) -> str:
    """A sentence that says how to install a program here.

    Args:
        packages: Its package by system; what has "" as its key is for all others.
        what: The program in words, where nothing is known of this system.
    """
    name = system()
    package = packages.get(name, packages[""])
    if (Path(sys.base_prefix) / "conda-meta").is_dir():
        return f"Type `conda install -c conda-forge {packages.get('conda', packages[''])}`."
    if name in ("windows", "macos"):
        return f"Type `{'winget' if name == 'windows' else 'brew'} install {package}`."
    if not name:
        return f"Install {what}."
    command = f"{COMMANDS[name]} {package}"
    place, root = here(), not administrator()
    if place.is_a("apptainer") or (place.is_a("container") and not root):
        return f"Add it to the image, by `{command}` there."
    if (place.is_a("job") or place.is_a("login")) and not place.is_a("container"):
        conda = f"type `conda install -c conda-forge {packages.get('conda', packages[''])}`"
        return f"Load a module that brings {what}, or ask who looks after this machine; or {conda}."
    if name == "nixos":
        return f"Type `{command}`, or add {package} to the configuration."
    if not place.is_a("container"):
        return f"Type `{administrator()}{command}`."
    if "apt" in command:
        command = f"apt-get update && apt-get install -y {package}"
    return f"Type `{command}` here, and add it to the image, so that it stays."
