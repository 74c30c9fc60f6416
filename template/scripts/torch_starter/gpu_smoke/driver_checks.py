"""Checks without torch: drivers and their GPUs."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Any

from surroundings.knowledge import code
from surroundings.place import here
from surroundings.versions import numbers

from .cards import (
    BLACKWELL,
    branch,
    generations,
    holders,
    set_aside,
    the_last_driver,
    unfit,
    why_not_loaded,
    why_not_started,
)
from .check import Check, CheckFunction, because, check
from .driver_facts import (
    NO_FILES,
    in_compat,
    running_driver,
    two_versions,
    version_of,
    wrong_entry,
)
from .machine import OF_JETSONS, UNSET, VISIBLE, Machine, advise

SEVERAL = 2  # instances of MIG, of which CUDA takes the first
MODES = {1: "EXCLUSIVE_THREAD", 2: "PROHIBITED", 3: "EXCLUSIVE_PROCESS"}  # nvmlComputeMode_t
STUB, NO_DEVICE = 34, 100  # CUresult
QUIET = (9, 12, 999)  # nvmlReturn_t: not loaded, not found, unknown: nothing that says why
UVM = "/dev/nvidia-uvm"
NOTHING_GIVEN = ("", "-1", NO_FILES)
GIVEN = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS_ON_NODE", "SLURM_GPUS")

# --- The checks

CHECKS: dict[str, CheckFunction] = {}


def no_device(machine: Machine, problem: str, remedy: str, certain: bool = False) -> Check:
    """There is no device: nothing is wrong where the CPU will do, as on most machines of a CI.

    `certain`: there is one, but nothing that makes it work.
    """
    if not machine.fallback():
        return Check("fail", problem, remedy)
    if not machine.optional():
        return Check("skip", f"{problem} The CPU will do.")
    mark = ";" if ":" in problem else ":"
    problem = f"{problem[:-1]}{mark} PyPI's wheels compute on the CPU."
    if option := machine.other_gpu():
        remedy = f"{option[0].upper()}{option[1:]}."
    else:
        if not certain:
            remedy = f"If this machine has an NVIDIA GPU, {remedy[0].lower()}{remedy[1:]}"
    return Check("warn", problem, f"{remedy} `--device cuda` insists on an NVIDIA GPU.")


def no_gpu(machine: Machine, cause: str, certain: bool = False, **words: object) -> Check:
    """The same, by its cause."""
    name, problem, remedy = advise(cause, **{**words_of(machine), **words})
    if cause == "given-to-virtual-machines" and machine.fallback():  # as somebody wants it
        return Check("skip", f"{problem} The CPU will do.")
    if not certain and not machine.optional():
        remedy += f" Without a GPU, {machine.without_gpu()}."
    found = no_device(machine, problem, remedy, certain)
    found.id = name
    return found


@check(CHECKS, "DRV-LIBCUDA")
def check_libcuda(machine: Machine) -> Check | None:
    """Is there an NVIDIA driver that answers? If not, why?"""
    facts = machine.driver
    if machine.accelerator != "cuda":
        return None
    if facts["ended"]:
        return because("driver-does-not-answer", {"ended": facts["ended"]}, **machine.words())
    if foreign := foreign_in_wsl(facts):
        return no_gpu(machine, "linux-driver-in-wsl", certain=True, foreign=foreign)
    if is_stub(facts):
        return no_gpu(machine, "stub-driver", certain=True)
    if "init" in facts:
        found = {key: facts[key] for key in ("libcuda", "libnvml") if facts.get(key)}
        return Check("pass", f"NVIDIA driver {facts.get('driver_version', '')}".strip(), data=found)
    if machine.half_a_driver():
        return no_gpu(machine, "half-a-driver", certain=True)
    if not has_card(facts):
        return no_gpu(machine, "no-driver")
    if set_aside(facts):
        return no_gpu(machine, "given-to-virtual-machines")
    cause = "gpu-too-old" if too_old(machine) else "card-without-driver"
    return no_gpu(machine, cause, certain=True)


def own_bus() -> bool:
    """Whether what is on the bus is this system's: a container may have a part of it, or nothing.

    A job, a runner or a notebook that is in none shares it with the rest of its machine.
    """
    return not (here().is_a("container") or here().is_a("wsl"))


def has_card(facts: dict[str, Any]) -> bool:
    """Whether this system has an NVIDIA GPU, so that it needs no other one."""
    return bool(facts.get("card")) and own_bus()


def too_old(machine: Machine) -> bool:
    """Whether no driver for the GPUs that are here is new enough for this torch."""
    last, minimum = the_last_driver(machine.driver), machine.wheels.get("minimum_driver")
    return bool(last and minimum and last < branch(minimum))


def foreign_in_wsl(facts: dict[str, Any]) -> str:
    """A library of a Linux driver that is found in WSL before the one of Windows, and cannot work.

    Those of Windows are in /usr/lib/wsl, in a container too.
    """
    if facts.get("gpus") or not here().is_a("wsl"):
        return ""
    libraries = [facts.get("libcuda", ""), facts.get("libnvml", "")]
    if in_compat(facts) and facts.get("init") in (803, 804):
        return ""  # which have a cause of their own
    if "init" not in facts and facts.get("nvml") in (None, 0):
        return ""  # one that works, and the other is not there
    return next((one for one in libraries if one and "/wsl/" not in os.path.realpath(one)), "")


def no_driver(facts: dict[str, Any]) -> bool:
    """Whether libcuda is not that of a driver which could work here, as check_libcuda says."""
    return bool(foreign_in_wsl(facts)) or is_stub(facts)


def is_stub(facts: dict[str, Any]) -> bool:
    """Whether libcuda is the one of CUDA's toolkit that programs are linked with."""
    folder = PurePath(facts.get("libcuda", "")).parent.name
    return facts.get("init") == STUB or bool(facts.get("init") and folder == "stubs")


@check(CHECKS, "DRV-OLD")
def check_driver_version(machine: Machine) -> Check | None:
    """Does the driver know the CUDA major version of the project's torch?"""
    toolkit, cuda = machine.wheels.get("toolkit") or "", machine.driver.get("cuda")
    if machine.accelerator != "cuda" or not toolkit or not cuda or no_driver(machine.driver):
        return None
    supports = f"CUDA {cuda // 1000}.{cuda % 1000 // 10}"
    if cuda // 1000 >= numbers(toolkit)[0]:
        return Check("pass", f"the driver supports {supports}, this torch needs {toolkit}")
    if machine.fallback() and machine.driver["init"] in (0, 100):
        return Check("skip", f"the driver supports {supports}, and there is no GPU to need more")
    if not machine.driver["gpus"] and unfit(machine.driver, running_driver(machine.driver)):
        return None  # another driver is needed anyway, as check_nvml or check_cuda says
    driver = machine.driver.get("driver_version", "")
    other = driver and machine.cuda_build(driver)
    words = {**words_of(machine), "supports": supports, "toolkit": toolkit}
    if too_old(machine):
        return because("gpu-too-old", **words)
    words["other"] = machine.cap() + (f", or {machine.move_to(other)}" if other else "")
    words["other"] += machine.until_then()
    found = because("driver-too-old", **words)
    if machine.lost() and len(machine.lost()) == len(machine.driver["gpus"]):
        remedy = machine.to_use_it(begin="For the GPU that is here,")  # no driver helps it
        found.remedy = f"{remedy}{machine.until_then()}."
    return found


def nvml_error(machine: Machine) -> str:
    """The cause that nvmlInit's code is a sure sign of, or what else is known of it; "" for none.

    999 is one only in a container.
    """
    facts = machine.driver
    number = facts.get("nvml", 0)
    if no_driver(facts) or (machine.fallback() and (machine.optional() or set_aside(facts))):
        return ""  # there is no GPU to be wrong, or it was said why
    cause = code("nvml", number).cause if number else ""
    cause = "gpu-lost" if facts.get("lost") else cause
    if facts.get("gpus") and number not in (0, 18):
        return ""  # CUDA works, and so does the module
    if number in QUIET and (refused := refusal(facts)):
        return refused
    if number == 999 and here().is_a("container"):
        return "lost-in-container"
    if cause == "module-not-loaded" and (has_card(facts) or not here().is_a("guest")):
        found = why_not_loaded(facts, running_driver(facts))
        return "gpu-too-old" if found == "needs-legacy-driver" and too_old(machine) else found
    return "two-drivers" if cause == "driver-updated" and two_versions(facts) else cause


def refusal(facts: dict[str, Any]) -> str:
    """Why a device file of the driver may not be opened; "" if all may.

    A control group says EPERM, as in a container that has lost what it was given; a file's rights
    and SELinux say EACCES.
    """
    said = set(facts.get("nodes", {}).values()) - {""}
    given = any(map(here().is_a, ("docker", "kubernetes", "containerd")))
    if said == {"EPERM"} and given:
        return "lost-in-container"
    return "device-refused" if said else ""


def words_of(machine: Machine) -> dict[str, Any]:
    """What the causes of a driver's codes name."""
    facts = machine.driver
    refused = {node: said for node, said in facts.get("nodes", {}).items() if said}
    every = sorted(generations(facts), key=lambda one: one.first)
    needed = branch(machine.wheels.get("minimum_driver") or "")
    newest = max([needed, *(one.first for one in every)])
    seen = facts.get("gpus") and too_old(machine)
    libcuda, open_module = facts.get("libcuda", ""), advise("open-module").do
    return {
        **machine.words(),
        "libcuda": libcuda,
        "cuda_version": version_of(facts, "libcuda"),
        "driver_version": running_driver(facts) or "another",
        "bound": next(iter(holders(facts)), "driver"),
        "node": next(iter(refused), "/dev/nvidiactl"),
        "at_compat": f", {libcuda}" if in_compat(facts) else "",
        "generation": " and ".join(one.name for one in every if one.name) or "of NVIDIA",
        "newest": newest or "for this torch",
        "last": the_last_driver(facts) or "before that",
        "open_module": open_module,
        "flavour": f" with {open_module}" if BLACKWELL in every else "",
        "way_on": machine.to_use_it() if seen else f"To go on, {machine.on_cpu()}",
    }


@check(CHECKS, "DRV-NOTLOADED")
def check_nvml(machine: Machine) -> Check | None:
    """Does the driver's library reach its kernel module? A failure has the id of its cause."""
    cause = nvml_error(machine)
    if machine.accelerator != "cuda" or "init" not in machine.driver or not cause:
        return None
    harmless = machine.driver["gpus"] or machine.fallback()
    found = because(cause, {"nvmlInit": machine.driver["nvml"]}, **words_of(machine))
    found.status = "warn" if harmless else "fail"
    return found


def hidden() -> bool:
    """Whether the user hides all GPUs."""
    return os.environ.get(VISIBLE) in ("", "-1")


@check(CHECKS, "DRV-MIG")
def check_instances(machine: Machine) -> Check | None:
    """Does CUDA see the instance of a GPU that is split?"""
    facts = machine.driver
    if machine.accelerator != "cuda" or facts.get("init") not in (0, 100) or not facts.get("mig"):
        return None
    if hidden():
        return None  # as CUDA-NODEVICE says
    named = os.environ.get(VISIBLE, "").startswith("MIG-")
    given = here().is_a("container") or here().is_a("job")  # which has what it asked for
    if facts["gpus"] and (named or given or facts.get("instances", 0) < SEVERAL):
        return Check("pass", "an instance of a GPU that MIG splits")
    name = "mig-takes-the-first" if facts["gpus"] else "mig-without-instance"
    found = because(name, {"mig": facts["mig"]}, **words_of(machine))
    found.status = "warn" if facts["gpus"] else "fail"
    return found


@check(CHECKS, "CUDA-VISIBLE")
def check_visible(machine: Machine) -> Check | None:
    """Is every GPU there that CUDA_VISIBLE_DEVICES names? CUDA ignores those after a wrong one."""
    facts = machine.driver
    wrong = wrong_entry(facts) if machine.accelerator == "cuda" else ""
    every = len(facts.get("gpus", [])) == os.environ.get(VISIBLE, "").count(",") + 1
    if not wrong or every or facts.get("init") not in (0, 100, 101):
        return None
    problem = f"{VISIBLE}={os.environ[VISIBLE]!r} names {wrong!r}, but this machine has "
    problem += f"{facts['nvml_count']} NVIDIA GPU(s), the first of which is 0"
    problem += f": CUDA sees {len(facts['gpus'])}." if facts["gpus"] else "."
    remedy = f"Type `{UNSET}`, or take a number or a GPU- name of `nvidia-smi -L`."
    return Check("warn" if facts["gpus"] else "fail", problem, remedy, {"entry": wrong})


@check(CHECKS, "CUDA-NODEVICE")
def check_cuda(machine: Machine) -> Check | None:
    """Does CUDA start and show a GPU? A failure has the id of its cause."""
    facts, gpus = machine.driver, machine.driver.get("gpus", [])
    if machine.accelerator != "cuda" or "init" not in facts:
        return None
    if not gpus and nvml_error(machine):
        return None  # as check_nvml says
    if not gpus and facts["init"] in (0, 100) and facts.get("mig") and not hidden():
        return None  # as check_instances says
    if not gpus and facts["init"] in (0, 100, 101) and wrong_entry(facts):
        return None  # as check_visible says
    if gpus:
        found = [f"{gpu['name']} of compute capability {gpu['capability']}" for gpu in gpus]
        return Check("pass", ", ".join(found), data={"gpus": gpus})
    if no_driver(facts):
        return None  # as check_libcuda says
    number = facts["init"] or NO_DEVICE
    if number != NO_DEVICE:
        return cuda_error(machine, number)
    return no_gpu_found(machine)


def cuda_error(machine: Machine, number: int) -> Check:
    """What is wrong when cuInit fails."""
    facts, cause = machine.driver, code("cuda", number).cause
    nodes = facts.get("nodes", {})
    if cause in ("driver-mismatch", "compat-refused") and in_compat(facts):
        cause = "compat-refused" if cause == "compat-refused" else "compat-first"
    elif cause == "driver-mismatch" and two_versions(facts):
        cause = "two-drivers"
    elif cause == "wrong-ordinal" and not os.environ.get(VISIBLE):
        cause = ""  # nobody has named one
    elif cause == "no-fabric" and facts.get("not_ready"):
        cause = "not-ready-for-confidential"
    elif cause == "gpu-busy" and any(facts.get("modes", [])):
        cause = "compute-mode"
    elif cause == "cannot-start" and nodes and UVM not in nodes:
        cause = "no-device-file"
    elif cause == "cannot-start":
        cause = refusal(facts) or cause
    words = {**words_of(machine), **code_words("cuda", "cuInit", number)}
    words["mode"] = next((MODES.get(one, one) for one in facts.get("modes", []) if one), "")
    words["node"] = UVM if cause == "no-device-file" else words["node"]
    data = {"cuInit": number, "libcuda": facts.get("libcuda", "")}
    return because(cause or "unknown-code", data, **words)


def no_gpu_found(machine: Machine) -> Check:
    """Why a driver that starts has no GPU to show."""
    facts, visible = machine.driver, os.environ.get(VISIBLE)
    known, nvml, nodes = facts.get("nvml_count"), facts.get("nvml", 0), facts.get("nodes", {})
    nothing = here().is_a("job") and not any(map(os.environ.get, GIVEN))
    if nothing and (visible in NOTHING_GIVEN or not known):
        return no_gpu(machine, "job-without-gpu")
    if known and visible is not None:
        problem = f"{VISIBLE}={visible!r} hides the {known} NVIDIA GPU(s) of this machine."
        return Check("fail", problem, f"Type `{UNSET}`, or test with `--device cpu`.")
    if own_bus() and set_aside(facts):
        return no_gpu(machine, "given-to-virtual-machines")
    if cause := refusal(facts):
        return no_gpu(machine, cause, certain=True)
    if known and nodes and UVM not in nodes:
        return because("no-device-file", {"nodes": nodes}, **{**words_of(machine), "node": UVM})
    if known:
        return because("none-usable", {"nvml_count": known}, **words_of(machine))
    if nvml not in (0, *QUIET):
        return no_gpu(machine, "unknown-code", certain=True, **code_words("nvml", "nvmlInit", nvml))
    given = any(node[-1].isdigit() for node in nodes)  # /dev/nvidia0
    if given or has_card(facts):
        cause = why_not_started(facts, running_driver(facts))
        cause = "gpu-too-old" if cause == "needs-legacy-driver" and too_old(machine) else cause
        return no_gpu(machine, cause, certain=True)
    missing = facts.get("bus") and not here().is_a("guest") and not here().is_a("jetson")
    return no_gpu(machine, "driver-without-card" if missing else "finds-no-gpu")


def code_words(family: str, call: str, number: int) -> dict[str, Any]:
    """How to name a code that a call returned."""
    name = code(family, number).name
    return {"call": call, "number": number, "name": "a new code" if name.isdigit() else name}


@check(CHECKS, "DRV-ARCH")
def check_architectures(machine: Machine) -> Check | None:
    """Does the project's torch have code for every visible GPU?"""
    gpus, wheels = machine.driver.get("gpus", []), machine.wheels
    if machine.accelerator != "cuda" or not gpus or not wheels.get("gpu_architectures"):
        return None
    architectures = ", ".join(wheels["gpu_architectures"])
    lost = machine.lost()
    if not lost:
        return Check("pass", f"this torch is compiled for {architectures}")
    problem = f"{lost[0]['name']} has compute capability {lost[0]['capability']}, but this torch "
    problem += f"is compiled for {architectures}."
    hide = "Set CUDA_VISIBLE_DEVICES to the other GPUs of `nvidia-smi -L`, or"
    all_lost = len(lost) == len(gpus)
    if all_lost and any(gpu["capability"] in OF_JETSONS for gpu in lost):
        return Check("fail", problem, advise("jetson-wheels").do)
    remedy = machine.to_use_it() if all_lost else f"{hide} {machine.way_out()}"
    also = machine.until_then() if machine.cuda_build() else ""
    return Check("fail", problem, f"{remedy}{also}.")


@check(CHECKS, "ROCM-KFD")
def check_kfd(machine: Machine) -> Check | None:
    """May this user open AMD's devices?"""
    facts = machine.driver
    if machine.accelerator != "rocm" or here().is_a("wsl"):
        return None
    if facts["kfd_usable"] and facts["render"]:
        return Check("pass", "/dev/kfd can be opened")
    cause = "amd-refused" if facts["kfd"] and not facts["kfd_usable"] else "amd-missing"
    missing = "render node in /dev/dri" if facts["kfd"] else "/dev/kfd"
    return no_gpu(machine, cause, certain=cause == "amd-refused", missing=missing)
