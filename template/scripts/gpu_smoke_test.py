#!/usr/bin/env python3
"""Check that PyTorch works on this machine, and say what to do where it does not.

    .venv/bin/python scripts/gpu_smoke_test.py [--device cuda] [--json [FILE]]

Exit codes: 0 all passed (warnings allowed), 1 a check failed, 2 wrong usage or no readable
torch_builds.json, 3 the asked-for device cannot be used, 4 PyTorch or the driver crashed or hung.

A check is a function with an id. MACHINE_CHECKS run here, without torch; TORCH_CHECKS run in a
child process, since importing torch can crash or hang; both in the order of this file. To add one,
write such a function: it returns a Check, or None where it does not apply.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

if sys.version_info < (3, 10):  # noqa: UP036 - a system's own Python may be older
    sys.exit(f"This is Python {platform.python_version()}, PyTorch needs 3.10 or newer.")

ROOT = Path(__file__).resolve().parent.parent
WINDOWS = os.name == "nt"
BOOTSTRAP = "bootstrap.cmd" if WINDOWS else "./bootstrap.sh"
PYTHON = r".venv\Scripts\python" if WINDOWS else ".venv/bin/python"
VISIBLE = "CUDA_VISIBLE_DEVICES"
UNSET = f"set {VISIBLE}=" if WINDOWS else f"unset {VISIBLE}"
RECREATE = f"Type `{BOOTSTRAP} --recreate`."
REBOOT = "Reboot; in a container, start a new container."
RELOAD = "Type `sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm`, or reboot."
FABRIC = "Type `sudo systemctl restart nvidia-fabricmanager`."
COMPAT = "Take the compat folder out of LD_LIBRARY_PATH."
RESTORE = "Type `git checkout HEAD -- scripts/torch_builds.json`."
FAULTY = f"Type `{BOOTSTRAP} --recreate`, and reboot; if it stays, the hardware is faulty."
NAMES = {"cpu": "CPU", "cuda": "CUDA", "rocm": "ROCm", "mps": "MPS", "xpu": "XPU"}
DEVICE_IDS = ("TORCH-BUILD", "DRV-", "CUDA-", "DEV-")  # if one of these fails, the exit code is 3
COLOURS = {"pass": 32, "warn": 33, "fail": 31, "skip": 2}
MARK = "@smoke "  # begins each line that a child has for its parent; the rest is noise


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
Tensor = Any  # torch.Tensor, but this process does not import torch
MACHINE_CHECKS: dict[str, CheckFunction] = {}
TORCH_CHECKS: dict[str, CheckFunction] = {}


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


# --- what the project asks for, and what this machine has ----------------------------------------


@dataclass
class Machine:
    """All that the machine checks judge."""

    python: str  # the project's range, e.g. ==3.12.*
    label: str  # the project's build in words, e.g. CUDA 13.0
    release: str  # and its torch, e.g. 2.14.1
    wheels: dict[str, Any]  # that build's entry for this platform in torch_builds.json, or {}
    alternatives: dict[str, dict[str, Any]]  # those of other builds, the nearest first
    accelerator: str = "cpu"  # what to test: a key of NAMES
    auto: bool = False  # the CPU will do where there is no such device
    torch: dict[str, str] = field(default_factory=dict)  # see installed_torch
    driver: dict[str, Any] = field(default_factory=dict)  # see nvidia_facts

    def fallback(self) -> bool:
        """Whether the CPU will do: --device auto, and there is no trace of a device."""
        traces = {
            "cpu": True,
            "cuda": any(self.driver.get(key) for key in ("card", "gpus", "nvml_count", "ended")),
            "rocm": Path("/dev/kfd").exists(),
            "xpu": any(Path("/dev/dri").glob("renderD*")),
        }
        return self.auto and not traces.get(self.accelerator)

    def cuda_build(self, driver: str = "") -> str:
        """The nearest other build for the GPUs that are here, and for a driver; "" for none."""
        for name, wheels in self.alternatives.items():
            minimum = numbers(wheels["minimum_driver"] or "")
            new_enough = not driver or minimum <= numbers(driver)
            suits = all(runs_on(wheels, gpu) for gpu in self.driver.get("gpus", []))
            if wheels["accelerator"] == "cuda" and new_enough and suits:
                return name
        return ""

    def way_out(self) -> str:
        """What to do for a torch that suits the GPUs and the driver that are here."""
        ready = self.cuda_build(self.driver.get("driver_version", ""))
        name = ready or self.cuda_build()
        if ready or not name:
            return self.move_to(ready) if ready else self.on_cpu()
        minimum = self.alternatives[name]["minimum_driver"]
        return f"update the NVIDIA driver to {minimum} or newer and {self.move_to(name)}"

    def on_cpu(self) -> str:
        """What to do where no build suits the GPUs."""
        return self.move_to("cpu") if "cpu" in self.alternatives else "test with `--device cpu`"

    def without_gpu(self) -> str:
        """What to do on a machine without a GPU."""
        other = f", or {self.move_to('cpu')}" if "cpu" in self.alternatives else ""
        return f"test with `--device auto`{other}"

    def move_to(self, name: str) -> str:
        """What to type to give the project another build."""
        release = self.alternatives[name]["release"]
        update = f"copier update --defaults --trust -d compute_platform={name}"
        if release == self.release:
            return f"type `{update}` and then `{BOOTSTRAP}`"
        return f"type `{update} -d torch_version=latest` (torch {release}) and then `{BOOTSTRAP}`"


def numbers(version: str) -> list[int]:
    """The numbers of a version: 580.65.06 -> [580, 65, 6]."""
    return [int(part) for part in re.findall(r"\d+", version)]


def runs_on(wheels: dict[str, Any], gpu: dict[str, str]) -> bool:
    """Whether wheels have a binary for a GPU's major version, or PTX to compile."""
    capability = numbers(gpu["capability"])
    binaries = [numbers(text) for text in wheels["gpu_architectures"]]
    fits = any(binary[0] == capability[0] and binary <= capability for binary in binaries)
    return fits or not binaries or bool(wheels["ptx"] and numbers(wheels["ptx"]) <= capability)


def python_fits(requires: str) -> bool:
    """Whether this Python is in a range of == and != clauses, e.g. ==3.14.*,!=3.14.1."""
    if not re.fullmatch(r"([=!]=[\d.*]+,?)+", requires):
        raise ValueError(f"requires_python {requires!r} is not understood")
    version, clauses = platform.python_version(), requires.split(",")
    return all(fnmatch(version, text[2:]) == text.startswith("==") for text in clauses)


def in_venv() -> bool:
    """Whether this Python is the one of the project's .venv."""
    return os.path.realpath(sys.prefix) == os.path.realpath(ROOT / ".venv")


def repair() -> str:
    """How to get to the environment that the project asks for."""
    if in_venv():
        return RECREATE
    there = f"{PYTHON} scripts/gpu_smoke_test.py"
    return f"Type `{there if (ROOT / '.venv').is_dir() else BOOTSTRAP}`."


def read_machine(builds_file: Path) -> Machine:
    """Read torch_builds.json; a broken one raises ValueError, KeyError or the like."""
    project = json.loads(builds_file.read_text(encoding="utf-8"))
    if project["schema"] != 1:
        raise ValueError(f"schema {project['schema']} is not known here")
    system = {"Darwin": "macos"}.get(platform.system(), platform.system().lower())
    here = f"{system}-{platform.machine().lower()}"
    python_fits(project["requires_python"])
    build = project["builds"][project["compute_platform"]]
    others = {
        name: {**other["platforms"][here], "release": other["release"]}
        for name, other in sorted(project["alternatives"].items())
        if here in other["platforms"]
    }

    def nearness(name: str) -> tuple[bool, list[int], list[int]]:
        release, driver = others[name]["release"], others[name]["minimum_driver"] or ""
        return release == build["release"], numbers(release), numbers(driver)

    return Machine(
        python=project["requires_python"],
        label=build["label"],
        release=build["release"],
        wheels=build["platforms"].get(here, {}),
        alternatives={name: others[name] for name in sorted(others, key=nearness, reverse=True)},
    )


def installed_torch() -> dict[str, str]:
    """The strings in torch/version.py, read as text: metadata may hide the +cu130."""
    spec = importlib.util.find_spec("torch")
    path = Path(spec.origin).with_name("version.py") if spec and spec.origin else Path()
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+)\b[^=\n]*= *['\"]([^'\"]*)", text, re.MULTILINE))


def accelerators(torch: dict[str, str]) -> list[str]:
    """What a torch was built for, by its version.py, the best first."""
    built = {"cuda": "cuda", "rocm": "hip", "xpu": "xpu"}
    found = [name for name, line in built.items() if torch.get(line)]
    return [*found, *(["mps"] if sys.platform == "darwin" else []), "cpu"]


def installed(package: str) -> str:
    """A package's version by its metadata, or "none"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def nvidia_facts(limit: float) -> dict[str, Any]:
    """What this machine shows of NVIDIA. A child asks the driver, since that too can hang."""
    cards = [
        (device / "class").read_text().startswith("0x03")  # a display controller
        for device in Path("/sys/bus/pci/devices").glob("*")
        if (device / "vendor").read_text().strip() == "0x10de"
    ]
    rows, ended = run_child("driver", {}, limit)
    return {
        "card": any(cards),
        "container": Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
        "wsl": Path("/dev/dxg").exists(),
        "ended": ended,
        **(rows[0] if rows else {}),
    }


def ask_driver() -> dict[str, Any]:
    """Ask libcuda and NVML: their return codes are the causes that torch's messages hide."""
    facts: dict[str, Any] = {}
    number, device, text = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(100)
    with suppress(OSError):  # no such library
        cuda = ctypes.CDLL("nvcuda.dll" if WINDOWS else "libcuda.so.1")
        cuda.cuDriverGetVersion(ctypes.byref(number))
        facts["cuda"], facts["gpus"] = number.value, []
        facts["init"] = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(number))
        for ordinal in range(0 if facts["init"] else number.value):
            cuda.cuDeviceGet(ctypes.byref(device), ordinal)
            capability = []
            for attribute in (75, 76):  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
                cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
                capability.append(str(number.value))
            cuda.cuDeviceGetName(text, 100, device)
            facts["gpus"] += [{"name": text.value.decode(), "capability": ".".join(capability)}]
    with suppress(OSError):
        nvml = ctypes.CDLL("nvml.dll" if WINDOWS else "libnvidia-ml.so.1")
        if not nvml.nvmlInit_v2():
            nvml.nvmlDeviceGetCount_v2(ctypes.byref(number))
            nvml.nvmlSystemGetDriverVersion(text, 100)
            facts["nvml_count"], facts["driver_version"] = number.value, text.value.decode()
    return facts


def run_child(stage: str, job: dict[str, Any], limit: float) -> tuple[list[dict[str, Any]], str]:
    """Run a stage of this file: the rows it reported, and how it came to a bad end, if it did."""
    isolated = ["-I"] if sys.flags.isolated else []
    command = [sys.executable, *isolated, __file__, "--child", stage, json.dumps(job)]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
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
        said = errors.read().decode("utf-8", "replace").strip().splitlines()
    rows = []
    for line in lines:
        if line.startswith(MARK):
            with suppress(ValueError):  # a line that was cut short
                rows.append(json.loads(line[len(MARK) :]))
    return rows, f"{ended}, saying `{said[-1]}`" if ended and said else ended


def tell(row: dict[str, Any]) -> None:
    """Report to the parent; flushed, so that it is there even if this process dies next."""
    print(f"\n{MARK}{json.dumps(row)}", flush=True)


# --- checks without torch ------------------------------------------------------------------------


@check(MACHINE_CHECKS, "PY-VERSION")
def check_python(machine: Machine) -> Check:
    """Is this a Python that the project's wheels are for?"""
    have, want = platform.python_version(), machine.python
    if python_fits(want):
        return Check("pass", f"Python {have}")
    return Check("fail", f"This is Python {have}, but the project asks for {want}.", repair())


@check(MACHINE_CHECKS, "PY-VENV")
def check_venv(machine: Machine) -> Check:
    """Is this the project's own environment?"""
    if in_venv():
        return Check("pass", "the project's .venv")
    problem = f"This Python is not that of the project's .venv but of {sys.prefix}."
    return Check("warn", problem, repair())


@check(MACHINE_CHECKS, "TORCH-FOUND")
def check_torch_found(machine: Machine) -> Check:
    """Is there a torch to import?"""
    if machine.torch:
        return Check("pass", f"torch {machine.torch['__version__']}")
    spec = importlib.util.find_spec("torch")
    if not spec:
        return Check("fail", f"torch is not installed for {sys.executable}.", repair())
    where = spec.origin or next(iter(spec.submodule_search_locations or []), "")
    if Path(where).is_relative_to(sys.prefix):
        return Check("fail", f"The torch in {where} is incomplete.", repair())
    return Check("fail", f"`import torch` finds {where} instead of PyTorch.", "Rename it.")


@check(MACHINE_CHECKS, "TORCH-BUILD")
def check_torch_build(machine: Machine) -> Check | None:
    """Is torch the build that the project asks for, and is that one for the device?"""
    torch, wheels, label = machine.torch, machine.wheels, machine.label
    if not wheels:
        problem = f"{label} has no torch wheels for {platform.system()} {platform.machine()}."
        remedy = "Use a machine that torch_builds.json names"
        other = f", or {machine.move_to('cpu')}" if "cpu" in machine.alternatives else ""
        return Check("fail", problem, f"{remedy}{other}.")
    if not torch:
        return None
    have, want, metadata = torch["__version__"], wheels["torch_version"], installed("torch")
    toolkit = torch.get("cuda") or torch.get("hip") or ""
    gpu = next(iter(machine.driver.get("gpus", [])), None)
    if have != want or not toolkit.startswith(wheels["toolkit"] or ""):
        kind = f"{NAMES[accelerators(torch)[0]]} {toolkit}".strip()
        problem = f"torch {have} ({kind}) is installed, but the project asks for {want} ({label})."
        return Check("fail", problem, repair())
    if metadata != wheels["packages"]["torch"]:
        problem = f"torch {have} is mixed with another one: its metadata says {metadata}."
        return Check("fail", problem, repair())
    if machine.accelerator not in accelerators(torch):
        problem = f"torch {have} is not built for {NAMES[machine.accelerator]}."
        return Check("fail", problem, f"To change that, {machine.way_out()}.")
    if machine.accelerator == "cpu" and gpu:
        problem = f"torch {have} cannot use the {gpu['name']} of this machine."
        remedy = f"To use it, {machine.way_out()}; else test with `--device cpu`."
        return Check("warn", problem, remedy)
    return Check("pass", f"the project's build for {label}")


@check(MACHINE_CHECKS, "PKG-VISION")
def check_companions(machine: Machine) -> Check | None:
    """Are torchvision and torchaudio the partners of the project's torch?"""
    wanted = dict(machine.wheels.get("packages", {}))
    torch = wanted.pop("torch", "")
    if not wanted or not machine.torch:
        return None
    for name, version in wanted.items():
        have = installed(name)
        if have != version:
            problem = f"torch {torch} goes with {name} {version}, but {have} is installed."
            return Check("fail", problem, repair())
    return Check("pass", ", ".join(map(" ".join, wanted.items())))


@check(MACHINE_CHECKS, "DRV-LIBCUDA")
def check_libcuda(machine: Machine) -> Check | None:
    """Is there an NVIDIA driver that answers? If not, why?"""
    facts, minimum = machine.driver, machine.wheels.get("minimum_driver")
    if machine.accelerator != "cuda":
        return None
    if facts["ended"]:
        problem = f"The NVIDIA driver {facts['ended']} when asked for its GPUs."
        remedy = "Reboot; if that does not help, install the NVIDIA driver again."
        return Check("fail", problem, remedy, {"ended": facts["ended"]})
    if "init" in facts:
        return Check("pass", f"NVIDIA driver {facts.get('driver_version', '')}".strip())
    driver = f"the NVIDIA driver {minimum} or newer" if minimum else "the NVIDIA driver"
    if facts["wsl"]:
        problem = "WSL offers no NVIDIA driver."
        remedy = f"Install {driver} on Windows, not inside WSL, then type `wsl --update` there."
    elif facts["container"]:
        problem = "This container was started without an NVIDIA GPU."
        remedy = f"Start it with `docker run --gpus all`; without a GPU, {machine.without_gpu()}."
    elif facts["card"]:
        problem = "There is an NVIDIA GPU, but no NVIDIA driver."
        remedy = f"Install {driver}, and reboot."
    else:
        problem = "There is no NVIDIA driver, and no sign of an NVIDIA GPU."
        remedy = f"Install {driver}; without a GPU, {machine.without_gpu()}."
    return Check("warn" if machine.fallback() else "fail", problem, remedy)


@check(MACHINE_CHECKS, "DRV-OLD")
def check_driver_version(machine: Machine) -> Check | None:
    """Does the driver know the CUDA major version of the project's torch?"""
    toolkit, cuda = machine.wheels.get("toolkit") or "", machine.driver.get("cuda")
    if machine.accelerator != "cuda" or not toolkit or cuda is None:
        return None
    supports = f"CUDA {cuda // 1000}.{cuda % 1000 // 10}"
    if cuda // 1000 >= numbers(toolkit)[0]:
        return Check("pass", f"the driver supports {supports}, this torch needs {toolkit}")
    problem = f"The NVIDIA driver supports {supports}, but this torch needs CUDA {toolkit}."
    remedy = f"Update the NVIDIA driver to {machine.wheels['minimum_driver']} or newer"
    driver = machine.driver.get("driver_version", "")
    other = driver and machine.cuda_build(driver)
    return Check("fail", problem, remedy + (f", or {machine.move_to(other)}." if other else "."))


CUDA_ERRORS = {  # what cuInit returned: id, message, remedy
    46: ("CUDA-BUSY", "Another process holds the GPU.", "End it: `nvidia-smi` lists it."),
    101: ("CUDA-VISIBLE", f"{VISIBLE} names a GPU that is not there.", f"Type `{UNSET}`."),
    802: ("CUDA-FABRIC", "The fabric between the GPUs is not up.", FABRIC),
    803: ("CUDA-MISMATCH", "The NVIDIA driver does not match its running kernel module.", REBOOT),
    804: ("CUDA-COMPAT", "This GPU cannot use CUDA's compat driver.", COMPAT),
    999: ("CUDA-UNKNOWN", "The NVIDIA driver cannot start CUDA, as after a suspend.", RELOAD),
}


@check(MACHINE_CHECKS, "CUDA-NODEVICE")
def check_cuda(machine: Machine) -> Check | None:
    """Does CUDA start and show a GPU? A failure has the id of its cause."""
    facts, gpus = machine.driver, machine.driver.get("gpus", [])
    if machine.accelerator != "cuda" or "init" not in facts:
        return None
    if gpus:
        found = [f"{gpu['name']} of compute capability {gpu['capability']}" for gpu in gpus]
        return Check("pass", ", ".join(found), data={"gpus": gpus})
    code, here = facts["init"] or 100, facts.get("nvml_count")
    if code != 100:
        unknown = ("CUDA-UNKNOWN", f"The NVIDIA driver returns {code} from cuInit.", REBOOT)
        name, problem, remedy = CUDA_ERRORS.get(code, unknown)
        return Check("fail", problem, remedy, {"cuInit": code}, name)
    if here and VISIBLE in os.environ:
        problem = (
            f"{VISIBLE}={os.environ[VISIBLE]!r} hides the {here} NVIDIA GPU(s) of this machine."
        )
        return Check("fail", problem, f"Type `{UNSET}`, or test with `--device cpu`.")
    if here:
        problem = f"CUDA may use none of the {here} NVIDIA GPU(s) of this machine."
        remedy = f"With MIG, set {VISIBLE} to a MIG- name of `nvidia-smi -L`; else reboot."
        return Check("fail", problem, remedy)
    problem = "There is an NVIDIA driver, but it finds no GPU."
    remedy = f"Type `nvidia-smi` to see why; without a GPU, {machine.without_gpu()}."
    return Check("warn" if machine.fallback() else "fail", problem, remedy)


@check(MACHINE_CHECKS, "DRV-ARCH")
def check_architectures(machine: Machine) -> Check | None:
    """Does the project's torch have code for every visible GPU?"""
    gpus, wheels = machine.driver.get("gpus", []), machine.wheels
    if machine.accelerator != "cuda" or not gpus or not wheels.get("gpu_architectures"):
        return None
    architectures = ", ".join(wheels["gpu_architectures"])
    lost = [gpu for gpu in gpus if not runs_on(wheels, gpu)]
    if not lost:
        return Check("pass", f"this torch is compiled for {architectures}")
    problem = f"{lost[0]['name']} has compute capability {lost[0]['capability']}, but this torch "
    problem += f"is compiled for {architectures}."
    hide = "Set CUDA_VISIBLE_DEVICES to the other GPUs of `nvidia-smi -L`, or"
    alone = "To use it," if machine.cuda_build() else "No build on offer is, so"
    remedy = hide if len(lost) < len(gpus) else alone
    return Check("fail", problem, f"{remedy} {machine.way_out()}.")


# --- checks with torch, in the child process -----------------------------------------------------


@dataclass
class Job:
    """What the torch checks share."""

    accelerator: str
    fallback: bool
    torch: Any = None
    devices: list[str] = field(default_factory=list)


OPEN_REMEDIES = {
    "cpu": RECREATE,
    "cuda": "Type `nvidia-smi`: end what fills the GPU, or reboot if it reports an error.",
    "rocm": "Type `sudo usermod -aG render,video $USER` and log in again; give a container "
    "`--device /dev/kfd --device /dev/dri`.",
    "xpu": "Install Intel's compute runtime and Level Zero, and join the group render.",
    "mps": "Use macOS 14 or newer and an arm64 Python; in a virtual machine, `--device cpu`.",
}


@check(TORCH_CHECKS, "TORCH-IMPORT")
def check_import(job: Job) -> Check:
    """Can torch be imported?"""
    try:
        job.torch = importlib.import_module("torch")
    except Exception as error:
        remedy = repair()
        if "undefined symbol" in str(error):
            remedy = "Type `unset LD_LIBRARY_PATH`: a library there is not of torch's version."
        elif "WinError" in str(error):
            remedy = "Install https://aka.ms/vc14/vc_redist.x64.exe."
        return Check("fail", f"`import torch` ended in {one_line(error)}.", remedy)
    return Check("pass", f"torch {job.torch.__version__}")


@check(TORCH_CHECKS, "DEV-OPEN")
def check_open(job: Job) -> Check:
    """Run a kernel on every visible device, and read its result back."""
    torch, kind = job.torch, "cuda" if job.accelerator == "rocm" else job.accelerator
    backend = getattr(torch, "accelerator", None) or getattr(torch, kind)
    count = 0 if kind == "cpu" else backend.device_count()
    if job.fallback and not count:
        kind = "cpu"
    job.devices = ["cpu"] if kind == "cpu" else [f"{kind}:{i}" for i in range(count or 1)]
    names = []
    for device in job.devices:
        try:
            total = float((torch.zeros(1000, device=device) + 1).sum())
            names.append(getattr(getattr(torch, kind), "get_device_name", str)(device))
        except Exception as error:
            problem = f"{device} cannot be used; torch says {one_line(error)}."
            return Check(
                "fail", problem, OPEN_REMEDIES["cpu" if kind == "cpu" else job.accelerator]
            )
        if total != 1000:
            return Check("fail", f"{device} counts a thousand ones as {total}.", FAULTY)
    data = {"kind": kind, "devices": names}
    if kind == "cpu" and job.accelerator not in ("cpu", "cuda"):  # no machine check has said so
        problem = f"torch finds no {NAMES[job.accelerator]} device, so the CPU is tested."
        return Check("warn", problem, OPEN_REMEDIES[job.accelerator], data)
    return Check("pass", ", ".join(names), data=data)


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


@check(TORCH_CHECKS, "NUM-MATMUL")
def check_matmul(job: Job) -> Check:
    """A float32 matrix product on each device, against float64 on the CPU."""
    job.torch.set_float32_matmul_precision("highest")  # no TF32, whatever the environment says
    random = job.torch.Generator().manual_seed(1)
    a, b = (job.torch.randn(512, 512, generator=random) for _ in "ab")
    reference = a.double() @ b.double()
    return judge({d: relative_error(a.to(d) @ b.to(d), reference) for d in job.devices}, 1e-5)


@check(TORCH_CHECKS, "NUM-GRAD")
def check_gradient(job: Job) -> Check:
    """The gradient of sum(tanh(x w)^2) on each device, against float64 on the CPU."""
    random = job.torch.Generator().manual_seed(2)
    x, w = (job.torch.randn(128, 128, generator=random) / 8 for _ in "xw")

    def gradient(x: Tensor, w: Tensor) -> Tensor:
        w = w.detach().requires_grad_()
        (x @ w).tanh().square().sum().backward()
        return w.grad

    reference = gradient(x.double(), w.double())
    found = {d: gradient(x.to(d), w.to(d)) for d in job.devices}
    return judge({d: relative_error(result, reference) for d, result in found.items()}, 1e-4)


def run_torch_checks(job: Job) -> None:
    """The child's work; a device that does not open has no numbers to check."""
    for name, function in TORCH_CHECKS.items():
        tell({"start": name})
        found = carry_out(name, function, job, FAULTY)
        if found:
            tell(asdict(found))
            if found.status == "fail" and name in ("TORCH-IMPORT", "DEV-OPEN"):
                return
    tell({"start": "TORCH-EXIT"})  # to be blamed for a crash after all checks


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


# --- the report ----------------------------------------------------------------------------------


def exit_code(checks: list[Check]) -> int:
    """What the failures amount to; see the top of this file."""
    failed = [one for one in checks if one.status == "fail"]
    if any("ended" in one.data for one in failed):
        return 4
    return 3 if any(one.id.startswith(DEVICE_IDS) for one in failed) else int(bool(failed))


def verdict(machine: Machine, checks: list[Check]) -> str:
    """The first line of the report."""
    torch, asked = machine.torch.get("__version__", "not found"), NAMES[machine.accelerator]
    failed = ", ".join(one.id for one in checks if one.status == "fail")
    if failed:
        return f"FAIL  torch {torch}, asked for {asked}: {failed}"
    found = next(one.data for one in checks if one.id == "DEV-OPEN")
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
    for name in TORCH_CHECKS:
        if name not in done:
            cause = failed[-1] if machine.torch else "TORCH-FOUND"
            checks.append(Check("skip", f"not run, since {cause} failed", id=name))
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


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
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
        run_torch_checks(Job(**json.loads(job))) if stage == "torch" else tell(ask_driver())
        return
    if not arguments.timeout > 0:
        parser.error("--timeout must be more than 0 seconds")
    try:
        machine = read_machine(ROOT / "scripts" / "torch_builds.json")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"scripts/torch_builds.json cannot be used ({type(error).__name__}: {error})."
        parser.exit(2, f"{ascii(problem)[1:-1]}\n-> {RESTORE}\n")
    try:
        sys.exit(run(machine, arguments.device, arguments.json, arguments.timeout))
    except KeyboardInterrupt:
        parser.exit(130, "Interrupted.\n")
    except OSError as error:
        parser.exit(2, f"{str(error)!a}\n")


if __name__ == "__main__":
    main()
