"""What a run says while it works: plain lines, or on a terminal one that moves."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType


class Voice:
    """What --quiet and --verbose leave of it."""

    quiet = False
    verbose = False


def say(*words: str, end: str = "\n") -> None:
    """Print what is no warning, no error and no verdict."""
    if not Voice.quiet:
        print(*words, end=end, flush=True)


class Step:
    """A step and how long it takes: its seconds move where somebody is looking."""

    def __init__(self, title: str) -> None:
        self.line = f"  {title} ..."
        self.started = time.monotonic()
        self.done = threading.Event()
        dumb = os.environ.get("TERM") == "dumb"
        self.moves = sys.stdout.isatty() and not dumb and not Voice.verbose and not Voice.quiet
        self.clock = threading.Thread(target=self.move, daemon=True)

    def __enter__(self) -> Step:
        say(self.line, end="\n" if Voice.verbose else "")
        if self.moves:
            self.clock.start()
        return self

    def move(self) -> None:
        """Write the seconds over the line, until the step is done."""
        while not self.done.wait(1):
            say(f"\r{self.line} {time.monotonic() - self.started:.0f} s", end="")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.done.set()
        if self.moves:
            self.clock.join()
        again = self.line if Voice.verbose else f"\r{self.line}" if self.moves else ""
        say(f"{again} {time.monotonic() - self.started:.1f} s")
