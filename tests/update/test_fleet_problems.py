"""What tools/fleet.py cannot update is left out or refused, with one sentence that says why."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_projects import ANSWERS, GitError, RefusedError, base_of, find, read, what_is_wrong
from fleet_update import Row, _bring_back, branch_name, newest
from render.projects import commit, git
from update.fleet_helpers import BRANCH, FLEET, fleet, rows, switch_from_the_default


def test_what_is_no_project_is_left_out_and_named(tmp_path: Path) -> None:
    """One with another answers file, one that lies deeper, and what is none at all."""
    for name in ("custom", "team/deep", ".cache"):
        (tmp_path / "mo" / name).mkdir(parents=True)
    (tmp_path / "mo/notes.txt").touch()
    (tmp_path / "mo/custom/.copier-answers.torch.yml").touch()
    deep = tmp_path / "mo/team/deep"
    (deep / ANSWERS).touch()
    custom, team = tmp_path / "mo/custom", tmp_path / "mo/team"
    assert find([tmp_path / "mo"]) == ([], [custom, team])
    assert find([tmp_path / "mo", team]) == ([deep], [custom])

    done = fleet("mo", cwd=tmp_path)
    assert done.returncode == 2
    left_out = f"left out, with no {ANSWERS}: {Path('mo/custom')}, {Path('mo/team')}\n"
    assert done.stderr.endswith(f"name checkouts, or a folder that has some; {left_out}")
    assert rows(fleet("--json", custom))["custom"]["reason"] == (
        f"It has .copier-answers.torch.yml, and fleet.py reads only {ANSWERS}: run"
        " `copier update --answers-file .copier-answers.torch.yml` there."
    )


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_folder_that_cannot_be_read_is_left_out_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    Path("lost+found").mkdir(mode=0o000)
    Path("project").mkdir(mode=0o755)
    Path("project", ANSWERS).touch()
    user = os.geteuid()
    if user == 0:  # who may read everything
        os.seteuid(65534)
    try:
        assert find([Path()]) == ([Path("project")], [Path("lost+found")])
        assert find([Path("lost+found")]) == ([Path("lost+found")], [])
        with pytest.raises(RefusedError, match="may not be read by you: change its permissions"):
            read(Path("lost+found"))
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        (
            "git@example.com: Permission denied (publickey).\n"
            "fatal: Could not read from remote repository.\n\n"
            "Please make sure you have the correct access rights\nand the repository exists.\n",
            "fatal: Could not read from remote repository",
        ),
        ("error: first\nfatal: second\n", "error: first"),
        ("something\nelse\n\n", "else"),
        ("", "no output"),
    ],
)
def test_of_what_git_prints_the_error_is_shown(printed: str, line: str) -> None:
    assert what_is_wrong(printed) == line


@pytest.mark.slow
def test_what_git_refuses_is_a_sentence_with_what_to_do(
    project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet", "empty")
    problem = newest(str(tmp_path / "empty"), tmp_path / "fetched", prereleases=False).problem
    assert "cannot be read (fatal: ambiguous argument 'HEAD^{commit}': unknown" in problem
    assert problem.endswith(f"Run `git ls-remote {tmp_path / 'empty'}` to see all of it.")

    broken = project("broken")
    name = git(broken, "rev-parse", "HEAD^{tree}").strip()
    (broken / ".git/objects" / name[:2] / name[2:]).unlink()
    told = rows(fleet("--json", "--trust", broken))["broken"]
    assert told["state"] == "failed", told["reason"]
    assert told["reason"].startswith("git failed: error: bad tree object")
    assert told["reason"].endswith(
        ". Run `git status`, `git fsck` and `git clone` on it to see all of it."
    )

    others = project("others")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own, for its tests
    told = rows(fleet("--json", "--trust", others))["others"]
    assert (told["state"], told["reason"]) == (
        "refused",
        "git refuses it, as it belongs to another user: if you trust it, run"
        f" `git config --global --add safe.directory {others.resolve().as_posix()}`.",
    )


def test_each_subfolder_has_a_valid_branch_of_its_own(tmp_path: Path) -> None:
    names = ["libs", "libs_2", "a/b", "a-b", "a.b", "a b", "my app", "a..b", "v.lock", ".x", "x."]
    names += ["a@{b", "~^:?*[\\", "b\u00fccher", "-x"]
    found = [branch_name("2.0.0", Path(name)) for name in names]
    assert len(set(found)) == len(names)
    for branch in found:
        git(tmp_path, "check-ref-format", f"refs/heads/{branch}")
    assert branch_name("2.0.0", Path()) == BRANCH
    assert found[:2] == [f"{BRANCH}-libs", f"{BRANCH}-libs_2"]


def test_a_base_other_than_the_default_branch_is_noted(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    git(tmp_path, "checkout", "--quiet", "-b", "only/here")
    assert base_of(tmp_path) == ("only/here", None)  # nobody knows the default
    git(tmp_path, "checkout", "--quiet", "main")
    switch_from_the_default(tmp_path)
    assert base_of(tmp_path) == ("feature", "on branch feature")
    git(tmp_path, "checkout", "--quiet", "main")
    assert base_of(tmp_path) == ("main", None)
    git(tmp_path, "checkout", "--quiet", "--detach")
    name = git(tmp_path, "rev-parse", "--short", "HEAD").strip()
    assert base_of(tmp_path) == (name, f"on commit {name}")


def test_a_branch_that_another_worktree_got_meanwhile_is_a_sentence(tmp_path: Path) -> None:
    top, trial = tmp_path / "top", tmp_path / "trial"
    for repository in (top, trial):
        git(tmp_path, "init", "--quiet", str(repository))
        (repository / "name").write_text(repository.name, encoding="utf-8")
        commit(repository)
    _bring_back(top, trial, BRANCH)
    git(top, "branch", "--force", BRANCH, "main")
    with pytest.raises(RefusedError, match=f"^The branch {BRANCH} was made meanwhile, for another"):
        _bring_back(top, trial, BRANCH)
    with pytest.raises(GitError, match=r"^fatal: "):
        _bring_back(top, trial, f"{BRANCH}/below")


def test_a_token_in_an_address_is_not_shown() -> None:
    row = Row("project", template="https://user:secret@example.com/org/torch-starter.git")
    assert row.as_json()["template"] == "https://example.com/org/torch-starter.git"


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no project found: name checkouts, or a folder that has some"),
        (["--jobs", "0", "x"], "--jobs is at least 1"),
        (["--list", "nowhere.txt"], "nowhere.txt cannot be read: "),
    ],
)
def test_a_wrong_command_line_is_a_sentence(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    done = fleet(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_copier_it_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-E", str(FLEET), tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert " has no plumbum: run this with a Python that has copier and" in done.stderr
    assert len(done.stderr.splitlines()) == 1
