"""The managers on the real registry: what they lock there, for the tests of its real metadata."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit

from machine_settings import simple_index

# One process of the test run has what Poetry has locked.
SHARED = pytest.mark.xdist_group("locked by Poetry")
STACK = re.compile(r"torch(vision)?|triton|cuda-.*|nvidia-.*")


def run(*command: str, cwd: Path) -> str:
    """Run a real tool against the real registry; its output."""
    env = {**os.environ, "POETRY_VIRTUALENVS_IN_PROJECT": "true"}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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
