"""Copies of the template, and projects made from them by the real Copier."""

from __future__ import annotations

import atexit
import io
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from copier import VcsRef, run_copy, run_update
from copier._cli import CopierApp  # which has no public name

ROOT = Path(__file__).parents[2]
MATRIX_YML = "extensions/torch_template/matrix/version_matrix.yml"  # in a template
FROZEN = ROOT / "tests" / "data" / "version_matrix.yml"  # which goes with the tests' index
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
NOT_OF_THE_TEMPLATE = ("benchmarks", "docs", "tests", "tools")
# How much was done so far; conftest.py prints it.
DONE: Counter[str] = Counter()


def working_tree() -> list[Path]:
    """The files of this repository as a commit would have them: tracked, or new and not ignored."""
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = {name for name in listed.split("\0") if name}
    return sorted(Path(name) for name in names if (ROOT / name).is_file())


@cache
def template_copy() -> Path:
    """A copy of the template with the frozen matrix and no history, which Copier need not clone."""
    folder = Path(tempfile.mkdtemp(prefix="torch-starter-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copied = folder / "torch-starter"
    for file in working_tree():
        if file.parts[0] in NOT_OF_THE_TEMPLATE:
            continue
        target = copied / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, target)
    shutil.copyfile(FROZEN, copied / MATRIX_YML)
    return copied


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, and return what it prints."""
    result = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)
    return result.stdout.decode()


def release(repository: Path, tag: str) -> None:
    """Commit all that is in a copy of the template, and tag it as a version."""
    git(repository, "init", "--quiet")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", tag)
    git(repository, "tag", tag)


def render(project: Path, **answers: Any) -> Path:  # noqa: ANN401
    """Make a project for the running Python from the template as it lies here."""
    return copy(template_copy(), project, **{"python_version": PYTHON, "ci": "none"} | answers)


def copy(template: Path, project: Path, tag: str | None = None, **answers: Any) -> Path:  # noqa: ANN401
    """Make a project from a template, or one version of it, with the default answers and these.

    Raises:
        UserMessageError: if the template refuses an answer.
    """
    DONE["copies"] += 1
    run_copy(str(template), project, answers, defaults=True, unsafe=True, quiet=True, vcs_ref=tag)
    return project


def start(template: Path, project: Path, tag: str = "v1.0.0", **answers: Any) -> Path:  # noqa: ANN401
    """Make a project from one version of the template, and commit it."""
    return under_git(copy(template, project, tag, **answers))


def under_git(project: Path) -> Path:
    """Make a project a repository with one commit."""
    git(project, "init", "--quiet")
    commit(project)
    return project


def commit(project: Path) -> None:
    """Commit all that is in a project."""
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "Work", "--allow-empty")


def update(project: Path, vcs_ref: str | VcsRef | None = None, **answers: Any) -> Path:  # noqa: ANN401
    """Update a project as `copier update --defaults` does, and change these answers.

    Raises:
        UserMessageError: if the template refuses an answer.
    """
    DONE["updates"] += 1
    run_update(
        project, answers, defaults=True, unsafe=True, quiet=True, overwrite=True, vcs_ref=vcs_ref
    )
    return project


def copier(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the copier command, as a person would."""
    DONE["runs of the copier command"] += 1
    return subprocess.run(
        [sys.executable, "-m", "copier", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def copier_here(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The same in this process: it starts no Python, and keeps its clones where `cloned_once` says.

    Folders have to be named, which there are absolute.
    """
    DONE["runs of the copier command"] += 1
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        _, code = CopierApp.run(["copier", *map(str, arguments)], exit=False)
    return subprocess.CompletedProcess(arguments, code or 0, out.getvalue(), err.getvalue())


def recorded(project: Path) -> dict[str, Any]:
    """The answers that a project remembers."""
    text = (project / ".copier-answers.yml").read_text(encoding="utf-8")
    answers: dict[str, Any] = yaml.safe_load(text)
    return answers


def files(project: Path) -> dict[str, bytes]:
    """Every file of a project but git's, with its content."""
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for path in sorted(project.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(project).parts
    }
