"""This project and this machine: what they ask for and have, and what to type here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from surroundings.knowledge import Advice, advice
from surroundings.place import here
from surroundings.system import administrator
from surroundings.versions import numbers

from . import cards

ROOT = Path(__file__).resolve().parents[3]
ENTRY = ROOT / "scripts" / "gpu_smoke_test.py"
BUILDS = ROOT / "scripts" / "torch_builds.json"

WINDOWS = os.name == "nt"
BOOTSTRAP = "bootstrap.cmd" if WINDOWS else "sh bootstrap.sh"
OPTION = "--compute-platform"
FALLBACK = "--fallback"
PYPI = "pypi"  # the compute platform that is chosen for its index, and not for a GPU
PYTHON = r".venv\Scripts\python" if WINDOWS else ".venv/bin/python"


def machine_build() -> tuple[str, str]:
    """What bootstrap made .venv for, where that is not the project's own compute platform.

    And why, where nobody asked for it, but PyPI's wheels stand in for the project's own build.
    """
    try:
        stamp = json.loads((ROOT / ".venv" / "bootstrap-stamp.json").read_text(encoding="utf-8"))
        found = [stamp.get(key) for key in ("machine_build", "fallback")]
    except (OSError, ValueError, AttributeError, RecursionError):
        return "", ""
    name, reason = (" ".join(one.split()) if isinstance(one, str) else "" for one in found)
    return name, reason if name == PYPI else ""


def answers_file() -> str:
    """Where the template's answers are, by torch_builds.json, which says it if it is unusual."""
    try:
        return str(json.loads(BUILDS.read_text(encoding="utf-8"))["answers_file"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return USUAL_ANSWERS


USUAL_ANSWERS = ".copier-answers.yml"
ANSWERS = answers_file()
NAMED = "" if ANSWERS == USUAL_ANSWERS else f' --answers-file "{ANSWERS}"'
COPIER = f"copier update --trust{NAMED}"
MADE_FOR, STANDS_IN = machine_build()
AGAIN = f"{BOOTSTRAP} {FALLBACK if STANDS_IN else OPTION} {MADE_FOR}" if MADE_FOR else BOOTSTRAP
RECREATE = f"Type `{AGAIN} --recreate`."
VISIBLE = "CUDA_VISIBLE_DEVICES"
UNSET_COMMAND = "set {}=" if WINDOWS else "unset {}"
UNSET = UNSET_COMMAND.format(VISIBLE)
UPDATE = f"Type `{COPIER} --defaults`, which brings both to one version."
SWITCH = f"{COPIER} --vcs-ref=:current:"  # it asks what the project is to be
RESTORE = "Type `git checkout HEAD -- scripts/torch_builds.json`."
FAULTY = f"Type `{AGAIN} --recreate`, and reboot; if it stays, the hardware is faulty."
REDISTRIBUTABLE = "Install https://aka.ms/vc14/vc_redist.x64.exe; without the right to, add the "
REDISTRIBUTABLE += "package msvc-runtime to the project, and activate .venv."
ONE_OPENMP = "Take torch and numpy from one source, not one from conda and one from PyPI. As a "
ONE_OPENMP += "last resort set KMP_DUPLICATE_LIB_OK=TRUE, which may compute wrong numbers."
LEVEL_ZERO = "Install Intel's newest compute runtime and Level Zero, and join the group render."
if WINDOWS:
    LEVEL_ZERO = "Install Intel's newest graphics driver."
NEWER_MACOS = "Use macOS 14 or newer and an arm64 Python; in a virtual machine, `--device cpu`."
MPS_FALLBACK = "Set PYTORCH_ENABLE_MPS_FALLBACK=1 for the CPU to do, slowly, what MPS cannot."
PEER = "Set NCCL_P2P_DISABLE=1; so that GPUs may talk directly, set `iommu=pt` on the kernel's "
PEER += "command line, or turn ACS off in the BIOS."
SLOW = "Type `nvidia-smi -q -d PERFORMANCE`: heat, a limit on power, or another's work slows it."
REPORT = f"{PYTHON} scripts/gpu_smoke_test.py --level full --report report.md"
NAMES = {"cpu": "CPU", "cuda": "CUDA", "rocm": "ROCm", "mps": "MPS", "xpu": "XPU"}


# --- What the project asks for, and what this machine has


@dataclass
class Machine:
    """All that the machine checks judge."""

    python: str  # the project's range, e.g. ==3.12.*
    label: str  # the build in words, e.g. CUDA 13.0
    release: str  # and its torch, e.g. 2.14.1
    windows_path: dict[str, Any]  # the room that torch's files need on Windows
    wheels: dict[str, Any]  # that build's entry for this platform in torch_builds.json, or {}
    alternatives: dict[str, dict[str, Any]]  # those of other builds, the nearest first
    name: str = ""  # the build's compute platform
    index: str = ""  # its index, if it has one of its own
    own: str = ""  # the project's own compute platform, where .venv was made for another one
    stands_in: str = ""  # why PyPI's wheels stand in for that, where nobody asked for them
    ready: tuple[str, ...] = ()  # the builds that this machine alone can have instead
    moves: dict[str, str] = field(default_factory=dict)  # what Copier must be told beside the name
    accelerator: str = "cpu"  # what to test: a key of NAMES
    auto: bool = False  # the CPU will do where there is no such device
    torch: dict[str, str] = field(default_factory=dict)  # see version_file
    driver: dict[str, Any] = field(default_factory=dict)  # see nvidia_facts

    def test_for(self, device: str) -> None:
        """What to test: what --device names; without it what the build is for."""
        built, own = self.wheels.get("accelerator", "cpu"), self.alternatives.get(self.own, {})
        for_cpu = bool(self.stands_in) and own.get("accelerator") == "cpu"
        built = "cpu" if for_cpu else built
        self.auto = device == "auto" or (not device and self.name == PYPI and not for_cpu)
        as_built = device in ("", "auto") or (device, built) == ("cuda", "rocm")
        self.accelerator = built if as_built else device

    def optional(self) -> bool:
        """Whether PyPI's wheels are to use a GPU if there is one: worth a warning if there is not.

        With --device auto, any other build is as content with the CPU.
        """
        return self.auto and self.name == PYPI

    def fallback(self) -> bool:
        """Whether the CPU will do: it may, and there is no trace of a device."""
        traces = {
            "cpu": True,
            "cuda": self.nvidia_is_here(),
            "rocm": Path("/dev/kfd").exists(),
            "xpu": any(Path("/dev/dri").glob("renderD*")),
        }
        return self.auto and not traces.get(self.accelerator)

    def nvidia_is_here(self) -> bool:
        """Whether there is a trace of an NVIDIA GPU; if it is optional, of one with a driver."""
        facts = self.driver
        card = facts.get("card") and not cards.set_aside(facts)
        if any(facts.get(key) for key in ("gpus", "nvml_count", "ended")):
            return True
        if not self.optional():
            return bool(card)
        broken = facts.get("init", 0) not in (0, 100) or facts.get("nvml", 0) not in (0, *NO_GPU)
        return broken or bool(card and ("init" in facts or self.half_a_driver()))

    def words(self) -> dict[str, Any]:
        """What causes/ may name of this machine: what its driver says, and what to do."""
        minimum = self.wheels.get("minimum_driver")
        newer = f"the NVIDIA driver {minimum} or newer" if minimum else "the NVIDIA driver"
        newer += self.cap()
        words = {"driver": newer, "minimum": minimum or "what torch needs", "other": ""}
        return {**self.driver, **words, "on_cpu": self.on_cpu()}

    def cap(self) -> str:
        """What to add to "or newer" where newer drivers ignore the GPUs that are here."""
        last = cards.the_last_driver(self.driver)
        return f", but of the branch {last}, the last one for this GPU" if last else ""

    def lost(self) -> list[dict[str, str]]:
        """The GPUs here that this torch has no code for; none where its code is not known."""
        known = self.wheels.get("gpu_architectures")
        gpus = self.driver.get("gpus", []) if known else []
        return [gpu for gpu in gpus if not runs_on(self.wheels, gpu)]

    def half_a_driver(self) -> bool:
        """Whether the driver's NVML is there and knows of a GPU, and its libcuda is not."""
        facts = self.driver
        if "nvml" not in facts or "init" in facts:
            return False
        known = facts.get("nvml_count") or facts["nvml"] not in (0, *NO_GPU)
        return bool(known or (facts.get("card") and not here().is_a("container")))

    def cuda_build(self, driver: str = "") -> str:
        """The nearest other build for the GPUs that are here, and for a driver; "" for none.

        One of which nobody knows what GPUs it is for is none, whether or not one is seen here.
        """
        last = cards.the_last_driver(self.driver)
        for name, wheels in self.alternatives.items():
            minimum = numbers(wheels["minimum_driver"] or "")
            new_enough = minimum <= numbers(driver) if driver else not last or minimum[:1] <= [last]
            known = wheels["gpu_architectures"] or wheels["ptx"]
            suits = known and all(runs_on(wheels, gpu) for gpu in self.driver.get("gpus", []))
            if wheels["accelerator"] == "cuda" and new_enough and suits:
                return name
        return ""

    def way_out(self, wanted: str = "cuda") -> str:
        """What to do for a torch that suits the GPUs and the driver that are here."""
        if wanted != "cuda":
            others = (
                name for name, one in self.alternatives.items() if one["accelerator"] == wanted
            )
            name = next(others, "")
            return self.move_to(name) if name else self.on_cpu()
        ready = self.cuda_build(self.driver.get("driver_version", ""))
        name = ready or self.cuda_build()
        if ready or not name:
            return self.move_to(ready) if ready else self.on_cpu()
        minimum = self.alternatives[name]["minimum_driver"]
        return f"update the NVIDIA driver to {minimum} or newer and {self.move_to(name)}"

    def to_use_it(self, wanted: str = "cuda", begin: str = "To use it,") -> str:
        """A sentence of what to do for a torch that suits what is here; what else, if none does."""
        if wanted != "cuda" or self.cuda_build():
            return f"{begin} {self.way_out(wanted)}"
        gpu, known = self.without_code()
        if not known:
            return f"No build on offer is known to suit the GPUs that are here, so {self.on_cpu()}"
        problem = f"No build on offer has code for compute capability {gpu}, only for "
        problem += f"{known[0]} to {known[-1]}"
        if numbers(gpu) < numbers(known[-1]):
            return f"{problem}, so {self.on_cpu()}"
        newer = f"`{COPIER} --defaults` may bring a torch that has"
        return f"{problem}: {newer}; until then, {self.on_cpu()}"

    def without_code(self) -> tuple[str, list[str]]:
        """The compute capability of a GPU here that no build has code for; those that one has."""
        rows = [self.wheels, *self.alternatives.values()]
        rows = [row for row in rows if row.get("accelerator") == "cuda"]
        known = {one for row in rows for one in row.get("gpu_architectures", [])}
        for gpu in self.driver.get("gpus", []):
            if known and not any(runs_on(row, gpu) for row in rows):
                return gpu["capability"], sorted(known, key=numbers)
        return "", []

    def pinned(self) -> bool:
        """Whether the project's files ask for this torch; that of a machine build is not there."""
        files = [ROOT / "pyproject.toml", *ROOT.glob("requirements/torch-*.txt")]
        texts = [
            one.read_text("utf-8", errors="replace") for one in files if os.access(one, os.R_OK)
        ]
        return bool(self.own) or not texts or any(self.release in text for text in texts)

    def peaks(self) -> list[dict[str, float]]:
        """What each visible GPU is made for; [] if that is not known, as for a part of a GPU."""
        known = self.accelerator == "cuda" and not self.driver.get("mig")
        return list(self.driver.get("peaks", [])) if known else []

    def on_cpu(self) -> str:
        """What to do where no build suits the GPUs."""
        known = "cpu" in self.alternatives and self.name != PYPI  # whose index is what was wanted
        return self.move_to("cpu") if known else "test with `--device cpu`"

    def other_gpu(self) -> str:
        """What to do for a GPU that is not NVIDIA's; "" where nothing tells of one."""
        amd = (name for name, one in self.alternatives.items() if one["accelerator"] == "rocm")
        if self.driver.get("amd") and (name := next(amd, "")):
            return f"for the AMD GPU of this machine, {self.move_to(name)}"
        own = self.alternatives.get(self.own, {})
        other = self.stands_in and own.get("accelerator") in ("rocm", "xpu")
        return f"for another maker's GPU, {self.move_to(self.own)}" if other else ""

    def without_gpu(self) -> str:
        """What to do on a machine without a GPU of NVIDIA's."""
        if other := self.other_gpu() or (self.on_cpu() if self.name == PYPI else ""):
            return other
        other = f", or {self.move_to('cpu')}" if "cpu" in self.alternatives else ""
        return f"test with `--device auto`{other}"

    def until_then(self) -> str:
        """What can be done with PyPI's wheels where a GPU does not do, without any index."""
        return "; until then, test with `--device cpu`" if self.name == PYPI else ""

    def move_to(self, name: str) -> str:
        """What to type to give this machine, or the project, another build."""
        there = " where its index can be reached" if self.name == PYPI else ""
        return self.command_for(name) + there

    def command_for(self, name: str) -> str:
        """The same, where its index can be reached: PyPI is chosen where it cannot."""
        if name == self.own:
            return f"type `{BOOTSTRAP}` for the project's own build, {name}"
        release = self.alternatives[name]["release"]
        here = f"type `{BOOTSTRAP} {OPTION} {name}`"
        if name not in self.moves:
            return here
        options = f"--defaults --vcs-ref=:current: --data compute_platform={name}"
        update = f"`{' '.join([COPIER, options, self.moves[name]]).strip()}`"
        if name in self.ready:
            return f"{here}, or for the whole project {update} and then `{BOOTSTRAP}`"
        other = f" (torch {release})" if release != self.release else ""
        return f"type {update}{other} and then `{BOOTSTRAP}`"


# What nvmlInit returns where its library is there and nothing else: driver not loaded, not found.
NO_GPU = (9, 12)


# The GPUs of Jetson boards run no code but their own: DEVICE_REQUIREMENT in torch/cuda/__init__.py.
JETSON = ("5.3", "6.2", "7.2", "8.7", "10.1")
OF_JETSONS = JETSON[:4]  # of which no build for other machines has code


def runs_on(wheels: dict[str, Any], gpu: dict[str, str]) -> bool:
    """Whether wheels have a binary for a GPU's major version, or PTX to compile.

    An empty list of binaries means that nobody knows them, and not that they run everywhere.
    """
    mine, binaries = gpu["capability"], wheels["gpu_architectures"]
    capability = numbers(mine)

    def fits(binary: str) -> bool:
        if mine in JETSON or binary in JETSON:
            return binary == mine or (binary, mine) == ("10.1", "11.0")
        return numbers(binary)[0] == capability[0] and numbers(binary) <= capability

    compiled = wheels["ptx"] and numbers(wheels["ptx"]) <= capability
    return any(map(fits, binaries)) or bool(compiled)


def python_fits(requires: str) -> bool:
    """Whether this Python is in a range of == and != clauses, e.g. ==3.14.*,!=3.14.1."""
    if not re.fullmatch(r"([=!]=[\d.*]+,?)+", requires):
        raise ValueError(f"requires_python {requires!r} is not understood")
    version, clauses = platform.python_version(), requires.split(",")
    return all(fnmatch(version, text[2:]) == text.startswith("==") for text in clauses)


def advise(cause: str, **words: object) -> Advice:
    """What to say of a cause here: `words` are those of causes/ beside the usual ones."""
    return advice(cause, here(), **{**usual_words(), **words})


def usual_words() -> dict[str, str]:
    """What any cause may name."""
    return {
        "again": AGAIN,
        "bootstrap": BOOTSTRAP,
        "mps_fallback": MPS_FALLBACK,
        "python": PYTHON,
        "recreate": RECREATE,
        "redistributable": REDISTRIBUTABLE,
        "repair": repair(),
        "report": REPORT,
        "set": "set" if WINDOWS else "export",
        "switch": SWITCH,
        "sudo": administrator(),
        "unset_mps": UNSET_COMMAND.format("CUDA_MPS_PIPE_DIRECTORY"),
        "unset_visible": UNSET,
    }


def in_venv() -> bool:
    """Whether this Python is the one of the project's .venv."""
    return os.path.realpath(sys.prefix) == os.path.realpath(ROOT / ".venv")


def repair() -> str:
    """How to get to the environment that the project asks for."""
    if in_venv():
        return RECREATE
    there = f"{PYTHON} scripts/gpu_smoke_test.py"
    return f"Type `{there if (ROOT / '.venv').is_dir() else BOOTSTRAP}`."


def version_file(package: str = "torch") -> dict[str, str]:
    """The strings in torch/version.py, read as text: metadata may hide the +cu130."""
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).with_name("version.py") if spec and spec.origin else Path()
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
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
