"""The bootstrap on a full disk: a small file system of its own, where root may mount one."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.bootstrap_helpers import make_demo

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("os.name == 'nt'", reason="needs a POSIX shell"),
]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here (needs root): a full disk is NOT tested")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(("left", "code"), [(8_000, 4), (76_000, 5)], ids=["venv", "packages"])
def test_a_full_disk_is_told_and_room_repairs(
    small_disk: Path, tmp_path: Path, left: int, code: int
) -> None:
    demo = make_demo(tmp_path, "uv")
    stub = tmp_path / "wheels" / "demo_stub-1.0-py3-none-any.whl"
    assert stub.exists()
    demo.env["UV_LINK_MODE"] = "copy"
    demo.root = Path(shutil.move(demo.root, small_disk / "demo"))
    demo.edit("pyproject.toml", "../wheels", str(tmp_path / "wheels"))
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
    filler.write_bytes(bytes(free - left))

    done = demo.run()

    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.startswith("bootstrap: The disk is full: ")
    assert "Free some space, or move the project to another disk" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    filler.unlink()
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert demo.ask("__import__('demo_stub').VERSION") == "1.0"
