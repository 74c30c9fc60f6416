"""tools/refresh_pull_request.py: what it proposes of a refresh, and what it never touches."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import changelog
import refresh_pull_request
from publishing import StopError
from refresh_pull_request import BRANCH, BY_HAND, HOW, MATRIX, NEW, PROJECTS, WRITTEN, parts, words
from render.projects import git
from repo.publishing_helpers import GitHub, hosted, with_gh

TEXT = f"{NEW}\n\n- torch 2.16.0\n- torch 2.16.1\n\n{BY_HAND}\n\n- torch 2.16.1 (gap): no GPUs"


class Refresh:
    """A refresh that was prepared, and its publication by a job of each day."""

    def __init__(self, folder: Path, github: GitHub) -> None:
        self.folder, self.github = folder, github
        self.change(MATRIX, "new\n")

    def change(self, name: str, content: str, text: str = TEXT) -> None:
        """Prepare the change of a file, and of CHANGELOG.md."""
        work, report = self.folder / "work", self.folder / "prepared"
        report.mkdir(exist_ok=True)
        (work / name).write_text(content, encoding="utf-8")
        with (work / "CHANGELOG.md").open("a", encoding="utf-8") as file:
            file.write("- New.\n")
        git(work, "add", "--all")
        git(work, "diff", "--cached", "--binary", f"--output={report / 'refresh.patch'}")
        git(work, "reset", "--quiet", "--hard")
        (report / "text.md").write_text(f"{text}\n", encoding="utf-8")

    def publish(self, *, tests: str = "success", ci: bool = False) -> str:
        """Publish from a new clone; what was done."""
        clone, report = self.folder / "clone", self.folder / "report"
        shutil.rmtree(clone, ignore_errors=True)
        shutil.rmtree(report, ignore_errors=True)
        git(self.folder, "clone", "--quiet", str(self.github.remote), str(clone))
        shutil.copytree(self.folder / "prepared", report)
        return refresh_pull_request.publish(clone, report, tests, starts_ci=ci)

    def pushed(self) -> str | None:
        """Where the branch of the host is."""
        return self.github.refs().get(BRANCH)


@pytest.fixture
def refresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refresh:
    files = dict.fromkeys(WRITTEN, "old\n") | {"tools/one.py": "old\n"}
    return Refresh(tmp_path, with_gh(hosted(tmp_path, monkeypatch, files)))


def test_one_commit_on_main_and_a_pull_request_with_the_words(refresh: Refresh) -> None:
    assert refresh.publish() == "https://example.com/pull/1"
    remote = refresh.github.remote
    assert git(remote, "rev-parse", f"{BRANCH}^") == git(remote, "rev-parse", "main")
    changed = git(remote, "diff", "--name-only", "main", BRANCH).split()
    assert changed == ["CHANGELOG.md", MATRIX]
    message = git(remote, "log", "-1", "--format=%B", BRANCH).strip()
    title, _, *lines, digest = message.splitlines()
    assert (title, lines) == (refresh_pull_request.TITLE, ["- torch 2.16.0", "- torch 2.16.1", ""])
    assert digest.startswith("Refresh: ")
    ((*words,),) = refresh.github.asked("pr", "create")
    assert words[2:6] == ["--base", "main", "--head", BRANCH]
    assert "--draft" not in words
    text = refresh.github["text"]
    assert text.startswith(f"{TEXT}\n\n{HOW}\n\nAll tests pass with it")
    assert "CI has not started by itself" in text


def test_the_same_on_the_next_day_is_not_pushed_again(refresh: Refresh) -> None:
    refresh.change(MATRIX, "reviewed: 2026-11-27\nnew\n")
    refresh.publish()
    first = refresh.pushed()
    refresh.change(MATRIX, "reviewed: 2026-11-28\nnew\n")
    assert refresh.publish(ci=True) == "Pull request #1 is up to date."
    assert refresh.pushed() == first
    assert "CI has not started" not in refresh.github["text"]
    assert len(refresh.github.asked("pr", "create")) == 1


def test_more_or_a_newer_main_takes_the_place_of_the_commit(refresh: Refresh) -> None:
    refresh.publish()
    remote = refresh.github.remote
    refresh.change(MATRIX, "other facts, in the same words\n")
    refresh.publish()
    assert git(remote, "show", f"{BRANCH}:{MATRIX}") == "other facts, in the same words\n"
    refresh.change(MATRIX, "newer\n", TEXT.replace("2.16.1", "2.16.2"))
    refresh.publish()
    assert git(remote, "show", f"{BRANCH}:{MATRIX}") == "newer\n"
    assert git(remote, "rev-list", "--count", f"main..{BRANCH}").strip() == "1"
    work = refresh.folder / "work"
    (work / "tools" / "one.py").write_text("newer\n", encoding="utf-8")
    git(work, "commit", "--quiet", "--all", "--message", "Meanwhile")
    git(work, "push", "--quiet", "origin", "main")
    assert refresh.publish() == "Pull request #1 is up to date."
    assert git(remote, "rev-parse", f"{BRANCH}^") == git(remote, "rev-parse", "main")


def test_what_the_tests_refuse_is_a_draft_until_they_pass(refresh: Refresh) -> None:
    refresh.publish(tests="failure")
    assert refresh.github["requests"][0]["isDraft"] is True
    assert "Tests **fail** with it" in refresh.github["text"]
    refresh.publish()
    assert refresh.github["requests"][0]["isDraft"] is False
    refresh.publish(tests="cancelled")
    assert refresh.github["requests"][0]["isDraft"] is True
    assert "The tests did not end" in refresh.github["text"]


def test_commits_of_others_stay(refresh: Refresh) -> None:
    refresh.publish()
    work = refresh.folder / "work"
    git(work, "fetch", "--quiet", "origin", BRANCH)
    git(work, "checkout", "--quiet", "FETCH_HEAD")
    git(work, "commit", "--quiet", "--allow-empty", "--message", "By hand")
    git(work, "push", "--quiet", "origin", f"HEAD:{BRANCH}")
    theirs = refresh.pushed()
    with pytest.raises(StopError, match="has commits of others, which stay as they are"):
        refresh.publish()
    assert refresh.pushed() == theirs


def test_what_somebody_closed_is_not_opened_again_until_there_is_more(refresh: Refresh) -> None:
    refresh.publish()
    (request,) = refresh.github["requests"]
    refresh.github.set(requests=[request | {"state": "CLOSED"}])
    assert refresh.publish() == f"Pull request #1 was closed. Delete {BRANCH} to get it again."
    refresh.change(MATRIX, "newer\n", TEXT.replace("2.16.1", "2.16.2"))
    refresh.publish()
    assert [one["number"] for one in refresh.github["requests"]] == [1, 2]


def test_a_merged_branch_that_was_not_deleted_is_used_again(refresh: Refresh) -> None:
    refresh.publish()
    git(refresh.github.remote, "update-ref", "refs/heads/main", BRANCH)
    (request,) = refresh.github["requests"]
    refresh.github.set(requests=[request | {"state": "MERGED"}])
    git(refresh.folder / "work", "pull", "--quiet", "origin", "main")
    refresh.change(MATRIX, "newer\n")
    assert refresh.publish() == "https://example.com/pull/1"
    assert [one["state"] for one in refresh.github["requests"]] == ["MERGED", "OPEN"]


def test_a_pull_request_of_a_fork_is_not_ours(refresh: Refresh) -> None:
    other = {"number": 7, "state": "OPEN", "isDraft": False, "isCrossRepository": True}
    refresh.github.set(requests=[other])
    assert refresh.publish() == "https://example.com/pull/1"


def test_a_patch_of_anything_else_is_refused(refresh: Refresh) -> None:
    refresh.change("tools/one.py", "import os\n")
    with pytest.raises(StopError, match=r"tools/one\.py, which it does not write"):
        refresh.publish()
    refresh.change("tools/two.py", "import os\n")
    with pytest.raises(StopError, match=r"tools/two\.py, which it does not write"):
        refresh.publish()
    work = refresh.folder / "work"
    (work / "README.md").unlink()
    refresh.change(MATRIX, "new\n")
    with pytest.raises(StopError, match=r"more than change texts: delete mode 100644 README\.md"):
        refresh.publish()
    (work / "README.md").chmod(0o755)
    refresh.change(MATRIX, "new\n")
    with pytest.raises(StopError, match="more than change texts: mode change"):
        refresh.publish()
    assert refresh.pushed() is None
    assert refresh.github["asked"] == []


def test_a_push_that_is_refused_opens_nothing(refresh: Refresh) -> None:
    hook = refresh.github.remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho no token may write here >&2\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    with pytest.raises(StopError, match="no token may write here"):
        refresh.publish()
    assert refresh.github.asked("pr", "create") == []


TOLD = {NEW: ["torch 2.16.0", "torch 2.16.1"], BY_HAND: ["torch 2.16.1 (gap): no GPUs"]}


def test_the_parts_have_their_places_in_the_changelog() -> None:
    assert parts(json.dumps({"parts": TOLD}), "") == TOLD
    assert words(TOLD) == TEXT
    assert {*refresh_pull_request.GROUPS} == {NEW, PROJECTS}
    assert {*refresh_pull_request.GROUPS.values()} <= {*changelog.KINDS}
    with pytest.raises(StopError, match="tells 'Something else:', which has no place"):
        parts(json.dumps({"parts": {"Something else:": ["One"]}}), "")


@pytest.mark.parametrize("ends", ["1 / 0", "print('{}')", "import sys; sys.exit('no index')"])
def test_a_refresh_that_ends_too_early_proposes_nothing_and_says_why(
    tmp_path: Path, ends: str
) -> None:
    tool = tmp_path / "tools" / "refresh_matrix.py"
    tool.parent.mkdir()
    tool.write_text(f"{ends}\n", encoding="utf-8")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "One")
    why = {"1 / 0": "ZeroDivisionError", "print('{}')": "no JSON"}.get(ends, "no index")
    with pytest.raises(StopError, match=rf"(?s)nothing is proposed: .*{why}"):
        refresh_pull_request.prepare(tmp_path, tmp_path / "report", [], names=False)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("before", [{}, TOLD, {NEW: ["torch 2.16.0"]}])
def test_where_pypi_does_not_answer_the_names_are_left_to_a_person(
    tmp_path: Path, before: dict[str, list[str]]
) -> None:
    tool = tmp_path / "tools" / "dependency_names.py"
    tool.parent.mkdir()
    tool.write_text("print('done')\n", encoding="utf-8")
    assert refresh_pull_request._with_names(tmp_path, before) == before
    tool.write_text("raise SystemExit('looking\\nno route to host')\n", encoding="utf-8")
    after = refresh_pull_request._with_names(tmp_path, before)
    line = after[BY_HAND].pop()
    assert line.endswith("tools/dependency_names.py ended with `no route to host`. Run it")
    assert {name: lines for name, lines in after.items() if lines} == before
