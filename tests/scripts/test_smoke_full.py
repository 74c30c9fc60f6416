"""What the smoke test tries with the real torch beyond the first numbers, whole and broken."""

import pytest

from scripts.injections import torchvision
from scripts.smoke_helpers import NOT_HERE, QUICK, Project, load_package

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif("sys.platform != 'linux'", reason="needs the Linux wheel of torch"),
]
FULL = ["NUM-AMP", "NUM-SDPA", "VISION-NMS", "DATA-WORKERS", "COMPILE", "CKPT", "NCCL"]
FULL += ["PERF-TFLOPS", "PERF-BW", "PERF-H2D"]
FAULTY = "the hardware is faulty."
NOT_A_NUMBER = "true = {0}\n{0} = lambda *a, **k: true(*a, **k) * float('nan')"


def test_all_checks_pass_on_a_healthy_machine(healthy: Project) -> None:
    # Threads that wait for each other turn in circles: with one it takes a third less CPU time.
    outcome = healthy.run("--level", "full", OMP_NUM_THREADS="1")
    assert (outcome.code, outcome.document["level"]) == (0, "full")
    assert outcome.ids("skip") == ["VISION-NMS", "PERF-H2D"]  # not installed; no GPU
    found = {one["id"] for one in outcome.document["checks"]}
    assert {*QUICK, *FULL} - {*NOT_HERE} <= found
    assert set(outcome.ids("warn")) <= {"COMPILE"}  # for want of a C compiler


def test_a_single_check_runs_with_what_it_needs(healthy: Project) -> None:
    checks = healthy.run("--only", "CKPT", "--only", "PY-VENV").document["checks"]
    needed = ["PY-VENV", "PY-SHADOW", "TORCH-FOUND", "TORCH-IMPORT", "DEV-OPEN", "CKPT"]
    assert [one["id"] for one in checks] == needed


def test_compiling_without_a_compiler_is_worth_a_warning(healthy: Project) -> None:
    healthy.env["PATH"] = str(healthy.root)
    outcome = healthy.run("--only", "COMPILE", "--strict")
    assert (outcome.code, outcome.ids("warn")) == (5, ["COMPILE"])
    assert "torch.compile does not work; it says " in outcome["COMPILE"]["message"]
    assert "build-essential`, or do without torch" in outcome["COMPILE"]["remedy"]


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("Cannot find a working triton installation.", "sh bootstrap.sh"),
        ("fatal error: Python.h: No such file or directory", "`sudo apt install "),
    ],
)
def test_what_torch_compile_lacks_has_its_remedy(said: str, remedy: str) -> None:
    assert remedy in load_package("full_checks").compile_remedy(said)


def test_a_torchvision_that_keeps_the_right_boxes_passes(healthy: Project) -> None:
    torchvision("return boxes[:2, 0].new_tensor([1, 2])")(healthy)
    outcome = healthy.run("--only", "VISION-NMS")
    assert (outcome.code, outcome["VISION-NMS"]["status"]) == (0, "pass")
