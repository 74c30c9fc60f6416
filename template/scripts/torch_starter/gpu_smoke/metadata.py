"""The installed packages, as their metadata on the disk says, whatever bytes that has.

Python's own reader gives up at the first letter that is not UTF-8, and takes the remains of a
package for one. Here such a package is broken(), and hides no other.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from surroundings.versions import canonical


@dataclass(frozen=True)
class Package:
    """An installed package."""

    name: str  # as it calls itself
    version: str
    folder: Path  # of its metadata
    metadata: str  # without the description

    def __str__(self) -> str:
        """As people call it: sympy 1.13.3."""
        return f"{self.name} {self.version}"

    @property
    def key(self) -> str:
        """Its name as it is compared."""
        return canonical(self.name)

    @property
    def requires(self) -> list[str]:
        """What it requires, a line each."""
        return re.findall(r"^Requires-Dist: *(.*)", self.metadata, re.MULTILINE)

    def files(self, named: str = "") -> Iterator[Path]:
        """Its files, or those of a name, as its RECORD has them: path, checksum, size in a row."""
        text = text_of(self.folder / "RECORD").replace("\0", "")
        for row in text.splitlines() if named in text else ():
            if named not in row:
                continue
            name = row[1:].partition('"')[0] if row.startswith('"') else row.partition(",")[0]
            if name and (not named or os.path.basename(name) == named):  # noqa: PTH119
                yield Path(os.path.normpath(self.folder.parent / name))

    def entry_points(self, group: str) -> dict[str, str]:
        """What it offers to others: by name, the module."""
        text = text_of(self.folder / "entry_points.txt")
        parts = re.search(rf"^\[{re.escape(group)}\]\s*$([^\[]*)", text, re.MULTILINE)
        rows = re.findall(r"^([^=\n]+?)\s*=\s*([\w.]+)", parts[1], re.MULTILINE) if parts else []
        return dict(rows)


def text_of(path: Path) -> str:
    """What a file says, with a mark for what is no UTF-8; "" where it cannot be read."""
    try:
        # To open a pipe is to wait for its other end.
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError:
        return ""


def folders(path: Iterable[str]) -> Iterator[Path]:
    """Where metadata lies, in the order in which Python looks; what begins with ~ is pip's rest."""
    for place in dict.fromkeys(path):
        try:
            names = sorted(os.listdir(place or "."))  # noqa: PTH208 - Path's is slower
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")) and not name.startswith("~"):
                yield Path(place, name)


def read(folder: Path) -> Package | None:
    """The package whose metadata lies in a folder; None if that says no name or no version."""
    text = text_of(folder / "METADATA") or text_of(folder / "PKG-INFO") or text_of(folder)
    header = text.partition("\n\n")[0]
    fields = dict(re.findall(r"^(Name|Version): *(\S+)", header, re.MULTILINE))
    if len(fields) < 2:
        return None
    return Package(fields["Name"], fields["Version"], folder, header)


def installed_packages() -> list[Package]:
    """Each package once: the first of a name is the one that is imported."""
    return read_all(*sys.path)


@cache
def read_all(*path: str) -> list[Package]:
    """The same, for a sys.path."""
    found: dict[str, Package] = {}
    for folder in folders(path):
        if package := read(folder):
            found.setdefault(package.key, package)
    return list(found.values())


def broken() -> list[Path]:
    """Folders of metadata without a name or a version, which stop pip and others."""
    return [folder for folder in folders(sys.path) if not read(folder)]
