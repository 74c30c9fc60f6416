"""What a check is, and how one is carried out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

DEVICE_IDS = (
    "TORCH-BUILD",
    "DRV-",
    "CUDA-",
    "DEV-",
    "ROCM-",
    "XPU-",
    "MPS",
)  # if one of these fails, the exit code is 3
COLOURS = {"pass": 32, "warn": 33, "fail": 31, "skip": 2}


@dataclass
class Check:
    """What one check found; a warning or failure is a sentence and has a remedy."""

    status: str  # a key of COLOURS
    message: str
    remedy: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    id: str = ""
    seconds: float = 0.0


CheckFunction = Callable[[Any], "Check | None"]


def check(table: dict[str, CheckFunction], name: str) -> Callable[[CheckFunction], CheckFunction]:
    """Register a check under its id."""
    return lambda function: table.setdefault(name, function)


def carry_out(name: str, function: CheckFunction, subject: object, remedy: str) -> Check | None:
    """Run one check; an exception becomes a failure with a sentence, never a traceback."""
    begin = time.monotonic()
    try:
        found = function(subject)
    except Exception as error:
        found = Check("fail", f"The check ended in {one_line(error)}.", remedy)
    if found:
        found.id, found.seconds = found.id or name, round(time.monotonic() - begin, 3)
    return found


def one_line(error: Exception) -> str:
    """The kind of an exception and its first line: torch appends hints that do not help."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0].rstrip('.')}"
