"""A pyproject.toml as text: its tables and entries, so that all but a few lines stay the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# Strings (one that is open at the end as well), comments, and brackets.
TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""|\Z)'
    r"|'''.*?(?:'''|\Z)"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[\]{}]",
    re.DOTALL,
)
HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]\]?\s*(?:#.*)?")
KEY = re.compile(r"""\s*((?:[\w-]+|"[^"\n]*"|'[^'\n]*')(?:\s*\.\s*[\w"'-]+)*)\s*=""")


def is_open(text: str) -> bool:
    """Whether a value goes on in the next line."""
    depth = 0
    for part in (match[0] for match in TOKEN.finditer(text)):
        if part[:3] in ('"""', "'''") and (len(part) < 6 or not part.endswith(part[:3])):
            return True
        depth += (part in ("[", "{")) - (part in ("]", "}"))
    return depth > 0


def pieces(text: str) -> Iterator[str]:
    """The text in blank lines, comments, headers, and keys with their values."""
    piece = ""
    for line in text.splitlines(keepends=True):
        piece += line
        if not is_open(piece):
            yield piece
            piece = ""
    if piece:
        yield piece


def key_of(piece: str) -> str:
    """The key that a piece sets; empty for a comment or a blank line."""
    found = KEY.match(piece)
    return plain_key(found[1]) if found else ""


def plain_key(key: str) -> str:
    """A dotted key without spaces and quotes."""
    return re.sub(r"[\s\"']", "", key)


def comments(piece: str) -> list[str]:
    """The comments inside a piece, each as a line."""
    parts = (match[0] for match in TOKEN.finditer(piece))
    return [f"{part}\n" for part in parts if part.startswith("#")]


@dataclass
class Table:
    """A table: its name (that of the top is empty), its header, and what lies in it."""

    name: str
    pieces: list[str] = field(default_factory=list)  # the first is the header, but for the top's

    def entry(self, key: str) -> str:
        """The piece that sets a key; empty without one."""
        return next((piece for piece in self.pieces if key_of(piece) == key), "")

    def described(self, key: str) -> list[str]:
        """The piece that sets a key, with the comments right above it."""
        place = [key_of(piece) for piece in self.pieces].index(key)
        first = place
        while first and self.pieces[first - 1].lstrip().startswith("#"):
            first -= 1
        return self.pieces[first : place + 1]

    def drop(self, key: str) -> None:
        """Leave a key out; all comments stay."""
        self.pieces = [
            part
            for piece in self.pieces
            for part in (comments(piece) if key_of(piece) == key else [piece])
        ]

    def set(self, key: str, piece: str) -> None:
        """Give a key another piece, in its place."""
        self.pieces = [piece if key_of(one) == key else one for one in self.pieces]

    def add_first(self, more: list[str]) -> None:
        """Put pieces below the header."""
        self.pieces[1:1] = more

    def add_last(self, more: list[str]) -> None:
        """Put pieces below the last entry: what comes then describes the next table."""
        place = len(self.pieces)
        while place > 1 and not key_of(self.pieces[place - 1]):
            place -= 1
        if place and not self.pieces[place - 1].endswith("\n"):
            self.pieces[place - 1] += "\n"
        self.pieces[place:place] = more


class Document:
    """The tables of a file, in their order."""

    def __init__(self, text: str) -> None:
        self.tables = [Table("")]
        for piece in pieces(text):
            header = HEADER.fullmatch(piece.rstrip("\n"))
            if header:
                self.tables.append(Table(plain_key(header[2])))
            self.tables[-1].pieces.append(piece)

    def text(self) -> str:
        """The file."""
        return "".join(piece for table in self.tables for piece in table.pieces)

    def find(self, name: str) -> Table | None:
        """The first table of a name."""
        return next((table for table in self.tables if table.name == name), None)

    def add(self, table: Table, behind: str, first: bool = False) -> None:
        """Add a table behind the last one whose name begins so, else at the end.

        Behind the first, where it has to be: an update finds the template's lines by their order.
        """
        kin = [
            number
            for number, one in enumerate(self.tables)
            if one.name == behind or one.name.startswith(f"{behind}.")
        ]
        if first and not kin:
            kin = [0]
        elif first:
            kin = [number for place, number in enumerate(kin) if number == kin[0] + place]
        place = kin[-1] + 1 if kin else len(self.tables)
        before = self.tables[place - 1].pieces
        if before and not before[-1].endswith("\n"):
            before[-1] += "\n"
        if before and before[-1].strip():
            before.append("\n")
        own = [*table.pieces]
        while own and not own[-1].strip():
            own.pop()
        own += ["\n"] if place < len(self.tables) else []
        self.tables.insert(place, Table(table.name, own))
