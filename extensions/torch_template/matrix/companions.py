"""Questions to the matrix about what goes beside torch: which release of it, and for what."""

from __future__ import annotations

from dataclasses import dataclass

from .facts import PYPI, wheel_platforms
from .model import Companion, Matrix, cuda_major


@dataclass(frozen=True)
class Partner:
    """A release of a companion beside a build of torch, and the platforms (letters) it is for."""

    version: str
    platforms: frozenset[str]
    python_excluded: tuple[str, ...]


def partner(
    matrix: Matrix,
    torch: str,
    companion: str,
    compute_platform: str,
    python: str,
    rather: str | None = None,
) -> Partner | None:
    """The newest release of a companion that a build can have; None if there is none.

    It has wheels wherever torch has, but for Linux on aarch64, which the build then leaves out.
    `rather`: the release to take where the build can have it.
    """
    needed = {*wheel_platforms(matrix, torch, compute_platform, python)} - {"A"}
    newest = matrix.partners[torch].get(companion, []) if needed else []
    for version in [rather, *newest] if rather in newest else newest:
        row = matrix.companions[companion][version]
        found = platforms_of(matrix, torch, row, compute_platform, python)
        if needed <= found:
            return Partner(version, found, tuple(row.python_excluded))
    return None


def platforms_of(
    matrix: Matrix, torch: str, row: Companion, compute_platform: str, python: str
) -> frozenset[str]:
    """The platforms (letters) of a build of torch that a release of a companion has wheels for.

    They lie where torch's do. One from PyPI is built for the CUDA that PyPI's torch is built for,
    as is one from a folder of the index: others do not load.
    """
    release = matrix.releases[torch]
    return frozenset(
        platform
        for platform in wheel_platforms(matrix, torch, compute_platform, python)
        if python in row.pythons(release, platform)
        and (
            fits_on_pypi(matrix, torch, row, platform)
            if compute_platform == PYPI or platform == "M"
            else row.index is None or platform in row.index.get(compute_platform, ())
        )
    )


def fits_on_pypi(matrix: Matrix, torch: str, row: Companion, platform: str) -> bool:
    """Whether PyPI has a companion's wheel for a platform that loads beside its own torch."""
    ours = matrix.releases[torch].pypi.on().get(platform)
    theirs = row.pypi.on().get(platform) if row.pypi else ours
    if ours is None or theirs is None:
        return False
    cuda = ours.startswith("cu") and theirs.startswith("cu")
    return ours == theirs or (cuda and row.any_minor and cuda_major(ours) == cuda_major(theirs))
