"""Looks up what codes and words mean, and what to say of a cause in a place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from typing import NamedTuple

from .place import Place


@cache
def table(name: str) -> ConfigParser:
    """A file beside this one, or all of a folder's. Nothing in a value is special."""
    place = Path(__file__).with_name(name)
    parser = ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    for file in [place] if place.is_file() else sorted(place.glob("*.ini")):
        parser.read_string(file.read_text(encoding="utf-8"), str(file))
    return parser


class Advice(NamedTuple):
    """What to say of a cause: the id of the check that tells it, what is wrong, and what to do."""

    id: str
    says: str
    do: str


def advice(cause: str, place: Place, **words: object) -> Advice:
    """What to say of a cause, in a place.

    Args:
        cause: The name of a section. Its rows `says` and `do` are for every place, `do.docker` for
            Docker alone, `do.docker+wsl` for Docker in WSL; the first that fits is taken.
        words: What stands in the braces of those rows.

    Raises:
        KeyError: There is no such section, or one of its words is not given.
    """
    section = table("causes")[cause]

    def first(kind: str) -> str:
        for name, text in section.items():
            row, _, places = name.partition(".")
            if row == kind and all(place.is_a(one) for one in places.split("+") if one):
                return text.format_map(words)
        return ""

    return Advice(section.get("id", ""), first("says"), first("do"))


class Code(NamedTuple):
    """A code of a library: what its maker calls it, its words, and the cause that it is a sign of.

    The cause is "" if nobody knows one that is always right.
    """

    name: str
    words: str
    cause: str


def code(family: str, number: int) -> Code:
    """What a number means in a family of codes.ini; its name is the number if it is not there."""
    row = table("codes.ini")[family].get(str(number), str(number)).split("|")
    name, words, cause = (*(part.strip() for part in row), "", "")[:3]
    return Code(name, words, cause)


def named(family: str, name: str) -> tuple[int, Code]:
    """The number and the meaning of what a maker, or its words, call a code.

    Raises:
        KeyError: The family has none of that name.
    """
    for number in table("codes.ini")[family]:
        found = code(family, int(number))
        if name in (found.name, found.words):
            return int(number), found
    raise KeyError(name)


class Match(NamedTuple):
    """A cause whose words were found in a text, and what its pattern names in there."""

    cause: str
    words: dict[str, str]


def find_cause(said: str, family: str = "") -> Match | None:
    """The first cause in causes/ whose `match` is found in what a program said.

    Args:
        said: The program's words.
        family: Only causes with that `of` are looked at, and those without one.
    """
    causes = table("causes")
    fit = (one for one in find_causes(said) if causes[one.cause].get("of", "") in ("", family))
    return next(fit, None)


def find_causes(said: str) -> Iterator[Match]:
    """All of them, whatever their family is."""
    causes = table("causes")
    for name in causes.sections():
        pattern = causes[name].get("match", "")
        if pattern and (parts := re.search(pattern, said)):
            yield Match(name, parts.groupdict(""))
