"""uv: one lock file for all platforms, which names the index of each wheel."""

from __future__ import annotations

from ..build import Build
from .lines import MARKERS, Manager, chosen

MANAGER = Manager(
    name="uv", label="uv - fastest, one lock file for all platforms", unsuffixed_wheels="any"
)


def exempt(build: Build) -> list[str]:
    """What a cool-down does not hold back: the build's packages, as items of a TOML table."""
    return [f"{name} = false" for name in chosen(build)]


def environments(build: Build) -> list[str]:
    """The markers of the platforms that have wheels."""
    return [MARKERS[platform] for platform in build.wheels]
