"""The Dockerfile of a project, built by the real buildah, with the real torch for the CPU.

No registry of images is asked: its base image is this machine's own system, seen through a mount.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from install.managers import Tools
from install.real_torch import NOT_COMPILED, needs_real_torch, real_index
from render.projects import PYTHON, render

pytestmark = [
    needs_real_torch,
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts as root"),
    pytest.mark.skipif(not shutil.which("buildah"), reason="buildah is not installed"),
]
ACCOUNTS = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "group": "root:x:0:\n",
    "shadow": "root:*:1::::::\n",
    "gshadow": "root:*::\n",
    "login.defs": "UID_MIN 1000\nUID_MAX 60000\n",
}

# What a process in the image can: the caches have a place whoever it is, and nothing that was
# installed can be changed.
INSIDE = """
import getpass, os, pathlib
import my_torch_project.device  # .venv leads to the code, not to what stood for it
places = ["runs/a", os.environ["HOME"] + "/b", "/tmp/c", "src/d", ".venv/e"]
can = []
for place in places:
    try:
        pathlib.Path("/app", place + str(os.getuid())).touch()
        can.append(place)
    except PermissionError:
        pass
tools = {"pytest", "ruff", "mypy"} & set(os.listdir("/app/.venv/bin"))
assert not tools and not os.path.exists("/app/.tools") and os.getuid(), tools
print((getpass.getuser(), can == places[:3], len(places) - 1))
"""


class Buildah:
    """buildah with its images in one folder, and the mounts that stand for a base image."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mounts = dict.fromkeys(["/usr", sys.base_prefix])

    def __call__(self, *words: str | Path, fails: bool = False) -> str:
        """Run it; what it printed."""
        driver = ["--storage-driver", "overlay"]
        where: list[str | Path] = [
            "--root",
            self.folder / "storage",
            "--runroot",
            self.folder / "run",
        ]
        command: list[str | Path] = ["buildah", *driver, *where, *words]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert bool(done.returncode) == fails, done.stdout
        return done.stdout

    def with_mounts(self, command: str, *words: str | Path, fails: bool = False) -> str:
        """`bud` and `run`, where the steps are: a root of its own, and the network of here."""
        mounts = [f"--volume={path}:{path}:ro" for path in self.mounts]
        return self(command, "--isolation=chroot", *mounts, *words, fails=fails)

    def make_base(self, name: str, environment: dict[str, str]) -> None:
        """An image with accounts and links into /usr, and a `python` as python:slim has it."""
        root = self.folder / "root"
        for path in ("bin", "lib", "lib64", "sbin"):
            if Path("/", path).is_symlink():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).symlink_to(Path("/", path).readlink())
        for path in ("etc", "opt/bin", "root", "tmp", "usr", "var/tmp"):
            (root / path).mkdir(parents=True)
        for path in ("tmp", "var/tmp"):
            (root / path).chmod(0o1777)
        for file, text in ACCOUNTS.items():
            (root / "etc" / file).write_text(text, encoding="utf-8")
        for python in ("python", "python3"):
            (root / "opt/bin" / python).symlink_to(Path(sys.executable).resolve())
        self("from", "--name", "base", "scratch")
        self("copy", "--quiet", "base", root, "/")
        known = [f"--env={key}={value}" for key, value in environment.items()]
        self("config", f"--env=PATH=/opt/bin:{os.defpath}:/usr/sbin", *known, "base")
        self("commit", "--quiet", "base", name)


@pytest.fixture
def buildah(tmp_path: Path) -> Iterator[Buildah]:
    buildah = Buildah(tmp_path / "buildah")
    yield buildah
    buildah("rm", "--all")
    buildah("rmi", "--all", "--force")


def test_an_image_is_built_runs_as_no_root_and_is_made_anew_for_what_changed_alone(
    tmp_path: Path, buildah: Buildah
) -> None:
    with real_index() as index:
        project = render(
            tmp_path / "project",
            package_manager="pip",
            torch_version="2.13",
            torch_packages=[],
            starter="package",
            container=True,
            pytorch_index_url=index.pytorch_url,
        )
        environment = Tools(index, tmp_path / "tools").environment
        settings = {k: v for k, v in environment.items() if k.startswith("PIP_")} | NOT_COMPILED
        del settings["PIP_CACHE_DIR"]  # the mount for it is one of the things that are tried
        buildah.make_base(f"docker.io/library/python:{PYTHON}-slim", settings)
        build = ("bud", "--pull-never", "--layers", "--tag")
        said = buildah.with_mounts(*build, "project", project)
        assert "PASS  torch 2.13.0+cpu on the CPU" in said
        assert "Collecting torch" in said
        # A change of the code installs nothing anew.
        (project / "src/my_torch_project/new.py").touch()
        said = buildah.with_mounts(*build, "changed", "--target", "build", project)
        assert "Using cache" in said
        assert "Collecting" not in said
    buildah("from", "--pull-never", "--name", "it", "project")
    python = ("/app/.venv/bin/python", "-c")
    assert "('app', True, 4)" in buildah.with_mounts("run", "--user=4321", "it", *python, INSIDE)
    config = json.loads(buildah("inspect", "--type", "image", "project"))["OCIv1"]["config"]
    assert config["User"] == "1000"
    assert config["Cmd"] == ["python", "-m", "my_torch_project.device"]
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" not in config["Env"]
    assert not any(line.startswith("NVIDIA_VISIBLE_DEVICES") for line in config["Env"])
