"""Retired choices, a fork's own menu, and Poetry where its pins are not established."""

from __future__ import annotations

from typing import Any

import pytest
from packaging.requirements import Requirement

from matrix.doctored import data, data_as_of, frozen, usable
from torch_template.build import Asked, Build
from torch_template.managers.lines import torch_requirements
from torch_template.matrix.loading import load_matrix
from torch_template.matrix.model import Matrix
from torch_template.menus import compute_platform_choices, python_choices, why_not
from torch_template.reasons import Unfit, resolve


def with_policy(menu: str, **changes: Any) -> Matrix:  # noqa: ANN401
    facts = data()
    facts["policy"][menu] |= changes
    return Matrix.model_validate(facts)


def without_pins(toolkit: str) -> Matrix:
    facts = data_as_of("2.15.0")
    del facts["cuda_toolkits"]["versions"][toolkit]["poetry_pins"]
    return Matrix.model_validate(facts)


@pytest.fixture(scope="module")
def retired() -> Matrix:
    return with_policy("compute_platforms", retired={"cu118": "cu126"})


def test_a_retired_platform_is_not_offered_to_new_projects(retired: Matrix) -> None:
    values = [c.value for c in compute_platform_choices(retired, Asked("uv", "3.12", "cpu"))]
    assert "cu118" not in values
    assert "cu126" in values


def test_a_retired_platform_stays_for_a_project_that_has_it(retired: Matrix) -> None:
    choices = compute_platform_choices(retired, Asked("uv", "3.12", "cu118"), current="cu118")
    assert "cu118" in usable(choices)
    assert why_not(choices, "cu118") is None
    assert [c.value for c in choices].count("cu118") == 1


def test_a_retired_platform_that_the_menu_does_not_list_stays_too() -> None:
    matrix = with_policy("compute_platforms", offered=["cpu", "cu126"], retired={"cu118": "cu126"})
    choices = compute_platform_choices(matrix, Asked("uv", "3.12", "cu118"), current="cu118")
    assert usable(choices) == ["cpu", "cu126", "cu118"]


def test_a_retired_platform_is_no_way_out(retired: Matrix) -> None:
    for python in retired.policy.python.listed(None):
        for name in retired.compute_platforms:
            found = resolve(retired, Asked("uv", python, name))
            assert isinstance(found, Build) or "cu118" not in found.ways_out


def test_a_retired_python_stays_only_for_a_project_that_has_it() -> None:
    matrix = with_policy("python", retired={"3.10": "3.12"})
    assert "3.10" not in usable(python_choices(matrix))
    assert "3.10" in usable(python_choices(matrix, current="3.10"))


def test_a_forks_menu_is_in_its_order_and_has_its_defaults() -> None:
    matrix = with_policy("compute_platforms", offered=["rocm7.2", "cpu"], default="rocm7.2")
    choices = compute_platform_choices(matrix, Asked("uv", "3.12", "cpu"))
    assert usable(choices) == ["rocm7.2", "cpu"]
    assert why_not(choices, "cu130") == "'cu130' is not on offer: choose rocm7.2, cpu"


@pytest.mark.parametrize(
    ("compute_platform", "torch", "pins"),
    [
        ("cu130", "2.14", {"nvidia-cublas": "13.1.1.3", "nvidia-cuda-nvrtc": "13.0.88"}),
        ("cu130", "2.12", {}),
        ("cu132", "2.12", {"nvidia-cublas": "13.4.0.1", "nvidia-cuda-nvrtc": "13.2.78"}),
        ("cu126", "2.14", {}),
        ("cu128", "2.9", {}),
        ("cpu", "2.14", {}),
        ("rocm7.2", "2.14", {}),
        ("pypi", "2.14", {"nvidia-cublas": "13.1.1.3", "nvidia-cuda-nvrtc": "13.0.88"}),
        ("pypi", "2.15", {"nvidia-cublas": "13.4.1.3", "nvidia-cuda-nvrtc": "13.2.86"}),
    ],
)
def test_poetry_alone_gets_the_exact_nvidia_pins(
    compute_platform: str, torch: str, pins: dict[str, str]
) -> None:
    for manager, expected in {"poetry": pins, "uv": {}, "pip": {}}.items():
        build = resolve(frozen(), Asked(manager, "3.12", compute_platform, torch))
        assert isinstance(build, Build)
        assert build.nvidia_pins == expected
        lines = [Requirement(line) for line in torch_requirements(build)]
        nvidia = {line.name: str(line.specifier) for line in lines if "nvidia" in line.name}
        assert nvidia == {name: f"=={version}" for name, version in expected.items()}


def test_poetry_is_refused_where_its_pins_are_not_established() -> None:
    matrix = without_pins("13.0.3")
    choices = compute_platform_choices(matrix, Asked("poetry", "3.12", "cpu"))
    why = {choice.value: choice.why_not for choice in choices}
    assert why["cu130"] == (
        "Poetry would lock two versions of some nvidia packages for torch 2.14.1 on cu130,"
        " and the pins against it are not established: choose uv, or pip"
    )
    assert {"cpu", "cu126", "cu132"} <= set(usable(choices))


def test_the_way_out_of_missing_pins_is_another_manager() -> None:
    matrix = without_pins("13.0.3")
    unfit = resolve(matrix, Asked("poetry", "3.12", "cu130"))
    assert isinstance(unfit, Unfit)
    for manager in unfit.ways_out:
        assert isinstance(resolve(matrix, Asked(manager, "3.12", "cu130")), Build)


def test_poetry_stays_possible_for_a_series_whose_pins_are_known() -> None:
    build = resolve(without_pins("13.0.3"), Asked("poetry", "3.12", "cu130", "2.12"))
    assert isinstance(build, Build)


def test_releases_before_the_toolkit_requirement_need_no_pins() -> None:
    build = resolve(without_pins("12.8.1"), Asked("poetry", "3.12", "cu128", "2.10"))
    assert isinstance(build, Build)
    assert build.nvidia_pins == {}


def test_the_shipped_matrix_retires_nothing_that_it_offers_to_everybody() -> None:
    policy = load_matrix().policy
    for menu in (policy.compute_platforms, policy.python):
        assert menu.default not in menu.retired
        assert set(menu.retired.values()) <= set(menu.offered) - set(menu.retired)
