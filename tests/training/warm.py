"""Many runs of the program, cheap: forks of one process that has imported torch."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.runs import READ, SHORT

DRIVER = Path(__file__).with_name("warm_driver.py")
IN_ITS_OWN_MOUNTS = ("unshare", "--map-root-user", "--mount")
# Run before the program: a process gets a signal when it comes to a step.
AT_A_STEP = """
import os, signal
from my_torch_project.training import Trainer
take = Trainer.take_step
def told(self):
    if self.step == {step}:
        {what}
    return take(self)
Trainer.take_step = told
"""
DIFFER = """
import sys, torch
one, other = (torch.load(f"{folder}/all.pt")["model"] for folder in sys.argv[1:])
assert one.keys() == other.keys()
print(max(float((one[name] - other[name]).abs().max()) for name in one))
sys.exit(0)
"""


def at_step(step: int, what: str) -> str:
    """Code that lets a process do something when it comes to a step."""
    return AT_A_STEP.format(step=step, what=what)


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait for something that has to come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.01)


@dataclass
class Warm:
    """Starts the program in one folder; `mounts` says whether it may mount what it wants."""

    driver: subprocess.Popen[str]
    mounts: bool
    folder: Path

    def ask(self, **request: Any) -> Any:  # noqa: ANN401
        """One request to the driver, and its answer."""
        assert self.driver.stdin
        assert self.driver.stdout
        self.driver.stdin.write(json.dumps(request) + "\n")
        self.driver.stdin.flush()
        return json.loads(self.driver.stdout.readline())

    def start(
        self,
        *arguments: str,
        processes: int = 1,
        before: str = "",
        env: dict[str, str] | None = None,
    ) -> list[int]:
        """Start it, in as many processes that find each other as torchrun's do; their ids."""
        self.log.unlink(missing_ok=True)
        words = ["--folder", str(self.folder), *SHORT, *arguments]
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = str(server.getsockname()[1])
        more = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
        ids = []
        for rank in range(processes):
            own = {**more, "RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}
            asked = {"env": {**own, **(env or {})}, "before": before, "arguments": words}
            ids.append(self.ask(log=str(self.log), **asked))
        return ids

    @property
    def log(self) -> Path:
        """What the program says goes here."""
        return self.folder.with_suffix(".log")

    def end(self, ids: list[int]) -> list[int]:
        """The exit codes of processes, when all have ended."""
        codes = [self.ask(wait=one) for one in ids]
        for one, code in zip(ids, codes, strict=True):
            if code is None:
                os.kill(one, signal.SIGKILL)
        return codes

    def run(self, *arguments: str, code: int = 0, **options: Any) -> str:  # noqa: ANN401
        """Run it to its end, with the same code in each process; all that it said."""
        codes = self.end(self.start(*arguments, **options))
        said = self.log.read_text(encoding="utf-8")
        assert set(codes) == {code}, (codes, said)
        return said

    def python(self, source: str, *arguments: str) -> str:
        """Run some source there; all that it printed."""
        log = self.folder.with_suffix(".python")
        log.unlink(missing_ok=True)
        asked = {"env": {}, "before": f"{source}\nraise SystemExit(0)", "arguments": arguments}
        [code] = self.end([self.ask(log=str(log), **asked)])
        said = log.read_text(encoding="utf-8")
        assert code == 0, said
        return said

    def weights(self) -> str:
        """The newest checkpoint's name, and the hash of the model in it."""
        return self.python(READ, str(self.folder))

    def rows(self) -> list[dict[str, Any]]:
        """What metrics.jsonl has."""
        file = self.folder / "metrics.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def has_every_step_once(self, last: int) -> None:
        """Assert that of metrics.jsonl."""
        assert [row["step"] for row in self.rows() if "loss" in row] == list(range(1, last + 1))
