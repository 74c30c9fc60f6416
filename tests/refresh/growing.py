"""The index of the tests as it grew: it has only what had come out by a release of torch."""

from __future__ import annotations

from packaging.version import Version

from install.catalog import TORCH_PROJECTS, torch_metadata
from install.loopback_index import LoopbackIndex, version_of
from install.wheels import Distribution


class GrowingIndex(LoopbackIndex):
    """An index whose newest torch is `newest`; of other projects it has everything at once."""

    newest = "0"

    def grow(self, torch: str) -> None:
        """Let the wheels of a release come out, and all before them."""
        self.newest = torch
        self._pages.clear()

    def distributions(self, index: str, project: str) -> list[Distribution]:
        """Return the files that had come out."""
        found = super().distributions(index, project)
        if project not in TORCH_PROJECTS:
            return found
        return [file for file in found if self._is_out(project, version_of(file.filename))]

    def _is_out(self, project: str, version: str) -> bool:
        """Whether a release had come out: a companion did with the torch it was built beside."""
        public, beside = Version(version).public, version
        if project != "torch":
            requires, _, *built = torch_metadata()[project][public]
            beside = built[0] if built else requires.removeprefix("==")
        return Version(Version(beside).public) <= Version(self.newest)
