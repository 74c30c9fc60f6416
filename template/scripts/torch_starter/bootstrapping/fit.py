"""Whether the wheels fit this machine: its system, its processor, its C library."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from surroundings.versions import numbers

from .places import TYPED, StopError
from .project import Project

# What works on a system without wheels, by the name of that system.
WORKS = {
    r".*-musl": "Its C library is musl, as on Alpine, and these wheels need glibc: take an image\n"
    "with that, such as python:{python}-slim, or elsewhere a Python that is not made for musl.",
    r"macos-x86_64": "PyTorch makes none for Macs with an Intel processor any more: take one with\n"
    "Apple silicon, or Linux.",
    r"windows-arm64": "Take Linux in WSL, or a Python for x64, which runs there, if slowly:\n"
    "  winget install Python.Python.{python} --architecture x64",
    r"windows-win32": "Take a 64-bit Python: winget install Python.Python.{python}",
    r"linux-(?:arm\w+|i\d86)": "PyTorch makes none for 32 bits: take a 64-bit system.",
    r"linux-s390x": "The page `cpu` of PyTorch's index has some; this template does not offer it.",
    r"linux-(?!x86_64$|aarch64$)\w+": "PyTorch makes none for this processor: take one of "
    "these, or build it yourself.",
    r"\w+bsd\S*|sunos\S*|cygwin\S*|msys\S*": "Take Linux, in a virtual machine, say.",
}
# What a manager says of a package that has wheels, but none for this machine.
NO_WHEEL = re.compile(
    r"(?:Distribution `(?=[^`]+` can't be installed because it doesn't have)|"
    r"Because (?=\S+ has no wheels with a matching)|"
    r"`(?=[\w.-]+` \([^)]+\) only has wheels (?:for|with) the following)|"
    r"Unable to find installation candidates for |"
    r"no matching distributions available for your environment:\s+)([\w.-]+)"
)


def glibc() -> str:
    """The version of this system's C library, if it is GNU's."""
    if sys.platform == "win32":
        return ""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")
    except (AttributeError, ValueError, OSError):
        return ""


def too_old(have: str, needs: str) -> bool:
    """Whether a version of glibc is older than the one that is needed."""
    return bool(have and needs) and numbers(have) < numbers(needs)


def check_fit(project: Project, platform: str) -> None:
    """Stop where the build has no wheels for this system, or its glibc is too old for them."""
    row = project.build["platforms"].get(platform)
    if not row:
        what = f"{project.build['label']} has PyTorch wheels for "
        what += f"{', '.join(project.build['platforms'])}, not for {platform}."
        raise StopError(2, what, elsewhere(project, platform))
    have, needs = glibc(), row["glibc"] or ""
    if too_old(have, needs):
        release = project.build["release"]
        what = (
            f"This system is too old: it has glibc {have}, torch {release} needs {needs} or newer."
        )
        raise StopError(2, what, newer_glibc(project, platform))


def newer_glibc(project: Project, platform: str) -> str:
    """What to do where glibc is too old: it is the system's, and nothing that one installs."""
    todo = "Take a newer system or a container with one: see there with `ldd --version`."
    if series := project.older_glibc.get(platform):
        move = project.update(f"--data torch_version={series}")
        todo += (
            f"\nOr make this a project with torch {series}, which does with an older one:\n  {move}"
        )
    return todo


def elsewhere(project: Project, platform: str) -> str:
    """What to do on a system that the build has no wheels for."""
    if platform == "macos-x86_64" and is_translated():
        todo = "This Python is for Intel, and Rosetta translates it: start this with one for Apple "
        todo += "silicon:\n  BOOTSTRAP_PYTHON=/opt/homebrew/bin/python3 sh bootstrap.sh"
        return todo
    others = [k for k, other in project.alternatives.items() if platform in other["platforms"]]
    todo = next((text for name, text in WORKS.items() if re.fullmatch(name, platform)), "")
    todo = todo.format(python=project.python)
    if others:
        best = next((name for name in ("cpu", "pypi") if name in others), others[0])
        todo = f"Here work {', '.join(others)}: {project.move(best)}"
    alone = [k for k, build in project.builds.items() if platform in build["platforms"]]
    if alone and project.manager != "uv":  # whose lock file has nothing for this system
        name = "cpu" if "cpu" in alone else alone[0]
        todo += f"\nOr, for this machine alone: {TYPED} --compute-platform {name}"
    return todo or "No other compute platform of this project has them: use another machine."


def is_translated() -> bool:
    """Whether Rosetta translates this process on a Mac with Apple silicon."""
    if sys.platform != "darwin":
        return False
    ask = ["/usr/sbin/sysctl", "-n", "sysctl.proc_translated"]
    try:
        return subprocess.run(ask, capture_output=True, check=False, timeout=5).stdout[:1] == b"1"
    except (OSError, subprocess.TimeoutExpired):
        return False


def no_wheel(project: Project, platform: str, text: str, title: str) -> tuple[str, str] | None:
    """What to say where no wheel of a package fits; None if the manager has not said so."""
    found, row = NO_WHEEL.search(text), project.build["platforms"].get(platform) or {}
    pins = [f"{name}=={version}" for name, version in row.get("packages", {}).items()]
    asked = set(re.findall(r"requested \(constraint\) (\S+)", text))
    if not found or not asked <= {*pins}:  # else pip says the same of constraints that clash
        return None
    have = glibc()
    machine = f"Python {project.python}, {platform}{f', glibc {have}' if have else ''}"
    what = f"There is no wheel of {found[1]} for this machine ({machine}): {title} failed."
    if found[1] not in row.get("packages", {}):
        todo = "Take another version of it, or of what asks for it, or another machine."
        return what, f"{todo}\nThen run this again."
    if too_old(have, row["glibc"] or ""):
        return what, f"It needs glibc {row['glibc']}.\n{newer_glibc(project, platform)}"
    todo = (
        "A setting forbids it, or this Python does (a module `_manylinux`); then another one helps:"
    )
    return what, f"{todo}\n  {TYPED} --recreate --python PATH_OF_ANOTHER"
