"""A check with torch, in the child process, for `--level full`: does torch.compile work?

It compiles where the user's programs do, so that what is wrong there is found: in a folder of its
own within torch's cache, which is taken away again. The causes are in causes/compile.ini.
"""

from __future__ import annotations

import getpass
import importlib
import os
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from surroundings.knowledge import code, find_cause
from surroundings.system import install, packages

from .check import Check, CheckFunction, Job, Tensor, check, judge, one_line, relative_error
from .loading import chain, code_in, mount_of, of_loader
from .machine import ROOT, UNSET_COMMAND, WINDOWS, advise, installed

CHECKS: dict[str, CheckFunction] = {}
CACHE = "TORCHINDUCTOR_CACHE_DIR"
HOMES = ("torch._inductor.runtime.cache_dir_utils", "torch._inductor.runtime.runtime_utils")


@check(CHECKS, "COMPILE")
def check_compile(job: Job) -> Check:
    """Does torch.compile work on each device? A warning, since not every project needs it."""
    x = job.torch.linspace(-2, 2, 1000)

    def function(x: Tensor) -> Tensor:
        return (x.sin() * x).relu() + 1

    reference = function(x.double())
    named = os.environ.get(CACHE, "")  # before torch sets it
    there = set(Path(tempfile.gettempdir()).glob("torchinductor_*"))
    try:
        with room_in(cache_folder(named), named), room_in(triton_folder(job), named):
            compiled = job.torch.compile(function)
            errors = {d: relative_error(compiled(x.to(d)), reference) for d in job.devices}
    except Exception as error:
        return explain_compile(error)
    finally:
        for one in set(Path(tempfile.gettempdir()).glob("torchinductor_*")) - there:
            # torch keeps compiled headers here, whatever the variable says.
            shutil.rmtree(one / "precompiled_headers", ignore_errors=True)
            with suppress(OSError):  # another process has put something there meanwhile
                one.rmdir()
    return judge(errors, 1e-5)


def cache_folder(named: str) -> str:
    """Where torch keeps what it has compiled, as the user or torch itself says."""
    if named:
        return named
    for home in HOMES:
        with suppress(ImportError, AttributeError):  # another version of torch has it elsewhere
            return str(importlib.import_module(home).default_cache_dir())
    return str(Path(tempfile.gettempdir(), f"torchinductor_{getpass.getuser()}"))


def triton_folder(job: Job) -> str:
    """Where Triton by itself keeps what it has compiled; "" where it is not used."""
    if job.devices == ["cpu"] or installed("triton") == "none":
        return ""
    home = os.environ.get("TRITON_HOME") or str(Path.home())
    return os.environ.get("TRITON_CACHE_DIR") or str(Path(home, ".triton", "cache"))


@contextmanager
def room_in(folder: str, named: str) -> Iterator[None]:
    """Let torch compile within a folder, and leave that as it was."""
    if not folder:
        yield
        return
    made = [one for one in (Path(folder), *Path(folder).parents) if not one.exists()]
    Path(folder).mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as place:
            if "triton" not in folder:
                os.environ[CACHE] = place
            Path(place, "probe").write_bytes(bytes(2**16))  # a quota or a full disk says so
            yield
    finally:
        os.environ.pop(CACHE, None)
        os.environ |= {CACHE: named} if named else {}
        for one in made:
            with suppress(OSError):  # another process has put something there meanwhile
                one.rmdir()


def explain_compile(error: Exception) -> Check:
    """Why torch.compile does not work: a warning with its cause."""
    said = "\n".join(f"{type(one).__name__}: {one}" for one in chain(error))
    problem = f"torch.compile does not work; it says {one_line(error)}."
    match = find_cause(said, "compile")
    found = code_in(said, error)
    cause = match.cause if match else (code(*found).cause if found else "")
    words = {"named": "", "program": "", "other": "", **words_for(said)}
    refused = cause == "compile-noexec" and not words["mount"]
    if refused or not match:  # a library that was compiled is loaded as others are
        if found_too := of_loader(said, problem, error):
            found_too.status, found_too.id = "warn", ""
            return found_too
        if not cause:
            return Check("warn", problem, advise("unknown-compile").do)
    words |= match.words if match else {}
    _, says, do = advise(cause, **words)
    return Check("warn", f"{says[:-1]}: {problem}", do, {"cause": cause})


def words_for(said: str) -> dict[str, str]:
    """What causes/compile.ini may name of this machine."""
    folder = ""
    with suppress(Exception):  # which may be what is wrong
        folder = cache_folder(os.environ.get(CACHE, ""))
    library = re.search(r"(/\S+): failed to map segment", said)
    lies = str(Path(library[1]).parent) if library else folder
    mount, noexec = mount_of(lies)
    file = re.search(r"\[Errno \d+\][^\n]*: '(/[^'\n]+)'", said)
    full = str(Path(file[1]).parent) if file else folder
    named = next((one for one in ("CXX", "CC") if not is_there(os.environ.get(one, ""))), "")
    version = installed("triton")
    return {
        "folder": lies,
        "mount": mount if noexec else "",
        "elsewhere": elsewhere(),
        "on": f" in {full}" if full else "",
        "triton": "" if version == "none" else f" {version}",
        "variable": f", which {named} names" if named else "",
        "which": f", which {named} names" if named else "",
        "set": "set" if WINDOWS else "export",
        "compiler": f"Type `{UNSET_COMMAND.format(named)}`, or let it name one that is there."
        if named
        else install(packages("compiler"), "a C++ compiler"),
        "headers": headers(),
        "openmp": openmp(),
    }


def elsewhere() -> str:
    """How to let torch and Triton compile where what they have compiled may be run."""
    folders = [Path.home() / ".cache", Path(tempfile.gettempdir()), Path("/var/tmp"), ROOT]
    place = next((one for one in folders if one.is_dir() and not mount_of(str(one))[1]), None)
    if not place:
        return f"Let {CACHE} and TRITON_CACHE_DIR name a folder whose programs may be run."
    variables = f"{CACHE}={place / 'torchinductor'} TRITON_CACHE_DIR={place / 'triton'}"
    return f"Type `export {variables}`, or name another folder whose programs may be run."


def is_there(command: str) -> bool:
    """Whether a program is there that a variable names, if that names one."""
    return not command or bool(shutil.which(command.split()[0]))


def openmp() -> str:
    """How to get OpenMP for the compiler that is used here."""
    if sys.platform == "darwin":
        return "Type `brew install libomp`, and then `export OMP_PREFIX=$(brew --prefix libomp)`."
    return install(packages("libomp"), "OpenMP for clang, or take gcc: `export CXX=g++`")


def headers() -> str:
    """How to get Python.h of this Python, by who has installed it."""
    version = ".".join(map(str, sys.version_info[:2]))
    base = os.path.realpath(sys.base_prefix)
    if (Path(base) / "conda-meta").is_dir():
        return f"Type `conda install --force-reinstall python={version}` in the base of .venv."
    if "pyenv" in base:
        return f"Type `pyenv install --force {version}`: it brings Python.h."
    if re.search(r"[/\\]uv[/\\]python[/\\]", base):
        return f"Type `uv python install --reinstall {version}`: it brings Python.h."
    if WINDOWS or not base.startswith("/usr") or base.startswith("/usr/local"):
        where = sysconfig.get_path("include")
        return f"Install Python {version} again, as a whole: {where} has to have Python.h."
    usual = os.path.realpath("/usr/bin/python3").endswith(version)
    words = {"version": version, "python": "3" if usual else version}
    rows = packages("Python.h", short=version.replace(".", ""), **words)
    return install(rows, f"Python.h of Python {version}")
