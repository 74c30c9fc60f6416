"""A machine that no wheel of torch fits, in the managers' own words, which name no cause."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from install.checkouts import BOOTSTRAPS, rendered
from install.managers import Tools

pytestmark = [*BOOTSTRAPS, pytest.mark.skipif("sys.platform != 'linux'", reason="needs glibc")]
PYTHON = Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def old_python(folder: Path) -> Path:
    """A copy of the running Python that says it is on a system without any manylinux."""
    library = Path(re.__file__).parents[1]
    copy = folder / library.parent.name / library.name
    copy.mkdir(parents=True)
    for part in [*library.parent.iterdir(), *library.iterdir()]:
        if part != library:
            (folder / part.relative_to(library.parents[1])).symlink_to(part)
    text = "def manylinux_compatible(*tag):\n    return False\n"
    (copy / "_manylinux.py").write_text(text, encoding="utf-8")
    (folder / "bin").mkdir()
    python = folder / "bin" / "python3"
    shutil.copy2(PYTHON, python)
    return python


@pytest.mark.parametrize("manager", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_uv_and_pip_on_a_system_that_takes_no_manylinux(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    python = old_python(tmp_path / "python")
    project = rendered(tools, tmp_path / "project", manager)
    done = tools.try_bootstrap(project, "--python", str(python))
    assert done.returncode == 5, done.stdout + done.stderr
    what, why, way, *_ = done.stderr.splitlines()
    assert re.match(
        r"bootstrap: There is no wheel of torch for this machine \(Python 3\.\d+, linux", what
    )
    assert "_manylinux" in why  # its glibc is new enough, so that is not to blame
    assert way.endswith("bootstrap.sh --recreate --python PATH_OF_ANOTHER")
    assert "index" not in what
