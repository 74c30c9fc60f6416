"""The frozen version_matrix.yml as it was when a release of torch was the newest one."""

from __future__ import annotations

import io
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version
from ruamel.yaml import YAML

from matrix.doctored import MATRIX_TEXT


def cut_back(torch: str) -> str:
    """The text without what came after a release: of its comments, those of the rows stay.

    `index_only:` stays as it is, which no refresh writes.
    """
    yml = YAML()
    yml.preserve_quotes, yml.width = True, 1 << 16
    yml.indent(mapping=2, sequence=4, offset=2)
    facts: Any = yml.load(MATRIX_TEXT)
    releases = facts["releases"]
    _drop(releases, [name for name in releases if Version(name) > Version(torch)])
    for rows in facts["companions"].values():
        others = [v for v, row in rows.items() if not any(_fits(row, name) for name in releases)]
        _drop(rows, others)
    used = {"cpu", "pypi", *(page for row in releases.values() for page in row["index"])}
    unused = [name for name in facts["compute_platforms"] if name not in used]
    _drop(facts["compute_platforms"], unused)
    offered = facts["policy"]["compute_platforms"]["offered"]
    for name in unused:
        offered.remove(name)
    toolkits = facts["cuda_toolkits"]["versions"]
    named = {row.get("toolkit") for one in releases.values() for row in one["index"].values()}
    _drop(toolkits, [name for name in toolkits if name not in named])
    architectures = facts["gpu_architectures"]
    _drop(architectures, [name for name in architectures if name not in used])
    for name, spans in architectures.items():
        architectures[name] = [row for row in spans if Version(row["since"]) <= Version(torch)]
        for row in architectures[name]:
            row["until"] = min(row["until"], torch, key=Version)
    drivers = facts["drivers"]
    majors = {name[2:-1] for name in used if name.startswith("cu")}
    _drop(drivers, [major for major in drivers if major not in majors])
    out = io.StringIO()
    yml.dump(facts, out)
    return out.getvalue()


def _drop(rows: dict[str, Any], names: list[str]) -> None:
    for name in names:
        del rows[name]


def _fits(row: dict[str, Any], torch: str) -> bool:
    return torch in SpecifierSet(row["torch"])
