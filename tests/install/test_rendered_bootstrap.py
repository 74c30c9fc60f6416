"""The bootstrap of a rendered project installs its build, with each manager, on loopback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from install.managers import Tools
from render.projects import render
from render.reading import Builds

pytestmark = pytest.mark.skipif(os.name == "nt", reason="runs bootstrap.sh")

VERSIONS = "import importlib.metadata as m; print(*map(m.version, {!r}))"


@pytest.mark.usefixtures("real_pip")
@pytest.mark.network
@pytest.mark.parametrize(
    "compute_platform",
    ["cpu", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cu130", "pypi"))],
)
@pytest.mark.parametrize("manager", ["uv", "poetry", "pip"])
def test_bootstrap_installs_exactly_the_build_and_then_has_nothing_to_do(
    tools: Tools, tmp_path: Path, manager: str, compute_platform: str
) -> None:
    answers = {"package_manager": manager, "compute_platform": compute_platform}
    if compute_platform != "pypi":
        answers["pytorch_index_url"] = tools.index.pytorch_url
    project = render(tmp_path / "a project", **answers)
    data = Builds.parse((project / "scripts/torch_builds.json").read_text()).data
    wanted = data["builds"][compute_platform]["platforms"]["linux-x86_64"]["packages"]

    tools.bootstrap(project)
    again = tools.bootstrap(project)

    python = project / ".venv/bin/python"
    installed = tools.run(python, "-c", VERSIONS.format(list(wanted)), cwd=project)
    assert installed.split() == list(wanted.values())
    assert "Nothing to do" in again
    if manager == "poetry":  # which without pins would change versions with every sync
        synced = tools.poetry("sync", cwd=project, POETRY_VIRTUALENVS_IN_PROJECT="true")
        assert "No dependencies to install or update" in synced
