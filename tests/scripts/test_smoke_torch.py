"""The smoke test with the real torch, healthy and doctored."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from install.real_torch import is_stand_in
from scripts.smoke_helpers import (
    NOT_HERE,
    QUICK,
    TORCH,
    Project,
    assert_schema,
    fake_driver,
    without_gpu,
)
from scripts.torch_helpers import doctor, patch_torch, real_project

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif("sys.platform != 'linux'", reason="needs the Linux wheel of torch"),
]
ALL = ["PY-VERSION", "PY-VENV", "PY-SHADOW", "TORCH-FOUND", "TORCH-BUILD"]
ALL += ["ENV-VARS", *(name for name in QUICK if name not in NOT_HERE)]


def test_a_healthy_cpu_project_passes(healthy: Project) -> None:
    outcome = healthy.run()
    assert outcome.code == 0
    assert outcome.ids("pass") == ALL
    assert outcome["SYS-SHM"]["status"] in ("pass", "warn")  # as this machine has it
    assert len(outcome.document["checks"]) == len(ALL) + 1
    assert outcome.text.startswith(f"PASS  torch {TORCH}+cpu on the CPU  (")
    assert outcome.document["level"] == "quick"
    assert outcome.document["device"] == "cpu"


def test_json_without_a_file_is_all_there_is_on_stdout(healthy: Project) -> None:
    healthy.isolated = True
    command = healthy.command("--device", "cpu", "--json")
    done = subprocess.run(command, env=healthy.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert_schema(document)
    assert set(ALL) <= {one["id"] for one in document["checks"] if one["status"] == "pass"}


def test_the_cpu_wheel_in_a_cuda_project_is_the_wrong_build(
    tmp_path: Path, torch_venv: Path
) -> None:
    outcome = real_project(tmp_path, torch_venv, "cu130").run("--device", "cuda")
    assert outcome.code == 3
    assert outcome["TORCH-BUILD"]["message"] == (
        f"torch {TORCH}+cpu (CPU) is installed, but the project asks for {TORCH}+cu130 (CUDA 13.0)."
    )
    assert outcome["TORCH-BUILD"]["remedy"] == "Type `sh bootstrap.sh --recreate`."
    said = "Found no NVIDIA driver" if is_stand_in() else "Torch not compiled with CUDA enabled"
    assert said in outcome["DEV-OPEN"]["message"]
    assert outcome["DEV-OPEN"]["remedy"] == "This follows from TORCH-BUILD."
    assert outcome.text.endswith("-> Type `sh bootstrap.sh --recreate`.\n")


def test_another_version_of_torch_is_the_wrong_build(healthy: Project) -> None:
    file = healthy.root / "scripts" / "torch_builds.json"
    file.write_text(file.read_text(encoding="utf-8").replace(TORCH, "2.12.1"), encoding="utf-8")
    outcome = healthy.run()
    assert outcome.code == 3
    assert outcome.ids("fail") == ["TORCH-BUILD"]
    assert "asks for 2.12.1+cpu" in outcome["TORCH-BUILD"]["message"]
    assert "NUM-MATMUL" in outcome.ids("pass")


def test_metadata_of_another_version_is_a_mixed_install(healthy: Project, torch_venv: Path) -> None:
    doctor(healthy, torch_venv, metadata="2.12.1+cpu")
    outcome = healthy.run()
    assert (outcome.code, outcome.ids("fail")) == (3, ["TORCH-BUILD"])
    assert "its metadata says 2.12.1+cpu" in outcome["TORCH-BUILD"]["message"]


@without_gpu
@pytest.mark.parametrize(
    ("build", "lines", "skipped", "device"),
    [
        ("cu130", {"cuda": "13.0"}, "DRV-LIBCUDA", "CUDA"),
        ("rocm7.2", {"hip": "7.2.53211"}, "ROCM-KFD", "ROCm"),
        ("xpu", {"xpu": "20250301"}, "XPU-INIT", "XPU"),
    ],
)
def test_a_gpu_build_passes_on_the_cpu_of_a_machine_without_a_gpu(
    tmp_path: Path,
    torch_venv: Path,
    build: str,
    lines: Mapping[str, str],
    skipped: str,
    device: str,
) -> None:
    project = real_project(tmp_path, torch_venv, build)
    doctor(project, torch_venv, **lines)
    outcome = project.run("--device", "auto")
    assert outcome.code == 0
    assert outcome.ids("warn") == []
    assert outcome[skipped]["message"].endswith(" The CPU will do.")
    assert "TORCH-BUILD" in outcome.ids("pass")
    assert outcome["DEV-OPEN"]["data"] == {"kind": "cpu", "devices": ["cpu"]}
    assert outcome.text.startswith(
        f"PASS  torch {TORCH}+{build} on the CPU, no {device} device here  ("
    )
    named = "xpu" if build == "xpu" else "cuda"  # torch's name for AMD GPUs, too
    assert project.run().code == 3  # but only if the CPU will do
    outcome = project.run("--device", named)
    assert outcome.code == 3
    assert "DEV-OPEN" in outcome.ids("fail")
    assert outcome.document["device"] == named


@pytest.mark.parametrize("device", ["cuda", "xpu", "mps"])
def test_a_device_that_torch_is_not_built_for_is_a_failure(healthy: Project, device: str) -> None:
    outcome = healthy.run("--device", device)
    assert outcome.code == 3
    assert "TORCH-BUILD" in outcome.ids("fail")
    assert "is not built for" in outcome["TORCH-BUILD"]["message"]


def test_a_gpu_beside_the_cpu_build_is_worth_a_warning_where_any_device_will_do(
    healthy: Project, tmp_path: Path
) -> None:
    healthy.env["LD_LIBRARY_PATH"] = str(fake_driver(tmp_path))
    outcome = healthy.run("--device", "auto")
    assert (outcome.code, outcome.ids("warn")) == (0, ["TORCH-BUILD"])
    assert "cannot use the NVIDIA Test 0" in outcome["TORCH-BUILD"]["message"]
    assert "compute_platform=cu130`" in outcome["TORCH-BUILD"]["remedy"]
    crash = healthy.run("--device", "auto", FAKE_TROUBLE="crash")  # no matter on the CPU
    assert crash.ids("warn") == []
    assert healthy.run().ids("warn") == []


def test_a_check_that_raises_has_failed(healthy: Project) -> None:
    patch_torch(
        healthy,
        "def no(*a): raise RuntimeError('no kernel image\\n at 0x1')\ntorch.Tensor.square = no",
    )
    outcome = healthy.run()
    assert (outcome.code, outcome.ids("fail")) == (1, ["NUM-GRAD", "TRAIN-STEPS"])
    assert outcome["NUM-GRAD"]["message"] == ("The check ended in RuntimeError: no kernel image.")
