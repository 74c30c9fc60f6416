"""The weekly update's commit has what the update changed; one that is stopped leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from render.projects import commit, files, git, start
from update.weekly_update import BRANCH, Host, WeeklyUpdate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="POSIX signals, and a look into .venv/bin"),
]
# What stands in for the bootstrap of the version updated to: it locks, and makes a .venv.
BOOTSTRAP = f"""\
import os, pathlib, time
open("uv.lock", "a").write("locked = 1\\n")
open("left.txt", "w").close()
os.makedirs(".venv/bin", exist_ok=True)
if not os.path.exists(".venv/bin/python"):
    pathlib.Path(".venv/bin/python").write_text('#!/bin/sh\\nexec {sys.executable} "$@"\\n')
    os.chmod(".venv/bin/python", 0o755)
"""


def project_with(history: Path, folder: Path, test: str, bootstrap: str = "") -> WeeklyUpdate:
    """A project whose update is installed by a script of a few lines, and runs that test."""
    project = start(history, folder / "project", "v1.2.0")
    script = project / "scripts/torch_starter/bootstrap.py"
    script.write_text(BOOTSTRAP + bootstrap, encoding="utf-8")
    git(project, "rm", "--quiet", "-r", "tests")
    (project / "tests").mkdir()
    (project / "tests/test_it.py").write_text(test, encoding="utf-8")
    (project / "uv.lock").write_text("locked = 0\n", encoding="utf-8")
    commit(project)
    return WeeklyUpdate(project, folder)


WRITES = """\
import pathlib, subprocess

def git(*arguments):
    subprocess.run(["git", *arguments], check=True)

def test_it():
    pathlib.Path("outputs").mkdir()
    pathlib.Path("outputs/model.ckpt").write_bytes(b"x" * 5_000_000)
    pathlib.Path("uv.lock").write_text("of a test")
    pathlib.Path("README.md").write_text("of a test")
    pathlib.Path(".gitignore").write_text("")
    pathlib.Path("pyproject.toml").unlink()
    git("add", "--all")
    git("commit", "--quiet", "--amend", "--no-edit")
    git("switch", "--quiet", "--create", "other")
    git("commit", "--quiet", "--allow-empty", "--message", "other")
"""


def test_the_commit_has_the_update_and_the_lock_and_nothing_that_a_test_wrote(
    history: Path, tmp_path: Path
) -> None:
    weekly = project_with(history, tmp_path, WRITES)
    own = weekly.project / ".venv/own.txt"
    own.parent.mkdir()
    own.write_text("mine\n", encoding="utf-8")
    weekly.done("prepare")
    assert weekly.ready["draft"] is False, weekly.ready["text"]
    changed = git(weekly.project, "diff", "--name-only", "main", BRANCH).splitlines()
    assert set(changed) == {
        ".copier-answers.yml",
        "docs/pytorch-build.md",
        "pyproject.toml",
        "README.md",
        "scripts/torch_builds.json",
        "uv.lock",
    }
    assert git(weekly.project, "show", f"{BRANCH}:uv.lock") == "locked = 0\nlocked = 1\n"
    assert "2.14.1" in git(weekly.project, "show", f"{BRANCH}:pyproject.toml")
    assert git(weekly.project, "rev-list", f"main..{BRANCH}").count("\n") == 1
    assert git(weekly.project, "branch", "--show-current").strip() == BRANCH
    assert git(weekly.project, "status", "--porcelain") == ""
    assert own.read_text(encoding="utf-8") == "mine\n"
    with Host(weekly.remote) as weekly.host:
        weekly.done("publish", token="secret")
    assert git(weekly.remote, "rev-parse", BRANCH) == git(weekly.project, "rev-parse", BRANCH)


def test_what_the_update_removes_and_renames_is_in_the_commit(
    repository: Path, tmp_path: Path
) -> None:
    from render.projects import release

    (repository / "template/old name.txt").write_text("same\n" * 9, encoding="utf-8")
    (repository / "template/gone.txt").touch()
    release(repository, "v1.1.0")
    git(repository, "mv", "template/old name.txt", "template/new \u00e4.txt")
    git(repository, "rm", "--quiet", "template/gone.txt")
    release(repository, "v2.0.0")
    project = start(repository, tmp_path / "project", "v1.1.0")
    weekly = WeeklyUpdate(project, tmp_path)
    weekly.done("prepare", "--no-check")
    assert weekly.ready["draft"] is True
    listed = git(project, "diff", "-z", "--name-status", "--find-renames", "main", BRANCH)
    parts = listed.split("\0")
    assert parts[parts.index("gone.txt") - 1] == "D"
    assert parts[parts.index("new \u00e4.txt") - 1] == "old name.txt"


def test_a_report_of_last_week_is_not_published_again(prepared: WeeklyUpdate) -> None:
    """Where the folder is kept, and the update was merged."""
    git(prepared.project, "switch", "--quiet", "main")
    git(prepared.project, "merge", "--quiet", BRANCH)
    git(prepared.project, "push", "--quiet", "origin", "main")
    assert "newest version" in prepared.done("prepare")
    assert not list(prepared.report.iterdir())
    assert prepared.done("publish", token="secret") == "There is nothing to publish.\n"
    assert not prepared.pushed()
    assert prepared.host.asked == []


def test_a_ci_file_from_before_is_told_of_the_new_one(weekly: WeeklyUpdate) -> None:
    command = [*weekly.command("prepare")[:2], "publish", "--report", str(weekly.report)]
    done = subprocess.run(command, cwd=weekly.project, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("template_publish.py does that now, in a job of its own: ")


def test_a_report_goes_also_where_the_next_run_stops(prepared: WeeklyUpdate) -> None:
    (prepared.project / "README.md").write_text("mine\n", encoding="utf-8")
    assert "Not everything is committed" in prepared.refused("prepare")
    assert not list(prepared.report.iterdir())


SLEEPS = """\
import subprocess, sys
open("../started", "w").close()
subprocess.run([sys.executable, "-c", "import time; time.sleep(600)", {!r}])
"""


def processes(folder: Path) -> list[str]:
    """The processes that sleep for a folder, by their command lines: other tests have theirs."""
    listed = subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if line.endswith(f"time.sleep(600) {folder}")]


# Ctrl-C goes to everybody, `kill` to one process; the other way round once, while it installs.
STOPS = [(signal.SIGINT, True), (signal.SIGTERM, False)]
STOPPED = [
    *((moment, *stop) for moment in ("update", "install", "test") for stop in STOPS),
    *(("install", what, not everybody) for what, everybody in STOPS),
]


@pytest.mark.some(4)
@pytest.mark.parametrize(("moment", "what", "everybody"), STOPPED)
def test_what_is_stopped_is_as_it_was_with_a_sentence(
    history: Path, tmp_path: Path, moment: str, what: signal.Signals, everybody: bool
) -> None:
    sleeps = SLEEPS.format(str(tmp_path))
    test = "def test_it():\n" + "".join(f"    {line}\n" for line in sleeps.splitlines())
    bootstrap = sleeps if moment == "install" else ""
    weekly = project_with(history, tmp_path, test, bootstrap)
    project, started = weekly.project, tmp_path / "started"
    git(project, "branch", BRANCH, "main")
    before = files(project), git(project, "for-each-ref"), git(project, "symbolic-ref", "HEAD")
    command = weekly.command("prepare")
    running = subprocess.Popen(
        command, cwd=project, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not started.exists():
        assert running.poll() is None
        assert time.monotonic() < deadline
        text = (project / "pyproject.toml").read_text(encoding="utf-8")
        if moment == "update" and "2.14.1" in text:
            break
        time.sleep(0.001)
    (os.killpg if everybody else os.kill)(running.pid, what)
    said = running.communicate(timeout=60)[1]
    assert said == "Stopped. The project is as it was: run this again to update it.\n"
    assert running.returncode == 128 + what
    assert processes(tmp_path) == []
    for part in (".venv", "__pycache__"):  # which are ignored
        subprocess.run(["rm", "-rf", *map(str, project.rglob(part))], check=True)
    after = files(project), git(project, "for-each-ref"), git(project, "symbolic-ref", "HEAD")
    assert {k: v for k, v in after[0].items() if ".pytest_cache" not in k} == before[0]
    assert after[1:] == before[1:]
    assert git(project, "status", "--porcelain") == ""
    assert not weekly.report.exists()
