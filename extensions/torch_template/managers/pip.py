"""pip: no lock file, but exact pins of the build's wheels, which serve as constraints as well."""

from __future__ import annotations

from ..build import Build
from ..matrix.facts import PYPI
from .lines import (
    AARCH64,
    MACOS,
    NOT_AARCH64,
    NOT_MACOS,
    Manager,
    index_sources,
    index_url,
    index_version,
)

MANAGER = Manager(
    name="pip",
    label="pip - no lock file, exact pins of the PyTorch build",
    unsuffixed_wheels="cpu",
)


def find_links(build: Build, base: str) -> list[str]:
    """The pages of the PyTorch index that pip may look at: those of the build's packages alone.

    With `--extra-index-url` pip would take the stale copies of other packages there as well.
    """
    index = index_url(build, base)
    return [f"{index}/{package}/" for package in index_sources(build)]


def pip_lines(build: Build) -> list[str]:
    """Exact pins of the wheels, for a file that serves as requirements and as constraints.

    The marker of the index's own wheels matches every other system too: where there is no such
    wheel pip then says so, instead of taking PyPI's.
    """
    if build.asked.compute_platform == PYPI:
        return [f"{package}=={version}" for package, version in build.versions.items()]
    lines = []
    for package, version in build.versions.items():
        pins = {platform: wheels.packages[package] for platform, wheels in build.wheels.items()}
        main = index_version(build, package)
        if pins.get("linux-aarch64", main) != main:
            lines.append(f"{package}=={main} ; {NOT_AARCH64}")
            lines.append(f"{package}=={pins['linux-aarch64']} ; {AARCH64}")
        else:
            lines.append(f"{package}=={main} ; {NOT_MACOS}")
        lines.append(f"{package}=={version} ; {MACOS}")
    return lines
