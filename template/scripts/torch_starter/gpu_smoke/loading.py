"""Why torch does not load: what the loaders of Linux, macOS and Windows say, and Python itself.

What is said of each cause is in surroundings/causes/libraries.ini and torch.ini.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import traceback
from pathlib import Path

from surroundings.knowledge import Match, code, find_cause, gist
from surroundings.system import brought_by, install

from .check import Check, one_line
from .machine import LEVEL_ZERO, ONE_OPENMP, WINDOWS, advise, repair
from .origins import (
    first_outside,
    folder_of_torch,
    how_to_remove,
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
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return best, noexec
    for line in lines.splitlines():
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


def culprit(error: Exception) -> tuple[str, str]:
    """The package other than torch in whose code an import failed, and its file; or nothing."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        parts = re.split(r"[/\\](?:(?:site|dist)-packages|site)[/\\]", frame.filename)
        if len(parts) > 1:
            name = re.split(r"[/\\.]", parts[-1])[0]
            inside = name in ("torch", "torchgen", "functorch")
            return ("", "") if inside else (package_of(frame.filename) or name, frame.filename)
    return "", ""


def chain(error: Exception) -> list[Exception]:
    """An exception, and those that it was raised from."""
    found = [error]
    while isinstance(cause := found[-1].__cause__, Exception) and cause not in found:
        found.append(cause)
    return found


def code_in(said: str, error: Exception | None = None) -> tuple[str, int] | None:
    """The family and number of a system's code in what was said."""
    if number := getattr(error, "winerror", None) or re.search(r"WinError (\d+)", said):
        return "windows", int(number if isinstance(number, int) else number[1])
    if parts := re.search(r"exit code (0x[0-9a-fA-F]+)", said):
        return "windows", int(parts[1], 16)
    parts = re.search(r"\[Errno (\d+)\]", said)
    return ("errno", int(parts[1])) if parts else None


def explain_import(error: Exception) -> Check:
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


def explain_match(match: Match, problem: str, error: Exception) -> Check:
    """The same, by the cause that was found."""
    words, name = words_of(match, error)
    id_, says, do = advise(name, **words)
    told = f"{says[:-1]}: {problem}" if says else problem
    return Check("fail", told, do, {"cause": name}, id_)


def words_of(match: Match, error: Exception) -> tuple[dict[str, str], str]:
    """What is to be known of a cause, for its sentences; and its name, if it was narrowed down."""
    name, found = match
    torch = folder_of_torch()
    library = found.get("library") or found.get("file") or found.get("path") or ""
    path = library if "/" in library else str(Path(torch, "lib", library))
    mount, noexec = mount_of(path)
    words = {"where": torch, "library": library, "folder": str(Path(path).parent)}
    words |= {"mount": mount, "path": path, "what": kind_of(path)}
    words |= dict.fromkeys(("whose", "on", "because"), "")
    words |= {"remove": how_to_remove(path), "package": "", "source": repair(), **found}
    words["set_autoload"] = f"{'set' if WINDOWS else 'export'} TORCH_DEVICE_BACKEND_AUTOLOAD=0"
    if name == "noexec" and not noexec:
        name = "map-refused"
    if symbol := found.get("symbol"):
        words |= of_symbol(symbol, gist(str(error)))
    if name in ("library-missing", "mac-library"):
        words |= of_missing(Path(library).name)
    if name == "backend-extension":
        points = importlib.metadata.entry_points(group="torch.backends")
        by = {one.name: one.dist for one in points} | {one.module: one.dist for one in points}
        dist = by.get(found["module"])
        words["package"] = f"{dist.metadata['Name']} {dist.version}" if dist else found["module"]
        root = chain(error)[-1]
        words["because"] = f": {one_line(root)}" if root is not error else ""
    if name in ("torch-source", "circular"):
        where = torch if name == "torch-source" else circular_file(str(error))
        words |= {"file": where, "where": where}
        if where and not is_own(where):
            words["source"] = f"Start Python in another folder than {Path(where).parent}."
    return {key: str(one) for key, one in words.items()}, name


def circular_file(said: str) -> str:
    """The file that Python names at the end of its words about a circle."""
    parts = re.search(r"\(([^()]*\.py)\)\s*$", said)
    return parts[1] if parts else "A file"


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
    r"lib(mkl|iomp5)": (", which is of Intel's packages, as conda's torch has them", ONE_OPENMP),
    r"lib(ze_loader|sycl|OpenCL)": (", which is of Intel's driver", LEVEL_ZERO),
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
