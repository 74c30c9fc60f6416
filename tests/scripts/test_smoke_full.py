"""What the smoke test tries with the real torch beyond the first numbers, whole and broken."""

from pathlib import Path

import pytest

from scripts.injections import torchvision
from scripts.smoke_helpers import NOT_HERE, QUICK, Project

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


@pytest.mark.some(0)
def test_compiling_leaves_nothing_behind(healthy: Project, tmp_path: Path) -> None:
    healthy.env["TMPDIR"] = str(tmp_path / "temporary")
    (tmp_path / "temporary").mkdir()
    (tmp_path / "home").mkdir()
    outcome = healthy.run("--only", "COMPILE", HOME=str(tmp_path / "home"))
    assert outcome["COMPILE"]["status"] == "pass"
    assert list((tmp_path / "home").rglob("*")) == []
    assert [one.name for one in (tmp_path / "temporary").iterdir() if "torch" in one.name] == []


def test_a_torchvision_that_keeps_the_right_boxes_passes(healthy: Project) -> None:
    torchvision("return boxes[:2, 0].new_tensor([1, 2])")(healthy)
    outcome = healthy.run("--only", "VISION-NMS")
    assert (outcome.code, outcome["VISION-NMS"]["status"]) == (0, "pass")
