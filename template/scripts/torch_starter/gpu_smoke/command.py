"""The command line: look at the machine, carry out all checks, report."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from surroundings.processes import end_children_with_this_process

from . import (
    companion_checks,
    compile_checks,
    device_checks,
    driver_checks,
    environment_checks,
    full_checks,
    package_checks,
    speed_checks,
    torch_checks,
)
from .blame import explain_end, explain_error, name_causes
from .builds import VersionError, read_machine
from .check import (
    LAST,
    Check,
    CheckFunction,
    Job,
    Raised,
    Result,
    carry_out,
    end_with_parent,
    one_line,
    run_child,
    tell,
)
from .device_checks import ONLY_FOR
from .driver_facts import amd_facts, ask_driver, nvidia_facts
from .full_checks import start_processes, take_part
from .loading import explain_import
from .machine import (
    BUILDS,
    RESTORE,
    UPDATE,
    Machine,
    installed,
    version_file,
)
from .report import markdown, printable, report, wants_colours

LIMITS = {"quick": 180, "full": 600}  # seconds for torch, by level
# In the order in which they are carried out.
MACHINE_CHECKS: dict[str, CheckFunction] = {
    **environment_checks.CHECKS,
    **package_checks.CHECKS,
    **driver_checks.CHECKS,
}


FULL_CHECKS: dict[str, CheckFunction] = {
    **full_checks.CHECKS,
    **compile_checks.CHECKS,
    **speed_checks.CHECKS,
}
TORCH_CHECKS: dict[str, CheckFunction] = {
    **device_checks.CHECKS,
    **torch_checks.CHECKS,
    **companion_checks.CHECKS,
    **FULL_CHECKS,
}
UNKNOWN = """Nothing is known here of {}.
-> Try fewer of its words, or run the smoke test: it looks for the cause itself.
"""
BADNESS = ("skip", "pass", "warn", "fail")
# Without these, no check with torch has a sense.
NEEDED = ("PY-SHADOW", "TORCH-FOUND", "DRV-LIBCUDA", "TORCH-IMPORT", "DEV-OPEN")


def choose(level: str, only: Collection[str]) -> list[str]:
    """The ids of the checks to carry out, in order."""
    if not only:
        every = [*MACHINE_CHECKS, *TORCH_CHECKS]
        return [name for name in every if level == "full" or name not in FULL_CHECKS]
    needed = NEEDED if any(name in TORCH_CHECKS for name in only) else ()
    return [name for name in [*MACHINE_CHECKS, *TORCH_CHECKS] if name in (*needed, *only)]


def listing() -> str:
    """Every check: its id, its level, and what it asks."""
    rows = []
    for name, function in {**MACHINE_CHECKS, **TORCH_CHECKS}.items():
        level = "full" if name in FULL_CHECKS else "quick"
        rows.append(f"{name:<13}  {level:<5}  {str(function.__doc__).strip()}")
    return "\n".join(rows)


def ended_in(error: Raised) -> Check:
    """A check without torch that raises has read a file that is not as the template made it."""
    return Check("fail", f"The check ended in {one_line(error)}.", RESTORE)


def one_each(checks: Iterable[Check]) -> list[Check]:
    """The worst of each id, since a cause's id can be that of another check: the first of those."""
    worst: dict[str, Check] = {}
    for one in checks:
        known = worst.setdefault(one.id, one)
        if BADNESS.index(one.status) > BADNESS.index(known.status):
            worst[one.id] = one
    return list(worst.values())


def carry_out_all(machine: Machine, names: list[str], limit: float) -> list[Check]:
    """Every chosen check that applies, in order."""
    found = [
        carry_out(name, run, machine, ended_in)
        for name, run in MACHINE_CHECKS.items()
        if name in names
    ]
    checks = one_each(one for one in found if one)
    here, asked_for = machine.accelerator, machine.wheels.get("packages", {})
    unasked = {
        name for name in companion_checks.CHECKS if companion_checks.PACKAGES[name] not in asked_for
    }
    with_torch = [
        name
        for name in names
        if name in TORCH_CHECKS and name not in unasked and ONLY_FOR.get(name, here) == here
    ]
    hangs = machine.accelerator == "cuda" and machine.driver["ended"]
    started: list[str] = []
    if with_torch and machine.torch and not hangs:
        started, more = collect_torch_checks(machine, with_torch, limit)
        checks = one_each([*checks, *more])
    failed, told = name_causes(checks), {*started, *(one.id for one in checks)}
    for name in with_torch:
        if name not in told:
            missing = [one for one in failed if one in ("PY-SHADOW", "TORCH-FOUND")]
            cause = failed[-1] if machine.torch else missing[-1]
            checks.append(Check("skip", f"not run, since {cause} failed", id=name))
    return checks


def collect_torch_checks(
    machine: Machine, names: list[str], limit: float
) -> tuple[list[str], list[Check]]:
    """Run the torch checks in a child process: those that it began, and what they found."""
    job = {
        "accelerator": machine.accelerator,
        "fallback": machine.fallback(),
        "names": names,
        "way_out": machine.to_use_it() if machine.accelerator == "cuda" else machine.on_cpu(),
        "mig": bool(machine.driver.get("mig")),
        "companions": {
            name: package_checks.right_one(name, machine)
            for name in environment_checks.COMPANIONS
            if name in machine.wheels.get("packages", {}) and installed(name) != "none"
        },
        "limit": limit,
        "peaks": machine.peaks(),
    }
    rows, ended = run_child("torch", job, limit)
    started = [row["start"] for row in rows if "start" in row]
    checks = [Check(**row) for row in rows if "id" in row]
    if ended:
        cuda = machine.accelerator == "cuda"
        death = explain_end(ended, checks, started, limit, cuda)
        checks = [*(one for one in checks if one.id != death.id), death]
    return started, checks


def run_torch_checks(job: Job) -> None:
    """The child's work; a device that does not open has no numbers to check."""
    environment_checks.as_python_has_it(os.environ)
    broken = False
    for name in job.names:
        if broken and name != "LIB-MAPS":  # which may be why
            continue
        tell({"start": name})
        explaining = explain_import if name == "TORCH-IMPORT" else explain_error
        found = carry_out(name, TORCH_CHECKS[name], job, explaining)
        if found:  # else it does not apply here
            tell(asdict(found))
        broken |= bool(found and found.status == "fail" and name in NEEDED)
    if not broken:
        tell({"start": "TORCH-EXIT"})  # to be blamed for a crash after all checks


def tell_others() -> None:
    """What else is installed here, for a bug report."""
    from . import bug_report  # which no check needs, as below

    bug_report.tell_others()


def for_a_bug_report(result: Result, limit: float) -> str:
    """All that a bug report needs."""
    from .bug_report import bug_report

    return bug_report(result, limit)


# What a child can be asked to do.
CHILDREN: dict[str, Callable[[dict[str, Any]], None]] = {
    "torch": lambda job: run_torch_checks(Job(**job)),
    "driver": lambda _: tell(ask_driver()),
    "torchrun": start_processes,
    "all-reduce": take_part,
    "others": lambda _: tell_others(),
}


def run(machine: Machine, options: argparse.Namespace) -> int:
    """Look, check, report; returns the exit code."""
    limit = options.timeout or LIMITS[options.level]
    started, begin = datetime.now(timezone.utc), time.monotonic()
    machine.test_for(options.device)
    machine.torch = version_file()
    if machine.accelerator == "cuda" or (machine.accelerator == "cpu" and machine.auto):
        machine.driver = nvidia_facts(min(limit, 30))
    if machine.accelerator == "rocm":
        machine.driver = amd_facts()
    checks = carry_out_all(machine, choose(options.level, options.only), limit)
    told = {one.id for one in checks}
    silent = [name for name in dict.fromkeys(options.only) if name not in told]
    checks += [Check("skip", "there is nothing to check here", id=name) for name in silent]
    seconds = round(time.monotonic() - begin, 3)
    result = Result(machine, checks, options.level, options.strict, started, seconds)
    show(result, options, limit)
    return result.exit_code()


def main(description: str) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    devices = ["auto", "cpu", "cuda", "mps", "xpu"]
    devices_help = "default: what the build is for, but auto for PyPI's wheels; auto: that, or the "
    devices_help += "CPU where there is none"
    add("--device", choices=devices, default="", help=devices_help)
    add_outputs(parser)
    add("--level", choices=list(LIMITS), default="quick", help="full: all checks; default quick")
    add("--only", action="append", default=[], metavar="ID", help="this check; may be repeated")
    add("--strict", action="store_true", help="exit with 5 if there is a warning")
    add("--list", action="store_true", help="show all checks, and exit")
    timeout_help = "for torch; default: {quick}, or {full} for all checks".format(**LIMITS)
    explain_help = "say what an id, a code or a message means, and exit"
    add("--explain", metavar="TEXT", help=explain_help)
    add("--timeout", type=float, metavar="SECONDS", help=timeout_help)
    add("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        stage, job = arguments.child
        end_with_parent()
        CHILDREN[stage](json.loads(job))
        tell({LAST: stage})
        return
    if arguments.list:
        write(listing())
        return
    if arguments.explain is not None:
        from .catalogue import explain

        if not (text := explain(arguments.explain)):
            parser.exit(2, UNKNOWN.format(ascii(arguments.explain)))
        write(printable(text))
        return
    for name in arguments.only:
        if name not in (*MACHINE_CHECKS, *TORCH_CHECKS):
            parser.error(f"--only: there is no check {name!a}, see --list")
    if arguments.timeout is not None and not arguments.timeout > 0:
        parser.error("--timeout must be more than 0 seconds")
    if trouble := output_trouble(arguments):
        parser.error(ascii(trouble)[1:-1])
    end_children_with_this_process()
    try:
        machine = read_machine(BUILDS)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"scripts/torch_builds.json cannot be used ({type(error).__name__}: {error})."
        remedy = UPDATE if isinstance(error, VersionError) else RESTORE
        parser.exit(2, f"{ascii(problem)[1:-1]}\n-> {remedy}\n")
    try:
        sys.exit(run(machine, arguments))
    except KeyboardInterrupt:
        parser.exit(130, "Interrupted.\n")
    except OSError as error:
        remedy = "Make room on the disk, or name a FILE that you may write."
        parser.exit(2, f"This could not go on: {str(error)!a}.\n-> {remedy}\n")


# --- Where a result goes: a list for people, and files or texts for others

# An option each: what it is for, and its text; the number is for how many seconds it may ask torch.
OUTPUTS: dict[str, tuple[str, Callable[[Result, float], str]]] = {
    "json": ("for programs", lambda result, limit: json.dumps(result.document(), indent=2)),
    "markdown": ("a table for a CI summary", lambda result, limit: markdown(result)),
    "report": ("all that a bug report needs", for_a_bug_report),
}


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Give the command line its options."""
    for name, (what, _) in OUTPUTS.items():
        help_text = f"{what}; without FILE: to stdout"
        parser.add_argument(
            f"--{name}", nargs="?", const="-", default="", metavar="FILE", help=help_text
        )


def output_trouble(options: argparse.Namespace) -> str:
    """Why a result could not be written as asked: better said before the checks than after."""
    targets = {name: target for name in OUTPUTS if (target := getattr(options, name))}
    if len(set(targets.values())) < len(targets):
        return "each output needs a FILE of its own, but for one that goes to stdout"
    for name, target in targets.items():
        if Path(target).is_dir() or not Path(target).parent.is_dir():
            return f"--{name}: {target} is a folder, or is in none"
    return ""


def write(text: str) -> None:
    """Print it."""
    try:
        print(text.encode("ascii", "backslashreplace").decode(), flush=True)
    except BrokenPipeError:  # `| head`: nobody reads on, and nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show(result: Result, options: argparse.Namespace, limit: float) -> None:
    """Write it; the list for people first, so that a full disk does not swallow that too."""
    texts = {
        target: make for name, (_, make) in OUTPUTS.items() if (target := getattr(options, name))
    }
    to_stdout = texts.pop("-", None)
    text = to_stdout(result, limit) if to_stdout else report(result, wants_colours())
    write(text)
    for target, make in texts.items():
        text = make(result, limit) + "\n"
        Path(target).write_text(text, encoding="utf-8", errors="backslashreplace")
