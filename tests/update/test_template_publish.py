"""The weekly update is pushed, and becomes a pull request, or a merge request on GitLab."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from render.projects import commit, git
from update.weekly_update import BRANCH, WeeklyUpdate, amend, as_fleet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="looks into .venv/bin"),
]


def test_without_a_token_nothing_is_pushed_and_it_says_which_one(prepared: WeeklyUpdate) -> None:
    result = prepared.run("publish")
    assert result.returncode == 1
    assert "GITHUB_TOKEN cannot change workflows" in result.stderr
    assert "TEMPLATE_UPDATE_TOKEN" in result.stderr
    assert not prepared.pushed()
    assert not prepared.host.asked


@pytest.fixture
def gitlab(weekly: WeeklyUpdate) -> WeeklyUpdate:
    """The project in a pipeline: a commit is checked out."""
    git(weekly.project, "checkout", "--quiet", "--detach")
    weekly.environment = {
        "GITLAB_CI": "true",
        "CI_COMMIT_BRANCH": "main",
        "CI_PROJECT_URL": f"{weekly.host.url}/org/project",
        "CI_PROJECT_ID": "7",
        "CI_API_V4_URL": f"{weekly.host.url}/api/v4",
    }
    return weekly


def test_on_gitlab_the_branch_is_pushed_and_a_draft_is_opened_once(gitlab: WeeklyUpdate) -> None:
    gitlab.done("prepare")
    said = gitlab.refused("publish")
    assert "TEMPLATE_UPDATE_TOKEN is empty. Save a project access token" in said
    assert "masked, protected, and for the environment template-update alone" in said
    assert not gitlab.pushed()

    assert gitlab.done("publish", token="secret").strip() == "https://example.com/1"
    assert gitlab.pushed()
    assert "- pyproject.toml" in gitlab.host.request.pop("description")
    assert gitlab.host.request == {
        "source_branch": BRANCH,
        "target_branch": "main",
        "title": "Draft: Update the template to 2.0.0",
    }

    assert "is there already" in gitlab.done("publish", token="secret")
    assert gitlab.host.asked == ["create", "list"]
    gitlab.host.state = "merged"
    assert gitlab.done("publish", token="secret").strip() == "https://example.com/1"


def test_a_token_that_may_not_is_one_sentence(gitlab: WeeklyUpdate) -> None:
    gitlab.done("prepare")
    assert "Authentication failed" in gitlab.refused("publish", token="wrong")
    assert not gitlab.pushed()


def test_a_branch_that_somebody_worked_on_is_not_pushed_again(weekly: WeeklyUpdate) -> None:
    git(weekly.project, "push", "--quiet", "origin", f"main:{BRANCH}")
    before = git(weekly.remote, "rev-parse", BRANCH)
    weekly.host.state = "opened"
    weekly.done("prepare")
    assert "is there already" in weekly.done("publish", token="secret")
    assert git(weekly.remote, "rev-parse", BRANCH) == before
    assert weekly.host.asked == ["list"]


def test_a_pull_request_that_somebody_closed_is_not_opened_again(prepared: WeeklyUpdate) -> None:
    prepared.done("publish", token="secret")
    prepared.host.state = "closed"
    said = prepared.done("publish", token="secret")
    assert said.strip() == (
        f"The pull request for {BRANCH} was closed: delete that branch to get it again."
    )
    assert prepared.host.asked == ["create", "list"]


def test_a_branch_without_its_pull_request_gets_it(prepared: WeeklyUpdate) -> None:
    git(prepared.project, "push", "--quiet", "origin", BRANCH)
    prepared.done("publish", token="secret")
    assert prepared.host.asked == ["list", "create"]


def prepare_in_another_clone(weekly: WeeklyUpdate) -> None:
    """As the next run of the workflow does, after something else came into the main branch."""
    git(weekly.project, "switch", "--quiet", "main")
    (weekly.project / "more.txt").write_text("", encoding="utf-8")
    commit(weekly.project)
    git(weekly.project, "push", "--quiet", "origin", "main")
    source = ["--depth=1", "--single-branch", weekly.remote.as_uri()]
    git(weekly.folder, "clone", "--quiet", *source, "clone")
    weekly.project = weekly.folder / "clone"
    weekly.done("prepare")


@pytest.mark.some(1)
@pytest.mark.parametrize("work", [amend, as_fleet, commit])
def test_no_pull_request_is_opened_for_commits_of_others(
    prepared: WeeklyUpdate, work: Callable[[Path], None]
) -> None:
    work(prepared.project)
    git(prepared.project, "push", "--quiet", "origin", BRANCH)
    before = git(prepared.remote, "rev-parse", BRANCH)
    prepare_in_another_clone(prepared)
    said = prepared.refused("publish", token="secret")
    assert said.startswith(f"origin/{BRANCH} has other commits, which are not what was prepared")
    assert "Merge it or delete it there" in said
    assert git(prepared.remote, "rev-parse", BRANCH) == before
    assert prepared.host.asked == ["list"]


def test_an_earlier_run_is_replaced_if_it_has_no_open_pull_request(prepared: WeeklyUpdate) -> None:
    git(prepared.project, "push", "--quiet", "origin", BRANCH)
    prepare_in_another_clone(prepared)
    prepared.done("publish", token="secret")
    tip = git(prepared.project, "rev-parse", BRANCH)
    assert git(prepared.remote, "rev-parse", BRANCH) == tip
    assert prepared.host.asked == ["list", "create"]


def test_an_update_that_was_merged_and_reverted_is_proposed_again(prepared: WeeklyUpdate) -> None:
    project = prepared.project
    prepared.done("publish", token="secret")
    prepared.host.state = "merged"
    git(project, "switch", "--quiet", "main")
    git(project, "merge", "--quiet", BRANCH)
    git(project, "revert", "--no-edit", "HEAD")
    git(project, "push", "--quiet", "origin", "main")
    prepared.done("prepare")
    prepared.done("publish", token="secret")
    assert git(prepared.remote, "rev-parse", BRANCH) == git(project, "rev-parse", BRANCH)
    assert prepared.host.asked == ["create", "list", "create"]


def test_a_shallow_checkout_is_enough(weekly: WeeklyUpdate) -> None:
    """Which is what the workflow has."""
    shallow = weekly.folder / "shallow"
    git(weekly.folder, "clone", "--quiet", "--depth=1", weekly.remote.as_uri(), str(shallow))
    assert git(shallow, "rev-list", "--count", "HEAD").strip() == "1"
    weekly.project = shallow
    weekly.done("prepare")
    weekly.done("publish", token="secret")
    assert "_commit: v2.0.0" in git(weekly.remote, "show", f"{BRANCH}:.copier-answers.yml")


def test_a_remote_that_refuses_is_one_sentence(prepared: WeeklyUpdate) -> None:
    hook = prepared.remote / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    assert prepared.refused("publish", token="secret").startswith("git failed: ")
    assert prepared.host.asked == []
