"""What is needed to make a run again, and that nothing else writes to its folder meanwhile."""

import errno
import hashlib
import json
import os
import secrets
import socket
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from .data import Digits
from .device import describe
from .failures import TrainingError
from .logs import write_whole
from .processes import Processes
from .settings import Settings

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# What may change while a run goes on.
FREE = {"folder", "micro_batch", "workers", "parallel", "save_every", "keep", "log_every"}
FREE |= {"compile", "device", "profile", "memory_snapshot"}
DEFAULTS = {one.name: str(one.default) for one in fields(Settings)}


def write_about(settings: Settings, together: Processes, data: Digits) -> None:
    """Write run.json: the settings of a run, and each start of it.

    Raises:
        TrainingError: if the folder has a run with other settings, or of other data.
    """
    path = settings.folder / "run.json"
    wanted = {name: str(value) for name, value in asdict(settings).items()}
    own = fingerprint(data)
    about: dict[str, Any] = {"data": own, "settings": wanted, "starts": []}
    about |= json.loads(path.read_text("utf-8")) if path.exists() else {}
    before = DEFAULTS | about["settings"]
    for name in wanted.keys() - FREE:
        if before[name] != wanted[name]:
            option = name.replace("_", "-")
            raise TrainingError(
                f"The run in {settings.folder} has --{option} {before[name]}, and not"
                f" {wanted[name]}. Give it the same, or take another --folder."
            )
    if about["data"] != own:
        raise TrainingError(f"The run in {settings.folder} has other data. Take another --folder.")

    check_shared(settings.folder, together)  # from here on, all have read run.json
    if together.first:
        start = {
            "commit": commit(),
            "python": sys.version.split()[0],
            "device": describe(together.device),
            "processes": together.count,
        }
        about |= {"settings": wanted, "starts": [*about["starts"], start]}
        (settings.folder / "again").unlink(missing_ok=True)
        write_whole(path, json.dumps(about, indent=2) + "\n")


def fingerprint(data: Digits) -> str:
    """How many samples there are, and a hash of the first of them."""
    digest = hashlib.sha256()
    for tensor in data[torch.arange(min(64, len(data)))]:
        digest.update(tensor.numpy().tobytes())
    return f"{len(data)} samples, {digest.hexdigest()[:16]}"


def commit() -> str:
    """The commit of this program, and whether there are changes since."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    try:
        known = git("ls-files", Path(__file__).name) and git("rev-parse", "--verify", "HEAD")
        return known + " and changes" * bool(git("status", "--short")) if known else "unknown"
    except OSError:  # no git
        return "unknown"


def hold(folder: Path) -> bool:
    """Whether this process alone writes to a folder, from now on until it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)  # which is never closed
    try:
        if sys.platform == "win32":
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # or a file system that has no locks
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    os.ftruncate(file, 0)
    os.write(file, f"{os.getpid()} on {socket.gethostname()}: leave this file here\n".encode())
    return True


def check_shared(folder: Path, together: Processes) -> None:
    """Each process writes a part of a checkpoint, which is of no use in a folder of its own.

    Raises:
        TrainingError: if another run writes there, or a process does not see the first's folder.
    """
    if together.sum(torch.tensor(int(together.first and not hold(folder)))):
        raise TrainingError(
            f"Another run writes to {folder}. Wait for its end, or take another --folder."
        )
    # A new name, since network file systems remember for a while which ones there are not.
    number = int(together.sum(torch.tensor(secrets.randbits(48) * together.first)))
    mark = folder / f"shared-{number}"
    if together.first:
        mark.touch()
    together.sum(torch.zeros(1))
    missing = int(together.sum(torch.tensor(int(not mark.exists()))))
    if together.first:
        mark.unlink()
    if missing:
        raise TrainingError(
            f"{missing} of {together.count} processes do not see what the first one writes to"
            f" {folder}. Let --folder be on a file system that all machines share."
        )
