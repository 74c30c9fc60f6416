"""Windows: which DLL torch's own DLLs need and do not find, read from the files.

The format is Microsoft's "PE Format": DOS header, COFF header, optional header with the data
directories, sections, and in one of them the table of imports.
"""

from __future__ import annotations

import os
import struct
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from .machine import BOOTSTRAP, REDISTRIBUTABLE, SWITCH, repair

VIRTUAL = ("api-ms-win-", "ext-ms-win-")  # names that Windows maps to DLLs of its own
DRIVER = ("nvcuda.dll",)  # of NVIDIA's driver, which DRV-LIBCUDA looks for
IMPORTS = 1  # index of the data directory of imports
ENTRY = 20  # bytes of an entry of the table of imports
RUNTIME = ("vcruntime", "msvcp", "concrt", "vcomp")  # DLLs of the Visual C++ Redistributable


class NoDllError(ValueError):
    """A file that Windows would not load either."""


def read(file: BinaryIO, offset: int, layout: str) -> tuple[int, ...]:
    """Little-endian numbers at an offset of a file; NoDllError if it ends before."""
    file.seek(offset)
    size = struct.calcsize(layout)
    content = file.read(size)
    if len(content) < size:
        raise NoDllError("it is cut short")
    return struct.unpack("<" + layout, content)


def imports(path: Path) -> list[str]:
    """The DLLs without which one does not load, in lower case; NoDllError if it is none."""
    if not path.is_file():  # to open a pipe is to wait for its other end
        raise NoDllError("it is no file")
    with path.open("rb") as file:
        if read(file, 0, "2B") != tuple(b"MZ"):
            raise NoDllError("it does not begin as one")
        (header,) = read(file, 0x3C, "I")
        if read(file, header, "4B") != tuple(b"PE\0\0"):
            raise NoDllError("it is not for Windows")
        sections, optional_size = read(file, header + 6, "H12xH")
        (magic,) = read(file, header + 24, "H")
        directories = header + 24 + {0x10B: 96, 0x20B: 112}.get(magic, 0)  # 32 or 64 bit
        if directories == header + 24:
            raise NoDllError("it is of an unknown kind")
        (count,) = read(file, directories - 4, "I")
        table = read(file, directories + 8 * IMPORTS, "2I")[0] if count > IMPORTS else 0
        first = header + 24 + optional_size
        places = [read(file, first + 40 * index + 8, "4I") for index in range(sections)]

        def offset(address: int) -> int:
            """Where in the file lies what will be at an address in memory."""
            for size, begin, stored, where in places:
                if begin <= address < begin + max(size, stored):
                    return where + address - begin
            raise NoDllError("a table lies outside of it")

        found: list[str] = []
        while table:
            (name,) = read(file, offset(table) + 12, "I")
            if not name:
                break
            file.seek(offset(name))
            found.append(file.read(256).partition(b"\0")[0].decode("ascii", "replace").lower())
            table += ENTRY
        return found


def missing(folder: Path, search: Iterable[Path]) -> list[tuple[str, str]]:
    """What the DLLs of a folder need and no folder has: pairs of a DLL and a missing name.

    Only the folder's own DLLs are read: what comes from elsewhere is Windows' or another
    installer's. A DLL that cannot be read is missing itself, and is told with an empty name.
    """
    names = {one.name.lower() for one in folder.glob("*.dll")}
    for place in search:
        if place.is_dir():
            names |= {one.name.lower() for one in place.iterdir() if one.suffix.lower() == ".dll"}
    found = []
    for path in sorted(folder.glob("*.dll")):
        try:
            wanted = imports(path)
        except (NoDllError, OSError):
            found.append((path.name, ""))
            continue
        lost = [one for one in wanted if one not in names and not one.startswith(VIRTUAL)]
        found += [(path.name, one) for one in lost if one not in DRIVER]
    return found


def search_path() -> list[Path]:
    """Where `import torch` looks for DLLs, besides its own folder: see torch/__init__.py."""
    windows = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"))
    bases = [sys.exec_prefix, sys.base_exec_prefix, sysconfig.get_config_var("userbase") or ""]
    return [
        *(Path(one, "Library", "bin") for one in bases if one),
        Path(sys.exec_prefix, "bin"),
        Path(sys.base_exec_prefix),  # that of python.exe and python3xx.dll
        windows / "System32",
        windows,
        *(Path(one) for one in os.environ.get("PATH", "").split(os.pathsep) if one),
    ]


def trouble(folder: Path, search: Iterable[Path]) -> tuple[str, str] | None:
    """What is wrong with the DLLs of a folder, and what to do; None if nothing is."""
    lost = missing(folder, search)
    if not lost:
        return None
    path, name = lost[0]
    if not name:
        return f"{path} in {folder} is damaged.", repair()
    others = len({one for _, one in lost}) - 1
    problem = f"{path} needs {name}, which is nowhere on this machine"
    problem += f", as are {others} more." if others else "."
    if name.startswith(RUNTIME):
        return problem, REDISTRIBUTABLE
    if name.startswith("libomp140"):
        return problem, f"Choose a torch that brings it: type `{SWITCH}` and then `{BOOTSTRAP}`."
    if name.startswith("python"):  # torch is for another one
        return problem, repair()
    return problem, f"Let the virus scanner leave .venv alone. {repair()}"
