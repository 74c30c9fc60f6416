"""Try a new project's bootstrap on this system, as its owner would, from an odd folder too.

    python tools/try_bootstrap.py ../project sh bootstrap.sh
    python tools/try_bootstrap.py ../project powershell -ExecutionPolicy Bypass -File bootstrap.ps1

The words behind the project are how it is started there. Needs Python >= 3.10 and nothing else. The
repository's workflow runs it where the tests cannot: on Windows with each shell, and on macOS.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WINDOWS = os.name == "nt"
PYTHON = ".venv/Scripts/python.exe" if WINDOWS else ".venv/bin/python"
ODD = "d\u00e9j\u00e0 vu, 100% (1) & x!" if WINDOWS else 'd\u00e9j\u00e0 "vu", 100% (1) & it\'s!'
SECOND_RUN = 5.0  # seconds; the aim is 1, but runners are slow, and Windows looks at every new .exe


class WrongError(Exception):
    """What a bootstrap did that it should not have done."""


@dataclass
class Trial:
    """A project, and the words that start its bootstrap."""

    project: Path
    start: list[str]
    options: list[str]
    second_run: float = SECOND_RUN

    def bootstrap(self, *arguments: str, start: Sequence[str] = (), **env: str) -> str:
        """Run it and want exit code 0; what it printed."""
        return self.expect(0, *(start or self.start), *self.options, *arguments, **env)

    def expect(self, code: int | None, *command: str, **env: str) -> str:
        """Run a command in the project, and want this exit code, or with None any but 0."""
        print(f"$ {' '.join(command)}", flush=True)
        program = shutil.which(command[0]) or command[0]  # also where `env` has another PATH
        done = subprocess.run(
            [program, *command[1:]],
            cwd=self.project,
            env={**os.environ, "PYTHONUTF8": "1", **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        print(done.stdout.encode("ascii", "backslashreplace").decode(), flush=True)
        if done.returncode == code or (code is None and done.returncode):
            return done.stdout
        raise WrongError(f"exit code {done.returncode}, not {'another' if code is None else code}")


def want(text: str, part: str) -> None:
    """Want a part in what was printed."""
    if part not in text:
        raise WrongError(f"it does not say {part!r}")


def try_refusal(trial: Trial, platform: str) -> None:
    """On a system without wheels: exit code 2, the reason, and nothing made."""
    want(trial.expect(2, *trial.start), f"not for {platform}.")
    if (trial.project / ".venv").exists():
        raise WrongError("it made .venv all the same")


def try_runs(trial: Trial) -> None:
    """Dry run, first run, second run; then the project's own tests and the full smoke test."""
    trial.bootstrap("--dry-run")
    if (trial.project / ".venv").exists():
        raise WrongError("--dry-run made .venv")
    want(trial.bootstrap(), "Next steps:")
    started = time.monotonic()
    want(trial.bootstrap(), "Nothing to do")
    seconds = time.monotonic() - started
    print(f"The second run took {seconds:.2f} s.")
    if seconds > trial.second_run:
        raise WrongError(f"that is more than {trial.second_run} s")
    if "--no-smoke" not in trial.options:
        python = str(trial.project / PYTHON)
        full = ("--device", "cpu", "--level", "full", "--json")
        report = json.loads(trial.expect(0, python, "scripts/gpu_smoke_test.py", *full))
        if report["summary"]["fail"] or not report["summary"]["pass"]:
            raise WrongError("the smoke test exits with 0, but its report does not say so")
        trial.expect(0, python, "-m", "pytest")


def try_odd_folder(trial: Trial, name: str) -> None:
    """The same in a folder whose name has what shells trip over."""
    odd = trial.project.parent / name
    skip = shutil.ignore_patterns(".venv", ".tools")
    shutil.copytree(trial.project, odd / "project", ignore=skip, symlinks=True)
    want(Trial(odd / "project", trial.start, trial.options).bootstrap(), "Next steps:")
    shutil.rmtree(odd, ignore_errors=True)


def try_windows(trial: Trial) -> None:
    """What only Windows has: the Store's alias, the execution policy, network folders."""
    system = Path(os.environ["SYSTEMROOT"], "System32")
    apps = Path(os.environ.get("LOCALAPPDATA", ""), "Microsoft", "WindowsApps")
    told = trial.expect(3, *trial.start, PATH=f"{apps};{system}")
    want(told, "no 64-bit Python 3.10 or newer was found")

    cmd = ["cmd", "/d", "/c", "bootstrap.cmd"]
    restricted = ["powershell", "-NoProfile", "-ExecutionPolicy", "Restricted"]
    if "powershell" in trial.start[0]:  # Wine's exits with 0 whatever it is asked to do
        trial.expect(None, *restricted, "-File", "bootstrap.ps1", "--dry-run")
    trial.bootstrap("--dry-run", start=cmd)

    share = Path(f"//localhost/{trial.project.drive[0]}$", *trial.project.parts[1:])
    if share.exists():
        trial.bootstrap("--dry-run", start=[*cmd[:3], str(share / "bootstrap.cmd")])
    else:
        print(f"Not tried, since there is no {share}: a network folder.")


def main() -> int:
    """Command line: see the top of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--refused", metavar="PLATFORM", help="it must say it has no wheels here")
    parser.add_argument("--no-smoke", action="store_true", help="torch is none that computes")
    parser.add_argument("--odd-name", default=ODD, help="of the odd folder")
    parser.add_argument("--second-run", type=float, default=SECOND_RUN, help="seconds it may take")
    parser.add_argument("project", type=Path)
    parser.add_argument("start", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    options = ["--no-smoke"] if asked.no_smoke else []
    trial = Trial(asked.project.absolute(), asked.start, options, asked.second_run)
    try:
        if asked.refused:
            try_refusal(trial, asked.refused)
        else:
            try_runs(trial)
            try_odd_folder(trial, asked.odd_name)
            if WINDOWS:
                try_windows(trial)
    except WrongError as error:
        print(f"Wrong: {error}.", file=sys.stderr)
        return 1
    print("All as it should be.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
