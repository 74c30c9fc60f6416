"""After an update, scripts/template_update.py locks and installs the new build, on loopback."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from install.managers import Tools
from install.rendered import PYTHON
from render.projects import commit, git, start
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
    locks = {"uv": "uv.lock", "poetry": "poetry.lock", "pip": "requirements/torch-cpu.txt"}
    assert locks[manager] in changed
    assert git(project, "status", "--porcelain") == ""
