"""What a run says while it works: plain lines, or on a terminal one that moves."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator


class Voice:
    """What --quiet and --verbose leave of it."""

    quiet = False
    verbose = False


def say(*words: str, end: str = "\n") -> None:
    """Print what is no warning, no error and no verdict."""
    if not Voice.quiet:
        print(*words, end=end, flush=True)


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Say what is done now and, when it is, how long it took.

    The seconds move where somebody is looking; elsewhere there is one plain line, or with --verbose
    one before and one after what the step prints.
    """
    line, started, done = f"  {title} ...", time.monotonic(), threading.Event()
    dumb = os.environ.get("TERM") == "dumb"
    moves = sys.stdout.isatty() and not (dumb or Voice.verbose or Voice.quiet)

    def move() -> None:
        while not done.wait(1):
            say(f"\r{line} {time.monotonic() - started:.0f} s", end="")

    clock = threading.Thread(target=move, daemon=True)
    say(line, end="\n" if Voice.verbose else "")
    if moves:
        clock.start()
    try:
        yield
    finally:
        done.set()
        if moves:
            clock.join()
        again = line if Voice.verbose else f"\r{line}" if moves else ""
        say(f"{again} {time.monotonic() - started:.1f} s")
