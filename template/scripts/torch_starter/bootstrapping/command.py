"""The command line: set the project up, run its smoke test, say how to go on."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from surroundings.processes import end_children_with_this_process

from .choice import choose, chosen_before
from .contents import read_stamp
from .environment import named_python, set_up, up_to_date
from .failures import IndexStopError
from .fallback import fall_back, trouble_ahead
from .fit import check_fit
from .machine_build import constraints
from .managers import find_manager, working_manager
from .places import (
    GUARD,
    LOCKS,
    LOG,
    ROOT,
    SHIM,
    SMOKE_TEST,
    STAMP,
    TOOLS,
    TYPED,
    VENV,
    WINDOWS,
    StopError,
    Voice,
    display,
    elsewhere,
    say,
    venv_python,
)
from .project import FALLBACK, Project, check_place, check_pyproject, load_project
from .pylocks import check_all, lock_all
from .runner import Runner, guarded
from .system import (
    Python,
    activation,
    parent_process,
    prepare_for_place,
    shell_in_use,
)
from .system_errors import check_kinds, check_mount, refused
from .wheelhouse import named_wheelhouse


def smoke_test(runner: Runner) -> None:
    """Run the smoke test; Stop if it fails, else remember that it passed."""
    command = [venv_python(VENV), str(SMOKE_TEST)]
    if runner.options.dry_run:
        print(f"  would run: {display(command)}")
        return
    say("Smoke test:")
    code = run_quietly(runner, command) if Voice.quiet else run_visibly(runner, command)
    if code:
        todo = f"Do what it says above, then run this again, or only: {display(command)}"
        raise StopError(6, f"The smoke test failed with exit code {code}.", todo)
    with contextlib.suppress(OSError):  # where nothing may be written, it is run each time
        STAMP.write_text(json.dumps({**read_stamp(), "smoke_test": "passed"}), encoding="utf-8")


def run_visibly(runner: Runner, command: list[str]) -> int:
    """Run the smoke test as it is."""
    with runner.child(command) as child:
        return child.wait()


def run_quietly(runner: Runner, command: list[str]) -> int:
    """Run the smoke test, and show its verdict and what is no `pass` and no `skip`."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    pipes.update(encoding="utf-8", errors="replace")
    with runner.child(command, **pipes) as child:
        said, _ = child.communicate()
    rows = re.sub(r"^  (?:pass|skip)  .*\n(?: {8}.*\n)*", "", said, flags=re.MULTILINE)
    print(re.sub(r"\n+", "\n", rows), end="", flush=True)
    return child.returncode


def note_reason(fallback: str) -> None:
    """Remember why PyPI's wheels are in .venv now: because of this, or because they were wanted."""
    stamp = read_stamp()
    if stamp.get("fallback", "") != fallback:
        STAMP.write_text(json.dumps({**stamp, "fallback": fallback}), encoding="utf-8")


def print_next_steps(project: Project) -> None:
    """How to go on, in the shell in use."""
    shell = shell_in_use(os.environ, parent_process())
    python = Path(venv_python(VENV))
    scripts = sorted(path.name for path in python.parent.iterdir())
    say("Done. Next steps:")
    if elsewhere():
        say(f"  {display(['cd', str(ROOT)])}")
    activate = activation(shell, scripts, WINDOWS)
    if "csh" in shell and "!" in str(ROOT):  # which reads as a command of its own, even in quotes
        activate = ""
    if activate:
        say(f"  {activate}")
    first = "-m pytest" if project.dev else f"{SMOKE_TEST.relative_to(ROOT)}"
    say(f"  {'or, ' if activate else ''}without activating: {python.relative_to(ROOT)} {first}")
    if project.machine_build:
        say(f"  {keeping(project)}")
    elif project.manager == "uv" and not project.dev:
        say("  `uv run` would add the tools for development: use .venv, or `uv run --no-sync`.")


def keeping(project: Project) -> str:
    """What would put the project's own build in the place of the machine's."""
    back = f"bring {project.compute_platform} back, until {SHIM} is run again"
    if project.fallback:
        back = f"ask the index of {project.compute_platform}, as {SHIM} does"
    if project.manager == "uv":
        return f"`uv run` and `uv sync` {back}: use .venv, or `uv run --no-sync`."
    if project.manager == "poetry":
        return f"`poetry sync`, `install` and `add` {back}."
    own = project.lock.relative_to(ROOT).as_posix()
    own_file = constraints(project).relative_to(ROOT).as_posix()
    return f"Installations with `-c {own}` {back}: name {own_file} instead."


def parse_options(description: str, arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=SHIM,
        description=description.strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--python", metavar="PATH", help="make .venv with this Python")
    parser.add_argument(
        "--compute-platform",
        metavar="NAME",
        help="another build for this machine alone: cpu, cu130, ..., or auto, which looks at driver"
        " and GPU; the project's files stay as they are; it stays so until another is named",
    )
    parser.add_argument(
        "--fallback",
        choices=[FALLBACK],
        help="where the index of the build cannot be reached: PyPI's own wheels, for this machine"
        " alone; the project's files stay as they are",
    )
    parser.add_argument("--recreate", action="store_true", help="make .venv anew")
    parser.add_argument("--offline", action="store_true", help="ask no network, only caches")
    folder = "install from a folder of wheels, and ask no network"
    folder += " (docs/pytorch-build.md says how to fill it)"
    parser.add_argument("--wheelhouse", metavar="DIR", type=named_wheelhouse, help=folder)
    without = "leave out the tools for development, as for an image or a server"
    parser.add_argument("--no-dev", action="store_true", help=without)
    parser.add_argument("--no-smoke", action="store_true", help="do not run the smoke test")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, change nothing")
    parser.add_argument("--lock", action="store_true", help="make all lock files, install nothing")
    checks = "say which lock files are missing or out of date; asks no network"
    parser.add_argument("--check-locks", action="store_true", help=checks)
    voice = parser.add_mutually_exclusive_group()
    voice.add_argument("--quiet", action="store_true", help="only errors, warnings, the verdict")
    voice.add_argument("--verbose", action="store_true", help="show what the commands print")
    options = parser.parse_args(arguments)
    options.offline = options.offline or options.wheelhouse is not None
    return options


def bootstrap(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    project = load_project()._replace(dev=not options.no_dev)
    check_pyproject()
    Voice.quiet, Voice.verbose = options.quiet, options.verbose
    runner = Runner(project, options)
    running = runner.probe([sys.executable])
    if not running:
        raise StopError(
            3, f"{sys.executable} cannot start itself.", "Set BOOTSTRAP_PYTHON to another."
        )
    runner.platform = running.platform
    check_kinds((), [LOCKS])
    if options.lock or options.check_locks:
        mind_locks(runner)
        return
    wanted = options.compute_platform
    if not wanted and not options.fallback:
        wanted = chosen_before(project)
    project = runner.project = choose(project, wanted, running.platform)
    build, own = project.build, project.builds[project.compute_platform]
    alone = f" (for this machine alone; the project's own is {own['label']})"
    news = f"PyTorch {build['release']}, {build['label']}, by {project.manager}"
    say(news + (alone if project.machine_build else ""))
    check_fit(project, running.platform)
    check_place()
    check_mount()
    check_kinds((project.lock, LOG, GUARD), [TOOLS])
    named = named_python(runner, options.python) if options.python else None
    if not up_to_date(runner, named) and (trouble := trouble_ahead(runner)):
        fall_back(runner, trouble)
    if up_to_date(runner, named):
        print("Nothing to do: .venv is up to date.", flush=True)
        if not options.dry_run:
            note_reason(runner.project.fallback)
    else:
        prepare_for_place(runner.env, build, project.manager)
        try:
            fill(runner, running, named)
        except IndexStopError as stop:  # the manager stumbled over what did not show before
            fall_back(runner, stop.trouble, stop)
            fill(runner, running, named)
    project = runner.project
    if not options.no_smoke and read_stamp().get("smoke_test") != "passed":
        smoke_test(runner)
    if not options.dry_run:
        print_next_steps(project)


def mind_locks(runner: Runner) -> None:
    """--lock and --check-locks: the lock files alone, and no .venv."""
    project = runner.project
    if runner.options.check_locks:
        manager: list[str] = []
        if project.manager != "pip":
            manager, _ = working_manager(runner, project.manager)
        if project.manager != "pip" and not manager:
            what = f"{project.manager} is not here, so {project.lock.name} cannot be checked."
            raise StopError(5, what, f"Install the project, or {project.manager}: {TYPED}")
        check_all(runner, manager)
        return
    running = runner.probe([sys.executable])
    with guarded(runner):
        pip = project.manager == "pip" or not running
        lock_all(
            runner, [] if pip or not running else find_manager(runner, running, project.manager)
        )


def fill(runner: Runner, running: Python, named: Python | None) -> None:
    """Make .venv what it should be, while no other run does."""
    with guarded(runner):  # look again: another run may just have ended
        set_up(runner, running, named)


def main(description: str) -> int:
    """Run, and turn what stops it into an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a pipe on Windows may not know a path's letters
            stream.reconfigure(errors="backslashreplace")
    end_children_with_this_process()
    try:
        bootstrap(parse_options(description, sys.argv[1:]))
    except StopError as stop:
        code, what, todo = stop.code, stop.what, stop.todo
    except BrokenPipeError:  # `| head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        code, (what, todo) = 4, refused(error)
    except KeyboardInterrupt:
        code, what, todo = 130, "Interrupted.", "Run this again to go on."
    else:
        return 0
    sys.stdout.flush()
    typed = ("copier update", "poetry source", f"  {TYPED}")
    if elsewhere() and any(command in todo for command in typed):
        todo += f"\nThese commands are for the folder {ROOT}"
    print(f"bootstrap: {what}\n{todo}", file=sys.stderr)
    return code
