"""Runs of the program that a project trains with: started, killed, and looked at afterwards."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHORT = ("--epochs", "1", "--batch", "96", "--micro-batch", "96", "--log-every", "1")
STEPS = 15  # of an epoch
# In a process of its own, since the tests' Python has no torch.
READ = """
import hashlib, pathlib, sys, torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
folder = pathlib.Path(sys.argv[1])
newest = sorted(folder.glob("checkpoints/step-*"))[-1]
dcp_to_torch_save(newest, folder / "all.pt")
found = torch.load(folder / "all.pt")["model"]
content = b"".join(value.numpy().tobytes() for value in found.values())
print(newest.name, hashlib.sha256(content).hexdigest())
"""


@dataclass
class Program:
    """The program in one folder; `env` is added to the environment of each run."""

    python: Path
    source: Path
    folder: Path
    env: dict[str, str] | None = None

    def command(
        self, *arguments: str, processes: int = 0, torchrun: tuple[str, ...] = ()
    ) -> list[str]:
        """The command line: by itself, or in some processes that torchrun starts."""
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        launched = [*launcher, *torchrun] if processes else []
        program = ["-m", "my_torch_project", "--folder", str(self.folder), *SHORT, *arguments]
        return [str(self.python), *launched, *program]

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        """Start it in a session of its own, whose processes can be killed together."""
        variables = {"PYTHONPATH": str(self.source), "OMP_NUM_THREADS": "1", **(self.env or {})}
        return subprocess.Popen(
            command,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, processes: int = 0, code: int = 0) -> str:
        """Run it to its end; all that it said."""
        running = self.start(self.command(*arguments, processes=processes))
        said, _ = running.communicate(timeout=300)
        assert running.returncode == code, said
        return said

    def weights(self) -> tuple[str, str]:
        """The newest checkpoint's name, and the hash of the model in it."""
        done = subprocess.run(
            [self.python, "-c", READ, self.folder], capture_output=True, text=True, check=True
        )
        name, digest = done.stdout.split()
        return name, digest

    def metrics(self) -> list[dict[str, Any]]:
        """What metrics.jsonl has."""
        lines = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]
