"""What can be found, by its id or by a message that people search for: --explain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from surroundings.knowledge import Match, advice, find_causes, gist, table
from surroundings.place import SIGNS, Place, here

from . import machine
from .blame import lacks, old_cpu
from .loading import words_of

SHOWN = 3  # so many are shown in full; of more, a line each
NUMBER = re.compile(r"\W*(?:(winerror|errno|error|code|returned|signal)\W{0,3})?(\d{1,10})\W*")
OF_SYSTEM = re.compile(r"\b(winerror|errno|os error)\W{1,3}(\d+)")
# What looks up names has numbers of its own, which Python calls errno too.
RESOLVER = re.compile("nodename nor servname|name or service not|name resolution|getaddrinfo")
FAMILIES = {
    "winerror": "windows",
    "errno": "errno",
    "os error": "errno",
    "signal": "signal",
}  # of codes.ini
# How a process ended, as shells, schedulers and Python tell it: by number, or by a signal's words.
BY_NUMBER = re.compile(
    r"(?:\b(?:exit(?:ed|s|code)?|code|status|returned|with|signal)[^\w-]{1,5}|^)"
    r"(?:(0x[0-9a-f]{8})|(-?\d{1,10}))\b|\b(0x[c8e][0-9a-f]{7})\b"
)
BY_WORDS = r"(?:^|\bcrashed \(|^fatal python error: |\b\w*sh: (?:line \d+: )?)(?:\d+ )?{}"
BY_WORDS += r"(?=$|\)|\W*\(core dumped|: \d+$| [^ ]*python)"
OF_THE_SYSTEM = ("errno", "windows", "signal")  # whose words are part of many messages
HERE, ELSE, LIKE = "here", "elsewhere", "more places"
GENERAL = {"driver": "the NVIDIA driver", "on_cpu": "test with `--device cpu`"}


class Placeholder(str):
    """A word that only a check knows: its name in capitals, whatever its format is."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        """As it is, between marks: see `finished`."""
        return f"\0{self.upper()}\0"


@cache
def words() -> dict[str, object]:
    """What stands in the braces of causes and symptoms without a check."""
    texts = [text for row in table("causes").values() for text in row.values()]
    unknown = {name: Placeholder(name) for name in re.findall(r"{(\w+)", " ".join(texts))}
    constants = {name: one for name, one in vars(machine).items() if name.isupper()}
    usual = {**machine.usual_words(), "repair": machine.RECREATE}
    usual["open_module"] = machine.advise("open-module").do
    return {**unknown, **constants, **GENERAL, **usual}


def finished(text: str) -> str:
    """Without what a check adds to a word's end, and without a sentence that is all a check's."""
    parts = text.split("`")
    parts[1::2] = [re.sub(r"^\0(\w+)\0(?!\w)", r"\1", command) for command in parts[1::2]]
    text = "`".join(parts)
    text = re.sub(r"(?<=[\w`])\0\w+\0", "", text)
    return re.sub(r"^\0\w+\0$", "As the smoke test says.", text).replace("\0", "")


@dataclass(frozen=True)
class Somewhere(Place):
    """Another place than this one, by what it is called."""

    called: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """What it is called, and nothing of this machine."""
        return self.called


def somewhere(row: str) -> Somewhere:
    """The place that a row of causes/ is for: docker is a container, too."""
    names = {name for name in row.split("+") if name[:1] not in ("", "!")}
    for kind in SIGNS:
        parts = kind.split(".")
        if found := names.intersection(parts):
            above = ".".join(parts[: 1 + max(map(parts.index, found))])
            names |= Place({above: []}).names - Place({}).names
    return Somewhere({}, frozenset(names))


class Row(NamedTuple):
    """What to say of a cause in a place."""

    place: str  # as a row of causes/ calls it; HERE, ELSE, or LIKE for a section that has others
    says: str
    do: str


class Found(NamedTuple):
    """An entry, or a part of one: what is shown of it."""

    title: str  # an id; a cause without one by its name, a code by its maker's
    symptoms: list[str]
    causes: list[list[Row]]


def rows(cause: str, given: Mapping[str, str]) -> list[Row]:
    """What to say of a cause: here, then in each place that it has a row for, then elsewhere."""
    section, known = table("causes")[cause], {**words(), **given}
    kinds = [name.partition(".") for name in section]
    places = dict.fromkeys(place for kind, _, place in kinds if place and kind in ("says", "do"))
    all_places = {HERE: here(), **{row: somewhere(row) for row in places}, ELSE: somewhere("")}
    told = [
        Row(row, *map(finished, advice(cause, place, **known)[1:]))
        for row, place in all_places.items()
    ]
    if other := section.get("like"):
        told.append(Row(LIKE, "", other))
    return told


def ids() -> list[str]:
    """Every id."""
    return table("symptoms.ini").sections()


@cache
def id_of(cause: str) -> str:
    """The id of a cause, by its own row or by its family; "" for one that others are like."""
    section, sections = table("causes")[cause], table("symptoms.ini")
    of = [name for name in ids() if section.get("of", "") in sections[name].get("of", "").split()]
    return section.get("id") or next(iter(of), "")


def shared() -> list[str]:
    """The sections of causes/ without an id."""
    return [name for name in table("causes").sections() if not id_of(name)]


@cache
def symptoms(name: str) -> list[str]:
    """The messages of an id: its own, and those of the codes whose cause has it."""
    own = table("symptoms.ini")[name].get("symptoms", "").strip().splitlines()
    for family, number, (title, said, cause) in codes():
        if cause and id_of(cause) == name:
            own += [f"Error {number}: {said}" if family == "cuda" else said, title]
    return list(dict.fromkeys(filter(None, own)))


@cache
def entry(name: str) -> Found:
    """All of an id: its symptoms and its causes, with what to do where."""
    sections, every = table("symptoms.ini"), table("causes")
    if name in shared():
        return one_cause(name, {})
    section = sections[sections[name].get("as", name)]
    own = [section.get(key, "").format_map(words()) for key in ("cause", "do")]
    told = [rows(cause, {}) for cause in every.sections() if id_of(cause) == name]
    if own[0]:
        told.insert(0, [Row(HERE, *own), Row(ELSE, *own)])
    return Found(name, symptoms(name), told)


@cache
def codes() -> list[tuple[str, str, list[str]]]:
    """Every code: its family, its number, and [its name, its words, its cause].

    Where a row names only a cause, the rest is as CUDA has it.
    """
    split, found = table("codes.ini"), []
    for family in split.sections():
        for number, text in split[family].items():
            row = ([part.strip() for part in text.split("|")] + ["", ""])[:3]
            if not row[0] and number in split["cuda"]:
                row[:2] = [part.strip() for part in split["cuda"][number].split("|")[:2]]
            found.append((family, number, row))
    return found


@cache
def plain(text: str) -> str:
    """A text to compare: in small letters, without line ends and quotes of several kinds."""
    return " ".join(re.sub("[`'\u2018\u2019\"]", "'", text).lower().split())


def says_so(symptom: str, message: str) -> bool:
    """Whether a symptom is in a message, or the message is a part of it."""
    parts, end = plain(symptom).split("..."), 0
    if re.search("[a-z]{3}", message) and any(message in part for part in parts):
        return True
    for part in parts:  # all of them, in this order
        begin = message.find(part, end)
        if begin < 0:
            return False
        end = begin + len(part)
    return True


def search(text: str) -> list[Found]:
    """What an id, a code or a message leads to; the surest first."""
    if not (message := plain(text := gist(text))):
        return []
    if named := [entry(name) for name in ids() if name.lower() == message]:
        return named
    told = [entry(name) for name in shared() if name == message]
    surest: dict[str, Match] = {}  # by family: the first that fits, as for the check itself
    for one in find_causes(text):
        surest.setdefault(table("causes")[one.cause].get("of", ""), one)
    by_patterns = [by_pattern(one, text) for one in surest.values()]
    by_codes = [one for one in of_codes(message, bool(surest)) if one not in by_patterns]
    # The number of an end says it, whichever program's end a pattern is for.
    told += [*by_codes, *by_patterns] if ends(message) else [*by_patterns, *by_codes]
    also: dict[str, int] = {}
    for name in ids():
        fit = [plain(one).replace("...", "") for one in symptoms(name) if says_so(one, message)]
        if fit:
            also[name] = min(max(map(len, fit)), len(message))
    known = {one.title for one in told}
    nearest = sorted(also, key=also.__getitem__, reverse=True)  # what says most is the surest
    # A pattern finds its words in more than one message: one that is listed is surer.
    lengths = [len(part_meant(one, text)) for one in surest.values()]
    enough = max(lengths, default=len(message) + 1)
    first = [one for one in nearest if enough <= also[one] and one not in known]
    rest = [one for one in nearest if one not in (*first, *known)]
    found = [*map(entry, first), *told, *map(entry, rest)]
    return found or by_words(message)


def part_meant(match: Match, text: str) -> str:
    """The part of a text that a cause's pattern has found."""
    parts = re.search(table("causes")[match.cause]["match"], text)
    return parts[0] if parts else ""


def by_pattern(match: Match, text: str) -> Found:
    """A cause whose pattern was found, with what the check itself would say of a library."""
    name, given = match.cause, match.words
    if table("causes")[name].get("of") == "import":
        given, name = words_of(match, ImportError(part_meant(match, text)))
    return one_cause(name, given)


def one_cause(name: str, given: Mapping[str, str], *said: str) -> Found:
    """An id with one of its causes alone."""
    return Found(id_of(name) or name, list(said), [rows(name, given)])


def ends(message: str) -> set[tuple[str, str]]:
    """The codes of how a process ended: of a signal, -11 or 139; of Windows, 0xc0000005."""
    found = set()
    for parts in BY_NUMBER.finditer(message):
        number = int(next(filter(None, parts.groups())), 0)
        if number < -64 or number >= 1 << 31:
            found.add(("windows", str(number & 0xFFFFFFFF)))
        elif number < 0 or 128 < number <= 192:
            found.add(("signal", str(-number if number < 0 else number - 128)))
    return found


def of_codes(message: str, surer: bool) -> list[Found]:
    """The codes whose number is asked for, or whose name or words are in a message.

    Where there is something `surer`, words that every program says are no cause of their own.
    """
    ended, found = ends(message), []
    system = None if RESOLVER.search(message) else OF_SYSTEM.search(message)
    number = NUMBER.fullmatch(message) or system
    for family, code, (name, said, cause) in codes():
        if number and not message.startswith("-"):
            asked = number[2] == code and FAMILIES.get(number[1], family) == family
        else:
            asked = message in (code, plain(name), plain(said))
        asked |= (family, code) in ended
        if family == "signal" and not surer:
            asked |= bool(re.search(BY_WORDS.format(re.escape(plain(said))), message))
        named = name and name.lower() in re.findall(r"\w+", message)
        common = (surer and family in OF_THE_SYSTEM) or (system and family not in OF_THE_SYSTEM)
        if asked or named or (len(said.split()) > 2 and not common and plain(said) in message):
            head = f"{name} ({family} {code}): {said}".removesuffix(": ")
            given = {"number": code, "name": name, "said": said}
            given |= {"lacks": lacks(), "old_cpu": old_cpu()}
            row = one_cause(cause, given, head) if cause else Found(name, [head], [])
            found.append((name, row))
    known = {name for name, row in found if row.causes}
    return [row for name, row in found if row.causes or name not in known]


def by_words(message: str) -> list[Found]:
    """The ids that have all words of a message somewhere, whatever its numbers are."""
    asked = {word for word in re.findall(r"\w+", message) if word.isalpha()}
    found = []
    for one in map(entry, ids()):
        said = [*one.symptoms, *(row.says for cause in one.causes for row in cause)]
        if asked and asked <= set(re.findall(r"\w+", plain(" ".join([one.title, *said])))):
            found.append(one)
    return found


def explain(text: str) -> str:
    """What an id, a code or a message means, for people; "" if nobody knows."""
    found = search(text)
    if len(found) <= SHOWN:
        return "\n\n".join(map(shown, found))
    head = f"{len(found)} go with that; name one of them, or more of the message:"
    rest = [f"{one.title:<15}  {'; '.join(one.symptoms[:2])}" for one in found]
    return "\n".join([head, *rest])


def shown(one: Found) -> str:
    """An entry, with what to do here, and then elsewhere."""
    lines = [one.title, *(f"symptom:  {text}" for text in one.symptoms)]
    for mine, *others in one.causes:
        lines += [f"cause:    {mine.says}", f"remedy:   {mine.do}"]
        for place, says, do in others:
            if place == LIKE:
                lines.append(f"          {place}: `--explain {do}`")
            elif do and (says, do) != mine[1:]:
                lines.append(f"          {place}: {f'{says} ' * (says != mine.says)}{do}")
    if not one.causes:
        lines.append("cause:    It has more than one: the smoke test finds out which.")
    return "\n".join(lines)
