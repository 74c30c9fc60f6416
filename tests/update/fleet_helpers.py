"""Checkouts of many projects, as tools/fleet.py finds them, and what it says of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fleet_projects import ANSWERS
from render.projects import ROOT, commit, files, git, recorded

FLEET = ROOT / "tools" / "fleet.py"
BRANCH = "template-update/2.0.0"


def fleet(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the tool, as a person would."""
    return subprocess.run(
        [sys.executable, str(FLEET), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """What --json says, by the names of the projects' folders."""
    assert "Traceback" not in done.stderr
    return {Path(row["project"]).name: row for row in json.loads(done.stdout)["projects"]}


def state(project: Path) -> tuple[dict[str, bytes], str, str, str]:
    """All of a checkout that its owner sees: files, branch and commit, status, worktrees."""
    return (
        files(project),
        (project / ".git/HEAD").read_text(encoding="utf-8") + git(project, "rev-parse", "HEAD"),
        git(project, "status", "--porcelain"),
        git(project, "worktree", "list"),
    )


def branches(project: Path) -> list[str]:
    return git(project, "branch", "--list", "--format=%(refname:short)").split()


def edit(project: Path, file: str, old: str, new: str, *, committed: bool = True) -> None:
    path = project / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8", newline="")
    if committed:
        commit(project)


def ignore(project: Path, file: str) -> None:
    """Let git ignore a file that it had."""
    (project / ".git/info/exclude").write_text(f"{file}\n", encoding="utf-8")
    git(project, "rm", "--quiet", "--cached", file)
    git(project, "commit", "--quiet", "--message", "Ignored")


def switch_from_the_default(project: Path) -> None:
    """Have the branch `feature` checked out, in a clone of a remote whose default is main."""
    git(project, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(project, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    git(project, "checkout", "--quiet", "-b", "feature")


# How each project of the fleet is made unusable, and what is said of it.
REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "dirty": (
        lambda p: edit(p, "README.md", "## Run", "## Mine", committed=False),
        "Work is not committed (README.md): commit it or stash it.",
    ),
    "interrupted": (
        lambda p: edit(p, ANSWERS, "_commit: v1.2.0", "_commit: v2.0.0", committed=False),
        f"An update was interrupted, or is not committed yet ({ANSWERS} has changed): commit it",
    ),
    "no-yaml": (
        lambda p: edit(p, ANSWERS, "license: MIT", "license: [MIT"),
        f"{ANSWERS}, line ",
    ),
    "list": (
        lambda p: edit(p, ANSWERS, (p / ANSWERS).read_text(encoding="utf-8"), "- MIT\n"),
        f"{ANSWERS} is not a list of `name: answer` lines. Restore it: `git log -- {ANSWERS}`",
    ),
    "wrong-type": (
        lambda p: edit(p, ANSWERS, "compute_platform: cpu", "compute_platform: [cpu]"),
        f"{ANSWERS}: compute_platform is ['cpu'], which is no text.",
    ),
    "renamed": (
        lambda p: edit(p, ANSWERS, "compute_platform: cpu", "platform: cpu"),
        f"{ANSWERS} has no answer to compute_platform.",
    ),
    "unknown-value": (
        lambda p: edit(p, ANSWERS, "compute_platform: cpu", "compute_platform: cu999"),
        "compute_platform: 'cu999' is not on offer: choose ",
    ),
    "no-version": (
        lambda p: edit(p, ANSWERS, "_commit: v1.2.0", "_commit: v0.9.0"),
        f"{ANSWERS} records version v0.9.0, which the template does not have:",
    ),
    "no-template": (
        lambda p: edit(p, ANSWERS, recorded(p)["_src_path"], "/nowhere/torch-starter"),
        "Its template, /nowhere/torch-starter, is no git repository that can be found.",
    ),
    "not-ours": (
        lambda p: edit(
            p,
            ANSWERS,
            (p / ANSWERS).read_text(encoding="utf-8"),
            "_commit: v1\n_src_path: https://user:secret@example.com/other.git\n",
        ),
        "It was made from another template, https://example.com/other.git: leave it out.",
    ),
    "ignored": (
        lambda p: ignore(p, ANSWERS),
        f"{ANSWERS} is not committed: run `git add --force {ANSWERS}` there and commit it.",
    ),
    "no-git": (lambda p: shutil.rmtree(p / ".git"), "It is in no git repository: commit it to"),
}
