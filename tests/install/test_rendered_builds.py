"""Rendered projects resolve to exactly the build's wheels, with the real tools on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name, parse_wheel_filename

from install.catalog import files
from install.managers import ToolFailedError, Tools, reported
from install.resolution import PLATFORMS, Locked, from_poetry, from_pylock, from_requirements, only
from matrix.doctored import frozen
from render.projects import PYTHON, render
from render.reading import Builds
from torch_template.build import Asked, Build
from torch_template.matrix.facts import COMPANIONS
from torch_template.reasons import resolve

MATRIX = frozen()
MANAGERS = ("uv", "poetry", "pip")
# Old series with shapes of their own: unsuffixed aarch64 wheels, and aarch64 beside +cu124.
OLD = (("cpu", "2.5"), ("cu124", "2.5"), ("cu126", "2.9"), ("rocm6.4", "2.9"), ("xpu", "2.9"))
EACH_KIND = ("cpu", "cu130", "rocm7.2", "xpu", "pypi")
# What `pip --platform` calls a platform that is not the running one.
PIP_PLATFORMS = {
    "linux-aarch64": ["manylinux_2_28_aarch64", "manylinux2014_aarch64", "linux_aarch64"],
    "windows-amd64": ["win_amd64"],
    "macos-arm64": ["macosx_14_0_arm64", "macosx_11_0_arm64"],
}


def cases() -> Iterator[tuple[str, str, str]]:
    """Every compute platform with its newest release, and with the newest series before it.

    Poetry and pip, which take seconds, have one of each kind and take turns at the others:
    render/test_combinations.py holds the projects of all managers to each other.
    """
    offered = MATRIX.policy.compute_platforms.offered
    others = [name for name in offered if name not in EACH_KIND]
    left_out = {"uv": [], "poetry": others[::2], "pip": others[1::2]}
    for manager in MANAGERS:
        for name in (name for name in offered if name not in left_out[manager]):
            # The series before it has the same shapes: one manager shows that.
            for series in ("latest", "2.13") if manager == "uv" else ("latest",):
                if isinstance(resolve(MATRIX, Asked(manager, PYTHON, name, series)), Build):
                    yield manager, name, series
        for name, series in OLD:
            if isinstance(resolve(MATRIX, Asked(manager, PYTHON, name, series)), Build):
                yield manager, name, series


def marked() -> Iterator[Any]:
    """The cases: those of the newest release on an index are in README.md's test command."""
    for manager, name, series in cases():
        build = resolve(MATRIX, Asked(manager, PYTHON, name, series))
        here = resolve(MATRIX, Asked(manager, PYTHON, "pypi" if name == "pypi" else "cpu"))
        assert isinstance(build, Build)
        assert isinstance(here, Build)
        newest = series == "latest" and build.torch == here.torch
        newest = newest and (manager == "uv" or name == "cu130")  # uv is the fastest
        yield pytest.param(manager, name, series, marks=() if newest else pytest.mark.slow)


@pytest.mark.some(24)
@pytest.mark.few(3)
@pytest.mark.parametrize(("manager", "compute_platform", "series"), list(marked()))
def test_each_platform_gets_exactly_the_wheels_of_the_build(
    tools: Tools, tmp_path: Path, manager: str, compute_platform: str, series: str
) -> None:
    answers = {"compute_platform": compute_platform, "torch_version": series}
    check_resolutions(tools, tmp_path, package_manager=manager, **answers)


@pytest.mark.some(6)
@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("compute_platform", "series", "without"),
    [
        # torch has none for Windows there, and torchcodec is not known for aarch64.
        ("cu129", "latest", {"linux-aarch64", "windows-amd64"}),
        ("cpu", "latest", set()),
        ("cu130", "2.12", set()),
        ("pypi", "2.14", set()),
    ],
)
@pytest.mark.parametrize("manager", MANAGERS)
def test_all_companions_come_from_where_torch_does(
    tools: Tools,
    tmp_path: Path,
    manager: str,
    compute_platform: str,
    series: str,
    without: set[str],
) -> None:
    answers: dict[str, Any] = {"compute_platform": compute_platform, "torch_version": series}
    platforms = check_resolutions(
        tools, tmp_path, package_manager=manager, torch_packages=[*COMPANIONS], **answers
    )
    assert platforms == {*PLATFORMS} - without


def check_resolutions(tools: Tools, tmp_path: Path, **answers: Any) -> set[str]:  # noqa: ANN401
    """Each platform gets the wheels of the build, and no others of PyTorch's; the platforms."""
    compute_platform = answers["compute_platform"]
    if compute_platform != "pypi":
        answers["pytorch_index_url"] = tools.index.pytorch_url
    project = render(tmp_path / "project", **answers)
    data = Builds.parse((project / "scripts/torch_builds.json").read_text()).data
    build = data["builds"][compute_platform]
    names = {name for row in build["platforms"].values() for name in row["packages"]}
    from_index = names | index_only(build) if "index_url" in build else set()

    for platform, locked in resolutions(tools, project, data):
        for package, version in build["platforms"][platform]["packages"].items():
            check_wheel(only(locked, package), version, platform)
        came = {entry.project for entry in locked if is_pytorch(tools, entry)}
        assert came <= (from_index if platform != "macos-arm64" else set()), (platform, came)
        wheels = build["platforms"][platform]["packages"]
        assert came >= {package for package, version in wheels.items() if "+" in version}
    return {*build["platforms"]}


def resolutions(
    tools: Tools, project: Path, data: dict[str, Any]
) -> Iterator[tuple[str, list[Locked]]]:
    """What the project's manager installs on each platform that the build promises."""
    platforms = data["builds"][data["compute_platform"]]["platforms"]
    if data["package_manager"] == "uv":
        lock = tools.uv_pylock(project)
        yield from ((platform, from_pylock(lock, platform, PYTHON)) for platform in platforms)
    elif data["package_manager"] == "poetry":
        lock = tools.poetry_lock(project)
        yield from ((platform, from_poetry(lock, platform, PYTHON)) for platform in platforms)
    else:
        for platform in platforms:
            yield platform, with_pip(tools, project, data, platform)


def with_pip(tools: Tools, project: Path, data: dict[str, Any], platform: str) -> list[Locked]:
    """pip's report: of the project itself on this system, of its exact pins on another."""
    requirements = project / f"requirements/torch-{data['compute_platform']}.txt"
    if platform == "linux-x86_64":
        report = tools.pip_report("-c", requirements, project)
    else:
        pins = from_requirements(requirements.read_text(), platform, PYTHON)
        tags = [f"--platform={tag}" for tag in PIP_PLATFORMS[platform]]
        elsewhere = ("--only-binary=:all:", "--no-deps", f"--python-version={PYTHON}")
        target = f"--target={project / '.tools/elsewhere'}"
        text = requirements.read_text()
        pages = [line.replace(" ", "=") for line in text.splitlines() if line.startswith("--find")]
        report = tools.pip_report(*elsewhere, *tags, target, *pages, *pins)
    urls = {item["metadata"]["name"]: item["download_info"]["url"] for item in report["install"]}
    return [
        Locked(name, str(parse_wheel_filename(filename)[1]), filename, urls[name])
        for name, filename in reported(report).items()
        if filename.endswith(".whl")
    ]


def index_only(build: dict[str, Any]) -> set[str]:
    """The triton packages of a build that only the PyTorch index serves."""
    return {row.package for row in MATRIX.index_only} & {*build.get("extra_packages", ())}


def is_pytorch(tools: Tools, entry: Locked) -> bool:
    """Whether a package was taken from the PyTorch index."""
    return "/whl/" in (entry.index or "")


def check_wheel(entry: Locked, version: str, platform: str) -> None:
    """The lock names a wheel of this very version that fits the platform, and that exists."""
    assert entry.version == version
    assert entry.filename, f"{entry.project} {entry.version} has no wheel for {platform}"
    name, found, _, tags = parse_wheel_filename(entry.filename)
    assert (name, str(found)) == (canonicalize_name(entry.project), version)
    assert {str(tag) for tag in PLATFORMS[platform].wheel_tags(PYTHON)} & {str(tag) for tag in tags}


@pytest.mark.parametrize("compute_platform", ["rocm7.2", "cu129"])
def test_pip_refuses_a_platform_without_wheels_instead_of_taking_another_build(
    tools: Tools, tmp_path: Path, compute_platform: str
) -> None:
    project = render(
        tmp_path / "project",
        package_manager="pip",
        compute_platform=compute_platform,
        pytorch_index_url=tools.index.pytorch_url,
    )
    data = Builds.parse((project / "scripts/torch_builds.json").read_text()).data
    assert "windows-amd64" not in data["builds"][compute_platform]["platforms"]

    with pytest.raises(ToolFailedError, match="No matching distribution found for torch=="):
        with_pip(tools, project, data, "windows-amd64")


@pytest.mark.slow
def test_every_build_on_offer_has_its_files_on_the_index() -> None:
    for name in MATRIX.policy.compute_platforms.offered:
        for manager in MANAGERS:
            for python in MATRIX.policy.python.offered:
                build = resolve(MATRIX, Asked(manager, python, name, packages=("torchvision",)))
                if isinstance(build, Build):
                    check_files(build, name, python)


def check_files(build: Build, compute_platform: str, python: str) -> None:
    """Each wheel that a build promises is among the index's file names."""
    tag = f"cp{python.replace('.', '')}"
    for platform, wheels in build.wheels.items():
        index = "pypi" if platform == "macos-arm64" else compute_platform
        for package, version in wheels.packages.items():
            names = files(index, package)
            expected = f"{package}-{version}-"
            fitting = [n for n in names if n.startswith(expected) and (tag in n or "-py3-" in n)]
            tags = {str(tag) for tag in PLATFORMS[platform].wheel_tags(python)}
            found = any(tags & {str(t) for t in parse_wheel_filename(n)[3]} for n in fitting)
            assert found, f"no {expected}{tag}-*: {platform} on {index}"
