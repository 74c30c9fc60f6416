"""Faults of torch.compile, each on the real torch with a machine that is really so."""

from __future__ import annotations

import shutil

from scripts.injections import Injection, all_of, package
from scripts.torch_helpers import pretend_gpus

TMPFS = "mkdir -p /var/tmp/compile; mount -t tmpfs -o {} tmpfs /var/tmp/compile"
HERE = {"TORCHINDUCTOR_CACHE_DIR": "/var/tmp/compile/cache"}
NO_HEADER = "mount -t tmpfs tmpfs $({} -c 'import sysconfig as s; print(s.get_path(\"include\"))')"


def compiles(what: str, remedy: str, said: str, before: str = "", **env: str) -> Injection:
    """A machine on which torch.compile does not work: it is worth a warning."""
    only = ("--only", "COMPILE")
    return Injection(
        what,
        "COMPILE",
        remedy,
        said,
        0,
        torch="real",
        arguments=only,
        before=before,
        env=env,
    )


FAULTS: list[Injection] = [
    compiles(
        "no compiler for torch.compile",
        "build-essential" if shutil.which("apt-get") else "",
        "The compiler g++ is not there: torch.compile does not work; it says ",
        PATH="/nowhere",
    ),
    compiles(
        "CXX names a compiler that is not there",
        "Type `unset CXX`",
        "The compiler /no/such/g++ is not there, which CXX names: ",
        CXX="/no/such/g++",
    ),
    compiles(
        "nothing may be run in /tmp, where torch.compile works",
        "`export TORCHINDUCTOR_CACHE_DIR=",
        "compile is mounted noexec: torch.compile does not work; it says ",
        TMPFS.format("noexec"),
        TMPDIR="/var/tmp/compile",
    ),
    compiles(
        "torch.compile's cache is mounted read-only",
        "name a folder that can be written to",
        "A folder cannot be written to, as it is mounted read-only in /var/tmp/compile",
        TMPFS.format("ro"),
        **HERE,
    ),
    compiles(
        "no room in torch.compile's cache",
        "`df -h`",
        "There is no room left in /var/tmp/compile/cache: ",
        TMPFS.format("size=16k"),
        **HERE,
    ),
    compiles(
        "no Python.h",
        "3.",
        "Python.h is missing, which belongs to this Python: ",
        NO_HEADER.format("python3"),
    ),
    Injection(
        "Triton's cache is mounted read-only",
        "COMPILE",
        "name a folder that can be written to",
        "it says OSError: [Errno 30] Read-only file system: '/var/tmp/compile/triton",
        0,
        build="cu130",
        torch="real",
        driver=True,
        arguments=("--only", "COMPILE"),
        before=TMPFS.format("ro"),
        env={"TRITON_CACHE_DIR": "/var/tmp/compile/triton"},
        change=all_of(pretend_gpus, lambda project: package(project, "triton", "3.4.0")),
    ),
]
