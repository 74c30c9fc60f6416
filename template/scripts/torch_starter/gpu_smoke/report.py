"""The report for people: in a terminal or a log, and as Markdown."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from itertools import groupby
from pathlib import Path

from .check import COLOURS, FOLLOWS, Check, Result
from .machine import ROOT, WINDOWS

BOLD = 1
WIDEST, NARROWEST = 100, 60  # columns; below the second, texts have lines of their own
MORE = "`--explain ID` says more about an id, `--report FILE` writes all that a bug report needs."


def wants_colours() -> bool:
    """Whether to colour what goes to stdout; in the order in which Python itself decides."""
    if os.environ.get("NO_COLOR") or os.environ.get("FORCE_COLOR"):
        return not os.environ.get("NO_COLOR")
    return bool(sys.stdout) and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def printable(text: str) -> str:
    """A text from who knows where, without what would command the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def wrap(text: str, width: int, then: str = "") -> list[str]:
    """Lines of that width, but never broken inside `a command`, which is to be copied."""
    text = re.sub("`[^`]*`", lambda command: command[0].replace(" ", "\0"), printable(text))
    wrapper = textwrap.TextWrapper(width, subsequent_indent=then)
    wrapper.break_long_words = wrapper.break_on_hyphens = False
    rows = wrapper.wrap(text)
    return [row.replace("\0", " ") for row in rows]


def with_status(checks: list[Check], *statuses: str) -> list[Check]:
    """The checks that ended so, in the order of these statuses."""
    return [one for status in statuses for one in checks if one.status == status]


def report(result: Result, colours: bool, columns: int = 0) -> str:
    """The verdict, and then a list of all checks, by gravity."""
    if colours and WINDOWS:
        os.system("")  # makes an old console understand colours
    columns = min(columns or shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
    rows = with_status(result.checks, "pass", "skip", "warn")
    # The first cause of failure comes last: it is what stays before people's eyes.
    failed = with_status(result.checks, "fail")
    failed.sort(key=lambda one: one.remedy.startswith(FOLLOWS))
    rows = merged([*rows, *reversed(failed)])
    trouble = next((one for one in rows if one.status in ("warn", "fail")), None)
    longest = max(len(one.id) for one in rows)
    indent = 10 + max(longest, 13) if columns >= NARROWEST else 4
    width = max(columns - indent, 20)

    def paint(code: int | str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if colours else text

    top = result.verdict()
    dim, colour = COLOURS["skip"], COLOURS[top[:4].lower()]
    verdict = wrap(top, columns, "      ") if colours else [printable(top)]
    lines = [paint(f"1;{colour}", row) for row in verdict]
    lines[-1] += f"  {paint(dim, result.cost())}"
    if top.startswith("FAIL"):
        lines += [paint(dim, row) for row in wrap(MORE, columns)]
    if trouble and elsewhere() and columns >= NARROWEST:
        lines += wrap(f"Its commands are for the folder {ROOT}", columns)
    lines.append("")
    for one in rows:
        if one is trouble and one is not rows[0]:
            lines.append("")
        status = one.status.upper() if one.status in ("warn", "fail") else one.status
        head, text = f"  {paint(COLOURS[one.status], status)}  {one.id}", wrap(one.message, width)
        if columns >= NARROWEST:
            head += " " * (indent - 8 - len(one.id)) + text.pop(0)
        todo = wrap(one.remedy and f"-> {one.remedy}", width)
        if one.status == "fail":
            todo = [paint(BOLD, row) for row in todo]
        lines += [head, *(" " * indent + row for row in [*text, *todo])]
    return "\n".join(lines)


def elsewhere() -> bool:
    """Whether this runs in another folder than the project's, or in one that is gone."""
    try:
        return Path.cwd() != ROOT
    except FileNotFoundError:
        return True


def merged(checks: list[Check]) -> list[Check]:
    """One row for all that were skipped for one reason."""
    rows = []
    for reason, group in groupby(checks, lambda one: one.status == "skip" and one.message):
        same = list(group)
        if reason and len(same) > 1:
            ids = ", ".join(one.id for one in same)
            same = [Check("skip", f"{reason}: {ids}", id=f"{len(same)} checks")]
        rows += same
    return rows


# Before what makes a link or a mention of a text without any mark.
CALLS = re.compile(r"(?<=@)(?=\w)|(?<=:)(?=//)|(?<=\bwww)(?=\.)", re.IGNORECASE)


def escape(text: str) -> str:
    """A text as Markdown, in one line and for a cell of a table; `commands` stay code."""
    parts = re.split("`([^`]+)`", text) if text.count("`") % 2 == 0 else [text]
    for index, part in enumerate(parts):
        part = printable(part)
        if index % 2 and "|" not in part:  # which ends a cell, even in code
            parts[index] = f"`{part}`"
            continue
        part = re.sub(r"([\\`*_\[\]#~!])", r"\\\1", part)
        for character in "&<|":
            part = part.replace(character, f"&#{ord(character)};")
        part = CALLS.sub("<!-- -->", part)
        parts[index] = f"<code>{part}</code>" if index % 2 else part
    return " ".join("".join(parts).split())


def markdown(result: Result) -> str:
    """For the summary of a CI job: the verdict, and a table with what is wrong on top."""
    head = f"### {escape(result.verdict())} {result.cost()}"
    lines = [head, "", "| | check | found | what to do |", "|---|---|---|---|"]
    for one in merged(with_status(result.checks, "fail", "warn", "skip", "pass")):
        status = f"**{one.status.upper()}**" if one.status in ("warn", "fail") else one.status
        cells = [status, f"`{one.id}`", escape(one.message), escape(one.remedy)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
