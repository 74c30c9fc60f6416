"""The real torch for the CPU, downloaded once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from install.loopback_index import LoopbackIndex
from install.rendered import ROOT

TORCH = "2.13.0"
PYTHON = "3.11"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
FOLDER = ROOT / ".cache" / "wheels"
NEEDS = ROOT / ".cache" / "wheels-of-torch-needs"


needs_real_torch = pytest.mark.skipif(
    "{}.{}".format(*sys.version_info) != PYTHON, reason=f"the real wheel is for Python {PYTHON}"
)


class NotHereError(Exception):
    """The wheel cannot be had on this machine."""


def cpu_wheel(python: str) -> Path:
    """The real CPU wheel: from where pip already finds it, or from its index.

    Raises:
        NotHereError: neither has it.
    """
    name = f"torch-{TORCH}+cpu-cp{PYTHON.replace('.', '')}-*.whl"
    wanted = [python, "-m", "pip", "download", "--quiet", "--no-deps", f"torch=={TORCH}+cpu"]
    for index in ([], ["--index-url", CPU_INDEX]):
        if not (found := list(FOLDER.glob(name))):
            subprocess.run([*wanted, "--dest", str(FOLDER), *index], capture_output=True)
    if not (found := list(FOLDER.glob(name))):
        raise NotHereError(f"the wheel of torch {TORCH}+cpu for Python {PYTHON} cannot be had here")
    return found[0]


def what_it_needs(python: str) -> Path:
    """A folder with the wheels that torch, its project and pip need."""
    if not NEEDS.is_dir():
        download = [python, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
        wanted = [str(cpu_wheel(python)), "numpy", "pip>=25.1"]
        subprocess.run([*download, *wanted, "--dest", str(NEEDS)], check=True)
        next(NEEDS.glob("torch-*")).unlink()
    return NEEDS


@contextmanager
def real_index(python: str) -> Iterator[LoopbackIndex]:
    """An index on loopback that has them."""
    torch, needs = cpu_wheel(python).parent, what_it_needs(python)
    with LoopbackIndex() as index:
        index.add_wheels(torch, "cpu")
        index.add_wheels(needs, "pypi")
        yield index


@contextmanager
def index_or_skip() -> Iterator[LoopbackIndex]:
    """The same for a test, which is skipped where they cannot be had."""
    try:
        cpu_wheel(sys.executable)
    except NotHereError as error:
        pytest.skip(str(error))
    with real_index(sys.executable) as index:
        yield index
