#!/usr/bin/env python3
"""Let an existing repository take over the template: propose the answers, show what would change.

python tools/adopt.py --trust ../my-repository             # changes nothing
python tools/adopt.py --trust --write ../my-repository     # one commit on a new branch
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import textwrap
import warnings
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

try:
    from copier import run_copy
    from copier.errors import UnsafeTemplateError, UserMessageError
    from plumbum import ProcessExecutionError

    from adopt_answers import Proposal, given, propose
    from adopt_find import look
    from adopt_git import BRANCH, commit, refuse_unfit
    from adopt_plan import Plan, plan, shown
    from fleet_projects import ANSWERS, GitError, RefusedError, git, what_is_wrong
    from fleet_update import remove
except ModuleNotFoundError as error:
    sys.exit(
        f"{sys.executable} has no {error.name}: run this with a Python that has copier and"
        " copier-template-extensions, such as .venv/bin/python after the README's test command."
    )

TEMPLATE = Path(__file__).resolve().parents[1]
MANY = 8  # files of a folder that are named one by one
EPILOG = """\
Looks at pyproject.toml, setup.py, setup.cfg, requirements files, environment.yml, lock files,
.python-version, the license, CI and the folders of packages. Each answer is shown with the place
that it was found in; --data gives those that are not known or are to be others.

Without --write nothing changes. With it, the new branch torch-starter has one commit, and is
checked out: `git switch -` goes back. Files that the owner has are never replaced.

exit codes: 0 shown, or written; 1 something has to be decided or mended first; 2 usage."""


def render(options: argparse.Namespace, proposal: Proposal, folder: Path) -> None:
    """Let Copier render the template with the answers.

    Raises:
        RefusedError: what the template says of an answer, or why it cannot be had.
    """
    said = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stderr(said):
            warnings.simplefilter("ignore")
            run_copy(
                options.template,
                folder,
                proposal.answers,
                defaults=True,
                unsafe=options.trust,
                quiet=True,
                vcs_ref=options.vcs_ref,
            )
    except UnsafeTemplateError:
        raise RefusedError(
            "The template runs code of its own, its version matrix: give --trust, or name it in"
            " Copier's settings.yml."
        ) from None
    except UserMessageError as error:
        name = str(error).partition(":")[0]
        source = proposal.why.get(name, "")
        shown = f" (proposed by {source}; --data {name}=... gives another)" if source else ""
        raise RefusedError(f"{error}{'' if source == '--data' else shown}") from None
    except (ValueError, OSError, ProcessExecutionError) as error:
        why = getattr(error, "stderr", "") or str(error)
        raise RefusedError(
            f"{options.template} cannot be rendered: {what_is_wrong(why)}. Check the address of the"
            " template, and the answers of --data."
        ) from None
    recorded = (folder / ANSWERS).read_text(encoding="utf-8")
    if "_commit: " not in recorded:
        raise RefusedError(
            f"{options.template} is no git repository, so there would be no updates: clone the"
            " template, or give its address with --template."
        )
    if "own_files" not in recorded:
        raise RefusedError(
            "This version of the template cannot be adopted: take a newer one by --vcs-ref."
        )


def rendered(options: argparse.Namespace, top: Path, proposal: Proposal, folder: Path) -> Path:
    """The project that the template makes, without what the owner has of the same name."""
    first, second = folder / "first", folder / "second"
    try:
        render(options, proposal, first)
    except RefusedError:
        print(answers_shown(proposal, {}), end="\n\n")
        raise
    names = {path.relative_to(first).as_posix() for path in first.rglob("*") if path.is_file()}
    tracked = set(git(top, "ls-files", "-z").split("\0"))
    same = sorted(names & tracked - {"pyproject.toml"})
    if not same:
        return first
    proposal.answers["own_files"] += [f"/{name}" for name in same]
    render(options, proposal, second)
    return second


def answers_shown(proposal: Proposal, recorded: dict[str, Any]) -> str:
    """The answers, each with what it is from; what nothing was found for is as recorded."""
    rows = [
        (name, ", ".join(value) if isinstance(value, list) else str(value), proposal.why[name])
        for name, value in proposal.answers.items()
        if name != "own_files"
    ]
    rows += [
        (name, ", ".join(value) if isinstance(value, list) else str(value), "the default")
        for name, value in recorded.items()
        if name not in proposal.answers and not name.startswith("_") and value != ""
    ]
    width, wide = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
    lines = [f"  {name:{width}}  {value:{min(wide, 30)}}  {why}" for name, value, why in rows]
    return "\n".join(["Answers, and where they are from:", *lines])


def in_lines(text: str, first: str, others: str) -> str:
    """A text in lines, in which a name or a command is never cut."""
    wrapper = textwrap.TextWrapper(98, initial_indent=first, subsequent_indent=others)
    wrapper.break_on_hyphens = wrapper.break_long_words = False
    return wrapper.fill(text)


def in_words(title: str, names: list[str]) -> str:
    """A paragraph that lists files; folders with many as one."""
    groups: dict[str, list[str]] = {}
    for name in names:
        folder = name.rpartition("/")[0]
        groups.setdefault("/".join(folder.split("/")[:2]), []).append(name)
    short = []
    for folder, files in groups.items():
        short += [f"{folder}/ ({len(files)} files)"] if len(files) > MANY and folder else files
    text = in_lines(", ".join(short), "  ", "  ")
    return f"{title}:\n{text}" if names else ""


def report(top: Path, proposal: Proposal, one: Plan) -> str:
    """All that there is to see before anything is written."""
    build = ", ".join(f"{name} {version}" for name, version in one.versions.items())
    own = {name.strip("/") for name in proposal.answers["own_files"]} - {*one.changed}
    there = sorted(name for name in own if (top / name).exists())
    parts = [
        answers_shown(proposal, one.recorded),
        f"The build: {build}",
        in_words("New files", one.added),
        in_words("Yours that stay as they are, now and with each update", there),
        shown(top, one),
    ]
    if one.by_hand:
        lines = [in_lines(line, "  - ", "    ") for line in one.by_hand]
        parts.append("\n".join(["To decide or to do by hand:", *lines]))
    return "\n\n".join(filter(None, parts))


def adopt(options: argparse.Namespace) -> int:
    """Look, show, and write where that is asked for.

    Raises:
        RefusedError: why that is not possible, and what to do.
    """
    top = refuse_unfit(options.repository)
    data = given(options.data)
    found = look(top)
    proposal = propose(found, top, data)
    if proposal.unknown:
        print(answers_shown(proposal, {}), end="\n\n")
        raise RefusedError("\n".join(proposal.unknown))
    folder = Path(tempfile.mkdtemp(prefix="torch-starter-adopt-"))
    try:
        one = plan(top, rendered(options, top, proposal, folder), found, proposal)
    finally:
        remove(folder)
    if Path(options.template).exists():
        one.by_hand.append(
            f"Its updates will come from {options.template}, which other machines do not have: give"
            " --template ADDRESS, such as gh:org/torch-starter."
        )
    print(report(top, proposal, one))
    if not options.write:
        print("\nNothing is written. --write makes one commit of it, on the new branch", BRANCH)
        return 0
    commit(top, one.texts, f"Adopt torch-starter: torch {one.release}")
    print(
        f"\nWritten as one commit on the new branch {BRANCH}, which is checked out.\n"
        "Next: sh bootstrap.sh (Windows: bootstrap.cmd), then commit its lock file.\n"
        f"Back: git switch -, and for good then: git branch -D {BRANCH}"
    )
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add: Any = parser.add_argument
    add("repository", type=Path, metavar="REPOSITORY", help="a clone with nothing uncommitted")
    add("--data", action="append", default=[], metavar="NAME=VALUE", help="an answer")
    add("--trust", action="store_true", help="run the template's code, as with copier")
    add("--write", action="store_true", help="make the branch")
    add("--vcs-ref", metavar="REF", help="the version of the template (default: the newest tag)")
    add(
        "--template",
        default=str(TEMPLATE),
        metavar="ADDRESS",
        help="as copier knows it, and as the project will remember it, such as gh:org/torch-starter"
        " (default: this clone)",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Command line: see the top of this file."""
    try:
        return adopt(parse(arguments))
    except RefusedError as error:
        print(f"adopt: {error}", file=sys.stderr)
    except GitError as error:
        print(f"adopt: git: {error}. Mend that, and run this again.", file=sys.stderr)
    except KeyboardInterrupt:
        print("adopt: stopped; nothing is written.", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
