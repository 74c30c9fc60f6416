"""The real torch for the CPU, downloaded once, for the running Python."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from install.loopback_index import LoopbackIndex
from machine_settings import environment_before
from render.projects import PYTHON, ROOT

TORCH = "2.13.0"
HOST = "download.pytorch.org"
CPU_INDEX = f"https://{HOST}/whl/cpu"
FOLDER = ROOT / ".cache" / "wheels"
NEEDS = FOLDER / f"needed-by-torch-{TORCH}-on-{PYTHON}"
# In its folder, a wheel that says of itself that it is for the CPU, and is PyPI's.
STAND_IN = "is-a-build-for-cuda.txt"
# For pip: to compile all files of torch takes it longer than all the rest, those of a new pip 1 s.
NOT_COMPILED = {"PIP_NO_COMPILE": "0"}  # the value is that of `compile`

needs_real_torch = pytest.mark.skipif(
    sys.platform != "linux", reason="the build for the CPU has a name of its own on Linux"
)


class NotHereError(Exception):
    """The wheel cannot be had on this machine."""


@contextmanager
def alone(name: str) -> Iterator[None]:
    """One process of a test run makes what is kept in .cache, the others wait."""
    import fcntl  # not on Windows

    (ROOT / ".cache").mkdir(exist_ok=True)
    with (ROOT / ".cache" / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def pip(*arguments: str | Path, env: Mapping[str, str] | None = None) -> str:
    """Run this Python's pip; what it said if it failed, else nothing."""
    command = [sys.executable, "-m", "pip", *map(str, arguments)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return f"{' '.join(command)}: {done.stderr[-500:]}" if done.returncode else ""


def reachable(host: str) -> bool:
    """Whether it can be tried at all: pip itself would try for minutes."""
    if any(name.lower() == "https_proxy" for name in os.environ):
        return True
    try:
        socket.create_connection((host, 443), timeout=5).close()
    except OSError:
        return False
    return True


def cpu_wheel() -> Path:
    """The real CPU wheel: from where the machine's pip finds it, from its index, or made of PyPI's.

    Raises:
        NotHereError: it cannot be had.
    """
    name = f"torch-{TORCH}+cpu-cp{PYTHON.replace('.', '')}-*.whl"
    wanted = ("download", "--quiet", "--no-deps", f"torch=={TORCH}+cpu", "--dest", FOLDER)
    failed = []
    with alone("wheels"):
        # A wheel that lies on the machine is a download that need not be made again.
        if not list(FOLDER.glob(name)):
            failed.append(pip(*wanted, env=environment_before()))
        if not list(FOLDER.glob(name)) and reachable(HOST):
            index = ("--index-url", CPU_INDEX, "--timeout", "5", "--retries", "1")
            failed.append(pip(*wanted, *index))
        if not list(FOLDER.glob(name)):
            failed.append(make_of_pypi_s())
        if not (found := list(FOLDER.glob(name))):
            raise NotHereError(f"torch {TORCH}+cpu for Python {PYTHON}: " + "\n".join(failed))
    return found[0]


def is_stand_in() -> bool:
    """Whether the wheel is PyPI's build for CUDA under the name of the CPU's."""
    return (FOLDER / STAND_IN).exists()


def what_it_needs() -> Path:
    """A folder with the wheels that torch, its project and pip need."""
    wheel = cpu_wheel()
    with alone("wheels"):
        if not NEEDS.is_dir():
            unfinished = NEEDS.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            wanted = (str(wheel), "numpy", "pip>=25.1")
            download = ("download", "--quiet", "--only-binary=:all:")
            failed = pip(*download, *wanted, "--dest", unfinished)
            assert not failed, failed
            next(unfinished.glob("torch-*")).unlink()
            unfinished.rename(NEEDS)
    return NEEDS


def make_of_pypi_s() -> str:
    """Give PyPI's own wheel the name and the version of the CPU build; why that cannot be.

    What is in it computes on the CPU as well. It needs NVIDIA's packages all the same: three
    gigabytes, for a network that has PyPI and nothing else.
    """
    folder = FOLDER / "of-pypi"
    failed = pip("download", "--quiet", "--no-deps", f"torch=={TORCH}", "--dest", folder)
    if not failed:
        (wheel,) = folder.glob(f"torch-{TORCH}-*.whl")
        rename_build(wheel, FOLDER / wheel.name.replace(f"-{TORCH}-", f"-{TORCH}+cpu-"))
        (FOLDER / STAND_IN).touch()
        shutil.rmtree(folder)
    return failed


def rename_build(wheel: Path, target: Path) -> None:
    """Write a wheel of torch anew as a build for the CPU."""
    old, new = f"torch-{TORCH}.dist-info", f"torch-{TORCH}+cpu.dist-info"
    version = (r"(__version__ = )'[^']+'", rf"\g<1>'{TORCH}+cpu'")
    cuda = (r"(?m)^(cuda[^=]*= ).+$", r"\g<1>None")
    metadata = (rf"(?m)^(Version: ){re.escape(TORCH)}$", rf"\g<1>{TORCH}+cpu")
    lines = {"torch/version.py": (version, cuda), f"{old}/METADATA": (metadata,)}
    changed: dict[str, bytes] = {}
    unfinished = target.with_suffix(".unfinished")
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(unfinished, "w") as made:
        for name, changes in lines.items():
            text = source.read(name).decode()
            for pattern, replacement in changes:
                text, times = re.subn(pattern, replacement, text)
                assert times == 1, f"{wheel.name}: {name} has no line like {pattern}"
            changed[name] = text.encode()
        changed[f"{old}/RECORD"] = record(source.read(f"{old}/RECORD").decode(), changed, old, new)
        for member in source.infolist():
            info = zipfile.ZipInfo(member.filename.replace(old, new), member.date_time)
            info.external_attr = member.external_attr  # stored, since to compress takes minutes
            with made.open(info, "w", force_zip64=True) as file:
                if member.filename in changed:
                    file.write(changed[member.filename])
                else:
                    with source.open(member) as content:
                        shutil.copyfileobj(content, file, 1 << 20)
    unfinished.rename(target)


def record(text: str, changed: Mapping[str, bytes], old: str, new: str) -> bytes:
    """A wheel's RECORD after its files were changed and a folder was renamed."""
    rows = []
    for row in text.splitlines():
        name = row.partition(",")[0]
        if name in changed:
            digest = base64.urlsafe_b64encode(hashlib.sha256(changed[name]).digest())
            row = f"{name},sha256={digest.rstrip(b'=').decode()},{len(changed[name])}"
        rows.append(row.replace(old, new, 1))
    return "\n".join([*rows, ""]).encode()


@contextmanager
def real_index() -> Iterator[LoopbackIndex]:
    """An index on loopback that has them."""
    torch, needs = cpu_wheel().parent, what_it_needs()
    with LoopbackIndex() as index:
        index.add_wheels(torch, "cpu")
        index.add_wheels(needs, "pypi")
        yield index
