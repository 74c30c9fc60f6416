"""Where a shared library comes from, and how to take away what is none of this environment's.

What is said of each place is in surroundings/causes/libraries.ini, as from-*.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from surroundings.linux import text_of
from surroundings.system import administrator, owns

from .machine import ROOT, UNSET_COMMAND, WINDOWS, advise, repair
from .metadata import installed_packages

PATHS = {"win32": "PATH", "darwin": "DYLD_LIBRARY_PATH"}
VARIABLE = PATHS.get(sys.platform, "LD_LIBRARY_PATH")
STANDARD = re.compile(r"/(usr/)?lib(32|64)?(/|$)")
# Without these nothing runs any more: they are never to be removed.
SYSTEM_OWN = re.compile(r"lib(stdc\+\+|gcc_s|gomp|c|m|dl|pthread|rt)\.so")


def folder_of_torch() -> str:
    """Where the torch lies that Python finds, or ""."""
    with_torch = importlib.util.find_spec("torch")
    return str(Path(with_torch.origin).parent) if with_torch and with_torch.origin else ""


def is_own(path: str) -> bool:
    """Whether a file belongs to this environment, or to the project, or to the torch in use."""
    real = Path(os.path.realpath(path))
    site = Path(os.path.realpath(folder_of_torch() or sys.prefix)).parent
    own = [os.path.realpath(one) for one in (sys.prefix, ROOT)]
    return any(real.is_relative_to(one) for one in own) or (
        real.is_relative_to(site) and "-packages" in site.name
    )


def owner_of(library: str) -> str:
    """The installed package that brings a shared library, by its RECORD; "" for none."""
    every = installed_packages()
    return next((str(one) for one in every if any(one.files(library))), "")


def package_of(path: str) -> str:
    """The installed package that a file is of, by its RECORD, or its folder's name."""
    wanted = os.path.realpath(path)
    for package in installed_packages():
        if any(os.path.realpath(file) == wanted for file in package.files(Path(path).name)):
            return str(package)
    parts = re.split(r"[/\\](?:site|dist)-packages[/\\]", path)
    return re.split(r"[/\\.]", parts[-1])[0] if len(parts) > 1 else ""


# --- Where a library that is none of this environment's lies, and how to take it away


def entries(variable: str) -> list[str]:
    """The folders that a variable names."""
    return [one for one in os.environ.get(variable, "").split(os.pathsep) if one]


def linker_entry(folder: str) -> str:
    """The file that lets the linker look into a folder, where that is not of the system itself."""
    files = [Path("/etc/ld.so.conf"), *sorted(Path("/etc/ld.so.conf.d").glob("*.conf"))]
    for file in files if not STANDARD.match(folder.replace("/usr/local/lib", "/lib")) else ():
        if any(line.strip().rstrip("/") == folder for line in text_of(file).splitlines()):
            return str(file)
    return ""


def module_with(path: str) -> str:
    """The module of an HPC system that is loaded and whose name is in the path."""
    loaded = filter(None, os.environ.get("LOADEDMODULES", "").split(":"))
    parts = re.split(r"[/\\]", path.lower())
    return next((one for one in reversed(list(loaded)) if brings(one.lower(), parts)), "")


def brings(module: str, parts: list[str]) -> bool:
    """Whether a path is a module's, by its parts: .../cudnn-8.9/lib is of cuDNN/8.9.2-CUDA-12.1.

    Without a version in the path, a short name such as R is no sign of anything.
    """
    words = module.split("/")
    name, version = (words[-2], words[-1]) if words[1:] else (words[0], "")
    for part, after in zip(parts, [*parts[1:], ""], strict=True):
        if found := re.fullmatch(rf"{re.escape(name)}(?:[-_.]?v?(\d.*))?", part):
            have = found[1] or (after if after[:1].isdigit() else "")
            if have and (version.startswith(have) or have.startswith(version)):
                return True
            if not have and len(name) > 2:
                return True
    return False


def origin_of(path: str) -> tuple[str, dict[str, str]]:
    """By which of the causes from-* a library is found, and its words."""
    folder, names = str(Path(path).parent), {path, os.path.realpath(path)}
    words = {"path": path, "folder": folder, "variable": VARIABLE}
    words |= {"sudo": administrator(), "owns": owns(), "module": module_with(path)}
    words["unset"] = UNSET_COMMAND.format(VARIABLE)
    if names & set(re.split(r"[:\s]+", os.environ.get("LD_PRELOAD", ""))):
        return "from-preload", words
    within = {str(Path(one).parent) for one in names}
    named = [one for one in entries(VARIABLE) if os.path.realpath(one) in within]
    named += [one for one in entries(VARIABLE) if one.rstrip("/") in within]
    words["folder"] = named[0] if named else folder
    conda = any((one / "conda-meta").is_dir() for one in Path(os.path.realpath(path)).parents)
    if named and words["module"]:
        return "from-module", words
    if conda:
        base = Path(os.path.realpath(sys.base_prefix))
        python = Path(os.path.realpath(path)).is_relative_to(base) and "stdc++" in path
        return ("from-conda-python" if python and not named else "from-conda"), words
    if named:
        return ("from-path" if WINDOWS else "from-variable"), words
    if SYSTEM_OWN.search(path) and STANDARD.match(path):
        return "from-system", words
    for one in within:
        if entry := linker_entry(one):
            return "from-entry", {**words, "folder": one, "entry": entry}
    known = words["owns"] and STANDARD.match(path)
    return ("from-package" if known else "from-elsewhere"), words


def how_to_remove(path: str) -> str:
    """What to do so that a library is not loaded any more; of this environment: so that it is."""
    if not path or is_own(path):
        return repair()
    cause, words = origin_of(path)
    return advise(cause, **words).do


def how_to_update(path: str) -> str:
    """What to do so that a library, which is none of this environment's, goes with others."""
    cause, words = origin_of(path)
    system_s = cause in ("from-package", "from-system") and words["owns"]
    return advise("from-system-package" if system_s else cause, **words).do


def pattern_of(name: str) -> re.Pattern[str]:
    """What the files of a library are called."""
    return re.compile(rf"{name}[\w-]*\.(so|dll|dylib)")


def named_by_variables(name: str) -> Iterator[str]:
    """Libraries of a name that variables name, in the order in which Linux looks."""
    pattern = pattern_of(name)
    for one in re.split(r"[:\s]+", os.environ.get("LD_PRELOAD", "")):
        if pattern.match(Path(one).name):
            yield one
    for folder in entries(VARIABLE):
        try:
            found = sorted(one for one in Path(folder).iterdir() if pattern.match(one.name))
        except OSError:
            continue
        yield from map(str, found)


def known_to_the_linker(name: str) -> Iterator[str]:
    """Libraries of a name that the system's linker finds by itself."""
    pattern = pattern_of(name)
    try:  # where ldconfig keeps what it has found; paths lie in there as they are
        cache = Path("/etc/ld.so.cache").read_bytes()
    except OSError:
        return
    for text in re.findall(rb"/[\x21-\x7e]+", cache):
        if pattern.match(Path(text.decode()).name):
            yield text.decode()


def first_outside(libraries: Iterator[str]) -> str:
    """The first one that is not of this environment, and is there; "" for none."""
    return next((one for one in libraries if not is_own(one) and Path(one).is_file()), "")


def nvidia_package(library: str) -> str:
    """The installed package of NVIDIA that brings a library of that name; "" for none."""
    every = (one for one in installed_packages() if one.key.startswith("nvidia"))
    have = (one for one in every if any(re.match(library, file.name) for file in one.files()))
    return str(next(have, ""))
