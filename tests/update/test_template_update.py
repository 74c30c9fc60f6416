"""The weekly update is prepared by the project's own script: a branch, and what to say of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from render.projects import commit, git, start
from update.versions import edit
from update.weekly_update import BRANCH, WeeklyUpdate, amend, as_fleet

pytestmark = pytest.mark.skipif(os.name == "nt", reason="looks into .venv/bin")


@pytest.mark.slow
def test_a_project_of_the_newest_version_is_left_alone(history: Path, tmp_path: Path) -> None:
    weekly = WeeklyUpdate(start(history, tmp_path / "project", "v2.0.0"), tmp_path)
    assert "newest version" in weekly.done("prepare")
    assert git(weekly.project, "branch", "--list").split() == ["*", "main"]
    assert "nothing to publish" in weekly.done("publish")


@pytest.mark.slow
def test_a_conflict_makes_a_draft_that_lists_the_files(weekly: WeeklyUpdate) -> None:
    text = weekly.done("prepare")
    assert "my-torch-project is up to date: torch 2.14.1 for CPU." in text
    assert "Changed: torch 2.13.0+cpu -> 2.14.1+cpu" in text
    assert "\n- pyproject.toml\n" in text
    assert "README.md" not in text
    assert weekly.ready == {"version": "2.0.0", "draft": True, "text": text[:-1]}
    assert git(weekly.project, "status", "--porcelain") == ""
    assert not weekly.pushed()  # that needs the token

    weekly.done("publish", token="secret")

    assert weekly.pushed()
    assert "- pyproject.toml" in weekly.host.request.pop("body")
    assert weekly.host.request == {
        "head": BRANCH,
        "base": "main",
        "title": "Update the template to 2.0.0",
        "draft": True,
    }
    assert "<<<<<<<" in git(weekly.remote, "show", f"{BRANCH}:pyproject.toml")
    assert "_commit: v2.0.0" in git(weekly.remote, "show", f"{BRANCH}:.copier-answers.yml")
    assert "_commit: v1.2.0" in git(weekly.remote, "show", "main:.copier-answers.yml")


@pytest.mark.slow
def test_it_can_be_prepared_again(prepared: WeeklyUpdate) -> None:
    first = git(prepared.project, "rev-parse", f"{BRANCH}^{{tree}}")
    git(prepared.project, "switch", "--quiet", "main")
    prepared.done("prepare")
    assert git(prepared.project, "rev-parse", f"{BRANCH}^{{tree}}") == first


@pytest.mark.some(1)
@pytest.mark.slow
@pytest.mark.parametrize("work", [amend, as_fleet, commit])
def test_work_on_the_branch_is_kept(prepared: WeeklyUpdate, work: Callable[[Path], None]) -> None:
    project = prepared.project
    work(project)
    git(project, "switch", "--quiet", "main")
    before = git(project, "rev-parse", BRANCH)
    assert prepared.refused("prepare") == (
        f"The branch {BRANCH} is there already, with commits of its own. Merge it, or delete it"
        f" (`git branch -D {BRANCH}`), then run this again.\n"
    )
    assert git(project, "rev-parse", BRANCH) == before
    assert git(project, "branch", "--show-current").strip() == "main"


@pytest.mark.slow
@pytest.mark.parametrize("detached", [False, True])
def test_where_git_does_not_commit_everything_is_as_before(
    weekly: WeeklyUpdate, detached: bool
) -> None:
    project = weekly.project
    git(project, "config", "commit.gpgsign", "true")
    git(project, "config", "gpg.program", "false")
    git(project, "branch", BRANCH, "main")
    if detached:
        git(project, "checkout", "--quiet", "--detach")
    before, head = git(project, "branch", "--list", "--verbose"), git(project, "rev-parse", "HEAD")
    said = weekly.refused("prepare")
    assert said.startswith("git does not commit the update here (error: gpg failed to sign")
    assert "commit.gpgsign" in said
    assert git(project, "branch", "--list", "--verbose") == before
    assert git(project, "rev-parse", "HEAD") == head
    assert git(project, "status", "--porcelain") == ""
    assert not weekly.report.exists()


@pytest.mark.slow
def test_what_is_ignored_stays_where_git_does_not_commit(history: Path, tmp_path: Path) -> None:
    project = start(history, tmp_path / "project", "v1.2.0")
    script = "open('.gitignore', 'w').close()\nopen('new.txt', 'w').close()\nraise SystemExit(1)\n"
    (project / "scripts/torch_starter/bootstrap.py").write_text(script, encoding="utf-8")
    commit(project)
    own = project / ".venv/own.txt"
    own.parent.mkdir()
    own.write_text("mine\n", encoding="utf-8")
    git(project, "config", "commit.gpgsign", "true")
    git(project, "config", "gpg.program", "false")
    WeeklyUpdate(project, tmp_path).refused("prepare")
    assert own.read_text(encoding="utf-8") == "mine\n"
    assert not (project / "new.txt").exists()
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.slow
def test_an_update_that_is_refused_fails_with_its_sentence(history: Path, tmp_path: Path) -> None:
    project = start(history, tmp_path / "project", "v1.1.0")
    edit(project, ".copier-answers.yml", "license: MIT", "license: GPL")
    commit(project)
    weekly = WeeklyUpdate(project, tmp_path)
    git(project, "branch", BRANCH)
    result = weekly.run("prepare")
    assert result.returncode == 1
    assert "license: 'GPL' is not on offer: choose MIT" in result.stderr
    assert "Traceback" not in result.stderr
    assert git(project, "branch", "--list").split() == ["*", "main", BRANCH]
    assert git(project, "status", "--porcelain") == ""
    assert not weekly.report.exists()


@pytest.mark.slow
@pytest.mark.parametrize("status", [1, 5])  # 5 is not pytest's here, which found no tests
def test_a_failing_installation_makes_a_draft_with_its_output(
    history: Path, tmp_path: Path, status: int
) -> None:
    project = start(history, tmp_path / "project", "v1.2.0")
    script = f'import sys\nprint("no room", file=sys.stderr)\nsys.exit({status})\n'
    (project / "scripts/torch_starter/bootstrap.py").write_text(script, encoding="utf-8")
    commit(project)
    weekly = WeeklyUpdate(project, tmp_path)
    text = weekly.done("prepare")
    assert "Locking and installing failed:\n\nno room\n" in text
    assert "tested" not in text
    assert weekly.ready["draft"] is True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (
            "license: [MIT\n",
            "Copier stopped (yaml.parser.ParserError: while parsing a flow sequence",
        ),
        ("- MIT\n", "Copier stopped (AttributeError: 'list' object has no attribute 'items')."),
        ("license: MIT\n", "Cannot check because cannot obtain old template references from"),
    ],
)
def test_answers_that_cannot_be_read_are_one_sentence(
    history: Path, tmp_path: Path, answers: str, said: str
) -> None:
    project = start(history, tmp_path / "project", "v1.2.0")
    (project / ".copier-answers.yml").write_text(answers, encoding="utf-8")
    commit(project)
    result = WeeklyUpdate(project, tmp_path).run("prepare")
    assert result.returncode == 1
    assert result.stderr.startswith(said)
    assert len(result.stderr.splitlines()) == 1
    assert ("`git log -p -- .copier-answers.yml` shows" in result.stderr) is ("stopped" in said)
    assert git(project, "branch", "--list").split() == ["*", "main"]


@pytest.mark.slow
def test_a_missing_copier_is_one_sentence(weekly: WeeklyUpdate) -> None:
    said = weekly.refused("prepare", "--copier", "no-such-copier")
    assert said.startswith("no-such-copier cannot be run: ")
