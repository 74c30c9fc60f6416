"""The files and commands in docs/org-rollout.md work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from matrix.doctored import data, usable
from matrix_model import Matrix
from render.projects import ROOT, commit, copier, git, recorded, start, update
from update.versions import MATRIX, clone, release_as_of, release_with, write_matrix
from version_matrix import Asked, compute_platform_choices, python_choices

TEXT = (ROOT / "docs" / "org-rollout.md").read_text(encoding="utf-8")


def block(marker: str) -> str:
    """The code block behind a marker."""
    found = re.search(rf"<!-- {marker} -->\n```\w+\n(.+?)\n```\n", TEXT, re.DOTALL)
    assert found, marker
    return found[1]


def with_policy() -> dict[str, Any]:
    policy: dict[str, Any] = yaml.safe_load(block("policy"))
    return data() | policy


def test_the_readme_leads_there() -> None:
    assert "(docs/org-rollout.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_settings_save_trust_and_answers(
    git_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = yaml.safe_load(block("settings.yml"))
    assert settings["trust"] == ["gh:org/", "https://github.com/org/"]
    # The template of this test lies elsewhere than on GitHub.
    settings["trust"] = [f"{git_template.parent}/"]
    file = tmp_path / "settings.yml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    monkeypatch.setenv("COPIER_SETTINGS_PATH", str(file))
    done = copier("copy", "--defaults", git_template, tmp_path / "project")
    assert done.returncode == 0, done.stderr
    answers = recorded(tmp_path / "project")
    assert {name: answers[name] for name in settings["defaults"]} == settings["defaults"]


def test_the_policy_is_valid_and_everything_that_it_offers_can_be_chosen() -> None:
    matrix = Matrix.model_validate(with_policy())
    policy = matrix.policy
    asked = Asked("uv", policy.python.default, policy.compute_platforms.default)
    choices = compute_platform_choices(matrix, asked)
    assert usable(choices) == policy.compute_platforms.offered
    assert usable(python_choices(matrix)) == policy.python.offered


def test_with_the_policy_a_project_keeps_what_is_retired_and_can_be_made_with_it(
    git_template: Path, tmp_path: Path
) -> None:
    repository = clone(git_template, tmp_path / "torch-starter")
    answers = {"compute_platform": "cu118", "python_version": "3.10"}
    project = start(repository, tmp_path / "project", **answers)
    release_with(repository, "v1.0.0.post1", lambda facts: facts.update(with_policy()))
    done = copier("update", "--trust", "--defaults", project)
    assert done.returncode == 0, done.stderr
    assert {name: recorded(project)[name] for name in answers} == answers
    assert recorded(project)["_commit"] == "v1.0.0.post1"
    assert "compute_platform cu118 is retired here" in done.stderr
    assert "python_version 3.10 is retired here" in done.stderr
    given = [part for name, value in answers.items() for part in ("--data", f"{name}={value}")]
    done = copier("copy", "--trust", "--defaults", *given, repository, tmp_path / "new")
    assert done.returncode == 0, done.stderr
    assert "compute_platform cu118 is retired here" in done.stderr


def test_a_project_moves_to_a_fork_by_its_address(git_template: Path, tmp_path: Path) -> None:
    project = start(clone(git_template, tmp_path / "torch-starter"), tmp_path / "project")
    fork = clone(git_template, tmp_path / "fork")
    release_with(fork, "v1.0.0.post1", lambda facts: facts.update(with_policy()))
    file = project / ".copier-answers.yml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(recorded(project)["_src_path"], str(fork)), encoding="utf-8")
    commit(project)
    update(project)
    assert recorded(project)["_commit"] == "v1.0.0.post1"
    assert recorded(project)["_src_path"] == str(fork)


@pytest.fixture
def bad_version(git_template: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A template whose v1.2.0 is to be taken back, and an updated project."""
    repository = clone(git_template, tmp_path / "torch-starter")
    now = yaml.safe_load((repository / MATRIX).read_text(encoding="utf-8"))
    release_as_of(repository, "2.13.0", "v1.1.0")
    project = start(repository, tmp_path / "project", "v1.1.0")
    write_matrix(repository, now)
    git(repository, "commit", "--quiet", "--all", "--message", "v1.2.0")
    git(repository, "tag", "v1.2.0")
    update(project)
    commit(project)
    return repository, project


def test_a_project_goes_back_by_reverting_its_update(bad_version: tuple[Path, Path]) -> None:
    _, project = bad_version
    git(project, "revert", "--no-edit", "HEAD")
    assert recorded(project)["_commit"] == "v1.1.0"
    assert git(project, "diff", "HEAD~2") == ""


def test_all_projects_go_back_by_a_newer_tag(bad_version: tuple[Path, Path]) -> None:
    repository, project = bad_version
    git(repository, "revert", "--no-edit", "HEAD")
    git(repository, "tag", "v1.2.1")
    update(project)
    assert recorded(project)["_commit"] == "v1.2.1"
    changed = git(project, "diff", "--name-only", "HEAD~1", "--", ".").split()
    assert changed == [".copier-answers.yml"]


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell's loop")
def test_the_loop_says_which_projects_lag(bad_version: tuple[Path, Path], tmp_path: Path) -> None:
    repository, _ = bad_version
    folder = tmp_path / "clones"
    folder.mkdir()
    start(repository, folder / "old", "v1.1.0")
    start(repository, folder / "new", "v1.2.0")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", block("lag")],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert {name: json.loads(said)["update_available"] for name, said in lines} == {
        "new/": False,
        "old/": True,
    }
