"""The matrix's data, to be changed by a test, and the queries that the menus make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from render.projects import FROZEN
from torch_template.build import Asked, Build
from torch_template.matrix.facts import all_series
from torch_template.matrix.loading import MATRIX, load_matrix
from torch_template.matrix.model import Matrix, Release
from torch_template.menus import (
    Choice,
    compute_platform_choices,
    torch_package_choices,
    torch_version_choices,
)
from torch_template.reasons import Unfit, resolve

SOURCED: dict[str, Any] = {"confidence": "verified", "sources": ["PYPI"]}
MANAGERS = ("uv", "poetry", "pip")
MATRIX_TEXT = FROZEN.read_text(encoding="utf-8")


def data(text: str = MATRIX_TEXT) -> dict[str, Any]:
    """A fresh copy of what the frozen YAML says, or another one."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    fresh: dict[str, Any] = yaml.load(text, loader)
    return fresh


def shipped_data() -> dict[str, Any]:
    """A fresh copy of what the shipped YAML says, for what holds of any facts."""
    return data(MATRIX.read_text(encoding="utf-8"))


def frozen() -> Matrix:
    """The matrix of the frozen YAML: that of the templates which the tests render."""
    return load_matrix(FROZEN)


def data_as_of(torch: str) -> dict[str, Any]:
    """The data as if no release were newer: what a test says of it stays true when it grows."""
    facts = data()
    for newer in facts["releases"].copy():
        if Version(newer) > Version(torch):
            del facts["releases"][newer]
    for rows in facts["companions"].values():
        for version, row in rows.copy().items():
            if not any(name in SpecifierSet(row["torch"]) for name in facts["releases"]):
                del rows[version]
    return facts


@cache
def as_of(torch: str) -> Matrix:
    """The matrix of that data."""
    return Matrix.model_validate(data_as_of(torch))


def grown() -> dict[str, Any]:
    """The matrix as a maintainer might write it after torch 2.16 with CUDA 14.0 and ROCm 8.0."""
    facts = data_as_of("2.15.0")
    facts["compute_platforms"] |= {
        "cu140": {"name": "CUDA 14.0", "accelerator": "cuda"},
        "rocm8.0": {"name": "ROCm 8.0", "accelerator": "rocm"},
    }
    facts["drivers"]["14"] = {"linux": "620.10.01", "windows": "620.20", **SOURCED}
    pins = {"nvidia-cublas": "14.0.1.2"}
    facts["cuda_toolkits"]["versions"]["14.0.1"] = {"poetry_pins": pins, **SOURCED}
    facts["gpu_generations"]["names"]["13.0"] = "Rubin"
    facts["gpu_architectures"]["cu140"] = [
        {"platforms": "L A W", "since": "2.16.0", "sm": "8.0 9.0 10.0 12.0 13.0", **SOURCED}
    ]
    facts["releases"]["2.16.0"] = {
        "released": None,
        "python": "3.11 - 3.15",
        "index": {
            "cpu": {"platforms": "L A W M"},
            "cu140": {"platforms": "L A W", "toolkit": "14.0.1"},
            "rocm8.0": {"platforms": "L"},
        },
        "pypi": {"L": "cu140", "A": "cu140", "W": "cpu", "M": "cpu"},
        **SOURCED,
    }
    facts["companions"]["torchvision"]["0.30.0"] = {"torch": "==2.16.0", **SOURCED}
    menu = facts["policy"]["compute_platforms"]
    menu["offered"] = ["cpu", "cu140", *menu["offered"][1:], "rocm8.0"]
    facts["policy"]["python"]["offered"].append("3.15")
    return facts


def usable(choices: list[Choice]) -> list[str]:
    """The values that a menu does not show disabled."""
    return [choice.value for choice in choices if not choice.why_not]


def has_build(release: Release, compute_platform: str) -> bool:
    """Whether a release has a compute platform, on its index or as PyPI's own wheels."""
    return compute_platform in (*release.index, *release.pypi.on().values())


def subsets(packages: list[str]) -> Iterator[tuple[str, ...]]:
    """None of the companions on offer, the first, and all."""
    yield from dict.fromkeys(((), (*packages[:1],), (*packages,)))


def offered(matrix: Matrix, manager: str, python: str, compute_platform: str) -> Iterator[Asked]:
    """Every set of answers that a person can choose, once these three are chosen."""
    asked = Asked(manager, python, compute_platform)
    if compute_platform not in usable(compute_platform_choices(matrix, asked)):
        return
    for torch in usable(torch_version_choices(matrix, asked)):
        of_series = replace(asked, torch=torch)
        for packages in subsets(usable(torch_package_choices(matrix, of_series))):
            yield replace(of_series, packages=packages)


@cache
def everything_asked(facts: Path = MATRIX) -> dict[Asked, Build | Unfit]:
    """The answer to every question that a menu asks of a matrix: the shipped one."""
    matrix = load_matrix(facts)
    menu = matrix.policy
    found = {}
    for manager in MANAGERS:
        for python in menu.python.listed(None):
            for name in menu.compute_platforms.listed(None):
                latest = Asked(manager, python, name)
                found[latest] = resolve(matrix, latest)
                if isinstance(found[latest], Build):
                    for torch in all_series(matrix):
                        asked = replace(latest, torch=torch)
                        found[asked] = resolve(matrix, asked)
    return found


def every_build(facts: Path = MATRIX) -> list[Build]:
    """Every build that a menu can lead to, without companions."""
    return [found for found in everything_asked(facts).values() if isinstance(found, Build)]
