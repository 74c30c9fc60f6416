"""Writes what was seen into version_matrix.yml, and leaves every other line as it was."""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from copier.errors import UserMessageError
from packaging.version import Version
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark
from ruamel.yaml.scalarstring import DoubleQuotedScalarString
from ruamel.yaml.tokens import CommentToken

from refresh.findings import INDEX_SOURCE, PYPI_SOURCE, SOURCES, Edit
from refresh.rows import accelerator, page_key
from torch_template.matrix.facts import toolkit_name
from torch_template.matrix.loading import MATRIX, load_matrix
from torch_template.matrix.model import Matrix

IN_LINES = ("index", "more_python", "not_offered")  # what a row in lines has in lines, too
KEYS = (  # the order of the keys of a row
    *("released", "torch", "python", "more_python", "python_excluded", "platforms", "index"),
    *("L", "A", "W", "M", "toolkit", "pypi", "linux", "windows", "poetry_pins", "inferred"),
    *("one_source", "not_offered", "confidence", "sources"),
)


class UnwritableError(Exception):
    """The result would not be a valid matrix: one sentence that says why."""


def _ruamel() -> YAML:
    yml = YAML()
    yml.preserve_quotes = True
    yml.width = 1 << 16  # a row is one line, however long
    yml.indent(mapping=2, sequence=4, offset=2)
    return yml


def edited(text: str, edits: Iterable[Edit], today: date) -> str:
    """The YAML with the edits in it; the same text if there are none.

    UnwritableError: the result would not be valid.
    """
    edits = [*edits]
    if not edits:
        return text
    data = _ruamel().load(text)
    for edit in edits:
        _apply(data, edit)
        _name_sources(data, edit)
    for source in sorted({name for edit in edits for name in _seen_on(edit)} - {*data["sources"]}):
        _insert(data["sources"], source, DoubleQuotedScalarString(SOURCES[source]), str)
    data["reviewed"] = today
    out = io.StringIO(newline="")
    _ruamel().dump(data, out)
    loaded(out.getvalue())
    return out.getvalue()


def loaded(text: str) -> Matrix:
    """The matrix that a text is. UnwritableError: it is none, or its rows do not fit together."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, MATRIX.name)
        path.write_bytes(text.encode())
        try:
            matrix = load_matrix.__wrapped__(path)
        except UserMessageError as error:
            raise UnwritableError(str(error)) from error
    for why in _disorder(matrix):
        raise UnwritableError(f"{MATRIX.name}: {why}. Correct it by hand.")
    return matrix


def write(path: Path, text: str, before: str | None = None) -> None:
    """Put the text in place of the file, or of what it links to, whole or not at all.

    UnwritableError: the file does not say any more what it said `before`.
    """
    path = path.resolve()
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        Path(name).chmod(path.stat().st_mode)
        if before is not None and path.read_bytes() != before.encode():
            raise UnwritableError("somebody has changed it meanwhile. Run this again.")
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


# --- one edit ----------------------------------------------------------------------------------


def _apply(data: CommentedMap, edit: Edit) -> None:
    *way, last = edit.path
    node = data
    for key in way:
        node = node[key]
    there = node.get(last)
    if edit.value is None:
        node.pop(last, None)
    elif isinstance(there, CommentedSeq) and not isinstance(edit.value, list):
        known = [*data["compute_platforms"]]
        later = known[known.index(edit.value) + 1 :] if edit.value in known else []
        at = next((n for n, one in enumerate(there) if one in later), len(there))
        there.insert(at, _styled(edit.value, flow=True))
    else:
        value = _styled(edit.value, flow=not _in_lines(edit.path, edit.value))
        if isinstance(there, CommentedMap) or last in node:
            node[last] = value
        else:
            if not node:
                node = _fresh(data, way)
            _insert(node, last, value, _order(edit.path))


def _in_lines(path: tuple[str, ...], value: Any) -> bool:  # noqa: ANN401
    """Whether a row is written in lines: a release, and a companion that says where it is."""
    if path[-1] == "more_python":
        return True
    whole = path[0] == "releases" and len(path) == 2
    return whole or (path[0] == "companions" and isinstance(value, dict) and "index" in value)


def _styled(value: Any, *, flow: bool) -> Any:  # noqa: ANN401
    """Plain data as the file has it: in lines, or within braces in one line."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        row = CommentedMap()
        for key, one in value.items():
            inside = key in IN_LINES and bool(one)
            row[_quoted(key)] = _styled(one, flow=flow or not inside)
        (row.fa.set_flow_style if flow else row.fa.set_block_style)()
        return row
    if isinstance(value, list):
        seq = CommentedSeq(_styled(one, flow=True) for one in value)
        (seq.fa.set_flow_style if flow else seq.fa.set_block_style)()
        return seq
    return value


def _quoted(value: str) -> str:
    """A text in double quotes where YAML would take it for a number, or for more than a word."""
    plain = re.fullmatch(r"[A-Za-z0-9][\w .-]*", value) and not re.fullmatch(r"[\d.]*\d", value)
    versions = re.fullmatch(r"\d+(\.\d+){2,}", value)
    return value if plain or versions else DoubleQuotedScalarString(value)


def _fresh(data: CommentedMap, way: list[str]) -> CommentedMap:
    """A map in the place of `{}  # not established`, without that comment."""
    parent: Any = data
    for key in way[:-1]:
        parent = parent[key]
    row = CommentedMap()
    (row.fa.set_block_style if way[-1] in IN_LINES else row.fa.set_flow_style)()
    parent.ca.items.pop(way[-1], None)
    parent[way[-1]] = row
    return row


def _insert(node: CommentedMap, key: str, value: Any, order: Callable[[str], Any]) -> None:  # noqa: ANN401
    """Put a key at its place, with a blank line before it where the others have one."""
    keys = [*node]
    at = next((n for n, one in enumerate(keys) if order(one) > order(key)), len(keys))
    spaced = len(keys) > 2 and all(_blank_before(node, one) for one in keys[1:])
    end = keys[-1] if keys and at == len(keys) else None
    node.insert(at, _quoted(key), value)
    if end is not None and (after := node.ca.items.get(end, [None] * 4)[2]):
        # What follows the last row, which ruamel keeps behind its value, follows the new one now.
        node.ca.items[key] = [None, None, after, None]
        node.ca.items[end][2] = None
    if spaced and at:
        node.ca.items[key] = [None, [CommentToken("\n", CommentMark(0), None)], None, None]


def _blank_before(node: CommentedMap, key: str) -> bool:
    before = node.ca.items.get(key, [None] * 4)[1]
    return bool(before) and before[0].value.startswith("\n")


def _order(path: tuple[str, ...]) -> Callable[[str], Any]:
    """The order of the rows beside the one at this path."""
    table, depth = path[0], len(path)
    if (table, depth) in (("releases", 2), ("companions", 3), ("cuda_toolkits", 3)):
        return Version
    if table == "compute_platforms":
        return _menu_key
    if "index" in path[:-1] and path[-2] == "index":
        return page_key
    return KEYS.index


def _menu_key(page: str) -> tuple[int, Version]:
    """Sort key of compute_platforms: the kinds as in KINDS, each with the newest first."""
    kind, version = page_key(page)
    return kind, _Down(version)


class _Down(Version):
    """A version that is sorted the other way round."""

    def __init__(self, version: Version) -> None:
        super().__init__(str(version))

    def __lt__(self, other: Any) -> bool:  # noqa: ANN401
        return super().__gt__(other)

    def __gt__(self, other: Any) -> bool:  # noqa: ANN401
        return super().__lt__(other)


def _seen_on(edit: Edit) -> list[str]:
    """The sources of an edit: those of its row, or by the page that a key of a row is about."""
    if isinstance(edit.value, Mapping) and "sources" in edit.value:
        return [*edit.value["sources"]]
    if edit.path[0] in ("policy", "compute_platforms"):
        return []
    where = {"index": [INDEX_SOURCE], "pypi": [PYPI_SOURCE], "poetry_pins": [PYPI_SOURCE]}
    return next((where[key] for key in edit.path if key in where), [INDEX_SOURCE, PYPI_SOURCE])


def _name_sources(data: CommentedMap, edit: Edit) -> None:
    """Add the sources of a changed key to its row."""
    row = data
    for key in edit.path[:-1]:
        row = row[key]
        if isinstance(row, CommentedMap) and "sources" in row and "confidence" in row:
            row["sources"] += [one for one in _seen_on(edit) if one not in row["sources"]]
            return


# --- what the model does not look at -----------------------------------------------------------


def _disorder(matrix: Matrix) -> Iterator[str]:
    """What a person would see in the file, and the model does not: rows that are out of place."""
    tables: dict[str, Mapping[str, object]] = {
        "releases": matrix.releases,
        "cuda_toolkits": matrix.cuda_toolkits.versions,
        **matrix.companions,
    }
    for table, rows in tables.items():
        if [*rows] != sorted(rows, key=Version):
            yield f"the rows of {table} do not stand in the order of their versions"
    names = [*matrix.compute_platforms]
    if names != sorted(names, key=_menu_key):
        yield "compute_platforms do not stand newest first within their accelerator"
    menu = matrix.policy.compute_platforms.offered
    if menu != [name for name in names if name in menu]:
        yield "policy: compute_platforms do not stand in the order of compute_platforms"
    for torch, release in matrix.releases.items():
        for page, row in release.index.items():
            fits = row.toolkit is None or row.toolkit.startswith(f"{toolkit_name(page)}.")
            if not fits or (accelerator(page) == "rocm" and row.platforms != ("L",)):
                yield f"release {torch}: {page} has what no such build has ({row})"
            if "M" in row.platforms and page != "cpu":
                yield f"release {torch}: {page} has wheels for macOS, which only cpu has"
        if release.index and not {*release.pypi.on().values()} <= {*release.index}:
            yield f"release {torch}: PyPI's wheel is a build that the index does not have"
