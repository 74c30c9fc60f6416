#!/usr/bin/env python3
"""What an update of the template would do to many projects, in one table; --apply does it.

python tools/fleet.py ~/clones                 # a folder of checkouts, or checkouts
python tools/fleet.py --apply ~/clones
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import secrets
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import IO

try:
    from plumbum import colors
    from plumbum.cli.progress import Progress

    from fleet_projects import ANSWERS, RefusedError, built, find, read
    from fleet_update import (
        ATTENTION,
        CONFLICT,
        FAILED,
        MADE,
        REFUSED,
        THERE,
        UP_TO_DATE,
        UPDATE,
        Row,
        Template,
        begin_worker,
        look_after,
        newest,
        redirected,
        remove,
    )
except ModuleNotFoundError as error:
    sys.exit(
        f"{sys.executable} has no {error.name}: run this with a Python that has copier and"
        " copier-template-extensions, such as .venv/bin/python after the README's test command."
    )

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

PREFIX = "torch-starter-fleet-"
STATES = (UP_TO_DATE, UPDATE, MADE, THERE, *ATTENTION)
EPILOG = """\
For each project: its compute platform, its torch (as built, and as asked for), its version of the
template, and what an update to the newest version does, found out by doing it in a temporary clone.
A checkout is only ever read; where work is not committed, nothing is tried. A folder is searched
one level deep; what lies deeper has to be named.

With --apply, each update without conflicts becomes a commit on a new branch,
template-update/VERSION, on top of what is checked out; the checkout does not switch to it. It is
not pushed, and lock files are left to bootstrap. A run that was stopped, in whatever way, can be
run again: it goes on with the projects that do not have their branch yet.

exit codes: 0 nothing needs a person; 1 a project conflicts, was refused or failed; 2 usage;
130 stopped by Ctrl-C. NO_COLOR turns colors off."""


@contextmanager
def workspace() -> Iterator[Path]:
    """A temporary folder for this run; those of runs that were killed are removed first.

    A run has locked a file before its folder is there, and the lock ends with the process, however
    that ends.
    """
    base = Path(tempfile.gettempdir())
    for lock in base.glob(f"{PREFIX}*.lock"):
        with suppress(OSError):
            with lock.open("r+") as file:
                if is_locked(file):
                    continue
                remove(lock.with_suffix(""))
            lock.unlink()
    folder = base / f"{PREFIX}{secrets.token_hex(4)}"
    lock = folder.with_suffix(".lock")
    try:
        with lock.open("x") as file:
            is_locked(file)
            folder.mkdir(mode=0o700)
            try:
                yield folder
            finally:
                remove(folder)
    finally:
        lock.unlink(missing_ok=True)


def is_locked(file: IO[str]) -> bool:
    """Whether another process holds the lock of a file; else this one has it now."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def rows_of(paths: Iterable[Path]) -> list[Row]:
    """A row for each project, with what can be read without git."""
    rows = []
    for path in paths:
        build = built(path)
        row = Row(str(path), torch=build.torch, minimum_driver=build.minimum_driver)
        try:
            recorded = read(path)
            row.template, row.version = recorded.template, recorded.commit
            row.compute_platform = recorded.compute_platform
            row.torch_version = recorded.torch_version
        except RefusedError as error:
            row.state, row.reason = REFUSED, str(error)
        rows.append(row)
    return rows


def run(rows: list[Row], options: argparse.Namespace, folder: Path) -> Generator[Row, None, None]:
    """Look after each project that can be read; the rows as they are done."""
    todo = [row for row in rows if not row.state]
    yield from (row for row in rows if row.state)
    names = sorted({row.template for row in todo if row.template})
    templates: dict[str, Template] = {
        name: newest(name, folder / f"template-{number}.git", options.prereleases)
        for number, name in enumerate(names)
    }
    jobs = max(1, min(options.jobs, len(todo)))
    # `spawn` is what all systems have, and forks no threads.
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=begin_worker,
        initargs=(folder, redirected(templates)),
    )
    try:
        waiting: dict[Future[Row], Row] = {}
        for row in todo:
            template = templates[row.template or ""]
            job = (Path(row.project), row, template, options.trust, options.apply)
            waiting[pool.submit(look_after, *job)] = row
        for done in as_completed(waiting):
            row = waiting[done]
            if isinstance(done.exception(), BrokenProcessPool):
                row.state, row.reason = FAILED, "A worker process was killed: run this again."
                yield row
            else:
                yield done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in multiprocessing.active_children():
            worker.terminate()
            worker.join()


def shown_progress(rows: Iterable[Row], total: int) -> Iterator[Row]:
    """The rows; on a terminal with a bar, else with a line for each."""
    if sys.stderr.isatty():
        with redirect_stdout(sys.stderr):  # where plumbum's bar is drawn
            yield from Progress.wrap(rows, length=total)
        return
    for number, row in enumerate(rows, start=1):
        print(f"{number}/{total} {row.project}: {row.state}", file=sys.stderr)
        yield row


# --- What is shown ----------------------------------------------------------------------------


def what_happens(row: Row) -> str:
    """The last column of the table."""
    if row.state in (REFUSED, FAILED):
        return f"{row.state}: {row.reason}"
    state = f"{row.state} ({row.base_note})" if row.base_note else row.state
    if row.state == UP_TO_DATE:
        return state
    moves = row.changed or "the same build"
    if row.state == CONFLICT:
        return f"{state} in {', '.join(row.conflicts)} (else: {moves})"
    return f"{state}: {moves}"


def cells(row: Row) -> list[str]:
    """The columns of the table."""
    torch = f"{row.torch or '?'} ({row.torch_version})" if row.torch_version else "-"
    version = (row.version or "-").removeprefix("v")
    if row.new_version and row.state != UP_TO_DATE:
        version += f" -> {row.new_version}"
    return [row.project, row.compute_platform or "-", torch, version, what_happens(row)]


def table(rows: list[Row]) -> str:
    """The rows, as wide as the terminal; in a pipe, each is one line."""
    head = ["project", "platform", "torch", "template", "update"]
    lines = [head, *map(cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    indent = sum(widths) + 2 * len(widths)
    room = shutil.get_terminal_size().columns - indent if sys.stdout.isatty() else 0
    text = []
    for row, line in zip([None, *rows], lines, strict=True):
        start = "".join(f"{cell:{width}}  " for cell, width in zip(line, widths, strict=False))
        last = textwrap.wrap(line[4], room, break_on_hyphens=False) if room >= 30 else [line[4]]
        if row is None:
            text.append(colors.bold | f"{start}{line[4]}")
            continue
        style = colors.red if row.state in ATTENTION else colors.green
        style = colors.yellow if row.state == UPDATE else style
        text += [
            f"{start}{style | last[0]}",
            *(" " * indent + str(style | part) for part in last[1:]),
        ]
    return "\n".join(map(str, text))


def notes(rows: list[Row]) -> str:
    """What the updates say beside what they change: platforms that have ended, with the way on."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        said = (row.message or "").partition("Install and check it with ")[2].partition("\n")[2]
        if said.strip():
            groups.setdefault(said.strip(), []).append(row.project)
    return "\n\n".join(f"{', '.join(names)}:\n{said}" for said, names in groups.items())


def summary(rows: list[Row], left_out: list[Path]) -> str:
    """How many projects are in each state, and which folders are not among them."""
    count = {state: sum(row.state == state for row in rows) for state in STATES}
    found = ", ".join(f"{number} {state}" for state, number in count.items() if number)
    return f"{len(rows)} projects: {found}{not_looked_at(left_out)}"


def not_looked_at(left_out: list[Path], most: int = 20) -> str:
    """The end of a sentence with the folders that are left out; empty without one."""
    if not left_out:
        return ""
    more = f" and {len(left_out) - most} more" if len(left_out) > most else ""
    return f"; left out, with no {ANSWERS}: {', '.join(map(str, left_out[:most]))}{more}"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="checkouts, and folders of checkouts"
    )
    parser.add_argument("--list", type=Path, metavar="FILE", help="a file with a path on each line")
    parser.add_argument("--apply", action="store_true", help="make the branches")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run the templates' code although settings.yml does not name them, as with copier",
    )
    parser.add_argument("--prereleases", action="store_true", help="also versions such as 1.5.0rc1")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="at once (default: the CPUs)"
    )
    parser.add_argument("--json", action="store_true", help="all that is known, as JSON")
    options = parser.parse_args(arguments)
    if options.list:
        try:
            lines = options.list.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            parser.error(f"{options.list} cannot be read: {error}")
        options.paths += [Path(line.strip()) for line in lines if line.strip()]
    if options.jobs < 1:
        parser.error("--jobs is at least 1")
    options.projects, options.left_out = find(options.paths)
    if not options.projects:
        what = "no project found: name checkouts, or a folder that has some"
        parser.error(what + not_looked_at(options.left_out))
    return options


def main(arguments: list[str] | None = None) -> int:
    """Command line: see the top of this file."""
    options = parse(arguments)
    rows = rows_of(options.projects)
    done: list[Row] = []
    stopped = False
    try:
        with workspace() as folder, closing(run(rows, options, folder)) as results:
            for row in shown_progress(results, len(rows)):
                done += [row]
    except KeyboardInterrupt:
        stopped = True
    order = [row.project for row in rows]
    done.sort(key=lambda row: order.index(row.project))  # as they were named
    if options.json:
        left_out = [str(path) for path in options.left_out]
        projects = [row.as_json() for row in done]
        print(json.dumps({"projects": projects, "left_out": left_out}, indent=2))
    else:
        parts = [table(done), notes(done), summary(done, options.left_out)]
        print("\n\n".join(filter(None, parts)))
    if stopped:
        left = len(rows) - len(done)
        print(f"Stopped; {left} projects are left. Run it again to go on.", file=sys.stderr)
        return 130
    return int(any(row.state in ATTENTION for row in done))


if __name__ == "__main__":
    sys.exit(main())
