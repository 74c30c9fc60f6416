"""What the next update does to the projects that exist, asked of the template's own functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product

from packaging.version import Version

from refresh.rows import span
from torch_template.build import Asked, Build
from torch_template.managers import MANAGERS
from torch_template.matrix.facts import COMPANIONS, python_key, releases_of, series
from torch_template.matrix.model import Matrix
from torch_template.moves import first_without, successors
from torch_template.notes import companion_note, ended_note, freed_note
from torch_template.reasons import why_no_build
from torch_template.resolving import alternatives, kept_build

FIRST, *OTHERS = MANAGERS
Where = tuple[str, str]  # compute platform, Python


def affected(old: Matrix, new: Matrix) -> list[str]:
    """A line for each group of projects to which the next update does something.

    Those with a companion or another package manager have their own only if it differs.
    """
    if old == new:
        return []
    changed = {t for t in new.releases if new.releases[t] != old.releases.get(t)}
    answers = ["latest", *sorted({series(t) for t in changed}, key=Version, reverse=True)]
    kinds = [(f"with {MANAGERS[other].name}", Asked(other, "", "")) for other in OTHERS] + [
        (f"with {name}", Asked(FIRST, "", "", packages=(name,))) for name in COMPANIONS
    ]
    lines: list[str] = []
    for torch in answers:
        usual = _outcomes(old, new, Asked(FIRST, "", "", torch))
        lines += _lines(old, f"torch_version={torch}", usual)
        for kind, asked in kinds:
            found = _outcomes(old, new, replace(asked, torch=torch))
            other = {where: text for where, text in found.items() if text != usual.get(where)}
            lines += _lines(old, f"torch_version={torch}, {kind}", other)
    return lines


def _outcomes(old: Matrix, new: Matrix, like: Asked) -> dict[Where, str]:
    """What happens to the projects on each compute platform and Python, where something does."""
    menus = old.policy
    names = dict.fromkeys([*menus.compute_platforms.offered, *menus.compute_platforms.retired])
    minors = dict.fromkeys([*menus.python.offered, *menus.python.retired])
    found = {}
    for name, python in product(names, minors):
        asked = replace(like, compute_platform=name, python=python)
        before = kept_build(old, asked)
        if before and {*asked.packages} <= {*before.versions}:
            found[name, python] = outcome(old, new, before)
    return {where: text for where, text in found.items() if text}


def outcome(old: Matrix, new: Matrix, before: Build) -> str:
    """What the next update does to the projects that have a build; empty if nothing."""
    after = kept_build(new, before.asked)
    if after is None:
        return f"cannot be updated: {why_no_build(new, before.asked).reason}"
    held = companion_note(new, after)
    if after.torch != before.torch:
        said = f"go from torch {before.torch} to {after.torch}"
    elif held and not companion_note(old, before):
        why = held.partition(", so ")[0]
        return f"stay at torch {after.torch}, since {why}, and are told how to go on"

    elif why := _falls_behind(old, new, before):
        said = f"stay at torch {after.torch}, since {why}"
    elif after.versions != before.versions:
        rows = [
            f"{name} {before.versions.get(name, 'none')} to {version}"
            for name, version in after.versions.items()
            if version != before.versions.get(name)
        ]
        said = f"stay at torch {after.torch}, and go from {', '.join(rows)}"
    else:
        said = ""
    advice = _advice(new, after)
    if advice and advice == _advice(old, before):
        advice = ""
    return ", and ".join(filter(None, [said, advice]))


def _falls_behind(old: Matrix, new: Matrix, before: Build) -> str:
    """Why a project that had the newest torch gets none of a release that is new; empty if not."""
    asked = before.asked
    newest, now = (releases_of(m, m.policy.compute_platforms.default) for m in (old, new))
    if asked.torch != "latest" or not newest or newest[0] == now[0]:
        return ""
    if Version(before.torch) < Version(newest[0]) or Version(before.torch) >= Version(now[0]):
        return ""
    name, torch = asked.compute_platform, series(now[0])
    if now[0] in releases_of(new, name, torch):
        return f"torch {now[0]} has no wheels for Python {asked.python}"
    return why_no_build(new, replace(asked, torch=torch)).reason


def _advice(matrix: Matrix, build: Build) -> str:
    """What an update tells the owner of a project to do; empty if nothing."""
    if note := companion_note(matrix, build) or freed_note(matrix, build):
        return f"are told how to go on, since {note.partition(', so ')[0]}"
    if first_without(matrix, build.asked.compute_platform) is None:
        return ""  # and all its alternatives need not be looked up
    others = alternatives(matrix, build.asked)
    if not ended_note(matrix, build, others):
        return ""
    found = successors(matrix, build, others)
    if not found:
        return "are told that no newer torch fits"
    return f"are told to move to {found[0].asked.compute_platform}"


def _lines(old: Matrix, answer: str, found: dict[Where, str]) -> Iterator[str]:
    """A line for each outcome, with all the projects that it happens to."""
    groups: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for (name, python), text in found.items():
        groups[text][name].add(python)
    for text, names in groups.items():
        by_python: defaultdict[frozenset[str], list[str]] = defaultdict(list)
        for name, minors in names.items():
            by_python[frozenset(minors)].append(name)
        for pythons, same in by_python.items():
            on = f"compute_platform={_either(same)}, python_version={_span(pythons)}"
            yield f"projects with {on}, {answer}: {text}"


def _either(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def _span(minors: Iterable[str]) -> str:
    found = sorted(minors, key=python_key)
    try:
        return span(found)
    except ValueError:
        return _either(found)
