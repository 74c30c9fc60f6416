"""A refresh tells what is new, and what it means for the projects that exist."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from refresh.made_up import BASE, DAY, NEWEST, companion, less, refresh, release
from refresh.observed import Seen
from refresh.projects import outcome
from refresh.words import plain, what_is_new, what_to_do
from refresh.writing import loaded
from refresh_matrix import Refreshed
from torch_template.build import Asked, Build
from torch_template.resolving import kept_build


@cache
def without_cu126() -> Refreshed:
    """A torch 2.16.0 that drops cu126 and Python 3.10, and has no torchvision yet."""
    return refresh(release(without=["cu126"], python=">=3.11"))


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("cpu.\n\n## [1.0.0]\n- and\x1b[2J", "cpu. ## (1.0.0) - and [2J"),
        (
            "<!-- a --> <b> </b>, for torch >=2.16,<3",
            r"\<!-- a --> \<b> \</b>, for torch >=2.16,<3",
        ),
        ("[skip ci] [CI skip] [a](b) @all", r"(skip ci) (CI skip) [a\](b) @ all"),
        ("see `a`, and `b", "see 'a', and 'b"),
        ("see `unsuffixed:`", "see `unsuffixed:`"),
    ],
)
def test_what_an_index_says_is_no_markup(said: str, line: str) -> None:
    assert plain(said) == line.replace("(1.0.0)", "[1.0.0]")


def line(result: Refreshed, *parts: str) -> str:
    """The one line of the text that has all of these parts."""
    [found] = [one for one in result.text.splitlines() if all(part in one for part in parts)]
    return found


@pytest.mark.slow
def test_a_release_is_told_by_what_it_has_otherwise_than_the_one_before() -> None:
    assert line(without_cu126(), "torch 2.16.0 of 2026-12-09").startswith(
        "- torch 2.16.0 of 2026-12-09: drops cu126: Maxwell, Pascal and Volta GPUs have no build"
        " any more; Python 3.10 out; no torchvision works with it yet; with torchaudio "
    )


def test_no_gpu_is_told_to_be_lost_where_nobody_looked_at_what_stays() -> None:
    old, new = without_cu126().old, without_cu126().new
    known = {name: rows for name, rows in new.gpu_architectures.items() if name != "cu130"}
    blind = new.model_copy(update={"gpu_architectures": known})
    [said] = [one for one in what_is_new(old, blind) if one.startswith("torch 2.16.0")]
    told = "drops cu126: no build for Maxwell, Pascal and Volta GPUs is known any more; Python"
    assert told in said


@pytest.mark.slow
def test_projects_on_a_platform_that_is_dropped_stay_and_are_told_where_to_go() -> None:
    said = line(without_cu126(), "compute_platform=cu126, python_version=3.11", "latest: ")
    assert f"stay at torch {NEWEST}, since torch 2.16 has no cu126 build, and are" in said
    assert said.endswith("told to move to cu129")


@pytest.mark.slow
def test_projects_on_a_python_that_is_dropped_stay() -> None:
    said = line(without_cu126(), "compute_platform=cpu, ", "python_version=3.10,", "latest: ")
    assert said.endswith(
        f"stay at torch {NEWEST}, since torch 2.16.0 has no wheels for Python 3.10"
    )


@pytest.mark.slow
def test_the_others_go_to_the_new_release() -> None:
    said = line(without_cu126(), "compute_platform=cpu, ", "python_version=3.11 - ", "latest: ")
    assert said.endswith(f"go from torch {NEWEST} to 2.16.0")
    assert "cu130" in said


def test_projects_with_a_companion_that_is_not_there_yet_stay() -> None:
    said = line(without_cu126(), "compute_platform=cpu, ", "with torchvision", "=3.11 - ")
    assert f"stay at torch {NEWEST}, since no torchvision is known for torch 2.16.0" in said
    before = kept_build(loaded(BASE), Asked("uv", "3.12", "cpu", packages=("torchvision",)))
    whole = refresh(release(), companion())
    assert before
    assert outcome(whole.old, whole.new, before) == f"go from torch {NEWEST} to 2.16.0"


def test_what_is_told_of_a_project_is_what_its_update_does() -> None:
    old, new = loaded(BASE), without_cu126().new
    checked = 0
    for name in ("cpu", "cu126", "cu118", "rocm7.2", "pypi"):
        for python in ("3.10", "3.12"):
            before = kept_build(old, Asked("uv", python, name))
            assert before or (name, python) == ("cu118", "3.14")
            after = kept_build(new, Asked("uv", python, name))
            assert isinstance(before, Build)
            assert isinstance(after, Build)
            said = outcome(old, new, before)
            moves = before.torch != after.torch
            assert moves == (f"go from torch {before.torch} to {after.torch}" in said)
            checked += moves
    assert checked == 3  # cpu, rocm7.2 and pypi, on Python 3.12


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (release(renamed={"cu126": "cu134"}), "drops cu126: no build for Maxwell"),
        (release(renamed={"cu126": "cu134"}), "brings cu134"),
        (less(release(), page="cu132", on="W"), "cu132 no more on windows-amd64"),
        (
            replace(release(), builds={"L": "cu132", "A": "cu132", "W": "cpu", "M": "cpu"}),
            "PyPI's wheel for linux-x86_64 is for cu132, and was for cu130",
        ),
        (release(without=["xpu", "rocm7.2"]), "drops rocm7.2 and xpu;"),
    ],
)
def test_each_change_has_its_words(seen: Seen, said: str) -> None:
    result = refresh(seen)
    [new] = [one for one in what_is_new(result.old, result.new) if one.startswith("torch 2.16.0")]
    assert said in new


def test_what_is_blocked_and_what_a_person_must_do_is_told() -> None:
    result = refresh(release(renamed={"cu130": "cu140"}))
    new, todo = what_is_new(result.old, result.new), what_to_do(result.findings)
    [blocked] = [one for one in new if one.startswith("compute platform cu140 is new")]
    assert "the least NVIDIA driver for CUDA 14 is not established" in blocked
    assert [one for one in todo if one.startswith("cu140 (not known): ") and "`drivers:`" in one]


def test_a_release_that_is_half_there_is_told() -> None:
    result = refresh(release(without=["pypi"]), today=DAY)
    said = line(result, "torch 2.16.0 (not taken yet)")
    assert said.endswith("The PyTorch index has it, PyPI has not. It is not taken yet.")
