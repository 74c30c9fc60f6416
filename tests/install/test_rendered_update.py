"""After an update a stale .venv and lock are noticed, and the weekly script makes both anew."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from install.begun import begun
from install.managers import ToolFailedError, Tools
from install.real_torch import NOT_COMPILED
from render.projects import MATRIX_YML, PYTHON, commit, git, start, update
from update.versions import clone, release_as_of
from update.weekly_update import Host

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="looks into .venv/bin"),
    pytest.mark.network,
    pytest.mark.usefixtures("real_pip"),
]
VERSION = "import importlib.metadata as m; print(m.version('torch'))"


def run_the_workflow(tools: Tools, project: Path, folder: Path) -> Host:
    """Run the shell steps of the project's workflow as GitHub does, each job on its own checkout.

    Copier comes from the registry, the project's packages from loopback, as GitHub itself.
    """
    git(folder, "init", "--quiet", "--bare", "remote.git")
    git(project, "remote", "add", "origin", str(folder / "remote.git"))
    git(project, "push", "--quiet", "origin", "main")
    workflow = project / ".github/workflows/template-update.yml"
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    with Host(folder / "remote.git") as host:
        for name, job in jobs.items():
            checkout = folder / name / "checkout"
            git(folder, "clone", "--quiet", "--depth=1", host.remote.as_uri(), str(checkout))
            for step in job["steps"]:
                if "download-artifact" in step.get("uses", ""):
                    source = step["with"]["artifact-ids"].split(".")[1]
                    target = step["with"]["path"].removeprefix("${{ runner.temp }}/")
                    shutil.copytree(folder / source / "report", folder / name / target)
                if "run" not in step:
                    continue
                # The index on loopback does not have Copier.
                copier = step["name"] == "Install Copier"
                known = os.environ | NOT_COMPILED if copier else tools.environment
                given = dict.fromkeys(step.get("env", {}), "secret") | {
                    "RUNNER_TEMP": str(folder / name),
                    "GITHUB_REPOSITORY": "org/project",
                    "GITHUB_SERVER_URL": host.url,
                    "GITHUB_API_URL": f"{host.url}/api",
                    "GITHUB_REF_NAME": "main",
                }
                done = subprocess.run(
                    ["bash", "-e", "-c", step["run"]],
                    cwd=checkout,
                    env={**known, **given},
                    capture_output=True,
                    text=True,
                )
                assert done.returncode == 0, done.stdout + done.stderr
    return host


@pytest.mark.some(1)
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
    if manager == "pip":
        begun(project)
    tools.bootstrap(project)
    commit(project)
    python = project / ".venv/bin/python"
    assert tools.run(python, "-c", VERSION, cwd=project).strip() == "2.13.0+cpu"

    locks = {"uv": "uv.lock", "poetry": "poetry.lock", "pip": "requirements/torch-cpu.txt"}
    branch = "template-update/1.2.0"
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

    if manager == "uv":
        host = run_the_workflow(tools, project, tmp_path)
        assert "_commit: v1.2.0" in git(host.remote, "show", f"{branch}:.copier-answers.yml")
        assert "2.14.1" in git(host.remote, "show", f"{branch}:uv.lock")
        assert (host.asked, host.request["draft"]) == (["create"], False)
        assert "\n\nLocked, installed and tested.\n```\n" in host.request["body"]
        return
    report = tmp_path / "report"
    copier = str(Path(sys.executable).with_name("copier"))
    command = ["scripts/torch_starter/template_update.py", "prepare", "--report", str(report)]
    tools.run(sys.executable, *command, "--copier", copier, cwd=project)
    ready = json.loads((report / "pull-request.json").read_text(encoding="utf-8"))
    assert ready["text"].endswith("\n\nLocked, installed and tested.\n")
    assert ready["draft"] is False
    assert tools.run(python, "-c", VERSION, cwd=project).strip() == "2.14.1+cpu"
    changed = git(project, "diff", "--name-only", "main", branch).splitlines()
    assert locks[manager] in changed
    assert "2.14.1" in (project / locks[manager]).read_text(encoding="utf-8")
    assert git(project, "status", "--porcelain") == ""
