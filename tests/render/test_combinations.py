"""Every combination of the answers that a build depends on renders, parses and agrees."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from _pytest.mark import ParameterSet

from matrix.doctored import MANAGERS, grown, offered, usable
from render.agreement import Wanted, check
from render.projects import DONE, MATRIX_YML
from render.shortcut import answers_for, shortcut
from torch_template.build import Asked
from torch_template.matrix.loading import MATRIX, load_matrix
from torch_template.matrix.model import Matrix
from torch_template.menus import compute_platform_choices


def groups() -> list[ParameterSet]:
    """The oldest, the usual and the newest Python with each compute platform that it can have."""
    matrix = load_matrix()
    pythons = matrix.policy.python.listed(None)
    usual = matrix.policy.python.default
    return [
        pytest.param(python, name, marks=() if python == usual else pytest.mark.slow)
        for python in dict.fromkeys([pythons[0], usual, pythons[-1]])
        for name in dict.fromkeys(
            name
            for manager in MANAGERS
            for name in usable(compute_platform_choices(matrix, Asked(manager, python, "cpu")))
        )
    ]


def render_all(matrix: Matrix, template: Path, python: str, compute_platform: str) -> None:
    """Render and check every combination with these two; all managers ask for the same."""
    wanted: dict[tuple[str, tuple[str, ...]], dict[str, Wanted]] = {}
    for manager in MANAGERS:
        for asked in offered(matrix, manager, python, compute_platform):
            files = shortcut(template).render(answers_for(asked))
            of = wanted.setdefault((asked.torch, asked.packages), {})
            of[manager] = check(matrix, asked, files)
            DONE["combinations"] += 1
    assert wanted
    for of in wanted.values():
        assert {"uv", "pip"} <= set(of)
        assert len({repr(each) for each in of.values()}) == 1, of


@pytest.fixture(scope="module")
def shipped_template(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Path:
    """The template with the matrix that it ships: other tests have the frozen one."""
    copy = tmp_path_factory.mktemp("shipped") / "torch-starter"
    shutil.copytree(template, copy)
    shutil.copyfile(MATRIX, copy / MATRIX_YML)
    return copy


@pytest.mark.some(24)
@pytest.mark.few(8)
@pytest.mark.parametrize(("python", "compute_platform"), groups())
def test_every_combination_is_valid_and_the_managers_agree(
    shipped_template: Path, python: str, compute_platform: str
) -> None:
    render_all(load_matrix(), shipped_template, python, compute_platform)


@pytest.fixture(scope="module")
def grown_template(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Path:
    """The template with a matrix that knows a release, a CUDA and a Python more."""
    copy = tmp_path_factory.mktemp("grown") / "torch-starter"
    shutil.copytree(template, copy)
    text = yaml.safe_dump(grown(), sort_keys=False)
    (copy / MATRIX_YML).write_text(text, encoding="utf-8")
    return copy


@pytest.mark.parametrize(
    ("python", "compute_platform"),
    [("3.12", "cu140"), ("3.15", "cu140"), ("3.15", "cpu"), ("3.12", "rocm8.0"), ("3.15", "pypi")],
)
def test_a_matrix_that_grew_renders_without_a_change_of_code(
    grown_template: Path, python: str, compute_platform: str
) -> None:
    render_all(Matrix.model_validate(grown()), grown_template, python, compute_platform)
