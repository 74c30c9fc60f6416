"""Questions to the matrix about single facts: which releases, wheels and toolkits there are."""

from __future__ import annotations

from functools import lru_cache

from packaging.version import Version

from .model import Driver, Matrix, Release, cuda_major

PLATFORMS = {
    "L": "linux-x86_64",
    "A": "linux-aarch64",
    "W": "windows-amd64",
    "M": "macos-arm64",
}
COMPANIONS = ("torchvision", "torchaudio", "torchcodec")
PYPI = "pypi"

_key = lru_cache(maxsize=None)(Version)


def series(torch: str) -> str:
    """`2.14.1` -> `2.14`."""
    return torch.rpartition(".")[0]


def all_series(matrix: Matrix) -> list[str]:
    """Every series of torch, newest first."""
    return list(dict.fromkeys(series(name) for name in matrix.newest_first))


def python_key(minor: str) -> int:
    """Sort key of a Python minor: `3.9` comes before `3.10`."""
    return int(minor.removeprefix("3."))


def pythons(release: Release, compute_platform: str, accelerator: str, platform: str) -> set[str]:
    """The Python minors that a build of torch has wheels for, on one platform (a letter)."""
    more = {
        minor
        for row in release.more_python
        for minor in row.python
        if platform in row.platforms and {compute_platform, accelerator}.isdisjoint(row.not_for)
    }
    return {*release.python, *more}


def on_pypi(matrix: Matrix, release: Release) -> tuple[str, ...]:
    """The platforms of PyPI's own wheels; none if they are for a CUDA whose driver is not known."""
    builds = release.pypi.on()
    majors = {
        cuda_major(build)
        for build in builds.values()
        if matrix.compute_platforms[build].accelerator == "cuda"
    }
    return tuple(builds) if majors <= {*matrix.drivers} else ()


def wheel_platforms(matrix: Matrix, torch: str, compute_platform: str, python: str) -> list[str]:
    """The platforms (letters) that have torch wheels. macOS counts through PyPI's own wheel."""
    release = matrix.releases[torch]
    row = release.index.get(compute_platform)
    on = on_pypi(matrix, release) if compute_platform == PYPI else row.platforms if row else ()
    accelerator = matrix.compute_platforms[compute_platform].accelerator
    found = [
        p for p in on if p != "M" and python in pythons(release, compute_platform, accelerator, p)
    ]
    if found and release.pypi.M and python in pythons(release, PYPI, "cpu", "M"):
        found.append("M")
    return found


def is_usable(matrix: Matrix, torch: str, compute_platform: str, python: str) -> bool:
    """Whether a release has wheels on Linux x86_64 or Windows, without which it is no build."""
    return bool({"L", "W"} & set(wheel_platforms(matrix, torch, compute_platform, python)))


def glibc_of(matrix: Matrix, torch: str, compute_platform: str, platform: str) -> str | None:
    """The oldest glibc for which there is this wheel of torch; None if that is no question."""
    return next(
        (
            row.needs
            for row in matrix.glibc
            if row.holds(torch, platform) and row.compute_platform in (None, compute_platform)
        ),
        None,
    )


def is_unsuffixed(matrix: Matrix, package: str, torch: str, platform: str) -> bool:
    """Whether the PyTorch index has this wheel without `+<compute platform>`."""
    rows = (row for row in matrix.unsuffixed if row.package == package)
    return platform == "M" or any(row.holds(torch, platform) for row in rows)


def releases_of(matrix: Matrix, compute_platform: str, torch: str = "latest") -> list[str]:
    """The releases that have this compute platform, newest first; of one series, or all."""
    return [
        name
        for name in matrix.newest_first
        if torch in ("latest", series(name))
        and (
            compute_platform in matrix.releases[name].index
            or (compute_platform == PYPI and on_pypi(matrix, matrix.releases[name]))
        )
    ]


def has_ended(matrix: Matrix, compute_platform: str) -> bool:
    """Whether PyTorch makes no new releases for a compute platform."""
    newest = next((n for n in matrix.newest_first if matrix.releases[n].index), None)
    if newest is None or compute_platform == PYPI:
        return False
    return compute_platform not in matrix.releases[newest].index


def toolkit_of(matrix: Matrix, torch: str, compute_platform: str) -> str | None:
    """The CUDA toolkit that a build is made with, e.g. `13.0.3`; None if not established."""
    release = matrix.releases[torch]
    if row := release.index.get(compute_platform):
        return row.toolkit
    linux = release.pypi.L or ""
    in_index = release.index.get(linux)
    return release.pypi.toolkit or (in_index.toolkit if in_index else None)


def driver_of(matrix: Matrix, compute_platform: str) -> Driver | None:
    """The least NVIDIA driver for a compute platform; None if it needs none, or nobody knows it."""
    if matrix.compute_platforms[compute_platform].accelerator != "cuda":
        return None
    return matrix.drivers.get(cuda_major(compute_platform))


def nvidia_pins(matrix: Matrix, torch: str, compute_platform: str) -> dict[str, str] | None:
    """The exact pins Poetry needs for a CUDA build; None where they are not established."""
    linux = matrix.releases[torch].pypi.L if compute_platform == PYPI else compute_platform
    if linux is None or matrix.compute_platforms[linux].accelerator != "cuda":
        return {}
    if _key(torch) < _key(matrix.cuda_toolkits.required_since):
        return {}
    toolkit = toolkit_of(matrix, torch, compute_platform)
    return matrix.cuda_toolkits.versions[toolkit].poetry_pins if toolkit else None


def toolkit_name(compute_platform: str) -> str:
    """`cu130` -> `13.0`, `rocm7.2` -> `7.2`: what torch.version.cuda or .hip begins with."""
    if compute_platform.startswith("cu"):
        major = cuda_major(compute_platform)
        return f"{major}.{compute_platform.removeprefix(f'cu{major}')}"  # cu1310 is CUDA 13.10
    return compute_platform.removeprefix("rocm")
