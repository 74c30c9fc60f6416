"""Runs a program in a real terminal, types into it, and draws its screen as SVG (POSIX only)."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

import pyte

ENTER, DOWN = "\r", "\x1b[B"
WIDE = "\0"  # the second cell of a wide character
COLUMN, ROW, SIZE, MARGIN = 8.4, 19, 14, 16
INK, PAPER = "#d4d4d4", "#1e1e1e"
COLORS = {
    "black": "#808080",
    "red": "#f48771",
    "green": "#89d185",
    "brown": "#e5c07b",  # pyte's name for yellow
    "blue": "#6cb6ff",
    "magenta": "#d2a8ff",
    "cyan": "#56d4dd",
    "white": INK,
}


class Terminal:
    """A program with a terminal of its own."""

    def __init__(
        self,
        command: Sequence[str | Path],
        size: tuple[int, int],
        cwd: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start the program in a terminal of `size` columns and rows."""
        columns, rows = size
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {
            **os.environ,
            "TERM": "xterm-256color",
            "COLUMNS": str(columns),
            **(env or {}),
        }
        self._process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)

    def _read(self, seconds: float) -> bool:
        """Show what the program writes within that time; whether it wrote anything."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux says EIO where the other end is closed
            return False
        if b"\x1b[6n" in data:  # the program asks where the cursor is
            at = self.screen.cursor
            os.write(self._master, f"\x1b[{at.y + 1};{at.x + 1}R".encode())
        self._stream.feed(data)
        return bool(data)

    def type(self, keys: str, until: str, seconds: float = 60) -> None:
        """Press keys, then wait until the screen shows a text.

        Raises:
            TimeoutError: with the screen, if it never does.
        """
        os.write(self._master, keys.encode())
        deadline = time.monotonic() + seconds
        while not any(until in line for line in self.screen.display):
            if time.monotonic() > deadline:
                shown = "\n".join(self.screen.display)
                raise TimeoutError(f"{until!r} did not appear within {seconds} s:\n{shown}")
            self._read(0.1)
        while self._read(0.3):  # let it finish drawing
            pass

    def finish(self, seconds: float = 600) -> int:
        """Wait for the end; the exit code."""
        deadline = time.monotonic() + seconds
        while (self._read(0.1) or self._process.poll() is None) and time.monotonic() < deadline:
            pass
        return self._process.wait(timeout=5)

    def stop(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@dataclass(frozen=True)
class Style:
    """How a run of characters looks."""

    ink: str
    bold: bool
    paper: str | None


def _color(name: str, default: str) -> str:
    if name == "default":
        return default
    plain = name.removeprefix("bright")
    return COLORS.get(plain, f"#{plain}" if len(plain) == 6 else default)


def _style(character: Any) -> Style:  # noqa: ANN401
    ink, paper = _color(character.fg, INK), _color(character.bg, PAPER)
    if character.reverse:
        ink, paper = paper, ink
    return Style(ink, character.bold, paper if paper != PAPER else None)


def _runs(screen: pyte.Screen, row: int) -> Iterator[tuple[int, str, Style]]:
    """The runs of equal style of a row: column, text, style. A wide character fills two cells."""
    cells = [(screen.buffer[row][column], column) for column in range(screen.columns)]
    for style, run in groupby(cells, key=lambda cell: _style(cell[0])):
        cells_of_run = list(run)
        yield cells_of_run[0][1], "".join(c.data or WIDE for c, _ in cells_of_run), style


def svg(screen: pyte.Screen, title: str) -> str:
    """The screen as a picture, without its empty last rows and columns."""
    used = [line.rstrip() for line in screen.display]
    rows = max((i for i, line in enumerate(used) if line), default=0) + 1
    width = max(map(len, used)) * COLUMN + 2 * MARGIN
    height = rows * ROW + 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}"'
        f' viewBox="0 0 {width:g} {height:g}"'
        f" font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\""
        f' font-size="{SIZE}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>',
    ]
    for row in range(rows):
        for column, text, style in _runs(screen, row):
            lines += _draw(row, column, text, style)
    return "\n".join([*lines, "</svg>", ""])


def _draw(row: int, column: int, cells: str, style: Style) -> Iterator[str]:
    x, y = MARGIN + column * COLUMN, MARGIN + row * ROW
    if style.paper:
        yield (
            f'<rect x="{x:g}" y="{y}" width="{len(cells) * COLUMN:g}" height="{ROW}"'
            f' fill="{style.paper}"/>'
        )
    if shown := cells.rstrip():
        weight = ' font-weight="bold"' if style.bold else ""
        yield (
            f'<text x="{x:g}" y="{y + SIZE}" fill="{style.ink}"{weight} xml:space="preserve"'
            f' textLength="{len(shown) * COLUMN:g}">{escape(shown.replace(WIDE, ""))}</text>'
        )
