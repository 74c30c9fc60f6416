"""A repository with its remote, and a gh that keeps what it is asked for: GitHub cannot be here."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from render.projects import git

GH = """#!{python}
import json, pathlib, sys

file = pathlib.Path({file!r})
state = json.loads(file.read_text())
words = sys.argv[1:]
given = dict(zip(words, words[1:]))
state["asked"].append(words)
request = state["requests"][-1] if state["requests"] else None
for name in ("--body-file", "--notes-file"):
    if name in given:
        state["text"] = pathlib.Path(given[name]).read_text(encoding="utf-8")
file.write_text(json.dumps(state))
if state["fails"] in words:
    sys.exit("HTTP 403: Resource not accessible by integration")
if words[:2] == ["pr", "list"]:
    print(json.dumps(state["requests"]))
elif words[:2] == ["pr", "create"]:
    draft = "--draft" in words
    new = dict(number=len(state["requests"]) + 1, state="OPEN", isDraft=draft)
    state["requests"].append(new | dict(isCrossRepository=False))
    print("https://example.com/pull/1")
elif words[:2] == ["pr", "ready"]:
    request["isDraft"] = "--undo" in words
file.write_text(json.dumps(state))
"""


class GitHub:
    """What is there of it: a bare repository, and what gh was asked for."""

    def __init__(self, folder: Path) -> None:
        self.remote = folder / "remote.git"
        self._file = folder / "gh.json"
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(self.remote))
        self.set(asked=[], requests=[], text="", fails="")
        program = folder / "bin" / "gh"
        program.parent.mkdir()
        text = GH.format(python=sys.executable, file=str(self._file))
        program.write_text(text, encoding="utf-8", newline="\n")
        program.chmod(0o755)

    def set(self, **values: object) -> None:
        """Change what it knows."""
        known = json.loads(self._file.read_text()) if self._file.exists() else {}
        self._file.write_text(json.dumps(known | values))

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401
        return json.loads(self._file.read_text())[name]

    def asked(self, *words: str) -> list[list[str]]:
        """The requests that begin with these words."""
        return [one for one in self["asked"] if one[: len(words)] == [*words]]

    def refs(self) -> dict[str, str]:
        """The branches and tags of the remote, and where they are."""
        lines = git(self.remote, "for-each-ref", "--format=%(refname:short) %(objectname)")
        return dict(line.split() for line in lines.splitlines())


def hosted(folder: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> GitHub:
    """A repository of these files on the branch main, in `folder/work`, and its host."""
    host = GitHub(folder)
    work = folder / "work"
    git(folder, "clone", "--quiet", str(host.remote), str(work))
    git(work, "checkout", "--quiet", "-B", "main")
    for name, text in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text, encoding="utf-8", newline="\n")
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "Work")
    git(work, "push", "--quiet", "origin", "main")
    for name in ("GITHUB_REPOSITORY", "GITHUB_RUN_ID", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.example")
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return host


def with_gh(host: GitHub) -> GitHub:
    """That host, where its gh can run."""
    if sys.platform == "win32":
        pytest.skip("the workflows publish on Linux, and gh is a script here")
    return host
