"""What differs between systems: what installs a Python there, what activates .venv."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

OS_RELEASE = Path("/etc/os-release")
UV = "Install uv, which gets the Python (https://docs.astral.sh/uv), and run this again."
# Shells and the script of a virtual environment that they read; others read `activate`.
SCRIPTS = {"fish": "activate.fish", "csh": "activate.csh", "tcsh": "activate.csh"}
SCRIPTS |= {"nu": "activate.nu", "pwsh": "Activate.ps1", "powershell": "Activate.ps1"}
SHELLS = {*SCRIPTS, "sh", "ash", "bash", "busybox", "dash", "ksh", "mksh", "yash", "zsh", "cmd"}


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


def install_python(minor: str, system: Collection[str]) -> str:
    """What to type for a Python of this minor that can make a .venv."""
    if "windows" in system:
        return f"Type: winget install Python.Python.{minor}"
    if "macos" in system:
        return f"Type: brew install python@{minor}"
    if {"debian", "ubuntu"} & {*system}:
        return f"Type: sudo apt install python{minor} python{minor}-venv\nIf it has none: {UV}"
    if {"fedora", "rhel", "centos"} & {*system}:
        return f"Type: sudo dnf install python{minor}\nIf it has none: {UV}"
    if {"suse", "opensuse"} & {*system}:
        return f"Type: sudo zypper install python{minor.replace('.', '')}\nIf it has none: {UV}"
    if "arch" in system:  # which has one Python, the newest
        return "Type: sudo pacman -S uv\nIt gets the Python: run this again."
    return UV


def install_ensurepip(minor: str, system: Collection[str]) -> str:
    """What to type where a Python cannot make a .venv."""
    if {"debian", "ubuntu"} & {*system}:
        return f"Type: sudo apt install python{minor}-venv"
    return f"Name another Python: --python /path/to/python{minor}\nOr: {UV}"


def shell_in_use(environment: Mapping[str, str], parent: str) -> str:
    """The shell that this was typed into, as far as that can be told; `parent` is what ran it."""
    if environment.get("MSYSTEM"):  # Git Bash and its relatives on Windows
        return "bash"
    name = Path(parent.strip().lstrip("-")).name  # a login shell has a hyphen before its name
    if name in SHELLS:
        return name
    # PowerShell puts its user's own folder before the system's two; cmd inherits only those.
    if len(environment.get("PSModulePath", "").split(";")) > 2:
        return "powershell"
    return Path(environment.get("SHELL", "")).name


def activation(shell: str, scripts: Collection[str], windows: bool) -> str:
    """The line that activates .venv in a shell, with the scripts that lie there; "" for none."""
    names = {name.lower(): name for name in scripts}  # the tools do not agree on the letters' case
    if windows and shell in ("", "cmd", "powershell", "pwsh"):  # which cannot be told for sure
        lines = {
            "cmd": rf".venv\Scripts\{names.get('activate.bat', '')}",
            "PowerShell": rf".venv\Scripts\{names.get('activate.ps1', '')}",
        }
        first, other = lines if shell in ("", "cmd") else reversed(lines)
        return f"{lines[first]} ({other}: {lines[other]})"
    script = names.get(SCRIPTS.get(shell, "activate").lower(), "")
    if not script:
        return ""
    path = f".venv/{'Scripts' if windows else 'bin'}/{script}"
    words = {"nu": "overlay use ", "fish": "source ", "csh": "source ", "tcsh": "source "}
    words |= {"pwsh": "", "powershell": ""}
    return f"{words.get(shell, '. ')}{path}"


def parent_process() -> str:
    """The name of the program that this was started from; empty if it cannot be told."""
    if sys.platform == "win32":
        return ""
    name = Path(f"/proc/{os.getppid()}/comm")
    try:
        if name.exists():
            return name.read_text(encoding="utf-8", errors="replace")
        ask = ["ps", "-o", "comm=", "-p", str(os.getppid())]
        return subprocess.run(ask, capture_output=True, text=True, check=False, timeout=5).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
