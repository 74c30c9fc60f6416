"""Run Windows programs in the Wine that tools/wine.py prepares."""

from __future__ import annotations

import io
import select
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from wine import Wine

CASES = "C:\\cases"
PYTHON = "C:\\python\\python.exe"
PATIENCE = 240  # seconds; the longest, an installation with pip, takes 30 to 90


class Windows:
    """One Windows session: programs start in it in half a second."""

    def __init__(self, wine: Wine) -> None:
        self.wine = wine
        self.path = wine.path
        shutil.rmtree(wine.path(CASES), ignore_errors=True)
        wine.path(CASES).mkdir()
        self._start()

    def _start(self) -> None:
        """Start a process that keeps the session up, and wait: a second start beside it hangs.

        What outlived a power cut by a moment may be that second start: both are ended, once more.
        """
        code = "import sys; print('up', flush=True); sys.stdin.read()"
        for _ in range(3):
            self._idle = subprocess.Popen(
                self.wine.windows([PYTHON, "-c", code]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert self._idle.stdout is not None
            if select.select([self._idle.stdout], [], [], 60)[0]:  # it takes seconds
                assert self._idle.stdout.readline().strip() == b"up"
                return
            self.close()
        pytest.fail("Wine does not start.")

    def close(self) -> None:
        """End everything that runs in it."""
        kill = self.wine.command(["wineserver", "--kill"])
        subprocess.run(kill, check=False, timeout=60)
        self._idle.communicate(timeout=60)

    def restart(self) -> None:
        """A power cut: everything that runs in it ends at once."""
        self.close()
        self._start()

    def start(
        self, command: Sequence[str], cwd: str = CASES, path: Sequence[str] = (), **env: str
    ) -> subprocess.Popen[str]:
        r"""Start a program in a folder; `path` comes before C:\windows on PATH."""
        variables = {"WINEPATH": ";".join(path), "PYTHONUTF8": "1", **env}
        return subprocess.Popen(
            self.wine.windows(command, variables, cwd),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )

    def run(
        self,
        *command: str,
        cwd: str = CASES,
        path: Sequence[str] = (),
        **env: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program and wait for it; if it hangs, the session is started anew."""
        process = self.start(command, cwd, path, **env)
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.restart()  # which also ends its children, that hold the pipes
            out, err = process.communicate()
            pytest.fail(f"{command} was not done after {PATIENCE} s: {out}{err}")
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def bootstrap(
        self,
        cwd: str,
        *arguments: str,
        path: Sequence[str] = ("C:\\python",),
        **env: str,
    ) -> subprocess.CompletedProcess[str]:
        """Type `bootstrap.cmd` with these arguments in a folder."""
        command = ("cmd", "/d", "/c", "bootstrap.cmd", *arguments)
        return self.run(*command, cwd=cwd, path=path, **env)

    def make_exe(self, path: str, script: str) -> None:
        """Make a real .exe that runs a script: pip's launcher, as for console scripts."""
        bundled = self.path("C:\\python\\Lib\\ensurepip\\_bundled")
        (pip,) = bundled.glob("pip-*.whl")
        with zipfile.ZipFile(pip) as wheel:
            launcher = wheel.read("pip/_vendor/distlib/t64.exe")
        main = io.BytesIO()
        with zipfile.ZipFile(main, "w") as archive:
            archive.writestr("__main__.py", script)
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(launcher + f"#!{PYTHON}\r\n".encode() + main.getvalue())


def said(done: subprocess.CompletedProcess[str]) -> str:
    """All that it printed, for the message of a failed assert."""
    return f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
