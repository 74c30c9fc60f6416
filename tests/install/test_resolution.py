"""Reading a lock file: the wheel and the marker that an installer would choose."""

from __future__ import annotations

import pytest

from install.resolution import best_wheel, from_poetry, from_pylock, from_requirements, holds, only


@pytest.mark.parametrize(
    ("platform", "python", "expected"),
    [
        ("linux-x86_64", "3.13", "torch-1-cp313-cp313-manylinux_2_28_x86_64.whl"),
        ("linux-aarch64", "3.13", "torch-1-cp313-cp313-linux_aarch64.whl"),
        ("windows-amd64", "3.13", None),
        ("macos-arm64", "3.13", "torch-1-2-cp313-none-macosx_11_0_arm64.whl"),
        ("linux-x86_64", "3.12", None),
    ],
)
def test_the_best_wheel_fits_the_platform_and_the_python(
    platform: str, python: str, expected: str | None
) -> None:
    names = [
        "torch-1-cp313-cp313-linux_aarch64.whl",
        "torch-1-cp313-cp313-manylinux_2_28_x86_64.whl",
        "torch-1-cp313-cp313-linux_x86_64.whl",
        "torch-1-cp313-cp313t-manylinux_2_28_x86_64.whl",
        "torch-1-cp313-none-macosx_11_0_arm64.whl",
        "torch-1-2-cp313-none-macosx_11_0_arm64.whl",
        "torch-1-cp313-cp313-win_arm64.whl",
        "torch-1.tar.gz",
    ]

    assert best_wheel(names, platform, python) == expected


def test_a_wheel_for_any_python_still_needs_the_platform() -> None:
    names = ["torchvision-1-py3-none-manylinux_2_28_x86_64.whl"]

    assert best_wheel(names, "linux-x86_64", "3.12") == names[0]
    assert best_wheel(names, "linux-aarch64", "3.12") is None


def test_a_marker_is_read_for_the_platform_and_not_for_the_running_one() -> None:
    marker = "platform_system == 'Windows' and python_full_version < '3.13'"

    assert holds(marker, "windows-amd64", "3.12")
    assert not holds(marker, "windows-amd64", "3.13")
    assert not holds(marker, "linux-x86_64", "3.12")
    assert holds(None, "linux-x86_64", "3.12")


def test_a_poetry_lock_is_read_with_its_groups() -> None:
    package = {"name": "a", "version": "1", "files": [{"file": "a-1-py3-none-any.whl"}]}
    markers = {"main": "sys_platform == 'win32'", "dev": "sys_platform == 'linux'"}
    lock = {"package": [package | {"groups": ["main", "dev"], "markers": markers}]}

    assert not from_poetry(lock, "linux-x86_64", "3.12")
    assert only(from_poetry(lock, "linux-x86_64", "3.12", ["dev"]), "a").compute_platform == "pypi"
    assert only(from_poetry(lock, "windows-amd64", "3.12"), "a").filename == "a-1-py3-none-any.whl"


def test_a_pylock_is_read_with_the_place_of_each_wheel() -> None:
    url = "http://127.0.0.1:1/whl/cu130/torch-2%2Bcu130-cp312-cp312-win_amd64.whl"
    lock = {"packages": [{"name": "torch", "version": "2+cu130", "wheels": [{"url": url}]}]}

    windows, linux = (
        only(from_pylock(lock, name, "3.12"), "torch") for name in ("windows-amd64", "linux-x86_64")
    )

    assert windows.filename == "torch-2+cu130-cp312-cp312-win_amd64.whl"
    assert windows.compute_platform == linux.compute_platform == "cu130"
    assert linux.filename is None


def test_requirement_lines_are_read_with_their_markers_and_without_options() -> None:
    text = (
        "# torch\n--extra-index-url http://127.0.0.1/whl/cpu\n\n"
        'torch==2+cpu ; sys_platform != "darwin"  # exact\ntorch==2 ; sys_platform == "darwin"\n'
    )

    assert from_requirements(text, "linux-aarch64", "3.12") == ["torch==2+cpu"]
    assert from_requirements(text, "macos-arm64", "3.12") == ["torch==2"]
