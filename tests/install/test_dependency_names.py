"""What a project really gets has none of the names that a project can have."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from pathlib import Path

import pytest
import tomlkit

from install.registry import SHARED, run
from render.projects import render
from torch_template.answers import taken_package_error, taken_project_error

pytestmark = [pytest.mark.slow, pytest.mark.network]
PACKAGE = re.compile("[a-z][a-z0-9_]*")
REGENERATE = "run tools/dependency_names.py"


def allowed(names: list[str]) -> list[str]:
    """Of these dependencies' names, those that a new project could have."""
    return [name for name in names if name != "my-torch-project" and not taken_project_error(name)]


@pytest.mark.parametrize("series", ["latest", "2.12", "2.7", "2.4"])
def test_what_uv_locks(tmp_path: Path, series: str) -> None:
    starter = "package" if series == "2.4" else "training"
    answers = {"compute_platform": "pypi", "torch_version": series, "starter": starter}
    project = render(tmp_path / "demo", **answers)
    run("uv", "lock", "--quiet", "--no-config", cwd=project)
    lock = tomlkit.parse((project / "uv.lock").read_text(encoding="utf-8")).unwrap()
    names = [package["name"] for package in lock["package"]]
    assert {"torch", "mypy", "nvidia-nvtx"} <= {name.removesuffix("-cu12") for name in names}
    assert allowed(names) == [], REGENERATE


@SHARED
def test_what_poetry_locks(by_poetry: Path) -> None:
    lock = tomlkit.parse((by_poetry / "poetry.lock").read_text(encoding="utf-8")).unwrap()
    names = [package["name"] for package in lock["package"]]
    assert {"torch", "mypy"} <= {*names}
    assert allowed(names) == [], REGENERATE


def importable(folder: Path) -> list[str]:
    """The packages and modules that were installed there, as a project could be named."""
    files = [file for one in distributions(path=[str(folder)]) for file in one.files or ()]
    packages = {file.parts[0] for file in files if len(file.parts) > 1} - {"bin", "share"}
    loose = [file for file in files if len(file.parts) == 1]
    modules = {file.name.partition(".")[0] for file in loose if file.suffix in (".py", ".so")}
    return sorted(filter(PACKAGE.fullmatch, map(str.lower, packages | modules)))


def test_what_is_importable_when_uv_has_installed_it(tmp_path: Path) -> None:
    """All but the gigabytes: torch, and what is CUDA's."""
    project = render(tmp_path / "demo", compute_platform="pypi", starter="training")
    large = re.compile(r"torch.*|triton|nvidia-.*|cuda-.*")
    run("uv", "lock", "--quiet", "--no-config", cwd=project)
    lock = tomlkit.parse((project / "uv.lock").read_text(encoding="utf-8")).unwrap()
    names = [package["name"] for package in lock["package"] if large.fullmatch(package["name"])]
    without = [f"--no-emit-package={name}" for name in names]
    command = ("--no-config", "--frozen", "--no-emit-project", "--output-file=all.txt")
    run("uv", "export", "--quiet", *command, *without, cwd=project)
    run("uv", "pip", "install", "--quiet", "--target=all", "--requirements=all.txt", cwd=project)
    found = importable(project / "all")
    assert {"numpy", "mypy", "pil", "sympy"} <= {*found}
    assert [name for name in found if not taken_package_error(name)] == [], REGENERATE
