#!/usr/bin/env python3
"""Update this project from its template on a branch of its own.

    template_update.py prepare --report FOLDER    check, update, lock, install, test, commit

It needs `copier`, and leaves the project alone if the template has no newer version. The folder
gets a git bundle of the branch, and what to say of it: all that `template_publish.py` takes, in a
job of its own, to push the branch and to open the pull request. What runs here is code that the
update brings, so it starts only where no token is. Conflicts and failures make a draft.

Exit codes: 0 done, or nothing to do; 1 failed, one sentence says why; 2 usage; 130 or 143 stopped
by Ctrl-C or SIGTERM, and everything is as it was.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NO_TESTS = 5  # pytest's exit code if it found none
# What `prepare` writes below its commits: their tree, so that an amended one is told apart.
PREPARED = "Prepared-Tree"
# Settings of the project's clone start no programs of its own while the update is made, and reach
# no submodule.
SAFE = (f"core.hooksPath={os.devnull}", "core.fsmonitor=false", "submodule.recurse=false")
TOKENS = ("TEMPLATE_UPDATE_TOKEN", "GH_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN")
REPORT = ("body.md", "pull-request.json", "update.bundle")
LOCKS = ("uv.lock", "poetry.lock", "locks/pylock.*.toml")  # what the bootstrap may write
SIGNALS = [signal.SIGINT, signal.SIGTERM]
if sys.platform != "win32":
    SIGNALS.append(signal.SIGHUP)


class StopError(Exception):
    """What went wrong, and what to do."""


class StoppedError(BaseException):
    """Ctrl-C, or the signal by which a scheduler ends a job; its number."""


def stop(number: int, _: object) -> None:
    """Handle a signal."""
    raise StoppedError(number)


@functools.cache
def without_hooks() -> dict[str, str]:
    """An environment for git in which the hooks that settings name (of git 2.54) do not run."""
    find = ["git", "config", "--null", "--name-only", "--get-regexp", r"^hook\."]
    listed = subprocess.run(find, capture_output=True, encoding="utf-8", check=False).stdout
    names = sorted({key.rpartition(".")[0] for key in listed.split("\0") if key.count(".") > 1})
    first = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    off = {"GIT_CONFIG_COUNT": str(first + len(names))} if names else {}
    for number, name in enumerate(names, first):
        off |= {f"GIT_CONFIG_KEY_{number}": f"{name}.enabled"}
        off |= {f"GIT_CONFIG_VALUE_{number}": "false"}
    return {**os.environ, **off}


def run(*command: str, apart: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command in the project; its output is returned, not shown.

    What starts processes of its own runs apart, to be ended with them all.
    """
    environment = None
    try:
        if command[0] == "git":
            safe = (part for setting in SAFE for part in ("-c", setting))
            command, environment = ("git", *safe, *command[1:]), without_hooks()
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL if apart else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=apart,
        )
    except OSError as error:
        raise StopError(f"{command[0]} cannot be run: {error.strerror}. Install it.") from error
    with process:
        try:
            output, errors = process.communicate()
        except StoppedError:
            end(process) if apart else process.terminate()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def end(process: subprocess.Popen[str]) -> None:
    """End a process that runs apart, and all that it started; first as Ctrl-C does."""
    if sys.platform == "win32":
        command = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(command, capture_output=True, check=False)
    else:
        with suppress(OSError):  # none is left
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                os.killpg(process.pid, number)
                for _ in range(100):
                    time.sleep(0.05)
                    process.poll()
                    os.killpg(process.pid, 0)


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
    look = ["--untracked-files=normal", "--ignore-submodules=none"]
    if must("git", "status", "--porcelain", *look):
        raise StopError(
            "Not everything is committed. Commit it or stash it; but what an interrupted update"
            " left lacks your own changes: undo that with `git reset --hard` and"
            " `git clean -d --force`."
        )
    for entry in must("git", "ls-files", "-v", "-z").split("\0"):
        mark, name = entry[:1], entry[2:]
        if (mark == "S" or mark.islower()) and os.path.lexists(name):
            flag = "skip-worktree" if mark in "Ss" else "assume-unchanged"
            raise StopError(
                f"git is told not to look at {name}, where your changes would be lost: type"
                f" `git update-index --no-{flag} {name}`."
            )


def refuse_elsewhere(ref: str) -> None:
    """Stop where another worktree has the branch: its files would be those of another commit."""
    there = run("git", "for-each-ref", "--format=%(worktreepath)", ref).stdout.strip()
    if there and not Path(there).samefile(must("git", "rev-parse", "--show-toplevel")):
        raise StopError(f"{there} has {ref} checked out: have another branch there, then go on.")


def is_prepared(text: str) -> bool:
    """Whether `prepare` made a commit, as `git cat-file` shows it, and nobody has changed it."""
    return f"\n{PREPARED}: {text.split()[1]}" in text


def refuse_taken(branch: str) -> None:
    """Stop where the branch is somebody's work: the template's tools/fleet.py makes such ones."""
    ref = f"refs/heads/{branch}"
    if run("git", "rev-parse", "--verify", "--quiet", ref).returncode:
        return
    refuse_elsewhere(ref)
    own = must("git", "rev-list", ref, "--not", "HEAD").splitlines()
    if len(own) > 1 or (own and not is_prepared(must("git", "cat-file", "commit", own[0]))):
        raise StopError(
            f"The branch {branch} is there already, with commits of its own. Merge it, or delete it"
            f" (`git branch -D {branch}`), then run this again."
        )


def back_to(commit: str) -> None:
    """Have a commit in the tree, on no branch, and nothing beside it but what is ignored."""
    must("git", "update-ref", "--no-deref", "HEAD", commit)
    # In this order nothing goes that is ignored there, but was not a moment ago.
    must("git", "reset", "--quiet")
    must("git", "reset", "--quiet", "--hard")
    must("git", "clean", "--quiet", "-d", "--force")


@contextmanager
def all_or_nothing(branch: str) -> Iterator[str]:
    """Begin with a clean tree, the commit of which it gives; what stops brings all of it back."""
    ref = f"refs/heads/{branch}"
    start = must("git", "rev-parse", "HEAD")
    where = run("git", "symbolic-ref", "--quiet", "--no-recurse", "HEAD").stdout.strip()
    where = where or run("git", "symbolic-ref", "--quiet", "HEAD").stdout.strip()
    before = run("git", "rev-parse", "--verify", "--quiet", ref).stdout.strip()
    try:
        yield start
    except BaseException:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        back_to(start)
        if where:
            must("git", "symbolic-ref", "HEAD", where)
        must("git", "update-ref", *([ref, before] if before else ["-d", ref]))
        raise


def answers_file() -> str:
    """Where Copier has the answers of this project."""
    usual = ".copier-answers.yml"
    with suppress(OSError, ValueError, AttributeError):
        builds = json.loads(Path("scripts/torch_builds.json").read_text(encoding="utf-8"))
        return str(builds.get("answers_file", usual))
    return usual


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
    file = answers_file()
    return (
        f"Copier stopped ({' '.join(' '.join(what).split())}). If {file} was edited,"
        f" restore it: `git log -p -- {file}` shows its versions."
    )


def newer_version(copier: str) -> str | None:
    """The template's newest version, if this project is behind."""
    named = ["--answers-file", answers_file()]
    done = run(copier, "check-update", *named, "--output-format", "json", apart=True)
    if done.returncode:
        raise StopError(why_copier_failed(done.stderr))
    found = json.loads(done.stdout)
    return str(found["latest_version"]) if found["update_available"] else None


def update(copier: str) -> str:
    """Update the files; return the template's message."""
    named = ["--answers-file", answers_file()]
    done = run(copier, "update", "--trust", "--defaults", *named, apart=True)
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
    names = "\n".join(f"- {name}" for name in files)
    return (
        "The project and the template changed the same lines. Merge them by hand, then run"
        f" bootstrap and the tests:\n\n{names}"
    )


def check(title: str, command: list[str], fine: tuple[int, ...] = (0,)) -> str | None:
    """Run a step; what failed, with the end of what it printed."""
    done = run(*command, apart=True)
    if done.returncode in fine:
        return None
    tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-30:])
    return f"{title} failed:\n\n{tail}"


def install() -> str | None:
    """Lock and install; what failed."""
    # A runner without a GPU installs the build for the CPU; what is locked is the project's.
    # By its name for people, which stays; the version just updated to may have its parts elsewhere.
    shim = [r".\bootstrap.cmd"] if os.name == "nt" else ["sh", "bootstrap.sh"]
    os.environ["BOOTSTRAP_PYTHON"] = sys.executable
    if Path("locks").is_dir() and (problem := check("Locking", [*shim, "--lock"])):
        return problem
    options = ["--no-smoke", "--compute-platform", "auto"]
    return check("Locking and installing", [*shim, *options])


def run_tests() -> str | None:
    """Run the tests; what failed."""
    python = r".venv\Scripts\python.exe" if os.name == "nt" else ".venv/bin/python"
    return check("Testing", [python, "-m", "pytest"], (0, NO_TESTS))


def fenced(text: str) -> str:
    """Text that GitHub and GitLab show as it is: no mention, no command, no image in it works."""
    return "```text\n" + text.replace("```", "'''").strip() + "\n```\n"


def commit(tree: str, version: str) -> str:
    """Commit a tree and the lock files, on no branch, with a name of our own if git has none."""
    must("git", "read-tree", tree)
    listed = ["ls-files", "-z", "--modified", "--others", "--exclude-standard", "--", *LOCKS]
    locks = [name for name in must("git", *listed).split("\0") if name]
    if locks:
        must("git", "--literal-pathspecs", "add", "--all", "--", *locks)
    must("git", "switch", "--quiet", "--detach")
    named = run("git", "config", "user.email").stdout.strip()
    name = ["-c", "user.name=template-update", "-c", "user.email=template-update@localhost"]
    options = [] if named else name
    message = f"Update the template to {version}\n\n{PREPARED}: {must('git', 'write-tree')}"
    done = run("git", *options, "commit", "--quiet", "--message", message)
    if done.returncode:
        raise StopError(
            f"git does not commit the update here ({what_is_wrong(done)}). Make `git commit` work,"
            " for example with the key that commit.gpgsign asks for, then run this again."
        )
    return must("git", "rev-parse", "HEAD")


def refuse_tokens() -> None:
    """Stop where what the update brings could read a token that may write here."""
    if found := [name for name in TOKENS if os.environ.get(name)]:
        raise StopError(
            f"{found[0]} is set here, where code runs that the update brings: leave it to the job"
            " that publishes. On GitLab, scope the variable to the environment template-update;"
            f" in a shell, begin with `env -u {found[0]}`."
        )


def prepare(copier: str, report: Path, checked: bool) -> None:
    """Everything up to the commit; the report is what `template_publish.py` needs."""
    for name in REPORT:  # of an earlier run: that is not to be published again
        (report / name).unlink(missing_ok=True)
    refuse_tokens()
    refuse_dirty()
    version = newer_version(copier)
    if version is None:
        print("The project has the newest version of its template.")
        return
    branch = f"template-update/{version}"
    refuse_taken(branch)
    with all_or_nothing(branch) as start:
        message = update(copier)
        problem = conflicts()
        must("git", "add", "--all")
        tree = must("git", "write-tree")  # before anything runs that may write other files
        if checked and not problem:
            problem = install()
        made = commit(tree, version)
        if checked and not problem:
            problem = run_tests()
        back_to(made)
        must("git", "switch", "--quiet", "--force-create", branch)
        last = "Locked, installed and tested." if checked else "Neither installed nor tested."
        text = f"{message}\n\n{problem or last}\n"
        ready = {"version": version, "draft": problem is not None or not checked, "text": text}
        report.mkdir(parents=True, exist_ok=True)
        bundle = [str(report.resolve() / "update.bundle"), f"refs/heads/{branch}", f"^{start}"]
        must("git", "bundle", "create", "--quiet", "--version=2", *bundle)
        (report / "body.md").write_text(fenced(text), encoding="utf-8")
        (report / "pull-request.json").write_text(json.dumps(ready, indent=2), encoding="utf-8")
    print(text)


def main() -> int:
    """Command line: see the top of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("step", choices=["prepare", "publish"], help="prepare")
    parser.add_argument("--report", type=Path, required=True, help="a folder outside the project")
    parser.add_argument("--copier", default="copier", help="the copier command (default: copier)")
    parser.add_argument(
        "--no-check",
        action="store_true",
        help="run nothing that the update brings: to compare with the report of one that does",
    )
    options = parser.parse_args()
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        if options.step == "publish":  # as a CI file from before asks for
            raise StopError(
                "template_publish.py does that now, in a job of its own: take the CI file of the"
                " template's new version, or see its docs/org-rollout.md."
            )
        prepare(options.copier, options.report, not options.no_check)
    except (StopError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except StoppedError as stopped:
        print("Stopped. The project is as it was: run this again to update it.", file=sys.stderr)
        return 128 + int(stopped.args[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
