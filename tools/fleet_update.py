"""One project of tools/fleet.py: an update on trial in a clone, and if asked for, on a branch.

The owner's checkout is only read. The update is made and committed in a temporary clone that
borrows its objects, and comes back by one `git fetch` of a finished branch: a run that is stopped
leaves no half-made branch or worktree behind, and a later one sees from the branches what is done.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import re
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from copier import run_update
from copier.errors import UnsafeTemplateError, UserMessageError
from packaging.version import InvalidVersion, Version
from plumbum import ProcessExecutionError, local

from fleet_projects import (
    ANSWERS,
    GitError,
    RefusedError,
    address,
    base_of,
    borrow,
    built,
    git,
    have,
    read,
    refuse_dirty,
    top_folder,
    uncommitted,
    what_is_wrong,
    without_hooks,
    without_secrets,
)

REMOTE = "file:git:http:https:ssh"  # what git allows by itself
SET_BY_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # where a git hook runs this
UP_TO_DATE, UPDATE, CONFLICT, REFUSED, FAILED = (
    "up to date",
    "update",
    "conflict",
    "refused",
    "failed",
)
MADE, THERE = "branch made", "branch is there"
ATTENTION = (CONFLICT, REFUSED, FAILED)  # what somebody has to look at


@dataclass(frozen=True)
class Template:
    """The version of a template that projects are to get; `problem` if it cannot be reached."""

    repository: str = ""
    commit: str = ""
    version: str = ""
    problem: str = ""


@dataclass
class Row:
    """What is known of a project: a line of the table, an entry of --json."""

    project: str
    state: str = ""
    compute_platform: str | None = None
    torch_version: str | None = None  # as asked for: `latest` or a series
    torch: str | None = None  # as built
    minimum_driver: dict[str, str] = field(default_factory=dict)  # NVIDIA's, by platform
    template: str | None = None
    version: str | None = None  # of the template
    new_version: str | None = None
    new_torch: str | None = None
    new_minimum_driver: dict[str, str] = field(default_factory=dict)
    changed: str | None = None  # versions, drivers, GPU generations
    message: str | None = None  # all that the update says
    conflicts: list[str] = field(default_factory=list)
    reason: str | None = None
    branch: str | None = None
    base: str | None = None  # the branch, else the commit, that is checked out
    base_note: str | None = None  # where that is not the remote's default branch

    def as_json(self) -> dict[str, Any]:
        """The entry of --json; an address shows no token that somebody wrote into it."""
        return asdict(self) | {"template": self.template and without_secrets(self.template)}


def newest(template: str, folder: Path, prereleases: bool) -> Template:
    """The newest version of a template, by Copier's own rule; a remote one is fetched once.

    Fetching once instead of for each project is what makes a fleet fast, and gives all projects the
    same version even if a tag is published meanwhile.
    """
    try:
        repository = url = address(template)
        if not Path(url).exists():
            repository = str(folder)
            fetched = ["clone", "--quiet", "--mirror", "--", url, repository]
            git(
                folder.parent,
                *fetched,
                GIT_ALLOW_PROTOCOL=os.environ.get("GIT_ALLOW_PROTOCOL", REMOTE),
            )
        tags = []
        for tag in git(repository, "tag", "--list").splitlines():
            try:
                version = Version(tag)
            except InvalidVersion:
                continue
            if prereleases or not version.is_prerelease:
                tags.append((version, tag))
        ref = f"refs/tags/{max(tags)[1]}" if tags else "HEAD"
        commit = git(repository, "rev-parse", f"{ref}^{{commit}}")
        name = str(max(tags)[0]) if tags else git(repository, "describe", "--always", commit)
    except RefusedError as error:
        return Template(problem=str(error))
    except GitError as error:
        problem = f"Its template, {without_secrets(template)}, cannot be read ({error})."
        see = f"Run `git ls-remote {without_secrets(url)}` to see all of it."
        return Template(problem=f"{problem} {see}")
    return Template(repository, commit, name)


def redirected(templates: Mapping[str, Template]) -> dict[str, str]:
    """The variables by which git takes the remote templates from where they were fetched to."""
    rules = {
        f"url.{found.repository}.insteadOf": address(name)
        for name, found in templates.items()
        if found.repository and found.repository != address(name)
    }
    before = int(os.environ.get("GIT_CONFIG_COUNT", "0"))
    variables = {"GIT_CONFIG_COUNT": str(before + len(rules))}
    for number, (key, value) in enumerate(rules.items(), start=before):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def begin_worker(folder: Path, variables: Mapping[str, str]) -> None:
    """Prepare a worker process: it has its own temporary folder, asks nothing, and is never alone.

    Ctrl-C is the parent's affair. A worker whose parent was killed ends by itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    own = folder / f"worker-{os.getpid()}"
    own.mkdir()
    tempfile.tempdir = str(own)
    environment = {
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
        **{name: value for name, value in os.environ.items() if name not in SET_BY_HOOKS},
        **variables,
        "COPIER_CACHE_DIR": str(own / "cache"),  # two processes would be in each other's way
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_OPTIONAL_LOCKS": "0",  # not even `git status` writes in a checkout
        "GIT_TERMINAL_PROMPT": "0",
        "TMPDIR": str(own),
    }
    # Copier runs git by plumbum, which took its own copy of the environment when it was imported.
    for known in (os.environ, local.env):
        known.clear()
        known.update(environment)
    # What a template's own commands print would tear the progress bar.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=end_with, args=(parent,), daemon=True).start()


def end_with(parent: Any) -> None:  # noqa: ANN401
    """End this process as soon as another one has ended."""
    parent.join()
    os._exit(1)


def look_after(path: Path, row: Row, template: Template, trust: bool, apply: bool) -> Row:
    """Try the update of a project, and make its branch if `apply`; the filled row."""
    try:
        _fill(path, row, template, trust, apply)
    except RefusedError as error:
        row.state, row.reason = REFUSED, str(error)
    except GitError as error:
        see = "Run `git status`, `git fsck` and `git clone` on it to see all of it."
        row.state, row.reason = FAILED, f"git failed: {error}. {see}"
    except Exception as error:  # one project never ends the run
        first = (str(error).strip().splitlines() or ["no message"])[0]
        text = f"The update stopped: {type(error).__name__}: {without_secrets(first)}"
        see = "Run `copier update` on a clone of it to see all of it."
        row.state, row.reason = FAILED, f"{text.rstrip('.')}. {see}"
    return row


def _fill(path: Path, row: Row, template: Template, trust: bool, apply: bool) -> None:
    recorded, top = read(path), top_folder(path)
    subfolder = path.resolve().relative_to(top.resolve())
    with tempfile.TemporaryDirectory(prefix="trial-", ignore_cleanup_errors=True) as folder:
        trial = Path(folder) / "project"
        changed = uncommitted(path, borrow(top, trial))
        if template.problem:
            raise RefusedError(template.problem)
        row.new_version = template.version
        row.base, row.base_note = base_of(top)
        if not _is_behind(recorded.commit, template):
            row.state = UP_TO_DATE
            return
        refuse_dirty(changed)
        branch = branch_name(template.version, subfolder)
        if known := _known_branch(top, trial, branch, subfolder, template):
            row.state, row.branch = THERE, known[0]
            _note_message(row, git(trial, "log", "-1", "--format=%b", known[1]))
            return
        have(trial)
        message = _update(trial / subfolder, template.commit, trust, recorded.template)
        _note_message(row, message)
        new = built(trial / subfolder)
        row.new_torch, row.new_minimum_driver = new.torch, new.minimum_driver
        row.conflicts = _conflicts(trial)
        row.state = CONFLICT if row.conflicts else UPDATE
        if apply and not row.conflicts:
            _commit(top, trial, f"Update the template to {template.version}\n\n{message}\n")
            _bring_back(top, trial, branch)
            row.state, row.branch = MADE, branch


def branch_name(version: str, subfolder: Path) -> str:
    """The branch for a project in a subfolder of its repository: valid, and no other one's."""
    name = subfolder.as_posix()
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    if name == ".":
        return f"template-update/{version}"
    if plain != name:  # `a/b` and `a.b` are two projects
        plain += f"-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"
    return f"template-update/{version}-{plain}"


def _note_message(row: Row, message: str) -> None:
    changed = re.search(r"^Changed: (.+)\.$", message, re.MULTILINE)
    row.message, row.changed = message, changed[1] if changed else None


def _is_behind(commit: str, template: Template) -> bool:
    """Whether the recorded version lacks what the newest one has.

    Raises:
        RefusedError: if the template does not have the recorded version.
    """
    repository = template.repository
    try:
        # A revision cannot begin with a dash, which git would take for an option.
        known = git(
            repository, "rev-parse", "--verify", "--quiet", f"refs/tags/{commit}^{{commit}}"
        )
    except GitError:
        try:
            name = commit if not commit.startswith("-") else "?"
            known = git(repository, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        except GitError:
            raise RefusedError(
                f"{ANSWERS} records version {commit}, which the template does not have:"
                " push that tag to the template, or correct `_commit`."
            ) from None
    try:
        git(repository, "merge-base", "--is-ancestor", template.commit, known)
    except GitError:
        return True
    return False


def _known_branch(
    top: Path, trial: Path, branch: str, subfolder: Path, template: Template
) -> tuple[str, str] | None:
    """The branch and commit of an earlier run, here or on a remote, with this update of today's.

    Raises:
        RefusedError: if a branch of that name is something else.
    """
    # `*` stands for one part of a name, that of a remote.
    refs = [f"refs/heads/{branch}", f"refs/remotes/*/{branch}"]
    listed = git(top, "for-each-ref", "--format=%(objectname) %(refname)", *refs).splitlines()
    head = git(top, "rev-parse", "HEAD")
    for commit, ref in map(str.split, listed):
        file = (subfolder / ANSWERS).as_posix()
        try:
            is_of_today = git(trial, "merge-base", head, commit) == head
            text = git(trial, "cat-file", "blob", f"{commit}:{file}")
            recorded = re.search(r"^_commit: (\S+)$", text, re.MULTILINE)
            if is_of_today and recorded and not _is_behind(recorded[1].strip("'\""), template):
                return ref.removeprefix("refs/heads/").removeprefix("refs/remotes/"), commit
        except (GitError, RefusedError):
            continue
    if listed:
        raise RefusedError(
            f"The branch {branch} is there, but does not have this update on top of HEAD:"
            " merge it or delete it."
        )
    return None


def _update(project: Path, commit: str, trust: bool, template: str) -> str:
    """Update a project as `copier update --defaults` does; the template's message.

    Raises:
        RefusedError: if Copier or the template refuses.
    """
    printed = io.StringIO()
    try:
        with redirect_stderr(printed), redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run_update(project, defaults=True, overwrite=True, unsafe=trust, vcs_ref=commit)
    except UnsafeTemplateError:
        raise RefusedError(
            f"Its template, {without_secrets(template)}, is not trusted: add the address to `trust`"
            " in Copier's settings.yml, or pass --trust."
        ) from None
    except UserMessageError as error:
        raise RefusedError(" ".join(str(error.message).split())) from None
    except ProcessExecutionError as error:
        raise GitError(what_is_wrong(error.stderr)) from None
    lines = printed.getvalue().splitlines()
    begin = next((n for n, line in enumerate(lines) if line.startswith("Updating to ")), -1)
    return "\n".join(lines[begin + 1 :]).strip()


def _conflicts(clone: Path) -> list[str]:
    """The files in which both the owner and the template changed the same lines."""
    listed = git(clone, "diff", "--name-only", "--diff-filter=U", "-z")
    return sorted({name for name in listed.split("\0") if name})


def _commit(top: Path, clone: Path, message: str) -> None:
    """Commit everything as the owner of the checkout; unsigned, as no key's prompt is seen here."""
    named = []
    for key, value in (("name", "template-update"), ("email", "template-update@localhost")):
        owner = git(top, "config", "--default", value, "--get", f"user.{key}")
        named += ["-c", f"user.{key}={owner}"]
    git(clone, "add", "--all")
    options = ["--quiet", "--no-gpg-sign", "--message", message]
    git(clone, *named, "commit", *options)


def _bring_back(top: Path, trial: Path, branch: str) -> None:
    """The one step that changes the owner's repository: it gets the finished branch, or nothing.

    Raises:
        RefusedError: if another worktree of the repository got a branch of that name meanwhile.
    """
    objects = str(top / git(top, "rev-parse", "--git-path", "objects"))
    commit = git(trial, "rev-parse", "HEAD")
    git(
        *(trial, "pack-objects", "--quiet", "--revs", f"{objects}/pack/pack"),
        given=f"{commit}\n^{commit}^@\n",
        GIT_OBJECT_DIRECTORY=objects,
        GIT_ALTERNATE_OBJECT_DIRECTORIES=str(trial / ".git/objects"),
    )
    try:
        ref = [f"refs/heads/{branch}", commit, ""]  # which is not there yet
        git(top, "update-ref", *ref, **without_hooks(top))
    except GitError:
        if not git(top, "for-each-ref", f"refs/heads/{branch}"):
            raise
        raise RefusedError(
            f"The branch {branch} was made meanwhile, for another worktree of its repository:"
            " name only one of them."
        ) from None


def remove(folder: Path) -> None:
    """Delete a folder, also git's read-only files on Windows, as far as that is possible."""
    for path in folder.rglob("*"):
        if os.name == "nt" and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
