"""This system: what to type here, its Pythons, and what can get in the way."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from surroundings.system import administrator, this_system

from .places import ROOT, VENV, WINDOWS, StopError, say

UV = "Install uv, which gets the Python (https://docs.astral.sh/uv), and run this again."
# Shells and the script of a virtual environment that they read; others read `activate`.
SCRIPTS = {"fish": "activate.fish", "csh": "activate.csh", "tcsh": "activate.csh"}
SCRIPTS |= {"nu": "activate.nu", "pwsh": "Activate.ps1", "powershell": "Activate.ps1"}
SHELLS = {*SCRIPTS, "sh", "ash", "bash", "busybox", "dash", "ksh", "mksh", "yash", "zsh", "cmd"}


def install_python(minor: str, system: Collection[str]) -> str:
    """What to type for a Python of this minor that can make a .venv."""
    if "windows" in system:
        return f"Type: winget install Python.Python.{minor}"
    if "macos" in system:
        return f"Type: brew install python@{minor}"
    short, sudo = minor.replace(".", ""), administrator()
    if "nixos" in system:
        todo = (
            f"Type: nix-shell -p python{short}\nWheels run there only with programs.nix-ld.enable"
        )
        return f"{todo} = true in the system's configuration."
    if {"debian", "ubuntu"} & {*system}:
        return f"Type: {sudo}apt install python{minor} python{minor}-venv\nIf it has none: {UV}"
    if {"fedora", "rhel", "centos"} & {*system}:
        return f"Type: {sudo}dnf install python{minor}\nIf it has none: {UV}"
    if {"suse", "opensuse"} & {*system}:
        return f"Type: {sudo}zypper install python{short}\nIf it has none: {UV}"
    if "arch" in system:  # which has one Python, the newest
        return f"Type: {sudo}pacman -S uv\nIt gets the Python: run this again."
    return UV


def get_python(minor: str, others: Collection[str], update: Callable[[str], str]) -> str:
    """What to do where there is no Python of this minor.

    `others`: minors for which the project would get the same torch.
    `update`: how to change answers of the template.
    """
    install = install_python(minor, this_system())
    todo = f"{install}\nOr name one: --python /path/to/python{minor}"
    here = "{}.{}".format(*sys.version_info)
    if here in others and here != minor:
        command = update(f"--data python_version={here}")
        todo += f"\nOr make this a project for Python {here}, which is here:\n  {command}"
    return todo


def install_ensurepip(minor: str, system: Collection[str]) -> str:
    """What to type where a Python cannot make a .venv."""
    if {"debian", "ubuntu"} & {*system}:
        return f"Type: {administrator()}apt install python{minor}-venv"
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


def locale_encoding() -> str:
    """What Python reads the files in that add to its path, even where it is told to use UTF-8."""
    if sys.platform == "win32":
        return "UTF-8"  # it does not depend on the shell's settings there
    import locale

    with contextlib.suppress(locale.Error):  # it is not installed: then it is C's
        locale.setlocale(locale.LC_CTYPE, "")
    return locale.nl_langinfo(locale.CODESET).upper()


def pyenv_pythons(minor: str) -> list[str]:
    """The Pythons of a minor that pyenv has; none if that may not be read, or nobody has a home."""
    try:
        versions = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser() / "versions"
        folders = sorted(versions.glob(f"{minor}.*"))
    except (OSError, RuntimeError):
        return []
    return [str(folder / ("python.exe" if WINDOWS else "bin/python")) for folder in folders]


# --- What a Python says about itself

# Run by every candidate. `odd`: why no wheel of PyTorch fits it.
PROBE = """
import json, os, sys, sysconfig
try:
    import ensurepip, venv
    can_venv = bool(ensurepip.version())
except Exception:
    can_venv = False
system = {"win32": "windows", "darwin": "macos"}.get(sys.platform, sys.platform)
machine = sysconfig.get_platform().split("-")[-1] if os.name == "nt" else os.uname()[4]
libc = "-musl" if "musl" in (sysconfig.get_config_var("SOABI") or "") else ""
odd = "is a 32-bit Python" if sys.maxsize <= 2**32 else ""
odd = "is a free-threaded Python" if sysconfig.get_config_var("Py_GIL_DISABLED") else odd
odd = "is not CPython" if sys.implementation.name != "cpython" else odd
base = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps([base, sys.version_info[:3], system + "-" + machine + libc, sys.base_prefix,
                  can_venv, odd]))
"""


class Python(NamedTuple):
    """What a Python says about itself: the answer to PROBE."""

    executable: str
    version: list[int]
    platform: str
    base_prefix: str
    can_venv: bool
    odd: str

    @property
    def name(self) -> str:
        """Python 3.12.1, say."""
        return f"Python {'.'.join(map(str, self.version))}"


def satisfies(version: list[int], specifier: str) -> bool:
    """Whether a version fits a PEP 440 specifier of plain numbers."""
    specifier = re.sub(r"~=\s*([\d.]+)\.(\d+)", r">=\1.\2,==\1.*", specifier)
    for clause in specifier.split(","):
        match = re.fullmatch(r"\s*(==|!=|>=|<=|>|<)\s*(\d+(?:\.\d+)*)(\.\*)?\s*", clause)
        if not match:
            raise StopError(
                2, f"The version specifier {specifier!r} is not understood.", "Simplify it."
            )
        bound = [int(part) for part in match[2].split(".")]
        have = version[: len(bound)] if match[3] else version
        bound += [0] * (len(have) - len(bound))
        true = ("==", "<=", ">=") if have == bound else ("!=", "<", "<=")
        if match[1] not in (true if have <= bound else ("!=", ">", ">=")):
            return False
    return True


# --- Where the project lies, and what is active there, that can get in the way

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
    processor = os.environ.get("PROCESSOR_IDENTIFIER", "")
    if python and python.platform == "windows-amd64" and processor.startswith("ARM"):
        say("  note: this Python for x64 is translated here; in WSL, torch for Arm is faster")
    if python and Path(python.base_prefix, "conda-meta").is_dir():
        print(f"  warning: {python.executable} is conda's, whose libraries can get in torch's way")
        print("  If torch does not load, name another: --python PATH --recreate", flush=True)
