"""A lock file is whole, whenever the bootstrap was killed, and what came since is not touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.bootstrap_helpers import Demo, make_demo

pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="needs a POSIX shell")


def half(text: str) -> str:
    return text[: len(text) // 2]


def pulled(text: str) -> str:
    return text.replace("\n\n", "\n# what a colleague has locked\n\n", 1)


@pytest.mark.some(5)
@pytest.mark.parametrize(
    ("damage", "stays"), [(half, False), (lambda _: "", False), (pulled, True)]
)
@pytest.mark.few(1)
@pytest.mark.parametrize("there_was_one", [True, False])
@pytest.mark.parametrize("manager", ["uv", pytest.param("poetry", marks=pytest.mark.slow)])
def test_only_half_a_lock_file_is_put_back_after_a_kill(
    tmp_path: Path, manager: str, damage: Callable[[str], str], stays: bool, there_was_one: bool
) -> None:
    demo = make_demo(tmp_path, manager)
    assert demo.run().returncode == 0
    lock, aside = demo.root / f"{manager}.lock", demo.root / ".tools" / "lock.before"
    text = lock.read_text(encoding="utf-8")
    new, old = damage(text), text.replace("\n\n", "\n# before\n\n", 1)
    aside.write_text(old if there_was_one else "", encoding="utf-8")
    lock.write_text(new, encoding="utf-8")
    (demo.root / ".venv/bootstrap.unfinished").touch()  # what the kill left as well

    done = demo.run()

    assert done.returncode == 0, done.stdout + done.stderr
    said = f"{manager}.lock was left half written: it is as it was before"
    assert (said in done.stdout) is not stays
    assert lock.read_text(encoding="utf-8") == (new if stays else old if there_was_one else text)
    assert not aside.exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_lock_file_that_came_after_a_kill_stays(demo: Demo, how: signal.Signals) -> None:
    """Uv is killed while it locks, with the bootstrap; then somebody pulls."""
    assert demo.run().returncode == 0
    lock, pyproject = demo.root / "uv.lock", demo.root / "pyproject.toml"
    before, mine = lock.read_bytes(), pyproject.read_bytes()
    demo.edit("pyproject.toml", 'version = "0.1"', 'dynamic = ["version"]')  # which uv lets build
    shutil.rmtree(demo.root / ".venv")
    (demo.root / "block").touch()
    backend = demo.root / "backend/demo_backend.py"
    with backend.open("a") as file:
        file.write("\nprepare_metadata_for_build_editable = build_editable\n")
    process = subprocess.Popen(
        ["/bin/sh", str(demo.root / "bootstrap.sh")],
        env=demo.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    aside = demo.root / ".tools/lock.before"
    deadline = time.monotonic() + 60
    while not ((demo.root / "blocked").exists() and aside.exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, how)
    process.wait(timeout=60)
    assert aside.read_bytes() == before
    (demo.root / "block").unlink()
    pyproject.write_bytes(mine)
    new = pulled(before.decode())
    lock.write_text(new, encoding="utf-8")

    done = demo.run()

    assert done.returncode == 0, done.stdout + done.stderr
    assert "half" not in done.stdout
    assert lock.read_text(encoding="utf-8") == new
