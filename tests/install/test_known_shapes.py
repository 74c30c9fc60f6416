"""The shapes that the template renders, written by hand: each gives exactly the wheels it names."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from install.managers import Tools, reported
from install.resolution import Locked, from_poetry, from_pylock, from_requirements, of, only
from install.shapes import EVERYWHERE, MAC, MARKERS, NOT_MAC, poetry_project, uv_project
from render.projects import PYTHON

pytestmark = pytest.mark.slow

LINUX, AARCH64, WINDOWS, MACOS = EVERYWHERE
PINS = ["torch==2.14.1", "torchvision==0.29.1"]
POETRY_PINS = ["torch (==2.14.1)", "torchvision (==0.29.1)"]
ON_X86 = f"{MARKERS[LINUX]} or {MARKERS[WINDOWS]}"
Lock = Callable[[str], list[Locked]]


def check(lock: Lock, versions: dict[str, tuple[str, ...]]) -> None:
    """Each platform gets these versions of torch, torchvision (...), and has wheels for them."""
    for name, expected in versions.items():
        locked = lock(name)
        projects = ("torch", "torchvision", "triton-rocm", "triton-xpu")
        found = [entry for project in projects for entry in of(locked, project)]
        assert tuple(entry.version for entry in found) == expected, name
        for entry in found:
            assert entry.filename, (name, entry)
            assert (entry.compute_platform == "pypi") == (name == MACOS), (name, entry)


def everywhere(torch: str, torchvision: str, suffix: str) -> dict[str, tuple[str, ...]]:
    """Return what a build with wheels for all platforms gives."""
    suffixed = (torch + suffix, torchvision + suffix)
    return {LINUX: suffixed, AARCH64: suffixed, WINDOWS: suffixed, MACOS: (torch, torchvision)}


def uv_lock(tools: Tools, project: Path) -> Lock:
    """Run the real `uv lock`, for the running Python."""
    lock = tools.uv_pylock(project)
    return lambda name: from_pylock(lock, name, PYTHON)


def uv_resolved(tools: Tools, project: Path, python: str) -> Lock:
    """Resolve with uv for a Python that need not run here."""
    lock = tools.uv_resolve(project, python)
    return lambda name: from_pylock(lock, name, python)


def poetry_lock(tools: Tools, project: Path, python: str = PYTHON) -> Lock:
    """Run `poetry lock`."""
    lock = tools.poetry_lock(project)
    return lambda name: from_poetry(lock, name, python)


# --- uv


@pytest.mark.parametrize("compute_platform", ["cpu", "cu130"])
@pytest.mark.parametrize("local", [False, True], ids=["public pin", "local pin"])
def test_uv_takes_the_build_on_every_platform(
    tools: Tools, tmp_path: Path, compute_platform: str, local: bool
) -> None:
    pins = [*PINS, "numpy", "lightning"]
    if local:
        pins += [f"{pin}+{compute_platform} ; {NOT_MAC}" for pin in PINS]
    project = uv_project(tmp_path, f"{tools.index.pytorch_url}/{compute_platform}", pins)

    check(uv_lock(tools, project), everywhere("2.14.1", "0.29.1", f"+{compute_platform}"))


@pytest.mark.parametrize(
    ("compute_platform", "triton", "marker", "platforms"),
    [
        ("rocm7.2", "triton-rocm", MARKERS[LINUX], (LINUX, MACOS)),
        ("xpu", "triton-xpu", NOT_MAC, (LINUX, WINDOWS, MACOS)),
    ],
)
def test_uv_takes_rocm_and_xpu_with_their_triton_as_a_direct_dependency(
    tools: Tools,
    tmp_path: Path,
    compute_platform: str,
    triton: str,
    marker: str,
    platforms: Sequence[str],
) -> None:
    project = uv_project(
        tmp_path,
        f"{tools.index.pytorch_url}/{compute_platform}",
        [*PINS, f"{triton} ; {marker}"],
        sources={"torch": NOT_MAC, "torchvision": NOT_MAC, triton: marker},
        platforms=platforms,
    )
    build = (f"2.14.1+{compute_platform}", f"0.29.1+{compute_platform}", "3.8.0")

    lock = uv_lock(tools, project)

    check(lock, dict.fromkeys(platforms, build) | {MACOS: ("2.14.1", "0.29.1")})
    assert {entry.project for entry in lock(LINUX) if entry.compute_platform != "pypi"} == {
        "torch",
        "torchvision",
        triton,
    }


@pytest.mark.parametrize(
    ("compute_platform", "torch", "torchvision", "aarch64"),
    [
        ("cu126", "2.9.1", "0.24.1", ("2.9.1+cu126", "0.24.1")),
        ("cpu", "2.9.0", "0.24.0", ("2.9.0+cpu", "0.24.0")),
        ("cpu", "2.5.1", "0.20.1", ("2.5.1", "0.20.1")),
        ("cu124", "2.5.1", "0.20.1", ("2.5.1", "0.20.1")),
    ],
)
def test_uv_follows_the_wheels_without_suffix_for_linux_on_arm(
    tools: Tools,
    tmp_path: Path,
    compute_platform: str,
    torch: str,
    torchvision: str,
    aarch64: tuple[str, str],
) -> None:
    project = uv_project(
        tmp_path,
        f"{tools.index.pytorch_url}/{compute_platform}",
        [f"torch=={torch}", f"torchvision=={torchvision}"],
        python="3.12",
    )
    expected = everywhere(torch, torchvision, f"+{compute_platform}") | {AARCH64: aarch64}

    check(uv_resolved(tools, project, "3.12"), expected)


def test_uv_leaves_out_a_platform_that_the_project_does_not_name(
    tools: Tools, tmp_path: Path
) -> None:
    pins = ["torch==2.5.1", "torchvision==0.20.1"]
    project = uv_project(
        tmp_path,
        f"{tools.index.pytorch_url}/cu124",
        pins,
        platforms=(LINUX, WINDOWS, MACOS),
        python="3.12",
    )

    expected = everywhere("2.5.1", "0.20.1", "+cu124") | {AARCH64: ()}
    check(uv_resolved(tools, project, "3.12"), expected)


# --- Poetry


def poetry_rows(suffix: str, marker: str = NOT_MAC) -> dict[str, list[tuple[str | None, str, str]]]:
    """Return rows for 2.14.1: with the local version in them, or (no suffix) without any."""
    return {
        project: [
            (version + suffix if suffix else None, "pytorch", marker),
            (version if suffix else None, "PyPI", MAC),
        ]
        for project, version in (("torch", "2.14.1"), ("torchvision", "0.29.1"))
    }


@pytest.mark.parametrize("suffix", ["", "+cu130"], ids=["public pin", "local pin"])
def test_poetry_takes_cuda_with_exact_pins_of_cublas_and_nvrtc(
    tools: Tools, tmp_path: Path, suffix: str
) -> None:
    cure = ["nvidia-cublas (==13.1.1.3) ; sys_platform == 'linux'"]
    cure += ["nvidia-cuda-nvrtc (==13.0.88) ; sys_platform == 'linux'"]
    url = f"{tools.index.pytorch_url}/cu130"
    dependencies = [*POETRY_PINS, "lightning", *cure]
    project = poetry_project(tmp_path, url, dependencies, poetry_rows(suffix))

    lock = poetry_lock(tools, project)

    check(lock, everywhere("2.14.1", "0.29.1", "+cu130"))
    for name in (LINUX, AARCH64):
        assert only(lock(name), "nvidia-cublas").version == "13.1.1.3"
        assert only(lock(name), "nvidia-cuda-nvrtc").version == "13.0.88"
        projects = [entry.project for entry in lock(name)]
        assert len(projects) == len(set(projects))
    assert not [entry for entry in lock(WINDOWS) if entry.project.startswith("cuda-toolkit")]
    assert tools.poetry("check", "--lock", "--strict", cwd=project).strip() == "All set!"


def test_poetry_takes_the_cpu_build(tools: Tools, tmp_path: Path) -> None:
    project = poetry_project(tmp_path, f"{tools.index.pytorch_url}/cpu", POETRY_PINS)

    check(poetry_lock(tools, project), everywhere("2.14.1", "0.29.1", "+cpu"))


@pytest.mark.parametrize("suffix", ["", "+rocm7.2"], ids=["public pin", "local pin"])
def test_poetry_takes_rocm_with_its_triton_as_a_direct_dependency(
    tools: Tools, tmp_path: Path, suffix: str
) -> None:
    rows = poetry_rows(suffix, MARKERS[LINUX])
    rows["triton-rocm"] = [(None, "pytorch", MARKERS[LINUX])]
    dependencies = [*POETRY_PINS, f"triton-rocm ; {MARKERS[LINUX]}"]
    url = f"{tools.index.pytorch_url}/rocm7.2"

    lock = poetry_lock(tools, poetry_project(tmp_path, url, dependencies, rows))

    build = ("2.14.1+rocm7.2", "0.29.1+rocm7.2", "3.8.0")
    check(lock, {LINUX: build, AARCH64: (), WINDOWS: (), MACOS: ("2.14.1", "0.29.1")})


def with_local_versions(
    folder: Path, tools: Tools, build: str, versions: Mapping[str, str]
) -> Path:
    """A project for Poetry whose rows name versions such as 2.5.1+cu124, on x86_64 alone."""
    rows = {
        project: [(f"{version}+{build}", "pytorch", ON_X86), (version, "PyPI", MAC)]
        for project, version in versions.items()
    }
    url = f"{tools.index.pytorch_url}/{build}"
    dependencies = [f"{project} (=={version})" for project, version in versions.items()]
    return poetry_project(folder, url, dependencies, rows, python="3.12")


def test_poetry_takes_old_builds_for_x86_if_each_row_names_the_local_version(
    tools: Tools, tmp_path: Path
) -> None:
    versions = {"torch": "2.5.1", "torchvision": "0.20.1"}
    project = with_local_versions(tmp_path, tools, "cu124", versions)

    expected = everywhere("2.5.1", "0.20.1", "+cu124") | {AARCH64: ()}
    check(poetry_lock(tools, project, "3.12"), expected)


def test_poetry_takes_the_odd_release_right_if_its_rows_name_the_local_version(
    tools: Tools, tmp_path: Path
) -> None:
    versions = {"torch": "2.9.0", "torchvision": "0.24.0"}
    project = with_local_versions(tmp_path, tools, "cpu", versions)

    lock = poetry_lock(tools, project, "3.12")

    assert only(lock(LINUX), "torchvision").version == "0.24.0+cpu"
    assert only(lock(WINDOWS), "torchvision").filename


# --- pip


def requirements(url: str, suffix: str) -> str:
    """Return the text of a requirements file for 2.14.1."""
    lines = [f"--extra-index-url {url}"]
    for pin in PINS:
        lines += [f'{pin}{suffix} ; sys_platform != "darwin"', f'{pin} ; sys_platform == "darwin"']
    return "\n".join(lines) + "\n"


PIP_TAGS = {
    LINUX: "manylinux_2_28_x86_64",
    AARCH64: "manylinux_2_28_aarch64",
    WINDOWS: "win_amd64",
    MACOS: "macosx_14_0_arm64",
}


@pytest.mark.parametrize("compute_platform", ["cpu", "cu130"])
def test_pip_takes_the_build_that_the_lines_for_a_platform_pin(
    tools: Tools, tmp_path: Path, compute_platform: str
) -> None:
    url = f"{tools.index.pytorch_url}/{compute_platform}"
    text = requirements(url, f"+{compute_platform}")
    for name, tag in PIP_TAGS.items():
        where = (f"--platform={tag}", "--python-version=3.12", f"--target={tmp_path}")
        lines = from_requirements(text, name, "3.12")
        extra = ("--no-deps", "--only-binary=:all:", "--extra-index-url", url)

        got = reported(tools.pip_report(*where, *extra, *lines))

        suffix = "" if name == MACOS else f"+{compute_platform}"
        assert got == {
            "torch": f"torch-2.14.1{suffix}-cp312-cp312-{tag}.whl",
            "torchvision": f"torchvision-0.29.1{suffix}-cp312-cp312-{tag}.whl",
        }


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="pip resolves for the running platform only",
)
@pytest.mark.parametrize(
    ("compute_platform", "also"),
    [("cpu", None), ("cu130", "nvidia-cudnn-cu13"), ("rocm7.2", "triton-rocm"), ("xpu", "mkl")],
)
def test_a_pip_constraints_file_brings_the_build_and_its_index(
    tools: Tools, tmp_path: Path, compute_platform: str, also: str | None
) -> None:
    constraints = tmp_path / "torch.txt"
    url = f"{tools.index.pytorch_url}/{compute_platform}"
    constraints.write_text(requirements(url, f"+{compute_platform}"), encoding="utf-8")

    got = reported(tools.pip_report("-c", constraints, "torch", "torchvision", "lightning"))

    assert got["torch"].startswith(f"torch-2.14.1+{compute_platform}-")
    assert got["torchvision"].startswith(f"torchvision-0.29.1+{compute_platform}-")
    assert "lightning" in got
    assert also is None or also in got
    assert compute_platform == "cu130" or not [name for name in got if name.startswith("nvidia")]
