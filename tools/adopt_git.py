"""git for tools/adopt.py: which repositories it takes, and the one commit that it makes.

The commit is made beside the checkout, from objects alone; only then is its branch checked out. So
a run that is stopped leaves nothing, or all of it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from fleet_projects import ANSWERS, GitError, RefusedError, git, refuse_dirty, top_folder

BRANCH = "torch-starter"
UNDER_WAY = {  # files of .git, by what is under way while they are there
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "BISECT_LOG": "bisect",
}


def refuse_unfit(folder: Path) -> Path:
    """The top of a repository in which nothing of anybody's can be lost.

    Raises:
        RefusedError: why it is none, and what to do.
    """
    if not folder.is_dir():
        raise RefusedError(f"{folder} is no folder: name a clone of the repository.")
    try:
        top = top_folder(folder)
    except RefusedError as error:
        raise RefusedError(f"{folder}: {error}") from None
    if top.resolve() != folder.resolve():
        raise RefusedError(
            f"{folder} lies in the repository {top}: name that one; a part of a repository cannot"
            " be adopted."
        )
    answers = sorted(path.name for path in top.glob(".copier-answers*.yml"))
    if ANSWERS in answers:
        raise RefusedError(
            f"{folder} has {ANSWERS}, so it comes from a template already: `copier update --trust`"
            " changes its answers, and tools/fleet.py shows how it stands."
        )
    place = top / git(top, "rev-parse", "--git-dir")
    under_way = next((what for file, what in UNDER_WAY.items() if (place / file).exists()), None)
    if under_way:
        abort = f"`git {under_way} --abort`" if under_way != "bisect" else "`git bisect reset`"
        raise RefusedError(f"A {under_way} is under way there: finish it, or {abort}.")
    status = git(top, "status", "--porcelain", "--untracked-files=all", "--ignore-submodules=dirty")
    refuse_dirty([line[3:] for line in status.splitlines()])
    hidden = [row[2:] for row in git(top, "ls-files", "-v").splitlines() if row[:1] in "Sh"]
    if hidden and git(top, "ls-files", "-t", "--", hidden[0]).startswith("S"):
        raise RefusedError(
            f"{folder} has a sparse checkout, in which files are missing: `git sparse-checkout"
            " disable`, and run this again."
        )
    if hidden:
        raise RefusedError(
            f"git does not look at {', '.join(hidden[:3])}, so changes there would be lost: `git"
            " update-index --no-assume-unchanged FILE`, and run this again."
        )
    if git(top, "for-each-ref", f"refs/heads/{BRANCH}"):
        raise RefusedError(
            f"It has a branch {BRANCH} already: check that out, or remove it with `git branch -D"
            f" {BRANCH}`."
        )
    return top


def commit(top: Path, texts: dict[str, bytes], message: str) -> None:
    """Commit these files on the new branch, and check it out.

    Raises:
        RefusedError: if git ignores a file that would be replaced, or knows nobody.
    """
    tracked = set(git(top, "ls-files", "-z").split("\0"))
    lost = [name for name in texts if name not in tracked and os.path.lexists(top / name)]
    if lost:
        raise RefusedError(
            f"{', '.join(lost)} is there and git ignores it, so it would be lost: move it elsewhere"
            " and run this again."
        )
    with tempfile.TemporaryDirectory(prefix="torch-starter-adopt-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        git(top, "read-tree", "HEAD", **index)
        git(top, "update-index", "--index-info", given=entries(top, texts, folder), **index)
        tree = git(top, "write-tree", **index)
    try:
        made = git(top, "commit-tree", tree, "-p", "HEAD", "-m", message)
    except GitError as error:
        raise RefusedError(
            f"git cannot commit ({error}): tell it who you are, by `git config --global user.name"
            " NAME` and `git config --global user.email ADDRESS`."
        ) from None
    git(top, "update-ref", f"refs/heads/{BRANCH}", made, "")
    try:
        git(top, "switch", "--quiet", BRANCH)
    except GitError as error:
        raise RefusedError(
            f"The branch {BRANCH} is made, and cannot be checked out ({error}): mend that, and type"
            f" `git switch {BRANCH}`."
        ) from None


def entries(top: Path, texts: dict[str, bytes], folder: str) -> str:
    """The lines that put these files into an index; git keeps their contents from now on.

    A file has the mode that it had, and the ends of lines that git has, whatever the checkout has.
    """
    modes, ends = (listed(top, option) for option in ("--stage", "--eol"))
    lines = []
    for number, (name, text) in enumerate(texts.items()):
        crlf = ends.get(name, "").startswith(("i/crlf", "i/mixed"))
        content = text if crlf else text.replace(b"\r\n", b"\n")
        Path(folder, str(number)).write_bytes(content)
        new = "100755" if name == "bootstrap.sh" else "100644"
        lines.append(f"{modes.get(name, new).split()[0]} %s\t{name}\n")
    files = "".join(f"{Path(folder, str(number))}\n" for number in range(len(texts)))
    kept = git(top, "hash-object", "-w", "--no-filters", "--stdin-paths", given=files)
    return "".join(lines) % tuple(kept.split())


def listed(top: Path, option: str) -> dict[str, str]:
    """What `git ls-files` says of each file."""
    rows = git(top, "ls-files", option, "-z").split("\0")
    return {name: said for said, _, name in (row.partition("\t") for row in rows)}
