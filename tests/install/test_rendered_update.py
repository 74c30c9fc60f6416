"""After an update a stale .venv and lock are noticed, and the weekly script makes both anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from install.managers import ToolFailedError, Tools
from render.projects import MATRIX_YML, PYTHON, commit, git, start, update
from update.versions import clone, release_as_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="looks into .venv/bin"),
    pytest.mark.network,
    pytest.mark.usefixtures("real_pip"),
]
VERSION = "import importlib.metadata as m; print(m.version('torch'))"


def run_the_workflow(tools: Tools, project: Path, folder: Path) -> Path:
    """Run the shell steps of the project's workflow as GitHub does; the remote that it pushed to.

    Copier comes from the registry, the project's packages from loopback, and `gh` notes its orders.
    """
    remote = folder / "remote.git"
    git(folder, "init", "--quiet", "--bare", str(remote))
    git(project, "remote", "add", "origin", str(remote))
    git(project, "push", "--quiet", "origin", "main")
    gh = folder / "bin/gh"
    gh.parent.mkdir()
    gh.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> "{folder}/asked"\n', encoding="utf-8")
    gh.chmod(0o755)
    workflow = project / ".github/workflows/template-update.yml"
    steps = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]["update"]["steps"]
    shells = [step for step in steps if "run" in step]
    assert len(shells) == 3
    for step in shells:
        # The first one installs Copier, which the index on loopback does not have.
        known = {**os.environ} if step is shells[0] else tools.environment
        path = f"{gh.parent}{os.pathsep}{tools.environment['PATH']}"
        given = dict.fromkeys(step.get("env", {}), "secret")
        done = subprocess.run(
            ["bash", "-e", "-c", step["run"]],
            cwd=project,
            env={**known, **given, "PATH": path, "RUNNER_TEMP": str(folder)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return remote


@pytest.mark.parametrize("manager", ["uv", "poetry", "pip"])
def test_an_update_is_locked_installed_and_tested(
    tools: Tools, git_template: Path, tmp_path: Path, manager: str
) -> None:
    template = clone(git_template, tmp_path / "torch-starter")
    now = (template / MATRIX_YML).read_bytes()
    release_as_of(template, "2.13.0", "v1.1.0")
    (template / MATRIX_YML).write_bytes(now)
    git(template, "commit", "--quiet", "--all", "--message", "Now")
    git(template, "tag", "v1.2.0")
    answers = {
        "package_manager": manager,
        "python_version": PYTHON,
        "pytorch_index_url": tools.index.pytorch_url,
    }
    project = start(template, tmp_path / "project", "v1.1.0", **answers)
    # The index on loopback has a stub of pytest, which cannot run: this stands in for it.
    (project / "pytest.py").write_text('print("no tests")\n', encoding="utf-8")
    tools.bootstrap(project)
    commit(project)
    python = project / ".venv/bin/python"
    assert tools.run(python, "-c", VERSION, cwd=project).strip() == "2.13.0+cpu"

    locks = {"uv": "uv.lock", "poetry": "poetry.lock", "pip": "requirements/torch-cpu.txt"}
    old_lock = (project / locks[manager]).read_text(encoding="utf-8")
    assert "2.14.1" not in old_lock

    update(project)  # by hand: what is installed and locked is now stale, and is noticed
    with pytest.raises(ToolFailedError) as failed:
        tools.run(python, "scripts/gpu_smoke_test.py", "--only", "TORCH-BUILD", cwd=project)
    said = " ".join(str(failed.value).split())
    assert "torch 2.13.0+cpu (CPU) is installed, but the project asks for 2.14.1+cpu (CPU)" in said
    assert "sh bootstrap.sh" in said
    plan = tools.bootstrap(project, "--dry-run")
    assert "Nothing to do" not in plan
    assert {"uv": " lock ", "poetry": " lock ", "pip": "torch-cpu.txt"}[manager] in plan
    git(project, "reset", "--quiet", "--hard")
    assert "Nothing to do" in tools.bootstrap(project)

    report = tmp_path / "report"
    if manager == "uv":
        remote = run_the_workflow(tools, project, tmp_path)
        assert "_commit: v1.2.0" in git(remote, "show", "template-update/1.2.0:.copier-answers.yml")
        assert "2.14.1" in git(remote, "show", "template-update/1.2.0:uv.lock")
        asked = (tmp_path / "asked").read_text(encoding="utf-8").splitlines()
        assert [line.split()[:2] for line in asked] == [["pr", "create"]]
        assert "--draft" not in asked[0]
    else:
        copier = str(Path(sys.executable).with_name("copier"))
        command = ["scripts/torch_starter/template_update.py", "prepare", "--report", str(report)]
        tools.run(sys.executable, *command, "--copier", copier, cwd=project)

    ready = json.loads((report / "pull-request.json").read_text(encoding="utf-8"))
    body = (report / "body.md").read_text(encoding="utf-8")
    assert body.endswith("\n\nLocked, installed and tested.\n")
    assert ready["draft"] is False
    assert tools.run(python, "-c", VERSION, cwd=project).strip() == "2.14.1+cpu"
    changed = git(project, "diff", "--name-only", "main", ready["branch"]).splitlines()
    assert locks[manager] in changed
    assert "2.14.1" in (project / locks[manager]).read_text(encoding="utf-8")
    assert git(project, "status", "--porcelain") == ""
