"""The three managers lock PyPI's own wheels on PyPI's real metadata."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from install.registry import SHARED, lock_with_poetry, lock_with_uv, locked, run, stack
from render.projects import PYTHON, render

pytestmark = [
    pytest.mark.slow,
    pytest.mark.network,
]


def of_pypi(folder: Path, manager: str, series: str) -> Path:
    """A project of PyPI's own wheels."""
    answers = {"package_manager": manager, "torch_version": series}
    return render(folder, compute_platform="pypi", **answers)


def resolve_with_pip(project: Path) -> list[tuple[str, str]]:
    """By the metadata alone: else pip downloads three gigabytes to install nothing."""
    options = ("--quiet", "--dry-run", "--ignore-installed", "--use-feature=fast-deps")
    command = ("pip", "install", *options, "--report", "-")
    report = json.loads(run(*command, "-c", "requirements/torch-pypi.txt", ".", cwd=project))
    found = [item["metadata"] for item in report["install"]]
    return stack([(metadata["name"], metadata["version"]) for metadata in found])


def test_each_manager_finds_the_registry(tmp_path: Path) -> None:
    about = f'name = "demo"\nversion = "0"\nrequires-python = "=={PYTHON}.*"\n'
    text = f'[project]\n{about}dependencies = ["mpmath"]\n\n[tool.poetry]\npackage-mode = false\n'
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    options = ("--quiet", "--dry-run", "--ignore-installed", "--report", "-")
    report = json.loads(run("pip", "install", *options, "mpmath", cwd=tmp_path))
    newest = report["install"][0]["metadata"]["version"]
    for lock in (lock_with_uv, lock_with_poetry):
        lock(tmp_path)
    for name in ("uv.lock", "poetry.lock"):
        assert f'"mpmath"\nversion = "{newest}"' in (tmp_path / name).read_text(encoding="utf-8")


@SHARED
def test_uv_poetry_and_pip_lock_the_same_build_once(by_poetry: Path, tmp_path: Path) -> None:
    assert_once("2.15.0", locked(by_poetry / "poetry.lock"), tmp_path)


def test_they_lock_the_same_build_of_an_older_series_once(tmp_path: Path) -> None:
    project = of_pypi(tmp_path / "poetry", "poetry", "2.14")
    assert_once("2.14.1", lock_with_poetry(project), tmp_path, "2.14")


def assert_once(
    torch: str, by_poetry: list[tuple[str, str]], folder: Path, series: str = "latest"
) -> None:
    """uv and pip take what Poetry has locked: this torch, and no package of the build twice."""
    projects = {manager: of_pypi(folder / manager, manager, series) for manager in ("uv", "pip")}

    by_uv = lock_with_uv(projects["uv"])

    names = [name for name, _ in by_uv]
    assert ("torch", torch) in by_uv
    assert "nvidia-cublas" in names
    assert len(names) == len(set(names))
    assert by_poetry == by_uv
    if sys.platform == "linux":  # pip resolves for the running system only
        assert resolve_with_pip(projects["pip"]) == by_uv


def test_without_the_pins_poetry_locks_two_versions_of_cublas(tmp_path: Path) -> None:
    project = render(tmp_path / "unpinned", package_manager="poetry", compute_platform="pypi")
    manifest = project / "pyproject.toml"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(line for line in lines if "nvidia-" not in line))

    names = [name for name, _ in lock_with_poetry(project)]

    assert names.count("nvidia-cublas") == 2


@SHARED
def test_a_second_poetry_sync_of_the_real_lock_does_nothing(
    by_poetry: Path, tmp_path: Path
) -> None:
    ignore = shutil.ignore_patterns(".venv")
    project = Path(shutil.copytree(by_poetry, tmp_path / "synced", ignore=ignore))
    first = run("poetry", "sync", "--dry-run", "--no-root", "--no-ansi", cwd=project)
    wanted = re.findall(r"Installing (\S+) \(([^)]+)\)(?!.*Skipped)", first)
    assert ("torch", "2.15.0") in wanted
    assert len({name for name, _ in wanted}) == len(wanted)

    # What a sync leaves behind, without its three gigabytes: the metadata of each package.
    purelib = next((project / ".venv").glob("lib/python*/site-packages"))
    for name, version in wanted:
        info = purelib / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(text)

    second = run("poetry", "sync", "--dry-run", "--no-root", "--no-ansi", cwd=project)

    assert re.search(r"0 installs, 0 updates, 0 removals|No dependencies to install", second), (
        second
    )
