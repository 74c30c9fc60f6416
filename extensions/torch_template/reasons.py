"""Why the answers do not fit together, and the nearest ones that do."""

from __future__ import annotations

from dataclasses import dataclass

from .build import Asked, Build
from .managers import MANAGERS
from .matrix.facts import (
    PYPI,
    all_series,
    has_ended,
    has_partner,
    is_usable,
    python_key,
    releases_of,
    series,
)
from .matrix.model import Matrix
from .resolving import find_build, lacks_pins, newest_usable


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
        return Unfit(f"{name} is not a compute platform that this template knows", _offered(matrix))
    known = matrix.compute_platforms[name]
    if known.blocked:
        return Unfit(f"{name} cannot be locked: {known.blocked}", (known.instead or "cpu",))
    torch = newest_usable(matrix, asked)
    if torch is not None and lacks_pins(matrix, asked, torch):
        return Unfit(
            f"{MANAGERS[asked.manager].name} would lock two versions of some nvidia packages for"
            f" torch {torch} on {name}, and the pins against it are not established",
            tuple(other for other, manager in MANAGERS.items() if not manager.wants_nvidia_pins),
        )
    return _no_wheels(matrix, asked, releases_of(matrix, name, asked.torch))


def _offered(matrix: Matrix) -> tuple[str, ...]:
    return tuple(matrix.policy.compute_platforms.listed(None))


def _has_wheels(matrix: Matrix, python: str, compute_platform: str, torch: str = "latest") -> bool:
    return any(
        is_usable(matrix, name, compute_platform, python)
        for name in releases_of(matrix, compute_platform, torch)
    )


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
    return Unfit(reason, tuple(way for way in ways if way) or ("cpu",))


def _other_python(matrix: Matrix, asked: Asked) -> str | None:
    offered = matrix.policy.python.listed(None)
    fits = [p for p in offered if _has_wheels(matrix, p, asked.compute_platform, asked.torch)]
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
    near = [n for n in [*reversed(names[:at]), *names[at + 1 :]] if n in _offered(matrix)]
    same = [n for n in near if n != PYPI and matrix.compute_platforms[n].accelerator == accelerator]
    for name in [*same, "cpu"]:
        usable = not matrix.compute_platforms[name].blocked and name != asked.compute_platform
        if usable and _has_wheels(matrix, asked.python, name, asked.torch):
            return name
    return None


def _other_series(matrix: Matrix, asked: Asked) -> str | None:
    """The nearest series with this compute platform and Python, newer before older."""
    names, name = all_series(matrix), asked.compute_platform
    fitting = {
        series(torch)
        for torch in releases_of(matrix, name)
        if is_usable(matrix, torch, name, asked.python)
    }
    at = names.index(asked.torch) if asked.torch in names else 0
    near = [*reversed(names[:at]), *names[at + 1 :]]
    return next((f"torch {other}" for other in near if other in fitting), None)


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
    last = series(partners[0])
    can_stay = _has_wheels(matrix, asked.python, asked.compute_platform, last)
    stay = (f"torch {last}",) if can_stay else ()
    return Unfit(f"{companion} ends with torch {last}", (*stay, without))
