"""Poetry: one lock file for all platforms, with a row in pyproject.toml for each index."""

from __future__ import annotations

from .lines import Manager

# It would lock the version with a suffix, which an unsuffixed wheel does not have; and of a package
# behind two extras of `cuda-toolkit` it locks two versions.
MANAGER = Manager(
    name="Poetry",
    label="Poetry - one lock file for all platforms",
    unsuffixed_wheels="none",
    wants_nvidia_pins=True,
)
