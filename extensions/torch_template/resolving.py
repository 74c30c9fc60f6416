"""From answers to the build: the newest release that has the wheels that were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .build import Asked, Build, Wheels
from .managers import MANAGERS
from .matrix.companions import Partner, partner
from .matrix.facts import (
    COMPANIONS,
    PLATFORMS,
    PYPI,
    all_series,
    driver_of,
    glibc_of,
    is_unsuffixed,
    is_usable,
    nvidia_pins,
    releases_of,
    series,
    toolkit_name,
    wheel_platforms,
)
from .matrix.model import Matrix


def newest_usable(matrix: Matrix, asked: Asked, partners: Sequence[str] = ()) -> str | None:
    """The newest release that has the platform, wheels for the Python, and these companions.

    The extra platforms must have it, too, with all that the project has beside torch.
    """
    for torch in releases_of(matrix, asked.compute_platform, asked.torch):
        if (
            is_usable(matrix, torch, asked.compute_platform, asked.python)
            and all(
                partner(matrix, torch, companion, asked.compute_platform, asked.python)
                for companion in partners
            )
            and all(has_extra(matrix, asked, torch, name) for name in asked.extras)
        ):
            return torch
    return None


def has_extra(matrix: Matrix, asked: Asked, torch: str, name: str) -> bool:
    """Whether another compute platform has a release, with the companions in the same versions."""
    own, python = asked.compute_platform, asked.python
    if name == own:
        return True
    known = matrix.compute_platforms.get(name)
    if not known or known.blocked or torch not in releases_of(matrix, name):
        return False
    if not is_usable(matrix, torch, name, python):
        return False
    for companion in asked.packages:
        mine = partner(matrix, torch, companion, own, python)
        same = partner(matrix, torch, companion, name, python, mine.version) if mine else None
        if mine and (not same or same.version != mine.version):
            return False
    return True


def lacks_pins(matrix: Matrix, asked: Asked, torch: str) -> bool:
    """Whether the manager needs pins of nvidia packages that are not established."""
    wanted = MANAGERS[asked.manager].wants_nvidia_pins
    return wanted and nvidia_pins(matrix, torch, asked.compute_platform) is None


def fitting_release(matrix: Matrix, asked: Asked, partners: Sequence[str] = ()) -> str | None:
    """The torch that the answers lead to; None if they do not fit together."""
    known = matrix.compute_platforms.get(asked.compute_platform)
    usable = known and not known.blocked
    torch = newest_usable(matrix, asked, partners) if usable else None
    return None if torch is None or lacks_pins(matrix, asked, torch) else torch


def find_build(matrix: Matrix, asked: Asked) -> Build | None:
    """The newest build that fits; None if there is none, and reasons.py says why.

    A companion without a partner is left out: it never holds torch back.
    """
    torch = fitting_release(matrix, asked)
    return _build(matrix, asked, torch) if torch else None


def kept_build(matrix: Matrix, asked: Asked) -> Build | None:
    """The build of a project that has these answers already: it keeps each companion.

    So its torch stays at the newest release for which they are all there. A new project is refused
    what the newest torch does not have, so its build is the one of `find_build`.
    """
    torch = fitting_release(matrix, asked, asked.packages)
    return _build(matrix, asked, torch) if torch else find_build(matrix, asked)


def alternatives(matrix: Matrix, asked: Asked) -> list[Build]:
    """The builds of the other platforms on offer, of the same torch series where there is one."""
    names = [n for n in matrix.policy.compute_platforms.listed(None) if n != asked.compute_platform]
    others = [replace(asked, compute_platform=name) for name in names]
    found = [
        kept_build(matrix, one) or kept_build(matrix, replace(one, torch="latest"))
        for one in others
    ]
    return [build for build in found if build]


def same_release(matrix: Matrix, build: Build, names: Sequence[str] | None = None) -> list[Build]:
    """The other compute platforms' builds of the same release: what one machine can have instead.

    With the wheels that pip can take, since that is how they are installed there; with all of the
    project's companions, and where it can be in the same versions. `names`: which ones; without
    them, all that the policy lets a machine have, and the project's extra ones.
    """
    if names is None:
        names = (*matrix.policy.on_machines, *build.asked.extras)
    asked = replace(build.asked, manager="pip")
    others = (
        _build(matrix, replace(asked, compute_platform=name), build.torch, build.versions)
        for name in dict.fromkeys(names)
        if name != asked.compute_platform
        and not matrix.compute_platforms[name].blocked
        and build.torch in releases_of(matrix, name)
        and is_usable(matrix, build.torch, name, asked.python)
    )
    return [other for other in others if other.versions.keys() == build.versions.keys()]


def older_glibc(matrix: Matrix, build: Build) -> dict[str, str]:
    """By platform, the newest series that does with an older glibc than the build's does."""
    found: dict[str, str] = {}
    for name in all_series(matrix):
        other = kept_build(matrix, replace(build.asked, torch=name))
        wheels = other.wheels if other and other.versions.keys() == build.versions.keys() else {}
        for platform in wheels:
            row = build.wheels.get(platform)
            if row and row.glibc and not wheels[platform].glibc:
                found.setdefault(platform, name)
    return found


def same_pythons(matrix: Matrix, build: Build) -> list[str]:
    """The Python minors on offer for which a project would get the release that it has."""
    found = {
        minor: kept_build(matrix, replace(build.asked, python=minor))
        for minor in matrix.policy.python.listed(None)
    }
    return [
        minor
        for minor, other in found.items()
        if other and (other.torch, other.versions) == (build.torch, build.versions)
    ]


def _build(
    matrix: Matrix, asked: Asked, torch: str, rather: Mapping[str, str] | None = None
) -> Build:
    name, python, versions = asked.compute_platform, asked.python, rather or {}
    partners = {
        companion: found
        for companion in COMPANIONS
        if companion in asked.packages
        and (found := partner(matrix, torch, companion, name, python, versions.get(companion)))
    }
    platforms = [
        platform
        for platform in wheel_platforms(matrix, torch, name, asked.python)
        if all(platform in one.platforms for one in partners.values())
        and not _ambiguous(matrix, asked, torch, platform, partners)
    ]
    numpy_1 = any(row.torch == torch and {*row.platforms} & {*platforms} for row in matrix.numpy_1)
    wants_pins = MANAGERS[asked.manager].wants_nvidia_pins
    pins = nvidia_pins(matrix, torch, name) if wants_pins else {}
    return Build(
        asked=asked,
        name=matrix.compute_platforms[name].name,
        torch=torch,
        versions={"torch": torch, **_versions(partners)},
        wheels={PLATFORMS[p]: _wheels(matrix, torch, name, p, partners) for p in platforms},
        index_only={
            row.package: [PLATFORMS[p] for p in row.platforms]
            for row in matrix.index_only
            if row.accelerator == matrix.compute_platforms[name].accelerator
            and row.holds(torch, row.platforms[0])
        },
        nvidia_pins=pins or {},
        numpy="numpy<2" if numpy_1 else "numpy",
        python_excluded=tuple(
            version
            for found in partners.values()
            for version in found.python_excluded
            if series(version) == asked.python
        ),
        windows_path=_windows_path(matrix, torch) if "W" in platforms else None,
    )


def _versions(partners: Mapping[str, Partner]) -> dict[str, str]:
    return {companion: found.version for companion, found in partners.items()}


def _windows_path(matrix: Matrix, torch: str) -> dict[str, int | bool]:
    """The letters that torch's files need behind site-packages, the most known if not measured."""
    letters = {row.torch: row.letters for row in matrix.windows_paths}
    return {
        "letters": letters.get(torch, max(letters.values())),
        "measured": torch in letters,
    }


def _ambiguous(
    matrix: Matrix, asked: Asked, torch: str, platform: str, partners: Mapping[str, Partner]
) -> bool:
    """Whether the manager cannot keep a platform's wheels apart from PyPI's of equal name."""
    if platform != "A" or asked.compute_platform == PYPI:
        return False
    kept_apart = MANAGERS[asked.manager].unsuffixed_wheels
    if kept_apart == "any" or (kept_apart == "cpu" and asked.compute_platform == "cpu"):
        return False
    return any(is_unsuffixed(matrix, package, torch, platform) for package in ("torch", *partners))


def _wheels(
    matrix: Matrix,
    torch: str,
    compute_platform: str,
    platform: str,
    partners: Mapping[str, Partner],
) -> Wheels:
    from_index = compute_platform != PYPI and platform != "M"
    build = compute_platform if from_index else matrix.releases[torch].pypi.on()[platform]
    runtime = "" if is_unsuffixed(matrix, "torch", torch, platform) else f"+{build}"
    packages = {
        package: version
        if not from_index or is_unsuffixed(matrix, package, torch, platform)
        else f"{version}+{build}"
        for package, version in {"torch": torch, **_versions(partners)}.items()
    }
    known = matrix.compute_platforms[build]
    rows = matrix.gpu_architectures.get(build, [])
    architectures = next((row for row in rows if row.holds(torch, platform)), None)
    driver = driver_of(matrix, build)
    return Wheels(
        accelerator="mps" if platform == "M" else known.accelerator,
        toolkit=toolkit_name(build) if known.accelerator in ("cuda", "rocm") else None,
        packages=packages,
        torch_version=torch + runtime,
        minimum_driver=(driver.windows if platform == "W" else driver.linux) if driver else None,
        gpu_architectures=list(architectures.sm) if architectures else [],
        ptx=architectures.ptx if architectures else None,
        glibc=glibc_of(matrix, torch, build, platform),
    )
