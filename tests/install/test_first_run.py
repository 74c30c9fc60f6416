"""README.md's first command, pasted as it is, on this machine's own network: it ends in PASS."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import commands
from render.projects import MATRIX_YML, ROOT, release

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="runs bootstrap.sh"),
    pytest.mark.network,
    pytest.mark.slow,
]


def pasted(folder: Path, command: str, home: Path) -> CompletedProcess[str]:
    """A line typed in a folder, with an empty home."""
    # uv's downloads are kept for the next time: several gigabytes on a network with PyPI alone.
    env = {**os.environ, "HOME": str(home), "UV_CACHE_DIR": str(ROOT / ".cache" / "uv")}
    return commands.run(command, folder, env)


def test_the_readme_s_command_ends_in_pass_wherever_pypi_can_be_reached(
    git_template: Path, tmp_path: Path
) -> None:
    home, clone = tmp_path / "home", tmp_path / "torch-starter"
    home.mkdir()
    shutil.copytree(git_template, clone)
    matrix = clone / MATRIX_YML  # whose policy is that of the tests
    facts = matrix.read_text(encoding="utf-8")
    matrix.write_text(facts.replace("default: package", "default: training"), encoding="utf-8")
    release(clone, "v1.0.1")
    text = (clone / "README.md").read_text(encoding="utf-8")
    command = re.search(r"<!-- new project -->\n```sh\n(.+)\n```", text)
    assert command

    done = pasted(clone, command[1], home)

    assert done.returncode == 0, done.stdout
    stands_in = "PyPI's own wheels stand in for CPU, on this machine alone." in done.stdout
    verdict = next(line for line in done.stdout.splitlines() if line.startswith("PASS  torch"))
    assert ("stand in for" in verdict) == stands_in
    assert "warn" not in done.stdout
    project = tmp_path / "my-torch-project"
    assert (project / "uv.lock").exists() != stands_in

    again = pasted(project, "sh bootstrap.sh --fallback pypi", home)
    assert again.returncode == 0, again.stdout
    assert "Nothing to do" in again.stdout

    report = pasted(project, ".venv/bin/python scripts/gpu_smoke_test.py --json", home)
    found = {one["id"]: one["status"] for one in json.loads(report.stdout)["checks"]}
    assert found["NUM-MATMUL"] == found["NUM-CONV"] == found["TRAIN-STEPS"] == "pass"
    assert {"fail", "warn"} & set(found.values()) == set()
    assert (project / "src" / "my_torch_project" / "training.py").exists()
    tests = pasted(project, ".venv/bin/python -m pytest", home)
    assert tests.returncode == 0, tests.stdout
