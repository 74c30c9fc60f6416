"""Runs that are killed at any moment, and go on as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from training.runs import STEPS, Program
from training.warm import DIFFER, Warm, at_step, until

pytestmark = pytest.mark.slow

ROUNDS = range(5)  # of each kind of end; 35 kills and more in all
FEW_ENDS, MANY_ENDS = 3, 50
EPOCHS = 3
LONG = ("--epochs", str(EPOCHS), "--save-every", "4", "--keep", "2")
TELL = "os.kill(os.getpid(), signal.SIGTERM)"


@pytest.fixture(scope="module")
def uninterrupted(driver: Warm) -> dict[int, str]:
    """The weights after a run of as many processes that nothing has ended."""
    found = {}
    for processes in (1, 2):
        alone = replace(driver, folder=driver.folder.with_name(f"whole-{processes}"))
        alone.run(*LONG, processes=processes)
        found[processes] = alone.weights()
    return found


def assert_it_went_on(warm: Warm, before: str) -> None:
    assert warm.weights() == before
    warm.has_every_step_once(EPOCHS * STEPS)
    steps = [row["step"] for row in warm.rows() if "accuracy" in row]
    assert steps == [STEPS, 2 * STEPS, 3 * STEPS]


@pytest.mark.some(1)
@pytest.mark.parametrize("number", ROUNDS)
@pytest.mark.parametrize("all_of_them", [True, False])
def test_killed_it_goes_on(
    all_of_them: bool, number: int, warm: Warm, uninterrupted: dict[int, str]
) -> None:
    moment = random.Random(f"{all_of_them} {number}")
    for _ in range(2):
        ids = warm.start(*LONG, processes=2)
        time.sleep(moment.uniform(0.2, 2))
        for one in ids if all_of_them else [moment.choice(ids)]:
            os.kill(one, signal.SIGKILL)
        asked = time.monotonic()
        assert None not in warm.end(ids)
        assert time.monotonic() - asked < 30

    warm.run(*LONG, processes=2)

    assert_it_went_on(warm, uninterrupted[2])


@pytest.mark.some(1)
@pytest.mark.parametrize("number", ROUNDS)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR2"])
def test_told_to_stop_it_saves_and_goes_on(
    name: str, number: int, warm: Warm, uninterrupted: dict[int, str]
) -> None:
    [one] = warm.start(*LONG)
    until(warm.rows)
    time.sleep(random.Random(f"{name} {number}").uniform(0, 0.2))
    os.kill(one, getattr(signal, name))

    assert warm.end([one]) == [75]
    said = warm.log.read_text(encoding="utf-8").splitlines()
    step = warm.rows()[-1]["step"]
    assert said[-1] == f"Told to stop: step {step} is saved, the same command goes on."
    assert (warm.folder / "again").exists()
    assert f"Step {step} of {EPOCHS * STEPS}, " in warm.run(*LONG)
    assert_it_went_on(warm, uninterrupted[1])


def workers_of(launcher: int) -> list[int]:
    return [
        int(one) for one in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    ]


def runs(pid: int) -> bool:
    """Whether a process is there, and no zombie that waits for somebody to ask."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


def launched(
    program: Program, warm: Warm, *torchrun: str
) -> tuple[subprocess.Popen[str], list[int]]:
    """Start it by torchrun, with workers that read data, and wait for its first steps."""
    command = program.command(*LONG, "--workers", "1", processes=2, torchrun=torchrun)
    started = program.start(command)
    until(warm.rows)
    return started, workers_of(started.pid)


@pytest.mark.some(0)
@pytest.mark.parametrize("number", ROUNDS)
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_its_launcher_ends_and_no_process_goes_on_writing(
    name: str, number: int, program: Program, warm: Warm, uninterrupted: dict[int, str]
) -> None:
    started, workers = launched(program, warm)
    assert len(workers) == 2
    time.sleep(random.Random(f"{name} {number}").uniform(0, 0.3))
    started.send_signal(getattr(signal, name))
    started.wait(timeout=40)

    until(lambda: not any(map(runs, workers)), seconds=10)
    said, _ = started.communicate(timeout=20)
    assert (warm.folder / "again").exists() == (name == "SIGTERM"), said
    assert 0 < warm.rows()[-1]["step"] < EPOCHS * STEPS
    warm.run(*LONG, processes=2)
    assert_it_went_on(warm, uninterrupted[2])


@pytest.mark.some(0)
@pytest.mark.parametrize("number", ROUNDS)
def test_torchrun_starts_it_again(
    number: int, program: Program, warm: Warm, uninterrupted: dict[int, str]
) -> None:
    started, workers = launched(program, warm, "--max-restarts=1")
    time.sleep(random.Random(number).uniform(0, 0.3))
    os.kill(workers[number % 2], signal.SIGKILL)
    said, _ = started.communicate(timeout=120)

    assert started.returncode == 0, said
    assert_it_went_on(warm, uninterrupted[2])


def test_it_ends_each_time(warm: Warm, request: pytest.FixtureRequest) -> None:
    for number in range(MANY_ENDS if request.config.option.every_case else FEW_ENDS):
        own = replace(warm, folder=warm.folder.with_name(str(number)))
        assert "Done: " in own.run("--batch", "1437", processes=2)


@pytest.mark.some(0)
def test_fewer_processes_go_on_with_the_parts_of_more(warm: Warm) -> None:
    whole = replace(warm, folder=warm.folder.with_name("whole"))
    whole.run()
    fsdp = ("--parallel", "fsdp", "--micro-batch", "24")
    warm.run(*fsdp, processes=4, code=75, before=at_step(4, TELL))
    said = warm.run(processes=2, code=75, before=at_step(9, TELL))
    assert "Step 5 of 15, 2 x cpu" in said
    assert "Step 10 of 15, 1 x cpu" in warm.run()

    assert warm.weights().split()[0] == whole.weights().split()[0]
    # Sums in three orders, of micro-batches of two sizes.
    assert float(warm.python(DIFFER, str(warm.folder), str(whole.folder))) < 5e-6


EACH_ONCE = """
import itertools
import torch
from my_torch_project.data import batch_of, share_of, steps_per_epoch
tried = 0
for samples, batch, micro, world in itertools.product(
    (1, 13, 96, 1437), (1, 5, 64, 96), (1, 7, 64), (1, 2, 3, 4, 7)
):
    for epoch in (0, 1):
        seen = torch.zeros(samples)
        steps = steps_per_epoch(samples, batch)
        for step in range(epoch * steps, (epoch + 1) * steps):
            indices = batch_of(step, samples, batch, 3)
            shares = [share_of(indices, rank, world, micro) for rank in range(world)]
            assert len({tuple(len(one) for one, _ in share) for share in shares}) == 1, shares
            whole = 0.0
            for found, weights in itertools.chain.from_iterable(shares):
                assert len(found) == len(weights) <= micro
                seen.index_add_(0, found, (weights > 0).float())
                whole += float(weights.sum()) / world
            assert abs(whole - 1) < 1e-5  # the mean over the batch
        assert (seen == 1).all(), (samples, batch, micro, world)
        tried += 1
        if samples * steps > 200000:
            break
print(tried)
raise SystemExit(0)
"""


def test_every_sample_comes_once_an_epoch(warm: Warm) -> None:
    assert int(warm.python(EACH_ONCE)) >= 240
