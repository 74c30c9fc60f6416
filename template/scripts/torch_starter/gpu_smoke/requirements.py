"""What packages require of each other, by their metadata: versions, extras and markers."""

from __future__ import annotations

import ast
import operator
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from surroundings.versions import canonical, numbers

from .metadata import Package, installed_packages

RELEASE = re.compile(r"\d+(?:\.\d+)*")
REQUIREMENT = re.compile(r"([\w.-]+)\s*(?:\[([^]]*)\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?")
CLAUSE = re.compile(r"\s*(===?|!=|<=|>=|<|>|~=)\s*(\d+(?:\.\d+)*)(\.\*)?[^,+]*(\+[\w.]+)?[^,]*")


def satisfied(version: str, clauses: str) -> bool:
    """Whether a version is in a range such as >=2.11,<3; what is not understood is met."""
    release = RELEASE.match(version)
    parts = [found for one in clauses.split(",") if (found := CLAUSE.match(one))]
    have = numbers(release[0]) if release else []
    local = "+" + version.partition("+")[2]
    for one in parts if have else ():
        met = meets(have, one[1], one[2], bool(one[3]))
        if one[4] and one[1] in ("==", "===", "!="):  # a build of that version, such as +cu130
            same = meets(have, "==", one[2], prefix=False) and local == one[4]
            met = same != (one[1] == "!=")
        if not met:
            return False
    return True


def meets(have: list[int], operator: str, text: str, prefix: bool) -> bool:
    """Whether a release is as one clause of a requirement has it."""
    want = numbers(text)
    length = max(len(have), len(want))
    same = have[: len(want)] + [0] * (len(want) - len(have)) == want
    have, padded = (one + [0] * (length - len(one)) for one in (have, want))
    answers = {
        "==": same if prefix else have == padded,
        "===": have == padded,
        "!=": not same if prefix else have != padded,
        "<=": have <= padded,
        ">=": have >= padded,
        "<": have < padded,
        ">": have > padded,
        "~=": have >= padded and have[: len(want) - 1] == want[:-1],
    }
    return answers[operator]


class Requirement(NamedTuple):
    """What a package requires."""

    name: str
    extras: frozenset[str]
    clauses: str
    marker: str


def packages() -> dict[str, Package]:
    """The installed packages, by name."""
    return {one.key: one for one in installed_packages()}


def requirements(package: Package) -> Iterator[Requirement]:
    """The requirements of a package."""
    for text in package.requires:
        if parts := REQUIREMENT.match(text):
            extras = frozenset(filter(None, map(str.strip, (parts[2] or "").split(","))))
            marker = (parts[4] or "").strip()
            yield Requirement(canonical(parts[1]), extras, parts[3].strip(), marker)


# --- Markers: they are expressions of Python, too


COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Is: lambda a, b: meets(a, "~=", ".".join(map(str, b)), prefix=False),
}


def environment(extra: str = "") -> dict[str, str]:
    """What markers may ask of this machine and this Python."""
    return {
        "os_name": os.name,
        "sys_platform": sys.platform,
        "platform_system": platform.system(),
        "platform_machine": platform.machine(),
        "platform_release": platform.release(),
        "platform_version": platform.version(),
        "platform_python_implementation": platform.python_implementation(),
        "implementation_name": sys.implementation.name,
        "implementation_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "python_full_version": platform.python_version(),
        "extra": extra,
    }


def applies(marker: str, extra: str = "") -> bool:
    """Whether a requirement with this marker is one here; not if the marker is not understood."""
    if not marker:
        return not extra
    marker = marker.replace("~=", " is ")  # Python has no `~=`, but an `is`, which no marker has
    try:
        found = bool(value_of(ast.parse(marker, mode="eval").body, environment(extra)))
    except (SyntaxError, KeyError, TypeError):
        return False
    # What is required without an extra is no requirement of that extra's.
    return found and (not extra or "extra" in marker)


def value_of(node: ast.expr, words: dict[str, str]) -> Any:  # noqa: ANN401
    """What a part of a marker comes to."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return words[node.id]
    if isinstance(node, ast.BoolOp):
        every = [value_of(one, words) for one in node.values]
        return all(every) if isinstance(node.op, ast.And) else any(every)
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        raise TypeError("this is no marker")
    a, b = value_of(node.left, words), value_of(node.comparators[0], words)
    if isinstance(node.ops[0], ast.In | ast.NotIn) or not (a[:1].isdigit() and b[:1].isdigit()):
        return COMPARE[type(node.ops[0])](a, b)
    if not isinstance(node.ops[0], ast.Is):  # for which the length counts
        a, b = ([*numbers(one), 0, 0, 0][:4] for one in (a, b))
        return COMPARE[type(node.ops[0])](a, b)
    a, b = numbers(a), numbers(b)
    return COMPARE[type(node.ops[0])](a, b)
