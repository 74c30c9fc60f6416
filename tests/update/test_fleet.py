"""tools/fleet.py: many projects in one table, and their updates on branches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleet_projects import ANSWERS, GitError, RefusedError, base_of, find, read, what_is_wrong
from fleet_update import Row, _bring_back, branch_name, newest
from render.projects import ROOT, commit, files, git, recorded, release, start, update
from update.versions import clone

FLEET = ROOT / "tools" / "fleet.py"
BRANCH = "template-update/2.0.0"


def fleet(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the tool, as a person would."""
    return subprocess.run(
        [sys.executable, str(FLEET), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """What --json says, by the names of the projects' folders."""
    assert "Traceback" not in done.stderr
    return {Path(row["project"]).name: row for row in json.loads(done.stdout)["projects"]}


def state(project: Path) -> tuple[dict[str, bytes], str, str, str]:
    """All of a checkout that its owner sees: files, branch and commit, status, worktrees."""
    return (
        files(project),
        (project / ".git/HEAD").read_text(encoding="utf-8") + git(project, "rev-parse", "HEAD"),
        git(project, "status", "--porcelain"),
        git(project, "worktree", "list"),
    )


def branches(project: Path) -> list[str]:
    return git(project, "branch", "--list", "--format=%(refname:short)").split()


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory, history: Path) -> dict[str, Path]:
    """A committed project of three versions of the template; nobody changes them."""
    folder = tmp_path_factory.mktemp("fleet-projects")
    return {
        "old": start(history, folder / "old", "v1.2.0"),
        "ended": start(history, folder / "ended", "v1.1.0", compute_platform="cu128"),
        "new": start(history, folder / "new", "v2.0.0"),
    }


@pytest.fixture
def project(versions: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """Makes a checkout in tmp_path/clones."""

    def make(name: str, kind: str = "old") -> Path:
        return Path(shutil.copytree(versions[kind], tmp_path / "clones" / name))

    return make


def edit(project: Path, file: str, old: str, new: str, *, committed: bool = True) -> None:
    path = project / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8", newline="")
    if committed:
        commit(project)


def ignore(project: Path, file: str) -> None:
    """Let git ignore a file that it had."""
    (project / ".git/info/exclude").write_text(f"{file}\n", encoding="utf-8")
    git(project, "rm", "--quiet", "--cached", file)
    git(project, "commit", "--quiet", "--message", "Ignored")


def switch_from_the_default(project: Path) -> None:
    """Have the branch `feature` checked out, in a clone of a remote whose default is main."""
    git(project, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(project, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    git(project, "checkout", "--quiet", "-b", "feature")


# How each project of the fleet is made unusable, and what is said of it.
REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "dirty": (
        lambda p: edit(p, "README.md", "## Run", "## Mine", committed=False),
        "Work is not committed (README.md): commit it or stash it.",
    ),
    "interrupted": (
        lambda p: edit(p, ANSWERS, "_commit: v1.2.0", "_commit: v2.0.0", committed=False),
        f"An update was interrupted, or is not committed yet ({ANSWERS} has changed): commit it",
    ),
    "no-yaml": (
        lambda p: edit(p, ANSWERS, "license: MIT", "license: [MIT"),
        f"{ANSWERS}, line ",
    ),
    "list": (
        lambda p: edit(p, ANSWERS, (p / ANSWERS).read_text(encoding="utf-8"), "- MIT\n"),
        f"{ANSWERS} is not a list of `name: answer` lines. Restore it: `git log -- {ANSWERS}`",
    ),
    "wrong-type": (
        lambda p: edit(p, ANSWERS, "compute_platform: cpu", "compute_platform: [cpu]"),
        f"{ANSWERS}: compute_platform is ['cpu'], which is no text.",
    ),
    "renamed": (
        lambda p: edit(p, ANSWERS, "compute_platform: cpu", "platform: cpu"),
        f"{ANSWERS} has no answer to compute_platform.",
    ),
    "unknown-value": (
        lambda p: edit(p, ANSWERS, "compute_platform: cpu", "compute_platform: cu999"),
        "compute_platform: 'cu999' is not on offer: choose ",
    ),
    "no-version": (
        lambda p: edit(p, ANSWERS, "_commit: v1.2.0", "_commit: v0.9.0"),
        f"{ANSWERS} records version v0.9.0, which the template does not have:",
    ),
    "no-template": (
        lambda p: edit(p, ANSWERS, recorded(p)["_src_path"], "/nowhere/torch-starter"),
        "Its template, /nowhere/torch-starter, is no git repository that can be found.",
    ),
    "not-ours": (
        lambda p: edit(
            p,
            ANSWERS,
            (p / ANSWERS).read_text(encoding="utf-8"),
            "_commit: v1\n_src_path: https://user:secret@example.com/other.git\n",
        ),
        "It was made from another template, https://example.com/other.git: leave it out.",
    ),
    "ignored": (
        lambda p: ignore(p, ANSWERS),
        f"{ANSWERS} is not committed: run `git add --force {ANSWERS}` there and commit it.",
    ),
    "no-git": (lambda p: shutil.rmtree(p / ".git"), "It is in no git repository: commit it to"),
}


@pytest.mark.slow
def test_a_fleet_is_told_updated_and_recognized_again(
    project: Callable[..., Path], tmp_path: Path
) -> None:
    clones = tmp_path / "clones"
    good = {name: project(name, name) for name in ("old", "ended", "new")}
    conflict = project("conflict")
    edit(conflict, "pyproject.toml", '"torch==2.13.0"', '"torch>=2.13"')
    for name, (damage, _) in REFUSED.items():
        damage(project(name))
    (clones / "unrelated").mkdir()
    switch_from_the_default(good["new"])
    before = {path.name: state(path) for path in clones.iterdir() if (path / ".git").exists()}

    done = fleet("--trust", "--json", clones)
    assert done.returncode == 1
    told = rows(done)
    assert set(told) == {*good, "conflict", *REFUSED}
    for name, (_, said) in REFUSED.items():
        assert told[name]["state"] == "refused", told[name]
        assert told[name]["reason"].startswith(said)
    assert "secret" not in done.stdout
    assert json.loads(done.stdout)["left_out"] == [str(clones / "unrelated")]
    assert told["new"]["state"] == "up to date"
    assert (told["new"]["base"], told["old"]["base"]) == ("feature", "main")
    assert {key: told["old"][key] for key in ("state", "torch", "torch_version", "version")} == {
        "state": "update",
        "torch": "2.13.0+cpu",
        "torch_version": "latest",
        "version": "v1.2.0",
    }
    assert (told["old"]["new_version"], told["old"]["new_torch"]) == ("2.0.0", "2.14.1+cpu")
    assert told["old"]["changed"].startswith("torch 2.13.0+cpu -> 2.14.1+cpu; torchvision ")
    assert told["ended"]["minimum_driver"] == {
        "linux-x86_64": "525.60.13",
        "linux-aarch64": "525.60.13",
        "windows-amd64": "528.33",
    }
    assert "cu128 has ended: torch 2.12.0" in told["ended"]["message"]
    assert told["conflict"]["state"] == "conflict"
    assert told["conflict"]["conflicts"] == ["pyproject.toml"]
    after = {path.name: state(path) for path in clones.iterdir() if (path / ".git").exists()}
    assert after == before
    assert branches(good["old"]) == ["main"]

    done = fleet("--trust", "--apply", clones)
    assert done.returncode == 1
    lines = {Path(line.split()[0]).name: line for line in done.stdout.splitlines() if line.strip()}
    assert "branch made: torch 2.13.0+cpu -> 2.14.1+cpu; torchvision " in lines["old"]
    assert (
        " cu128     2.11.0+cu128 (latest)  1.1.0 -> 2.0.0  branch made: the same" in lines["ended"]
    )
    assert "conflict in pyproject.toml (else: torch 2.13.0+cpu -> 2.14.1+cpu" in lines["conflict"]
    assert f"{good['ended']}:\ncu128 has ended: torch 2.12.0 of 2026-05-13 " in done.stdout
    assert lines["new"].endswith(" up to date (on branch feature)")
    assert done.stdout.endswith(
        f"{len(told)} projects: 1 up to date, 2 branch made, 1 conflict, {len(REFUSED)} refused;"
        f" left out, with no {ANSWERS}: {clones / 'unrelated'}\n"
    )
    after = {path.name: state(path) for path in clones.iterdir() if (path / ".git").exists()}
    assert after == before
    assert branches(conflict) == ["main"]
    for name in ("old", "ended"):
        assert branches(good[name]) == ["main", BRANCH]
        message = git(good[name], "log", "-1", "--format=%B", BRANCH)
        assert message.startswith("Update the template to 2.0.0\n\nmy-torch-project is up to date")
        assert git(good[name], "rev-parse", f"{BRANCH}~1") == git(good[name], "rev-parse", "main")
    by_hand = update(Path(shutil.copytree(good["old"], tmp_path / "by-hand")))
    git(good["old"], "checkout", "--quiet", BRANCH)
    assert files(good["old"]) == files(by_hand)
    git(good["old"], "checkout", "--quiet", "main")

    git(good["ended"], "commit", "--quiet", "--allow-empty", "--message", "Newer work")
    done = fleet("--trust", "--apply", "--json", good["old"], good["ended"])
    told = rows(done)
    assert told["old"]["state"] == "branch is there"
    assert told["old"]["changed"].startswith("torch 2.13.0+cpu -> 2.14.1+cpu")
    assert told["ended"]["reason"].startswith(f"The branch {BRANCH} is there, but does not have")


@pytest.mark.slow
def test_checkouts_of_every_shape_get_their_branch(
    project: Callable[..., Path], versions: dict[str, Path], tmp_path: Path
) -> None:
    """A folder of a larger repository, a shallow clone, a linked worktree on no branch."""
    larger, subfolder = tmp_path / "larger", "services/my a..b.lock"
    shutil.copytree(versions["old"], larger / subfolder, ignore=shutil.ignore_patterns(".git"))
    (larger / "README.md").write_text("# Ours\n", encoding="utf-8")
    git(larger, "init", "--quiet")
    commit(larger)
    (larger / "draft.txt").write_text("not of the project\n", encoding="utf-8")
    full = project("full")
    git(full, "commit", "--quiet", "--allow-empty", "--message", "More")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=1", full.as_uri(), str(shallow))
    linked = tmp_path / "linked \u00e4nd spaced"
    git(full, "worktree", "add", "--quiet", "--detach", str(linked))
    paths = tmp_path / "paths.txt"
    paths.write_text(f"{shallow}\n\n{linked}\n", encoding="utf-8")

    done = fleet("--trust", "--apply", "--json", "--list", paths, larger / subfolder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["state"] for row in rows(done).values()] == ["branch made"] * 3
    branch = branch_name("2.0.0", Path(subfolder))
    assert branches(larger) == ["main", branch]
    tip = git(larger, "ls-tree", "-r", "--name-only", branch).splitlines()
    assert {"README.md", f"{subfolder}/README.md"} <= set(tip)
    changed = git(larger, "diff", "--name-only", "main", branch).splitlines()
    assert changed
    assert all(name.startswith(f"{subfolder}/") for name in changed)
    for checkout in (shallow, linked):
        assert "_commit: v2.0.0" in git(checkout, "show", f"{BRANCH}:{ANSWERS}")
        assert git(checkout, "status", "--porcelain") == ""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="git's trace has other paths there")
def test_a_private_template_is_fetched_once_and_trust_is_asked_for(
    project: Callable[..., Path], history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address in the answers is replaced by git's own setting, as one with a token is."""
    template = clone(history, tmp_path / "server/torch-starter.git")
    (template / "NOTES.md").write_text("new\n", encoding="utf-8")
    release(template, "v2.1.0rc1")
    public = "https://git.example.com/torch-starter.git"
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{template.parent.as_uri()}/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://git.example.com/")
    one, two = project("one"), project("two")
    for path in (one, two):
        edit(path, ANSWERS, recorded(path)["_src_path"], public)
    done = fleet("--json", one)
    assert done.returncode == 1
    reason = rows(done)["one"]["reason"]
    assert reason.startswith(f"Its template, {public}, is not trusted: add the address to `trust`")

    settings = tmp_path / "settings.yml"
    settings.write_text("trust: ['https://git.example.com/']\n", encoding="utf-8")
    monkeypatch.setenv("COPIER_SETTINGS_PATH", str(settings))
    monkeypatch.setenv("GIT_TRACE2_EVENT", str(tmp_path / "trace"))
    done = fleet("--apply", "--json", "--prereleases", one, two)
    assert done.returncode == 0, done.stdout
    assert {row["branch"] for row in rows(done).values()} == {"template-update/2.1.0rc1"}
    answers = git(one, "show", f"template-update/2.1.0rc1:{ANSWERS}")
    assert f"_src_path: {public}\n" in answers
    assert "_commit: v2.1.0rc1\n" in answers
    trace = (tmp_path / "trace").read_text(encoding="utf-8")
    commands = [json.loads(line) for line in trace.splitlines() if '"event":"start"' in line]
    served = [c["argv"] for c in commands if "upload-pack" in c["argv"][0] + c["argv"][1]]
    assert sum(str(template) in argv for argv in served) == 1, served


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
        _bring_back(top, tmp_path / "nowhere", "other")


def test_a_token_in_an_address_is_not_shown() -> None:
    row = Row("project", template="https://user:secret@example.com/org/torch-starter.git")
    assert row.as_json()["template"] == "https://example.com/org/torch-starter.git"


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


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs a terminal of POSIX")
@pytest.mark.parametrize("color", [True, False])
def test_a_terminal_gets_a_bar_colors_and_lines_that_fit(
    project: Callable[..., Path], color: bool
) -> None:
    from terminal import Terminal

    command: list[str | Path] = [sys.executable, FLEET, "--trust"]
    command.append(project("old") if color else project("new", "new"))
    environment = {} if color else {"NO_COLOR": "1"}
    terminal = Terminal(command, (100, 40), ROOT, environment)
    terminal.type("", until="1 projects")
    assert terminal.finish() == 0
    screen = terminal.screen
    text = "\n".join(screen.display)
    assert ("1.2.0 -> 2.0.0" if color else "up to date") in text
    colored = any(screen.buffer[y][x].fg != "default" for y in range(40) for x in range(100))
    assert colored is color
