"""What goes wrong with the obvious ways to ask for a PyTorch build: shown with the real tools.

The later tests say that rendered projects do not have these faults. These say that the index and
the tools would show them.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest
from packaging.version import Version

from install.managers import ToolFailedError, Tools, reported
from install.resolution import Locked, from_poetry, from_pylock, of, only
from install.shapes import MAC, MARKERS, NOT_MAC, poetry_project, uv_project, write
from render.projects import PYTHON

pytestmark = pytest.mark.slow

ON_LINUX = sys.platform == "linux" and platform.machine() == "x86_64"
linux_only = pytest.mark.skipif(not ON_LINUX, reason="pip resolves for the running platform only")
LINUX = "linux-x86_64"
PINS = ["torch==2.14.1", "torchvision==0.29.1"]
POETRY_PINS = ["torch (==2.14.1)", "torchvision (==0.29.1)"]


def uv(tools: Tools, project: Path, on: str = LINUX) -> list[Locked]:
    """Return what uv locks for a platform."""
    return from_pylock(tools.uv_pylock(project), on, PYTHON)


def poetry(tools: Tools, project: Path, on: str = LINUX) -> list[Locked]:
    """Return what Poetry locks for a platform."""
    return from_poetry(tools.poetry_lock(project), on, PYTHON)


# --- no pin, or half of them


@linux_only
def test_an_extra_index_without_a_pin_gives_the_build_of_pypi(tools: Tools) -> None:
    url = f"{tools.index.pytorch_url}/cu128"

    got = reported(tools.pip_report("torch", "torchvision", "--extra-index-url", url))

    assert Version(got["torch"].split("-")[1]) > Version("2.11.0+cu128")
    assert "+cu128" not in got["torch"]
    assert "nvidia-cudnn-cu13" in got


@linux_only
def test_pip_mixes_two_builds_when_only_torch_is_pinned(tools: Tools) -> None:
    url = f"{tools.index.pytorch_url}/cu126"

    got = reported(tools.pip_report("torch==2.14.1+cu126", "torchvision", "--extra-index-url", url))

    assert got["torch"].startswith("torch-2.14.1+cu126-")
    assert got["torchvision"].startswith("torchvision-0.29.2-")


def test_uv_mixes_two_builds_when_a_package_has_no_sources_row(
    tools: Tools, tmp_path: Path
) -> None:
    url = f"{tools.index.pytorch_url}/cu126"
    project = uv_project(
        tmp_path, url, ["torch==2.14.1", "torchvision"], sources={"torch": NOT_MAC}
    )

    locked = uv(tools, project)

    assert only(locked, "torch").version == "2.14.1+cu126"
    assert only(locked, "torchvision").version == "0.29.2"


def test_poetry_mixes_two_builds_when_a_package_has_no_sources_row(
    tools: Tools, tmp_path: Path
) -> None:
    rows = {"torch": [(None, "pytorch", NOT_MAC), (None, "PyPI", MAC)]}
    dependencies = ["torch (==2.14.1)", "torchvision"]
    url = f"{tools.index.pytorch_url}/cu126"

    locked = poetry(tools, poetry_project(tmp_path, url, dependencies, rows))

    assert only(locked, "torch").version == "2.14.1+cu126"
    assert only(locked, "torchvision").version == "0.29.2"


def test_a_lower_bound_gives_each_platform_another_release(tools: Tools, tmp_path: Path) -> None:
    url = f"{tools.index.pytorch_url}/cu128"
    project = uv_project(tmp_path, url, ["torch>=2.10"], sources={"torch": NOT_MAC}, python="3.12")

    lock = tools.uv_resolve(project, "3.12")

    assert only(from_pylock(lock, LINUX, "3.12"), "torch").version == "2.11.0+cu128"
    assert only(from_pylock(lock, "macos-arm64", "3.12"), "torch").version == "2.15.0"


# --- the PyTorch index as an index for everything


@linux_only
def test_pip_takes_old_copies_of_other_projects_from_the_pytorch_index(tools: Tools) -> None:
    index = ("--index-url", f"{tools.index.pytorch_url}/cu130")

    got = reported(tools.pip_report("torch==2.14.1", "requests", *index))

    assert got["torch"].startswith("torch-2.14.1+cu130-")
    assert got["requests"].startswith("requests-2.28.1-")
    with pytest.raises(ToolFailedError, match="No matching distribution found for lightning"):
        tools.pip_report("torch==2.14.1", "lightning", *index)


def test_uv_takes_old_copies_from_an_index_that_is_not_explicit(
    tools: Tools, tmp_path: Path
) -> None:
    url = f"{tools.index.pytorch_url}/cu130"
    found = {}
    for explicit in (True, False):
        project = uv_project(
            tmp_path / str(explicit),
            url,
            [*PINS, "requests"],
            platforms=[LINUX],
            explicit=explicit,
            python="3.12",
        )
        locked = from_pylock(tools.uv_resolve(project, "3.12"), LINUX, "3.12")
        found[explicit] = only(locked, "requests")

    assert (found[True].version, found[True].compute_platform) == ("2.34.2", "pypi")
    assert (found[False].version, found[False].compute_platform) == ("2.28.1", "cu130")


def test_uv_uses_an_explicit_index_for_nothing_without_a_sources_row(
    tools: Tools, tmp_path: Path
) -> None:
    url = f"{tools.index.pytorch_url}/cpu"

    torch = only(uv(tools, uv_project(tmp_path, url, PINS, sources={})), "torch")

    assert (torch.version, torch.compute_platform) == ("2.14.1", "pypi")


def test_uv_uses_no_sources_row_for_a_package_that_is_not_a_direct_dependency(
    tools: Tools, tmp_path: Path
) -> None:
    project = uv_project(tmp_path, f"{tools.index.pytorch_url}/cpu", ["lightning"])

    assert only(uv(tools, project), "torch").compute_platform == "pypi"


# --- Poetry


def test_poetry_ignores_torch_that_is_only_in_its_own_table(tools: Tools, tmp_path: Path) -> None:
    project = poetry_project(tmp_path, f"{tools.index.pytorch_url}/cpu", ["lightning"])

    locked = poetry(tools, project)

    assert only(locked, "torch").compute_platform == "pypi"
    assert not of(locked, "torchvision")
    assert "All set!" in tools.poetry("check", cwd=project)


def test_poetry_locks_cublas_twice_without_exact_pins(tools: Tools, tmp_path: Path) -> None:
    url = f"{tools.index.pytorch_url}/cu130"
    loose = ["nvidia-cublas (>=13.1,<13.5) ; sys_platform == 'linux'"]

    plain = poetry(tools, poetry_project(tmp_path / "plain", url, POETRY_PINS))
    bounded = poetry(tools, poetry_project(tmp_path / "bounded", url, POETRY_PINS + loose))

    assert {entry.version for entry in of(plain, "nvidia-cublas")} == {"13.1.1.3", "13.10.0.20"}
    assert {entry.version for entry in of(plain, "nvidia-cuda-nvrtc")} == {"13.0.88", "13.5.37"}
    assert {entry.version for entry in of(bounded, "nvidia-cublas")} == {"13.1.1.3", "13.4.3.11"}


def test_poetry_fails_if_the_pins_are_those_of_another_toolkit(
    tools: Tools, tmp_path: Path
) -> None:
    pins = ["nvidia-cuda-nvrtc (==13.2.78) ; sys_platform == 'linux'"]
    project = poetry_project(tmp_path, f"{tools.index.pytorch_url}/cu132", POETRY_PINS + pins)

    with pytest.raises(ToolFailedError, match="requires nvidia-cuda-nvrtc") as failure:
        tools.poetry_lock(project)
    assert "version solving failed" in str(failure.value)


def test_poetry_refuses_a_python_range_with_the_release_that_torchvision_excludes(
    tools: Tools, tmp_path: Path
) -> None:
    project = poetry_project(tmp_path, f"{tools.index.pytorch_url}/cpu", POETRY_PINS, python="3.14")
    tools.poetry_lock(project)
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    write(project, text.replace(",!=3.14.1", ""))

    with pytest.raises(ToolFailedError, match=r"not be installable for Python 3\.14\.1"):
        tools.poetry_lock(project)


def test_poetry_takes_the_highest_local_version_even_without_a_wheel_for_the_platform(
    tools: Tools, tmp_path: Path
) -> None:
    url = f"{tools.index.pytorch_url}/cpu"
    dependencies = ["torch (==2.9.0)", "torchvision (==0.24.0)"]
    project = poetry_project(tmp_path, url, dependencies, python="3.12")

    found = only(from_poetry(tools.poetry_lock(project), LINUX, "3.12"), "torchvision")

    assert (found.version, found.filename) == ("0.24.0+e437e35", None)


@pytest.mark.parametrize("row", ["0.24.1", "==0.24.1,!=0.24.1+cu126"])
def test_poetry_cannot_take_a_wheel_without_suffix_beside_one_with(
    tools: Tools, tmp_path: Path, row: str
) -> None:
    x86 = f"{MARKERS['windows-amd64']} or {MARKERS[LINUX]}"
    torchvision = [
        ("0.24.1+cu126", "pytorch", x86),
        (row, "pytorch", MARKERS["linux-aarch64"]),
        ("0.24.1", "PyPI", MAC),
    ]
    torch = [("2.9.1+cu126", "pytorch", NOT_MAC), ("2.9.1", "PyPI", MAC)]
    project = poetry_project(
        tmp_path,
        f"{tools.index.pytorch_url}/cu126",
        ["torch (==2.9.1)", "torchvision (==0.24.1)"],
        {"torch": torch, "torchvision": torchvision},
        python="3.12",
    )

    locked = from_poetry(tools.poetry_lock(project), "linux-aarch64", "3.12")

    assert only(locked, "torch").filename
    assert only(locked, "torchvision").filename is None


# --- ROCm and XPU


@pytest.mark.parametrize(
    ("compute_platform", "triton", "rows"),
    [
        ("rocm7.2", "triton-rocm", ["torch", "torchvision"]),
        ("rocm7.2", "triton-rocm", ["torch", "torchvision", "triton-rocm"]),
        ("xpu", "triton-xpu", ["torch", "torchvision"]),
    ],
)
def test_uv_finds_no_triton_unless_it_is_a_direct_dependency_with_a_row(
    tools: Tools, tmp_path: Path, compute_platform: str, triton: str, rows: list[str]
) -> None:
    project = uv_project(
        tmp_path,
        f"{tools.index.pytorch_url}/{compute_platform}",
        PINS,
        sources=dict.fromkeys(rows, NOT_MAC),
        platforms=(LINUX, "macos-arm64"),
    )

    with pytest.raises(ToolFailedError, match=f"depends on {triton}"):
        tools.uv_lock(project)


def test_poetry_finds_no_triton_unless_it_is_a_direct_dependency_with_a_row(
    tools: Tools, tmp_path: Path
) -> None:
    project = poetry_project(tmp_path, f"{tools.index.pytorch_url}/rocm7.2", POETRY_PINS)

    with pytest.raises(ToolFailedError, match="no versions of triton-rocm match"):
        tools.poetry_lock(project)


# --- suffixes


def test_uv_refuses_a_local_pin_for_a_platform_whose_wheel_has_no_suffix(
    tools: Tools, tmp_path: Path
) -> None:
    pins = [f"torch==2.9.1+cu126 ; {NOT_MAC}", f"torchvision==0.24.1+cu126 ; {NOT_MAC}"]
    pins += [f"torch==2.9.1 ; {MAC}", f"torchvision==0.24.1 ; {MAC}"]
    project = uv_project(tmp_path, f"{tools.index.pytorch_url}/cu126", pins, python="3.12")

    with pytest.raises(ToolFailedError, match="'aarch64' and sys_platform == 'linux'`-compatible"):
        tools.uv_resolve(project, "3.12")


# --- pip


@linux_only
def test_pip_does_not_change_the_build_for_a_pin_without_suffix(
    tools: Tools, tmp_path: Path
) -> None:
    tools.run("python", "-m", "venv", "--without-pip", tmp_path / ".venv")
    python = tmp_path / ".venv/bin/python"
    cpu, cuda = (f"{tools.index.pytorch_url}/{name}" for name in ("cpu", "cu130"))
    tools.pip("install", "torch==2.14.1+cpu", "--extra-index-url", cpu, python=python)

    same = tools.pip("install", "torch==2.14.1", "--extra-index-url", cuda, python=python)
    other = tools.pip("install", "torch==2.14.1+cu130", "--extra-index-url", cuda, python=python)

    assert "Requirement already satisfied: torch==2.14.1" in same
    assert "Successfully uninstalled torch-2.14.1+cpu" in other


@linux_only
def test_pip_evaluates_markers_of_another_platform_on_the_running_one(
    tools: Tools, tmp_path: Path
) -> None:
    windows = ("--platform", "win_amd64", "--only-binary", ":all:", "--target", tmp_path)
    extra = ("--extra-index-url", f"{tools.index.pytorch_url}/cu130")

    with pytest.raises(
        ToolFailedError, match=r"No matching distribution found for (triton|nvidia)"
    ):
        tools.pip_report("torch==2.14.1+cu130", *windows, *extra)
    alone = tools.pip_report("torch==2.14.1+cu130", "--no-deps", *windows, *extra)
    assert reported(alone)["torch"].endswith("-win_amd64.whl")


def test_a_project_for_a_python_without_wheels_is_refused_by_uv(
    tools: Tools, tmp_path: Path
) -> None:
    project = uv_project(
        tmp_path, f"{tools.index.pytorch_url}/cpu", ["torch==2.5.1"], python="3.14"
    )

    with pytest.raises(ToolFailedError, match="no wheels with a matching Python"):
        tools.uv_resolve(project, "3.14")
