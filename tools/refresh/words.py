"""What a refresh found, in words: the same for the terminal, the pull request and the changelog."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from packaging.version import Version
from pydantic import BaseModel

from refresh.beside import only_torch
from refresh.findings import Finding
from refresh.rows import (
    accelerator,
    companion_promised,
    letters,
    page_key,
    promised,
    told,
)
from torch_template.matrix.companions import partner
from torch_template.matrix.facts import PLATFORMS, PYPI, python_key
from torch_template.matrix.model import Companion, Matrix, Release
from torch_template.moves import listed

HEADS = {
    "half there": "not taken yet",
    "not taken": "not taken",
    "promised": "promised, not there",
    "differs": "differs",
    "gap": "not known",
}


def what_is_new(old: Matrix, new: Matrix) -> list[str]:
    """A line for each release, platform and companion that is new or has more than it had."""
    lines = []
    for torch in reversed(new.newest_first):
        if torch not in old.releases:
            lines.append(_new_release(new, torch))
        elif more := promised(new.releases[torch]) - promised(old.releases[torch]):
            lines.append(f"torch {torch} has more: {told(more)}")
        elif keys := _others(old.releases[torch], new.releases[torch]):
            lines.append(f"torch {torch}: more is known of {keys}")
    for name, known in new.compute_platforms.items():
        if name not in old.compute_platforms:
            why = f", which nobody gets: {known.blocked}" if known.blocked else ""
            lines.append(f"compute platform {name} is new{why}")
    for name, rows in new.companions.items():
        for version, one in rows.items():
            before = old.companions.get(name, {}).get(version)
            lines += _companion(old, new, name, version, one, before)
    for toolkit, facts in new.cuda_toolkits.versions.items():
        if toolkit not in old.cuda_toolkits.versions:
            pins = ", ".join(f"{name} {one}" for name, one in (facts.poetry_pins or {}).items())
            what = "not known" if facts.poetry_pins is None else pins or "none needed"
            lines.append(f"CUDA toolkit {toolkit} is new; Poetry's pins for it: {what}")
        elif facts != old.cuda_toolkits.versions[toolkit]:
            keys = _others(old.cuda_toolkits.versions[toolkit], facts)
            lines.append(f"CUDA toolkit {toolkit}: more is known of {keys}")
    for row in new.unsuffixed:
        if row not in old.unsuffixed:
            where = ", ".join(PLATFORMS[p] for p in row.platforms)
            lines.append(f"{row.package} has no suffix on {where} in torch {row.since}")
    return lines


def _others(old: BaseModel, new: BaseModel) -> str:
    """The keys of a row that say something else than they did."""
    keys = [key for key in type(new).model_fields if getattr(old, key) != getattr(new, key)]
    names = {"inferred": "what was inferred", "one_source": "what one source told"}
    return listed([names.get(key, key) for key in keys if key not in ("confidence", "sources")])


def what_to_do(findings: Iterable[Finding]) -> list[str]:
    """A line for each finding, those of one kind together."""
    rows = sorted(findings, key=lambda one: [*HEADS].index(one.kind))
    return [f"{one.about} ({HEADS[one.kind]}): {one.text}" for one in rows]


def parts(
    new: Iterable[str], projects: Iterable[str], findings: Iterable[str]
) -> dict[str, list[str]]:
    """The lines of each part that has any, by its heading."""
    rows = {
        "New on the PyTorch index and on PyPI:": new,
        "What the next update does to projects that exist:": projects,
        "To be looked at by a person:": findings,
    }
    said = {head: [plain(line) for line in lines] for head, lines in rows.items()}
    return {head: lines for head, lines in said.items() if lines}


def text(said: Mapping[str, Iterable[str]]) -> str:
    """All parts, as Markdown that is read as plain text, too; empty if there is nothing."""
    return "\n\n".join(
        "\n".join([head, "", *(f"- {line}" for line in lines)]) for head, lines in said.items()
    )


def plain(line: str) -> str:
    """A line that stays one, and means no HTML, link, mention or order to a CI.

    What an index says gets into it, and it gets into pull requests and changelogs.
    """
    shown = " ".join("".join(c if c.isprintable() else " " for c in line).split())
    shown = re.sub(r"<(?=[A-Za-z/!?])", r"\\<", shown)
    shown = re.sub(r"\](?=[(\[:])", r"\\]", shown)
    shown = re.sub(r"\[((?:skip|no|ci|actions)\b[^\]]*)\]", r"(\1)", shown, flags=re.IGNORECASE)
    shown = re.sub(r"@(?=\w)", "@ ", shown)
    return shown.replace("`", "'") if shown.count("`") % 2 else shown


# --- a release of torch ------------------------------------------------------------------------


def _new_release(matrix: Matrix, torch: str) -> str:
    release = matrix.releases[torch]
    day = f" of {release.released:%Y-%m-%d}" if release.released else ""
    head = f"torch {torch}{day}"
    older = [v for v in matrix.newest_first if Version(v) < Version(torch)]
    before = next((v for v in older if matrix.releases[v].index), None)
    if not release.index:
        head += " (on PyPI only)"
    changes = [*_changes(matrix, before, torch)] if before else []
    changes += [*_beside(matrix, before, torch)]
    return f"{head}: {'; '.join(changes)}" if changes else head


def _changes(matrix: Matrix, before: str, torch: str) -> Iterator[str]:
    """What a release has otherwise than the one before it on the index."""
    old, new = matrix.releases[before], matrix.releases[torch]
    if new.index:
        if dropped := sorted({*old.index} - {*new.index}, key=page_key):
            yield f"drops {listed(dropped)}{_lost_gpus(matrix, before, torch, dropped)}"
        if added := sorted({*new.index} - {*old.index}, key=page_key):
            yield f"brings {listed(added)}"
        yield from _systems(old, new)
    yield from _pythons(old, new)
    for letter, build in new.pypi.on().items():
        was = old.pypi.on().get(letter)
        if was and was != build:
            yield f"PyPI's wheel for {PLATFORMS[letter]} is for {build}, and was for {was}"
    for letter in old.pypi.on().keys() - new.pypi.on().keys():
        yield f"PyPI has none for {PLATFORMS[letter]} any more"


def _systems(old: Release, new: Release) -> Iterator[str]:
    """The platforms that a compute platform is not, or newly, built for."""
    for name in sorted({*old.index} & {*new.index}, key=page_key):
        one, other = {*old.index[name].platforms}, {*new.index[name].platforms}
        for letter in letters(one ^ other).split():
            yield f"{name} {'no more' if letter in one else 'now'} on {PLATFORMS[letter]}"


def _pythons(old: Release, new: Release) -> Iterator[str]:
    had, has = _all_pythons(old), _all_pythons(new)
    if out := sorted(had.keys() - has.keys(), key=python_key):
        yield f"Python {listed(out)} out"
    for minor in sorted(has, key=python_key):
        where = "" if has[minor] is None else f", not everywhere ({has[minor]})"
        if minor not in had or (had[minor] and not has[minor]):
            yield f"Python {minor} in{where}"


def _all_pythons(release: Release) -> dict[str, str | None]:
    """Each Python, with where it is if that is not everywhere."""
    some = {
        minor: f"{', '.join(PLATFORMS[p] for p in row.platforms)}"
        + (f", not {' '.join(row.not_for)}" if row.not_for else "")
        for row in release.more_python
        for minor in row.python
    }
    return {**some, **dict.fromkeys(release.python)}


def _lost_gpus(matrix: Matrix, before: str, torch: str, dropped: list[str]) -> str:
    """The GPU generations that only dropped platforms were built for, as far as that is known.

    Of a release that nobody has looked at yet, the others count as they were when last seen.
    """
    others = [page for page in matrix.releases[torch].index if accelerator(page) == "cuda"]
    found = {page: _generations(matrix, page, torch) for page in others}
    kept = {name for names in found.values() for name in names}
    had = [name for page in dropped for name in _generations(matrix, page, before)]
    lost = [name for name in dict.fromkeys(had) if name not in kept]
    if not lost:
        return ""
    if all(found.values()):
        return f": {listed(lost)} GPUs have no build any more"
    return f": no build for {listed(lost)} GPUs is known any more"


def _generations(matrix: Matrix, page: str, torch: str) -> list[str]:
    """The GPU generations of a platform in a release, or else when somebody last looked."""
    rows = [row for row in matrix.gpu_architectures.get(page, []) if {*row.platforms} & {*"LW"}]
    known = [row for row in rows if any(row.holds(torch, p) for p in "LW")]
    if not known and rows:
        last = max(Version(row.until) for row in rows)
        known = [row for row in rows if Version(row.until) == last]
    names = matrix.gpu_generations.names
    return list(dict.fromkeys(names[sm] for row in known for sm in row.sm if sm in names))


def _beside(matrix: Matrix, before: str | None, torch: str) -> Iterator[str]:
    """The companions of a release, and those that it has no more."""
    release = matrix.releases[torch]
    usual = matrix.policy.compute_platforms.default
    page = usual if usual in release.index else next(iter(release.index), PYPI)
    for name, versions in matrix.partners[torch].items():
        asked = (partner(matrix, torch, name, page, python) for python in release.python)
        if found := next(filter(None, asked), None):
            yield f"with {name} {found.version}"
        elif not versions and before and matrix.partners[before][name]:
            yield f"no {name} works with it yet"


# --- companions --------------------------------------------------------------------------------


def _companion(
    old: Matrix, new: Matrix, name: str, version: str, row: Companion, before: Companion | None
) -> Iterator[str]:
    if before is None:
        exact = only_torch(new, row.torch)
        yield f"{name} {version} is new, for torch {exact or row.torch}"
        return
    if row == before:
        return
    torch = next((v for v in new.newest_first if version in new.partners[v][name]), None)
    if torch and torch in old.releases:
        more = companion_promised(new, row, torch) - companion_promised(old, before, torch)
        if more:
            yield f"{name} {version} has more: {told(more)}"
        elif keys := _others(before, row):
            yield f"{name} {version}: more is known of {keys}"
