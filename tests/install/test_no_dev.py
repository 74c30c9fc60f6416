"""Servers and images: `--no-dev`, and what `--check-locks` takes for a stale lock file."""

from __future__ import annotations

from pathlib import Path

import pytest

from install.checkouts import BOOTSTRAPS, edit, installed, lock_of, project_with, rendered
from install.managers import ToolFailedError, Tools

pytestmark = [*BOOTSTRAPS, pytest.mark.slow]
TOOLS_FOR_DEVELOPMENT = {"pytest", "pluggy", "iniconfig", "ruff", "mypy", "mypy-extensions"}


@pytest.mark.parametrize(
    ("manager", "builds"),
    [
        ("uv", {"cpu": True, "cu126": False, "cu130": False}),  # whether it is in locks
        ("poetry", {"cpu": True, "cu130": False}),
        ("pip", {"cu126": False, "cu130": True}),
    ],
)
def test_a_server_goes_without_the_tools_for_development(
    tools: Tools, tmp_path: Path, manager: str, builds: dict[str, bool]
) -> None:
    project = project_with(tools, tmp_path, manager, "cu130", "cpu")
    edit(
        project,
        '    "torchmetrics",\n',
        '    "torchmetrics",\n    "colorama ; sys_platform == \'win32\'",\n',
    )
    edit(project, "dev = [\n", 'dev = [\n    "colorama",\n')
    for name, locked in builds.items():
        options = ("--no-dev", "--compute-platform", name)
        said = tools.bootstrap(project, *options)
        assert ("each file by its hash" in said) == locked
        have = installed(tools, project)
        assert have["torch"].endswith(f"+{name}")
        assert {"torchmetrics", "numpy", "my-torch-project"} <= set(have)
        assert not TOOLS_FOR_DEVELOPMENT & set(have)
        assert "colorama" not in have or manager == "poetry"  # whose lock file has no such marker
        assert "Nothing to do" in tools.bootstrap(project, *options)
    added = ["--python", str(project / ".venv/bin/python"), "idna"]
    tools.uv("pip", "install", *added, cwd=project)
    said = tools.bootstrap(project, *options, "--dry-run")
    assert "removing .venv: idna was added" in said
    for name in (name for name in builds if builds[name]):  # the lock is for all machines
        assert {"pytest", "mypy"} <= {one.name for one in lock_of(project, name).packages}
    tools.bootstrap(project)
    whole = installed(tools, project)
    assert {"pytest", "ruff", "mypy"} <= set(whole)
    assert {name: whole[name] for name in have} == have
    assert "colorama" in whole
    said = tools.bootstrap(project, "--no-dev", "--dry-run")
    assert "removing .venv: it has the tools for development" in said


def test_what_else_a_manager_finds_amiss_makes_no_lock_file_stale(
    tools: Tools, tmp_path: Path
) -> None:
    project = rendered(tools, tmp_path / "one", "poetry")
    edit(project, 'readme = "README.md"\n', 'readme = "README.md"\nclassifiers = ["Own :: One"]\n')
    tools.poetry_lock(project)
    assert "All lock files are up to date." in tools.bootstrap(project, "--check-locks")
    edit(project, "    # Your dependencies.\n", '    # Your dependencies.\n    "idna",\n')
    with pytest.raises(ToolFailedError, match=r"poetry\.lock does not fit pyproject\.toml"):
        tools.bootstrap(project, "--check-locks")

    project = rendered(tools, tmp_path / "two", "uv")
    made = tools.run("uv", "init", "--bare", "--lib", "--no-workspace", "lib", cwd=project)
    assert "Initialized" in made
    edit(project, "dev = [\n", 'dev = [\n    "lib",\n')
    edit(project, "[tool.uv.sources]\n", '[tool.uv.sources]\nlib = { path = "lib" }\n')
    tools.uv_lock(project)
    assert "All lock files are up to date." in tools.bootstrap(project, "--check-locks")
    (project / "lib").rename(project / "elsewhere")
    with pytest.raises(
        ToolFailedError, match=r"cannot be checked \(Distribution not found.*/lib\)"
    ):
        tools.bootstrap(project, "--check-locks")
