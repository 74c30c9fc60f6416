"""Why the answers do not fit together, and the nearest ones that do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .build import Asked, Build
from .managers import MANAGERS
from .matrix.companions import fits_on_pypi, partner
from .matrix.facts import (
    PYPI,
    all_series,
    has_ended,
    python_key,
    releases_of,
    series,
)
from .matrix.model import Matrix
from .resolving import find_build, fitting_release, lacks_pins, newest_usable

SYSTEMS = {"L": "Linux", "W": "Windows", "M": "macOS"}


@dataclass(frozen=True)
class Unfit:
    """Why a combination cannot work, and the nearest ones that do."""

    reason: str
    ways_out: tuple[str, ...]

    def __str__(self) -> str:
        verb = "" if self.ways_out[0].startswith("leave ") else "choose "
        return f"{self.reason}: {verb}{', or '.join(self.ways_out)}"


def resolve(matrix: Matrix, asked: Asked) -> Build | Unfit:
    """The newest build that fits, or why there is none."""
    return find_build(matrix, asked) or why_no_build(matrix, asked)


def why_no_build(matrix: Matrix, asked: Asked) -> Unfit:
    """Why answers that lead to no build do not."""
    name = asked.compute_platform
    if name not in matrix.compute_platforms:
        offered = tuple(matrix.policy.compute_platforms.listed(None))
        return Unfit(f"{name} is not a compute platform that this template knows", offered)
    known = matrix.compute_platforms[name]
    if known.blocked:
        instead = known.instead if known.instead in _fitting_platforms(matrix, asked) else None
        return _unfit(matrix, asked, f"{name} cannot be locked: {known.blocked}", instead)
    torch = newest_usable(matrix, asked)
    if torch is not None and lacks_pins(matrix, asked, torch):
        return Unfit(
            f"{MANAGERS[asked.manager].name} would lock two versions of some nvidia packages for"
            f" torch {torch} on {name}, and the pins against it are not established",
            tuple(other for other, manager in MANAGERS.items() if not manager.wants_nvidia_pins),
        )
    return _no_wheels(matrix, asked, releases_of(matrix, name, asked.torch))


def _fitting_platforms(matrix: Matrix, asked: Asked) -> list[str]:
    """The compute platforms on offer that fit the other answers."""
    return [
        name
        for name in matrix.policy.compute_platforms.listed(None)
        if fitting_release(matrix, replace(asked, compute_platform=name))
    ]


def _unfit(matrix: Matrix, asked: Asked, reason: str, *ways: str | None) -> Unfit:
    """With the ways out that there are; if there is none, the first thing that fits at all."""
    found = [way for way in ways if way]
    if not found:
        latest = replace(asked, torch="latest")
        found = _fitting_platforms(matrix, asked)[:1]
        found = found or ["torch latest"] * bool(fitting_release(matrix, latest))
        found = found or ["another Python"]
    return Unfit(reason, tuple(found))


def _no_wheels(matrix: Matrix, asked: Asked, releases: list[str]) -> Unfit:
    name, python = asked.compute_platform, asked.python

    def fits(other: Asked) -> bool:
        return fitting_release(matrix, other) is not None

    if not releases:
        ways = (_near_series(matrix, asked, fits), _near_platform(matrix, asked, fits))
        reason = f"torch {asked.torch} has no {name} build"
    elif asked.torch == "latest":
        ended = f"{name} ends at torch {releases[0]}, which"
        what = ended if has_ended(matrix, name) else f"torch {releases[0]} on {name}"
        reason = f"{what} has no Python {python} wheels"
        ways = (_near_python(matrix, asked, fits), _near_platform(matrix, asked, fits))
    else:
        reason = f"torch {releases[0]} on {name} has no Python {python} wheels"
        ways = (_near_series(matrix, asked, fits), _near_python(matrix, asked, fits))
    return _unfit(matrix, asked, reason, *ways)


def _near_python(matrix: Matrix, asked: Asked, fits: Callable[[Asked], bool]) -> str | None:
    """The nearest Pythons that fit: the newest older one, or the oldest newer one."""
    offered = sorted(matrix.policy.python.listed(None), key=python_key)
    fitting = [minor for minor in offered if fits(replace(asked, python=minor))]
    older = [minor for minor in fitting if python_key(minor) < python_key(asked.python)]
    if older:
        all_fit = older == offered[: offered.index(older[-1]) + 1]
        return f"Python {older[-1]}{' or older' if all_fit else ''}"
    if fitting:
        all_fit = fitting == offered[offered.index(fitting[0]) :]
        return f"Python {fitting[0]}{' or newer' if all_fit else ''}"
    return None


def _near_platform(matrix: Matrix, asked: Asked, fits: Callable[[Asked], bool]) -> str | None:
    """The nearest one of the same kind of accelerator, newer before older; else cpu."""
    names = list(matrix.compute_platforms)
    at = names.index(asked.compute_platform)
    accelerator = matrix.compute_platforms[asked.compute_platform].accelerator
    near = [*reversed(names[:at]), *names[at + 1 :]]
    same = [n for n in near if n != PYPI and matrix.compute_platforms[n].accelerator == accelerator]
    offered = matrix.policy.compute_platforms.listed(None)
    fitting = (name for name in [*same, "cpu"] if name in offered)
    return next((n for n in fitting if fits(replace(asked, compute_platform=n))), None)


def _near_series(matrix: Matrix, asked: Asked, fits: Callable[[Asked], bool]) -> str | None:
    """The nearest series with this compute platform and Python, newer before older."""
    names = all_series(matrix)
    at = names.index(asked.torch) if asked.torch in names else 0
    near = [*reversed(names[:at]), *names[at + 1 :]]
    fitting = (other for other in near if fits(replace(asked, torch=other)))
    return next((f"torch {other}" for other in fitting), None)


def why_no_extra(
    matrix: Matrix, asked: Asked, extras: Sequence[str], kept: Sequence[str] | None = None
) -> Unfit | None:
    """Why a project cannot have these compute platforms beside its own; None if it can.

    `kept`: those that it has already, None for a new project. Of an old one, no release moves for
    one more of them.
    """
    shared = _with_extras(matrix, asked, extras)
    if shared and (kept is None or {*extras} <= {*kept}):
        return None
    had = _with_extras(matrix, asked, kept or ())
    if had is None or shared == had:
        return None
    lacking = [name for name in extras if _with_extras(matrix, asked, (name,)) != had] or [*extras]
    leave, own = f"leave {lacking[0]} out", asked.compute_platform
    if shared and kept is not None:
        reason = (
            f"there is no torch {had} for {lacking[0]}, and for it {own} would move to {shared}"
        )
        return Unfit(reason, (f"torch {series(shared)}", leave))

    def fits(other: Asked) -> bool:
        return _with_extras(matrix, other, extras) is not None

    near = None if asked.torch == "latest" else _near_series(matrix, asked, fits)
    ways = (near, _near_python(matrix, asked, fits), leave)
    no_torch = "no torch" if asked.torch == "latest" else f"no torch {asked.torch}"
    wheels = " and ".join([f"Python {asked.python} wheels", *asked.packages])
    reason = f"{no_torch} for both {own} and {lacking[0]} has {wheels}"
    if _with_extras(matrix, asked, lacking[:1]):
        others = ", ".join(name for name in extras if name != own)
        reason = f"{no_torch} for all of {own}, {others} has {wheels}"
    return Unfit(reason, tuple(filter(None, ways)))


def _with_extras(matrix: Matrix, asked: Asked, extras: Sequence[str]) -> str | None:
    """The release that a project gets if it has these extra compute platforms."""
    wanted = replace(asked, extras=tuple(extras))
    kept = fitting_release(matrix, wanted, asked.packages)
    return kept or fitting_release(matrix, wanted)


def why_no_companion(matrix: Matrix, asked: Asked, companion: str) -> Unfit | None:
    """Why a companion cannot be had beside the build; None if it can."""
    build = resolve(matrix, asked)
    if isinstance(build, Unfit):
        return None
    torch, name, python = build.torch, asked.compute_platform, asked.python
    if partner(matrix, torch, companion, name, python):
        return None

    def fits(other: Asked) -> bool:
        found = fitting_release(matrix, other)
        return found is not None and bool(
            partner(matrix, found, companion, other.compute_platform, other.python)
        )

    leave = f"leave {companion} out"
    known = matrix.partners[torch].get(companion, [])
    ways: tuple[str | None, ...]
    if not known:
        if not matrix.companions.get(companion):
            return Unfit(f"{companion} is not on offer any more", (leave,))
        ways = (_near_series(matrix, asked, fits),)
        return Unfit(f"no {companion} is known for torch {torch}", (*filter(None, ways), leave))
    of_pythons = (
        partner(matrix, torch, companion, name, minor)
        for minor in sorted(matrix.policy.python.listed(None), key=python_key, reverse=True)
    )
    if other := next(filter(None, of_pythons), None):
        ways = (_near_python(matrix, asked, fits),)
        reason = f"{companion} {other.version} has no Python {python} wheels"
    else:
        ways = (_near_series(matrix, asked, fits), _near_platform(matrix, asked, fits))
        reason = _no_companion_wheels(matrix, build, companion, known[0])
    return Unfit(reason, (*filter(None, ways), leave))


def _no_companion_wheels(matrix: Matrix, build: Build, companion: str, version: str) -> str:
    """What a companion lacks for a build, though it works with its torch and its Python."""
    name, row = build.asked.compute_platform, matrix.companions[companion][version]
    if name != PYPI:
        return f"no {companion} {version} is known for {name}"
    ours = matrix.releases[build.torch].pypi.on()
    theirs = row.pypi.on() if row.pypi else ours
    for platform, system in SYSTEMS.items():
        if platform in ours and not fits_on_pypi(matrix, build.torch, row, platform):
            if platform not in theirs:
                return f"PyPI has no {companion} {version} for {system}"
            made_for = [matrix.compute_platforms[one[platform]].name for one in (theirs, ours)]
            return (
                f"PyPI's {companion} {version} is built for {made_for[0]} on {system}, its torch"
                f" {build.torch} for {made_for[1]}"
            )
    return f"PyPI has no {companion} {version} for Python {build.asked.python} on every system"
