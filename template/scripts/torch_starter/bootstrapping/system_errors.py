"""What the system refuses where files are written and programs started."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from surroundings.knowledge import advice, table
from surroundings.place import here

from .places import ROOT, VENV, WINDOWS, StopError, display

AGAIN = "Then run this again."
MOVE = "Move it away and run this again."
ROOM = 10_000_000  # bytes: with less even an empty .venv cannot be made
VAGUE = (
    "EACCES",
    "EPERM",
    "EAGAIN",
    "ENOTEMPTY",
    "ENOTDIR",
    "EISDIR",
)  # their words alone, without a number, say little
# What a resolver says, whose numbers are its own, and of connecting; and the system's numbers for
# what it forbids, there by a firewall or a sandbox.
RESOLVER = re.compile(
    r"nodename|servname|getaddrinfo|gaierror|NameResolution|[Nn]ame (?:resolution|or service)|"
    r"associated with host|resolv(?:e|ing) (?:host|DNS)|lookup address"
)
CONNECTS = re.compile(r"new connection|NewConnection|[Cc]onnect ?[Ee]rror|[Cc]ould not connect")
FORBIDDEN = re.compile(r"(?:os error |\[Errno |\[WinError )(?:1|13|10013)\b")


def cause_of(number: int, windows: bool) -> str:
    """The cause that a number of the system is a sign of; empty if it is not known."""
    if windows:
        return cause_named("windows", str(number))
    return cause_named("errno", errno.errorcode.get(number, ""))


def cause_named(family: str, name: str) -> str:
    """The cause in causes/system.ini that has this code among its signs."""
    causes = table("causes")
    found = (one for one in causes.sections() if name in causes[one].get(family, "").split())
    return next(found, "")


def told(cause: str, what: str) -> tuple[str, str]:
    """What to say of a cause."""
    found = advice(cause, here(), what=what)
    return found.says, f"{found.do}\n{AGAIN}"


def refusal_in(lines: list[str], title: str) -> tuple[str, str] | None:
    """What to say where a manager's words name the system's reason; None if they do not.

    A resolver's number is none of the system's, and who may not connect is refused no file.
    """
    what, forbidden = f"{title} failed", {*forbidden_connections(lines)}
    files = [line for line in lines if not RESOLVER.search(line) and line not in forbidden]
    text = "\n".join(files)
    for kind, number in re.findall(r"(os error |\[Errno |\[WinError )(\d+)", text):
        windows = WINDOWS if kind == "os error " else kind == "[WinError "
        if cause := cause_of(int(number), windows):
            return told(cause, what)
    for name in errno.errorcode.values():
        words, cause = os.strerror(getattr(errno, name)), cause_named("errno", name)
        if cause and name not in VAGUE and words in text:
            return told(cause, what)
    full = shutil.disk_usage(VENV if VENV.is_dir() else ROOT).free < ROOM
    return (
        told("install-disk-full", what) if full or "not enough space on the disk" in text else None
    )


def forbidden_connections(lines: list[str]) -> Iterator[str]:
    """The lines that say that the system forbids to connect; uv says to what in the line before."""
    for before, line in zip(["", *lines], lines, strict=False):
        if FORBIDDEN.search(line) and CONNECTS.search(f"{before}\n{line}"):
            yield line


def refused(error: OSError) -> tuple[str, str]:
    """What to say where the system does not let this read, write or start something.

    Of a number that is not in the table, its name and words, and no guess.
    """
    number = getattr(error, "winerror", None) or error.errno or 0
    windows = bool(getattr(error, "winerror", None))
    name = f"WinError {number}" if windows else f"{errno.errorcode.get(number, 'errno')} {number}"
    place, words = error.filename2 or error.filename, f"{error.strerror or error} ({name})"
    cause = cause_of(number, windows)
    if cause == "install-not-allowed" and place and not windows:
        who = f"See who may, and who you are: {display(['ls', '-ld', str(place)])}; id"
        return f"{place} cannot be read, written or started: {error.strerror}.", f"{who}\n{AGAIN}"
    what = f"{place}: {words}" if place else words
    return told(cause, what) if cause else (f"{what}.", AGAIN.replace("Then r", "R"))


def check_mount() -> None:
    """Stop where nothing in .venv can be run: its file system is mounted with `noexec`."""
    if sys.platform == "win32":  # which knows no such thing
        return
    place, flag = VENV.resolve() if VENV.exists() else ROOT.resolve(), getattr(os, "ST_NOEXEC", 0)
    mount = None
    for folder in (place, *place.parents):  # a bind mount shows in no other way
        if not os.statvfs(folder).f_flag & flag:
            break
        mount = folder
    if mount:
        found = advice("install-noexec", here(), what=place, mount=mount)
        raise StopError(4, found.says, f"{found.do}\n{AGAIN}")


def check_kinds(files: Iterable[Path], folders: Iterable[Path]) -> None:
    """Stop where a folder is in the place of a file, or something else in that of a folder."""
    for file in files:
        if file.is_dir():
            raise StopError(4, f"{file} is a folder, and should be a file.", MOVE)
    for folder in folders:
        if os.path.lexists(folder) and not folder.is_dir():
            raise StopError(4, f"{folder} is there, and is no folder.", MOVE)
