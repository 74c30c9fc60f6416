"""What the workflows' tools share: git and gh, run by a job, and how they say what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# Who commits: as GitHub itself names what a workflow does.
NAME, EMAIL = "github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com"
BOT = ("-c", f"user.name={NAME}", "-c", f"user.email={EMAIL}")
# The token is gh's, in GH_TOKEN: git asks gh for it, and writes it nowhere.
LOGIN = ("-c", "credential.helper=", "-c", "credential.helper=!gh auth git-credential")


class StopError(Exception):
    """What ends a tool: a sentence that says what is wrong, and one what to do."""


def ended(
    folder: Path, *command: str, limit: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder. StopError: it is not installed, or takes more seconds."""
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, encoding="utf-8", check=False, timeout=limit
        )
    except FileNotFoundError as error:
        raise StopError(f"{command[0]} cannot be run. Install it.") from error
    except subprocess.TimeoutExpired as error:
        raise StopError(f"`{' '.join(command)}` did not end within {limit:.0f} s.") from error


def run(folder: Path, *command: str, limit: float | None = None) -> str:
    """What a command prints. StopError: it failed, or takes more seconds."""
    done = ended(folder, *command, limit=limit)
    if done.returncode:
        words = " ".join(word for word in command if word not in (*BOT, *LOGIN))
        raise StopError(f"`{words}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()


def git(folder: Path, *arguments: str) -> str:
    """What git prints there. StopError: it failed."""
    return run(folder, "git", *arguments)


def refuse_changes(folder: Path) -> None:
    """StopError: something there is not committed."""
    if changed := git(folder, "status", "--porcelain"):
        names = ", ".join(line.split(maxsplit=1)[1] for line in changed.splitlines()[:5])
        raise StopError(f"These files have changes: {names}. Commit them, or put them away.")


def tell_job(variable: str, text: str) -> None:
    """Add lines to GITHUB_OUTPUT or GITHUB_STEP_SUMMARY, where a job of GitHub has set it."""
    if file := os.environ.get(variable):
        with Path(file).open("a", encoding="utf-8", newline="\n") as opened:
            opened.write(f"{text}\n")


def exit_code(work: Callable[[], None]) -> int:
    """Do it: 0, or 1 after the words of what stopped it, on stderr."""
    try:
        work()
    except StopError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
