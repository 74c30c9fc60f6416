"""The lines that carry a build, as far as the managers share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from packaging.version import Version

from ..build import Build
from ..matrix.facts import PYPI, series

# The torch that the rendered code needs. torch.accelerator, torch.distributed.fsdp.fully_shard:
# https://pytorch.org/blog/pytorch2-6/. Older than 2.4 is not tried.
TRAINING_SINCE, PACKAGE_SINCE = "2.6", "2.4"
# In the base of a mirror that has a repository for each compute platform.
PLACE = "{compute_platform}"
NOT_MACOS = "sys_platform != 'darwin'"
MACOS = "sys_platform == 'darwin'"
AARCH64 = "sys_platform == 'linux' and platform_machine == 'aarch64'"
NOT_AARCH64 = "sys_platform != 'darwin' and platform_machine != 'aarch64'"
MARKERS = {
    "linux-x86_64": "sys_platform == 'linux' and platform_machine == 'x86_64'",
    "linux-aarch64": AARCH64,
    "windows-amd64": "sys_platform == 'win32' and platform_machine == 'AMD64'",
    "macos-arm64": "sys_platform == 'darwin' and platform_machine == 'arm64'",
}


@dataclass(frozen=True)
class Manager:
    """A package manager: its name, its line in the menu, and what it cannot do by itself.

    `unsuffixed_wheels`: an aarch64 wheel of a CUDA index without `+cu130` has the file name of
    PyPI's CPU wheel; this says which such wheels the manager keeps apart from PyPI's: any, the CPU
    build's alone (where it does not matter which of the two it takes), or none.
    `wants_nvidia_pins`: whether it locks two versions of some nvidia packages without pins.
    """

    name: str
    label: str
    unsuffixed_wheels: Literal["any", "cpu", "none"]
    wants_nvidia_pins: bool = False


def chosen(build: Build) -> list[str]:
    """The packages whose versions the template chooses, or torch by requiring exactly one.

    triton's newest is released on torch's own day.
    """
    triton = ["triton"] if build.main.accelerator == "cuda" else []
    return [*build.versions, *build.index_only, *build.nvidia_pins, *triton]


def any_of(platforms: Sequence[str]) -> str:
    """The marker that holds on each of the platforms."""
    return " or ".join(MARKERS[platform] for platform in platforms)


def requires_python(build: Build) -> str:
    """Exactly the chosen minor, without the patch releases that a wheel excludes."""
    minor = int(build.asked.python.removeprefix("3."))
    excluded = "".join(f",!={version}" for version in build.python_excluded)
    return f">=3.{minor},<3.{minor + 1}{excluded}"


def torch_ranges(build: Build, trains: bool) -> list[str]:
    """What the package itself needs, in any project that depends on it (PEP 508).

    The companions have no versions, since each says itself which torch it is for.
    """
    oldest = TRAINING_SINCE if trains else PACKAGE_SINCE
    oldest = min(oldest, series(build.torch), key=Version)
    return [f"torch>={oldest}", *(name for name in build.versions if name != "torch")]


def torch_requirements(build: Build) -> list[str]:
    """What makes the build, as in a dependency group (PEP 508).

    The public versions: the PyTorch index's `2.14.1+cu130` and PyPI's `2.14.1` both match. Spaces
    let these lines differ from those that once stood among the package's own requirements: git,
    which updates a project line by line, would take the one for the other.
    """
    return [
        *(f"{package} == {version}" for package, version in build.versions.items()),
        *(f"{package} ; {any_of(platforms)}" for package, platforms in build.index_only.items()),
        *(
            f"{package} == {version} ; sys_platform == 'linux'"
            for package, version in build.nvidia_pins.items()
        ),
    ]


def index_sources(build: Build) -> dict[str, str]:
    """Every package that comes from the PyTorch index, with the marker of where it does."""
    if build.asked.compute_platform == PYPI:
        return {}
    others = {package: any_of(platforms) for package, platforms in build.index_only.items()}
    return dict.fromkeys(build.versions, NOT_MACOS) | others


def index_version(build: Build, package: str) -> str:
    """The version that the PyTorch index has a package in, e.g. `2.14.1+cu130`.

    Unsuffixed aarch64 wheels aside, which only uv can tell apart.
    """
    return build.main.packages[package]


def index_url(build: Build, base: str) -> str | None:
    """The index of the compute platform; None for PyPI's own wheels.

    Its name goes where the base says so, else behind it, as at download.pytorch.org.
    """
    name, base = build.asked.compute_platform, base.rstrip("/")
    if name == PYPI:
        return None
    return base.replace(PLACE, name) if PLACE in base else f"{base}/{name}"
