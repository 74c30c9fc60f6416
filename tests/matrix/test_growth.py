"""A new release, compute platform and Python are edits of the YAML: no code changes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from matrix.doctored import grown
from torch_template.build import Asked, Build
from torch_template.managers.lines import index_sources, torch_requirements
from torch_template.managers.pip import pip_lines
from torch_template.matrix.loading import load_matrix
from torch_template.matrix.model import Matrix
from torch_template.menus import compute_platform_choices, python_choices, torch_version_choices
from torch_template.reasons import Unfit, resolve


@pytest.fixture(scope="module")
def future() -> Matrix:
    return Matrix.model_validate(grown())


def built(matrix: Matrix, asked: Asked) -> Build:
    found = resolve(matrix, asked)
    assert isinstance(found, Build), found
    return found


def test_latest_moves_to_the_new_release_and_nothing_else_moves(future: Matrix) -> None:
    assert built(future, Asked("uv", "3.12", "cpu")).torch == "2.16.0"
    assert built(future, Asked("uv", "3.12", "pypi")).torch == "2.16.0"
    assert built(future, Asked("uv", "3.12", "cu130")).torch == "2.14.1"
    assert built(future, Asked("uv", "3.10", "cpu")).torch == "2.14.1"
    assert built(future, Asked("uv", "3.12", "cpu", "2.14")).torch == "2.14.1"


def test_the_new_compute_platform_is_on_the_menu_with_its_driver_and_gpus(future: Matrix) -> None:
    choices = compute_platform_choices(future, Asked("uv", "3.12", "cpu"))
    labels = {choice.value: choice.label for choice in choices}
    assert labels["cu140"] == "CUDA 14.0 - driver 620+, Ampere to Rubin, torch 2.16.0"
    assert labels["rocm8.0"] == "ROCm 8.0 - AMD GPUs, torch 2.16.0, Linux only"


def test_the_new_python_and_series_are_on_the_menus(future: Matrix) -> None:
    assert "3.15" in [choice.value for choice in python_choices(future)]
    series = torch_version_choices(future, Asked("uv", "3.15", "cu140"))
    assert [choice.value for choice in series][:3] == ["latest", "2.16", "2.15"]


def test_the_new_build_has_its_wheels_and_its_drivers(future: Matrix) -> None:
    build = built(future, Asked("uv", "3.15", "cu140", packages=("torchvision",)))
    linux, windows = build.wheels["linux-x86_64"], build.wheels["windows-amd64"]
    assert linux.packages == {"torch": "2.16.0+cu140", "torchvision": "0.30.0+cu140"}
    assert (linux.toolkit, linux.gpu_architectures[-1]) == ("14.0", "13.0")
    assert (linux.minimum_driver, windows.minimum_driver) == ("620.10.01", "620.20")


def test_the_new_build_renders_for_every_manager(future: Matrix) -> None:
    uv = built(future, Asked("uv", "3.12", "cu140"))
    assert torch_requirements(uv) == ["torch == 2.16.0"]
    assert set(index_sources(uv)) == {"torch"}
    pip = built(future, Asked("pip", "3.12", "cu140"))
    assert pip_lines(pip)[0] == "torch==2.16.0+cu140 ; sys_platform != 'darwin'"
    poetry = built(future, Asked("poetry", "3.12", "cu140"))
    assert "nvidia-cublas == 14.0.1.2 ; sys_platform == 'linux'" in torch_requirements(poetry)


def test_a_platform_that_the_new_release_dropped_says_where_it_ends(future: Matrix) -> None:
    unfit = resolve(future, Asked("uv", "3.15", "cu128"))
    assert isinstance(unfit, Unfit)
    assert str(unfit).startswith("cu128 ends at torch 2.11.0, which has no Python 3.15 wheels")
    assert unfit.ways_out[0] == "Python 3.14 or older"


def test_a_file_that_grew_is_read_back_as_it_was_written(tmp_path: Any) -> None:  # noqa: ANN401
    file = tmp_path / "version_matrix.yml"
    file.write_text(yaml.safe_dump(grown(), sort_keys=False), encoding="utf-8")
    assert load_matrix(file) == Matrix.model_validate(grown())
