"""The three managers lock PyPI's own wheels on PyPI's real metadata."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit

from machine_settings import simple_index
from render.projects import render

pytestmark = [
    pytest.mark.slow,
    pytest.mark.network,
]

STACK = re.compile(r"torch(vision)?|triton|cuda-.*|nvidia-.*")
RELEASES = {"2.15": "2.15.0", "2.14": "2.14.1"}


def run(*command: str, cwd: Path) -> str:
    """Run a real tool against the real registry; its output."""
    env = {**os.environ, "POETRY_VIRTUALENVS_IN_PROJECT": "true"}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the projects."""
    return tmp_path_factory.mktemp("real")


def stack(versions: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What belongs to the PyTorch build, sorted: a package locked twice stays twice."""
    return sorted(pair for pair in versions if STACK.fullmatch(pair[0]))


def locked(lock: Path) -> list[tuple[str, str]]:
    """The stack in a uv.lock or poetry.lock."""
    packages = tomlkit.parse(lock.read_text()).unwrap()["package"]
    return stack([(package["name"], package.get("version", "")) for package in packages])


def lock_with_uv(project: Path) -> list[tuple[str, str]]:
    run("uv", "lock", "--quiet", "--no-config", cwd=project)
    return locked(project / "uv.lock")


def lock_with_poetry(project: Path) -> list[tuple[str, str]]:
    """Through the simple API, as from a mirror: some do not have the JSON API of Poetry's PyPI."""
    manifest = project / "pyproject.toml"
    mirror = f'[[tool.poetry.source]]\nname = "mirror"\nurl = "{simple_index()}"\n'
    manifest.write_text(f'{manifest.read_text()}\n{mirror}priority = "primary"\n')
    run("poetry", "lock", "--no-interaction", cwd=project)
    return locked(project / "poetry.lock")


def resolve_with_pip(project: Path) -> list[tuple[str, str]]:
    command = ("pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-")
    report = json.loads(run(*command, "-c", "requirements/torch-pypi.txt", ".", cwd=project))
    found = [item["metadata"] for item in report["install"]]
    return stack([(metadata["name"], metadata["version"]) for metadata in found])


@pytest.mark.parametrize("series", RELEASES)
def test_uv_poetry_and_pip_lock_the_same_build_once(folder: Path, series: str) -> None:
    answers = {"compute_platform": "pypi", "torch_version": series}
    projects = {
        manager: render(folder / f"{manager}-{series}", package_manager=manager, **answers)
        for manager in ("uv", "poetry", "pip")
    }

    by_uv = lock_with_uv(projects["uv"])
    by_poetry = lock_with_poetry(projects["poetry"])

    names = [name for name, _ in by_uv]
    assert ("torch", RELEASES[series]) in by_uv
    assert "nvidia-cublas" in names
    assert len(names) == len(set(names))
    assert by_poetry == by_uv
    if sys.platform == "linux":  # pip resolves for the running system only
        assert resolve_with_pip(projects["pip"]) == by_uv


def test_without_the_pins_poetry_locks_two_versions_of_cublas(folder: Path) -> None:
    project = render(folder / "unpinned", package_manager="poetry", compute_platform="pypi")
    manifest = project / "pyproject.toml"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(line for line in lines if "nvidia-" not in line))

    names = [name for name, _ in lock_with_poetry(project)]

    assert names.count("nvidia-cublas") == 2


def test_a_second_poetry_sync_of_the_real_lock_does_nothing(folder: Path) -> None:
    project = render(folder / "synced", package_manager="poetry", compute_platform="pypi")
    lock_with_poetry(project)
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
