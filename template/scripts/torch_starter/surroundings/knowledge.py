"""Looks up what codes and words mean, and what to say of a cause in a place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .place import GIVEN, Place, kinds_of

if TYPE_CHECKING:
    from configparser import ConfigParser


@cache
def table(name: str) -> ConfigParser:
    """A file beside this one, or all of a folder's. Nothing in a value is special."""
    from configparser import ConfigParser  # where nothing is wrong, nothing is looked up

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
            Docker alone, `do.docker+wsl` for Docker in WSL; the first that fits is taken, in
            the order of `turn`. Its `like` names a section whose rows for a place follow its own,
            turn by turn, and that section's `like` another.
        words: What stands in the braces of those rows.

    Raises:
        KeyError: There is no such section, or one of its words is not given.
    """
    rows = rows_of(cause)

    def first(kind: str) -> str:
        for name, text in rows:
            row, _, places = name.partition(".")
            if row == kind and fits(places, place):
                return " ".join(text.split()).format_map(words)
        return ""

    return Advice(table("causes")[cause].get("id", ""), first("says"), first("do"))


@cache
def rows_of(cause: str) -> list[tuple[str, str]]:
    """The rows of a cause and of those that it is like, in the order of their turns."""
    section = table("causes")[cause]
    rows, like = list(section.items()), section.get("like")
    while like:
        rows += [row for row in table("causes")[like].items() if row[0] != "like"]
        like = table("causes")[like].get("like")
    return sorted(rows, key=lambda row: turn(row[0]))


def turn(row: str) -> int:
    """When a row is looked at: first where the more of what can be done is decided.

    Who is given a notebook or a runner cannot start its container otherwise; who starts one in a
    job can, but has no more rights on its host than the job has.
    """
    names = [name for name in row.partition(".")[2].split("+") if name[:1] not in ("", "!")]
    kinds = {kind for name in names for kind in kinds_of(name)}
    if not names:
        return len(GIVEN) + 3  # what is for every place
    if kinds.intersection(GIVEN):
        return min(GIVEN.index(kind) for kind in kinds.intersection(GIVEN))
    if "engine" in names or ("container" in kinds and "container" not in names):
        return len(GIVEN)
    return len(GIVEN) + (1 if kinds.intersection(("job", "login", "tenant")) else 2)


def fits(places: str, place: Place) -> bool:
    """Whether all places of a row's name are this one: `wsl+!container`."""
    names = [one for one in places.split("+") if one]
    return all(place.is_a(one.lstrip("!")) != one.startswith("!") for one in names)


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


def cuda_code(said: str) -> int | None:
    """The number of CUDA's error that torch tells of, by its words, its name, or its number."""
    rows = {int(number): code("cuda", int(number)) for number in table("codes.ini")["cuda"]}
    if parts := re.search(r"\bError (\d+): |\bCUDA out of memory\b", said):
        return int(parts[1] or 2)
    parts = re.search(r"\bCUDA (?:driver )?error: ([^\n]*)", said)
    words = parts[1].strip().rstrip(".") if parts else None
    named = {name.replace("_", "").lower() for name in re.findall(r"\b(?:cuda|CUDA_)E\w+", said)}
    for number, (name, its_words, _) in rows.items():
        if words == its_words.rstrip(".") or name.replace("_", "").lower() in named:
            return number
    return None


LONGEST, MOST = 1_000, 20_000  # letters of a line, and of a text, that anybody looks at


def shortened(line: str, most: int = LONGEST) -> str:
    """A line from who knows where, without what is too much for a pattern and for people."""
    return line if len(line) <= most else f"{line[:most]}... (cut)"


def gist(said: str) -> str:
    """What a program said: of long lines the begin, of many the first and the last."""
    if len(said) > MOST:
        said = f"{said[: MOST // 2]}\n{said[-MOST // 2 :]}"
    return "\n".join(map(shortened, said.split("\n")))


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
    causes, said = table("causes"), gist(said)
    for name in causes.sections():
        pattern = causes[name].get("match", "")
        if pattern and (parts := re.search(pattern, said)):
            yield Match(name, parts.groupdict(""))
