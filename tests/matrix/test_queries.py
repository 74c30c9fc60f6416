"""Which build the matrix finds for a set of answers, and what its menus say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from matrix.doctored import as_of, data, every_build, usable
from render.projects import FROZEN
from torch_template.answers import type_error
from torch_template.build import Asked, Build
from torch_template.matrix.companions import partner
from torch_template.matrix.facts import COMPANIONS, series
from torch_template.matrix.model import Matrix
from torch_template.menus import (
    compute_platform_choices,
    python_choices,
    torch_package_choices,
    torch_version_choices,
    why_not,
)
from torch_template.reasons import Unfit, resolve
from torch_template.resolving import same_release

MENU = data()["policy"]
PYTHONS = MENU["python"]["offered"]
COMPUTE_PLATFORMS = MENU["compute_platforms"]["offered"]


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    """The matrix as of torch 2.15.0."""
    return as_of("2.15.0")


def built(matrix: Matrix, asked: Asked) -> Build:
    found = resolve(matrix, asked)
    assert isinstance(found, Build), found
    return found


def refusal(matrix: Matrix, asked: Asked) -> str:
    found = resolve(matrix, asked)
    assert isinstance(found, Unfit), found
    return str(found)


@pytest.mark.parametrize(
    ("compute_platform", "python", "torch"),
    [
        ("cpu", "3.12", "2.14.1"),
        ("cu132", "3.12", "2.14.1"),
        ("cu130", "3.12", "2.14.1"),
        ("cu129", "3.12", "2.13.0"),
        ("cu128", "3.12", "2.11.0"),
        ("cu126", "3.10", "2.14.1"),
        ("cu124", "3.13", "2.6.0"),
        ("cu121", "3.12", "2.5.1"),
        ("cu121", "3.13", "2.5.1"),
        ("cu118", "3.12", "2.7.1"),
        ("cu117", "3.11", "2.0.1"),
        ("rocm7.2", "3.14", "2.14.1"),
        ("rocm6.1", "3.13", "2.6.0"),
        ("rocm6.2", "3.12", "2.5.1"),
        ("rocm6.0", "3.12", "2.4.1"),
        ("xpu", "3.12", "2.14.1"),
        ("pypi", "3.12", "2.15.0"),
        ("pypi", "3.10", "2.14.1"),
    ],
)
def test_latest_is_the_newest_release_with_the_python_and_the_compute_platform(
    matrix: Matrix, compute_platform: str, python: str, torch: str
) -> None:
    assert built(matrix, Asked("uv", python, compute_platform)).torch == torch


def test_latest_is_never_older_than_any_series_that_fits() -> None:
    torch: dict[tuple[str, ...], dict[str, str]] = {}
    for build in every_build(FROZEN):
        asked = build.asked
        of = torch.setdefault((asked.manager, asked.python, asked.compute_platform), {})
        of[asked.torch] = build.torch
    assert len(torch) > 200
    for found in torch.values():
        assert found["latest"] == max(found.values(), key=Version)


def test_a_series_gets_its_newest_patch_and_nothing_newer(matrix: Matrix) -> None:
    assert built(matrix, Asked("uv", "3.12", "cpu", "2.12")).torch == "2.12.1"
    assert built(matrix, Asked("uv", "3.12", "cpu", "2.9")).torch == "2.9.1"
    assert built(matrix, Asked("uv", "3.12", "cu124", "2.4")).torch == "2.4.1"


def test_every_build_is_of_the_asked_series_and_compute_platform() -> None:
    assert len(every_build(FROZEN)) > 1000
    for build in every_build(FROZEN):
        asked = build.asked
        assert asked.torch in ("latest", series(build.torch))
        assert {"linux-x86_64", "windows-amd64"} & set(build.wheels)
        for platform, wheels in build.wheels.items():
            if not platform.startswith("macos") and asked.compute_platform != "pypi":
                suffixes = {v.partition("+")[2] for v in wheels.packages.values()}
                assert suffixes <= {asked.compute_platform, ""}
                assert platform == "linux-aarch64" or "" not in suffixes


def test_a_machine_may_have_the_other_builds_of_the_same_release(matrix: Matrix) -> None:
    own = built(matrix, Asked("poetry", "3.12", "cu128", packages=("torchvision",)))
    found = {build.asked.compute_platform: build for build in same_release(matrix, own)}
    assert list(found) == ["cpu", "cu130", "cu129", "cu126", "rocm7.2", "rocm7.1", "xpu", "pypi"]
    for name, build in found.items():
        assert (build.torch, build.versions) == (own.torch, own.versions), name
        assert build.nvidia_pins == {}  # they are installed by pip
    # Not every release's folders have been looked at.
    assert same_release(matrix, built(matrix, Asked("uv", "3.12", "pypi"))) == []


def test_a_cuda_build_names_what_the_smoke_test_compares(matrix: Matrix) -> None:
    wheels = built(matrix, Asked("uv", "3.12", "cu130", packages=("torchvision",))).wheels
    linux, windows = wheels["linux-x86_64"], wheels["windows-amd64"]
    assert linux.packages == {"torch": "2.14.1+cu130", "torchvision": "0.29.1+cu130"}
    assert (linux.accelerator, linux.toolkit, linux.torch_version) == (
        "cuda",
        "13.0",
        "2.14.1+cu130",
    )
    assert (linux.minimum_driver, windows.minimum_driver) == ("580.65.06", "580.88")
    assert linux.gpu_architectures == ["7.5", "8.0", "8.6", "9.0", "10.0", "12.0"]
    assert wheels["linux-aarch64"].gpu_architectures == ["8.0", "9.0", "10.0", "11.0", "12.0"]


def test_a_mac_gets_pypis_own_wheel_whatever_the_compute_platform(matrix: Matrix) -> None:
    for name in ("cpu", "cu130", "xpu", "rocm7.2", "pypi"):
        wheels = built(matrix, Asked("uv", "3.12", name)).wheels["macos-arm64"]
        assert (wheels.accelerator, wheels.toolkit, wheels.minimum_driver) == ("mps", None, None)
        assert wheels.packages["torch"] == wheels.torch_version
        assert "+" not in wheels.torch_version


def test_pypis_own_wheel_hides_the_build_in_its_name_but_not_in_its_version(
    matrix: Matrix,
) -> None:
    wheels = built(matrix, Asked("uv", "3.12", "pypi", "2.15")).wheels
    assert wheels["linux-x86_64"].packages == {"torch": "2.15.0"}
    assert wheels["linux-x86_64"].torch_version == "2.15.0+cu132"
    assert wheels["windows-amd64"].torch_version == "2.15.0+cpu"
    assert wheels["windows-amd64"].minimum_driver is None


def test_only_uv_keeps_apart_wheels_of_equal_name_on_aarch64(matrix: Matrix) -> None:
    for manager, platforms in {"uv": True, "pip": False, "poetry": False}.items():
        build = built(matrix, Asked(manager, "3.12", "cu126", "2.9", ("torchvision",)))
        assert ("linux-aarch64" in build.wheels) is platforms
    alone = built(matrix, Asked("poetry", "3.12", "cu126", "2.9"))
    assert "linux-aarch64" in alone.wheels


def test_a_companion_never_holds_torch_back(matrix: Matrix) -> None:
    build = built(matrix, Asked("uv", "3.12", "cpu", packages=COMPANIONS))
    assert build.torch == "2.14.1"
    assert {"torchvision", "torchaudio"} <= build.versions.keys()


def test_companions_are_the_releases_partners(matrix: Matrix) -> None:
    for alone in every_build(FROZEN):
        build = built(matrix, replace(alone.asked, packages=COMPANIONS))
        assert build.torch == alone.torch
        for name in COMPANIONS:
            asked = build.asked
            found = partner(matrix, build.torch, name, asked.compute_platform, asked.python)
            assert build.versions.get(name) == (found.version if found else None)
            if found:
                wanted = SpecifierSet(matrix.companions[name][found.version].torch)
                assert build.torch in wanted


@pytest.mark.parametrize(
    ("compute_platform", "said"),
    [
        ("cpu", ""),
        ("cu126", ""),
        ("cu130", ""),
        ("cu132", "no torchaudio 2.11.0 is known for cu132: choose cu130, or leave torchaudio out"),
        (
            "pypi",
            "PyPI's torchaudio 2.11.0 is built for CUDA 13.0 on Linux, its torch 2.15.0 for CUDA"
            " 13.2: choose torch 2.14, or cpu, or leave torchaudio out",
        ),
    ],
)
def test_torchaudio_goes_with_every_torch_of_its_own_cuda(
    matrix: Matrix, compute_platform: str, said: str
) -> None:
    choices = torch_package_choices(matrix, Asked("uv", "3.12", compute_platform))
    [audio] = [choice for choice in choices if choice.value == "torchaudio"]
    assert audio.why_not == said
    assert said or audio.label == "torchaudio 2.11.0"


def test_a_companion_without_wheels_for_the_python_names_the_python_that_has_them(
    matrix: Matrix,
) -> None:
    choices = torch_package_choices(matrix, Asked("uv", "3.13", "cu121"))
    assert usable(choices) == []
    assert choices[0].why_not == (
        "torchvision 0.20.1 has no Python 3.13 wheels:"
        " choose Python 3.12 or older, or leave torchvision out"
    )


def test_the_labels_say_driver_gpus_and_torch(matrix: Matrix) -> None:
    choices = compute_platform_choices(matrix, Asked("uv", "3.12", "cpu"))
    labels = {choice.value: choice.label for choice in choices}
    assert labels["cpu"] == "CPU - any machine, no GPU, torch 2.14.1"
    assert labels["cu130"] == "CUDA 13.0 - driver 580+, Turing to Blackwell, torch 2.14.1"
    assert labels["cu126"] == "CUDA 12.6 - driver 525+, Maxwell to Hopper, torch 2.14.1"
    assert labels["rocm7.2"] == "ROCm 7.2 - AMD GPUs, torch 2.14.1, Linux only"
    assert labels["cu129"] == (
        "CUDA 12.9 - driver 525+, Turing to Blackwell, torch 2.13.0, Linux only"
    )


def test_the_menus_keep_to_one_terminal_line(matrix: Matrix) -> None:
    for python in PYTHONS:
        asked = Asked("uv", python, "cpu")
        menus = [
            *python_choices(matrix),
            *compute_platform_choices(matrix, asked),
            *torch_version_choices(matrix, asked),
        ]
        assert max(len(choice.label) for choice in menus) <= 110


def test_an_ended_compute_platform_is_refused_with_both_ways_out(matrix: Matrix) -> None:
    assert refusal(matrix, Asked("uv", "3.14", "cu121")) == (
        "cu121 ends at torch 2.5.1, which has no Python 3.14 wheels:"
        " choose Python 3.13 or older, or cu126"
    )


def test_a_series_without_the_python_is_refused_with_both_ways_out(matrix: Matrix) -> None:
    assert refusal(matrix, Asked("uv", "3.10", "pypi", "2.15")) == (
        "torch 2.15.0 on pypi has no Python 3.10 wheels: choose torch 2.14, or Python 3.11 or newer"
    )


def test_an_unknown_compute_platform_is_refused_with_those_on_offer(matrix: Matrix) -> None:
    sentence = refusal(matrix, Asked("uv", "3.12", "cu999"))
    assert sentence.startswith("cu999 is not a compute platform that this template knows: choose")
    assert all(name in sentence for name in COMPUTE_PLATFORMS)


def test_a_platform_that_cannot_be_locked_is_refused_with_its_nearest(matrix: Matrix) -> None:
    assert refusal(matrix, Asked("uv", "3.12", "rocm7.14")).endswith("choose rocm7.2")


def test_a_python_read_as_a_number_is_refused_with_the_cure() -> None:
    assert type_error(3.10) == "3.1 was read as a number: write it in quotes, e.g. '3.10'"


def test_a_value_that_no_menu_has_is_refused_with_those_it_has(matrix: Matrix) -> None:
    assert why_not(python_choices(matrix), "3.9") == (
        "'3.9' is not on offer: choose 3.10, 3.11, 3.12, 3.13, 3.14, 3.15"
    )


def test_the_old_numpy_is_asked_for_only_where_a_wheel_needs_it(matrix: Matrix) -> None:
    assert built(matrix, Asked("uv", "3.11", "cu117")).numpy == "numpy<2"
    assert built(matrix, Asked("uv", "3.12", "cpu", "2.4")).numpy == "numpy"


def test_a_python_that_torchvision_excludes_is_excluded_with_torchvision_only(
    matrix: Matrix,
) -> None:
    with_it = built(matrix, Asked("uv", "3.14", "cpu", packages=("torchvision",)))
    assert with_it.python_excluded == ("3.14.1",)
    assert built(matrix, Asked("uv", "3.14", "cpu")).python_excluded == ()
    other = built(matrix, Asked("uv", "3.13", "cpu", packages=("torchvision",)))
    assert other.python_excluded == ()
