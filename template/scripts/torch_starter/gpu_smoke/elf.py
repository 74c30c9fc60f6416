"""Linux: which symbols a shared library needs, and which it has, read from the file.

The format is the System V ABI's, with the hash table of GNU: to look a name up in libtorch_cpu.so
takes no time, while to read all of its names takes seconds.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path

SYMBOL = struct.Struct("<IBBHQQ")  # name, info, other, section, value, size
SECTION = struct.Struct("<IIQQQQIIQQ")  # name, type, flags, address, offset, size, link, ...
HASH, DYNAMIC = 0x6FFFFFF6, 11  # types of sections
WEAK = 2


class NoLibraryError(ValueError):
    """A file that is no shared library for 64 bits, or is cut short."""


class Library:
    """The dynamic symbols of a shared library."""

    def __init__(self, path: Path) -> None:
        """Find its tables."""
        try:
            if not path.is_file():  # to open a pipe is to wait for its other end
                raise NoLibraryError(str(path))
            with path.open("rb") as file:
                self.content = mmap(file.fileno(), 0, access=ACCESS_READ)
            if self.content[:6] != b"\x7fELF\x02\x01":
                raise NoLibraryError(str(path))
            (begin,) = struct.unpack_from("<Q", self.content, 0x28)
            size, count = struct.unpack_from("<HH", self.content, 0x3A)
            rows = [SECTION.unpack_from(self.content, begin + size * n) for n in range(count)]
            (symbols,) = (row for row in rows if row[1] == DYNAMIC)
            self.symbols, self.length = symbols[4], symbols[5] // SYMBOL.size
            self.names = rows[symbols[6]][4]
            self.hash = next((row[4] for row in rows if row[1] == HASH), 0)
        except (OSError, ValueError, struct.error, IndexError) as error:
            raise NoLibraryError(str(path)) from error

    def name(self, offset: int) -> bytes:
        """A name by where it is in the table of names."""
        begin = self.names + offset
        return bytes(self.content[begin : self.content.find(b"\0", begin)])

    def needs(self, pattern: re.Pattern[bytes]) -> Iterator[bytes]:
        """The names that match and that another library has to define."""
        for index in range(self.length):
            place = self.symbols + index * SYMBOL.size
            name, info, _, section, _, _ = SYMBOL.unpack_from(self.content, place)
            if not section and name and info >> 4 != WEAK and pattern.match(self.name(name)):
                yield self.name(name)

    def defines(self, name: bytes) -> bool:
        """Whether it defines a name, by the hash table of GNU."""
        if not self.hash:
            return self.content.find(b"\0" + name + b"\0", self.names) >= 0  # rather once too often
        value = 5381
        for byte in name:
            value = (value * 33 + byte) & 0xFFFFFFFF
        buckets, first, blooms, _ = struct.unpack_from("<4I", self.content, self.hash)
        table = self.hash + 16 + 8 * blooms
        (index,) = struct.unpack_from("<I", self.content, table + 4 * (value % buckets))
        chains = table + 4 * buckets
        while index >= first:
            (other,) = struct.unpack_from("<I", self.content, chains + 4 * (index - first))
            if other | 1 == value | 1:
                place = self.symbols + index * SYMBOL.size
                if self.name(SYMBOL.unpack_from(self.content, place)[0]) == name:
                    return True
            if other & 1:  # the last of its bucket
                return False
            index += 1
        return False


def open_library(path: Path) -> Library | None:
    """A library; None for what is none."""
    try:
        return Library(path)
    except NoLibraryError:
        return None


def lacking(paths: Iterable[Path], pattern: re.Pattern[bytes], there: list[Library]) -> str:
    """The first symbol that libraries need and that neither they nor others define, or ""."""
    own = [one for one in map(open_library, paths) if one]
    for library in own:
        for name in library.needs(pattern):
            if not any(one.defines(name) for one in (*there, *own)):
                return name.decode("ascii", "replace")
    return ""
