"""Whatever ends the bootstrap ends what it has started, and the next run says what is true."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.bootstrap_helpers import Demo, tool

pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="tests/windows has the same for Windows")


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def has_ended(process: str) -> bool:
    """Whether a process is gone, or only waits for somebody to ask how it ended."""
    command = ["ps", "-o", "stat=", "-p", process]
    state = subprocess.run(command, capture_output=True, encoding="ascii", check=False).stdout
    return state.strip()[:1] in ("", "Z")


def kill(demo: Demo, name: str, when: Path) -> None:
    """Run the bootstrap, and send it a signal, and nobody else, as soon as there is this file."""
    devnull = subprocess.DEVNULL
    command = ["/bin/sh", str(demo.root / "bootstrap.sh")]
    with subprocess.Popen(command, env=demo.env, stdout=devnull, stderr=devnull) as process:
        wait_for(when.exists)
        process.send_signal(signal.Signals[name])


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGHUP"])
def test_a_manager_ends_with_a_bootstrap_that_is_killed(demo: Demo, name: str) -> None:
    uv, note, block = Path(demo.env["PATH"], "uv"), demo.root / "its-process", demo.root / "block"
    uv.unlink()
    uv.write_text(f'#!/bin/sh\necho $$ > its-process\nexec {tool("uv")} "$@"\n', encoding="utf-8")
    uv.chmod(0o755)
    block.touch()

    kill(demo, name, demo.root / "blocked")

    process = note.read_text(encoding="ascii").strip()
    wait_for(lambda: has_ended(process))
    # What uv has started to build the project goes on, and has a hold of the lock.
    done = demo.run("--no-smoke")
    assert done.returncode == 2, done.stdout + done.stderr
    what = "What an earlier bootstrap has started, or one elsewhere, works on this project."
    assert done.stderr == f"bootstrap: {what}\nWait until it has ended, then run this again.\n"

    block.unlink()
    time.sleep(0.2)  # it looks for it 20 times a second
    done = demo.run("--no-smoke")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_smoke_test_ends_with_a_bootstrap_that_is_killed(demo: Demo) -> None:
    note = demo.root / "its-process"
    text = f"import os, pathlib, time\npathlib.Path({str(note)!r}).write_text(str(os.getpid()))\n"
    demo.write_smoke_test(f"{text}time.sleep(300)\n")
    kill(demo, "SIGKILL", note)
    wait_for(lambda: has_ended(note.read_text(encoding="ascii")))
    demo.write_smoke_test("print('the smoke test ran')\n")
    assert "the smoke test ran" in demo.run().stdout
