"""What a move from one build to another takes and changes: its command, and where one can go."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from packaging.version import Version

from .build import ANSWERS_FILE, Asked, Build
from .matrix.facts import PYPI
from .matrix.model import Matrix
from .resolving import kept_build

SYSTEMS = {"linux-x86_64": "Linux", "windows-amd64": "Windows"}
NO_FLOOR = "0"
# What torch_builds.json has for each platform: a Wheels of build.py as a mapping.
Platforms = Mapping[str, Mapping[str, Any]]


def first_without(matrix: Matrix, compute_platform: str) -> str | None:
    """The first release since which the index lacks a platform; None if it has not ended."""
    found = None
    for torch in matrix.newest_first:
        if compute_platform in matrix.releases[torch].index:
            return found
        found = torch if matrix.releases[torch].index else found
    return None


def platforms_of(build: Build) -> Platforms:
    """What torch_builds.json says of a build's platforms."""
    return {platform: asdict(wheels) for platform, wheels in build.wheels.items()}


def floor(platforms: Platforms) -> str:
    """The least NVIDIA driver, on Linux or else on Windows; 0 where none is needed."""
    found = [platforms[system]["minimum_driver"] for system in SYSTEMS if system in platforms]
    return next((driver for driver in found if driver), NO_FLOOR)


def listed(names: list[str], verb: str = "") -> str:
    """`Pascal and Volta are`: names in a sentence, with the verb `be` if it is asked for."""
    text = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    return f"{text} {'are' if names[1:] else 'is'} {verb}" if verb else text


def generations(names: Mapping[str, str], platforms: Platforms) -> list[str]:
    """The GPU generations that the binaries are built for on Linux, or else on Windows."""
    for system in SYSTEMS:
        if system in platforms:
            known = platforms[system]["gpu_architectures"]
            return list(dict.fromkeys(names[sm] for sm in known if sm in names))
    return []


def successors(matrix: Matrix, old: Build, others: Iterable[Build]) -> list[Build]:
    """Where a project can move when its compute platform has ended, the best first.

    A driver that the machine need not have, or as little newer as possible, comes first; then the
    one that keeps the most companions; then the most GPU generations; then the newest.
    """
    names = matrix.gpu_generations.names
    old_floor, kept = Version(floor(platforms_of(old))), {*generations(names, platforms_of(old))}
    usable = [
        other
        for other in others
        if other.asked.compute_platform in matrix.releases[other.torch].index
        and other.main.accelerator == old.main.accelerator
        and Version(other.torch) > Version(old.torch)
        and first_without(matrix, other.asked.compute_platform) is None
    ]

    def rank(build: Build) -> tuple[Version, int, int, Version]:
        platforms = platforms_of(build)
        lost = kept - {*generations(names, platforms)}
        toolkit = Version(build.main.toolkit or "0")
        without = len(old.versions.keys() - build.versions.keys())
        return max(Version(floor(platforms)), old_floor), without, len(lost), toolkit

    # Two stable sorts: the newest first among equals.
    newest_first = sorted(usable, key=lambda build: rank(build)[3], reverse=True)
    return sorted(newest_first, key=lambda build: rank(build)[:3])


def copier_update(answers_file: str) -> str:
    """The command that updates a project, which asks what it should be unless told not to."""
    word = answers_file if re.fullmatch(r"[\w./-]+", answers_file) else f'"{answers_file}"'
    named = "" if answers_file == ANSWERS_FILE else f" --answers-file {word}"
    return f"copier update --trust{named}"


def command(old: Build, new: Build) -> str:
    """The one command that takes a project from one build to another."""
    return f"{copier_update(old.asked.answers_file)} --defaults {answers(old, new)}"


def answers(old: Build, new: Build) -> str:
    """The options that take a project from one build to another."""
    names = {
        "python_version": "python",
        "compute_platform": "compute_platform",
        "torch_version": "torch",
    }
    data = [
        f"{question}={getattr(new.asked, name)}"
        for question, name in names.items()
        if getattr(new.asked, name) != getattr(old.asked, name)
    ]
    kept = [package for package in old.asked.packages if package in new.versions]
    if len(kept) < len(old.asked.packages):
        data.append(f'"torch_packages=[{", ".join(kept)}]"')
    return " ".join(f"--data {answer}" for answer in data)


def packages_of_both(old: Platforms, new: Platforms) -> list[Mapping[str, str]]:
    """What both install on Linux, or else on Windows; nothing if they have no system in common."""
    shared = next((system for system in SYSTEMS if system in old and system in new), None)
    return [platforms[shared]["packages"] if shared else {} for platforms in (old, new)]


def version_changes(old: Platforms, new: Platforms) -> list[str]:
    """`torch 2.7.1+cu118 -> 2.14.1+cu126`, for each package that is not the same."""
    before, after = packages_of_both(old, new)
    changes = []
    for package in dict.fromkeys([*before, *after]):
        one, other = before.get(package), after.get(package)
        if other is None:
            changes.append(f"without {package}")
        elif one is None:
            changes.append(f"{package} {other} is new")
        elif one != other:
            changes.append(f"{package} {one} -> {other}")
    return changes


def system_changes(old: Platforms, new: Platforms) -> list[str]:
    """`not on linux-aarch64`: the platforms that have no wheels any more."""
    lost = [platform for platform in old if platform not in new]
    return [f"not on {listed(lost)}"] if lost else []


def driver_changes(old: Platforms, new: Platforms) -> list[str]:
    """`NVIDIA driver 525.60.13 -> 580.65.06 on Linux`, where the floor is not the same."""
    changes = []
    for system, name in SYSTEMS.items():
        if system in old and system in new:
            one, other = old[system]["minimum_driver"], new[system]["minimum_driver"]
            if one != other:
                now = f"{other} or newer" if other else "none needed"
                changes.append(f"NVIDIA driver {one or 'none needed'} -> {now} on {name}")
    return changes


def gpu_changes(
    names: Mapping[str, str], old: Platforms, new: Platforms, compute_platform: str
) -> list[str]:
    """`Volta is not in cu130`: the GPU generations gained and lost, as far as they are known."""
    before, after = generations(names, old), generations(names, new)
    if not before or not after:
        cuda = floor(new) != NO_FLOOR
        return [f"not established for which GPUs {compute_platform} is"] if before and cuda else []
    lost = [name for name in before if name not in after]
    gained = [name for name in after if name not in before]
    changes = [listed(lost, f"not in {compute_platform}")] if lost else []
    return [*changes, listed(gained, "new")] if gained else changes


def what_changes(
    names: Mapping[str, str], old: Platforms, new: Platforms, compute_platform: str
) -> str:
    """One line on how two builds differ, for the owner of a project; empty if they do not."""
    return "; ".join(
        [
            *version_changes(old, new),
            *system_changes(old, new),
            *driver_changes(old, new),
            *gpu_changes(names, old, new, compute_platform),
        ]
    )


def move(matrix: Matrix, old: Build, new: Build, lead: str = "Move on with:") -> str:
    """The command to another build, and what it changes."""
    names, name = matrix.gpu_generations.names, new.asked.compute_platform
    changes = what_changes(names, platforms_of(old), platforms_of(new), name)
    said = f"\n\n{name}: {changes}." if changes else ""
    return f"{lead}\n\n    {command(old, new)}{said}"


def nearest(matrix: Matrix, asked: Asked) -> Build | None:
    """The build that fits with the fewest other answers: the newest torch, or another platform.

    Another platform is one of the same accelerator first, then in the order of the menu.
    """
    known, offered = matrix.compute_platforms, matrix.policy.compute_platforms.listed(None)
    accelerator = known[asked.compute_platform].accelerator
    near = sorted(offered, key=lambda name: known[name].accelerator != accelerator)
    others = [replace(asked, compute_platform=name, torch="latest") for name in near]
    for one in (asked, replace(asked, torch="latest"), *others):
        if build := kept_build(matrix, one):
            return build
    return None


def switch(old: Build, others: Iterable[Build]) -> str:
    """The command to another compute platform, as an example; it asks where none is on offer.

    `others` are builds of platforms on offer. One of the same torch comes first, and of these the
    CPU's; PyPI's, which is no platform of its own, comes last.
    """

    def rank(build: Build) -> tuple[bool, bool, bool]:
        name = build.asked.compute_platform
        return build.torch != old.torch, name == PYPI, name != "cpu"

    best = min(others, key=rank, default=None)
    wanted = (
        f"--defaults --vcs-ref=:current: {answers(old, best)}" if best else "--vcs-ref=:current:"
    )
    return f"{copier_update(old.asked.answers_file)} {wanted}"
