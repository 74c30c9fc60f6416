"""Questions to the matrix about what goes beside torch: which release of it, and from where."""

from __future__ import annotations

from dataclasses import dataclass

from .facts import PYPI, wheel_platforms
from .model import Companion, Matrix

ANY = "any"  # PyPI's wheel has no code for an accelerator, and goes with every build of torch


@dataclass(frozen=True)
class Partner:
    """A release of a companion beside a build of torch: where its wheels are, and for what.

    `platforms` are letters. macOS gets PyPI's wheel also where the others come from the index.
    """

    version: str
    from_index: bool
    platforms: frozenset[str]
    python_excluded: tuple[str, ...]


def partner(
    matrix: Matrix, torch: str, companion: str, compute_platform: str, python: str
) -> Partner | None:
    """The newest release of a companion that a build can have; None if there is none.

    It has wheels wherever torch has, but for Linux on aarch64, which the build then leaves out.
    """
    needed = {*wheel_platforms(matrix, torch, compute_platform, python)} - {"A"}
    for version in matrix.partners[torch].get(companion, ()):
        row = matrix.companions[companion][version]
        for from_index in (True, False):
            found = _platforms(matrix, torch, row, compute_platform, python, from_index)
            if needed <= found:
                return Partner(version, from_index, found, tuple(row.python_excluded))
    return None


def _platforms(
    matrix: Matrix,
    torch: str,
    row: Companion,
    compute_platform: str,
    python: str,
    from_index: bool,
) -> frozenset[str]:
    """The platforms of a build that a companion has wheels for, on its index or on PyPI.

    A wheel is one for torch's own CUDA, or has no code for any: others do not load.
    """
    release = matrix.releases[torch]
    torchs = release.pypi.on()
    wheels = row.pypi.on() if row.pypi else torchs
    found = set()
    for platform in wheel_platforms(matrix, torch, compute_platform, python):
        if python not in row.pythons(release, platform):
            continue
        if from_index and compute_platform != PYPI and platform != "M":
            there = row.index is None or platform in row.index.get(compute_platform, ())
        else:
            same = compute_platform == PYPI or platform == "M"
            there = wheels.get(platform) in ({ANY, torchs.get(platform)} if same else {ANY})
        if there:
            found.add(platform)
    return frozenset(found)
