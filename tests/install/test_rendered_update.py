"""After an update a stale .venv and lock are noticed, and the weekly script makes both anew."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from install.managers import ToolFailedError, Tools
from install.rendered import PYTHON
from render.projects import commit, git, start, update
from update.versions import clone, release_as_of

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="looks into .venv/bin"),
    pytest.mark.network,
    pytest.mark.usefixtures("real_pip"),
]
VERSION = "import importlib.metadata as m; print(m.version('torch'))"


@pytest.mark.parametrize("manager", ["uv", "poetry", "pip"])
def test_an_update_is_locked_installed_and_tested(
    tools: Tools, git_template: Path, tmp_path: Path, manager: str
) -> None:
    template = clone(git_template, tmp_path / "torch-starter")
    now = (template / "extensions/version_matrix.yml").read_bytes()
    release_as_of(template, "2.13.0", "v1.1.0")
    (template / "extensions/version_matrix.yml").write_bytes(now)
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
    tools.run("sh", "bootstrap.sh", "--no-smoke", cwd=project)
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
    assert "./bootstrap.sh" in said
    plan = tools.run("sh", "bootstrap.sh", "--dry-run", "--no-smoke", cwd=project)
    assert "Nothing to do" not in plan
    assert {"uv": " lock ", "poetry": " lock ", "pip": "torch-cpu.txt"}[manager] in plan
    git(project, "reset", "--quiet", "--hard")
    assert "Nothing to do" in tools.run("sh", "bootstrap.sh", "--no-smoke", cwd=project)

    report = tmp_path / "report"
    copier = str(Path(sys.executable).with_name("copier"))
    command = ["scripts/template_update.py", "prepare", "--report", str(report)]
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
