"""The bootstrap of a rendered project installs its build, with each manager, on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from install.begun import begun
from install.managers import Tools
from render.projects import PYTHON, commit, copier, git, render
from render.reading import Builds
from scripts.bootstrap_helpers import make_wheel

pytestmark = pytest.mark.skipif(os.name == "nt", reason="runs bootstrap.sh")

VERSIONS = "import importlib.metadata as m; print(*map(m.version, {!r}))"


@pytest.mark.some(5)
@pytest.mark.slow
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
    if (manager, compute_platform) == ("pip", "pypi"):
        begun(project)
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


@pytest.mark.slow
@pytest.mark.parametrize("manager", ["uv", "poetry", "pip"])
def test_what_a_project_from_windows_tells_to_type_runs_in_a_clone(
    tools: Tools, template: Path, tmp_path: Path, manager: str
) -> None:
    """There, git does not see that a file can be executed."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    answers = [f"package_manager={manager}", f"python_version={PYTHON}", "compute_platform=cu130"]
    answers.append(f"pytorch_index_url={tools.index.pytorch_url}")
    options = [word for answer in answers for word in ("--data", answer)]
    said = copier("copy", "--trust", "--defaults", *options, template, origin).stderr
    (origin / "bootstrap.sh").chmod(0o644)
    git(origin, "init", "--quiet")
    git(origin, "config", "core.fileMode", "false")
    commit(origin)
    git(tmp_path, "clone", "--quiet", str(origin), str(clone))
    assert not os.access(clone / "bootstrap.sh", os.X_OK)

    pages = [(clone / name).read_text("utf-8") for name in ("README.md", "docs/pytorch-build.md")]
    texts = "\n".join([*pages, said, stop_for(clone)])
    typed = r"((?:\./|sh |sh \./)?bootstrap\.sh\b[^`\n]*)"
    lines = re.findall(rf"^ *{typed}$", texts, re.MULTILINE)
    lines += [line for line in re.findall(f"`{typed}`", texts) if line != "bootstrap.sh"]
    assert len(set(lines)) >= 6
    (clone / "wheelhouse").mkdir()
    make_wheel(clone / "wheelhouse", "any", "1.0")
    asks_alone = [line for line in lines if "--check-locks" in line]
    assert asks_alone  # of lock files that a clone of this one has not
    for line in dict.fromkeys(line for line in lines if line not in asks_alone):
        command = f"{line.partition(' #')[0]} --dry-run --no-smoke"
        tools.run("sh", "-c", command, cwd=clone)


def stop_for(project: Path) -> str:
    """What the smoke test of a project tells to type where torch is not installed."""
    command = [sys.executable, "scripts/gpu_smoke_test.py", "--only", "TORCH-FOUND"]
    done = subprocess.run(command, cwd=project, capture_output=True, encoding="utf-8", check=False)
    return done.stdout.replace("-> Type ", "")
