"""What an error number of the system means where files are written and programs started."""

from __future__ import annotations

import errno
import os
import re

from .places import ROOT, VENV, WINDOWS, StopError, display

AGAIN = "then run this again."
SPACE = f"Free some space, or move the project to another disk, {AGAIN}"
FULL = ("The disk is full", SPACE)
RIGHTS = f"See that you may write there (or run it, where it is a program), {AGAIN}"
IN_USE = ("Another program uses a file", f"Close it (an editor, a notebook, Python), {AGAIN}")
MEMORY = ("Memory is short", f"Close other programs, or give this machine more, {AGAIN}")
BROKEN = f"Copy the project to another disk, {AGAIN}"
FOREIGN = (
    "A program is for another kind of machine, or damaged",
    f"Delete .venv and .tools, which may come from another machine, {AGAIN}",
)
VIRUS = (
    "A virus scanner has blocked a file",
    f"Look into its history; if it errs, let it except {ROOT}, {AGAIN}",
)
POLICY = (
    "A rule of this Windows (App Control, AppLocker, Smart App Control) forbids a program",
    f"Ask who administers it to allow programs in {ROOT}, {AGAIN}",
)
SHARE = (
    "The network drive has gone",
    f"Connect it again, or put the project on a local disk, {AGAIN}",
)
LONG = ("A path is too long", f"Move the project to a folder with a shorter path, {AGAIN}")
LONG_WINDOWS = (
    LONG[0],
    rf"Move it to a folder such as C:\src, or set LongPathsEnabled to 1, {AGAIN}",
)

# By name, since systems number them differently. The first is half of a sentence.
POSIX = {
    "ENOSPC": FULL,
    "EDQUOT": ("Your share of the disk (quota) is full", SPACE),
    "EROFS": ("The disk is read-only", "Copy the project to another, and run this there."),
    "EACCES": ("A file may not be used", RIGHTS),
    "EPERM": ("The system does not permit it", RIGHTS),
    "ETXTBSY": IN_USE,
    "EBUSY": IN_USE,
    "ENOTEMPTY": IN_USE,
    "ENOEXEC": FOREIGN,
    "EMFILE": ("Too many files are open", f"Type: ulimit -n 8192\nT{AGAIN[1:]}"),
    "ENFILE": ("Too many files are open on this machine", f"Close other programs, {AGAIN}"),
    "EAGAIN": (
        "No more processes may be started",
        f"End some of yours (limit: ulimit -u), {AGAIN}",
    ),
    "ENOMEM": MEMORY,
    "ELOOP": ("Links lead in a circle", f"Remove the link that does (ls -l), {AGAIN}"),
    "ENAMETOOLONG": LONG,
    "EFBIG": ("A file would be larger than allowed", f"See: ulimit -f\nRaise it, {AGAIN}"),
    "EIO": ("The disk cannot be read or written (see `dmesg`)", BROKEN),
    "ESTALE": ("The folder was changed on its server (NFS)", f"Type: cd / && cd -\nT{AGAIN[1:]}"),
}
WIN32 = {
    5: (
        "Windows denies access to a file",
        f"Close what uses it, see that it may be written, {AGAIN}",
    ),
    8: MEMORY,
    14: MEMORY,
    19: ("The disk is write-protected", "Copy the project to another, and run this there."),
    23: ("The disk cannot be read", f"Type: chkdsk\n{BROKEN}"),
    32: IN_USE,
    33: IN_USE,
    39: FULL,
    53: SHARE,
    59: SHARE,
    64: SHARE,
    112: FULL,
    193: FOREIGN,
    206: LONG_WINDOWS,
    216: FOREIGN,
    225: VIRUS,
    226: VIRUS,
    362: (
        "OneDrive does not run, which has the files",
        f"Start it, or move the project out, {AGAIN}",
    ),
    740: (
        "A program wants an administrator",
        f"Run this from a terminal of an administrator, {AGAIN}",
    ),
    1117: ("The disk cannot be read or written", f"Type: chkdsk\n{BROKEN}"),
    1260: POLICY,
    1392: ("A file or folder on the disk is damaged", f"Type: chkdsk /f\n{BROKEN}"),
    1450: MEMORY,
    1455: ("The page file is too small", f"Let Windows manage its size (sysdm.cpl), {AGAIN}"),
    4551: POLICY,
    14001: (
        "Microsoft's Visual C++ runtime is missing",
        f"Type: winget install Microsoft.VCRedist.2015+.x64\nT{AGAIN[1:]}",
    ),
}
SURE = POSIX.keys() - {"EACCES", "EPERM", "EAGAIN", "ENOTEMPTY"}  # in words alone, without a number


def known(text: str) -> tuple[str, str] | None:
    """What a program's words say of the system, and what to do; None if that is nothing known."""
    for kind, number in re.findall(r"(os error |\[Errno |\[WinError )(\d+)", text):
        windows = WINDOWS if kind == "os error " else kind == "[WinError "
        name = errno.errorcode.get(int(number), "")
        found = WIN32.get(int(number)) if windows else POSIX.get(name)
        if found:
            return found
    for name in sorted(SURE):
        if hasattr(errno, name) and os.strerror(getattr(errno, name)) in text:
            return POSIX[name]
    return FULL if "not enough space on the disk" in text else None


def refused(error: OSError) -> tuple[str, str]:
    """What to say where the system does not let this read, write or start something."""
    number = getattr(error, "winerror", None)
    name = errno.errorcode.get(error.errno or 0, "")
    place, found = error.filename2 or error.filename, WIN32.get(number or 0) or POSIX.get(name)
    label = f"WinError {number}" if number else f"{name} {error.errno}".strip()
    if not found or not place:
        what = f"{place}: {error.strerror or error}" if place else str(error.strerror or error)
        return f"{what} ({label}).", found[1] if found else f"Mend that, {AGAIN}"
    what, todo = f"{found[0]}: {place} ({error.strerror}, {label}).", found[1]
    if name in ("EACCES", "EPERM") and not WINDOWS:
        what = f"{place} cannot be read, written or started: {error.strerror}."
        todo = f"See who may, and who you are: {display(['ls', '-ld', str(place)])}; id"
        todo += f"\nT{AGAIN[1:]}"
    return what, todo


def check_mount() -> None:
    """Stop where nothing in .venv can be run: its file system is mounted with `noexec`."""
    place = VENV.resolve() if VENV.exists() else ROOT.resolve()
    forbidden = getattr(os, "ST_NOEXEC", 0)
    if not forbidden or not os.statvfs(place).f_flag & forbidden:
        return
    mount = next(folder for folder in (place, *place.parents) if folder.is_mount())
    todo = "Move the project to another disk, or let an administrator allow it:\n"
    todo += f"  {display(['mount', '-o', 'remount,exec', str(mount)])}\nThen run this again."
    what = f"No .venv works in {place}: nothing may be run from {mount}, which is mounted noexec."
    raise StopError(4, what, todo)
