"""The checkouts that tools/fleet.py is about: finding them, and reading what each one records."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from copier._vcs import get_repo  # what Copier itself makes of `gh:org/name`; it has no public name

ANSWERS = ".copier-answers.yml"
DATA_FILE = "scripts/torch_builds.json"
# What a project of this template, or of a fork of it, has recorded.
NEEDED = ("compute_platform", "package_manager", "python_version", "torch_version")
# A clone's own configuration is not trusted with programs: no monitor, hook, pager or signature, no
# way to a remote for objects that a partial clone lacks. Filters have any name: see `borrow`.
SAFE = ("core.fsmonitor=false", f"core.hooksPath={os.devnull}", "core.pager=", "log.showSignature=")
ALONE = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}
# What is harmless of it, and says which files are as they were committed.
KEPT = (
    *("core.autocrlf", "core.eol", "core.filemode", "core.ignorecase", "core.symlinks"),
    *("core.precomposeunicode", "core.excludesfile", "core.checkstat", "core.trustctime"),
)
RESTORE = f"Restore it: `git log -- {ANSWERS}` shows its versions"


class RefusedError(Exception):
    """Why a project cannot be updated, and what to do."""


class GitError(Exception):
    """The line that says why git failed."""


@dataclass(frozen=True)
class Recorded:
    """What a checkout says of itself."""

    template: str
    commit: str
    compute_platform: str
    torch_version: str


def git(folder: Path | str, *arguments: str, given: str = "", **environment: str) -> str:
    """Run git in a folder, which may be somebody's clone; what it prints.

    Raises:
        GitError: if git fails, or is not installed.
    """
    try:
        done = subprocess.run(
            ["git", *(part for setting in SAFE for part in ("-c", setting)), *arguments],
            cwd=folder,
            env={
                **os.environ,
                "LANGUAGE": "en",  # as what it says is read
                **ALONE,
                **environment,
            },
            input=given,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise GitError(f"git cannot be run: {error.strerror}") from error
    if done.returncode:
        raise GitError(what_is_wrong(done.stderr or done.stdout))
    return done.stdout.strip("\n")


def what_is_wrong(printed: str) -> str:
    """The first line of what git printed that is an error; else the last one."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return without_secrets((errors or lines[-1:] or ["no output"])[0]).rstrip(".")


def without_secrets(text: str) -> str:
    """Text in which no address shows a password or a token."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)


def find(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The checkouts that are named or lie in the folders that are named; the folders left out.

    Left out are the folders in a named one that have no answers file, or cannot be read, unless
    they are named too. A checkout that is named itself is always taken.
    """
    named = list(paths)
    found: dict[Path, None] = {}
    left_out: dict[Path, None] = {}
    for path in named:
        children = _children(path)
        if children is None:
            found[path] = None
            continue
        for child in children:
            try:
                is_project, is_folder = (child / ANSWERS).exists(), child.is_dir()
            except OSError:
                is_project, is_folder = False, True
            if is_project:
                found[child] = None
            elif is_folder and not child.name.startswith(".") and child not in named:
                left_out[child] = None
    return list(found), list(left_out)


def _children(path: Path) -> list[Path] | None:
    """What lies in a folder of checkouts, one with neither answers nor `.git`; else None."""
    try:
        if not path.is_dir() or (path / ".git").exists() or _answers_files(path):
            return None
        return sorted(path.iterdir())
    except OSError:  # its row says so
        return None


def _answers_files(project: Path) -> list[str]:
    """The names of the answers files; a project of several templates has several."""
    return sorted(path.name for path in project.glob(".copier-answers*.yml"))


def load_answers(project: Path) -> dict[str, Any]:
    """The recorded answers.

    Raises:
        RefusedError: if there are none, or if the file is no mapping of answers.
    """
    try:
        text = (project / ANSWERS).read_text(encoding="utf-8")
        answers = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (FileNotFoundError, NotADirectoryError):
        if others := _answers_files(project):
            raise RefusedError(
                f"It has {', '.join(others)}, and fleet.py reads only {ANSWERS}: run"
                f" `copier update --answers-file {others[0]}` there."
            ) from None
        what = f"It has no {ANSWERS}" if project.is_dir() else "There is no such folder"
        raise RefusedError(f"{what}: name a project made from the template.") from None
    except PermissionError:
        raise RefusedError(
            f"Its {ANSWERS} may not be read by you: change its permissions, or leave it out."
        ) from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RefusedError(f"{ANSWERS}{line}: {error.problem}. {RESTORE}.") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RefusedError(f"{ANSWERS} cannot be read ({error}). {RESTORE}.") from None
    if not isinstance(answers, dict):
        raise RefusedError(f"{ANSWERS} is not a list of `name: answer` lines. {RESTORE}.")
    return answers


def read(project: Path) -> Recorded:
    """What a project has recorded.

    Raises:
        RefusedError: if that is not what a project of this template records.
    """
    answers = load_answers(project)
    if not answers.get("_src_path"):
        raise RefusedError(f"{ANSWERS} names no template (`_src_path`). {RESTORE}.")
    missing = [name for name in NEEDED if name not in answers]
    if len(missing) == len(NEEDED):
        template = without_secrets(str(answers["_src_path"]))
        raise RefusedError(f"It was made from another template, {template}: leave it out.")
    if missing:
        raise RefusedError(f"{ANSWERS} has no answer to {', '.join(missing)}. {RESTORE}.")
    for name in ("_src_path", "_commit", *NEEDED):
        if not isinstance(answers.get(name), str):
            raise RefusedError(
                f"{ANSWERS}: {name} is {answers.get(name)!r}, which is no text. {RESTORE}."
            )
    return Recorded(
        answers["_src_path"],
        answers["_commit"],
        answers["compute_platform"],
        answers["torch_version"],
    )


@dataclass(frozen=True)
class Built:
    """The build that a project has: torch, such as `2.14.1+cu126`, and the least NVIDIA drivers."""

    torch: str | None = None
    minimum_driver: dict[str, str] = field(default_factory=dict)  # by platform


def built(project: Path) -> Built:
    """What the data file of a project says; nothing where that cannot be read."""
    try:
        data = json.loads((project / DATA_FILE).read_text(encoding="utf-8"))
        build = data["builds"][data["compute_platform"]]
        rows = {name: {**build, **row} for name, row in build["platforms"].items()}
        drivers = {name: row.get("minimum_driver") for name, row in rows.items()}
        first = next(iter(rows.values()))
        torch = str(first.get("torch_version") or first["packages"]["torch"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return Built()
    return Built(torch, {name: str(driver) for name, driver in drivers.items() if driver})


def top_folder(project: Path) -> Path:
    """The top of the git repository that a project lies in.

    Raises:
        RefusedError: if it lies in none, in one of somebody else, or in one without a commit.
    """
    try:
        top = Path(git(project, "rev-parse", "--show-toplevel"))
    except GitError as error:
        if "not a git repository (or any" in str(error):
            raise RefusedError("It is in no git repository: commit it to one.") from None
        if "dubious ownership" in str(error) or "unsafe repository" in str(error):
            refused = re.search("'(.+)'", str(error))
            path = refused[1] if refused else str(project.resolve())
            path = f'"{path}"' if " " in path else path
            raise RefusedError(
                "git refuses it, as it belongs to another user: if you trust it, run"
                f" `git config --global --add safe.directory {path}`."
            ) from None
        raise
    try:
        git(top, "rev-parse", "--verify", "--quiet", "HEAD")
    except GitError:
        raise RefusedError("Nothing is committed there yet: commit the project.") from None
    return top


def base_of(top: Path) -> tuple[str, str | None]:
    """The branch (else commit) that is checked out; a note if it is not the remote's default."""
    branch = git(top, "branch", "--show-current")
    base = branch or git(top, "rev-parse", "--short", "HEAD")
    format_ = "--format=%(symref:lstrip=3)"
    default = git(top, "for-each-ref", format_, "refs/remotes/origin/HEAD")
    if not default or default == branch:
        return base, None
    return base, f"on {'branch' if branch else 'commit'} {base}"


def without_hooks(top: Path) -> dict[str, str]:
    """Variables for git in which the hooks that a configuration names (of git 2.54) do not run."""
    listed = git(top, "config", "--list", "--name-only", "-z").split("\0")
    names = {key.rpartition(".")[0] for key in listed if re.match(r"hook\..+\.", key)}
    off = {"GIT_CONFIG_COUNT": str(len(names))}
    for number, name in enumerate(sorted(names)):
        off |= {f"GIT_CONFIG_KEY_{number}": f"{name}.enabled"}
        off |= {f"GIT_CONFIG_VALUE_{number}": "false"}
    return off


def borrow(top: Path, trial: Path) -> list[str]:
    """Make a repository that has what a checkout has, but nothing of its configuration.

    git runs what a configuration names: filters for one, when it looks whether files have changed.
    The options by which it looks at the checkout from there; `have` ends that.
    """
    own, common = (top / git(top, "rev-parse", one) for one in ("--git-dir", "--git-common-dir"))
    format_ = git(top, "rev-parse", "--show-object-format")
    init = ["init", "--quiet", "--template=", f"--object-format={format_}"]
    git(trial.parent, *init, str(trial))
    place = trial / ".git"
    (place / "info").mkdir(exist_ok=True)
    (place / "objects/info/alternates").write_text(f"{common / 'objects'}\n", encoding="utf-8")
    files = [common / name for name in ("shallow", "info/exclude", "info/attributes")]
    for file in (*files, own / "index", *own.glob("sharedindex.*")):
        if file.is_file():
            shutil.copy2(file, place / file.relative_to(own if file.parent == own else common))
    git(trial, "update-ref", "--no-deref", "HEAD", git(top, "rev-parse", "HEAD"))
    listed = [entry.partition("\n") for entry in git(top, "config", "--list", "-z").split("\0")]
    found = {key: value for key, _, value in listed}
    kept = [part for key in KEPT if key in found for part in ("-c", f"{key}={found[key]}")]
    return [f"--git-dir={place}", f"--work-tree={top}", *kept]


def have(trial: Path) -> None:
    """Check out what was borrowed."""
    for name in ("index", "info/exclude", "info/attributes"):
        (trial / ".git" / name).unlink(missing_ok=True)
    git(trial, "reset", "--quiet", "--hard")


def uncommitted(project: Path, look: list[str]) -> list[str]:
    """The files of a project that are not as they were committed, new ones with them.

    Raises:
        RefusedError: if the answers file is one of them: what it says is not what HEAD has.
    """
    if not git(project, *look, "ls-files", "--", ANSWERS):
        raise RefusedError(
            f"{ANSWERS} is not committed: run `git add --force {ANSWERS}` there and commit it."
        )
    # Whether a submodule has changes, only git with the submodule's own configuration can say.
    options = ["--porcelain", "--ignore-submodules=dirty"]
    lines = git(project, *look, "status", *options, "--", ".").splitlines()
    names = [line[3:] for line in lines]
    if any(Path(name).name == ANSWERS for name in names):
        raise RefusedError(
            f"An update was interrupted, or is not committed yet ({ANSWERS} has changed): commit"
            " it, or undo it with `git reset --hard` and remove its new files."
        )
    return names


def refuse_dirty(names: list[str]) -> None:
    """Stop where work is not committed.

    Raises:
        RefusedError: with the files.
    """
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise RefusedError(
            f"Work is not committed ({', '.join(names[:3])}{more}): commit it or stash it."
        )


def address(template: str) -> str:
    """What git calls the address of a template that a project names.

    Raises:
        RefusedError: if it is neither an address nor a git repository on this machine.
    """
    url = get_repo(template)
    if url is None:
        raise RefusedError(
            f"Its template, {without_secrets(template)}, is no git repository that can be found."
            f" Correct `_src_path` in {ANSWERS}."
        )
    return url
