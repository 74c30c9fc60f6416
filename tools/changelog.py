"""CHANGELOG.md, which follows Keep a Changelog: what its sections say, and more in them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from datetime import date

from publishing import StopError

KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
UNRELEASED = "Unreleased"
WIDTH = 110  # columns
HEADING = re.compile(r"^## \[([^\]\n]+)\].*\n", re.MULTILINE)
LINK = re.compile(r"^\[[^\]\n]+\]: \S+\n?", re.MULTILINE)
# Where a line of Markdown begins something of its own, and does not go on with the line before it.
OWN_LINE = re.compile(r"\s*(?:[-*+] |\d+\. |#|\||>|```|$)|\s{4}")


def sections(text: str) -> dict[str, str]:
    """What each section says, by its name (`Unreleased`, `1.4.0`), in the order of the file."""
    heads = [*HEADING.finditer(_without_code(text))]
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return {
        head[1]: LINK.sub("", text[head.end() : end]).strip()
        for head, end in zip(heads, ends, strict=True)
    }


def _refuse_odd(text: str) -> None:
    """StopError: a heading of a section has no brackets, or two are of what is unreleased."""
    heads = re.findall(r"^## .*", _without_code(text), re.MULTILINE)
    for head in heads:
        if not HEADING.match(f"{head}\n"):
            raise StopError(
                f"CHANGELOG.md has the heading {head!r}. Write it `## [1.4.0] - 2026-01-31`."
            )
    if sum(head.startswith(f"## [{UNRELEASED}]") for head in heads) > 1:
        raise StopError(f"CHANGELOG.md has two sections {UNRELEASED}. Make them one.")


def _without_code(text: str) -> str:
    """The text with spaces for what stands between fences, so that no place in it moves."""
    return re.sub(
        r"^(```|~~~).*?^\1",
        lambda found: re.sub(r"[^\n]", " ", found[0]),
        text,
        flags=re.MULTILINE | re.DOTALL,
    )


def unreleased(text: str) -> str:
    """What the section Unreleased says. StopError: there is none, or it has no entry."""
    _refuse_odd(text)
    said = sections(text).get(UNRELEASED)
    if said is None:
        raise StopError(
            f"CHANGELOG.md has no section {UNRELEASED}. Put `## [{UNRELEASED}]` above the others."
        )
    if not re.search(r"^- \S", said, re.MULTILINE):
        raise StopError(
            f"CHANGELOG.md has no entry under {UNRELEASED}."
            " Write what the owner of a project notices."
        )
    return said


def with_entries(text: str, kind: str, entries: Iterable[str]) -> str:
    """The text with entries at the end of a group (one of `KINDS`) of what is unreleased."""
    lines = [
        textwrap.fill(
            f"- {entry}",
            WIDTH,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for entry in entries
    ]
    head = re.search(rf"^## \[{UNRELEASED}\].*\n", text, re.MULTILINE)
    if not lines or not head:
        return text
    end = _next(re.compile(r"^(?:## |\[[^\]\n]+\]: )", re.MULTILINE), text, head.end())
    before, after = text[: head.end()], text[end:]
    groups = re.split(r"^### (.+)\n", text[head.end() : end], flags=re.MULTILINE)
    said = dict(zip(groups[1::2], (group.strip() for group in groups[2::2]), strict=True))
    said[kind] = "\n".join([*filter(None, [said.get(kind, "")]), *lines])
    order = sorted(said, key=lambda name: KINDS.index(name) if name in KINDS else len(KINDS))
    body = "\n\n".join(f"### {name}\n\n{said[name]}" for name in order)
    intro = groups[0].strip()
    middle = "\n\n".join(filter(None, [intro, body]))
    return f"{before}\n{middle}\n" + (f"\n{after}" if after else "")


def _next(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.search(text, start)
    return found.start() if found else len(text)


def released(text: str, version: str, day: date, repository: str | None = None) -> str:
    """The text with what was unreleased as the section of a version, below an empty Unreleased.

    With the address of the repository, each heading links to what changed. StopError: there is
    nothing to release, or the version has a section.
    """
    unreleased(text)
    if version in sections(text):
        raise StopError(f"CHANGELOG.md has a section {version} already. Choose the next version.")
    head = f"## [{UNRELEASED}]\n\n## [{version}] - {day.isoformat()}\n"
    moved = re.sub(rf"^## \[{UNRELEASED}\].*\n", head, text, count=1, flags=re.MULTILINE)
    if not repository:
        return moved
    names = "|".join(map(re.escape, sections(moved)))
    others = re.sub(rf"^\[(?:{names})\]: \S+\n?", "", moved, flags=re.MULTILINE)
    return f"{others.rstrip()}\n\n{_links(moved, repository)}"


def _links(text: str, repository: str) -> str:
    """The addresses of all headings, each compared with the version before it."""
    versions = [name for name in sections(text) if name != UNRELEASED]
    lines = [f"[{UNRELEASED}]: {repository}/compare/v{versions[0]}...HEAD\n"]
    for version, before in zip(versions, [*versions[1:], None], strict=True):
        what = f"compare/v{before}...v{version}" if before else f"releases/tag/v{version}"
        lines.append(f"[{version}]: {repository}/{what}\n")
    return "".join(lines)


def unwrapped(text: str) -> str:
    """Markdown with each paragraph in one line: where GitHub shows a text, a line break is one."""
    lines: list[str] = []
    fenced = False
    for line in text.splitlines():
        goes_on = lines and lines[-1].strip() and not lines[-1].startswith("#")
        if goes_on and not fenced and not OWN_LINE.match(line):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
        fenced ^= line.lstrip().startswith("```")
    return "\n".join(lines)
