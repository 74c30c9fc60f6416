"""Why torch does not load: what the loaders of Linux, macOS and Windows say, and Python itself.

What is said of each cause is in surroundings/causes/libraries.ini and torch.ini.
"""

from __future__ import annotations

import importlib.util
import os
import re
import traceback
from contextlib import suppress
from pathlib import Path

from surroundings.knowledge import Match, code, find_cause, gist
from surroundings.linux import text_of
from surroundings.system import brought_by, install

from .check import Check, Raised, one_line
from .machine import LEVEL_ZERO, WINDOWS, advise, repair
from .metadata import installed_packages
from .origins import (
    STANDARD,
    first_outside,
    folder_of_torch,
    how_to_remove,
    how_to_update,
    is_own,
    known_to_the_linker,
    named_by_variables,
    nvidia_package,
    owner_of,
    package_of,
)

# The library that a symbol is of, by how the symbol begins; the first that fits.
LIBRARIES = {
    "__nvJitLink": "libnvJitLink",
    "nccl": "libnccl",
    "cudnn": "libcudnn",
    "cublas": "libcublas",
    "cusparse": "libcusparse",
    "cusolver": "libcusolver",
    "cufft": "libcufft",
    "curand": "libcurand",
    "cufile": "libcufile",
    "cuFile": "libcufile",
    "cupti": "libcupti",
    "cuda": "libcudart",
    "nvrtc": "libnvrtc",
    "nvshmem": "libnvshmem",
    "cu": "libcuda(?=[.])",
    "iJIT": "libmkl",
    "Py": "libpython",
    "_Py": "libpython",
    "_Z": "lib(c10|torch)",
    "aoti": "lib(c10|torch)",
}


def mount_of(path: str) -> tuple[str, bool]:
    """Where the file system of a file is mounted, and whether it may run nothing."""
    best, noexec = "/", False
    real = os.path.realpath(path)
    for line in text_of("/proc/self/mounts").splitlines():
        _, place, _, options = line.split()[:4]
        place = place.replace(r"\040", " ")
        if Path(real).is_relative_to(place) and len(place) >= len(best):
            best, noexec = place, "noexec" in options.split(",")
    return best, noexec


def kind_of(path: str) -> str:
    """What a file is that is no library, to be put behind a comma."""
    try:
        with Path(path).open("rb") as file:
            begin = file.read(64)
    except OSError:
        return ""
    if begin.startswith(b"version https://git-lfs"):
        return ", but a pointer that Git LFS has left in its place"
    return ", as it is empty" if not begin else ""


def culprit(error: Raised) -> tuple[str, str]:
    """The package other than torch in whose code an import failed, and its file; or nothing."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        parts = re.split(r"[/\\](?:(?:site|dist)-packages|site)[/\\]", frame.filename)
        if len(parts) > 1:
            name = re.split(r"[/\\.]", parts[-1])[0]
            inside = name in ("torch", "torchgen", "functorch")
            return ("", "") if inside else (package_of(frame.filename) or name, frame.filename)
    return "", ""


def chain(error: Raised) -> list[Raised]:
    """An exception, and those that it was raised from."""
    found: list[Raised] = [error]
    while isinstance(cause := found[-1].__cause__, Exception) and cause not in found:
        found.append(cause)
    return found


def code_in(said: str, error: Raised | None = None) -> tuple[str, int] | None:
    """The family and number of a system's code in what was said."""
    if number := getattr(error, "winerror", None) or re.search(r"WinError (\d+)", said):
        return "windows", int(number if isinstance(number, int) else number[1])
    # Smaller ones are what a program ends with by itself, and no codes of the system.
    if parts := re.search(r"exit code 0x([89a-f][0-9a-f]{7})\b", said, re.IGNORECASE):
        return "windows", int(parts[1], 16)
    parts = re.search(r"\[Errno (\d+)\]", said)
    return ("errno", int(parts[1])) if parts else None


def explain_import(error: Raised) -> Check:
    """What it means that `import torch` raised this: a failure with the id of its cause."""
    problem = f"`import torch` ended in {one_line(error)}."
    for one in chain(error):
        said = f"{type(one).__name__}: {one}"
        package, file = culprit(one)
        match = find_cause(said, "import")
        number = code_in(said, one)
        cause = code(*number).cause if number else ""
        if package and (not match or match.cause in ("no-module", "circular")):
            match = Match("other-package", {"path": file, "package": package})
        elif not match and cause:
            match = Match(cause, {})
        if match:
            return explain_match(match, problem, error)
    return Check("fail", problem, repair())


def of_loader(said: str, problem: str, error: Raised) -> Check | None:
    """What a loader's or Python's words mean, whoever asked it to load something."""
    match = find_cause(said, "import")
    return explain_match(match, problem, error) if match else None


def explain_match(match: Match, problem: str, error: Raised) -> Check:
    """The same, by the cause that was found."""
    words, name = words_of(match, error)
    id_, says, do = advise(name, **words)
    told = f"{says[:-1]}: {problem}" if says else problem
    return Check("fail", told, do, {"cause": name}, id_)


def words_of(match: Match, error: Raised) -> tuple[dict[str, str], str]:
    """What is to be known of a cause, for its sentences; and its name, if it was narrowed down."""
    name, found = match
    torch = folder_of_torch()
    library = found.get("library") or found.get("file") or found.get("path") or ""
    path = library if "/" in library else place_of(library, torch)
    mount, noexec = mount_of(path)
    words = {"where": torch, "library": library, "folder": str(Path(path).parent)}
    words |= {"mount": mount, "path": path, "what": kind_of(path)}
    words |= dict.fromkeys(("whose", "on", "because"), "")
    words |= {"remove": how_to_remove(path), "package": "", "source": repair(), **found}
    words["set_autoload"] = f"{'set' if WINDOWS else 'export'} TORCH_DEVICE_BACKEND_AUTOLOAD=0"
    if name == "noexec" and not noexec:
        name = "map-refused"
    if symbol := found.get("symbol"):
        said = gist(str(error))
        words |= of_symbol(symbol, said)
        outside = library_of_another(said) if name == "symbol-other" else ""
        if outside:
            name, words["library"] = "symbol-outside", outside
            words["remove"] = how_to_update(outside)
    if name == "python-without":
        words["needs"] = PARTS.get(found["module"], "a library")
    if name in ("library-missing", "mac-library"):
        words |= of_missing(Path(library).name)
    if name == "backend-extension":
        words["package"] = backend_of(found["module"])
        root = chain(error)[-1]
        words["because"] = f": {one_line(root)}" if root is not error else ""
    if name in ("torch-source", "circular"):
        where = torch if name == "torch-source" else circular_file(str(error), found["module"])
        words |= {"file": where or "A file", "where": where}
        if where and not is_own(where):
            folder = Path(where).absolute().parent
            words["source"] = f"Start Python in another folder than {folder}."
    return {key: str(one) for key, one in words.items()}, name


def place_of(library: str, torch: str) -> str:
    """Where a library lies that is named without a folder: in a package, or beside torch's."""
    found = (file for one in installed_packages() for file in one.files(library) if library)
    return str(next(found, Path(torch, "lib", library)))


def backend_of(module: str) -> str:
    """The package that torch loads a backend of, by the name or the module of that."""
    for one in installed_packages():
        points = one.entry_points("torch.backends")
        if module in (*points, *points.values()):
            return str(one)
    return module


def circular_file(said: str, module: str) -> str:
    """The file that Python names at the end of its words about a circle, or that of the module."""
    if parts := re.search(r"\(([^()]*\.py)\)\s*$", said):
        return parts[1]
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(module.partition(".")[0])
        return (spec and spec.origin) or ""
    return ""


# What Python's own modules need while Python is built, where that is not plain.
PARTS = {
    "_ctypes": "libffi",
    "_lzma": "xz (liblzma)",
    "_bz2": "bzip2",
    "_sqlite3": "SQLite",
    "_ssl": "OpenSSL",
    "_hashlib": "OpenSSL",
    "_uuid": "libuuid",
    "_curses": "ncurses",
    "_decimal": "libmpdec",
    "readline": "readline",
    "zlib": "zlib",
}


def library_of_another(said: str) -> str:
    """The library that lacks a symbol, where it is none of this environment's; else ""."""
    who = re.search(r"(/\S+?\.so[.\d]*): undefined symbol", said)
    path = who[1] if who else ""
    there = STANDARD.match(path) or Path(path).is_file()
    return path if path and there and not is_own(path) else ""


def of_symbol(symbol: str, said: str) -> dict[str, str]:
    """Which library lacks a symbol, as far as that can be known, and what to do about it."""
    begins = (one for one in LIBRARIES if symbol.lstrip("'").startswith(one))
    name = LIBRARIES.get(next(begins, ""), "")
    if name == "libpython":
        who = re.search(r"(/\S+\.so\S*): undefined symbol", said)
        package = package_of(who[1]) if who else ""
        return {"remove": f"Install {package} for this Python: {repair()}" if package else repair()}
    if not name:
        return {"whose": "", "remove": repair()}
    if outside := first_outside(named_by_variables(name)):
        return {"whose": f": {outside} comes before torch's", "remove": how_to_remove(outside)}
    if have := nvidia_package(name):
        return {"whose": f", {have} is installed", "remove": repair()}
    if outside := first_outside(known_to_the_linker(name)):
        return {"whose": f": {outside} stands in for torch's", "remove": repair()}
    return {"whose": "", "remove": repair()}


DRIVER = "Install the NVIDIA driver; in a container, start it with `docker run --gpus all`."
# Who brings a library that no package of the system's does, and what to do, if not repair().
BROUGHT_BY = {
    r"lib(cuda|nvidia-ml)\.so": (", which is of the NVIDIA driver", DRIVER),
    r"lib(cu(d|blas|fft|file|pti|rand|solver|sparse)|nccl|nvidia|nvrtc|nvshmem|nvJit)": (
        ", a library of NVIDIA that packages bring",
        "",
    ),
    r"libpython": (", which is of another Python", ""),
    r"lib(mkl|iomp5|sycl|ur_|umf|pti|ccl|tbb|hwloc|svml|imf|irng|intlc|irc)": (
        ", a library of Intel that packages bring (intel-sycl-rt, mkl and the like)",
        "",
    ),
    r"lib(ze_|OpenCL|igdgmm|igc)": (", which is of Intel's driver", LEVEL_ZERO),
}


def of_missing(library: str) -> dict[str, str]:
    """Who would bring a library that is missing, and what to do about it."""
    if owner := owner_of(library):
        whole = f"; it belongs to the package {owner}, which is not whole"
        return {"whose": whole, "remove": repair()}
    if packages := brought_by(library):
        return {"whose": ", which is the system's", "remove": install(packages, library)}
    for names, (whose, remedy) in BROUGHT_BY.items():
        if re.match(names, library):
            return {"whose": whose, "remove": remedy or repair()}
    return {"whose": "", "remove": repair()}
