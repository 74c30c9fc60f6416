"""Why the answers do not fit together, and the nearest ones that do."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .build import Asked, Build
from .managers import MANAGERS
from .matrix.facts import (
    PYPI,
    all_series,
    has_ended,
    has_partner,
    python_key,
    releases_of,
    series,
)
from .matrix.model import Matrix
from .resolving import find_build, fitting_release, lacks_pins, newest_usable


@dataclass(frozen=True)
class Unfit:
    """Why a combination cannot work, and the nearest ones that do."""

    reason: str
    ways_out: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.reason}: choose {', or '.join(self.ways_out)}"


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
    if not releases:
        ways = (_other_series(matrix, asked), _other_compute_platform(matrix, asked))
        reason = f"torch {asked.torch} has no {name} build"
    elif asked.torch == "latest":
        ended = f"{name} ends at torch {releases[0]}, which"
        what = ended if has_ended(matrix, name) else f"torch {releases[0]} on {name}"
        reason = f"{what} has no Python {python} wheels"
        ways = (_other_python(matrix, asked), _other_compute_platform(matrix, asked))
    else:
        reason = f"torch {releases[0]} on {name} has no Python {python} wheels"
        ways = (_other_series(matrix, asked), _other_python(matrix, asked))
    return _unfit(matrix, asked, reason, *ways)


def _other_python(matrix: Matrix, asked: Asked) -> str | None:
    offered = matrix.policy.python.listed(None)
    fits = [minor for minor in offered if fitting_release(matrix, replace(asked, python=minor))]
    if not fits:
        return None
    older = max(fits, key=python_key)
    if python_key(older) < python_key(asked.python):
        return f"Python {older} or older"
    return f"Python {min(fits, key=python_key)} or newer"


def _other_compute_platform(matrix: Matrix, asked: Asked) -> str | None:
    """The nearest one of the same kind of accelerator, newer before older; else cpu."""
    names = list(matrix.compute_platforms)
    at = names.index(asked.compute_platform)
    accelerator = matrix.compute_platforms[asked.compute_platform].accelerator
    near = [*reversed(names[:at]), *names[at + 1 :]]
    same = [n for n in near if n != PYPI and matrix.compute_platforms[n].accelerator == accelerator]
    fitting = _fitting_platforms(matrix, asked)
    return next((name for name in [*same, "cpu"] if name in fitting), None)


def _other_series(matrix: Matrix, asked: Asked) -> str | None:
    """The nearest series with this compute platform and Python, newer before older."""
    names = all_series(matrix)
    at = names.index(asked.torch) if asked.torch in names else 0
    near = [*reversed(names[:at]), *names[at + 1 :]]
    fitting = (other for other in near if fitting_release(matrix, replace(asked, torch=other)))
    return next((f"torch {other}" for other in fitting), None)


def why_no_companion(matrix: Matrix, asked: Asked, companion: str) -> Unfit | None:
    """Why torchvision or torchaudio cannot be had beside the build; None if it can."""
    build = resolve(matrix, asked)
    if isinstance(build, Unfit) or has_partner(matrix, build.torch, companion, asked.python):
        return None
    without = f"leave {companion} out"
    release = matrix.releases[build.torch]
    if (version := getattr(release, companion)) != "none":
        older = f"Python {max(release.python, key=python_key)} or older"
        return Unfit(f"{companion} {version} has no Python {asked.python} wheels", (older, without))
    partners = [n for n in matrix.newest_first if getattr(matrix.releases[n], companion) != "none"]
    if not partners:
        return Unfit(f"{companion} is not on offer any more", (without,))
    last = series(partners[0])
    stay = (f"torch {last}",) if fitting_release(matrix, replace(asked, torch=last)) else ()
    return Unfit(f"{companion} ends with torch {last}", (*stay, without))
