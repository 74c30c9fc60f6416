"""The command line: set the project up, run its smoke test, say how to go on."""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

from .advice import SPACE
from .environment import read_stamp, set_up, up_to_date, why_rebuild
from .places import ROOT, SMOKE_TEST, STAMP, VENV, WINDOWS, StopError, display, venv_python
from .project import check_system, load_project
from .pythons import named_python
from .runner import Runner, guarded


def smoke_test(runner: Runner) -> None:
    """Run the smoke test; Stop if it fails, else remember that it passed."""
    command = [venv_python(VENV), str(SMOKE_TEST)]
    if runner.options.dry_run:
        print(f"  would run: {display(command)}")
        return
    print("Smoke test:", flush=True)
    code = subprocess.run(command, check=False, **runner.common).returncode
    if code:
        todo = f"Do what it says above, then run this again, or only: {display(command)}"
        raise StopError(6, f"The smoke test failed with exit code {code}.", todo)
    STAMP.write_text(json.dumps({**read_stamp(), "smoke_test": "passed"}), encoding="utf-8")


def print_next_steps() -> None:
    """How to go on, in the shell in use."""
    shell = Path(os.environ.get("SHELL", "sh")).name
    suffix = {"fish": ".fish", "csh": ".csh", "tcsh": ".csh"}.get(shell)
    activate = f"source .venv/bin/activate{suffix}" if suffix else ". .venv/bin/activate"
    if WINDOWS:
        activate = r".venv\Scripts\activate.bat (PowerShell: .venv\Scripts\Activate.ps1)"
    print("Done. Next steps:")
    if Path.cwd() != ROOT:
        print(f"  {display(['cd', str(ROOT)])}")
    python = Path(venv_python(VENV)).relative_to(ROOT)
    print(f"  {activate}\n  or, without activating: {python} -m pytest", flush=True)


def parse_options(description: str, arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bootstrap.cmd" if WINDOWS else "bootstrap.sh",
        description=description.strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--python", metavar="PATH", help="make .venv with this Python")
    parser.add_argument("--recreate", action="store_true", help="make .venv anew")
    parser.add_argument("--no-smoke", action="store_true", help="do not run the smoke test")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, change nothing")
    parser.add_argument("--verbose", action="store_true", help="show what the commands print")
    return parser.parse_args(arguments)


def bootstrap(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    project = load_project()
    build = project.build
    print(f"PyTorch {build['release']}, {build['label']}, by {project.manager}", flush=True)
    runner = Runner(project, options)
    running = runner.probe([sys.executable])
    if not running:
        raise StopError(
            3, f"{sys.executable} cannot start itself.", "Set BOOTSTRAP_PYTHON to another."
        )
    check_system(project, running.platform)
    named = named_python(runner, options.python) if options.python else None
    if up_to_date(runner, named):
        print("Nothing to do: .venv is up to date.", flush=True)
    else:
        with guarded(runner):  # look again: another run may just have ended
            current = runner.probe([venv_python(VENV)])
            set_up(runner, running, named, why_rebuild(runner, current, named))
    if not options.no_smoke and read_stamp().get("smoke_test") != "passed":
        smoke_test(runner)
    if not options.dry_run:
        print_next_steps()


def main(description: str) -> int:
    """Run, and turn what stops it into an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a pipe on Windows may not know a path's letters
            stream.reconfigure(errors="backslashreplace")
    try:
        bootstrap(parse_options(description, sys.argv[1:]))
    except StopError as stop:
        code, what, todo = stop.code, stop.what, stop.todo
    except OSError as error:
        code, what = 4, f"{error}."
        todo = "Close what uses this file, see that it may be written, then run this again."
        if error.errno == errno.ENOSPC:
            what, todo = f"The disk is full: {error}.", SPACE
    except KeyboardInterrupt:
        code, what, todo = 130, "Interrupted.", "Run this again to go on."
    else:
        return 0
    sys.stdout.flush()
    print(f"bootstrap: {what}\n{todo}", file=sys.stderr)
    return code
