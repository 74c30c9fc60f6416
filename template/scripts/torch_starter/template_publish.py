#!/usr/bin/env python3
"""Push the branch that `template_update.py` has prepared, and open the pull request for it.

    template_publish.py --report FOLDER [--unchecked FOLDER] [--base BRANCH]

For a job of its own, with nothing of the one that prepared it but its folder: what the update
brought has run there, and may have written anything. So git runs in a new repository, without
settings of the machine, and checks nothing out; the branch is exactly one commit on top of the
base, with sound objects; the token goes to one host; the text is shown as it is. With the folder of
a `prepare --no-check`, where nothing of the update has run, the commit differs in lock files alone:
a workflow, which would run with secrets before anybody has read it, cannot come from a test.

The token is in TEMPLATE_UPDATE_TOKEN, on GitHub and in a GitLab pipeline; elsewhere,
GITHUB_REPOSITORY names the repository. A branch that has an open pull request, or commits of
others, is never pushed again.

Exit codes: 0 done, or nothing to do; 1 failed, one sentence says why; 2 usage.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import ssl
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent))  # which -I leaves out
from template_update import PREPARED, TOKENS, StopError, fenced, is_prepared, what_is_wrong

TOKEN = "TEMPLATE_UPDATE_TOKEN"  # noqa: S105 - its name
HEADER = re.compile(rb"# v2 git bundle\n-([0-9a-f]{40})(?: [^\n]*)?\n([0-9a-f]{40}) ([^\n]+)\n\n")
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+!_-]{0,63}")
LOCK = re.compile(
    r":(?:000000|100644) 100644 \w+ \w+ [AM]\t(?:(?:uv|poetry)\.lock|locks/pylock\.\w+\.toml)"
)
ANSWERS = re.compile(r"(?:.*/)?\.copier-answers[^/]*\.yml")
RECENT = 50  # commits of the base that an update may be older than
AGAIN = "Run the job that prepares it again"


def setting(name: str, default: str = "") -> str:
    """What the machinery of the host has set for a job."""
    if value := os.environ.get(name, default):
        return value
    raise StopError(f"{name} is not set: run this in a job of GitHub or GitLab, or set it.")


def read(file: Path, most: int) -> bytes:
    """A plain file that is not too large."""
    try:
        found = file.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_size <= most:
            return file.read_bytes()
    except OSError:
        pass
    raise StopError(f"{file} is no file of less than {most} bytes. {AGAIN}.")


def read_report(folder: Path) -> tuple[str, bool, str]:
    """The version, whether it is a draft, and the text."""
    try:
        ready = json.loads(read(folder / "pull-request.json", 1_000_000))
        version, draft, text = ready["version"], ready["draft"], ready["text"]
        if VERSION.fullmatch(version) and isinstance(draft, bool) and isinstance(text, str):
            shown = "".join(c if c.isprintable() or c == "\n" else " " for c in text[:50_000])
            return version, draft, fenced(shown)
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    raise StopError(f"pull-request.json is not what `prepare` writes. {AGAIN}.")


class StayHere(urllib.request.HTTPRedirectHandler):
    """The token is for the host that was asked: an answer that names another one is an error."""

    def redirect_request(self, *_: object) -> None:
        """Follow to nowhere."""


class Host:
    """What GitHub and GitLab have in common: an address to push to, and requests by an API."""

    name = user = remote = api = needs = ""
    login: dict[str, str]

    def ask(self, query: str = "", data: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        """What the API answers."""
        request = urllib.request.Request(
            self.api + query,
            data=json.dumps(data).encode() if data else None,
            headers={**self.login, "Content-Type": "application/json"},
        )
        trusted = ssl.create_default_context(cafile=os.environ.get("CI_SERVER_TLS_CA_FILE"))
        secure = urllib.request.HTTPSHandler(context=trusted)
        try:
            opener = urllib.request.build_opener(StayHere, secure)
            with opener.open(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            what = f"{self.name} answered {error.code} {error.reason}"
            raise StopError(f"{what}. {self.needs}") from error
        except OSError as error:
            what = f"{self.name} cannot be reached: {error}"
            raise StopError(f"{what}. Run the job again.") from error


class GitHub(Host):
    """Pull requests."""

    name, user = "GitHub", "x-access-token"
    needs = (
        "Save a token that may write contents, pull requests and workflows of this repository"
        f" (a fine-grained token, or one of a GitHub App) as the secret {TOKEN}."
        " The workflow's own GITHUB_TOKEN cannot change workflows."
    )

    def __init__(self) -> None:
        self.repository = setting("GITHUB_REPOSITORY")
        self.base = os.environ.get("GITHUB_REF_NAME")
        self.remote = f"{setting('GITHUB_SERVER_URL', 'https://github.com')}/{self.repository}.git"
        api = setting("GITHUB_API_URL", "https://api.github.com")
        self.api = f"{api}/repos/{self.repository}/pulls"
        self.login = {"Authorization": f"Bearer {os.environ.get(TOKEN)}"}

    def states(self, branch: str) -> list[str]:
        """What became of the pull requests of a branch, the newest first."""
        head = f"{self.repository.partition('/')[0]}:{branch}"
        found = self.ask("?" + urllib.parse.urlencode({"head": head, "state": "all"}))
        return ["merged" if one.get("merged_at") else one["state"] for one in found]

    def open(self, branch: str, base: str, title: str, text: str, draft: bool) -> str:
        """Open the pull request; return its address."""
        request = {"head": branch, "base": base, "title": title, "body": text, "draft": draft}
        return str(self.ask(data=request)["html_url"])


class GitLab(Host):
    """Merge requests."""

    name, user = "GitLab", "oauth2"
    needs = (
        "Save a project access token with the role Developer and the scopes api and"
        f" write_repository as the CI/CD variable {TOKEN}: masked, protected, and for the"
        " environment template-update alone."
    )

    def __init__(self) -> None:
        self.base = os.environ.get("CI_COMMIT_BRANCH")
        self.remote = f"{setting('CI_PROJECT_URL')}.git"
        project = f"{setting('CI_API_V4_URL')}/projects/{setting('CI_PROJECT_ID')}"
        self.api = f"{project}/merge_requests"
        self.login = {"PRIVATE-TOKEN": str(os.environ.get(TOKEN))}

    def states(self, branch: str) -> list[str]:
        """What became of the merge requests of a branch, the newest first."""
        found = self.ask("?" + urllib.parse.urlencode({"source_branch": branch, "state": "all"}))
        return [one["state"] for one in found]

    def open(self, branch: str, base: str, title: str, text: str, draft: bool) -> str:
        """Open the merge request; return its address."""
        request = {
            "source_branch": branch,
            "target_branch": base,
            "title": f"Draft: {title}" if draft else title,
            "description": text,
        }
        return str(self.ask(data=request)["web_url"])


class Repository:
    """A new repository that nothing but this script has set up."""

    def __init__(self, folder: Path, host: Host) -> None:
        self.folder, self.remote = folder, host.remote
        url = urllib.parse.urlsplit(host.remote)
        own = url.scheme == "http" and url.hostname in ("127.0.0.1", "localhost", "::1")
        if "@" in url.netloc or not (url.scheme == "https" or own):
            raise StopError(f"{host.remote} is no https address: no token goes there.")
        said = f'echo username={host.user}; echo "password=${TOKEN}"'
        settings = {
            "core.hooksPath": os.devnull,
            "core.askPass": "",
            "credential.helper": "",
            f"credential.{url.scheme}://{url.netloc}.helper": "!f() { " + said + "; }; f",
            "http.followRedirects": "false",
        }
        self.options = [part for pair in settings.items() for part in ("-c", "=".join(pair))]
        left = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") and k not in TOKENS}
        self.environment = left | {
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": url.scheme,
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "HOME": str(folder),  # where curl would look for logins
            "XDG_CONFIG_HOME": str(folder),  # and a git before 2.32 for settings
        }
        if authority := os.environ.get("CI_SERVER_TLS_CA_FILE"):
            self.environment["GIT_SSL_CAINFO"] = authority
        self.must("init", "--quiet", "--bare", "--template=")

    def ask(self, *arguments: str, given: bytes = b"", login: bool = False) -> Any:  # noqa: ANN401
        """Run git here; only what goes to the remote is given the token."""
        environment = {**self.environment, TOKEN: os.environ[TOKEN]} if login else self.environment
        try:
            done = subprocess.run(
                ["git", *self.options, *arguments],
                cwd=self.folder,
                env=environment,
                input=given,
                capture_output=True,
                check=False,
            )
        except OSError as error:
            raise StopError(f"git cannot be run: {error.strerror}. Install it.") from error
        texts = [printed.decode(errors="replace") for printed in (done.stdout, done.stderr)]
        return subprocess.CompletedProcess(done.args, done.returncode, *texts)

    def must(self, *arguments: str, given: bytes = b"", login: bool = False) -> str:
        """What git prints; it has to succeed."""
        done = self.ask(*arguments, given=given, login=login)
        if done.returncode:
            raise StopError(f"git failed: {what_is_wrong(done)}")
        return str(done.stdout).strip()

    def fetch(self, branch: str, as_ref: str) -> None:
        """Fetch the end of a branch of the remote."""
        quiet = ["--quiet", "--no-tags", "--no-recurse-submodules", f"--depth={RECENT}"]
        self.must("fetch", *quiet, self.remote, f"+refs/heads/{branch}:{as_ref}", login=True)

    def unpack(self, folder: Path, branch: str, base: str) -> str:
        """The commit of a bundle that has one, on top of the base, and nothing else."""
        bundle = read(folder / "update.bundle", 100_000_000)
        header = HEADER.match(bundle)
        if not header or header[3] != f"refs/heads/{branch}".encode():
            raise StopError(f"update.bundle is not one commit of {branch}. {AGAIN}.")
        parent, commit = header[1].decode(), header[2].decode()
        if self.ask("merge-base", "--is-ancestor", parent, "refs/base").returncode:
            raise StopError(
                f"The update was not made on one of the last {RECENT} commits of {base}. {AGAIN}."
            )
        pack = bundle[header.end() :]
        self.must("index-pack", "--stdin", "--fix-thin", "--strict", given=pack)
        if self.ask("cat-file", "-t", commit).stdout.strip() != "commit":
            raise StopError(f"update.bundle has no commit {commit}. {AGAIN}.")
        text = self.must("cat-file", "commit", commit)
        lines = text.partition("\n\n")[0].splitlines()
        parents = [line for line in lines if line.startswith("parent ")]
        if parents != [f"parent {parent}"] or not is_prepared(text):
            raise StopError(f"update.bundle has not the one commit of `prepare`. {AGAIN}.")
        return commit

    def refuse_more_than_locks(self, unchecked: str, commit: str) -> None:
        """Stop where what ran after the update has changed more of it than lock files."""
        options = ["-r", "--raw", "--no-renames", "--no-abbrev"]
        lines = self.must("diff-tree", *options, unchecked, commit).splitlines()
        if others := [line for line in lines if not LOCK.fullmatch(line)]:
            name = others[0].partition("\t")[2]
            raise StopError(
                f"{name} is not as the update made it: the installation or a test has changed it,"
                " or the two jobs saw different versions. Look at them, then run them again."
            )

    def is_in(self, base: str, commit: str) -> bool:
        """Whether the base has the update already: its answers name the same version."""
        listed = self.must("diff-tree", "-r", "-z", "--name-only", f"{commit}^", commit).split("\0")
        for name in filter(ANSWERS.fullmatch, listed):
            texts = (self.ask("cat-file", "blob", f"{one}:{name}").stdout for one in (base, commit))
            old, new = (re.search(r"^_commit: .*", text, re.MULTILINE) for text in texts)
            if old and new and old[0] == new[0]:
                return True
        return False

    def commit_of_our_own(self, commit: str, title: str) -> str:
        """A commit of the same tree, of which nothing that ran has written a word."""
        parent, tree = self.must("rev-parse", f"{commit}^", commit + "^{tree}").split()
        name = ["-c", "user.name=template-update", "-c", "user.email=template-update@localhost"]
        message = f"{title}\n\n{PREPARED}: {tree}"
        return self.must(*name, "commit-tree", tree, "-p", parent, "-m", message)

    def is_replaceable(self, there: str, branch: str, commit: str) -> bool:
        """Whether nothing is lost with the remote's commit; else it has to be what is new."""
        self.fetch(branch, "refs/there")
        old = self.ask("merge-base", "--is-ancestor", there, commit).returncode == 0
        if old or is_prepared(self.must("cat-file", "commit", there)):
            return True
        trees = [self.must("rev-parse", one + "^{tree}") for one in (there, commit)]
        if trees[0] != trees[1]:
            raise StopError(
                f"origin/{branch} has other commits, which are not what was prepared and tested."
                " Merge it or delete it there, then run this again."
            )
        return False


def publish(report: Path, unchecked: Path | None, base: str | None, folder: Path) -> str:
    """Push the branch and open the pull request, unless there is one; what became of it."""
    if not (report / "pull-request.json").exists():
        return "There is nothing to publish."
    version, draft, text = read_report(report)
    host = GitLab() if os.environ.get("GITLAB_CI") else GitHub()
    title, branch = f"Update the template to {version}", f"template-update/{version}"
    if not os.environ.get(TOKEN):
        raise StopError(f"{title}: {TOKEN} is empty. {host.needs}")
    base = base or host.base or ""
    repository = Repository(folder, host)
    for name in (base, branch):
        if repository.ask("check-ref-format", f"refs/heads/{name}").returncode:
            raise StopError(f"{name!r} is no branch: name the one to update with `--base BRANCH`.")
    repository.fetch(base, "refs/base")
    commit = repository.unpack(report, branch, base)
    if unchecked:
        plain = repository.unpack(unchecked, branch, base)
        repository.refuse_more_than_locks(plain, commit)
        commit = repository.commit_of_our_own(commit, title)
    if repository.is_in("refs/base", commit):
        return f"{base} has this update already."
    ref = f"refs/heads/{branch}"
    found = repository.must("ls-remote", "--heads", host.remote, ref, login=True)
    there = found.split()[0] if found else ""
    if there:
        states = host.states(branch)
        if {"open", "opened"} & set(states):
            return f"The pull request for {branch} is there already."
        if states[:1] == ["closed"]:  # somebody's no; merged ones may have been reverted
            return f"The pull request for {branch} was closed: delete that branch to get it again."
    if not there or repository.is_replaceable(there, branch, commit):
        # Refused if the remote's branch is not, or no longer, the one that was looked at.
        options = ["--quiet", "--no-verify", f"--force-with-lease={ref}:{there}"]
        repository.must("push", *options, host.remote, f"{commit}:{ref}", login=True)
    return host.open(branch, base, title, text, draft)


def main() -> int:
    """Command line: see the top of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--report", type=Path, required=True, help="what `prepare` has left")
    parser.add_argument(
        "--unchecked", type=Path, metavar="FOLDER", help="what `prepare --no-check` has left"
    )
    parser.add_argument("--base", metavar="BRANCH", help="what to update (default: the job's)")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            given = (options.report, options.unchecked, options.base)
            print(publish(*given, Path(folder).resolve()))
    except (StopError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
