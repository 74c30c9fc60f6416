"""Several machines, each with its own network: together, cut off from each other, and alone."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from training.cluster import Machine, connect, machine
from training.runs import STEPS, Program
from training.warm import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(shutil.which, ("ip", "nsenter", "unshare")))
        or subprocess.run(["unshare", "-num", "true"], capture_output=True).returncode != 0,
        reason="needs iproute2, and root for namespaces",
    ),
]


NETWORK = {"GLOO_SOCKET_IFNAME": "eth0"}


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    """Two machines that reach each other, with Debian's address for their own names."""
    machines = machine(tmp_path, "one"), machine(tmp_path, "two")
    connect(*machines)
    yield machines
    for each in machines:
        each.end()


@pytest.fixture(scope="module")
def alone(project: Path, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A run by itself, where even the loopback is down, and the machine's name is unknown."""
    folder = tmp_path_factory.mktemp("alone")
    nowhere = machine(folder, "nowhere", hosts="127.0.0.1 localhost\n")
    program = Program(python, project / "src", folder / "run")
    try:
        said(program.start(nowhere.inside(*program.command())), 0)
    finally:
        nowhere.end()
    return program


def said(running: subprocess.Popen[str], code: int, seconds: float = 100) -> str:
    """What a run said until its end."""
    text, _ = running.communicate(timeout=seconds)
    assert running.returncode == code, text
    return text


def read_until(running: subprocess.Popen[str], text: str) -> None:
    """Wait until a run says something."""
    assert running.stdout
    assert any(text in line for line in running.stdout)


@pytest.mark.some(0)
def test_a_machine_that_is_cut_off_comes_back_and_the_weights_are_the_same(
    two: tuple[Machine, Machine], program: Program, alone: Program, tmp_path: Path
) -> None:
    """Neither hears of it: both wait for TRAIN_TIMEOUT_MINUTES, and say so."""
    options = ("--save-every", "4")
    whole = replace(program, folder=tmp_path / "whole", env=NETWORK)
    running = [one.start(whole, *options) for one in two]
    assert any("Step 0 of 15, 2 x cpu" in text for text in [said(one, 0) for one in running])
    for row, expected in zip(whole.metrics(), alone.metrics(), strict=True):
        assert row.get("loss") == pytest.approx(expected.get("loss"), abs=1e-6)

    program.env = NETWORK | {"TRAIN_TIMEOUT_MINUTES": "0.2"}
    running = [one.start(program, *options) for one in two]
    where = (program.folder / "checkpoints").glob
    until(lambda: any(where("step-*4")) or any(where("step-*8")))
    two[1].link("down")
    for one in running:
        read_until(one, "Another process of this run is gone")
        os.killpg(one.pid, signal.SIGKILL)
        one.wait()
    two[1].link("up")
    texts = [said(one, 0) for one in [each.start(program, *options) for each in two]]
    assert re.search(r"^Step (4|8|12) of 15, 2 x cpu", "".join(texts), re.MULTILINE)
    assert program.weights() == whole.weights()


@pytest.mark.some(0)
def test_machines_that_do_not_share_the_folder_are_told(
    two: tuple[Machine, Machine], program: Program
) -> None:
    program.folder, program.env = Path("/srv/run"), NETWORK
    for text in [said(one, 1) for one in [each.start(program) for each in two]]:
        assert "1 of 2 processes do not see what the first one writes to /srv/run. Let" in text


@pytest.mark.some(0)
def test_debians_address_for_a_machines_own_name_is_explained(
    two: tuple[Machine, Machine], program: Program
) -> None:
    program.env = {"TRAIN_TIMEOUT_MINUTES": "0.3"}
    texts = [said(one, 1) for one in [each.start(program) for each in two]]
    assert "The machines do not reach each other. Set GLOO_SOCKET_IFNAME and" in "".join(texts)


@pytest.mark.some(0)
def test_a_machine_without_a_network_and_with_a_name_that_leads_nowhere_trains(
    alone: Program,
) -> None:
    assert [row["step"] for row in alone.metrics() if "loss" in row] == [*range(1, STEPS + 1)]
