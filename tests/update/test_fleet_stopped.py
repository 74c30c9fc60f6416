"""tools/fleet.py --apply may be stopped at any moment, and run again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from render.projects import ROOT, commit, git, start, update

BRANCH = "template-update/2.0.0"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="POSIX signals"),
]


def processes(session: int) -> list[int]:
    """The processes of a session that still run (Linux and macOS have the same ps)."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,sess=,stat="], capture_output=True, text=True)
    found = [line.split() for line in listed.stdout.splitlines()]
    return [int(pid) for pid, owner, stat in found if int(owner) == session and "Z" not in stat]


def begin(folder: Path, temporary: Path, jobs: int = 1) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, ROOT / "tools/fleet.py", "--trust", "--apply", f"--jobs={jobs}", folder],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def after_the_first(running: subprocess.Popen[str], what: int, everybody: bool) -> str:
    """Send a signal when one project more is done; what is printed then."""
    assert running.stderr
    while ": branch made" not in (line := running.stderr.readline()):
        assert line, "it ended before"
    (os.killpg if everybody else os.kill)(running.pid, what)
    rest: str = running.communicate(timeout=60)[1]
    deadline = time.monotonic() + 30
    while left := processes(running.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    return rest


def test_what_is_stopped_leaves_nothing_half_made_and_the_next_run_goes_on(
    history: Path, tmp_path: Path
) -> None:
    clones, temporary = tmp_path / "clones", tmp_path / "tmp"
    temporary.mkdir()
    first = start(history, clones / "p0", "v1.2.0")
    projects = [first, *(Path(shutil.copytree(first, clones / f"p{n}")) for n in range(1, 4))]
    by_hand = update(Path(shutil.copytree(first, tmp_path / "by-hand")))
    commit(by_hand)
    expected = git(by_hand, "rev-parse", "HEAD^{tree}")

    def made() -> int:
        """How many have their branch; each of those is whole, and nothing else is there."""
        count = 0
        for project in projects:
            assert git(project, "status", "--porcelain") == ""
            assert git(project, "rev-parse", "--abbrev-ref", "HEAD").strip() == "main"
            assert len(git(project, "worktree", "list").splitlines()) == 1
            names = git(project, "branch", "--list", "--format=%(refname:short)").split()
            assert names in (["main"], ["main", BRANCH])
            if len(names) == 2:
                assert git(project, "rev-parse", f"{BRANCH}^{{tree}}") == expected
                count += 1
        return count

    printed = after_the_first(begin(clones, temporary), signal.SIGINT, everybody=True)
    assert "projects are left. Run it again to go on." in printed
    assert "Traceback" not in printed
    assert not list(temporary.iterdir())
    one = made()
    assert 1 <= one < len(projects)

    after_the_first(begin(clones, temporary), signal.SIGKILL, everybody=False)
    folder, lock = sorted(temporary.iterdir())
    assert folder.name.startswith("torch-starter-fleet-")
    assert lock == folder.with_suffix(".lock")
    two = made()
    assert one < two <= len(projects)

    last = begin(clones, temporary, jobs=2)
    output, progress = last.communicate(timeout=120)
    assert last.returncode == 0, output + progress
    assert made() == len(projects)
    assert f"{two} branch is there" in output
    assert not list(temporary.iterdir())


def test_a_running_fleet_keeps_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run removes what a killed one left, not what a living one uses."""
    code = "import sys, fleet\nwith fleet.workspace() as f: print(f, flush=True); sys.stdin.read()"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT / "tools")}
    command = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    first = subprocess.Popen(command, env=environment, text=True, **pipes)  # type: ignore[call-overload]
    assert first.stdout
    folder = Path(first.stdout.readline().strip())
    subprocess.run(command, env=environment, input="", text=True, check=True, capture_output=True)
    assert folder.is_dir()
    first.kill()
    first.communicate()
    subprocess.run(command, env=environment, input="", text=True, check=True, capture_output=True)
    assert not list(tmp_path.iterdir())
