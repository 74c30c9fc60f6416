"""Checks without torch: do the packages that are installed go together with it?"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator

from .check import Check, CheckFunction, check
from .machine import (
    NAMES,
    SWITCH,
    Machine,
    accelerators,
    installed,
    numbers,
    repair,
    version_file,
)

CHECKS: dict[str, CheckFunction] = {}
COMPANIONS = ("torchvision", "torchaudio", "torchcodec")
# Of what a wheel was built for: its name, and the line of torch/version.py that says so of torch.
KINDS = {"cu": "cuda", "rocm": "rocm", "xpu": "xpu"}
TOOLKITS = {"cu": "cuda", "rocm": "hip", "xpu": "xpu"}
# Up to this one, torchaudio's _extension/utils.py also compares CUDA's minor version; torchvision's
# extension.py the major one, whose libraries torchcodec links.
EXACT_AUDIO = [2, 11, 0]
RELEASE = re.compile(r"\d+(?:\.\d+)*")
REQUIREMENT = re.compile(r"([\w.-]+)\s*(?:\[[^]]*\])?\s*\(?([^;)]*)\)?\s*(;.*)?")
CLAUSE = re.compile(r"\s*(===?|!=|<=|>=|<|>|~=)\s*(\d+(?:\.\d+)*)(\.\*)?[^,]*")


def built_for(version: str) -> tuple[str, str]:
    """What a wheel was built for: 2.11.0+cu130 -> cu, 13.0; "" if its version does not say it."""
    local = version.partition("+")[2]
    if parts := re.fullmatch(r"cu(\d\d)(\d+)", local):
        return "cu", f"{parts[1]}.{parts[2]}"
    parts = re.fullmatch(r"(cpu|rocm|xpu)([\d.]*)", local)
    return (parts[1], parts[2]) if parts else ("", "")


def misfit(name: str, torch: dict[str, str]) -> str:
    """Why an installed companion cannot load beside this torch, by what both were built for.

    "" if it can or if that cannot be told. What was built for the CPU loads beside any torch.
    """
    version = version_file(name).get("__version__", "")
    kind, toolkit = built_for(version)
    if kind not in TOOLKITS:
        return ""
    have = torch.get(TOOLKITS[kind], "")
    exact = name == "torchaudio" and numbers(version.partition("+")[0]) <= EXACT_AUDIO
    compared = {"cu": 2 if exact else 1}.get(kind, 0)
    if have and numbers(have)[:compared] == numbers(toolkit)[:compared]:
        return ""
    other = accelerators(torch)[0]
    mine = f"{NAMES[KINDS[kind]]} {toolkit}".strip()
    whose = {"cuda": f"CUDA {torch.get('cuda')}", "cpu": "the CPU"}.get(other, NAMES[other])
    return f"{name} {version} is built for {mine}, but torch {torch['__version__']} for {whose}."


def torch_is_right(machine: Machine) -> bool:
    """Whether torch is the one that is asked for."""
    return bool(machine.torch.get("__version__") == machine.wheels.get("torch_version", ""))


def misfits(machine: Machine) -> dict[str, str]:
    """The installed companions that cannot load beside torch, and why.

    None, where torch itself is another one than is asked for, or that companion of another release:
    that is the cause then.
    """
    if not torch_is_right(machine):
        return {}
    wanted = machine.wheels["packages"]
    likely = [
        name
        for name in COMPANIONS
        if wanted.get(name, installed(name)).split("+")[0] == installed(name).split("+")[0]
    ]
    found = {name: misfit(name, machine.torch) for name in likely}
    return {name: why for name, why in found.items() if why}


def right_one(name: str, machine: Machine) -> str:
    """How to get the companion that goes with torch."""
    wanted = machine.wheels.get("packages", {}).get(name)
    if wanted and wanted != installed(name):
        return repair()
    if wanted:
        return f"Type `{SWITCH}`, and choose without {name}, or a torch that it goes with."
    source = f", from {machine.index}" if machine.index else ""
    return f"Let the template add the {name} that fits{source}: `{SWITCH}`; or remove it."


@check(CHECKS, "PKG-VISION")
def check_companions(machine: Machine) -> Check | None:
    """Are torchvision, torchaudio and torchcodec those that go with the project's torch?"""
    wanted = dict(machine.wheels.get("packages", {}))
    torch = wanted.pop("torch", "")
    misfit_ones = misfits(machine)  # as PKG-CUDA says
    others = [name for name in wanted if name not in misfit_ones]
    if not others or not machine.torch:
        return None
    wrong = [name for name in others if installed(name) != wanted[name]]
    if not wrong:
        return Check("pass", ", ".join(f"{name} {wanted[name]}" for name in others))
    name, data = wrong[0], {"packages": wrong}
    problem = f"torch {torch} goes with {name} {wanted[name]}, but {installed(name)} is installed."
    return Check("fail", problem, repair(), data)


@check(CHECKS, "PKG-CUDA")
def check_toolkits(machine: Machine) -> Check | None:
    """Were torch's companions built for the CUDA, ROCm or XPU that torch was built for?"""
    if wrong := misfits(machine):
        name = next(iter(wrong))
        return Check("fail", wrong[name], right_one(name, machine), {"packages": list(wrong)})
    if not torch_is_right(machine):
        return None
    versions = {name: version_file(name).get("__version__", "") for name in COMPANIONS}
    told = [name for name, one in versions.items() if built_for(one)[0] in TOOLKITS]
    alike = [f"{name} {versions[name]}" for name in told if not misfit(name, machine.torch)]
    return Check("pass", f"built as torch is: {', '.join(alike)}") if alike else None


# --- What packages require of each other, by their metadata


def satisfied(version: str, clauses: str) -> bool:
    """Whether a version is in a range such as >=2.11,<3; what is not understood is met."""
    release = RELEASE.match(version)
    parts = [found for one in clauses.split(",") if (found := CLAUSE.match(one))]
    have = numbers(release[0]) if release else []
    return not have or all(meets(have, one[1], one[2], bool(one[3])) for one in parts)


def meets(have: list[int], operator: str, text: str, prefix: bool) -> bool:
    """Whether a release is as one clause of a requirement has it."""
    want = numbers(text)
    length = max(len(have), len(want))
    same = have[: len(want)] + [0] * (len(want) - len(have)) == want
    have, padded = (one + [0] * (length - len(one)) for one in (have, want))
    answers = {
        "==": same if prefix else have == padded,
        "===": have == padded,
        "!=": not same if prefix else have != padded,
        "<=": have <= padded,
        ">=": have >= padded,
        "<": have < padded,
        ">": have > padded,
        "~=": have >= padded and have[: len(want) - 1] == want[:-1],
    }
    return answers[operator]


def packages() -> dict[str, tuple[str, str]]:
    """The installed packages: of each its version and its metadata, but for the description."""
    found: dict[str, tuple[str, str]] = {}
    for distribution in importlib.metadata.distributions():
        # As text, since to parse all of it takes ten times as long.
        metadata = (distribution.read_text("METADATA") or "").partition("\n\n")[0]
        fields = dict(re.findall(r"^(Name|Version): *(\S+)", metadata, re.MULTILINE))
        if len(fields) == 2:  # the first of a name is the one that is imported
            found.setdefault(canonical(fields["Name"]), (fields["Version"], metadata))
    return found


def requirements(metadata: str) -> Iterator[tuple[str, str, str]]:
    """The requirements of a package: a name, a range and a marker each."""
    for text in re.findall(r"^Requires-Dist: *(.*)", metadata, re.MULTILINE):
        if parts := REQUIREMENT.match(text):
            yield canonical(parts[1]), parts[2].strip(), parts[3] or ""


def canonical(name: str) -> str:
    """A package's name as it is compared: NVIDIA_NCCL.cu13 -> nvidia-nccl-cu13."""
    return re.sub(r"[-_.]+", "-", name).lower()


@check(CHECKS, "PKG-REQUIRES")
def check_requirements(machine: Machine) -> Check | None:
    """Does torch have the libraries it requires, and does each package that requires a torch?"""
    wanted, found, have = machine.wheels.get("packages", {}), [], installed("torch")
    if not torch_is_right(machine) or have != wanted["torch"]:
        return None  # as TORCH-BUILD says
    every = packages()
    named = {*misfits(machine), *(name for name in wanted if installed(name) != wanted[name])}
    for name, (_, metadata) in every.items():
        for other, clauses, marker in requirements(metadata) if name not in named else ():
            # A marker is not worked out: it is about other systems, or an extra.
            if other == "torch" and not marker and not satisfied(have, clauses):
                found.append((name, f"torch{clauses}"))
    if found:
        name, needs = found[0]
        problem = f"{name} {every[name][0]} needs {needs}, but torch {have} is installed."
        fatal = any(one in COMPANIONS for one, _ in found)
        remedy = f"Take a {name} that is for torch {machine.torch['__version__']}, or remove it."
        remedy = right_one(name, machine) if name in COMPANIONS else remedy
        data = {"packages": [one for one, _ in found]}
        return Check("fail" if fatal else "warn", problem, remedy, data)
    return check_libraries(every)


def check_libraries(every: dict[str, tuple[str, str]]) -> Check | None:
    """Are NVIDIA's packages of the versions that torch's metadata, or CUDA's, asks for?"""
    for source in ("torch", "cuda-toolkit"):
        ranges: dict[str, list[str]] = {}
        for name, clauses, _ in requirements(every.get(source, ("", ""))[1]):
            if name.startswith(("nvidia-", "triton")) and name in every and clauses:
                ranges.setdefault(name, []).append(clauses)
        for name, several in ranges.items():
            have = every[name][0]
            if not any(satisfied(have, clauses) for clauses in several):  # one for each system
                problem = f"{source} {every[source][0]} needs {name}{several[0]}, but {have} "
                return Check("warn", f"{problem}is installed.", repair(), {"packages": [name]})
    return None
