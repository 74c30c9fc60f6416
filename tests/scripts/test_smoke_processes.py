"""The smoke test lets real processes of the real torchrun sum, and says why they cannot."""

from pathlib import Path

import pytest

from scripts.smoke_helpers import Project, fake_driver, load_package
from scripts.torch_helpers import doctor, patch_torch, pretend_gpus, real_project

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif("sys.platform != 'linux'", reason="needs the Linux wheel of torch"),
]
ONE = (
    "import os, time\nother = os.environ.get('RANK') == '1'\ntrue = torch.distributed.all_reduce\n"
)
WRONG = """
def all_reduce(x):
    true(x)
    x[7] += other and x.dtype == torch.{}
torch.distributed.all_reduce = all_reduce
"""
REFUSE = """
def refuse(*arguments, **options): raise RuntimeError("Connection refused")
if other: torch.distributed.init_process_group = refuse
"""
HANG = "torch.distributed.all_reduce = lambda x: time.sleep(99) if other else true(x)"
# NCCL, played by gloo; it hangs where it would wait for a GPU that it cannot reach.
NCCL = """
import os, sys, time
if "RANK" in os.environ:
    sys.modules["gpu_smoke.full_checks"].ELEMENTS["nccl"] = 2**16
group = torch.distributed.init_process_group
def init(backend, **options):
    if backend == "nccl" and os.environ.get("NCCL_P2P_DISABLE") not in {hangs_unless}:
        time.sleep(99)
    group("gloo", **options)
torch.distributed.init_process_group = init
torch.distributed.is_nccl_available = lambda: True
"""


@pytest.mark.some(2)
@pytest.mark.parametrize(
    ("code", "said", "remedy"),
    [
        (
            WRONG.format("float32"),
            "cpu got the wrong sum 4 instead of 3",
            "looks for other causes first.",
        ),
        (
            WRONG.format("int64"),
            "cpu got the wrong sum 4 instead of 3",
            "looks for other causes first.",
        ),
        (REFUSE, "RuntimeError: Connection refused", "no firewall stand between processes."),
        ("if other: os.abort()", "SIGABRT", "to those who look after this template."),
    ],
)
def test_processes_that_do_not_sum_exactly_fail_with_the_reason(
    healthy: Project, code: str, said: str, remedy: str
) -> None:
    patch_torch(healthy, ONE + code)
    outcome = healthy.run("--only", "NCCL")
    assert (outcome.code, outcome.ids("fail")) == (1, ["NCCL"])
    assert outcome["NCCL"]["message"].startswith("2 processes with gloo on the CPU do not do sums")
    assert said in outcome["NCCL"]["message"]
    assert outcome["NCCL"]["remedy"].endswith(remedy)


NO_LIBUV = """
import torch.distributed
class Store(torch.distributed.TCPStore):
    def __init__(self, *arguments, use_libuv=True, **options):
        if use_libuv:
            raise RuntimeError("use_libuv was requested, but PyTorch was built without libuv")
        super().__init__(*arguments, use_libuv=False, **options)
torch.distributed.TCPStore = Store
"""


@pytest.mark.some(0)
def test_a_torch_without_libuv_is_worth_a_warning_with_the_way_out(healthy: Project) -> None:
    patch_torch(healthy, NO_LIBUV)  # as on Windows, where torchrun's own store asks for it
    outcome = healthy.run("--only", "NCCL", USE_LIBUV="0")
    assert (outcome.code, outcome.ids("warn")) == (0, ["NCCL"])
    assert "no libuv, which torchrun asks for: " in outcome["NCCL"]["message"]
    assert outcome["NCCL"]["remedy"].startswith("Train in one process")


def test_processes_that_wait_for_each_other_for_ever_are_ended(healthy: Project) -> None:
    patch_torch(healthy, ONE + HANG)
    outcome = healthy.run("--only", "NCCL", "--timeout", "64")
    assert (outcome.code, outcome.ids("fail")) == (1, ["NCCL"])
    assert outcome["NCCL"]["message"].endswith(": no answer within 8 s.")
    assert outcome["NCCL"]["seconds"] < 30


@pytest.fixture
def gpus(tmp_path: Path, torch_venv: Path) -> Project:
    """A project for CUDA whose torch takes the CPU for two GPUs."""
    project = real_project(tmp_path, torch_venv, "cu130")
    doctor(project, torch_venv, cuda="13.0")
    project.env["LD_LIBRARY_PATH"] = str(fake_driver(tmp_path))
    project.env["FAKE_GPUS"] = "90 90"
    return project


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("hangs_unless", "said", "remedy"),
    [
        ([None, "1"], "exact sums of 2 processes with nccl on GPUs, ", ""),
        (["1"], "which go well when the GPUs do not talk to each other directly.", "iommu=pt"),
        ([], "no answer within 8 s.", "`nvidia-smi topo -m`"),
    ],
)
def test_gpus_that_hang_are_told_from_gpus_that_cannot_talk_directly(
    gpus: Project, hangs_unless: list[str | None], said: str, remedy: str
) -> None:
    pretend_gpus(gpus, NCCL.format(hangs_unless=hangs_unless))
    outcome = gpus.run("--only", "NCCL", "--timeout", "64")
    assert outcome.code == bool(remedy)
    assert outcome["NCCL"]["status"] == ("fail" if remedy else "pass")
    assert said in outcome["NCCL"]["message"]
    assert remedy in outcome["NCCL"]["remedy"]


def test_instances_of_a_split_gpu_are_not_asked_to_sum(gpus: Project) -> None:
    pretend_gpus(gpus)
    outcome = gpus.run("--only", "NCCL", FAKE_MIG="1")
    assert (outcome.code, outcome["NCCL"]["status"]) == (0, "skip")


def test_a_small_dev_shm_has_a_remedy_of_its_own() -> None:
    remedy_of = load_package("full_checks").remedy_of
    said = "DistBackendError: NCCL error (Error while creating shared memory segment /dev/shm/nccl)"
    assert remedy_of(said, "nccl").endswith("or set NCCL_SHM_DISABLE=1.")
