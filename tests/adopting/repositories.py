"""Repositories as people have them, each modelled on a public one: layouts/ says on which."""

from __future__ import annotations

import io
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import adopt
from render.projects import commit, git

FOLDER = Path(__file__).with_name("layouts")
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
INDEX = "https://download.pytorch.org/whl"


@dataclass(frozen=True)
class Layout:
    """A repository before it is adopted, and what is expected of that."""

    model: str
    what: str
    files: dict[str, str]
    answers: dict[str, Any]
    refused: str = ""  # what is said where the owner has to decide
    data: list[str] = field(default_factory=list)  # what the owner says then
    by_hand: list[str] = field(default_factory=list)
    crlf: bool = False


def layout(name: str) -> Layout:
    return Layout(**yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")))


def made(one: Layout, folder: Path, index: str = INDEX) -> Path:
    """The repository, committed."""
    for name, text in one.files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            text.replace(INDEX, index), encoding="utf-8", newline="\r\n" if one.crlf else "\n"
        )
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "core.autocrlf", "false")
    commit(folder)
    return folder


def run(template: Path, repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the tool in this process."""
    out, err = io.StringIO(), io.StringIO()
    words = ["--trust", "--template", str(template), str(repository), *arguments]
    with redirect_stdout(out), redirect_stderr(err):
        code = adopt.main(words)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def options(one: Layout, *more: str) -> list[str]:
    """--data for what the owner has to say, and more of it."""
    return [word for answer in [*one.data, *more] for word in ("--data", answer)]
