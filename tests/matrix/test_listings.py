"""The matrix against the names of real wheels, in both directions.

tests/data/index_listing.txt holds pages of the PyTorch index and of PyPI that are complete for the
versions in them; tests/data/catalog.txt is what the tests' own index serves, for every release.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import pytest
from packaging.utils import parse_wheel_filename

from install.catalog import catalog, sections
from matrix.doctored import as_of, data
from torch_template.build import Asked, Build
from torch_template.matrix.facts import COMPANIONS, PLATFORMS, PYPI, series
from torch_template.reasons import resolve

LISTINGS = sections("index_listing.txt")
PACKAGES = ("torch", *COMPANIONS)
SYSTEMS = {"manylinux": "linux", "linux": "linux", "win": "windows", "macosx": "macos"}
PYTHONS = tuple(f"3.{minor}" for minor in range(8, 16))


class Wheel(NamedTuple):
    """What tells one wheel from another: `python` is None for a wheel of any Python."""

    page: str
    package: str
    version: str
    python: str | None
    platform: str


@cache
def wheels(index: str, names: tuple[str, ...]) -> frozenset[Wheel]:
    """The wheels with the GIL that file names describe."""
    found = set()
    for name in names:
        package, version, _, tags = parse_wheel_filename(name)
        for tag in tags:
            if tag.abi.endswith("t"):
                continue  # free-threaded
            system, _, rest = tag.platform.partition("_")
            kind = SYSTEMS.get(system.rstrip("0123456789"), system)
            machine = rest.rpartition("_")[2] if not rest.endswith("x86_64") else "x86_64"
            python = f"3.{tag.interpreter[3:]}" if tag.interpreter.startswith("cp3") else None
            found.add(Wheel(index, package, str(version), python, f"{kind}-{machine}"))
    return frozenset(found)


@cache
def listed(index: str) -> frozenset[Wheel]:
    """The wheels on a real page."""
    return wheels(index, tuple(LISTINGS[index]))


@cache
def served(index: str) -> frozenset[Wheel]:
    """The wheels on the index of the tests."""
    return wheels(index, tuple(catalog().files(index)))


def promised(torch: str, compute_platform: str, python: str) -> Iterator[Wheel]:
    """Every wheel that a uv project with all the packages is told to install."""
    for packages in ((), *((companion,) for companion in COMPANIONS)):
        asked = Asked("uv", python, compute_platform, series(torch), packages)
        build = resolve(as_of(torch), asked)
        if not isinstance(build, Build):
            return
        for platform, row in build.wheels.items():
            for package, version in row.packages.items():
                page = PYPI if platform.startswith("macos") else compute_platform
                yield Wheel(page, package, version, python, platform)


def exists(wheel: Wheel, among: frozenset[Wheel]) -> bool:
    return wheel in among or wheel._replace(python=None) in among


def public(version: str) -> str:
    return version.partition("+")[0]


def complete() -> list[tuple[str, str]]:
    """The compute platforms and releases of torch that a listing has in full."""
    found = {(i, public(w.version)) for i in LISTINGS for w in listed(i) if w.package == "torch"}
    return sorted(found)


def test_the_listings_are_enough_to_be_worth_it() -> None:
    assert len(complete()) >= 25
    assert sum(len(listed(index)) for index, _ in complete()) > 500


@pytest.mark.parametrize(("index", "torch"), complete())
def test_every_wheel_that_is_promised_is_on_the_real_page(index: str, torch: str) -> None:
    versions = defaultdict(set)
    for name in {index, PYPI}:
        for wheel in listed(name):
            versions[name].add((wheel.package, public(wheel.version)))
    checked = 0
    for python in PYTHONS:
        for wheel in promised(torch, index, python):
            if (wheel.package, public(wheel.version)) in versions[wheel.page]:
                assert exists(wheel, listed(wheel.page)), wheel
                checked += 1
    assert checked


@pytest.mark.parametrize(("index", "torch"), complete())
def test_every_wheel_on_the_real_page_is_promised(index: str, torch: str) -> None:
    expected = {w for python in PYTHONS for w in promised(torch, index, python)}
    ours = dict.fromkeys(PACKAGES, "") | {w.package: public(w.version) for w in expected}
    assert ours["torch"] == torch
    assert ours["torchvision"]
    checked = 0
    for wheel in listed(index):
        known = (
            wheel.platform in PLATFORMS.values() and public(wheel.version) == ours[wheel.package]
        )
        from_pypi = wheel.platform.startswith("macos") and index != PYPI
        if not known or from_pypi:
            continue  # another release, a platform that we do not offer, or PyPI's to say
        checked += 1
        if wheel.python is None:
            assert any(wheel._replace(python=python) in expected for python in PYTHONS), wheel
        else:
            assert wheel in expected, wheel
    assert checked


@pytest.mark.parametrize("torch", data()["releases"])
def test_every_wheel_that_is_promised_is_on_the_index_of_the_tests(torch: str) -> None:
    checked = 0
    for name in as_of(torch).compute_platforms:
        for python in PYTHONS:
            for wheel in promised(torch, name, python):
                assert exists(wheel, served(wheel.page)), wheel
                checked += 1
    assert checked


@pytest.mark.parametrize("torch", [*data()["releases"]][1:])  # of 2.0.1 less is established
def test_every_torch_on_the_index_of_the_tests_is_promised_or_named_as_not_offered(
    torch: str,
) -> None:
    matrix = as_of(torch)
    release = matrix.releases[torch]
    checked = 0
    for name in (*release.index, PYPI):
        if matrix.compute_platforms[name].blocked:
            continue
        expected = {w for python in PYTHONS for w in promised(torch, name, python)}
        for wheel in served(name):
            ours = wheel.package == "torch" and public(wheel.version) == torch
            from_pypi = wheel.platform.startswith("macos") and name != PYPI
            if ours and not from_pypi and wheel.platform in PLATFORMS.values():
                left_out = f"{name} on {wheel.platform}: "
                of_python = f"{left_out}Python {wheel.python}, "
                named = (of_python, f"{left_out}torch ")
                assert wheel in expected or any(
                    row.startswith(named) for row in release.not_offered
                ), wheel
                checked += 1
    assert checked
