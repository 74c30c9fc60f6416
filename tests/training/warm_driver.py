"""Starts the program again and again, in forks of a process that has imported all of it."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from typing import Any

WAIT = 120.0  # seconds


def become(asked: dict[str, Any]) -> None:
    """Be the program: its words go to a file, and `before` is run in it first."""
    os.setsid()
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(log, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(asked["env"])
    sys.argv = ["my_torch_project", *asked["arguments"]]
    code = 99
    try:
        exec(asked["before"], {})
        importlib.import_module("my_torch_project.__main__").main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 98
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)


def waited(pid: int) -> int | None:
    """A process's exit code; None if it does not end."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return None


importlib.import_module("my_torch_project.__main__")
for line in sys.stdin:
    request = json.loads(line)
    if "wait" in request:
        answer = waited(request["wait"])
    elif not (answer := os.fork()):
        become(request)
    print(json.dumps(answer), flush=True)
