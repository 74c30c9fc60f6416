"""Which shared libraries this process has loaded, as the system tells it."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path


def loaded_libraries() -> list[str]:
    """The paths of all shared libraries of this process, sorted."""
    if sys.platform == "win32":
        return sorted(windows_modules())
    if sys.platform == "darwin":
        return sorted(apple_images())
    maps = Path("/proc/self/maps")
    lines = maps.read_text(encoding="utf-8", errors="replace").splitlines()
    # address permissions offset device inode path
    return sorted({line.split(maxsplit=5)[5] for line in lines if ".so" in line})


def windows_modules() -> set[str]:
    """The files of this process's modules, from EnumProcessModules."""
    kernel = getattr(ctypes, "WinDLL")("kernel32")  # noqa: B009, only there is it
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    pointer = ctypes.sizeof(ctypes.c_void_p)
    modules, needed = (ctypes.c_void_p * 4096)(), ctypes.c_ulong()
    process = ctypes.c_void_p(kernel.GetCurrentProcess())
    size = ctypes.c_ulong(ctypes.sizeof(modules))
    if not kernel.K32EnumProcessModules(process, modules, size, ctypes.byref(needed)):
        return set()
    found, name = set(), ctypes.create_unicode_buffer(32768)
    for module in modules[: min(needed.value // pointer, len(modules))]:
        if kernel.GetModuleFileNameW(ctypes.c_void_p(module), name, len(name)):
            found.add(name.value)
    return found


def apple_images() -> set[str]:
    """The files of this process's images, from dyld."""
    dyld = ctypes.CDLL(None)
    dyld._dyld_get_image_name.restype = ctypes.c_char_p
    names = (dyld._dyld_get_image_name(index) for index in range(dyld._dyld_image_count()))
    return {name.decode("utf-8", "replace") for name in names if name}
