"""tools/fleet.py: many projects in one table, and their updates on branches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_projects import ANSWERS
from fleet_update import branch_name
from render.projects import ROOT, commit, files, git, recorded, release, update
from update.fleet_helpers import (
    BRANCH,
    FLEET,
    REFUSED,
    branches,
    edit,
    fleet,
    rows,
    state,
    switch_from_the_default,
)
from update.versions import clone


@pytest.mark.slow
def test_a_fleet_is_told_updated_and_recognized_again(
    project: Callable[..., Path], tmp_path: Path
) -> None:
    clones = tmp_path / "clones"
    good = {name: project(name, name) for name in ("old", "ended", "new")}
    conflict = project("conflict")
    edit(conflict, "pyproject.toml", '"torch == 2.13.0"', '"torch>=2.13"')
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
    project: Callable[..., Path], checkouts: dict[str, Path], tmp_path: Path
) -> None:
    """A folder of a larger repository, a shallow clone, a linked worktree on no branch."""
    larger, subfolder = tmp_path / "larger", "services/my a..b.lock"
    shutil.copytree(checkouts["old"], larger / subfolder, ignore=shutil.ignore_patterns(".git"))
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


def configured(clone: Path, evil: Path) -> None:
    """Let the configuration of a clone name a program wherever git would start one."""
    hooks = clone / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-index-change", "reference-transaction", "post-checkout", "pre-commit"):
        shutil.copy2(evil, hooks / name)
    for name, value in {
        "core.fsmonitor": str(evil),
        "core.sshCommand": str(evil),
        "core.pager": str(evil),
        "core.editor": str(evil),
        "core.alternateRefsCommand": str(evil),
        "credential.helper": f"!{evil}",
        "diff.external": str(evil),
        "diff.evil.textconv": str(evil),
        "filter.evil.clean": str(evil),
        "filter.evil.smudge": str(evil),
        "gpg.program": str(evil),
        "commit.gpgSign": "true",
        "log.showSignature": "true",
        "alias.status": f"!{evil}",
        "protocol.allow": "always",
        # What is missing is asked for here.
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": str(clone.parent),
        "remote.origin.uploadpack": str(evil),
    }.items():
        git(clone, "config", "--file", str(clone / ".git/more"), name, value)
    git(clone, "config", "include.path", "more")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the program is a shell script")
def test_no_program_is_run_that_the_configuration_of_a_clone_names(
    project: Callable[..., Path], tmp_path: Path
) -> None:
    evil, ran = tmp_path / "evil", tmp_path / "ran"
    evil.write_text(f'#!/bin/sh\necho "$0 $*" >> "{ran}"\nexit 1\n', encoding="utf-8")
    evil.chmod(0o755)
    clone, lacking = project("clone"), project("lacking")
    (clone / ".gitattributes").write_text("* filter=evil diff=evil\n", encoding="utf-8")
    shutil.copytree(project("inner", "new"), clone / "inner")
    git(clone, "add", "--all")
    commit(clone)
    signed = git(clone, "cat-file", "commit", "HEAD").replace(
        "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n x\n -----END PGP SIGNATURE-----\n\n", 1
    )
    (tmp_path / "signed").write_text(signed, encoding="utf-8")
    made = git(clone, "hash-object", "-w", "-t", "commit", str(tmp_path / "signed")).strip()
    git(clone, "update-ref", "HEAD", made)
    tree = git(lacking, "rev-parse", "HEAD^{tree}").strip()
    (lacking / ".git/objects" / tree[:2] / tree[2:]).unlink()
    for path in (clone, lacking, clone / "inner"):
        configured(path, evil)
        os.utime(path / "README.md")  # so that git looks into it
        subprocess.run(["git", "log", "-1", "--stat"], cwd=path, capture_output=True)
        subprocess.run(["git", "status"], cwd=path, capture_output=True)
        assert ran.exists(), "git by itself runs nothing there"
        ran.unlink()

    told = rows(fleet("--trust", "--apply", "--json", clone, lacking))
    assert told["clone"]["state"] == "branch made", told["clone"]
    assert told["lacking"]["state"] == "failed", told["lacking"]
    assert rows(fleet("--trust", "--json", clone))["clone"]["state"] == "branch is there"
    assert not ran.exists(), ran.read_text(encoding="utf-8")


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
