"""Runs the children, one bootstrap at a time."""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from .downloads import CACHE, CLEAN, EMPTY, spoilt
from .failures import NOISE, UV_PYTHONS, Failed, failure, no_download
from .places import (
    GUARD,
    LOG,
    ROOT,
    TOOLS,
    UNFINISHED,
    VENV,
    WINDOWS,
    StopError,
    display,
    say,
    step,
    venv_python,
)
from .project import Project
from .said import own_words
from .system import PROBE, Python
from .wheelhouse import offline_settings, what_it_lacks

# These send packages elsewhere, leave some out, or make a Python load another one's modules. Index
# settings stay.
REDIRECTIONS = (
    "PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PYTHONHOME PYTHONPATH __PYVENV_LAUNCHER__ "
    "VIRTUAL_ENV CONDA_PREFIX UV_PROJECT UV_PROJECT_ENVIRONMENT UV_TORCH_BACKEND UV_WORKING_DIR "
    "UV_WORKING_DIRECTORY "
    "UV_NO_DEV UV_NO_GROUP UV_NO_DEFAULT_GROUPS UV_NO_EDITABLE UV_NO_INSTALL_PROJECT "
    "UV_NO_INSTALL_WORKSPACE UV_NO_INSTALL_LOCAL UV_ONLY_INSTALL_PROJECT UV_ONLY_INSTALL_WORKSPACE "
    "UV_ONLY_INSTALL_LOCAL UV_EXCLUDE UV_FROZEN UV_LOCKED UV_MANAGED_PYTHON UV_NO_MANAGED_PYTHON "
    "UV_NO_SOURCES UV_NO_SOURCES_PACKAGE UV_VENV_CLEAR"
)
SETTINGS = {
    "PIP_USER": "0",  # stronger than `user = true` in a pip.conf
    "PIP_NO_DEPS": "0",
    "PIP_ONLY_DEPS": "0",
    "PIP_DRY_RUN": "0",
    "PIP_IGNORE_INSTALLED": "0",
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "POETRY_VIRTUALENVS_CREATE": "true",
    "POETRY_VIRTUALENVS_IN_PROJECT": "true",
    "PYTHONUTF8": "1",
}


PATIENCE = 60  # seconds for a program that is only asked something


class Runner:
    """Runs the children: a line each on the terminal, everything in the log."""

    def __init__(self, project: Project, options: argparse.Namespace) -> None:
        self.project, self.options = project, options
        self.platform = ""  # of wheels, e.g. linux-x86_64
        self.log: TextIO | None = None
        self.env = {k: v for k, v in os.environ.items() if k not in REDIRECTIONS.split()}
        self.env.update(SETTINGS)
        if options.offline:
            self.env.update(offline_settings(self.env, options.wheelhouse))
        # An activated .venv must not supply the tools that make it.
        own = Path(venv_python(VENV)).parent
        folders = self.env.get("PATH", "").split(os.pathsep)
        self.env["PATH"] = os.pathsep.join(name for name in folders if Path(name) != own)
        self.common: dict[str, Any] = {"cwd": ROOT, "env": self.env, "stdin": subprocess.DEVNULL}

    def which(self, name: str) -> str:
        """Where a program is on PATH; empty if it is not."""
        return shutil.which(name, path=self.env["PATH"]) or ""

    def ask(self, command: list[str]) -> str | None:
        """The output of a command that changes nothing; None if it does not work."""
        done = self.try_out(command)
        if done is None or done.returncode:
            return None
        return done.stdout.decode("utf-8", "replace").strip()

    def try_out(self, command: list[str]) -> subprocess.CompletedProcess[bytes] | None:
        """What came of a command that changes nothing; None if it did not run to its end."""
        try:
            return subprocess.run(
                command, capture_output=True, check=False, timeout=PATIENCE, **self.common
            )
        except subprocess.TimeoutExpired:
            if command[0] != venv_python(VENV) or self.options.recreate:
                return None
            what = f"{command[0]} did not answer for {PATIENCE} s."
            todo = "Run this again when the disk is less busy, or make .venv anew: --recreate"
            raise StopError(4, what, todo) from None
        except OSError:
            return None

    def probe(self, command: list[str]) -> Python | None:
        """Ask a Python about itself; None if it does not run."""
        answer = self.ask([*command, "-I", "-c", PROBE]) or ""
        try:
            return Python(*json.loads(answer.splitlines()[-1]))
        except (ValueError, TypeError, IndexError):
            return None

    def run(self, title: str, command: list[str], code: int = 5, venv: bool = False) -> None:
        """Run a command; Stop with this code if it fails.

        `venv`: it changes .venv, so a later run must know if it was interrupted.
        """
        if self.options.dry_run:
            print(f"  would run: {display(command)}")
            return
        if venv:
            UNFINISHED.touch()
        status, tail = self.follow(title, command)
        if status > 0 and not self.options.offline and (why := spoilt(tail)):
            status, tail = self.once_more(title, command, why)
        if venv and (status == 0 or (status > 0 and code == 5)):  # an installer's error is clean
            UNFINISHED.unlink(missing_ok=True)
        if status:
            tool = "pip" if command[1:3] == ["-m", "pip"] else self.project.manager
            tool = "uv" if Path(command[0]).stem == "uv" else tool  # which locks for the others
            text, known = "\n".join(own_words(tail)), None
            if self.options.offline:
                known = what_it_lacks(self.project, self.options.wheelhouse, title, text)
            elif code == 4 and UV_PYTHONS in text:
                known = no_download(self.project, title)
            asks_index = not self.options.offline and code != 4  # what makes .venv asks none
            failed = Failed(title, status, tail, tool, code)
            raise failure(failed, self.project, self.platform, self.env, known, asks_index)

    def once_more(self, title: str, command: list[str], why: str) -> tuple[int, list[str]]:
        """Run a command again whose download was cut or spoilt: past the caches if spoilt."""
        if why == "cut":
            say("  the connection was cut: once more")
            return self.follow(title, command)
        say("  a download is spoilt: once more, with an empty cache")
        before = {**self.env}
        self.env.update(EMPTY)
        try:
            status, tail = self.follow(title, command)
        finally:
            for name in EMPTY:
                self.env.pop(name)
            self.env.update(before)
            shutil.rmtree(CACHE, ignore_errors=True)
        clean = CLEAN.get("pip" if command[1:3] == ["-m", "pip"] else self.project.manager)
        if not status and clean:
            say(f"  your own cache may have it spoilt; this empties it: {clean}")
        return status, tail

    def follow(self, title: str, command: list[str]) -> tuple[int, list[str]]:
        """Run a command; its exit status and the end of what it printed."""
        self.log = self.log or LOG.open("w", encoding="utf-8")
        print(f"$ {display(command)}", file=self.log, flush=True)
        tail = deque[str](maxlen=5000)  # of a build's words, too
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        pipes.update(encoding="utf-8", errors="replace")
        with self.child(command, **pipes) as child, step(title):
            for line in child.stdout or ():
                tail.append(line.rstrip())
                print(tail[-1], file=self.log, flush=True)
                if self.options.verbose:
                    print("   ", tail[-1], flush=True)
            child.wait()
        return child.returncode, [line for line in tail if not NOISE.match(line)]

    @contextlib.contextmanager
    def child(self, command: list[str], **pipes: Any) -> Iterator[subprocess.Popen[str]]:  # noqa: ANN401
        """Start a command that ends with this process, and with all that it has started."""
        pipes["start_new_session"] = True  # and a process group: see leashed
        with (
            held_back() as let_go,
            subprocess.Popen(command, **pipes, **self.common) as child,
            leashed(child),
        ):
            let_go()
            yield child


# --- Whatever ends this process ends what it has started


@contextlib.contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Hold a Ctrl-C back until the child that is being started can be told; what lets it go."""
    before, came = signal.getsignal(signal.SIGINT), list[int]()

    def let_go() -> None:
        signal.signal(signal.SIGINT, before)
        if came:
            raise KeyboardInterrupt

    if before is signal.default_int_handler:  # else it is ignored, as behind `nohup ... &`
        signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield let_go
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def leashed(child: subprocess.Popen[str]) -> Iterator[None]:
    """End a child and its group with this process: another one waits for a pipe to be closed.

    Only this one can close it. What goes on behind a child that has ended by itself is not touched.
    """
    if sys.platform == "win32":  # see surroundings.processes
        yield
        return
    reading, writing = os.pipe()
    if not (watcher := os.fork()):
        try:
            os.setsid()  # what a terminal sends is not for it
            os.close(writing)
            if not os.read(reading, 1):
                end_group(child.pid)
        finally:  # a Ctrl-C just before that is not for it either
            os._exit(0)
    os.close(reading)
    try:
        yield
        os.write(writing, b".")
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):  # the terminal tells only this process
            with contextlib.suppress(OSError):
                os.killpg(child.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(2)
        raise
    finally:
        os.close(writing)
        os.waitpid(watcher, 0)


def end_group(leader: int) -> None:
    """Let a process group end, and end it if it has not within 2 s."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):  # there is nothing left of it
            os.killpg(leader, signal.SIGTERM)
            for _ in range(40):
                time.sleep(0.05)
                os.killpg(leader, 0)
            os.killpg(leader, signal.SIGKILL)


# --- One bootstrap at a time


@contextlib.contextmanager
def guarded(runner: Runner) -> Iterator[None]:
    """Let only one run at a time change anything.

    The system's own lock: it ends with the process, however that ends. On POSIX the children hold
    it too, and theirs, so that what a killed run left behind is waited for.
    """
    if runner.options.dry_run:
        yield
        return
    TOOLS.mkdir(exist_ok=True)
    with GUARD.open("a+", encoding="utf-8") as file:
        get_hold(file)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        if not WINDOWS:
            runner.common["pass_fds"] = [file.fileno()]
        try:
            yield
        finally:
            runner.common.pop("pass_fds", None)


def get_hold(file: TextIO) -> None:
    """Lock the file; Stop if something else has it."""
    for _ in range(40):
        if hold(file.fileno()):
            return
        file.seek(0)
        owner = file.read().strip() or "unknown"
        what = f"Another bootstrap (process {owner}) works on this project."
        if is_alive(owner):
            break
        what = "What an earlier bootstrap has started, or one elsewhere, works on this project."
        time.sleep(0.1)  # its children are just being ended
    raise StopError(2, what, "Wait until it has ended, then run this again.")


def is_alive(process: str) -> bool:
    """Whether a process is there, as far as can be told from here."""
    if WINDOWS or not process.isdecimal():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def hold(file: int) -> bool:
    """Lock an open file; False if another process has it. Not every file system can."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(file, 1 << 20, os.SEEK_SET)  # far behind the text, which stays readable
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        without = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
        return error.errno in without  # Wine says nothing, 0, of a file that another has
    return True
