"""The command line: look at the machine, carry out all checks, report."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from . import driver_checks, python_checks, system_checks, torch_checks
from .check import COLOURS, DEVICE_IDS, Check, CheckFunction, carry_out
from .child import run_child, tell
from .driver import amd_facts, ask_driver, nvidia_facts
from .machine import Machine, installed_torch, read_machine
from .report import exit_code, report
from .words import BUILDS, FAULTY, RESTORE

# In the order in which they are carried out.
MACHINE_CHECKS: dict[str, CheckFunction] = {
    **python_checks.CHECKS,
    **system_checks.CHECKS,
    **driver_checks.CHECKS,
}


def carry_out_all(machine: Machine, limit: float) -> list[Check]:
    """Every check that applies, in order."""
    found = [carry_out(name, run, machine, RESTORE) for name, run in MACHINE_CHECKS.items()]
    checks = [one for one in found if one]
    if machine.torch and not (machine.accelerator == "cuda" and machine.driver["ended"]):
        checks += collect_torch_checks(machine, limit)
    failed, done = [one.id for one in checks if one.status == "fail"], {one.id for one in checks}
    causes = [name for name in failed if name.startswith(DEVICE_IDS)]
    for one in checks:
        if one.id == "DEV-OPEN" and one.id in causes[1:]:
            one.remedy = f"This follows from {causes[0]}."
    for name in torch_checks.CHECKS:
        if name not in done:
            missing = [one for one in failed if one in ("PY-SHADOW", "TORCH-FOUND")]
            cause = failed[-1] if machine.torch else missing[-1]
            checks.append(Check("skip", f"not run, since {cause} failed", id=name))
    return checks


def collect_torch_checks(machine: Machine, limit: float) -> list[Check]:
    """Run the torch checks in a child process, and say where it died if it did."""
    job = {"accelerator": machine.accelerator, "fallback": machine.fallback()}
    rows, ended = run_child("torch", job, limit)
    checks = [Check(**row) for row in rows if "id" in row]
    if ended:
        name = next((row["start"] for row in reversed(rows) if "start" in row), "TORCH-IMPORT")
        last = checks[-1].id if checks else "none"
        remedy = FAULTY
        if "did not answer" in ended:
            remedy = f"Give it more time, `--timeout {limit * 4:g}`; if it still hangs, reboot."
        problem = f"PyTorch {ended}; the last check that finished is {last}."
        checks.append(Check("fail", problem, remedy, {"ended": ended, "last_finished": last}, name))
    return checks


def run(machine: Machine, device: str, json_file: str, limit: float) -> int:
    """Look, check, report; returns the exit code."""
    started, begin = datetime.now(timezone.utc), time.monotonic()
    own = machine.wheels.get("accelerator", "cpu")
    machine.auto, machine.torch = device == "auto", installed_torch()
    as_built = device in ("", "auto") or (device, own) == ("cuda", "rocm")
    machine.accelerator = own if as_built else device
    if machine.accelerator == "cuda" or (machine.accelerator == "cpu" and machine.auto):
        machine.driver = nvidia_facts(min(limit, 30))
    if machine.accelerator == "rocm":
        machine.driver = amd_facts()
    checks = carry_out_all(machine, limit)
    seconds, code = round(time.monotonic() - begin, 3), exit_code(checks)
    document = {
        "schema": "smoke/1",
        "level": "quick",
        "device": "cuda" if machine.accelerator == "rocm" else machine.accelerator,
        "started": started.isoformat(timespec="seconds"),
        "seconds": seconds,
        "exit_code": code,
        "summary": {status: sum(one.status == status for one in checks) for status in COLOURS},
        "host": {"os": platform.platform(), "python": platform.python_version()},
        "checks": [{"id": one.id, **asdict(one)} for one in checks],
    }
    text = json.dumps(document, indent=2)
    if json_file not in ("", "-"):
        Path(json_file).write_text(text + "\n", encoding="utf-8")
    if json_file != "-":
        text = report(machine, checks, seconds)
    print(text.encode("ascii", "backslashreplace").decode())
    return code


def main(description: str) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    devices = ["auto", "cpu", "cuda", "mps", "xpu"]
    devices_help = "default: what the build is for; auto: that, or the CPU where there is none"
    add("--device", choices=devices, default="", help=devices_help)
    add("--json", nargs="?", const="-", default="", metavar="FILE", help="without FILE: to stdout")
    add("--timeout", type=float, default=180, metavar="SECONDS", help="for torch; default 180")
    add("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        stage, job = arguments.child
        torch_checks.run_all(json.loads(job)) if stage == "torch" else tell(ask_driver())
        return
    if not arguments.timeout > 0:
        parser.error("--timeout must be more than 0 seconds")
    try:
        machine = read_machine(BUILDS)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"scripts/torch_builds.json cannot be used ({type(error).__name__}: {error})."
        parser.exit(2, f"{ascii(problem)[1:-1]}\n-> {RESTORE}\n")
    try:
        sys.exit(run(machine, arguments.device, arguments.json, arguments.timeout))
    except KeyboardInterrupt:
        parser.exit(130, "Interrupted.\n")
    except OSError as error:
        parser.exit(2, f"{str(error)!a}\n")
