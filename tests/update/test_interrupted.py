"""A `copier update` that is stopped or killed: what it leaves, and the way back.

Copier works in temporary folders first, then overwrites the files of the project, and last applies
the owner's changes to them again. What an interrupted update leaves may thus lack these changes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from render.projects import commit, copier, files, git, recorded, start, update
from update.versions import assert_clean

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="POSIX signals"),
]
OWN = '    "lightning>=2.5",\n'
UNDO = (("reset", "--quiet", "--hard"), ("clean", "--quiet", "-d", "--force"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, history: Path) -> tuple[Path, dict[str, bytes]]:
    """A project with a dependency of its owner's, and what an undisturbed update makes of it."""
    folder = tmp_path_factory.mktemp("interrupted")
    project = start(history, folder / "project", "v1.2.0")
    path = project / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('    "numpy",\n', f'    "numpy",\n{OWN}'), encoding="utf-8")
    commit(project)
    updated = update(Path(shutil.copytree(project, folder / "updated")))
    assert_clean(updated)
    return project, files(updated)


def begun(project: Path, temporary: Path) -> bool:
    """The update has rendered the old version, in a temporary folder."""
    return bool(list(temporary.glob("copier.*.old_copy.*/pyproject.toml")))


def overwritten(project: Path, temporary: Path) -> bool:
    """The update has written the new version into the project, and not yet the owner's changes."""
    try:
        return "2.14.1" in (project / "pyproject.toml").read_text(encoding="utf-8")
    except FileNotFoundError:  # Copier replaces it
        return False


def compared(project: Path, temporary: Path) -> bool:
    """The update has rendered the new version for comparison."""
    return bool(list(temporary.glob("copier.*.new_copy.*/.git/HEAD")))


def interrupt(project: Path, temporary: Path, moment: object, what: int) -> str:
    """Start an update, and stop it at a moment; what it printed."""
    temporary.mkdir()
    running = subprocess.Popen(
        [sys.executable, "-m", "copier", "update", "--trust", "--defaults", project],
        env={**os.environ, "TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert callable(moment)
    deadline = time.monotonic() + 60
    while not moment(project, temporary):
        assert running.poll() is None, "it was too fast"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.killpg(running.pid, what)
    return running.communicate(timeout=60)[1]


@pytest.mark.some(2)
@pytest.mark.parametrize(
    ("moment", "what"),
    [
        (begun, signal.SIGINT),
        (overwritten, signal.SIGINT),
        (overwritten, signal.SIGKILL),
        (compared, signal.SIGKILL),
    ],
)
def test_two_commands_of_git_undo_it_and_the_next_update_is_as_if_nothing_was(
    made: tuple[Path, dict[str, bytes]], tmp_path: Path, moment: object, what: int
) -> None:
    original, expected = made
    project = Path(shutil.copytree(original, tmp_path / "project"))
    before = files(project)
    printed = interrupt(project, tmp_path / "tmp", moment, what)
    assert "Traceback" not in printed
    assert git(project, "log", "--format=%H") == git(original, "log", "--format=%H")
    dirty = git(project, "status", "--porcelain") != ""
    assert dirty is (moment is not begun)
    if moment is overwritten:  # what must not be committed
        assert recorded(project)["_commit"] == "v2.0.0"
        assert OWN not in (project / "pyproject.toml").read_text(encoding="utf-8")
    if dirty:
        refused = copier("update", "--trust", "--defaults", project)
        assert refused.returncode == 1
        assert "Destination repository is dirty; cannot continue." in refused.stderr
    for command in UNDO:
        git(project, *command)
    assert files(project) == before
    update(project)
    assert files(project) == expected


def test_the_script_of_the_weekly_update_says_how_to_undo_it(
    made: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    project = Path(shutil.copytree(made[0], tmp_path / "project"))
    interrupt(project, tmp_path / "tmp", overwritten, signal.SIGKILL)
    left = files(project)
    script = [
        "scripts/torch_starter/template_update.py",
        "prepare",
        "--report",
        str(tmp_path / "report"),
    ]
    done = subprocess.run(
        [sys.executable, *script, "--copier", str(Path(sys.executable).with_name("copier"))],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    for command in UNDO:
        options = " ".join(part for part in command if part != "--quiet")
        assert f"`git {options}`" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert files(project) == left
