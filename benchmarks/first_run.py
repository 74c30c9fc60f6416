"""How long a newcomer waits: from `git clone` to PASS, and what is downloaded meanwhile.

    python benchmarks/first_run.py

README.md's first command, pasted as it is: a fresh clone, an empty home folder and so empty caches,
no terminal. Once on this network as it is; once as if the PyTorch index were blocked (where this
network reaches it), or as if it were in reach (where it does not: then a loopback index has the
real CPU wheel of torch 2.13, for the running Python). Bytes are what all network interfaces
received, of the loopback only what came from that index. Linux only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "extensions"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import commands
from install.real_torch import TORCH, real_index

ROOT = Path(__file__).parents[1]
BLOCKED = "http://127.0.0.1:9/whl"
STANDS_IN = "PyPI's own wheels stand in"
# What decides how a registry is reached, and nothing else of the caller's settings.
KEPT = re.compile(r"PATH|LANG|TMPDIR|(ALL|NO|HTTPS?)_PROXY|SSL_CERT_.*|.*_CA_BUNDLE|PIP_CERT", re.I)


class Run(NamedTuple):
    """One run of the command: seconds, bytes, and what it printed."""

    seconds: float
    received: int
    said: str


def command() -> str:
    """README.md's command for a new project."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- new project -->\n```sh\n(.+)\n```", text)
    if not found:
        sys.exit("README.md has no command behind <!-- new project -->")
    return found[1]


def received(loopback: bool) -> int:
    """The bytes that this machine's network interfaces have received so far."""
    total = 0
    for line in Path("/proc/net/dev").read_text(encoding="utf-8").splitlines()[2:]:
        name, _, numbers = line.partition(":")
        if loopback or name.strip() != "lo":
            total += int(numbers.split()[0])
    return total


def first_run(typed: str, loopback: bool) -> Run:
    """Clone, run the command, and want exit code 0 and PASS."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "home").mkdir()
        env = {key: value for key, value in os.environ.items() if KEPT.fullmatch(key)}
        env |= {"HOME": str(folder / "home")}
        before, started = received(loopback), time.monotonic()
        clone = ["git", "clone", "--quiet", str(ROOT), str(folder / "torch-starter")]
        subprocess.run(clone, check=True, env=env)
        done = commands.run(typed, folder / "torch-starter", env)
        seconds, bytes_ = time.monotonic() - started, received(loopback) - before
        shutil.rmtree(folder, ignore_errors=True)  # of gigabytes, which is no part of it
        folder.mkdir()
    if done.returncode or "\nPASS  torch" not in done.stdout:
        sys.exit(f"exit code {done.returncode}:\n{done.stdout}")
    return Run(seconds, bytes_, done.stdout)


def row(title: str, run: Run) -> None:
    """Print a row of the table."""
    verdict = next(line for line in run.said.splitlines() if line.startswith("PASS"))
    print(
        f"| {title} | {run.seconds:.0f} s | {run.received / 1e6:.0f} MB | {verdict} |", flush=True
    )


def main() -> None:
    """Command line: see the top of this file."""
    typed = command()
    print("| network | clone to PASS | received | verdict |\n|---|---|---|---|", flush=True)
    as_it_is = first_run(typed, loopback=False)
    blocked = STANDS_IN in as_it_is.said
    row("PyPI alone" if blocked else "open", as_it_is)
    with ExitStack() as stack:
        more = f"--data pytorch_index_url={BLOCKED}"
        if blocked:
            index = stack.enter_context(real_index())
            python = f"{sys.version_info.major}.{sys.version_info.minor}"
            more = f"--data pytorch_index_url={index.pytorch_url} --data python_version={python} "
            more += f"--data torch_version={TORCH.rpartition('.')[0]} --data torch_packages=[]"
        other = first_run(typed.replace("--defaults", f"--defaults {more}"), loopback=blocked)
    row("open (the index on loopback)" if blocked else "PyPI alone (the index blocked)", other)


if __name__ == "__main__":
    main()
