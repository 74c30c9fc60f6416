"""Run the real uv, Poetry and pip against the loopback index, in a clean environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import commands
from install.loopback_index import LoopbackIndex

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

WINDOWS = os.name == "nt"
# All that a tool may see of the caller's environment.
KEPT = ("PATH", "SYSTEMROOT", "SYSTEMDRIVE", "COMSPEC", "PATHEXT", "TMPDIR", "TEMP", "TMP", "LANG")
WINDOWS_ONLY = ("NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE")
CACHES = ("UV_CACHE_DIR", "PIP_CACHE_DIR", "POETRY_CACHE_DIR")


def own_caches(folder: Path) -> dict[str, str]:
    """Settings for caches that no other test has filled: all is asked of the index again."""
    return {name: str(folder / "caches" / name) for name in CACHES}


class ToolFailedError(Exception):
    """A tool ended with an error; the message is all that it printed."""


class Tools:
    """uv, Poetry and pip of the running virtual environment, and the index that they see.

    `environment` is theirs: pass it to any other process that is to see the same index (a
    bootstrap script, say; there `uv`, `poetry` and `pip` on PATH are the wrapped ones).
    """

    def __init__(self, index: LoopbackIndex, home: Path) -> None:
        self.index = index
        self.home = home
        self.bin = home / "bin"
        self.bin.mkdir(parents=True, exist_ok=True)
        self._write_poetry()
        self.environment = self._environment()

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in KEPT + WINDOWS_ONLY if name in os.environ}
        own = Path(sys.executable).parent
        path = os.pathsep.join([str(self.bin), str(own), kept.pop("PATH", os.defpath)])
        home = {name: str(self.home) for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA")}
        xdg = {
            f"XDG_{name}_HOME": str(self.home / name.lower())
            for name in ("CONFIG", "CACHE", "DATA")
        }
        return {
            **kept,
            **home,
            **xdg,
            "XDG_CONFIG_DIRS": str(self._system_settings()),
            "PATH": path,
            "NO_PROXY": "127.0.0.1,localhost",
            "PYTHONUTF8": "1",
            "NO_COLOR": "1",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": self.index.simple_url,
            "PIP_CACHE_DIR": str(self.home / "pip-cache"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "UV_DEFAULT_INDEX": self.index.simple_url,
            "UV_CACHE_DIR": str(self.home / "uv-cache"),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
            "POETRY_CACHE_DIR": str(self.home / "poetry-cache"),
            "POETRY_CONFIG_DIR": str(self.home / "poetry-config"),
            "POETRY_DATA_DIR": str(self.home / "poetry-data"),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
            "LOOPBACK_PYPI_URL": self.index.url,
        }

    def _system_settings(self) -> Path:
        """A place of the system's settings where uv finds that there are none."""
        folder = self.home / "etc"
        (folder / "uv").mkdir(parents=True, exist_ok=True)
        (folder / "uv" / "uv.toml").touch()
        return folder

    def _write_poetry(self) -> None:
        """Put a `poetry` on PATH that runs the real one against the loopback index."""
        wrapper = Path(__file__).with_name("loopback_poetry.py")
        if WINDOWS:
            text = f'@"{sys.executable}" "{wrapper}" %*\n'
            (self.bin / "poetry.cmd").write_text(text, encoding="utf-8")
        else:
            script = self.bin / "poetry"
            script.write_text(
                f'#!/bin/sh\nexec "{sys.executable}" "{wrapper}" "$@"\n', encoding="utf-8"
            )
            script.chmod(0o755)

    def run(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> str:
        """Run a command in the clean environment and return all that it printed."""
        known = {**self.environment, **(env or {})}
        done = commands.run(command, cwd or self.home, known, timeout=timeout)
        if done.returncode:
            raise ToolFailedError(done.stdout)
        return done.stdout

    def try_bootstrap(
        self,
        project: Path,
        *options: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> CompletedProcess[str]:
        """Run a project's bootstrap without its smoke test, and keep its outputs apart."""
        command = ["sh", str(project / "bootstrap.sh"), "--no-smoke", *options]
        known = {**self.environment, **(env or {})}
        return commands.run(command, cwd or project, known, apart=True)

    def bootstrap(self, project: Path, *options: str, **env: str) -> str:
        """Run it, and return all that it printed; it must end well."""
        return self.run("sh", "bootstrap.sh", "--no-smoke", *options, cwd=project, env=env)

    def uv(self, *arguments: str | Path, cwd: Path | None = None) -> str:
        """Run uv."""
        return self.run(sys.executable, "-m", "uv", *arguments, cwd=cwd)

    def poetry(self, *arguments: str | Path, cwd: Path | None = None, **env: str) -> str:
        """Run Poetry; further keywords are environment variables."""
        wrapper = Path(__file__).with_name("loopback_poetry.py")
        return self.run(sys.executable, wrapper, "--no-ansi", *arguments, cwd=cwd, env=env)

    def pip(
        self, *arguments: str | Path, cwd: Path | None = None, python: str | Path = sys.executable
    ) -> str:
        """Run the running environment's pip; for another environment give its Python."""
        return self.run(sys.executable, "-m", "pip", "--python", python, *arguments, cwd=cwd)

    # --- what the tools would install

    def uv_lock(self, project: Path, *arguments: str) -> dict[str, Any]:
        """Run `uv lock` and return uv.lock."""
        self.uv("lock", "--python", sys.executable, *arguments, cwd=project)
        return tomllib.loads((project / "uv.lock").read_text(encoding="utf-8"))

    def uv_pylock(self, project: Path, *arguments: str) -> dict[str, Any]:
        """Run `uv lock`, then export the lock as pylock.toml (`arguments` choose the groups)."""
        self.uv_lock(project)
        export = ("export", "--frozen", "--format", "pylock.toml", "--no-emit-project", "--quiet")
        target = project / "pylock.toml"
        self.uv(*export, "--output-file", target, *arguments, cwd=project)
        return tomllib.loads(target.read_text(encoding="utf-8"))

    def uv_resolve(self, project: Path, python: str, *arguments: str) -> dict[str, Any]:
        """Resolve a project as `uv lock` does, for any Python minor, without that Python."""
        target = project / f"pylock.{python.replace('.', '')}.toml"
        options = ("--universal", "--python-version", python, "--format", "pylock.toml", "--quiet")
        source = ("pyproject.toml", "--output-file", target)
        self.uv("pip", "compile", *source, *options, *arguments, cwd=project)
        return tomllib.loads(target.read_text(encoding="utf-8"))

    def poetry_lock(self, project: Path) -> dict[str, Any]:
        """Run `poetry lock` and return poetry.lock."""
        self.poetry("lock", cwd=project, LOOPBACK_LOCK_FOR_ANY_PYTHON="1")
        return tomllib.loads((project / "poetry.lock").read_text(encoding="utf-8"))

    def pip_report(self, *arguments: str | Path, cwd: Path | None = None) -> dict[str, Any]:
        """Run `pip install --dry-run --ignore-installed` and return pip's report."""
        target = self.home / "report.json"
        target.unlink(missing_ok=True)
        options = ("--dry-run", "--ignore-installed", "--quiet", "--report", target)
        self.pip("install", *options, *arguments, cwd=cwd)
        report: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
        return report


def reported(report: Mapping[str, Any]) -> dict[str, str]:
    """Return what a pip report would install: file names by project."""
    return {
        item["metadata"]["name"]: item["download_info"]["url"]
        .rpartition("/")[2]
        .replace("%2B", "+")
        for item in report["install"]
    }


def add_real(tools: Tools, folder: Path, requirement: str) -> None:
    """Put a package as it really is on the loopback index."""
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", requirement]
    done = subprocess.run([*download, "--dest", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    tools.index.add_wheels(folder, "pypi")
