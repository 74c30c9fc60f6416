"""The weekly update loses nothing that git does not show, and publishes nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from render.projects import commit, git
from update.weekly_update import BRANCH, WeeklyUpdate

OURS = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "protocol.file.allow=always"]


@pytest.mark.few(1)
@pytest.mark.parametrize("flag", ["skip-worktree", "assume-unchanged"])
def test_a_file_that_git_is_told_not_to_look_at_is_not_lost(
    weekly: WeeklyUpdate, flag: str
) -> None:
    readme = weekly.project / "README.md"
    git(weekly.project, "update-index", f"--{flag}", "README.md")
    readme.write_text("my own work\n", encoding="utf-8")
    said = weekly.refused("prepare")
    assert said.startswith("git is told not to look at README.md, where your changes would be lost")
    assert readme.read_text(encoding="utf-8") == "my own work\n"
    git(weekly.project, *said.partition("`git ")[2].partition("`")[0].split())
    assert "Not everything is committed" in weekly.refused("prepare")


@pytest.mark.slow
@pytest.mark.parametrize("ignore", ["all", "dirty"])
def test_a_submodule_with_work_in_it_is_not_touched(weekly: WeeklyUpdate, ignore: str) -> None:
    origin, project = weekly.folder / "origin", weekly.project
    origin.mkdir()
    (origin / "file").write_text("theirs", encoding="utf-8")
    git(origin, "init", "--quiet")
    commit(origin)
    git(project, *OURS, "submodule", "--quiet", "add", str(origin), "vendor")
    git(project, "config", "--file", ".gitmodules", "submodule.vendor.ignore", ignore)
    git(project, "config", "submodule.recurse", "true")
    commit(project)
    (project / "vendor" / "file").write_text("ours", encoding="utf-8")
    if ignore == "all":
        commit(project / "vendor")
    assert "Not everything is committed" in weekly.refused("prepare")
    assert (project / "vendor" / "file").read_text(encoding="utf-8") == "ours"


@pytest.mark.slow
def test_a_branch_that_another_worktree_has_is_not_moved(
    prepared: WeeklyUpdate, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    git(prepared.project, "switch", "--quiet", "main")
    git(prepared.project, "worktree", "add", "--quiet", str(other), BRANCH)
    (prepared.project / "new.txt").touch()
    commit(prepared.project)
    before = git(prepared.project, "rev-parse", BRANCH)
    assert f"{other} has refs/heads/{BRANCH} checked out" in prepared.refused("prepare")
    assert git(prepared.project, "rev-parse", BRANCH) == before
    assert git(other, "status", "--porcelain") == ""


@pytest.mark.slow
def test_after_a_stop_the_branch_is_the_one_that_was_there(weekly: WeeklyUpdate) -> None:
    """A tag of its name makes `git checkout main` ambiguous."""
    git(weekly.project, "tag", "main")
    git(weekly.project, "config", "user.useConfigOnly", "true")
    git(weekly.project, "config", "commit.gpgsign", "true")
    git(weekly.project, "config", "gpg.program", "/nowhere/gpg")
    assert "git does not commit the update here" in weekly.refused("prepare")
    assert git(weekly.project, "symbolic-ref", "HEAD") == "refs/heads/main\n"
    assert git(weekly.project, "status", "--porcelain") == ""


@pytest.mark.slow
def test_an_update_that_was_merged_is_not_opened_by_an_old_report(prepared: WeeklyUpdate) -> None:
    prepared.done("publish", token="secret")
    project = prepared.project
    git(project, "switch", "--quiet", "main")
    git(project, "merge", "--quiet", "--squash", BRANCH)
    commit(project)
    git(project, "push", "--quiet", "origin", "main")
    git(prepared.remote, "branch", "--quiet", "-D", BRANCH)
    prepared.host.asked.clear()
    assert prepared.done("publish", token="secret") == "main has this update already.\n"
    assert not prepared.pushed()
    assert "create" not in prepared.host.asked


@pytest.mark.slow
def test_what_is_published_beside_an_unchecked_report_has_our_own_message(
    weekly: WeeklyUpdate, prepared: WeeklyUpdate
) -> None:
    """A test can write any other into the commit: `[skip ci]`, `Closes #1`, somebody's name."""
    plain = prepared.folder / "plain"
    prepared.report.rename(plain)
    git(prepared.project, "switch", "--quiet", "main")
    git(prepared.project, "branch", "--quiet", "-D", BRANCH)
    git(prepared.project, "config", "user.name", "Somebody Else")
    git(prepared.project, "config", "user.email", "else@example.com")
    prepared.done("prepare", "--no-check")
    said = prepared.done("publish", "--unchecked", str(plain), token="secret")
    assert said == "https://example.com/1\n"
    shown = git(prepared.remote, "log", "-1", "--format=%an %ae%n%cn%n%B", BRANCH)
    assert shown.startswith(
        "template-update template-update@localhost\ntemplate-update\n"
        "Update the template to 2.0.0\n\nPrepared-Tree: "
    )
