"""Children of this script: for what can crash or hang."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from .words import ENTRY

MARK = "@smoke "  # begins each line that a child has for its parent; the rest is noise


def run_child(
    stage: str,
    job: dict[str, Any],
    limit: float,
    launcher: Sequence[str] = (),
    **env: str,
) -> tuple[list[dict[str, Any]], str]:
    """Run a stage of this script: the rows it reported, and how it came to a bad end, if it did.

    A launcher is a module and its options, that Python runs and that runs this script.
    """
    isolated = ["-I"] if sys.flags.isolated else []
    command = [sys.executable, *isolated, *launcher, str(ENTRY), "--child", stage, json.dumps(job)]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env={**os.environ, **env},
            cwd=sys.prefix if launcher else None,  # since `-m` puts it before all modules
        )
        try:
            code, ended = child.wait(limit), ""
            if code:
                how = signal.strsignal(-code) if code < 0 else f"exit code {code & 0xFFFFFFFF:#x}"
                ended = f"crashed ({how})"
        except subprocess.TimeoutExpired:
            ended = f"did not answer within {limit:g} s"
        finally:
            child.kill()
            with suppress(subprocess.TimeoutExpired):  # stuck in a driver, not even this ends it
                child.wait(5)
        output.seek(0)
        errors.seek(0)
        lines = output.read().decode("utf-8", "replace").splitlines()
        text = errors.read().decode("utf-8", "replace")
    said = [line.strip() for line in text.splitlines() if re.search("[A-Za-z]", line)]
    rows = []
    for line in lines:
        if line.startswith(MARK):
            with suppress(ValueError):  # a line that was cut short
                rows.append(json.loads(line[len(MARK) :]))
    omp = [line for line in said if line.startswith("OMP: Error")]  # a hint comes after it
    return rows, f"{ended}, saying `{[*said, *omp][-1]}`" if ended and said else ended


def tell(row: dict[str, Any]) -> None:
    """Report to the parent; flushed, so that it is there even if this process dies next."""
    print(f"\n{MARK}{json.dumps(row)}", flush=True)
