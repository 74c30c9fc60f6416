"""The lock file: whether it does, how it is made, and that it is whole or as it was."""

from __future__ import annotations

from pathlib import Path

from .index import index_trouble
from .places import LOCK_BEFORE, StopError
from .runner import Runner


def bring_lock(runner: Runner, manager: list[str]) -> None:
    """Let the lock file be made, if it is not there or does not fit pyproject.toml."""
    project = runner.project
    if project.manager == "uv":
        lock_packages(runner, [*manager, "lock", "--python", project.python])  # only if it must
    elif lock_state(runner, manager):
        lock_packages(runner, [*manager, "lock", "--no-interaction"])


def lock_state(runner: Runner, manager: list[str]) -> str:
    """Why the lock file does not do; empty if it does. Asks no network."""
    project = runner.project
    check = [*manager, "check", "--lock", "--no-interaction"]
    if project.manager == "uv":
        check = [*manager, "lock", "--check", "--offline", "--python", project.python]
    if not project.lock.exists():
        return "is missing"
    return "" if runner.ask(check) is not None else "does not fit pyproject.toml"


def why_no_lock(runner: Runner, manager: list[str]) -> str:
    """Why a machine build must do without the project's lock file; empty if it need not.

    It is made if its own index can be had: then all machines have the same of everything else.
    """
    project = runner.project
    if project.manager == "pip":
        return ""
    state = "" if runner.options.dry_run and project.lock.exists() else lock_state(runner, manager)
    if not state or project.fallback:
        return state
    own = project.builds[project.compute_platform]
    if runner.options.dry_run or not index_trouble(
        own, runner.platform, project.manager, runner.env
    ):
        try:
            bring_lock(runner, manager)
        except StopError as stop:
            print(f"  {stop.what}", flush=True)
        else:
            return ""
    return f"{state} and cannot be made here"


def lock_packages(runner: Runner, command: list[str]) -> None:
    """Run a manager's lock command, so that the lock file is whole afterwards or as before."""
    if runner.options.dry_run:
        runner.run("locking", command)
        return
    keep_lock(runner.project.lock)
    try:
        runner.run("locking", command)
    except BaseException:  # whatever it was: the lock file was not finished
        restore_lock(runner.project.lock)
        raise
    LOCK_BEFORE.unlink(missing_ok=True)


def keep_lock(lock: Path) -> None:
    """Put a copy of the lock file aside, since a killed manager may leave half of one."""
    aside = LOCK_BEFORE.with_suffix(".new")
    aside.write_bytes(lock.read_bytes() if lock.exists() else b"")
    aside.replace(LOCK_BEFORE)


def restore_lock(lock: Path) -> None:
    """Bring the lock file back to what it was before an interrupted locking."""
    if not LOCK_BEFORE.exists():
        return
    if LOCK_BEFORE.stat().st_size:
        LOCK_BEFORE.replace(lock)
    else:
        lock.unlink(missing_ok=True)
        LOCK_BEFORE.unlink()


def check_lock(runner: Runner, manager: list[str]) -> None:
    """Stop if the lock file cannot be used: to make it needs the network."""
    lock = runner.project.lock
    state = "" if runner.options.dry_run else lock_state(runner, manager)
    if not state:
        return
    todo = f"Type `{runner.project.manager} lock` where there is one, and bring the file here."
    raise StopError(5, f"{lock.name} {state}, and only a network can mend that.", todo)
