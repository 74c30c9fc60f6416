"""What a project's page says to save as a file is a file that its reader understands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from render.projects import copy, files
from render.reading import block

MANAGERS = ("uv", "poetry", "pip")


@pytest.fixture(params=MANAGERS)
def manager(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(*command: str | Path) -> None:
    """Run a tool of this environment, which must find nothing."""
    tool = Path(sys.executable).with_name(str(command[0]))
    done = subprocess.run([tool, *command[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dependabot_understands_its_file_and_leaves_what_renovate_leaves(
    template: Path, tmp_path: Path, manager: str
) -> None:
    project = copy(template, tmp_path / "project", package_manager=manager)
    text = block((project / "docs/pytorch-build.md").read_text("utf-8"), "Dependabot", "yaml")
    file = tmp_path / "dependabot.yml"
    file.write_text(text, encoding="utf-8")
    run("check-jsonschema", "--builtin-schema", "vendor.dependabot", file)
    packages, actions = yaml.safe_load(text)["updates"]
    assert packages["package-ecosystem"] == {"uv": "uv"}.get(manager, "pip")
    assert actions["package-ecosystem"] == "github-actions"
    renovate = json.loads((project / "renovate.json").read_text("utf-8"))
    left = [name for rule in renovate["packageRules"] for name in rule["matchPackageNames"]]
    ignored = [rule["dependency-name"] for rule in packages["ignore"]]
    # Python is no dependency for Dependabot; all that is ignored is so in each version.
    assert [*ignored, "python"] == left
    assert {tuple(rule) for rule in packages["ignore"]} == {("dependency-name",)}


def test_no_bot_starts_by_itself(template: Path, tmp_path: Path) -> None:
    """Renovate is an app that somebody installs, Dependabot starts where its file is."""
    for ci in ("github", "gitlab", "none"):
        made = files(copy(template, tmp_path / ci, ci=ci))
        assert not [name for name in made if "dependabot" in name]
        page = made["docs/pytorch-build.md"].decode()
        assert ("delete `renovate.json`" in page) == (ci == "github")
