"""A clean git copy of this template's working tree, for tools that need a committed template."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def git(*arguments: str, cwd: Path) -> str:
    """Run git in a folder, away from the user's settings and hooks; its output."""
    nobody = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{role}_NAME": "nobody" for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_EMAIL": "nobody@example.com" for role in ("AUTHOR", "COMMITTER")},
    }
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | nobody
    command = ["git", "-c", "init.defaultBranch=main", "-c", "core.autocrlf=false", *arguments]
    done = subprocess.run(
        command, cwd=cwd, env=environment, check=True, capture_output=True, encoding="utf-8"
    )
    return done.stdout


def tracked_files(root: Path = ROOT) -> list[str]:
    """What git tracks, or would with `git add --all`, as paths with `/`."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=root)
    return sorted(path for path in listed.split("\0") if path and (root / path).is_file())


def commit_all(folder: Path, tag: str) -> None:
    """Make a git repository of a folder, with one tagged commit."""
    git("init", "--quiet", cwd=folder)
    git("add", "--all", "--force", cwd=folder)
    git("commit", "--quiet", "--message", tag, cwd=folder)
    git("tag", tag, cwd=folder)


def snapshot(folder: Path, tag: str = "0.0.1") -> Path:
    """Copy the working tree into a new folder, and commit and tag it there."""
    for path in tracked_files():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target)
    commit_all(folder, tag)
    return folder
