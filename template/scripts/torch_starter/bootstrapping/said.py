"""What a manager itself says of its failure, apart from what the build of a package printed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

# Where each of them begins to repeat what a build printed. What pip repeats of a pip that gets the
# build requirements, or of git, is not from a build.
UV_QUOTES = re.compile(r"(\s*)\[std(?:out|err)\]$")
PIP_BUILDS = re.compile(
    r"\s*\S (?:Getting requirements to build|Preparing (?:editable )?metadata|Building |"
    r"Checking if|.*setup\.py).* did not run successfully"
)
PIP_FAILS = re.compile(r"\s*\S .* did not run successfully")
PIP_QUOTES = re.compile(r"\s*\S*> \[\d+ lines? of output\]$")
PIP_ENDS = re.compile(r"\s*\[end of output\]$")
POETRY_QUOTES = re.compile(
    r"\s*(?:PEP517 build of a dependency failed|ChefBuildError|Backend subprocess exited|"
    r"Unable to determine package info)\b"
)
POETRY_ENDS = re.compile(r"\s*Note: This error originates from the build backend")
# And that it was a build: uv's reason, pip's, Poetry's.
BUILDS = (
    re.compile(r"\b(?:build backend returned an error|Call to `[\w.:-]+` failed)"),
    PIP_BUILDS,
    POETRY_QUOTES,
)
# The package, in the order of how sure it is.
PACKAGE = (
    r"Failed to (?:download and )?build `([^`]+)`",
    r"Failed to build '([^']+)'",
    r"Failed building (?:wheel|editable) for ([\w.-]+)",
    r"pyproject\.toml[ -]based projects(?: \(([\w.-]+)| ?\n\S*> ([\w.-]+)$)",
    r"generating package metadata\.\n\S*> (?!See)(\S+)",
    r"not a problem with poetry but (?:one of the following issues )?with ([\w.-]+)",
    r"Unable to determine package info for path: (.+)",
)
HEAD = re.compile(r"\s*(?:error|ERROR):")
OLD_HEAD = re.compile(r"\s+[x\N{MULTIPLICATION SIGN}] ")  # an older uv's
WARNING = re.compile(r"\s*warning:", re.IGNORECASE)
ENDED = re.compile(r"\(signal: (\d+)|exit code: -(\d+)$|exit status: -(\d+)$", re.MULTILINE)


def own_words(lines: Iterable[str]) -> list[str]:
    """What a manager said, without what a build printed."""
    return list(_own(lines))


def _own(lines: Iterable[str]) -> Iterator[str]:
    indent, of_build, until = -1, False, None
    for line in lines:
        if until:  # pip's quotation, or Poetry's
            if not until.match(line):
                continue
            until = None
        if line.strip() and len(line) - len(line.lstrip()) < indent:
            indent = -1
        if quotes := UV_QUOTES.match(line):
            indent = len(quotes[1])
        if indent >= 0:
            continue
        if PIP_FAILS.match(line):
            of_build = bool(PIP_BUILDS.match(line))
        if POETRY_QUOTES.match(line):
            until = POETRY_ENDS
        elif of_build and PIP_QUOTES.match(line):
            until = PIP_ENDS
        yield line


def last_error(lines: Iterable[str]) -> list[str]:
    """Of that, what it says of its end: neither its warnings nor what it got over."""
    own = own_words(lines)
    for head in (HEAD, OLD_HEAD):
        if found := [number for number, line in enumerate(own) if head.match(line)]:
            return own[found[-1] :]
    return [line for line in own if not WARNING.match(line)]


def failed_build(lines: Iterable[str]) -> str | None:
    """The package whose build has failed, as the manager names it, or "a package"; None if none."""
    text = "\n".join(own_words(lines))
    if not any(one.search(text) for one in BUILDS):
        return None
    for pattern in PACKAGE:
        if found := re.search(pattern, text, re.MULTILINE):
            return next(part for part in found.groups() if part).split(" @ ")[0]
    return "a package"


def signal_of_build(lines: Iterable[str]) -> int:
    """The signal that has killed a build, as the manager says it; 0 if none has."""
    found = ENDED.search("\n".join(own_words(lines)))
    return int(found[1] or found[2] or found[3]) if found else 0
