"""What a run of the checks came to: an exit code, a verdict, and a document for programs."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from .check import COLOURS, DEVICE_IDS, Check
from .machine import Machine
from .words import NAMES


@dataclass
class Result:
    """All that the outputs are made from."""

    machine: Machine
    checks: list[Check]  # in the order in which they were carried out
    level: str
    strict: bool
    started: datetime
    seconds: float

    def count(self, status: str) -> int:
        """How many checks ended so."""
        return sum(one.status == status for one in self.checks)

    def exit_code(self) -> int:
        """What the failures amount to; see the top of gpu_smoke_test.py."""
        failed = [one for one in self.checks if one.status == "fail"]
        if any("ended" in one.data for one in failed):
            return 4
        if failed:
            return 3 if any(one.id.startswith(DEVICE_IDS) for one in failed) else 1
        return 5 if self.strict and self.count("warn") else 0

    def verdict(self) -> str:
        """One line: PASS, WARN or FAIL, with torch and the device, or the ids."""
        torch = self.machine.torch.get("__version__", "not found")
        asked = NAMES[self.machine.accelerator]
        blamed = "warn" if self.exit_code() == 5 else "fail"
        if ids := ", ".join(one.id for one in self.checks if one.status == blamed):
            strict = " (--strict)" if blamed == "warn" else ""
            return f"{blamed.upper()}  torch {torch}, asked for {asked}: {ids}{strict}"
        found = next((one.data for one in self.checks if one.id == "DEV-OPEN"), None)
        if not found:
            return f"PASS  torch {torch} was not run"
        if found["kind"] == "cpu":
            instead = f", no {asked} device here" * (asked != "CPU")
            return f"PASS  torch {torch} on the CPU{instead}"
        count, names = len(found["devices"]), ", ".join(sorted(set(found["devices"])))
        return f"PASS  torch {torch} on {count} {asked} device{'s' * (count > 1)}: {names}"

    def cost(self) -> str:
        """How long it took, and how many warnings there are: to be put behind the verdict."""
        warned = self.count("warn")
        warnings = f", {warned} warning{'s' * (warned > 1)}" if warned else ""
        return f"({self.seconds:.1f} s{warnings})"

    def document(self) -> dict[str, Any]:
        """For programs: smoke/1, see report.schema.json."""
        accelerator = self.machine.accelerator
        return {
            "schema": "smoke/1",
            "level": self.level,
            "device": "cuda" if accelerator == "rocm" else accelerator,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": self.seconds,
            "exit_code": self.exit_code(),
            "summary": {status: self.count(status) for status in COLOURS},
            "host": {"os": platform.platform(), "python": platform.python_version()},
            "checks": [{"id": one.id, **asdict(one)} for one in self.checks],
        }
