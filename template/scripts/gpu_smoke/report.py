"""What the checks amount to: an exit code, and a report for people."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap

from .check import COLOURS, DEVICE_IDS, Check
from .machine import Machine
from .words import NAMES, WINDOWS


def exit_code(checks: list[Check], strict: bool) -> int:
    """What the failures amount to; see the top of this file."""
    failed = [one for one in checks if one.status == "fail"]
    if any("ended" in one.data for one in failed):
        return 4
    if failed:
        return 3 if any(one.id.startswith(DEVICE_IDS) for one in failed) else 1
    return 5 if strict and any(one.status == "warn" for one in checks) else 0


def verdict(machine: Machine, checks: list[Check]) -> str:
    """The first line of the report."""
    torch, asked = machine.torch.get("__version__", "not found"), NAMES[machine.accelerator]
    failed = ", ".join(one.id for one in checks if one.status == "fail")
    if failed:
        return f"FAIL  torch {torch}, asked for {asked}: {failed}"
    found = next((one.data for one in checks if one.id == "DEV-OPEN"), None)
    if not found:
        return f"PASS  torch {torch} was not run"
    if found["kind"] == "cpu":
        return f"PASS  torch {torch} on the CPU" + f", no {asked} device here" * (asked != "CPU")
    count, names = len(found["devices"]), ", ".join(sorted(set(found["devices"])))
    return f"PASS  torch {torch} on {count} {asked} device{'s' * (count > 1)}: {names}"


def report(machine: Machine, checks: list[Check], seconds: float) -> str:
    """For people: the verdict, then the checks by gravity, with the first cause of failure last."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    colours = {} if plain or not sys.stdout.isatty() else COLOURS
    width = max(min(shutil.get_terminal_size((100, 24)).columns, 100) - 23, 20)
    if colours and WINDOWS:
        os.system("")  # makes an old console understand colours

    def paint(status: str, text: str) -> str:
        return f"\033[{colours[status]}m{text}\033[0m" if colours else text

    def wrap(text: str) -> list[str]:  # but never inside `a command`, which is to be copied
        text = re.sub("`[^`]*`", lambda command: command[0].replace(" ", "\0"), text)
        rows = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
        return [row.replace("\0", " ") for row in rows]

    top = verdict(machine, checks)
    lines = [f"{paint(top[:4].lower(), top)}  {paint('skip', f'({seconds:.1f} s)')}", ""]
    rows = [one for kind in ("pass", "skip", "warn") for one in checks if one.status == kind]
    rows += [one for one in reversed(checks) if one.status == "fail"]
    for one in rows:
        status = one.status.upper() if one.status in ("warn", "fail") else one.status
        text = [*wrap(one.message), *wrap(one.remedy and f"-> {one.remedy}")]
        lines.append(f"  {paint(one.status, status)}  {one.id:<13}  {text[0]}")
        lines += [" " * 23 + row for row in text[1:]]
    return "\n".join(lines)
