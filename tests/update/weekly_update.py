"""A project whose weekly update is tried: with a bare remote, and a `gh` that notes its orders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from copy import copy
from pathlib import Path

from render.projects import git

BRANCH = "template-update/2.0.0"
COPIER = Path(sys.executable).with_name("copier")


class WeeklyUpdate:
    """The project, and the steps of its workflow."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.project, self.folder = project, folder
        self.report = folder / "report"
        self.remote = folder / "remote.git"
        git(folder, "init", "--quiet", "--bare", str(self.remote))
        git(project, "remote", "add", "origin", str(self.remote))
        git(project, "push", "--quiet", "origin", "main")
        # As the workflow does: the script as it was before the update.
        self.script = Path(
            shutil.copy(project / "scripts/torch_starter/template_update.py", folder)
        )
        self._fake_gh()

    def copy_to(self, folder: Path) -> WeeklyUpdate:
        """All of it in another folder."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        copied = copy(self)
        copied.project, copied.folder = folder / self.project.name, folder
        copied.report, copied.remote = folder / "report", folder / "remote.git"
        copied.script = folder / self.script.name
        git(copied.project, "remote", "set-url", "origin", str(copied.remote))
        copied._fake_gh()
        return copied

    def _fake_gh(self, state: str = "") -> None:
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        gh = programs / "gh"
        known = f'[{{"state": "{state.upper()}"}}]' if state else "[]"
        gh.write_text(
            f'#!/bin/sh\ncase "$*" in "pr list"*"--state all"*) echo \'{known}\' ;; esac\n'
            f'printf "%s\\n" "$*" >> "{self.folder}/asked"\n',
            encoding="utf-8",
        )
        gh.chmod(0o755)

    def pull_request_exists(self, state: str = "open") -> None:
        self._fake_gh(state)

    def run(self, step: str, *more: str, token: str = "") -> subprocess.CompletedProcess[str]:
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        options = ["--report", str(self.report), "--copier", str(COPIER)]
        return subprocess.run(
            [sys.executable, str(self.script), step, *options, *more],
            cwd=self.project,
            env={**os.environ, "PATH": path, "GH_TOKEN": token},
            capture_output=True,
            text=True,
        )

    def done(self, step: str, *more: str, token: str = "") -> str:
        result = self.run(step, *more, token=token)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def refused(self, step: str, *more: str, token: str = "") -> str:
        """The one line that it says when it stops."""
        result = self.run(step, *more, token=token)
        assert result.returncode == 1, result.stdout + result.stderr
        assert len(result.stderr.splitlines()) == 1, result.stderr
        return result.stderr

    @property
    def asked(self) -> list[str]:
        """What gh was asked for."""
        file = self.folder / "asked"
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    @property
    def ready(self) -> dict[str, object]:
        text = (self.report / "pull-request.json").read_text(encoding="utf-8")
        return dict(json.loads(text))

    def pushed(self, branch: str = BRANCH) -> bool:
        return branch in git(self.remote, "branch", "--list", branch)


def amend(project: Path) -> None:
    """Repair the branch that is checked out, in the commit that is there."""
    (project / "repaired.txt").write_text("by hand\n", encoding="utf-8")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--amend", "--no-edit")


def as_fleet(project: Path) -> None:
    """Replace the branch that is checked out by one with the same title, of tools/fleet.py."""
    git(project, "reset", "--quiet", "--hard", "main")
    title = ["--message", "Update the template to 2.0.0", "--message", "Changed: torch."]
    git(project, "commit", "--quiet", "--allow-empty", *title)
