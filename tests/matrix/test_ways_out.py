"""Every way out that a refusal names really works: it is read back and resolved."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from matrix.doctored import MANAGERS, as_of, data, every_build, everything_asked
from torch_template.build import Asked, Build
from torch_template.matrix.facts import COMPANIONS, all_series, python_key
from torch_template.matrix.loading import load_matrix
from torch_template.matrix.model import Matrix
from torch_template.reasons import Unfit, resolve, why_no_companion

SENTENCE = re.compile(r"[^\n]+: choose [^\n:]+")


def refusals() -> list[tuple[Asked, Unfit]]:
    """Every question that a menu asks and that has no answer."""
    asked = everything_asked().items()
    return [(question, found) for question, found in asked if isinstance(found, Unfit)]


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    """The matrix that the template ships, whose refusals these are."""
    return load_matrix()


def follow(matrix: Matrix, asked: Asked, way: str) -> Iterator[Asked]:
    """The answers that a way out leads to: all of them, for one such as `Python 3.12 or older`.

    Raises:
        ValueError: for a way out that says nothing that one can choose.
    """
    kind, _, value = way.partition(" ")
    offered = matrix.policy.python.listed(None)
    if way in MANAGERS:
        yield replace(asked, manager=way)
    elif way in matrix.policy.compute_platforms.listed(None):
        yield replace(asked, compute_platform=way)
    elif kind == "torch":
        yield replace(asked, torch=value)
    elif match := re.fullmatch(r"Python (3\.\d+)(?: or (older|newer))?", way):
        named = python_key(match[1])
        assert match[1] in offered
        meant = {None: int.__eq__, "older": int.__le__, "newer": int.__ge__}[match[2]]
        for python in offered:
            if meant(python_key(python), named):
                yield replace(asked, python=python)
    elif kind == "leave":
        without = tuple(name for name in asked.packages if name != value.removesuffix(" out"))
        yield replace(asked, packages=without)
    else:
        raise ValueError(way)


def test_there_are_refusals_to_follow() -> None:
    assert len(refusals()) > 500


def test_every_refusal_is_one_sentence_that_says_what_to_choose() -> None:
    for _, unfit in refusals():
        assert SENTENCE.fullmatch(str(unfit)), unfit
        assert unfit.ways_out


def test_every_way_out_of_a_refused_build_leads_to_one(matrix: Matrix) -> None:
    for asked, unfit in refusals():
        for way in unfit.ways_out:
            answers = list(follow(matrix, asked, way))
            assert answers, (asked, way)
            for other in answers:
                assert isinstance(resolve(matrix, other), Build), (asked, way, other)


def test_every_way_out_of_a_refused_companion_leads_to_it_or_leaves_it_out(
    matrix: Matrix,
) -> None:
    followed = 0
    for build in every_build():
        for companion in COMPANIONS:
            asked = replace(build.asked, packages=(companion,))
            unfit = why_no_companion(matrix, asked, companion)
            for way in unfit.ways_out if unfit else ():
                for other in follow(matrix, asked, way):
                    found = resolve(matrix, other)
                    assert isinstance(found, Build), (asked, way)
                    assert companion in found.versions or not other.packages, (asked, way, other)
                    followed += 1
    assert followed > 500


def test_a_refused_python_is_named_with_the_nearest_one_that_works(matrix: Matrix) -> None:
    offered = [python_key(python) for python in matrix.policy.python.listed(None)]
    checked = 0
    for asked, unfit in refusals():
        for way in unfit.ways_out:
            if not (match := re.fullmatch(r"Python (3\.\d+)( or older| or newer)?", way)):
                continue
            low, high = sorted((python_key(match[1]), python_key(asked.python)))
            between = [f"3.{minor}" for minor in offered if low < minor < high]
            for python in between:
                assert isinstance(resolve(matrix, replace(asked, python=python)), Unfit)
                checked += 1
    assert checked


def test_a_fork_that_offers_little_names_only_what_it_offers() -> None:
    facts = data()
    facts["policy"]["compute_platforms"] |= {"offered": ["cpu", "cu121", "cu128"]}
    facts["policy"]["python"] |= {"offered": ["3.12", "3.14"]}
    matrix = Matrix.model_validate(facts)
    unfit = resolve(matrix, Asked("uv", "3.14", "cu121"))
    assert isinstance(unfit, Unfit)
    assert unfit.ways_out == ("Python 3.12 or older", "cu128")


def test_a_fork_without_the_cpu_never_sends_anybody_there() -> None:
    facts = data()
    facts["policy"]["compute_platforms"] |= {"offered": ["cu130", "cu126"], "default": "cu130"}
    matrix = Matrix.model_validate(facts)
    followed = 0
    for manager, python, name, torch in product(
        MANAGERS, matrix.policy.python.offered, ("cu130", "cu126"), all_series(matrix)
    ):
        latest = Asked(manager, python, name)
        for asked in (latest, replace(latest, torch=torch)):
            unfit = resolve(matrix, asked)
            for way in unfit.ways_out if isinstance(unfit, Unfit) else ():
                answers = list(follow(matrix, asked, way))  # which knows only what is on offer
                assert answers, (asked, way)
                assert all(isinstance(resolve(matrix, other), Build) for other in answers)
                followed += 1
    assert followed > 100


@pytest.mark.parametrize("manager", MANAGERS)
def test_a_series_that_a_platform_never_had_names_its_nearest_and_another_platform(
    manager: str,
) -> None:
    unfit = resolve(as_of("2.15.0"), Asked(manager, "3.12", "cu121", "2.14"))
    assert str(unfit) == "torch 2.14 has no cu121 build: choose torch 2.5, or cu126"
