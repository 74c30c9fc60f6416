"""Proposes what PyTorch has published since: the matrix, what is generated from it, and the words.

python tools/refresh_pull_request.py prepare --report FOLDER [--no-names]
python tools/refresh_pull_request.py publish --report FOLDER [--tests RESULT] [--starts-ci]

`prepare` needs no token: it asks the indexes (tools/refresh_matrix.py, which gets all options that
are not known here), writes what is generated and the entries in CHANGELOG.md, and leaves a patch
and a text in FOLDER, unless there is nothing new. On GitHub it tells the job's summary, and says in
its output `changed` whether there is something.

`publish` runs where a token may write (GH_TOKEN), and takes nothing else from there: the patch may
change the files named below and no others. It pushes one commit to the branch `refresh-matrix` and
opens the pull request, or brings both up to date. What somebody else has committed there, or a pull
request that somebody has closed, it leaves alone.

exit codes: 0 done, or nothing to do; 1 failed, in words on stderr; 2 the command line is wrong
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import changelog
from publishing import (
    BOT,
    EMAIL,
    LOGIN,
    StopError,
    ended,
    exit_code,
    git,
    refuse_changes,
    run,
    tell_job,
)

ROOT = Path(__file__).parents[1]
BRANCH, BASE = "refresh-matrix", "main"
TITLE = "feat: what PyTorch has published since"
MATRIX = "extensions/torch_template/matrix/version_matrix.yml"
GENERATORS = (["tools/matrix_docs.py"], ["tools/screenshots.py", "questions"])
# Asks PyPI what each build requires, for up to 20 minutes: where it fails, the rest is proposed.
NAMES, NAMES_LIMIT = "tools/dependency_names.py", 1800.0  # s
WRITTEN = {  # by these, by the refresh and by this tool
    *("CHANGELOG.md", "README.md", MATRIX, "extensions/torch_template/dependencies.json"),
    *("docs/matrix.json", "docs/matrix.md", "docs/matrix.svg", "docs/questions.svg"),
}
# The parts of what the refresh tells, by their headings; two have a group of the changelog.
NEW, PROJECTS = (
    "New on the PyTorch index and on PyPI:",
    "What the next update does to projects that exist:",
)
BY_HAND = "To be looked at by a person:"
GROUPS = {NEW: "Added", PROJECTS: "Changed"}
LONGEST = 60_000  # characters of a pull request; GitHub takes 65,536
LARGEST = 10_000_000  # bytes of a patch
DIFFERS = 1  # the exit code of a refresh that found something
HOW = (
    "What is to be looked at is something that no index says, or that is not there as it was"
    " promised: look it up, and write it into the matrix by hand. CONTRIBUTING.md, *Add a release"
    " of torch*, says where each fact is found."
)


def parts(printed: str, failed: str) -> dict[str, list[str]]:
    """The lines of each part of what a refresh printed as JSON; `failed`: what it said beside it.

    StopError: it printed something else, as it does where it ends too early, or a part that is not
    known here.
    """
    try:
        found = {
            str(head): [*map(str, lines)] for head, lines in json.loads(printed)["parts"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = failed.strip() or "it printed no JSON, and no reason"
        raise StopError(f"The refresh failed, and nothing is proposed: {why}") from error
    if others := {*found} - {NEW, PROJECTS, BY_HAND}:
        raise StopError(
            f"tools/refresh_matrix.py tells {min(others)!r}, which has no place in"
            " CHANGELOG.md. Name the part in tools/refresh_pull_request.py."
        )
    return found


def words(told: Mapping[str, Sequence[str]]) -> str:
    """All parts as Markdown; empty if there is nothing."""
    return "\n\n".join(
        "\n".join([head, "", *(f"- {line}" for line in lines)]) for head, lines in told.items()
    )


def commit_message(text: str) -> str:
    """The commit's message: of what an index says, the versions alone, and a digest of the rest."""
    new = text.partition(BY_HAND)[0]
    found = re.findall(r"^- ([a-z]+ \d+(?:\.\d+)+)\b", new, re.MULTILINE)
    lines = [TITLE, "", *(f"- {one}" for one in dict.fromkeys(found)), *([""] if found else [])]
    digest = hashlib.sha256(text.encode()).hexdigest()
    return "\n".join([*lines, f"Refresh: {digest}"])


def summary(text: str, *, changed: bool) -> str:
    """What the job tells those who look at it."""
    first = "Proposed in a pull request:" if changed else "Nothing is proposed."
    hand = f"\n\n{HOW}" if BY_HAND in text else ""
    return f"## What PyTorch has published\n\n{first}\n\n{text or 'Nothing is new.'}{hand}"


def prepare(root: Path, report: Path, options: Sequence[str], *, names: bool) -> None:
    """Write what is new into the repository, and the patch and the text of it into a folder."""
    refuse_changes(root)
    python = sys.executable
    done = ended(root, python, "tools/refresh_matrix.py", "--write", "--json", *options)
    if done.returncode not in (0, DIFFERS):
        raise StopError(f"The refresh failed, and nothing is proposed: {done.stderr.strip()}")
    told = parts(done.stdout, done.stderr)
    changed = bool(git(root, "diff", "--name-only"))
    if changed:
        for generator in GENERATORS:
            run(root, python, *generator)
        if names:
            told = _with_names(root, told)
        path = root / "CHANGELOG.md"
        said = path.read_text(encoding="utf-8")
        for part, kind in GROUPS.items():
            said = changelog.with_entries(said, kind, told.get(part, []))
        path.write_text(said, encoding="utf-8", newline="\n")
        _hand_over(root, report, words(told))
    text = words(told)
    print(text or "Nothing is new.")
    tell_job("GITHUB_STEP_SUMMARY", summary(text, changed=changed))
    tell_job("GITHUB_OUTPUT", f"changed={str(changed).lower()}")


def _with_names(root: Path, told: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """What is told, with one line more where the names of dependencies could not be asked for."""
    try:
        run(root, sys.executable, NAMES, limit=NAMES_LIMIT)
    except StopError as error:
        said = str(error).strip().splitlines()[-1].replace("`", "'")
        line = f"new dependencies: {NAMES} ended with `{said}`. Run it"
        return {**told, BY_HAND: [*told.get(BY_HAND, []), line]}
    return {**told}


def _hand_over(root: Path, report: Path, text: str) -> None:
    git(root, "add", "--intent-to-add", "--all")  # so that a new file is seen, too
    _refuse_others(git(root, "diff", "--name-only", "-z").split("\0"))
    report.mkdir(parents=True, exist_ok=True)
    git(root, "diff", "--binary", "--no-ext-diff", f"--output={report / 'refresh.patch'}")
    (report / "text.md").write_text(f"{text}\n", encoding="utf-8", newline="\n")


def _refuse_others(names: Sequence[str]) -> None:
    if others := sorted({*filter(None, names)} - WRITTEN):
        raise StopError(
            f"The refresh changed {', '.join(others[:5])}, which it does not write. Nothing is"
            " proposed: look at what the run did."
        )


def apply(root: Path, report: Path) -> str:
    """Put the patch into the working tree and the index; the text that belongs to it."""
    patch, file = report / "refresh.patch", report / "text.md"
    if patch.stat().st_size > LARGEST or file.stat().st_size > LARGEST:
        raise StopError("The patch is larger than any refresh. Look at the run that prepared it.")
    lines = git(root, "apply", "--numstat", "-z", str(patch)).split("\0")
    _refuse_others([line.split("\t", 2)[-1] for line in lines])
    if special := git(root, "apply", "--summary", str(patch)):
        raise StopError(f"The patch does more than change texts: {special.strip()}")
    git(root, "apply", "--index", str(patch))
    text = file.read_text(encoding="utf-8", errors="replace")
    shown = "".join(c if c.isprintable() or c == "\n" else " " for c in text).strip()
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}\n\n(and more: see CHANGELOG.md)"


def body(text: str, tests: str, *, starts_ci: bool) -> str:
    """What the pull request says: what is new, what the tests said, and what is left to do."""
    where = "this repository's tests"
    if run_id := os.environ.get("GITHUB_RUN_ID"):
        server, name = os.environ["GITHUB_SERVER_URL"], os.environ["GITHUB_REPOSITORY"]
        where = f"[the run that made this]({server}/{name}/actions/runs/{run_id})"
    said = {
        "success": f"All tests pass with it: {where}.",
        "failure": f"Tests **fail** with it, so this is a draft: {where}.",
    }
    paragraphs = [text or "Facts that no project notices."]
    if BY_HAND in text:
        paragraphs.append(HOW)
    paragraphs.append(said.get(tests, f"The tests did not end, so this is a draft: {where}."))
    if not starts_ci:
        paragraphs.append(
            "CI has not started by itself, as GitHub starts none for a pull request of a workflow:"
            " close this and open it again if the branch rules ask for it."
        )
    return "\n\n".join(paragraphs)


def publish(root: Path, report: Path, tests: str, *, starts_ci: bool) -> str:
    """Push the branch and open the pull request, or bring them up to date; what was done."""
    refuse_changes(root)
    if not (report / "refresh.patch").is_file():
        return "There is nothing to propose."
    text = apply(root, report)
    message = commit_message(text)
    listed = git(root, *LOGIN, "ls-remote", "origin", f"refs/heads/{BRANCH}").split()
    there = listed[0] if listed else ""
    told, there_already = _compared(root, there, message) if there else (False, False)
    found = _request(root)
    if found and found["state"] == "CLOSED" and told:
        return f"Pull request #{found['number']} was closed. Delete {BRANCH} to get it again."
    if not there_already:
        file = report / "message.txt"
        file.write_text(message, encoding="utf-8", newline="\n")
        git(root, *BOT, "commit", "--quiet", "--cleanup=verbatim", f"--file={file}")
        lease = f"--force-with-lease=refs/heads/{BRANCH}:{there}"
        git(root, *LOGIN, "push", "--quiet", lease, "origin", f"HEAD:refs/heads/{BRANCH}")
    said = report / "body.md"
    said.write_text(body(text, tests, starts_ci=starts_ci), encoding="utf-8", newline="\n")
    draft = tests != "success"
    if not found or found["state"] != "OPEN":
        options = ["--base", BASE, "--head", BRANCH, "--title", TITLE, "--body-file", str(said)]
        return run(root, "gh", "pr", "create", *options, *(["--draft"] if draft else []))
    number = str(found["number"])
    run(root, "gh", "pr", "edit", number, "--body-file", str(said))
    if found["isDraft"] != draft:
        run(root, "gh", "pr", "ready", number, *(["--undo"] if draft else []))
    return f"Pull request #{number} is up to date."


def _compared(root: Path, commit: str, message: str) -> tuple[bool, bool]:
    """Whether a commit of the branch has the same message, and whether it has the same files.

    The day of the review alone, which is another one each day, makes no difference.

    StopError: there are commits of others.
    """
    git(root, *LOGIN, "fetch", "--quiet", "--no-tags", "origin", f"refs/heads/{BRANCH}")
    base = git(root, "merge-base", "HEAD", commit)
    authors = git(root, "log", "--format=%ce", f"{base}..{commit}").splitlines()
    if {*authors} - {EMAIL}:
        raise StopError(
            f"{BRANCH} has commits of others, which stay as they are. Merge it, or delete it."
        )
    differs = git(root, "diff", "--cached", "--ignore-matching-lines=[Rr]eviewed", commit)
    return git(root, "log", "-1", "--format=%B", commit) == message, not differs


def _request(root: Path) -> dict[str, object] | None:
    """The newest pull request of the branch, if there was ever one."""
    options = ["--head", BRANCH, "--base", BASE, "--state", "all", "--limit", "100"]
    listed = run(
        root, "gh", "pr", "list", *options, "--json", "number,state,isDraft,isCrossRepository"
    )
    own = [one for one in json.loads(listed) if not one["isCrossRepository"]]
    return max(own, key=lambda one: int(one["number"]), default=None)


def main(given: Sequence[str] | None = None) -> int:
    """Command line: see the top of this file."""
    about = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=about)
    parser.add_argument("what", choices=["prepare", "publish"])
    parser.add_argument("--report", type=Path, required=True, help="the folder between the two")
    parser.add_argument(
        "--no-names", action="store_true", help="leave out dependencies.json, which takes minutes"
    )
    parser.add_argument("--tests", default="", help="how they ended: success, failure, cancelled")
    parser.add_argument("--starts-ci", action="store_true", help="the token is no GITHUB_TOKEN")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository: %(default)s")
    asked, options = parser.parse_known_args(given)
    if options and asked.what != "prepare":
        parser.error(f"not known: {' '.join(options)}")

    def work() -> None:
        report = asked.report.absolute()
        if asked.what == "prepare":
            prepare(asked.root, report, options, names=not asked.no_names)
        else:
            print(publish(asked.root, report, asked.tests, starts_ci=asked.starts_ci))

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
