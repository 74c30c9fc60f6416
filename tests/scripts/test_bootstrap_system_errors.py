"""What the system refuses: error numbers of POSIX and Windows, and a disk where nothing may run."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

from scripts.bootstrap_helpers import Demo, module
from scripts.smoke_helpers import needs_namespaces

errors = module("system_errors")
pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="needs a POSIX shell")


@pytest.mark.parametrize(
    ("name", "says", "do"),
    [
        ("ENOSPC", "The disk is full", "Free some space"),
        ("EDQUOT", "the quota", "Free some space"),
        ("EROFS", "The disk is read-only", "another disk"),
        ("ETXTBSY", "Another program uses a file", "Close it"),
        ("ENOEXEC", "for another kind of machine", "Delete `.venv` and `.tools`"),
        ("EMFILE", "Too many files are open", "ulimit -n 8192"),
        ("ENOMEM", "Memory is short", ""),
        ("ELOOP", "Links lead in a circle", "ls -l"),
        ("ENAMETOOLONG", "A path is too long", "shorter path"),
        ("EIO", "cannot be read or written", "dmesg"),
        ("ESTALE", "changed on its server", "cd / && cd -"),
    ],
)
def test_each_number_is_told_from_this_process_and_from_a_child_s_words(
    name: str, says: str, do: str
) -> None:
    number = getattr(errno, name)
    what, todo = errors.refused(OSError(number, os.strerror(number), "/there/file"))
    assert says in what
    assert f"/there/file: {os.strerror(number)} ({name} {number})." in what
    assert do in todo
    assert todo.endswith("Then run this again.")
    for said in (
        f"  cause: failed to write: {os.strerror(number)} (os error {number})",
        f"ERROR: Could not install packages due to an OSError: [Errno {number}] words: '/there'",
        f"sh: 1: {os.strerror(number)}",
    ):
        what, todo = errors.refusal_in([said], "locking")
        assert says in what
        assert what.endswith(": locking failed.")
        assert do in todo


@pytest.mark.parametrize(
    ("number", "says", "do"),
    [
        (5, "does not allow this", ""),
        (32, "Another program uses a file", "Close it"),
        (112, "The disk is full", "Free some space"),
        (206, "A path is too long", ""),
        (225, "virus scanner", "history"),
        (740, "administrator", "terminal"),
        (396, "hard links into the folder of a cloud", "uv cache clean"),
        (1392, "cannot be read or written", ""),
        (1455, "The page file is too small", "sysdm.cpl"),
        (4551, "App Control", "Ask who administers"),
        (10013, "forbids this program the network", "sandbox"),
        (14001, "Visual C++", "winget install Microsoft.VCRedist.2015+.x64"),
    ],
)
def test_a_number_of_windows_is_told(number: int, says: str, do: str) -> None:
    said = f"OSError: [WinError {number}] Worte in einer anderen Sprache: 'C:\\\\x'"
    what, todo = errors.refusal_in([said], "installing")
    assert says in what
    assert do in todo
    error = OSError(errno.EACCES, "words", "C:\\x")
    error.winerror = number  # type: ignore[attr-defined]
    what, todo = errors.refused(error)
    assert says in what
    assert number == 5 or f"(WinError {number})" in what


def test_an_unknown_number_is_shown_and_not_guessed() -> None:
    what, todo = errors.refused(OSError(errno.EXDEV, "Invalid cross-device link", "/a"))
    assert (what, todo) == (
        f"/a: Invalid cross-device link (EXDEV {errno.EXDEV}).",
        "Run this again.",
    )
    assert "(errno 4242)" in errors.refused(OSError(4242, "Words"))[0]
    for said in (
        "Connection refused (os error 111)",
        "[WinError 10061] no connection",
        "git: Permission denied (publickey).",
        "Resource temporarily unavailable",
        "Failed to establish a new connection: [Errno 8] nodename nor servname provided",
        "NameResolutionError([Errno 11] Host not found: resolving host failed)",
        "NewConnectionError('...: Failed to establish a new connection: [Errno 1] words')",
        "client error (Connect): tcp connect error: Operation not permitted (os error 1)",
    ):
        assert errors.refusal_in([said], "locking") is None


def test_a_disk_where_nothing_may_be_run_is_told_before_anything_is_made(demo: Demo) -> None:
    needs_namespaces()
    done = demo.run_mounted("noexec")
    assert done.returncode == 4, done.stdout + done.stderr
    assert done.stderr.startswith(
        f"bootstrap: Nothing may be run from {demo.root}, which is mounted"
    )
    assert "noexec" in done.stderr
    assert not (demo.root / ".venv").exists()
    assert not (demo.root / ".tools").exists()


def test_a_program_of_another_machine_in_tools_is_told(demo: Demo) -> None:
    """A .tools that came along with a copy of the project."""
    assert errors.cause_of(errno.ENOEXEC, windows=False) == "install-foreign-program"
    program = demo.root / "program"
    program.write_bytes(b"\x7fELF and nothing more")
    program.chmod(0o755)
    with pytest.raises(OSError, match="Exec format") as refused:
        subprocess.run([str(program)], check=False)
    assert "Delete `.venv` and `.tools`" in errors.refused(refused.value)[1]
