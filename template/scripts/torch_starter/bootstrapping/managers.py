"""Where uv and Poetry are: on PATH, else in environments of their own in .tools."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from surroundings.system import this_system

from .places import ROOT, TOOLS, WINDOWS, StopError, read, say, venv_python
from .project import MANAGERS
from .runner import Runner
from .system import Python, install_ensurepip, satisfies


def venv_command(python: Python, folder: Path) -> list[str]:
    """How this Python makes a virtual environment with pip in it."""
    if not python.can_venv:  # venv would fail and leave half an environment
        todo = install_ensurepip("{}.{}".format(*python.version), this_system())
        raise StopError(
            4, f"{python.executable} has no ensurepip, so it cannot make a .venv.", todo
        )
    return [python.executable, "-m", "venv", str(folder)]


def own_manager(name: str) -> list[str]:
    """The command of uv or Poetry in its own environment in .tools."""
    python = venv_python(TOOLS / name)
    if name == "uv":  # not by -m, which would show uv its own environment as the active one
        return [str(Path(python).with_name("uv.exe" if WINDOWS else "uv"))]
    return [python, "-m", name]


def wanted_manager(name: str) -> str:
    """The versions of uv or Poetry that these scripts and the project are for."""
    specifier, key = MANAGERS[name]
    text = read(ROOT / "pyproject.toml")
    narrower = re.search(rf'^{key}\s*=\s*"([^"]+)"', text, re.MULTILINE)
    return specifier + (f",{narrower[1]}" if narrower else "")


def working_manager(runner: Runner, name: str) -> tuple[list[str], str]:
    """The command of a fitting uv or Poetry, and its version; nothing if there is none."""
    specifier = wanted_manager(name)
    for command in ([runner.which(name)], own_manager(name)):
        version = re.search(r"(\d+)\.(\d+)\.(\d+)", runner.ask([*command, "--version"]) or "")
        if version and satisfies([int(part) for part in version.groups()], specifier):
            return command, version[0]
    return [], ""


def find_manager(runner: Runner, base: Python, name: str) -> list[str]:
    """The command of uv or Poetry: from PATH, else from its own environment in .tools."""
    home = TOOLS / name
    command, version = working_manager(runner, name)
    if command:
        say(f"  {name} {version} ({command[0]})")
        return command
    make, specifier = venv_command(base, home), wanted_manager(name)
    if home.exists():
        say(f"  removing {home.name}: it has no working {name} {specifier}")
        if not runner.options.dry_run:
            shutil.rmtree(home)
    runner.run(f"making .tools/{name}", make, 4)
    pip = [venv_python(home), "-m", "pip", "install"]
    runner.run(f"installing {name} into it", [*pip, name + specifier])
    return own_manager(name)
