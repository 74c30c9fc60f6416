"""A failing test says first what it ran and what came back: commands, and Copier in this process.

A plugin of pytest, which tests/conftest.py registers. Nothing of it is seen where a test passes.
"""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from _pytest._code.code import ExceptionChainRepr, ReprEntry
from copier._main import Worker  # which has no public name

LAST = 3  # commands that are told
LINES, WIDTH = 8, 240  # of what each stream said last, and of each line


@dataclass
class Ran:
    """One command, and what came back as far as this process has seen it."""

    what: str
    folder: str
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    outcome: str = "it had not ended, or nobody waited for it"
    said: list[str] = field(default_factory=list)

    def end(self, outcome: str, *said: object) -> None:
        """Note what came back."""
        self.ended, self.outcome = time.monotonic(), outcome
        for text in said:
            if isinstance(text, bytes):
                text = text.decode(errors="replace")
            self.said += [line[:WIDTH] for line in str(text or "").rstrip().splitlines()[-LINES:]]

    def lines(self) -> list[str]:
        """What to tell."""
        took = "" if self.ended is None else f" after {self.ended - self.started:.1f} s"
        said = ", said:" if self.said else ""
        told = [f"ran: {self.what[: 3 * WIDTH]} (in {self.folder})", f"{self.outcome}{took}{said}"]
        return [*told, *(f"    {line}" for line in self.said)]


_ran: deque[Ran] = deque(maxlen=LAST)
_workers: list[Worker] = []  # Copier at work, whose calls of git are its own affair


def _words(command: object) -> str:
    if isinstance(command, (str, bytes, os.PathLike)):
        return os.fsdecode(command)
    return shlex.join(os.fsdecode(word) for word in command)  # type: ignore[attr-defined]


def _recorded_start(start: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(start)
    def record(process: Any, args: object, *rest: Any, **options: Any) -> None:  # noqa: ANN401
        folder = os.fsdecode(options.get("cwd") or Path.cwd())
        process._ran = Ran(_words(args), folder)
        if not _workers:
            _ran.append(process._ran)
        try:
            start(process, args, *rest, **options)
        except OSError as error:
            process._ran.end(f"it did not start: {error}")
            raise

    return record


def _recorded_end(end: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(end)
    def record(process: Any, *rest: Any, **options: Any) -> Any:  # noqa: ANN401
        try:
            result = end(process, *rest, **options)
        except subprocess.TimeoutExpired as error:
            process._ran.end("it had not ended", error.stdout, error.stderr)
            raise
        outputs = result if isinstance(result, tuple) else ()
        if outputs or process._ran.ended is None:
            process._ran.end(f"exit code {process.returncode}", *outputs)
        return result

    return record


def _recorded_copier(verb: str, work: Callable[[Worker], None]) -> Callable[[Worker], None]:
    @functools.wraps(work)
    def record(worker: Worker) -> None:
        answers = (f"--data={name}={value}" for name, value in dict(worker.data).items())
        version = [f"--vcs-ref={worker.vcs_ref}"] if worker.vcs_ref else []
        words = ["copier", verb, worker.src_path or "", worker.dst_path, *version, *answers]
        this = Ran(shlex.join(map(str, filter(None, words))), str(Path.cwd()))
        if not _workers:  # an update makes copies
            _ran.append(this)
        _workers.append(worker)
        try:
            work(worker)
        except BaseException as error:
            this.end(f"it raised {type(error).__name__}", error)
            raise
        finally:
            _workers.pop()
        this.end("it ended well")

    return record


def pytest_configure(config: pytest.Config) -> None:
    """Listen: for the whole process, since fixtures run commands as well."""
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    patch.setattr(subprocess.Popen, "__init__", _recorded_start(subprocess.Popen.__init__))
    for name in ("wait", "communicate"):
        patch.setattr(subprocess.Popen, name, _recorded_end(getattr(subprocess.Popen, name)))
    for verb in ("copy", "update"):
        work = getattr(Worker, f"run_{verb}")
        patch.setattr(Worker, f"run_{verb}", _recorded_copier(verb, work))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Begin anew with each test."""
    _ran.clear()
    yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put it before all else that a failure's report says."""
    report = yield
    if report.failed and _ran:
        _prepend(report, [line for ran in _ran for line in ran.lines()])
    return report


def _prepend(report: pytest.TestReport, lines: list[str]) -> None:
    shown = report.longrepr
    first = shown.chain[0][0].reprentries[0] if isinstance(shown, ExceptionChainRepr) else None
    if isinstance(first, ReprEntry):  # which survives the way from another process
        given = first.reprfuncargs.args if first.reprfuncargs else ()
        first.reprfuncargs = None  # else they came first
        names = [f"{name} = {value}" for name, value in given]
        begin = [f"    {line}" for line in (*lines, "", *names, *([""] if names else []))]
        first.lines = [*begin, *first.lines]
    else:
        report.longrepr = "\n".join([*lines, "", str(shown)])
