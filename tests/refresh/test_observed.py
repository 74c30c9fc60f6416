"""From pages to facts, where the index of the tests does not have the case."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from refresh.made_up import base
from refresh.observed import is_new, observe, torch_required
from refresh.site import Answer, Site, page

TORCH = [
    f"torch-2.16.0+rocm7.2-{tag}-{tag}-manylinux_2_28_x86_64.whl" for tag in ("cp312", "cp315")
]
CPU = "torch-2.16.0+cpu-cp312-cp312-win_amd64.whl"
TRITON = ["triton_rocm-3.8.0-cp312-cp312-linux_x86_64.whl"]
NEEDS = "triton-rocm~=3.8.0"


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("needs", "triton", "pythons"),
    [
        (NEEDS, TRITON, {"3.12"}),
        (
            f'{NEEDS}; platform_system == "Linux" and python_version < "3.15"',
            TRITON,
            {"3.12", "3.15"},
        ),
        (f'{NEEDS}; platform_system == "Windows"', TRITON, {"3.12", "3.15"}),
        ("triton-rocm~=3.9.0", TRITON, None),
        (NEEDS, [], None),
    ],
)
def test_a_wheel_counts_only_if_the_index_has_the_triton_that_it_requires(
    site: Site, needs: str, triton: list[str], pythons: set[str] | None
) -> None:
    site.answers["/whl/rocm7.2/torch/"] = [page(*TORCH, data_core_metadata="true")]
    if triton:
        site.answers["/whl/rocm7.2/triton-rocm/"] = [page(*triton)]
    site.answers["/whl/cpu/torch/"] = [page(CPU, data_core_metadata="true")]
    metadata = f"Metadata-Version: 2.1\nName: torch\nVersion: 2.16.0\nRequires-Dist: {needs}\n\n"
    for name in (*TORCH, CPU):
        path = f"/files/{name.replace('+', '%2B')}.metadata"
        site.answers[path] = [Answer(metadata.encode(), kind="binary/octet-stream")]
    for name in ("torch", "torchvision", "torchaudio", "torchcodec"):
        site.answers[f"/simple/{name}/"] = [Answer(status=404)]
    seen = observe(site.source(), base()).torch["2.16.0"]
    assert seen.cells.get("rocm7.2", {}) == ({"L": pythons} if pythons else {})
    assert seen.cells["cpu"] == {"W": {"3.12"}}
    assert seen.released is None
    assert {minor for _, _, minor in seen.not_whole} == {"3.12", "3.15"} - (pythons or set())


@pytest.mark.parametrize(
    ("version", "new"),
    [
        ("2.16.0", True),
        ("2.13.1", True),
        ("2.12.2", True),
        ("2.12.1", False),
        ("2.12.0", False),
        ("2.3.1", False),
        ("2.0.0", False),
    ],
)
def test_what_is_new_is_newer_than_its_series_or_than_all(version: str, new: bool) -> None:
    assert is_new(version, ["2.0.1", "2.4.0", "2.12.1", "2.13.0"]) == new


@pytest.mark.parametrize(
    ("needs", "on_linux", "on_windows"),
    [
        (["torch==2.16"], "==2.16.0", "==2.16.0"),
        (["torch==2.16.0+cu130"], "==2.16.0", "==2.16.0"),
        (["torch>=2.16,<3"], "<3,>=2.16", "<3,>=2.16"),
        (['torch==2.14.1; extra == "test"', "torch==2.16.0"], "==2.16.0", "==2.16.0"),
        (['torch==2.16.0; sys_platform == "linux"'], "==2.16.0", None),
    ],
)
def test_what_a_companion_requires_is_asked_of_each_system(
    needs: list[str], on_linux: str, on_windows: str | None
) -> None:
    rows = [Requirement(one) for one in needs]
    assert (torch_required(rows, "L"), torch_required(rows, "W")) == (on_linux, on_windows)
