"""The repository is clean in the eyes of its linters and its type checker."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from render.projects import ROOT

SCRIPTS = ".ci/run template/bootstrap.sh"
MACHINERY = ROOT / "template" / "scripts" / "torch_starter"
# The settings of a project leave it out, and it has to run on the oldest Python.
TYPES = """
[mypy]
strict = true
python_version = 3.10
[mypy-torch.*]
ignore_missing_imports = true
"""


@pytest.mark.parametrize(
    "tool",
    [
        "ruff check",
        "ruff format --check",
        "mypy",
        f"shellcheck {SCRIPTS}",
        f"shfmt --diff --indent 4 {SCRIPTS}",
    ],
)
def test_it_is_clean(tool: str) -> None:
    name, *arguments = tool.split()
    launcher = [sys.executable, "-m", name]
    if name.startswith("sh"):
        launcher = [str(Path(sys.executable).with_name(name))]
    done = subprocess.run([*launcher, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.few(1)
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_the_machinery_of_a_project_is_strictly_typed(tmp_path: Path, system: str) -> None:
    settings = tmp_path / "mypy.ini"
    settings.write_text(TYPES, encoding="utf-8")
    options = ["--config-file", str(settings), "--cache-dir", os.devnull, "--platform", system]
    # From its own folder, where its packages have the names by which they are loaded.
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, ".", "../gpu_smoke_test.py"],
        cwd=MACHINERY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    modules = [*MACHINERY.rglob("*.py"), MACHINERY.with_name("gpu_smoke_test.py")]
    assert f"{len(modules)} source files" in done.stdout
