"""A .venv is replaced only by one that works; it can be a mount point or a link to another disk."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands import bound_by_rights
from scripts.bootstrap_helpers import PYTHON, Demo, make_demo, tool

pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="needs a POSIX shell")
VERSION = "__import__('demo_stub').VERSION"
MARKERS = "<<<<<<< HEAD\nversion = 1\n=======\nversion = 2\n>>>>>>> theirs\n"


def made(demo: Demo) -> Path:
    """A file by which the .venv that is there now is known again."""
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    mark = demo.root / ".venv" / "mark"
    mark.touch()
    return mark


def kept(demo: Demo) -> bool:
    """Whether the .venv of `made` is there, works, and is known to be whole."""
    names = {path.name for path in (demo.root / ".venv").iterdir()}
    assert not names & {".before", ".moving", "bootstrap.unfinished"}
    assert demo.ask(VERSION) == "1.0"
    return "mark" in names and "Nothing to do" in demo.run("--no-smoke").stdout


@pytest.mark.slow
def test_the_old_one_stays_where_the_lock_file_is_damaged(demo: Demo) -> None:
    made(demo)
    lock = demo.root / "uv.lock"
    whole = lock.read_bytes()
    lock.write_text(MARKERS, encoding="utf-8")

    done = demo.run("--recreate")

    assert done.returncode == 5, done.stdout + done.stderr
    assert "  .venv is as it was before\n" in done.stdout
    assert lock.read_text(encoding="utf-8") == MARKERS
    lock.write_bytes(whole)
    assert kept(demo)


def blocked(demo: Demo, *arguments: str) -> subprocess.Popen[bytes]:
    """A run that waits where it builds the project, with the new .venv half made."""
    (demo.root / "block").touch()
    (demo.root / "backend/demo_backend.py").open("a").write("\n# anew\n")
    env = {**demo.env, "UV_NO_CACHE": "1"}
    command = ["/bin/sh", str(demo.root / "bootstrap.sh"), *arguments]
    # Tests that were started in the background ignore SIGINT, and so would this.
    process = subprocess.Popen(
        command,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    deadline = time.monotonic() + 60
    while not (demo.root / "blocked").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (demo.root / "blocked").exists()
    return process


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_a_kill_in_the_middle_leaves_the_old_one(demo: Demo, name: str) -> None:
    made(demo)
    process = blocked(demo, "--recreate")
    assert (demo.root / ".venv/.before/mark").exists()
    os.killpg(process.pid, getattr(signal, name))
    process.wait(timeout=60)
    (demo.root / "block").unlink()

    assert (demo.root / ".venv/mark").exists() == (name == "SIGINT")
    done = demo.run()

    assert done.returncode == 0, done.stdout + done.stderr
    assert "removing" not in done.stdout
    assert kept(demo)


# A kill between any two steps of the moving, as the states that it leaves on the disk.
@pytest.mark.slow
@pytest.mark.parametrize("state", ["going", "gone", "new begun", "coming", "new whole"])
def test_every_state_of_the_moving_is_settled(demo: Demo, state: str) -> None:
    made(demo)
    venv = demo.root / ".venv"
    before, moving = venv / ".before", venv / ".moving"
    place = before if state in ("gone", "new begun", "new whole") else moving
    place.mkdir()
    for entry in [venv / "bin"] if state in ("going", "coming") else [*venv.iterdir()]:
        if entry != place:
            entry.rename(place / entry.name)
    if state == "new begun":
        (venv / "bin").mkdir()
        (venv / "bootstrap.unfinished").touch()
    elif state == "new whole":
        no_mark = shutil.ignore_patterns("mark")
        shutil.copytree(place, venv, symlinks=True, dirs_exist_ok=True, ignore=no_mark)
    files = demo.files()
    assert demo.run("--dry-run", "--no-smoke").returncode == 0
    assert demo.files() == files

    done = demo.run()

    assert done.returncode == 0, done.stdout + done.stderr
    assert kept(demo) is (state != "new whole")


# --- What may not be removed: as what a root has compiled, or a folder that is read-only


def run_bound(demo: Demo, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A run that is bound by the rights of files, as root is not."""
    command = [*bound_by_rights(), "/bin/sh", str(demo.root / "bootstrap.sh"), *arguments]
    env = {**demo.env, "PATH": f"{demo.env['PATH']}:{Path('/bin/sh').resolve().parent}"}
    return subprocess.run(command, env=env, capture_output=True, encoding="utf-8", check=False)


def locked(folder: Path) -> Path:
    """A file in a folder that may not be changed."""
    folder.mkdir(parents=True)
    (folder / "file").touch()
    folder.chmod(0o555)
    return folder / "file"


@pytest.mark.slow
def test_what_cannot_be_removed_of_the_old_one_stops_nothing(demo: Demo) -> None:
    made(demo)
    for number in (1, 2):
        locked(demo.root / ".venv/lib/compiled")
        rest = demo.root / f".venv/.old-{number}"

        done = run_bound(demo, "--recreate", "--no-smoke")

        assert done.returncode == 0, done.stdout + done.stderr
        warnings = [line for line in done.stdout.splitlines() if "warning" in line]
        why = "  warning: not all of the old .venv can be removed (Permission denied); nothing uses"
        remove = shlex.join(["sudo", "rm", "-rf", str(rest)])
        assert warnings == [f"{why} {rest}: {remove}"]
        files = [str(path.relative_to(rest)) for path in rest.rglob("*") if path.is_file()]
        assert files == ["lib/compiled/file"]
        assert demo.ask(VERSION) == "1.0"
        for arguments in ([], ["--recreate"])[: 3 - number]:
            done = run_bound(demo, *arguments, "--no-smoke")
            assert done.returncode == 0, done.stdout + done.stderr
            assert "warning" not in done.stdout
            assert ("Nothing to do" in done.stdout) == (not arguments)


def test_what_cannot_be_removed_of_a_new_one_is_named_whole(demo: Demo) -> None:
    mark = made(demo)
    venv = demo.root / ".venv"
    (venv / ".before").mkdir()
    for entry in venv.iterdir():
        if entry.name != ".before":
            entry.rename(venv / ".before" / entry.name)
    file = locked(venv / "lib")
    done = run_bound(demo, "--no-smoke")
    assert done.returncode == 4, done.stdout + done.stderr
    what = f"bootstrap: {file} cannot be read, written or started: Permission denied.\n"
    assert done.stderr.startswith(what)
    assert (venv / ".before/mark").exists()
    file.parent.chmod(0o755)
    done = run_bound(demo, "--no-smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert mark.exists()


def test_an_unfinished_one_that_is_back_is_not_called_as_it_was(demo: Demo) -> None:
    mark = made(demo)
    (demo.root / ".venv/bootstrap.unfinished").touch()
    (demo.root / "uv.lock").write_text(MARKERS, encoding="utf-8")
    done = demo.run()
    assert done.returncode == 5, done.stdout + done.stderr
    assert "removing .venv: an earlier run was interrupted" in done.stdout
    assert "as it was before" not in done.stdout
    assert mark.exists()


@pytest.mark.slow
def test_a_slow_python_is_no_reason_to_replace_it(demo: Demo) -> None:
    mark = made(demo)
    demo.edit("scripts/torch_starter/bootstrapping/runner.py", "PATIENCE = 60", "PATIENCE = 1")
    real = demo.python.resolve()
    demo.python.unlink()
    demo.python.write_text(f'#!/bin/sh\n/bin/sleep 2\nexec "{real}" "$@"\n', encoding="utf-8")
    demo.python.chmod(0o755)

    done = demo.run()

    assert done.returncode == 4
    said = f"bootstrap: {demo.python} did not answer for 1 s.\nRun this again when the disk is less"
    assert done.stderr.startswith(said)
    assert "--recreate" in done.stderr
    assert mark.exists()
    done = demo.run("--recreate")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not mark.exists()


def test_the_python_that_makes_it_may_be_that_of_the_venv(demo: Demo) -> None:
    """It is activated, and replaced while it runs."""
    assert demo.run().returncode == 0
    path = f"{demo.python.parent}:{Path(PYTHON).parent}:{demo.env['PATH']}"
    done = demo.run("--recreate", PATH=path, VIRTUAL_ENV=str(demo.root / ".venv"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert demo.ask(VERSION) == "1.0"


# --- A mount point, and a link

INSIDE = """
import subprocess, sys
tmpfs, venv, *command = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", venv], check=True)
for more in ([], [], ["--recreate"]):
    if subprocess.run([*command, *more], check=False).returncode:
        sys.exit("failed")
subprocess.run(["mountpoint", "--quiet", venv], check=True)
works = "import demo_stub, demo; print('it works')"
subprocess.run([venv + "/bin/python", "-c", works], check=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("manager", ["uv", pytest.param("poetry", marks=pytest.mark.slow)])
def test_a_mount_point_is_filled_and_filled_anew(tmp_path: Path, manager: str) -> None:
    """In a mount namespace of its own, as root or as a user that is root in there."""
    demo = make_demo(tmp_path, manager)
    (demo.root / ".venv").mkdir()
    alone = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    script = ["sh", str(demo.root / "bootstrap.sh"), "--no-smoke"]
    code = INSIDE.replace("demo_stub, demo", "demo_stub") if manager == "poetry" else INSIDE
    command = [*alone, sys.executable, "-c", code, "tmpfs", str(demo.root / ".venv"), *script]
    env = {**demo.env, "PATH": f"{demo.env['PATH']}:{os.environ['PATH']}", "UV_LINK_MODE": "copy"}

    done = subprocess.run(command, env=env, capture_output=True, encoding="utf-8", check=False)

    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert said.count("Nothing to do") == 1
    assert "removing .venv: --recreate" in said
    assert said.endswith("it works\n")


@pytest.mark.slow
@pytest.mark.parametrize("manager", ["uv", pytest.param("poetry", marks=pytest.mark.slow)])
def test_a_link_to_another_disk_is_kept_and_filled(tmp_path: Path, manager: str) -> None:
    demo, scratch = make_demo(tmp_path, manager), tmp_path / "scratch"
    (scratch / "lost+found").mkdir(parents=True)  # as at the top of a file system
    link = demo.root / ".venv"
    link.symlink_to(scratch)
    for arguments in ([], ["--recreate"]):
        done = demo.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        assert link.is_symlink()
        assert (scratch / "pyvenv.cfg").exists()
        assert demo.ask(VERSION) == "1.0"
    assert "Nothing to do" in demo.run().stdout
    assert (scratch / "lost+found").exists()


@pytest.mark.slow
@pytest.mark.network
def test_pip_fills_a_link_too(pip_demo: Demo, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (pip_demo.root / ".venv").symlink_to(scratch)
    for arguments in ([], ["--recreate"]):
        done = pip_demo.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (scratch / "pyvenv.cfg").exists()
        assert pip_demo.ask(VERSION) == "1.0"
    assert "Nothing to do" in pip_demo.run().stdout


def test_a_link_that_leads_nowhere_is_said(demo: Demo, tmp_path: Path) -> None:
    (demo.root / ".venv").symlink_to(tmp_path / "scratch")
    done = demo.run()
    assert done.returncode == 4
    said = f"/.venv is a link to {tmp_path}/scratch, which is not there.\nMake that folder, or"
    assert said in done.stderr
    assert (demo.root / ".venv").is_symlink()
    (tmp_path / "scratch").mkdir()
    assert demo.run().returncode == 0
    assert (tmp_path / "scratch/pyvenv.cfg").exists()


def test_what_a_link_leads_to_is_not_taken_from_others(demo: Demo, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "mine").touch()
    (demo.root / ".venv").symlink_to(theirs)
    done = demo.run()
    assert done.returncode == 4
    assert "is there, but is not a virtual environment.\nMove it away" in done.stderr

    (theirs / "mine").unlink()
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", theirs], check=True)
    before = sorted(theirs.rglob("*"))
    done = demo.run("--recreate")
    assert done.returncode == 4
    what = "is a link to an environment that this script did not make, and --recreate.\n"
    assert what in done.stderr
    assert sorted(theirs.rglob("*")) == before


def test_an_environment_of_one_s_own_behind_a_link_is_filled(demo: Demo, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    subprocess.run([tool("uv"), "venv", "--quiet", "--python", PYTHON, theirs], check=True)
    (demo.root / ".venv").symlink_to(theirs)
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(theirs.glob("lib/python3*/site-packages/demo_stub.py"))
