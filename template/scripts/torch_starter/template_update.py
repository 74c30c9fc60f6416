#!/usr/bin/env python3
"""Update this project from its template on a branch of its own, and open a pull request.

    template_update.py prepare --report FOLDER    check, update, lock, install, test, commit
    template_update.py publish --report FOLDER    push the branch, open the pull request

`prepare` needs `copier` and no credentials, and leaves the project alone if the template has no
newer version. `publish` needs a token: on GitHub in GH_TOKEN, with `gh`; in a GitLab pipeline in
TEMPLATE_UPDATE_TOKEN. A branch that has an open pull request, or commits of others, is never pushed
again. Conflicts and failures make the pull request (on GitLab: the merge request) a draft that says
so.

Exit codes: 0 done, or nothing to do; 1 failed, one sentence says why; 2 usage.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NO_TESTS = 5  # pytest's exit code if it found none
# What `prepare` writes below its commits: their tree, so that an amended one is told apart.
PREPARED = "Prepared-Tree"
# Nothing that the update or the tests left in .git takes part in what is done with the token.
SAFE = ["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "credential.helper="]


class StopError(Exception):
    """What went wrong, and what to do."""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project; its output is returned, not shown."""
    try:
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except OSError as error:
        raise StopError(f"{command[0]} cannot be run: {error.strerror}. Install it.") from error


def must(*command: str) -> str:
    """What a command prints; it has to succeed."""
    done = run(*command)
    if done.returncode:
        raise StopError(f"{Path(command[0]).name} failed: {what_is_wrong(done)}")
    return done.stdout.strip()


def what_is_wrong(done: subprocess.CompletedProcess[str]) -> str:
    """The first line that git calls an error; else the last one that a command printed."""
    lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
    errors = [line for line in lines if line.startswith(("error: ", "fatal: "))]
    return (errors or lines[-1:])[0].rstrip(":")


def refuse_dirty() -> None:
    """Stop where work is not committed; after an interrupted update, that is not anybody's work."""
    if must("git", "status", "--porcelain", "--untracked-files=normal"):
        raise StopError(
            "Not everything is committed. Commit it or stash it; but what an interrupted update"
            " left lacks your own changes: undo that with `git reset --hard` and"
            " `git clean -d --force`."
        )


def current_branch() -> str:
    """The branch that is checked out; empty if a commit is."""
    return run("git", "symbolic-ref", "--quiet", "--short", "HEAD").stdout.strip()


def base_branch() -> str:
    """The branch to update."""
    # GitLab checks out a commit, not a branch.
    if base := os.environ.get("CI_COMMIT_BRANCH") or current_branch():
        return base
    raise StopError(
        "A commit is checked out, and not a branch: name the branch to update with `--base BRANCH`."
    )


def is_prepared(commit: str) -> bool:
    """Whether `prepare` made a commit, and nobody has changed it since."""
    text = must("git", "cat-file", "commit", commit)  # begins with `tree`; reads no settings
    return f"\n{PREPARED}: {text.split()[1]}" in text


def refuse_taken(branch: str) -> None:
    """Stop where the branch is somebody's work: the template's tools/fleet.py makes such ones."""
    ref = f"refs/heads/{branch}"
    if run("git", "rev-parse", "--verify", "--quiet", ref).returncode:
        return
    own = must("git", "rev-list", ref, "--not", "HEAD").splitlines()
    if len(own) > 1 or (own and not is_prepared(own[0])):
        raise StopError(
            f"The branch {branch} is there already, with commits of its own. Merge it, or delete it"
            f" (`git branch -D {branch}`), then run this again."
        )


@contextmanager
def all_or_nothing() -> Iterator[None]:
    """Begin with a clean tree; what stops brings that tree and its branch or commit back."""
    start = must("git", "rev-parse", "HEAD")
    where = current_branch() or start
    try:
        yield
    except StopError:
        # In this order nothing goes that is ignored here, but not in the template's new version.
        must("git", "reset", "--quiet", start)
        must("git", "reset", "--quiet", "--hard")
        must("git", "clean", "--quiet", "-d", "--force")
        must("git", *SAFE, "checkout", "--quiet", where, "--")
        raise


def why_copier_failed(stderr: str) -> str:
    """Copier's own sentence; of a traceback, which an answers file can cause, what it is about."""
    lines = stderr.strip().splitlines() or ["no output"]
    if not any(line.startswith("Traceback ") for line in lines):
        return lines[-1]
    fatal = [line.partition("fatal: ")[2] for line in lines if "fatal: " in line]
    if fatal:  # git's, which Copier ran
        return (
            f"git cannot read the template ({fatal[-1]}). If it is private, this job needs a way to"
            " read it: see docs/org-rollout.md of the template."
        )
    named = [n for n, line in enumerate(lines) if re.match(r"[\w.]+(Error|Exception)\b", line)]
    what = lines[named[-1] :][:2] if named else lines[-1:]
    return (
        f"Copier stopped ({' '.join(' '.join(what).split())}). If .copier-answers.yml was edited,"
        " restore it: `git log -p -- .copier-answers.yml` shows its versions."
    )


def newer_version(copier: str) -> str | None:
    """The template's newest version, if this project is behind."""
    done = run(copier, "check-update", "--output-format", "json")
    if done.returncode:
        raise StopError(why_copier_failed(done.stderr))
    found = json.loads(done.stdout)
    return str(found["latest_version"]) if found["update_available"] else None


def update(copier: str) -> str:
    """Update the files; return the template's message."""
    done = run(copier, "update", "--trust", "--defaults")
    lines = done.stderr.strip().splitlines()
    if done.returncode:
        why = why_copier_failed(done.stderr)
        raise StopError(f"The template cannot update this project by itself. {why}")
    begin = next((n for n, line in enumerate(lines) if line.startswith("Updating to ")), -1)
    return "\n".join(lines[begin + 1 :]).strip()


def conflicts() -> str | None:
    """What to tell about the files in which Copier left markers; None if there are none."""
    files = must("git", "diff", "--name-only", "--diff-filter=U").splitlines()
    if not files:
        return None
    names = "\n".join(f"- `{name}`" for name in files)
    return (
        "The project and the template changed the same lines. Merge them by hand, then run"
        f" bootstrap and the tests:\n\n{names}"
    )


def check() -> str | None:
    """Lock, install and test; return what failed, with the end of what it printed."""
    # A runner without a GPU installs the build for the CPU; what is locked is the project's.
    # By its name for people, which stays; the version just updated to may have its parts elsewhere.
    windows = os.name == "nt"
    shim = [r".\bootstrap.cmd"] if windows else ["sh", "bootstrap.sh"]
    python = r".venv\Scripts\python.exe" if windows else ".venv/bin/python"
    os.environ["BOOTSTRAP_PYTHON"] = sys.executable
    bootstrap = [*shim, "--no-smoke", "--compute-platform", "auto"]
    steps = [
        ("Locking and installing", bootstrap, [0]),
        ("Testing", [python, "-m", "pytest"], [0, NO_TESTS]),
    ]
    for title, command, fine in steps:
        done = run(*command)
        if done.returncode not in fine:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-30:])
            return f"{title} failed:\n\n{fenced(tail)}"
    return None


def fenced(text: str) -> str:
    """Text that Markdown shows as it is."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"


def commit(version: str, branch: str) -> None:
    """Commit everything to the branch, with a name of our own where git has none."""
    must("git", "add", "--all")
    # The branch changes last, so that it is as it was if git does not commit.
    must("git", *SAFE, "switch", "--quiet", "--detach")
    named = run("git", "config", "user.email").stdout.strip()
    name = ["-c", "user.name=template-update", "-c", "user.email=template-update@localhost"]
    options = [*SAFE, *([] if named else name)]
    message = f"Update the template to {version}\n\n{PREPARED}: {must('git', 'write-tree')}"
    done = run("git", *options, "commit", "--quiet", "--message", message)
    if done.returncode:
        raise StopError(
            f"git does not commit the update here ({what_is_wrong(done)}). Make `git commit` work,"
            " for example with the key that commit.gpgsign asks for, then run this again."
        )
    must("git", *SAFE, "switch", "--quiet", "--force-create", branch)


def prepare(copier: str, report: Path, base: str | None) -> None:
    """Everything up to the commit; the report is what `publish` needs."""
    refuse_dirty()
    version = newer_version(copier)
    if version is None:
        print("The project has the newest version of its template.")
        return
    base = base or base_branch()
    branch = f"template-update/{version}"
    refuse_taken(branch)
    with all_or_nothing():
        message = update(copier)
        problem = conflicts() or check()
        commit(version, branch)
    body = f"{fenced(message)}\n\n{problem or 'Locked, installed and tested.'}\n"
    ready = {
        "base": base,
        "branch": branch,
        "title": f"Update the template to {version}",
        "draft": problem is not None,
    }
    report.mkdir(parents=True, exist_ok=True)
    (report / "body.md").write_text(body, encoding="utf-8")
    (report / "pull-request.json").write_text(json.dumps(ready, indent=2), encoding="utf-8")
    print(body)


class GitHub:
    """Pull requests, by way of `gh`."""

    variable = "GH_TOKEN"
    needs = (
        "Save a token that may write contents, pull requests and workflows of this repository"
        " (a fine-grained token, or one of a GitHub App) as the secret TEMPLATE_UPDATE_TOKEN."
        " The workflow's own GITHUB_TOKEN cannot change workflows."
    )
    login = "!gh auth git-credential"

    def remote(self) -> str:
        """Where to push."""
        return "origin"

    def states(self, branch: str) -> list[str]:
        """What became of the pull requests of a branch, the newest first."""
        found = must("gh", "pr", "list", "--head", branch, "--state", "all", "--json", "state")
        return [str(one["state"]).lower() for one in json.loads(found)]

    def open(self, ready: dict[str, Any], body: Path) -> str:
        """Open the pull request; return its address."""
        options = ["--title", ready["title"], "--body-file", str(body), "--base", ready["base"]]
        options += ["--head", ready["branch"], *(["--draft"] if ready["draft"] else [])]
        return must("gh", "pr", "create", *options)


class GitLab:
    """Merge requests, by way of the API that a pipeline is told of."""

    variable = "TEMPLATE_UPDATE_TOKEN"
    needs = (
        "Save a project access token with the role Developer and the scopes api and"
        " write_repository as the masked CI/CD variable TEMPLATE_UPDATE_TOKEN."
    )
    login = '!f() { echo username=oauth2; echo "password=$TEMPLATE_UPDATE_TOKEN"; }; f'

    def remote(self) -> str:
        """Where to push; `origin` has the pipeline's own token, which cannot."""
        return f"{os.environ['CI_PROJECT_URL']}.git"

    def _ask(
        self, query: str = "", data: dict[str, str] | None = None
    ) -> dict[str, Any] | list[dict[str, Any]]:
        project = f"{os.environ['CI_API_V4_URL']}/projects/{os.environ['CI_PROJECT_ID']}"
        token = {"PRIVATE-TOKEN": os.environ[self.variable]}
        request = urllib.request.Request(
            f"{project}/merge_requests{query}",
            data=json.dumps(data).encode() if data else None,
            headers={**token, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                found: dict[str, Any] | list[dict[str, Any]] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            raise StopError(f"GitLab answered {error.code} {error.reason}. {self.needs}") from error
        except OSError as error:
            raise StopError(f"GitLab cannot be reached: {error}. Run the job again.") from error

    def states(self, branch: str) -> list[str]:
        """What became of the merge requests of a branch, the newest first."""
        query = urllib.parse.urlencode({"source_branch": branch, "state": "all"})
        return [one["state"] for one in self._ask(f"?{query}") if isinstance(one, dict)]

    def open(self, ready: dict[str, Any], body: Path) -> str:
        """Open the merge request; return its address."""
        request = {
            "source_branch": ready["branch"],
            "target_branch": ready["base"],
            "title": f"Draft: {ready['title']}" if ready["draft"] else ready["title"],
            "description": body.read_text(encoding="utf-8"),
        }
        answer = self._ask(data=request)
        return str(answer["web_url"]) if isinstance(answer, dict) else ""


def is_replaceable(there: str, branch: str) -> bool:
    """Whether nothing is lost with the remote's commit; if not, it has to be what was prepared."""
    ref = f"refs/heads/{branch}"
    if is_prepared(there) or not run("git", "merge-base", "--is-ancestor", there, ref).returncode:
        return True
    trees = [must("git", "rev-parse", one + "^{tree}") for one in (there, ref)]
    if trees[0] != trees[1]:
        raise StopError(
            f"origin/{branch} has other commits, which are not what was prepared and tested here."
            " Merge it or delete it there, then run this again."
        )
    return False


def publish(report: Path) -> None:
    """Push the branch and open the pull request, unless there is one, open or refused."""
    file = report / "pull-request.json"
    if not file.exists():
        print("There is nothing to publish.")
        return
    ready = json.loads(file.read_text(encoding="utf-8"))
    host = GitLab() if os.environ.get("GITLAB_CI") else GitHub()
    if not os.environ.get(host.variable):
        raise StopError(f"{ready['title']}: {host.variable} is empty. {host.needs}")
    branch = ready["branch"]
    git = ["git", *SAFE, "-c", f"credential.helper={host.login}"]
    ref = f"refs/heads/{branch}"
    found = must(*git, "ls-remote", "--heads", host.remote(), ref)
    there = found.split()[0] if found else ""
    if there:
        states = host.states(branch)
        if {"open", "opened"} & set(states):
            print(f"The pull request for {branch} is there already.")
            return
        if states[:1] == ["closed"]:  # somebody's no; merged ones may have been reverted
            print(f"The pull request for {branch} was closed: delete that branch to get it again.")
            return
        quiet = ["--quiet", "--no-tags", "--no-recurse-submodules"]
        must(*git, "fetch", *quiet, host.remote(), ref)
    if not there or is_replaceable(there, branch):
        # Refused if the remote's branch is not, or no longer, the one that was looked at.
        lease = f"--force-with-lease={ref}:{there}"
        must(*git, "push", "--quiet", lease, host.remote(), f"{ref}:{ref}")
    print(host.open(ready, report / "body.md"))


def main() -> int:
    """Run one of the two steps."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("step", choices=["prepare", "publish"])
    parser.add_argument("--report", type=Path, required=True, help="a folder outside the project")
    parser.add_argument("--base", metavar="BRANCH", help="what to update (default: this branch)")
    parser.add_argument("--copier", default="copier", help="the copier command (default: copier)")
    options = parser.parse_args()
    try:
        if options.step == "prepare":
            prepare(options.copier, options.report, options.base)
        else:
            publish(options.report)
    except StopError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
