"""Whatever ends the bootstrap ends what it has started, and the next run says what is true."""

import os
import signal
import subprocess
import sys
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


def kill(demo: Demo, name: str, when: Path) -> int:
    """Run the bootstrap, and send it a signal, and nobody else, as soon as there is this file."""
    devnull = subprocess.DEVNULL
    command = ["/bin/sh", str(demo.root / "bootstrap.sh")]
    with subprocess.Popen(
        command,
        env=demo.env,
        stdout=devnull,
        stderr=devnull,
        # Tests that were started in the background ignore SIGINT, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    ) as process:
        wait_for(when.exists)
        process.send_signal(signal.Signals[name])
    return process.returncode


def let_it_block(demo: Demo, does: str = "pass") -> Path:
    """Let building the project go on until it is ended, and note its process; where."""
    note, begin = demo.root / "its-process", "    while pathlib.Path"
    code = f"    import os, signal; {does}\n"
    code += "    pathlib.Path('its-process').write_text(str(os.getpid()))\n"
    demo.edit("backend/demo_backend.py", begin, code + begin)
    (demo.root / "block").touch()
    return note


@pytest.mark.some(4)
@pytest.mark.slow
@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGHUP", "SIGINT"])
def test_a_build_ends_with_a_bootstrap_that_is_killed(demo: Demo, name: str, deaf: bool) -> None:
    signals = "signal.SIGTERM, signal.SIGINT, signal.SIGHUP"
    ignore = f"[signal.signal(one, signal.SIG_IGN) for one in ({signals})]"
    note = let_it_block(demo, ignore if deaf else "pass")

    code = kill(demo, name, demo.root / "blocked")

    assert code == (130 if name == "SIGINT" else -signal.Signals[name])
    process = note.read_text(encoding="ascii")
    wait_for(lambda: has_ended(process))
    (demo.root / "block").unlink()
    done = demo.run("--no-smoke")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.some(1)
@pytest.mark.few(1)
@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_pip_s_build_ends_with_a_bootstrap_that_is_killed(begun_demo: Demo, name: str) -> None:
    note = let_it_block(begun_demo)
    kill(begun_demo, name, begun_demo.root / "blocked")
    process = note.read_text(encoding="ascii")
    wait_for(lambda: has_ended(process))
    (begun_demo.root / "block").unlink()
    done = begun_demo.run("--no-smoke")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_what_left_the_group_is_waited_for(demo: Demo) -> None:
    uv, note = Path(demo.env["PATH"], "uv"), demo.root / "uv-process"
    uv.unlink()
    uv.write_text(f'#!/bin/sh\necho $$ > uv-process\nexec {tool("uv")} "$@"\n', encoding="utf-8")
    uv.chmod(0o755)
    build = let_it_block(demo, "os.setsid()")

    kill(demo, "SIGKILL", demo.root / "blocked")

    process = note.read_text(encoding="ascii").strip()
    wait_for(lambda: has_ended(process))
    assert not has_ended(build.read_text(encoding="ascii"))  # and it has a hold of the lock
    done = demo.run("--no-smoke")
    assert done.returncode == 2, done.stdout + done.stderr
    what = "What an earlier bootstrap has started, or one elsewhere, works on this project."
    assert done.stderr == f"bootstrap: {what}\nWait until it has ended, then run this again.\n"

    (demo.root / "block").unlink()
    time.sleep(0.2)  # it looks for it 20 times a second
    done = demo.run("--no-smoke")
    assert done.returncode == 0, done.stdout + done.stderr


HELD_BACK = """
import argparse, os, signal, subprocess, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, sys.argv[1])
from bootstrapping.runner import Runner
class Early(subprocess.Popen):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        print(self.pid, flush=True)
        os.kill(os.getpid(), signal.SIGINT)
subprocess.Popen = Early
with Runner(None, argparse.Namespace(offline=False)).child(["/bin/sleep", "300"]):
    print("not interrupted")
"""


def test_a_child_that_is_just_being_started_ends_with_ctrl_c(demo: Demo) -> None:
    folder = str(demo.root / "scripts/torch_starter")
    command = [sys.executable, "-c", HELD_BACK, folder]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    assert done.stderr.endswith("KeyboardInterrupt\n"), done.stderr
    assert has_ended(done.stdout.strip())


def test_what_a_build_leaves_running_is_not_ended(demo: Demo) -> None:
    """As a compiler's cache or a server does."""
    start = (
        "p = __import__('subprocess').Popen(['/bin/sleep', '300'], stdin=-3, stdout=-3, stderr=-3)"
    )
    code = "\nbuilt = build_editable\ndef build_editable(*args, **options):\n"
    code += f"    {start}\n    pathlib.Path('its-process').write_text(str(p.pid))\n"
    code += "    return built(*args, **options)\n"
    with (demo.root / "backend/demo_backend.py").open("a", encoding="utf-8") as backend:
        backend.write(code)
    done = demo.run("--no-smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    process = (demo.root / "its-process").read_text(encoding="ascii")
    assert not has_ended(process)
    os.kill(int(process), signal.SIGKILL)


def test_the_smoke_test_ends_with_a_bootstrap_that_is_killed(demo: Demo) -> None:
    note = demo.root / "its-process"
    text = f"import os, pathlib, time\npathlib.Path({str(note)!r}).write_text(str(os.getpid()))\n"
    demo.write_smoke_test(f"{text}time.sleep(300)\n")
    kill(demo, "SIGKILL", note)
    wait_for(lambda: has_ended(note.read_text(encoding="ascii")))
    demo.write_smoke_test("print('the smoke test ran')\n")
    assert "the smoke test ran" in demo.run().stdout
