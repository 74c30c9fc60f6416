"""What goes wrong is told in two sentences, and no checkpoint is lost by it."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from training.runs import STEPS
from training.warm import Warm, at_step, until

pytestmark = pytest.mark.slow

SAVES = ("--save-every", "4")
FAKE_GPUS = """
import torch
torch.accelerator.current_accelerator = lambda *_: torch.device("cuda")
torch.accelerator.is_available = lambda: True
torch.accelerator.device_count = lambda: 0
"""
HUGE = """
import resource
from my_torch_project import training
resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
made = training.Classifier
training.Classifier = lambda: made(width=1 << 15)
"""
OTHER_MODEL = """
from my_torch_project import training
made = training.Classifier
training.Classifier = lambda: made(width={width})
"""
TIMELESS = {"LOCAL_RANK": "0", "TRAIN_TIMEOUT_MINUTES": "ten"}
# As PyTorch's writer of archives says it, when the system's own error is out of sight.
POSITION = (
    "raise RuntimeError('[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598')"
)
NOTHING_HELD_OUT = """
from my_torch_project import __main__
made = __main__.Digits
class Empty(made):
    __len__ = lambda self: 0
__main__.Digits = lambda held_out: Empty()
"""
NO_NUMBERS = "self.data.images[:] = float('nan')"
KILL_READER = "[one.kill() for one in __import__('multiprocessing').active_children()]"
MOUNT = "import subprocess; subprocess.run(['mount', *{words!r}], check=True)"


OPTIMIZER_STEPS = """
import pathlib, sys, torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
folder = pathlib.Path(sys.argv[1])
newest = sorted(folder.glob("checkpoints/step-*"))[-1]
dcp_to_torch_save(newest, folder / "all.pt")
state = torch.load(folder / "all.pt", weights_only=False)["optimizer"]["state"]
print(*{int(one["step"]) for one in state.values()})
raise SystemExit(0)
"""
OTHER_DATA = """
from my_torch_project.data import Digits
item = Digits.__getitem__
Digits.__getitem__ = lambda self, at: (item(self, at)[0], 9 - item(self, at)[1])
"""
NO_BIAS = """
from my_torch_project import training
from torch import nn
made = training.Classifier
def without():
    model = made()
    model[-1] = nn.Linear(128, 10, bias=False)
    return model
training.Classifier = without
"""
DROPOUT = """
from my_torch_project import training
from torch import nn
made = training.Classifier
training.Classifier = lambda: nn.Sequential(made(), nn.Dropout(0.9))
"""
NEVER_DROPPED = """
from my_torch_project import __main__
write = __main__.Trainer.measure
def told(self, data):
    self.model[1].p = 0.0
    scores = write(self, data)
    print(f"{float((scores.argmax(1) == data.labels).float().mean()):.4f}")
    return scores
__main__.Trainer.measure = told
"""


def flip(file: Path, at: int) -> None:
    """Change a bit of a file."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def two_sentences(said: str, *words: str) -> None:
    """Assert that one line says what is wrong and what to do, after the lines of the steps."""
    assert "Traceback" not in said
    line = said.splitlines()[-1]
    assert all(re.search(word, line) for word in words), said
    assert len(re.findall(r"[.)](?: |$)", line)) >= 2, line


@pytest.mark.parametrize(
    ("arguments", "env", "before", "words"),
    [
        (("--batch", "5000"), {}, "", ("5000", "smaller --batch")),
        ((), {"SLURM_STEP_NUM_TASKS": "2"}, "", ("srun", "torchrun")),
        ((), {"LOCAL_RANK": "0"}, FAKE_GPUS, ("process 1", "0 GPUs", "nproc-per-node")),
        ((), {}, HUGE, ("Memory is full", "--micro-batch")),
        ((), {}, at_step(3, NO_NUMBERS), ("step 4 is nan", "--learning-rate")),
        (("--workers", "1"), {}, at_step(5, KILL_READER), ("reads data", "--workers 0")),
        (("--keep", "-1"), {}, "", ("--keep -1", "larger value")),
        (("--micro-batch", "0"), {}, "", ("--micro-batch 0", "larger value")),
        (("--learning-rate", "nan"), {}, "", ("--learning-rate nan", "larger value")),
        (("--workers", "-1"), {}, "", ("--workers -1", "larger value")),
        (("--folder", "/proc/none/run"), {}, "", ("cannot be written", "--folder")),
        ((), TIMELESS, "", ("TRAIN_TIMEOUT_MINUTES=ten", "number of minutes")),
        ((), {}, at_step(3, POSITION), ("disk is full", "Make room")),
        ((), {}, NOTHING_HELD_OUT, ("Nothing is held out", "data.py")),
    ],
)
def test_a_mistake_is_told(
    arguments: tuple[str, ...], env: dict[str, str], before: str, words: tuple[str, ...], warm: Warm
) -> None:
    two_sentences(warm.run(*arguments, code=1, env=env, before=before), *words)


@pytest.mark.parametrize(
    "error",
    [
        "ConnectionRefusedError(111, 'Connection refused')",  # of a server that has the data
        "EOFError('Ran out of input')",
        "FileNotFoundError(2, 'No such file', '/data/digits.npz')",
        "PermissionError(13, 'Permission denied', '/data/digits.npz')",
        "KeyError('NCCL')",
    ],
)
def test_an_error_of_ones_own_code_is_shown_as_it_is(error: str, warm: Warm) -> None:
    said = warm.run(code=1, before=at_step(3, f"raise {error}"))
    assert said.strip().splitlines()[-1].startswith(error.partition("(")[0])
    assert "Traceback" in said


def test_the_optimizer_has_taken_as_many_steps_as_the_program(warm: Warm) -> None:
    warm.run(*SAVES, code=75, before=at_step(6, "os.kill(os.getpid(), signal.SIGTERM)"))
    warm.run(*SAVES)
    assert warm.python(OPTIMIZER_STEPS, str(warm.folder)).split() == [str(STEPS)]


def test_other_data_and_another_model_are_refused_and_a_new_option_is_not(warm: Warm) -> None:
    warm.run(*SAVES)
    before = warm.weights()
    two_sentences(warm.run(*SAVES, code=1, before=OTHER_DATA), "other data", "another --folder")
    said = warm.run(*SAVES, code=1, before=NO_BIAS)
    two_sentences(said, r"another model: \d+\.bias differs", "another --folder")
    about = warm.folder / "run.json"
    text = about.read_text(encoding="utf-8").replace('    "clip": "1.0",\n', "")
    about.write_text(text, encoding="utf-8")  # as of a run that is older than the option
    assert "This run has ended before" in warm.run(*SAVES)
    assert len(json.loads(about.read_text(encoding="utf-8"))["starts"]) == 3
    two_sentences(warm.run("--clip", "2", code=1), "--clip 1.0", "another --folder")
    assert warm.weights() == before


def test_what_is_measured_is_measured_without_what_only_training_has(warm: Warm) -> None:
    said = warm.run("--seed", "20261128000000", before=DROPOUT)
    assert "Done: " in said
    accuracy = [row["accuracy"] for row in warm.rows() if "accuracy" in row][-1]
    again = warm.run("--seed", "20261128000000", before=DROPOUT + NEVER_DROPPED)
    assert "This run has ended before" in again
    assert f"{accuracy:.4f}" in again


def test_a_broken_checkpoint_is_left_out_and_a_strange_one_told(warm: Warm) -> None:
    warm.run(*SAVES)
    before = warm.weights()
    newest = sorted((warm.folder / "checkpoints").iterdir())[-1]
    part = newest / "__0_0.distcp"
    for spoil in (
        lambda: os.truncate(part, part.stat().st_size // 2),
        lambda: (newest / ".metadata").write_bytes(b"spoilt"),
        lambda: part.write_bytes(bytes(part.stat().st_size)),
        lambda: flip(part, part.stat().st_size // 2),
        part.unlink,
    ):
        spoil()
        said = warm.run(*SAVES)
        assert said.count("is broken, and step-00000012 is taken: ") == 1
        assert f"Step 12 of {STEPS}" in said
        assert warm.weights() == before
        warm.has_every_step_once(STEPS)

    said = warm.run(*SAVES, code=1, before=OTHER_MODEL.format(width=16))
    two_sentences(said, "another model", "another --folder")
    two_sentences(warm.run("--seed", "1", code=1), "--seed 0", "another --folder")
    assert warm.weights() == before


def test_without_any_whole_checkpoint_it_begins_anew_and_says_so(warm: Warm) -> None:
    warm.run("--keep", "1")
    before = warm.weights()
    [only] = (warm.folder / "checkpoints").iterdir()
    (only / ".metadata").unlink()
    said = warm.run("--keep", "1", env={"PATH": ""})
    assert f"{only} is broken, and the beginning is taken: " in said
    assert warm.weights() == before
    warm.has_every_step_once(STEPS)
    about = json.loads((warm.folder / "run.json").read_text(encoding="utf-8"))
    assert about["starts"][1]["commit"] == "unknown"  # git is not found


@pytest.mark.parametrize("processes", [1, 2])
def test_two_runs_do_not_write_to_one_folder(processes: int, warm: Warm) -> None:
    [first] = warm.start(before=at_step(5, "os.kill(os.getpid(), signal.SIGSTOP)"))
    until(lambda: len(warm.rows()) == 5)
    log = warm.log.rename(warm.log.with_suffix(".first"))
    said = warm.run(processes=processes, code=1)
    two_sentences(said, "Another run writes to", "another --folder")
    assert len(warm.rows()) == 5
    os.kill(first, signal.SIGCONT)
    assert warm.end([first]) == [0], log.read_text(encoding="utf-8")
    warm.has_every_step_once(STEPS)


def test_interrupted_it_says_so_in_a_line(warm: Warm) -> None:
    said = warm.run(code=130, before=at_step(5, "os.kill(os.getpid(), signal.SIGINT)"))
    two_sentences(said, "Interrupted", "goes on")


def test_when_one_process_fails_the_others_end_too(warm: Warm) -> None:
    fails = at_step(5, "if self.together.rank: raise MemoryError('none')")
    lines = warm.run(processes=2, code=1, before=fails).splitlines()
    assert any("Another process of this run is gone" in line for line in lines), lines
    assert any("Memory is full (none)" in line for line in lines), lines


def test_a_full_disk_and_a_read_only_one_lose_nothing(warm: Warm) -> None:
    if not warm.mounts:
        pytest.skip("unshare may not make mounts here")
    warm.folder.mkdir()
    folder = str(warm.folder)
    small = MOUNT.format(words=["-t", "tmpfs", "-o", "size=1300k", "none", folder])
    warm.python(small)
    try:
        said = warm.run(*SAVES, code=1)
        two_sentences(said, "disk is full", "Make room")
        warm.python(MOUNT.format(words=["-o", "remount,size=100m,ro", folder]))
        two_sentences(warm.run(*SAVES, code=1), "cannot be written", "--folder")
        warm.python(MOUNT.format(words=["-o", "remount,rw", folder]))
        said = warm.run(*SAVES)
        assert re.search(rf"Step [1-9]\d* of {STEPS}", said), said
    finally:
        warm.python(f"import subprocess; subprocess.run(['umount', {folder!r}], check=True)")


SLOW = """
import os, time
sync = os.fsync
os.fsync = lambda number: (time.sleep(1), sync(number))
"""


@pytest.mark.some(0)
@pytest.mark.parametrize("processes", [1, 2])
def test_a_slow_disk_does_not_hold_it_up(processes: int, warm: Warm, driver: Warm) -> None:
    warm.run("--save-every", "7", processes=processes)
    before = warm.weights()
    for path in (warm.folder / "checkpoints").glob("step-00000015"):
        path.rename(warm.folder / "aside")
    (warm.folder / "checkpoints" / "step-00000014").rename(warm.folder / "aside-14")
    said = warm.run("--save-every", "7", processes=processes, before=SLOW)

    assert f"Step 7 of {STEPS}" in said
    assert warm.weights() == before
    assert len(list((warm.folder / "checkpoints").iterdir())) == 3


@pytest.mark.some(2)
@pytest.mark.parametrize(
    ("processes", "arguments", "same"),
    [
        (1, ("--compile",), False),
        (2, ("--compile",), False),
        (1, ("--deterministic", "--profile"), True),
        (1, ("--workers", "2"), True),
        (1, ("--precision", "float16"), False),
        (2, ("--precision", "float16", "--parallel", "fsdp"), False),
    ],
)
def test_an_option_does_what_it_says(
    processes: int, arguments: tuple[str, ...], same: bool, warm: Warm
) -> None:
    assert "Done: " in warm.run(*arguments, processes=processes)
    assert warm.rows()[-2]["loss"] < 2
    if "--profile" in arguments:
        assert (warm.folder / "trace.json").stat().st_size > 1000
    if same:
        other = Warm(warm.driver, warm.mounts, warm.folder.with_name("plain"))
        other.run()
        assert other.weights() == warm.weights()
