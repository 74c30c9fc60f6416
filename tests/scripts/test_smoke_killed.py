"""Whatever ends the smoke test ends all that it has started: none goes on with the GPU."""

import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from scripts.smoke_helpers import Project
from scripts.torch_helpers import patch_torch

pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="tests/windows has the same for Windows")
# Each process that takes part writes a line into a file, and holds that until it ends.
HOLD = """
import fcntl, os
def hold():
    file = open({!r}, "a")
    fcntl.flock(file, fcntl.LOCK_SH)
    file.write("here\\n")
    file.flush()
    return file
"""
# In C, with Python's lock held: no thread and no handler of a signal gets to run.
HANG = "import ctypes, subprocess\nheld = hold()\n"
HANG += "subprocess.Popen(['sleep', '300'], pass_fds=[held.fileno()])\nctypes.PyDLL(None).pause()\n"
WORKERS = """
class Slow(torch.utils.data.TensorDataset):
    def __getitem__(self, index):
        held = hold()
        __import__("ctypes").PyDLL(None).pause()
torch.utils.data.TensorDataset = Slow
"""
PROCESSES = """
def all_reduce(x):
    held = hold()
    __import__("ctypes").PyDLL(None).pause()
torch.distributed.all_reduce = all_reduce
"""


def free(file: Path) -> bool:
    """Whether nobody holds it."""
    with file.open() as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def all_have_ended(file: Path) -> bool:
    """Whether nobody holds it, within some seconds."""
    deadline = time.monotonic() + 10
    while not free(file) and time.monotonic() < deadline:
        time.sleep(0.1)
    return free(file)


def start(project: Project, file: Path, processes: int, *arguments: str) -> subprocess.Popen[bytes]:
    """A smoke test, as soon as this many processes take part."""
    devnull = subprocess.DEVNULL
    process = subprocess.Popen(
        project.command(*arguments), env=project.env, stdout=devnull, stderr=devnull
    )
    deadline = time.monotonic() + 60
    while not file.exists() or file.read_text(encoding="ascii").count("here") < processes:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.few(2)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGHUP", "SIGINT"])
def test_a_torch_that_hangs_ends_with_a_smoke_test_that_is_killed(
    tmp_path: Path, name: str
) -> None:
    project, file = Project(tmp_path / "project"), tmp_path / "held"
    project.add_stub_torch(HOLD.format(str(file)) + HANG)
    process = start(project, file, 1)
    assert not free(file)
    process.send_signal(signal.Signals[name])
    process.wait(30)
    assert all_have_ended(file)


@pytest.mark.some(2)
@pytest.mark.network
@pytest.mark.slow
@pytest.mark.skipif("sys.platform != 'linux'", reason="needs the Linux wheel of torch")
@pytest.mark.parametrize(
    ("check", "code"),
    [("DATA-WORKERS", WORKERS), ("NCCL", PROCESSES)],
    ids=["DataLoader", "torchrun"],
)
@pytest.mark.parametrize("how", ["killed", "out of time"])
def test_workers_end_with_the_smoke_test(
    healthy: Project, tmp_path: Path, check: str, code: str, how: str
) -> None:
    file = tmp_path / "held"
    patch_torch(healthy, HOLD.format(str(file)) + code)
    limit = ["--timeout", "15"] if how == "out of time" else []
    process = start(healthy, file, 2, "--only", check, *limit)
    assert not free(file)
    if how == "killed":
        os.kill(process.pid, signal.SIGKILL)
    process.wait(60)
    assert all_have_ended(file)
