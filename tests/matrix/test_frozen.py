"""The frozen facts: what a refresh writes into the shipped file changes no expected number."""

from __future__ import annotations

from pathlib import Path

import pytest

from matrix.doctored import data, frozen, shipped_data
from render.projects import FROZEN, MATRIX_YML
from torch_template.matrix.loading import MATRIX
from torch_template.matrix.model import Matrix


def test_the_frozen_facts_are_valid_and_have_every_section_of_the_shipped_ones() -> None:
    assert Matrix.model_validate(data()) == frozen()
    assert [*data()] == [*shipped_data()]


def test_the_frozen_file_is_another_one_and_says_so() -> None:
    """So that the next test can tell which of the two a template has."""
    assert FROZEN.read_bytes() != MATRIX.read_bytes()
    assert "README.md" in FROZEN.read_text(encoding="utf-8").partition("\n")[0]


@pytest.mark.parametrize("copy", ["template", "git_template"])
def test_every_template_that_tests_render_has_the_frozen_facts(
    copy: str, request: pytest.FixtureRequest, matrix: Matrix
) -> None:
    folder: Path = request.getfixturevalue(copy)
    assert (folder / MATRIX_YML).read_bytes() == FROZEN.read_bytes()
    assert matrix is frozen()
