"""The script of the weekly update, in a real git repository with a bare remote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from render.projects import commit, git, start

BRANCH = "template-update/2.0.0"
COPIER = Path(sys.executable).with_name("copier")


class Repository:
    """A project with a bare remote, and a `gh` that notes what it was asked for."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.project, self.folder = project, folder
        self.report = folder / "report"
        self.remote = folder / "remote.git"
        git(folder, "init", "--quiet", "--bare", str(self.remote))
        git(project, "remote", "add", "origin", str(self.remote))
        git(project, "push", "--quiet", "origin", "main")
        # As the workflow does: the script as it was before the update.
        self.script = Path(
            shutil.copy(project / "scripts/torch_starter/template_update.py", folder)
        )
        self._fake_gh()

    def _fake_gh(self, state: str = "") -> None:
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        gh = programs / "gh"
        known = f'[{{"state": "{state.upper()}"}}]' if state else "[]"
        gh.write_text(
            f'#!/bin/sh\ncase "$*" in "pr list"*"--state all"*) echo \'{known}\' ;; esac\n'
            f'printf "%s\\n" "$*" >> "{self.folder}/asked"\n',
            encoding="utf-8",
        )
        gh.chmod(0o755)

    def pull_request_exists(self, state: str = "open") -> None:
        self._fake_gh(state)

    def run(self, step: str, *more: str, token: str = "") -> subprocess.CompletedProcess[str]:
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        options = ["--report", str(self.report), "--copier", str(COPIER)]
        return subprocess.run(
            [sys.executable, str(self.script), step, *options, *more],
            cwd=self.project,
            env={**os.environ, "PATH": path, "GH_TOKEN": token},
            capture_output=True,
            text=True,
        )

    def done(self, step: str, *more: str, token: str = "") -> str:
        result = self.run(step, *more, token=token)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def refused(self, step: str, *more: str, token: str = "") -> str:
        """The one line that it says when it stops."""
        result = self.run(step, *more, token=token)
        assert result.returncode == 1, result.stdout + result.stderr
        assert len(result.stderr.splitlines()) == 1, result.stderr
        return result.stderr

    @property
    def asked(self) -> list[str]:
        """What gh was asked for."""
        file = self.folder / "asked"
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    @property
    def ready(self) -> dict[str, object]:
        text = (self.report / "pull-request.json").read_text(encoding="utf-8")
        return dict(json.loads(text))

    def pushed(self, branch: str = BRANCH) -> bool:
        return branch in git(self.remote, "branch", "--list", branch)


pytestmark = pytest.mark.skipif(os.name == "nt", reason="the gh of these tests is a shell script")


@pytest.fixture
def repository(history: Path, tmp_path: Path) -> Repository:
    """A project of torch 2.13 whose torch its owner changed: an update conflicts."""
    project = start(history, tmp_path / "project", "v1.2.0")
    path = project / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"torch==2.13.0"', '"torch>=2.13"'), encoding="utf-8")
    commit(project)
    return Repository(project, tmp_path)


def test_a_project_of_the_newest_version_is_left_alone(history: Path, tmp_path: Path) -> None:
    repository = Repository(start(history, tmp_path / "project", "v2.0.0"), tmp_path)
    assert "newest version" in repository.done("prepare")
    assert git(repository.project, "branch", "--list").split() == ["*", "main"]
    assert "nothing to publish" in repository.done("publish")
    assert not repository.asked


def test_a_conflict_makes_a_draft_that_lists_the_files(repository: Repository) -> None:
    text = repository.done("prepare")
    assert "my-torch-project is up to date: torch 2.14.1 for CPU." in text
    assert "Changed: torch 2.13.0+cpu -> 2.14.1+cpu" in text
    assert "\n- `pyproject.toml`\n" in text
    assert "README.md" not in text
    assert repository.ready == {
        "base": "main",
        "branch": BRANCH,
        "title": "Update the template to 2.0.0",
        "draft": True,
    }
    assert git(repository.project, "status", "--porcelain") == ""
    assert not repository.pushed()  # that needs the token

    repository.done("publish", token="secret")

    assert repository.pushed()
    create = repository.asked[-1]
    assert create.startswith("pr create --title Update the template to 2.0.0 --body-file ")
    assert create.endswith(f"--base main --head {BRANCH} --draft")
    assert "<<<<<<<" in git(repository.remote, "show", f"{BRANCH}:pyproject.toml")
    assert "_commit: v2.0.0" in git(repository.remote, "show", f"{BRANCH}:.copier-answers.yml")
    assert "_commit: v1.2.0" in git(repository.remote, "show", "main:.copier-answers.yml")


@pytest.mark.slow
def test_without_a_token_nothing_is_pushed_and_it_says_which_one(repository: Repository) -> None:
    repository.done("prepare")
    result = repository.run("publish")
    assert result.returncode == 1
    assert "GITHUB_TOKEN cannot change workflows" in result.stderr
    assert "TEMPLATE_UPDATE_TOKEN" in result.stderr
    assert not repository.pushed()
    assert not repository.asked


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
def gitlab(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """The repository in a pipeline: a commit is checked out, and the API is on loopback."""
    MergeRequests.known.clear()
    MergeRequests.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), MergeRequests) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        git(repository.project, "checkout", "--quiet", "--detach")
        git(repository.project, "remote", "remove", "origin")
        for name, value in {
            "GITLAB_CI": "true",
            "CI_COMMIT_BRANCH": "main",
            "CI_PROJECT_URL": str(repository.remote.with_suffix("")),
            "CI_PROJECT_ID": "7",
            "CI_API_V4_URL": f"http://127.0.0.1:{server.server_port}/api/v4",
        }.items():
            monkeypatch.setenv(name, value)
        yield repository
        server.shutdown()


@pytest.mark.slow
def test_on_gitlab_the_branch_is_pushed_and_a_draft_is_opened_once(
    gitlab: Repository, monkeypatch: pytest.MonkeyPatch
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


@pytest.mark.slow
def test_on_gitlab_a_token_that_may_not_is_one_sentence(
    gitlab: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    gitlab.done("prepare")
    monkeypatch.setenv("TEMPLATE_UPDATE_TOKEN", "wrong")
    result = gitlab.run("publish")
    assert result.returncode == 1
    assert result.stderr.startswith("GitLab answered 403 Forbidden. Save a project access token")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_branch_that_somebody_worked_on_is_not_pushed_again(repository: Repository) -> None:
    git(repository.project, "push", "--quiet", "origin", f"main:{BRANCH}")
    before = git(repository.remote, "rev-parse", BRANCH)
    repository.pull_request_exists()
    repository.done("prepare")
    assert "is there already" in repository.done("publish", token="secret")
    assert git(repository.remote, "rev-parse", BRANCH) == before
    assert not any(line.startswith("pr create") for line in repository.asked)


@pytest.mark.slow
def test_a_pull_request_that_somebody_closed_is_not_opened_again(repository: Repository) -> None:
    repository.done("prepare")
    repository.done("publish", token="secret")
    repository.pull_request_exists("closed")
    said = repository.done("publish", token="secret")
    assert said.strip() == (
        f"The pull request for {BRANCH} was closed: delete that branch to get it again."
    )
    assert [line.split()[1] for line in repository.asked] == ["create", "list"]


@pytest.mark.slow
def test_a_branch_without_its_pull_request_gets_it(repository: Repository) -> None:
    repository.done("prepare")
    git(repository.project, "push", "--quiet", "origin", BRANCH)
    repository.done("publish", token="secret")
    assert [line.split()[1] for line in repository.asked] == ["list", "create"]


@pytest.mark.slow
def test_it_can_be_prepared_again(repository: Repository) -> None:
    repository.done("prepare")
    first = git(repository.project, "rev-parse", f"{BRANCH}^{{tree}}")
    git(repository.project, "switch", "--quiet", "main")
    repository.done("prepare")
    assert git(repository.project, "rev-parse", f"{BRANCH}^{{tree}}") == first


def amend(project: Path) -> None:
    """Repair the branch that is checked out, in the commit that is there."""
    (project / "repaired.txt").write_text("by hand\n", encoding="utf-8")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--amend", "--no-edit")


def as_fleet(project: Path) -> None:
    """Replace the branch that is checked out by one with the same title, of tools/fleet.py."""
    git(project, "reset", "--quiet", "--hard", "main")
    title = ["--message", "Update the template to 2.0.0", "--message", "Changed: torch."]
    git(project, "commit", "--quiet", "--allow-empty", *title)


@pytest.mark.slow
@pytest.mark.parametrize("work", [amend, as_fleet, commit])
def test_work_on_the_branch_is_kept(repository: Repository, work: Callable[[Path], None]) -> None:
    project = repository.project
    repository.done("prepare")
    work(project)
    git(project, "switch", "--quiet", "main")
    before = git(project, "rev-parse", BRANCH)
    assert repository.refused("prepare") == (
        f"The branch {BRANCH} is there already, with commits of its own. Merge it, or delete it"
        f" (`git branch -D {BRANCH}`), then run this again.\n"
    )
    assert git(project, "rev-parse", BRANCH) == before
    assert git(project, "branch", "--show-current").strip() == "main"


def prepare_in_another_clone(repository: Repository) -> None:
    """As the next run of the workflow does, after something else came into the main branch."""
    git(repository.project, "switch", "--quiet", "main")
    (repository.project / "more.txt").write_text("", encoding="utf-8")
    commit(repository.project)
    git(repository.project, "push", "--quiet", "origin", "main")
    source = ["--depth=1", "--single-branch", repository.remote.as_uri()]
    git(repository.folder, "clone", "--quiet", *source, "clone")
    repository.project = repository.folder / "clone"
    repository.done("prepare")


@pytest.mark.slow
@pytest.mark.parametrize("work", [amend, as_fleet, commit])
def test_no_pull_request_is_opened_for_commits_of_others(
    repository: Repository, work: Callable[[Path], None]
) -> None:
    repository.done("prepare")
    work(repository.project)
    git(repository.project, "push", "--quiet", "origin", BRANCH)
    before = git(repository.remote, "rev-parse", BRANCH)
    prepare_in_another_clone(repository)
    said = repository.refused("publish", token="secret")
    assert said.startswith(f"origin/{BRANCH} has other commits, which are not what was prepared")
    assert "Merge it or delete it there" in said
    assert git(repository.remote, "rev-parse", BRANCH) == before
    assert [line.split()[1] for line in repository.asked] == ["list"]


@pytest.mark.slow
def test_an_earlier_run_is_replaced_if_it_has_no_open_pull_request(repository: Repository) -> None:
    repository.done("prepare")
    git(repository.project, "push", "--quiet", "origin", BRANCH)
    prepare_in_another_clone(repository)
    repository.done("publish", token="secret")
    prepared = git(repository.project, "rev-parse", BRANCH)
    assert git(repository.remote, "rev-parse", BRANCH) == prepared
    assert [line.split()[1] for line in repository.asked] == ["list", "create"]


@pytest.mark.slow
def test_an_update_that_was_merged_and_reverted_is_proposed_again(repository: Repository) -> None:
    project = repository.project
    repository.done("prepare")
    repository.done("publish", token="secret")
    repository.pull_request_exists("merged")
    git(project, "switch", "--quiet", "main")
    git(project, "merge", "--quiet", BRANCH)
    git(project, "revert", "--no-edit", "HEAD")
    repository.done("prepare")
    repository.done("publish", token="secret")
    assert git(repository.remote, "rev-parse", BRANCH) == git(project, "rev-parse", BRANCH)
    assert [line.split()[1] for line in repository.asked] == ["create", "list", "create"]


@pytest.mark.slow
def test_a_commit_that_is_checked_out_needs_the_name_of_the_branch(repository: Repository) -> None:
    git(repository.project, "checkout", "--quiet", "--detach")
    before = git(repository.project, "branch", "--list")
    assert "with `--base BRANCH`" in repository.refused("prepare")
    assert git(repository.project, "branch", "--list") == before
    repository.done("prepare", "--base", "trunk")
    assert repository.ready["base"] == "trunk"


@pytest.mark.slow
@pytest.mark.parametrize("detached", [False, True])
def test_where_git_does_not_commit_everything_is_as_before(
    repository: Repository, detached: bool
) -> None:
    project = repository.project
    git(project, "config", "commit.gpgsign", "true")
    git(project, "config", "gpg.program", "false")
    git(project, "branch", BRANCH, "main")
    if detached:
        git(project, "checkout", "--quiet", "--detach")
    before, head = git(project, "branch", "--list", "--verbose"), git(project, "rev-parse", "HEAD")
    said = repository.refused("prepare", "--base", "main")
    assert said.startswith("git does not commit the update here (error: gpg failed to sign")
    assert "commit.gpgsign" in said
    assert git(project, "branch", "--list", "--verbose") == before
    assert git(project, "rev-parse", "HEAD") == head
    assert git(project, "status", "--porcelain") == ""
    assert not repository.report.exists()


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
    Repository(project, tmp_path).refused("prepare")
    assert own.read_text(encoding="utf-8") == "mine\n"
    assert not (project / "new.txt").exists()
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.slow
def test_an_update_that_is_refused_fails_with_its_sentence(history: Path, tmp_path: Path) -> None:
    packages = ["torchvision", "torchaudio"]
    project = start(history, tmp_path / "project", "v1.1.0", torch_packages=packages)
    repository = Repository(project, tmp_path)
    git(project, "branch", BRANCH)
    result = repository.run("prepare")
    assert result.returncode == 1
    assert "torchaudio ends with torch 2.11: choose torch 2.11" in result.stderr
    assert "Traceback" not in result.stderr
    assert git(project, "branch", "--list").split() == ["*", "main", BRANCH]
    assert git(project, "status", "--porcelain") == ""
    assert not repository.report.exists()


@pytest.mark.slow
@pytest.mark.parametrize("status", [1, 5])  # 5 is not pytest's here, which found no tests
def test_a_failing_installation_makes_a_draft_with_its_output(
    history: Path, tmp_path: Path, status: int
) -> None:
    project = start(history, tmp_path / "project", "v1.2.0")
    script = f'import sys\nprint("no room", file=sys.stderr)\nsys.exit({status})\n'
    (project / "scripts/torch_starter/bootstrap.py").write_text(script, encoding="utf-8")
    commit(project)
    repository = Repository(project, tmp_path)
    text = repository.done("prepare")
    assert "Locking and installing failed:\n\n```text\nno room\n```" in text
    assert "tested" not in text
    assert repository.ready["draft"] is True


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
    result = Repository(project, tmp_path).run("prepare")
    assert result.returncode == 1
    assert result.stderr.startswith(said)
    assert len(result.stderr.splitlines()) == 1
    assert ("`git log -p -- .copier-answers.yml` shows" in result.stderr) is ("stopped" in said)
    assert git(project, "branch", "--list").split() == ["*", "main"]


@pytest.mark.slow
def test_a_missing_copier_is_one_sentence(repository: Repository) -> None:
    command = [sys.executable, str(repository.script), "prepare", "--report", "x"]
    done = subprocess.run(
        [*command, "--copier", "no-such-copier"],
        cwd=repository.project,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("no-such-copier cannot be run: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_shallow_checkout_is_enough(repository: Repository) -> None:
    """Which is what the workflow has."""
    shallow = repository.folder / "shallow"
    git(
        repository.folder, "clone", "--quiet", "--depth=1", repository.remote.as_uri(), str(shallow)
    )
    assert git(shallow, "rev-list", "--count", "HEAD").strip() == "1"
    repository.project = shallow
    repository.done("prepare")
    repository.done("publish", token="secret")
    assert "_commit: v2.0.0" in git(repository.remote, "show", f"{BRANCH}:.copier-answers.yml")


@pytest.mark.slow
def test_a_remote_that_refuses_is_one_sentence(repository: Repository) -> None:
    repository.done("prepare")
    git(repository.project, "remote", "set-url", "origin", str(repository.folder / "nowhere"))
    result = repository.run("publish", token="secret")
    assert result.returncode == 1
    assert result.stderr.startswith("git failed: ")
    assert len(result.stderr.splitlines()) == 1
