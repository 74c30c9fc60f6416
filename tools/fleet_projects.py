"""The checkouts that tools/fleet.py is about: finding them, and reading what each one records."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from copier._vcs import get_repo  # what Copier itself makes of `gh:org/name`; it has no public name

ANSWERS = ".copier-answers.yml"
DATA_FILE = "scripts/torch_builds.json"
# What a project of this template, or of a fork of it, has recorded.
NEEDED = ("compute_platform", "package_manager", "python_version", "torch_version")
RESTORE = f"Restore it: `git log -- {ANSWERS}` shows its versions"


class RefusedError(Exception):
    """Why a project cannot be updated, and what to do."""


class GitError(Exception):
    """The line that says why git failed."""


@dataclass(frozen=True)
class Recorded:
    """What a checkout says of itself."""

    template: str
    commit: str
    compute_platform: str
    torch_version: str


def git(folder: Path | str, *arguments: str, **environment: str) -> str:
    """Run git in a folder; what it prints.

    Raises:
        GitError: if git fails, or is not installed.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**os.environ, "LANGUAGE": "en", **environment},  # as what it says is read
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise GitError(f"git cannot be run: {error.strerror}") from error
    if done.returncode:
        raise GitError(what_is_wrong(done.stderr or done.stdout))
    return done.stdout.strip("\n")


def what_is_wrong(printed: str) -> str:
    """The first line of what git printed that is an error; else the last one."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return without_secrets((errors or lines[-1:] or ["no output"])[0]).rstrip(".")


def without_secrets(text: str) -> str:
    """Text in which no address shows a password or a token."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)


def find(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The checkouts that are named or lie in the folders that are named; the folders left out.

    Left out are the folders in a named one that have no answers file, or cannot be read, unless
    they are named too. A checkout that is named itself is always taken.
    """
    named = list(paths)
    found: dict[Path, None] = {}
    left_out: dict[Path, None] = {}
    for path in named:
        children = _children(path)
        if children is None:
            found[path] = None
            continue
        for child in children:
            try:
                is_project, is_folder = (child / ANSWERS).exists(), child.is_dir()
            except OSError:
                is_project, is_folder = False, True
            if is_project:
                found[child] = None
            elif is_folder and not child.name.startswith(".") and child not in named:
                left_out[child] = None
    return list(found), list(left_out)


def _children(path: Path) -> list[Path] | None:
    """What lies in a folder of checkouts, one with neither answers nor `.git`; else None."""
    try:
        if not path.is_dir() or (path / ".git").exists() or _answers_files(path):
            return None
        return sorted(path.iterdir())
    except OSError:  # its row says so
        return None


def _answers_files(project: Path) -> list[str]:
    """The names of the answers files; a project of several templates has several."""
    return sorted(path.name for path in project.glob(".copier-answers*.yml"))


def load_answers(project: Path) -> dict[str, Any]:
    """The recorded answers.

    Raises:
        RefusedError: if there are none, or if the file is no mapping of answers.
    """
    try:
        text = (project / ANSWERS).read_text(encoding="utf-8")
        answers = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (FileNotFoundError, NotADirectoryError):
        if others := _answers_files(project):
            raise RefusedError(
                f"It has {', '.join(others)}, and fleet.py reads only {ANSWERS}: run"
                f" `copier update --answers-file {others[0]}` there."
            ) from None
        what = f"It has no {ANSWERS}" if project.is_dir() else "There is no such folder"
        raise RefusedError(f"{what}: name a project made from the template.") from None
    except PermissionError:
        raise RefusedError(
            f"Its {ANSWERS} may not be read by you: change its permissions, or leave it out."
        ) from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RefusedError(f"{ANSWERS}{line}: {error.problem}. {RESTORE}.") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RefusedError(f"{ANSWERS} cannot be read ({error}). {RESTORE}.") from None
    if not isinstance(answers, dict):
        raise RefusedError(f"{ANSWERS} is not a list of `name: answer` lines. {RESTORE}.")
    return answers


def read(project: Path) -> Recorded:
    """What a project has recorded.

    Raises:
        RefusedError: if that is not what a project of this template records.
    """
    answers = load_answers(project)
    if not answers.get("_src_path"):
        raise RefusedError(f"{ANSWERS} names no template (`_src_path`). {RESTORE}.")
    missing = [name for name in NEEDED if name not in answers]
    if len(missing) == len(NEEDED):
        template = without_secrets(str(answers["_src_path"]))
        raise RefusedError(f"It was made from another template, {template}: leave it out.")
    if missing:
        raise RefusedError(f"{ANSWERS} has no answer to {', '.join(missing)}. {RESTORE}.")
    for name in ("_src_path", "_commit", *NEEDED):
        if not isinstance(answers.get(name), str):
            raise RefusedError(
                f"{ANSWERS}: {name} is {answers.get(name)!r}, which is no text. {RESTORE}."
            )
    return Recorded(
        answers["_src_path"],
        answers["_commit"],
        answers["compute_platform"],
        answers["torch_version"],
    )


@dataclass(frozen=True)
class Built:
    """The build that a project has: torch, such as `2.14.1+cu126`, and the least NVIDIA drivers."""

    torch: str | None = None
    minimum_driver: dict[str, str] = field(default_factory=dict)  # by platform


def built(project: Path) -> Built:
    """What the data file of a project says; nothing where that cannot be read."""
    try:
        data = json.loads((project / DATA_FILE).read_text(encoding="utf-8"))
        build = data["builds"][data["compute_platform"]]
        rows = {name: {**build, **row} for name, row in build["platforms"].items()}
        drivers = {name: row.get("minimum_driver") for name, row in rows.items()}
        first = next(iter(rows.values()))
        torch = str(first.get("torch_version") or first["packages"]["torch"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return Built()
    return Built(torch, {name: str(driver) for name, driver in drivers.items() if driver})


def top_folder(project: Path) -> Path:
    """The top of the git repository that a project lies in.

    Raises:
        RefusedError: if it lies in none, in one of somebody else, or in one without a commit.
    """
    try:
        top = Path(git(project, "rev-parse", "--show-toplevel"))
    except GitError as error:
        if "not a git repository (or any" in str(error):
            raise RefusedError("It is in no git repository: commit it to one.") from None
        if "dubious ownership" in str(error) or "unsafe repository" in str(error):
            refused = re.search("'(.+)'", str(error))
            path = refused[1] if refused else str(project.resolve())
            path = f'"{path}"' if " " in path else path
            raise RefusedError(
                "git refuses it, as it belongs to another user: if you trust it, run"
                f" `git config --global --add safe.directory {path}`."
            ) from None
        raise
    try:
        git(top, "rev-parse", "--verify", "--quiet", "HEAD")
    except GitError:
        raise RefusedError("Nothing is committed there yet: commit the project.") from None
    return top


def base_of(top: Path) -> tuple[str, str | None]:
    """The branch (else commit) that is checked out; a note if it is not the remote's default."""
    branch = git(top, "branch", "--show-current")
    base = branch or git(top, "rev-parse", "--short", "HEAD")
    format_ = "--format=%(symref:lstrip=3)"
    default = git(top, "for-each-ref", format_, "refs/remotes/origin/HEAD")
    if not default or default == branch:
        return base, None
    return base, f"on {'branch' if branch else 'commit'} {base}"


def uncommitted(project: Path) -> list[str]:
    """The files of a project that are not as they were committed, new ones with them.

    Raises:
        RefusedError: if the answers file is one of them: what it says is not what HEAD has.
    """
    if not git(project, "ls-files", "--", ANSWERS):
        raise RefusedError(
            f"{ANSWERS} is not committed: run `git add --force {ANSWERS}` there and commit it."
        )
    lines = git(project, "status", "--porcelain", "--", ".").splitlines()
    names = [line[3:] for line in lines]
    if any(Path(name).name == ANSWERS for name in names):
        raise RefusedError(
            f"An update was interrupted, or is not committed yet ({ANSWERS} has changed): commit"
            " it, or undo it with `git reset --hard` and remove its new files."
        )
    return names


def refuse_dirty(names: list[str]) -> None:
    """Stop where work is not committed.

    Raises:
        RefusedError: with the files.
    """
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise RefusedError(
            f"Work is not committed ({', '.join(names[:3])}{more}): commit it or stash it."
        )


def address(template: str) -> str:
    """What git calls the address of a template that a project names.

    Raises:
        RefusedError: if it is neither an address nor a git repository on this machine.
    """
    url = get_repo(template)
    if url is None:
        raise RefusedError(
            f"Its template, {without_secrets(template)}, is no git repository that can be found."
            f" Correct `_src_path` in {ANSWERS}."
        )
    return url
