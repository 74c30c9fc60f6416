"""What a check is, how it is carried out, what it gets, and what all of them come to."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from surroundings.knowledge import MOST, shortened

from .machine import ENTRY, FAULTY, NAMES, Machine, advise

DEVICE_IDS = (
    "TORCH-BUILD",
    "DRV-",
    "CUDA-",
    "DEV-",
    "ROCM-",
    "XPU-",
    "MPS",
)  # if one of these fails, the exit code is 3
FOLLOWS = "This follows from"  # begins the remedy of what another failure is the cause of
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
Raised = Exception | SystemExit  # a package may end Python, as one that wants its licence read


def check(table: dict[str, CheckFunction], name: str) -> Callable[[CheckFunction], CheckFunction]:
    """Register a check under its id."""
    return lambda function: table.setdefault(name, function)


def because(cause: str, data: dict[str, Any] | None = None, **words: object) -> Check:
    """A failure by its cause in causes/, which has its id; `words` are what it names."""
    name, says, do = advise(cause, **words)
    return Check("fail", says, do, data or {}, name)


def carry_out(
    name: str, function: CheckFunction, subject: object, explain: Callable[[Raised], Check]
) -> Check | None:
    """Run one check; an exception becomes a failure with a sentence, never a traceback."""
    begin = time.monotonic()
    try:
        found = function(subject)
    except (Exception, SystemExit) as error:
        found = explain(error)
    if found:
        found.message, found.remedy = shortened(found.message), shortened(found.remedy)
        found.id, found.seconds = found.id or name, round(time.monotonic() - begin, 3)
    return found


def one_line(error: Raised) -> str:
    """The kind of an exception and its first line: torch appends hints that do not help."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {shortened(lines[0].rstrip('.'))}"


# --- What checks with torch share: the devices to go over, how numbers are judged

Tensor = Any  # torch.Tensor, but only the child imports torch
Dtype = Any  # torch.dtype
Torch = Any  # the module


@dataclass
class Job:
    """What the torch checks share."""

    accelerator: str
    fallback: bool
    names: list[str]  # the checks to carry out
    way_out: str = ""  # what to do for a build that suits the GPUs that are here
    mig: bool = False  # whether a GPU is split into instances
    limit: float = 600  # seconds, for all checks
    companions: dict[str, str] = field(default_factory=dict)  # asked for: how to get the right one
    peaks: list[dict[str, float]] = field(default_factory=list)  # of each GPU, see peak_of
    torch: Torch = None
    devices: list[str] = field(default_factory=list)


def synchronize(job: Job, device: str) -> None:
    """Wait until a device has done all that it was told."""
    kind, _, index = device.partition(":")
    wait = getattr(getattr(job.torch, kind), "synchronize", None)
    if wait and kind != "cpu":
        wait() if kind == "mps" else wait(int(index))


def relative_error(result: Tensor, reference: Tensor) -> float:
    """The Frobenius norm of the difference, as a share of the reference's."""
    return float((result.cpu().double() - reference).norm() / reference.norm())


def judge(errors: dict[str, float], limit: float) -> Check:
    """Every device's relative error must be small: one bad card in eight is the real case."""
    for device, error in errors.items():
        if not error <= limit:  # so that NaN fails
            problem = f"{device} computes wrong numbers: their relative error is {error:.1e}, "
            return Check("fail", f"{problem}at most {limit:.0e} is right.", FAULTY)
    return Check("pass", f"relative error {max(errors.values()):.1e} (at most {limit:.0e})")


def exact(device: str) -> float:
    """The relative error to allow in float32: cuDNN rounds its input to TF32."""
    return 2e-3 if device.startswith("cuda") else 1e-5


def half(job: Job, device: str) -> Dtype:
    """bfloat16, or float16 for NVIDIA's GPUs from before it."""
    torch = job.torch
    old = device.startswith("cuda") and torch.cuda.get_device_capability(device)[0] < 8
    return torch.float16 if old else torch.bfloat16


def learn(job: Job, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A task that can be learnt, x and y, and two matrices to learn it with."""
    random = job.torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return job.torch.randn(*shape, generator=random)

    x = normal(256, 32)
    y = (x @ normal(32, 8)).tanh()
    weights = [(normal(32, 64) / 6).to(device), (normal(64, 8) / 8).to(device)]
    return x.to(device), y.to(device), *(one.requires_grad_() for one in weights)


def judge_losses(losses: dict[str, list[float]]) -> Check:
    """Every device's loss must fall."""
    for device, values in losses.items():
        if not values[-1] < 0.7 * values[0]:  # so that NaN fails
            problem = f"{device} does not learn: its loss went from {values[0]:.3g} to "
            return Check("fail", f"{problem}{values[-1]:.3g}.", FAULTY)
    first, last = next(iter(losses.values()))[0], max(values[-1] for values in losses.values())
    return Check("pass", f"the loss fell from {first:.3g} to {last:.3g}")


# --- What a run comes to: an exit code, a verdict, and a document for programs


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
        own = f"the project's {self.machine.own} build on this machine"
        stands_in = f" (PyPI's own wheels stand in for {own})" if self.machine.stands_in else ""
        return self.short_verdict() + stands_in

    def short_verdict(self) -> str:
        """The same, without what else is to be known of this torch."""
        torch = shortened(self.machine.torch.get("__version__", "not found"), 100)
        asked = NAMES[self.machine.accelerator]
        blamed = "warn" if self.exit_code() == 5 else "fail"
        wrong = [one for one in self.checks if one.status == blamed]
        causes = [one for one in wrong if not one.remedy.startswith(FOLLOWS)]
        if ids := ", ".join(one.id for one in causes or wrong):
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


# --- Children of this script, for what can crash or hang

MARK = "@smoke "  # begins each line that a child has for its parent; the rest is noise
LAST = "done"  # the key of a child's last row: without it, something has ended it before


def run_child(
    stage: str, job: dict[str, Any], limit: float, folder: str | None = None, **env: str
) -> tuple[list[dict[str, Any]], str]:
    """Run a stage of this script: the rows it reported, and how it came to a bad end, if it did.

    When this returns, or this process ends, the child and all that it has started end too. It runs
    in `folder` if there is one.
    """
    isolated = ["-I"] if sys.flags.isolated else []
    command = [sys.executable, *isolated, str(ENTRY), "--child", stage, json.dumps(job)]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # see end_with_parent
            stdout=output,
            stderr=errors,
            cwd=folder,
            env={**os.environ, **env},
            start_new_session=True,
        )
        try:
            code, ended = child.wait(limit), ""
            if code:
                ended = f"crashed ({way_of_end(code)})"
        except subprocess.TimeoutExpired:
            ended = f"did not answer within {limit:g} s"
        finally:
            if child.stdin:
                child.stdin.close()
            child.kill()
            with suppress(subprocess.TimeoutExpired):  # stuck in a driver, not even this ends it
                child.wait(5)
        output.seek(0)
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - MOST))
        lines = output.read().decode("utf-8", "replace").splitlines()
        text = errors.read().decode("utf-8", "replace")
    said = [shortened(line.strip()) for line in text.splitlines() if re.search("[A-Za-z]", line)]
    rows = []
    for line in lines:
        if line.startswith(MARK):
            with suppress(ValueError):  # a line that was cut short
                rows.append(json.loads(line[len(MARK) :]))
    if not ended and {LAST: stage} not in rows:
        ended = "ended before its work was done (exit code 0)"
    rows = [row for row in rows if LAST not in row]
    omp = [line for line in said if line.startswith("OMP: Error")]  # a hint comes after it
    return rows, f"{ended}, saying `{[*said, *omp][-1]}`" if ended and said else ended


def way_of_end(code: int) -> str:
    """How a process ended, by what its parent gets; Windows' codes are known in hexadecimal."""
    if code < 0:
        return signal.strsignal(-code) or f"signal {-code}"
    return f"exit code {code & 0xFFFFFFFF:#x}" if sys.platform == "win32" else f"exit code {code}"


def tell(row: dict[str, Any]) -> None:
    """Report to the parent; flushed, so that it is there even if this process dies next."""
    print(f"\n{MARK}{json.dumps(row)}", flush=True)


def end_with_parent() -> None:
    """Let this child, and all of its process group, end when nobody holds its stdin any more.

    A process of its own waits for that: torch may hang without ever letting a thread run.
    """
    if sys.platform != "win32" and not os.fork():
        os.read(0, 1)
        os.killpg(0, signal.SIGKILL)
