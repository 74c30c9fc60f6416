"""The whole of a refresh, on the index of the tests, which knows nothing of the matrix."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

import refresh_matrix
from install.catalog import sections
from install.loopback_index import LoopbackIndex
from matrix.doctored import frozen
from matrix.test_listings import PYTHONS, Wheel, exists, served, wheels
from refresh.cutting import cut_back
from refresh.writing import loaded
from torch_template.matrix.companions import partner
from torch_template.matrix.facts import PLATFORMS, PYPI, is_unsuffixed, wheel_platforms
from torch_template.matrix.model import Matrix

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("refresh")]
THEN = "2.9.1"
COMPANIONS = ("torchvision", "torchaudio")  # the third declares no torch


class Run(NamedTuple):
    """A run of the command: how it ended, what it told, and the file after it."""

    code: int
    told: str
    file: Path


class Refreshes:
    """The command on the index of the tests, with a file that begins as the matrix was then."""

    def __init__(self, index: LoopbackIndex, folder: Path) -> None:
        self.index, self.folder, self.file = index, folder, folder / "version_matrix.yml"
        self.file.write_text(cut_back(THEN), encoding="utf-8")

    def run(self, capfd: pytest.CaptureFixture[str], *options: str) -> Run:
        where = [f"--index-url={self.index.pytorch_url}", f"--pypi-url={self.index.simple_url}"]
        files = [f"--matrix={self.file}", f"--cache={self.folder / 'cache'}"]
        with self.index.root_page("nightly", "cpu_pypi_pkg"):
            code = refresh_matrix.main([*where, *files, *options])
        return Run(code, capfd.readouterr().out, self.file)


@pytest.fixture(scope="module")
def refreshes(index: LoopbackIndex, tmp_path_factory: pytest.TempPathFactory) -> Refreshes:
    return Refreshes(index, tmp_path_factory.mktemp("refresh"))


def promised(matrix: Matrix) -> Iterator[tuple[str, Wheel]]:
    """Every wheel of every build, also of those that a newer patch has taken the place of."""
    names = [name for name, row in matrix.compute_platforms.items() if not row.blocked]
    for torch, name, python in product(matrix.releases, names, PYTHONS):
        letters = wheel_platforms(matrix, torch, name, python)
        packages = [("torch", torch, letters)]
        for companion in COMPANIONS:
            if found := partner(matrix, torch, companion, name, python):
                there = [letter for letter in letters if letter in found.platforms]
                packages.append((companion, found.version, there))
        for package, version, on in packages:
            for letter in on:
                page = name if letter != "M" else PYPI
                bare = page == PYPI or is_unsuffixed(matrix, package, torch, letter)
                full = version if bare else f"{version}+{page}"
                yield torch, Wheel(page, package, full, python, PLATFORMS[letter])


@cache
def now() -> frozenset[tuple[str, Wheel]]:
    """What the frozen matrix promises, as far as the index of the tests has it."""
    return frozenset(one for one in promised(frozen()) if exists(one[1], served(one[1].page)))


def test_one_refresh_leads_from_an_old_matrix_to_now(
    refreshes: Refreshes, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every release, platform, Python and suffix that the index and the matrix have in common."""
    run = refreshes.run(capfd, "--write")
    assert (run.code, "(differs)" in run.told, "(promised" in run.told) == (1, False, False)
    text = refreshes.file.read_text(encoding="utf-8")
    old, new = loaded(cut_back(THEN)), loaded(text)
    assert [*new.releases] == [*frozen().releases]
    assert [*new.compute_platforms] == [*frozen().compute_platforms]
    for name, release in frozen().releases.items():
        assert (name, new.releases[name].released) == (name, release.released)
        if name not in old.releases:
            assert (name, new.releases[name].pypi) == (name, release.pypi)
    toolkits = frozen().cuda_toolkits.versions
    for name, known in new.cuda_toolkits.versions.items():
        assert (name, known.poetry_pins) == (name, toolkits[name].poetry_pins)
    written = {*promised(new)}

    brought_back = {one for one in now() if one[0] not in old.releases}
    torch = {one for one in brought_back if one[1].package == "torch"}
    assert len(torch) > 700
    assert torch <= written
    for name in COMPANIONS:  # by hand: a torchaudio that declares no torch
        row = frozen().companions[name]
        derived = {version for version in row if version != "2.11.0"}
        ours = {
            one
            for one in brought_back
            if one[1].package == name and one[1].version.partition("+")[0] in derived
        }
        missing = {one for one in ours - written if not _newer_beside(one, written)}
        assert (len(ours) > 50, missing) == (True, set())

    new_facts = {one for one in written if one[0] not in old.releases}
    assert len(new_facts) > 1500
    false = {one for one in new_facts if not exists(one[1], served(one[1].page))}
    assert false == set()


def _newer_beside(one: tuple[str, Wheel], written: set[tuple[str, Wheel]]) -> bool:
    """Whether there is a newer companion, which the wheel's own METADATA lets stand there."""
    torch, wheel = one
    return any(
        other[0] == torch
        and other[1].package == wheel.package
        and (other[1].page, other[1].python, other[1].platform)
        == (wheel.page, wheel.python, wheel.platform)
        for other in written
    )


def test_the_listings_are_in_it(refreshes: Refreshes, capfd: pytest.CaptureFixture[str]) -> None:
    """File names as published: what a row now promises of those versions is among them."""
    refreshes.run(capfd, "--write")
    new = loaded(refreshes.file.read_text(encoding="utf-8"))
    checked = 0
    for page, names in sections("index_listing.txt").items():
        listed = wheels(page, tuple(names))
        versions = {(one.package, one.version) for one in listed}
        for _, wheel in promised(new):
            if wheel.page == page and (wheel.package, wheel.version) in versions:
                assert exists(wheel, listed), wheel
                checked += 1
    assert checked > 500


def test_the_second_refresh_writes_nothing_and_tells_the_same(
    refreshes: Refreshes, capfd: pytest.CaptureFixture[str]
) -> None:
    refreshes.run(capfd, "--write")
    before = refreshes.file.read_bytes()
    again = refreshes.run(capfd, "--write", "--json")
    told = json.loads(again.told)
    assert (told["edits"], refreshes.file.read_bytes() == before) == ([], True)
    assert refreshes.run(capfd, "--check").told.strip() == told["text"].strip()
    assert again.code == bool(told["findings"])


def test_a_check_writes_nothing(refreshes: Refreshes, capfd: pytest.CaptureFixture[str]) -> None:
    refreshes.file.write_text(cut_back("2.14.0"), encoding="utf-8")
    before = refreshes.file.read_bytes()
    run = refreshes.run(capfd, "--check")
    assert (run.code, refreshes.file.read_bytes() == before) == (1, True)
    assert "- torch 2.14.1 of 2026-09-30: " in run.told
    assert "go from torch 2.14.0 to 2.14.1" in run.told
