"""What a Python says about itself, and which one makes .venv."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .places import WINDOWS, StopError

if TYPE_CHECKING:
    from .runner import Runner

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


def find_python(runner: Runner, running: Python, uv: list[str]) -> Python | None:
    """A Python for .venv: the running one, else from PATH, else pyenv's or uv's."""
    minor = runner.project.python
    if not runner.project.misfit(running):
        return running
    commands = [["py", f"-{minor}"]] if WINDOWS else []
    commands += [[runner.which(name)] for name in (f"python{minor}", "python3", "python")]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    for folder in sorted(pyenv.glob(f"{minor}.*")):
        commands.append([str(folder / ("python.exe" if WINDOWS else "bin/python"))])
    if uv:
        wanted = runner.project.requires_python
        commands.append([runner.ask([*uv, "python", "find", "--no-project", wanted]) or ""])
    found = (python for python in map(runner.probe, commands) if python)
    return next((python for python in found if not runner.project.misfit(python)), None)


def named_python(runner: Runner, name: str) -> Python:
    """The Python of --python."""
    path = Path(name)
    python = runner.probe([str(path.absolute()) if path.exists() else runner.which(name)])
    misfit = runner.project.misfit(python) if python else "does not run"
    if not python or misfit:
        todo = "Give the path of another one, or leave it out."
        raise StopError(3, f"--python {name} {misfit}.", todo)
    return python
