"""What a manager says of itself is told from what a package's build printed, and from warnings."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts.bootstrap_helpers import Demo, make_demo, module, tool

index = module("index")
downloads, errors, failures, said = map(module, ("downloads", "system_errors", "failures", "said"))
pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="needs a POSIX shell")

BROKEN = """[project]
name = "broken"
version = "0.1"
[build-system]
requires = []
build-backend = "broken_backend"
backend-path = ["."]
"""
# What a build may print that a manager or the system says as well.
WORDS = {
    "EOFError": "input('Accept the licence? ')",
    "Exec format error": "raise OSError(8, 'Exec format error', '/usr/local/cuda/bin/nvcc')",
    "Connection refused": "raise RuntimeError('error: Failed to fetch: Connection refused')",
}


def broken(folder: Path, code: str) -> Path:
    """A package whose build fails; its folder."""
    package = folder / "broken"
    package.mkdir()
    (package / "pyproject.toml").write_text(BROKEN, encoding="utf-8")
    text = f"def build_wheel(*_, **__):\n    {code}\nbuild_editable = build_wheel\n"
    (package / "broken_backend.py").write_text(text, encoding="utf-8")
    return package


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 5, done.stdout + done.stderr
    assert "once more" not in done.stdout
    return done.stderr.splitlines()[:-1]


BUILD_OF_BROKEN = [
    "bootstrap: The build of broken has failed, for the reason that it says above: "
    "installing (the first time can take long) failed.",
    "Mend what it says, or take another version of it: one with a wheel needs no build.",
    "Then run this again.",
]


@pytest.mark.few(1)
@pytest.mark.parametrize("words", WORDS)
def test_a_failed_build_is_the_package_s_by_uv(demo: Demo, tmp_path: Path, words: str) -> None:
    broken(tmp_path, WORDS[words])
    demo.edit("pyproject.toml", '"demo-stub"', '"demo-stub", "broken"')
    file = demo.root / "pyproject.toml"
    sources = '\n[tool.uv.sources]\nbroken = { path = "../broken" }\n'
    file.write_text(file.read_text(encoding="utf-8") + sources, encoding="utf-8")
    done = demo.run()
    assert words in done.stdout + (demo.root / ".tools/bootstrap.log").read_text("utf-8")
    assert told(done) == BUILD_OF_BROKEN


@pytest.mark.slow
@pytest.mark.network
def test_a_failed_build_is_the_package_s_by_pip(begun_demo: Demo, tmp_path: Path) -> None:
    package = broken(tmp_path, WORDS["EOFError"])
    begun_demo.edit("pyproject.toml", "dev = []", f'dev = ["broken @ {package.as_uri()}"]')
    assert told(begun_demo.run()) == BUILD_OF_BROKEN
    begun_demo.edit("pyproject.toml", f'"broken @ {package.as_uri()}"', "")
    (begun_demo.root / "backend/demo_backend.py").write_text(
        "raise OSError(28, 'No space left on device')", encoding="utf-8"
    )
    what, todo, _ = told(begun_demo.run())
    assert what.startswith("bootstrap: The build of this project has failed")
    assert todo == "Mend what it says."


@pytest.mark.slow
def test_a_failed_build_is_the_package_s_by_poetry(tmp_path: Path) -> None:
    demo = make_demo(tmp_path, "poetry")
    broken(tmp_path, WORDS["EOFError"])
    demo.edit("pyproject.toml", '"demo-stub"', '"demo-stub", "broken"')
    head = "[tool.poetry.dependencies]\n"
    demo.edit("pyproject.toml", head, head + 'broken = { path = "../broken" }\n')
    assert told(demo.run()) == BUILD_OF_BROKEN


UV_BEFORE = """  \N{MULTIPLICATION SIGN} Failed to build `broken @ file:///x/broken`
  |-> The build backend returned an error
  `-> Call to `setuptools.build_meta:__legacy__.build_wheel` failed (signal: 9 (SIGKILL))

      [stderr]
      error: could not write to a file: No space left on device (os error 28)
      bash: -c: line 2: syntax error: unexpected end of file

      hint: This usually indicates a problem with the package or the build environment.
"""
PIP_BEFORE = """  error: subprocess-exited-with-error

  \N{MULTIPLICATION SIGN} python setup.py bdist_wheel did not run successfully.
  | exit code: 1
  `-> [3 lines of output]
      error: Failed to fetch: Connection refused
      CMake Error: file failed to open: Input/output error
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
  ERROR: Failed building wheel for broken
Failed to build broken
ERROR: Could not build wheels for broken, which is required to install pyproject.toml-based projects
"""
PIP_ABOVE = """error: subprocess-exited-with-error

\N{MULTIPLICATION SIGN} Getting requirements to build wheel did not run successfully.
| exit code: -9
`-> [1 lines of output]
    EOFError: EOF when reading a line
    [end of output]
"""
POETRY_BEFORE = """  ChefBuildError

  Backend subprocess exited when trying to invoke build_wheel

  OSError: [Errno 5] Input/output error
  at /opt/poetry/chef.py:164 in _prepare

Note: This error originates from the build backend, and is likely not a problem with poetry but \
with broken (0.1) not supporting PEP 517 builds.
"""
POETRY_LOCKS = """Unable to determine package info for path: /x/broken

Command ['python', '-c', '...'] errored with the following return code 1
Output:
OSError: [Errno 5] Input/output error
"""


@pytest.mark.parametrize(
    ("text", "package", "number"),
    [
        (UV_BEFORE, "broken", 9),
        (PIP_BEFORE, "broken", 0),
        (PIP_ABOVE, "a package", 9),
        (POETRY_BEFORE, "broken", 0),
        (POETRY_LOCKS, "/x/broken", 0),
    ],
)
def test_a_build_s_words_are_nobody_else_s(text: str, package: str, number: int) -> None:
    lines = text.splitlines()
    assert said.failed_build(lines) == package
    assert said.signal_of_build(lines) == number
    assert errors.refusal_in(said.last_error(lines), "installing") is None
    assert downloads.spoilt(lines) == ""
    assert not failures.UNREACHABLE.search("\n".join(said.own_words(lines)))


@pytest.mark.parametrize(
    "text",
    [
        "error: Failed to build `x==1`\n  cause: Failed to resolve requirements from `build-system."
        "requires`\n  cause: Failed to fetch: `https://index.example/simple/setuptools/`",
        "  \N{MULTIPLICATION SIGN} Installing build dependencies did not run successfully.\n"
        "  `-> [1 lines of output]\n      ERROR: HTTP error 503\n      [end of output]\n",
        "  \N{MULTIPLICATION SIGN} git clone https://host.example/x did not run successfully.\n"
        "  `-> [1 lines of output]\n      fatal: Connection refused\n      [end of output]\n",
    ],
    ids=["uv", "pip", "git"],
)
def test_what_a_build_needs_and_the_network_does_not_give_is_the_network_s(text: str) -> None:
    lines = text.splitlines()
    assert said.failed_build(lines) is None
    assert failures.UNREACHABLE.search("\n".join(said.own_words(lines)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("warning: no cache: Read-only file system (os error 30)\nerror: No solution found", ""),
        ("WARNING: [Errno 5] Input/output error\nERROR: No matching distribution found for x", ""),
        ("warning: failed to sync (os error 5)\nerror: no\n  cause: full (os error 28)", "is full"),
        ("warning: (os error 5)\n[Errno 28] No space left on device", "is full"),
        ("warning: a (os error 30)\n  x no room\n  `-> No space left on device", "is full"),
        ("error: no\n  cause: tcp open error\n  cause: words (os error 24)", "files are open"),
    ],
)
def test_the_last_error_counts_and_no_warning(text: str, says: str) -> None:
    found = errors.refusal_in(said.last_error(text.splitlines()), "locking")
    assert (found is not None) == bool(says)
    assert not found or says in found[0]


def test_a_warning_of_a_spoilt_cache_is_no_spoilt_download() -> None:
    assert downloads.spoilt(["warning: cache entry: unexpected end of file", "error: no"]) == ""
    cut = ["warning: cache: (os error 30)", "error: no", "  cause: error decoding response body"]
    assert downloads.spoilt(cut) == "cut"


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("name", "says", "do"),
    [
        ("SIGXCPU", "used all the processor time that a limit allows: locking", "ulimit -t"),
        ("SIGTERM", "told it to end: locking was killed by signal 15 (SIGTERM).", "ask for more"),
        ("SIGSEGV", "bootstrap: Locking was killed by signal 11", "another version of uv"),
    ],
)
def test_a_manager_s_signal_is_told(demo: Demo, name: str, says: str, do: str) -> None:
    uv = Path(demo.env["PATH"], "uv")
    uv.unlink()
    kill = f'case "$1" in lock) kill -{name.removeprefix("SIG")} $$;; esac'
    uv.write_text(f'#!/bin/sh\n{kill}\nexec {tool("uv")} "$@"\n', encoding="utf-8")
    uv.chmod(0o755)
    done = demo.run()
    assert done.returncode == 5
    assert says in done.stderr
    assert do in done.stderr
    assert "emory" not in done.stderr


@pytest.mark.parametrize(
    ("name", "says", "do"),
    [
        ("SIGKILL", "where memory is short: it was killed by signal 9 (SIGKILL).", "emory"),
        ("SIGILL", "an instruction that Python uses: it", "newer processor"),
        ("SIGBUS", "is full: it", "df -h"),
        ("SIGXFSZ", "a larger file than a limit allows: it", "ulimit -f"),
        ("SIGTRAP", "It was killed by signal 5", "another version of Python"),
        ("SIGHUP", "It was killed by signal 1", "Run this again."),
    ],
)
def test_each_signal_has_its_own_cause(name: str, says: str, do: str) -> None:
    number = signal.Signals[name].value
    what, todo = failures.killed_advice(number, "it", "pip")
    assert says in what
    assert do in todo
    assert "emory" not in todo or name == "SIGKILL"
    assert failures.signal_in(-number) == failures.signal_in(128 + number) == number


def test_an_exit_code_is_no_signal() -> None:
    assert [failures.signal_in(status) for status in (1, 2, 127, 128, 255)] == [0] * 5


def forbid_to_connect() -> None:
    """Let the system refuse this process and its children each connection, as a sandbox does."""
    number = {"x86_64": 42, "aarch64": 203}[platform.machine()]
    rows = ((0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
    program = struct.pack("HxxxxxxP", len(rows), ctypes.addressof(code))
    prctl = ctypes.CDLL(None).prctl
    if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.c_char_p(program), 0, 0):
        os._exit(99)


def test_an_index_that_the_system_forbids_to_ask_is_no_index_that_is_down() -> None:
    for number, advised in ((errno.EPERM, True), (errno.EACCES, True), (errno.ECONNREFUSED, False)):
        reason = index.words_of(OSError(number, os.strerror(number)))
        trouble = index.Trouble(f"https://index.example cannot be reached ({reason})")
        build = SimpleNamespace(build={"index_url": None})
        what, _ = failures.index_advice(build, "", trouble, "locking failed", "uv")
        assert (what == "The system forbids this program the network: locking failed.") is advised


def test_a_network_that_the_system_forbids_is_told(demo: Demo) -> None:
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("a filter of Linux's seccomp")
    index = '[[tool.uv.index]]\nurl = "http://127.0.0.1:9/simple"\ndefault = true\n'
    demo.edit("pyproject.toml", 'no-index = true\nfind-links = ["../wheels"]\n', index)
    done = subprocess.run(
        ["/bin/sh", str(demo.root / "bootstrap.sh")],
        env={**demo.env, "UV_HTTP_RETRIES": "0", "NO_PROXY": "*"},
        capture_output=True,
        encoding="utf-8",
        preexec_fn=forbid_to_connect,
        check=False,
    )
    assert done.returncode == 5, done.stdout + done.stderr
    assert "(os error 1)" in done.stdout
    assert done.stderr.startswith(
        "bootstrap: The system forbids this program the network: locking failed.\n"
    )
    assert "ls -ld" not in done.stderr
