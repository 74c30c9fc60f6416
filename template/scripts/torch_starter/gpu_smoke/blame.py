"""What an exception or an end of the child means, and which failure follows from which.

One cause, one verdict: what follows from another failure says so, and the cause has the remedy.
"""

from __future__ import annotations

import re
import signal
from contextlib import suppress

from surroundings.knowledge import code, find_cause, named
from surroundings.linux import text_of
from surroundings.place import here

from . import companion_checks, device_checks
from .check import DEVICE_IDS, FOLLOWS, Check, Raised, one_line
from .loading import code_in, of_loader
from .machine import AGAIN, FAULTY, LEVEL_ZERO, ONE_OPENMP, REPORT, SWITCH, advise
from .origins import first_outside, how_to_remove, known_to_the_linker, named_by_variables

# How the codes of NVIDIA's libraries are written in what torch says, by family of codes.ini.
NAMES = {
    "cudnn": r"CUDNN_STATUS_\w+",
    "cublas": r"CUBLAS_STATUS_\w+",
    "nccl": r"\bnccl(?:Unhandled|System|Internal|Invalid|Remote|InProgress|Timeout)\w*",
}
SEND = f"Send what `{REPORT}` writes to those who look after this template."


def explain_error(error: Raised) -> Check:
    """What it means that a check with torch raised this."""
    said, problem = f"{type(error).__name__}: {error}", f"The check ended in {one_line(error)}."
    if found := code_of(said, error):
        family, number = found
        name, meaning, cause = code(family, number)
        words = {"name": name, "number": number, "meaning": meaning, "on": ""}
        return told(cause or "unknown-error", problem, **words)
    if match := find_cause(said, "run"):
        return told(match.cause, problem, **{"on": "", **match.words})
    return Check("fail", problem, SEND)


def told(cause: str, problem: str, **words: object) -> Check:
    """A failure with its cause first, and what was said after it."""
    found, says, do = advise(cause, **words)
    return Check("fail", f"{says[:-1]}: {problem}", do, {"cause": cause}, found)


def code_of(said: str, error: Raised | None = None) -> tuple[str, int] | None:
    """The family and number of the code in what torch says, if it is one of a library's."""
    for family, pattern in NAMES.items():
        for name in re.findall(pattern, said):
            with suppress(KeyError):  # a newer library's
                return family, named(family, name)[0]
    return code_in(said, error)


# --- The end of the child process


def explain_end(
    ended: str, checks: list[Check], started: list[str], limit: float, cuda: bool = False
) -> Check:
    """What it means that the child process died or hung: a failure of the check it was at."""
    name = started[-1] if started else "TORCH-IMPORT"
    last = checks[-1].id if checks else "none"
    cause = cause_of_end(ended)
    _, says, remedy = advise(cause, lacks=lacks(), proof="", on="", old_cpu=old_cpu())
    if "OMP: Error #15" in ended:
        name, cause, remedy = "LIB-OMP", "openmp", ONE_OPENMP
    elif "did not answer" in ended:
        cause, remedy = "hangs", f"Give it more time, `--timeout {limit * 4:g}`; if it still "
        remedy += "hangs, reboot."
    elif name == "XPU-INIT":
        cause, remedy = "level-zero", LEVEL_ZERO
    elif cuda and cause == "crash" and name.startswith(NUMBERS):
        remedy = f"{suspect()}{remedy}"
    problem = f"PyTorch {ended}; the last check that finished is {last}."
    problem = problem if cause in UNTOLD else f"{says[:-1]}: {problem}"
    data = {"ended": ended, "last_finished": last, "cause": cause}
    linker = LINKER.search(ended)
    if linker and (found := of_loader(ended, problem, ImportError(ended[linker.end() :]))):
        found.id, found.data = found.id or name, {**data, **found.data}
        return found
    return Check("fail", problem, remedy, data, name)


def suspect() -> str:
    """The machine's own cuDNN, which cuDNN loads parts of by their names alone; "" for none."""
    every = (*named_by_variables("libcudnn"), *known_to_the_linker("libcudnn"))
    if not (path := first_outside(iter(every))):
        return ""
    return (
        f"{path} may have been loaded beside torch's own. {how_to_remove(path)} If that is not it: "
    )


# Causes of its last line, by how they begin.
TOLD_BY_WORDS = re.compile("no-memory|disk-full|over-quota|no-gpu-memory|too-many-|kernel-too-old")
# How the dynamic linker begins where it ends the process, with 127 as its exit code.
LINKER = re.compile(r"symbol lookup error: |error while loading shared libraries: ")
UNTOLD = ("crash", "hangs", "openmp", "level-zero")  # of which the words of the end say enough


def cause_of_end(ended: str) -> str:
    """The cause that the way of a process's end is always a sign of; crash, if there is none."""
    if (found := code_in(ended)) and (cause := code(*found).cause):
        return cause
    said = find_cause(ended, "run")
    if said and TOLD_BY_WORDS.match(said.cause):
        return said.cause
    # A shell that started it has 128 and the number of the signal as its exit code.
    for number in signal.valid_signals():
        ways = (signal.strsignal(number), f"exit code {128 + number}")
        if any(f"crashed ({way})" in ended for way in ways):
            try:
                cause = named("signal", signal.Signals(number).name)[1].cause
            except (KeyError, ValueError):  # one of Linux's own for real time
                cause = ""
            return cause or "crash"
    return "crash"


def lacks() -> str:
    """The instructions that torch is compiled with and this processor does not have."""
    flags = re.search(r"^flags\s*:(.*)", text_of("/proc/cpuinfo"), re.MULTILINE)
    have = set(re.findall(r"\w+", flags[1])) if flags else set()
    lost = [one for one in ("sse4_2", "avx", "avx2", "fma") if have and one not in have]
    return f" ({' and '.join(lost)})" if lost else ""


def old_cpu() -> str:
    """What to do about an instruction that the processor lacks."""
    if lacks():
        return f"Give a virtual machine the host's processor; else an older torch: `{SWITCH}`."
    return SEND


# --- Which failure follows from which


# What may explain others, by what it explains: ids, or beginnings of them. The first that has
# failed, or has warned, is the cause of those that have failed.
NUMBERS = ("NUM-", "TRAIN-", "DEV-OPEN", "TORCH-EXIT", "CKPT", "COMPILE", "NCCL")
MIXED = ("symbol-", "library-missing", "mixed-libraries", "crash")
EXPLAINS: dict[str, tuple[str, ...]] = {
    "PKG-NVMIX": ("TORCH-IMPORT", "TORCH-NVJITLINK", *NUMBERS),
    "PKG-REQUIRES": ("TORCH-IMPORT", "TORCH-NVJITLINK", *NUMBERS),
    "LIB-MAPS": ("TORCH-IMPORT", "TORCH-NVJITLINK", *NUMBERS),
    "LIB-OMP": ("NUM-", "TRAIN-"),
}
# These causes are of the failure alone, whatever else is in the way.
OWN_CAUSE = re.compile(r"no-gpu-memory|no-memory|disk-|over-quota|killed|hangs|noexec|openmp|level")


def name_causes(checks: list[Check]) -> list[str]:
    """Let failures that follow from others say so; returns the ids of all failures."""
    found = {one.id: one for one in checks}
    windows_knew_better(found)
    environment(found)
    libraries(found)
    failed = [one.id for one in checks if one.status == "fail"]
    causes = [name for name in failed if name.startswith(DEVICE_IDS) and not follows(found[name])]
    for name in causes[1:]:
        if name in device_checks.CHECKS:
            follow(found[name], causes[0])
    imported = failed_import(found)
    if imported and "TORCH-DLL" in failed:
        follow(imported, "TORCH-DLL")
    for name, package in companion_checks.PACKAGES.items():
        about = [one for one in failed if package in found[one].data.get("packages", [])]
        if name in failed and (cause := [*about, *(one for one in failed if one == "TORCH-BUILD")]):
            follow(found[name], cause[0])
    suspect_hardware(checks)
    return failed


def follows(one: Check) -> bool:
    """Whether a failure has been said to follow from another."""
    return one.remedy.startswith(FOLLOWS)


def follow(one: Check, cause: str) -> None:
    """Let a failure say of which other it comes."""
    if not follows(one):
        one.remedy = f"{FOLLOWS} {cause}."


def failed_import(found: dict[str, Check]) -> Check | None:
    """The check of `import torch`, if that has failed."""
    one = found.get("TORCH-IMPORT") or found.get("TORCH-NVJITLINK")
    return one if one and one.status == "fail" else None


def windows_knew_better(found: dict[str, Check]) -> None:
    """Where torch could be imported, no DLL is missing."""
    dll, imported = found.get("TORCH-DLL"), found.get("TORCH-IMPORT")
    if dll and dll.status == "fail" and imported and imported.status == "pass":
        dll.status, dll.remedy = "pass", ""
        dll.message = "Windows finds all that torch's DLLs need"


def mixed(one: Check) -> bool:
    """Whether a failure can come of libraries that do not go together."""
    cause = str(one.data.get("cause", ""))
    if cause == "library-missing" and ", which is " in one.message.partition(":")[0]:
        return False  # it is no package's
    return cause.startswith(MIXED) or not cause


def names(one: Check, packages: list[str]) -> bool:
    """Whether a failure is one to load a module of a package."""
    of_module = one.data.get("cause") in ("no-module", "other-package")
    modules = "|".join(re.sub(r"[-_.]+", "[-_.]", re.escape(name)) for name in packages)
    return of_module and bool(re.search(rf"\b({modules})\b", one.message, re.IGNORECASE))


def environment(found: dict[str, Check]) -> None:
    """Another torch, or what torch imports, comes from a variable: the rest follows from that."""
    cause = found.get("ENV-VARS")
    foreign = cause.data.get("foreign", []) if cause else []
    if not cause or not foreign:
        return
    wrong = [one for one in found.values() if one.status == "fail" and one is not cause]
    imported = failed_import(found)
    for one in wrong:
        of_torch = "torch" in foreign and not one.id.startswith(("SYS-", "PY-", "DRV-"))
        package = {**companion_checks.PACKAGES, "PKG-NUMPY": "numpy"}.get(one.id)
        if of_torch or one is imported or package in foreign:
            cause.status = "fail"
            follow(one, "ENV-VARS")


def libraries(found: dict[str, Check]) -> None:
    """A library or a package that is of another version: wrong numbers and crashes come of it."""
    for name, ids in EXPLAINS.items():
        cause = found.get(name)
        if not cause or cause.status not in ("warn", "fail") or cause.data.get("harmless"):
            continue
        for one in found.values():
            own = OWN_CAUSE.match(str(one.data.get("cause", "")))
            if one.status != "fail" or one is cause or not one.id.startswith(ids) or own:
                continue
            of_modules = cause.data.get("explains") == "modules"
            if of_modules and not names(one, cause.data["packages"]):
                continue  # what is written in Python alone crashes nothing
            if one is failed_import(found) and not of_modules and not mixed(one):
                continue
            cause.status = "fail"  # it was no matter of taste
            follow(one, name)


# Without these, nobody knows that it is not them.
RULED_OUT = ("ENV-VARS", "LIB-MAPS")


def suspect_hardware(checks: list[Check]) -> None:
    """Only where all else was looked at, and is well, is the hardware to be blamed."""
    found = {one.id: one for one in checks}
    driver = [
        one.id
        for one in checks
        if one.status in ("warn", "fail") and one.id.startswith(("DRV-", "CUDA-", "TORCH-BUILD"))
    ]
    doubtful = [name for name in RULED_OUT if name in found and found[name].status == "warn"]
    for one in checks:
        if one.remedy != FAULTY or one.status not in ("warn", "fail"):
            continue
        if driver and one.id not in driver:
            follow(one, driver[0])
        elif doubtful:
            one.remedy = f"First do what {doubtful[0]} says; it may be the cause."
        elif any(name not in found for name in RULED_OUT):
            one.remedy = "Type the same without `--only`, which looks for other causes first."
        elif here().is_a("guest"):  # nobody restarts another's machine
            one.remedy = (
                f"Type `{AGAIN} --recreate`; if it stays, try another machine: where all is "
            )
            one.remedy += "well there, the hardware of this one is faulty."
