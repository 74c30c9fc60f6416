"""The weekly update is pushed, and becomes a pull request, or a merge request on GitLab."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from render.projects import commit, git
from update.weekly_update import BRANCH, WeeklyUpdate, amend, as_fleet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="the gh of these tests is a shell script"),
]


def test_without_a_token_nothing_is_pushed_and_it_says_which_one(prepared: WeeklyUpdate) -> None:
    result = prepared.run("publish")
    assert result.returncode == 1
    assert "GITHUB_TOKEN cannot change workflows" in result.stderr
    assert "TEMPLATE_UPDATE_TOKEN" in result.stderr
    assert not prepared.pushed()
    assert not prepared.asked


class MergeRequests(BaseHTTPRequestHandler):
    """GitLab's API of merge requests, as far as the script asks it."""

    known: ClassVar[list[dict[str, str]]] = []
    asked: ClassVar[list[tuple[str, str, object]]] = []

    def answer(self, data: object, body: object = None) -> None:
        self.asked.append((self.path, self.headers["PRIVATE-TOKEN"], body))
        allowed = self.headers["PRIVATE-TOKEN"] == "secret"
        self.send_response(200 if allowed else 403)
        self.end_headers()
        self.wfile.write(json.dumps(data if allowed else {}).encode())

    def do_GET(self) -> None:
        assert parse_qs(urlsplit(self.path).query)["state"] == ["all"]
        self.answer([{"state": "opened"} | one for one in self.known])

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.known.append(body)
        self.answer({"web_url": "https://example.com/1"}, body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def gitlab(weekly: WeeklyUpdate, monkeypatch: pytest.MonkeyPatch) -> Iterator[WeeklyUpdate]:
    """The project in a pipeline: a commit is checked out, and the API is on loopback."""
    MergeRequests.known.clear()
    MergeRequests.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), MergeRequests) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        git(weekly.project, "checkout", "--quiet", "--detach")
        git(weekly.project, "remote", "remove", "origin")
        for name, value in {
            "GITLAB_CI": "true",
            "CI_COMMIT_BRANCH": "main",
            "CI_PROJECT_URL": str(weekly.remote.with_suffix("")),
            "CI_PROJECT_ID": "7",
            "CI_API_V4_URL": f"http://127.0.0.1:{server.server_port}/api/v4",
        }.items():
            monkeypatch.setenv(name, value)
        yield weekly
        server.shutdown()


def test_on_gitlab_the_branch_is_pushed_and_a_draft_is_opened_once(
    gitlab: WeeklyUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gitlab.done("prepare")
    refused = gitlab.run("publish")
    assert refused.returncode == 1
    assert "TEMPLATE_UPDATE_TOKEN is empty. Save a project access token" in refused.stderr
    assert not gitlab.pushed()

    monkeypatch.setenv("TEMPLATE_UPDATE_TOKEN", "secret")
    assert gitlab.done("publish").strip() == "https://example.com/1"
    assert gitlab.pushed()
    path, _, request = MergeRequests.asked[-1]
    assert path == "/api/v4/projects/7/merge_requests"
    assert isinstance(request, dict)
    assert "- `pyproject.toml`" in request.pop("description")
    assert request == {
        "source_branch": BRANCH,
        "target_branch": "main",
        "title": "Draft: Update the template to 2.0.0",
    }

    assert "is there already" in gitlab.done("publish")
    assert len(MergeRequests.known) == 1
    MergeRequests.known[0]["state"] = "merged"
    assert gitlab.done("publish").strip() == "https://example.com/1"
    assert len(MergeRequests.known) == 2


def test_on_gitlab_a_token_that_may_not_is_one_sentence(
    gitlab: WeeklyUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gitlab.done("prepare")
    monkeypatch.setenv("TEMPLATE_UPDATE_TOKEN", "wrong")
    result = gitlab.run("publish")
    assert result.returncode == 1
    assert result.stderr.startswith("GitLab answered 403 Forbidden. Save a project access token")
    assert len(result.stderr.splitlines()) == 1


def test_a_branch_that_somebody_worked_on_is_not_pushed_again(weekly: WeeklyUpdate) -> None:
    git(weekly.project, "push", "--quiet", "origin", f"main:{BRANCH}")
    before = git(weekly.remote, "rev-parse", BRANCH)
    weekly.pull_request_exists()
    weekly.done("prepare")
    assert "is there already" in weekly.done("publish", token="secret")
    assert git(weekly.remote, "rev-parse", BRANCH) == before
    assert not any(line.startswith("pr create") for line in weekly.asked)


def test_a_pull_request_that_somebody_closed_is_not_opened_again(prepared: WeeklyUpdate) -> None:
    prepared.done("publish", token="secret")
    prepared.pull_request_exists("closed")
    said = prepared.done("publish", token="secret")
    assert said.strip() == (
        f"The pull request for {BRANCH} was closed: delete that branch to get it again."
    )
    assert [line.split()[1] for line in prepared.asked] == ["create", "list"]


def test_a_branch_without_its_pull_request_gets_it(prepared: WeeklyUpdate) -> None:
    git(prepared.project, "push", "--quiet", "origin", BRANCH)
    prepared.done("publish", token="secret")
    assert [line.split()[1] for line in prepared.asked] == ["list", "create"]


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
    assert [line.split()[1] for line in prepared.asked] == ["list"]


def test_an_earlier_run_is_replaced_if_it_has_no_open_pull_request(prepared: WeeklyUpdate) -> None:
    git(prepared.project, "push", "--quiet", "origin", BRANCH)
    prepare_in_another_clone(prepared)
    prepared.done("publish", token="secret")
    tip = git(prepared.project, "rev-parse", BRANCH)
    assert git(prepared.remote, "rev-parse", BRANCH) == tip
    assert [line.split()[1] for line in prepared.asked] == ["list", "create"]


def test_an_update_that_was_merged_and_reverted_is_proposed_again(prepared: WeeklyUpdate) -> None:
    project = prepared.project
    prepared.done("publish", token="secret")
    prepared.pull_request_exists("merged")
    git(project, "switch", "--quiet", "main")
    git(project, "merge", "--quiet", BRANCH)
    git(project, "revert", "--no-edit", "HEAD")
    prepared.done("prepare")
    prepared.done("publish", token="secret")
    assert git(prepared.remote, "rev-parse", BRANCH) == git(project, "rev-parse", BRANCH)
    assert [line.split()[1] for line in prepared.asked] == ["create", "list", "create"]


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
    git(prepared.project, "remote", "set-url", "origin", str(prepared.folder / "nowhere"))
    result = prepared.run("publish", token="secret")
    assert result.returncode == 1
    assert result.stderr.startswith("git failed: ")
    assert len(result.stderr.splitlines()) == 1
