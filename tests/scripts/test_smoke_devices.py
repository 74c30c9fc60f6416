"""The smoke test tries every device, and names the cause where one does not do."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scripts.injections import MOVE
from scripts.smoke_helpers import PLACE, Project, fake_driver, load_package, place_of
from scripts.torch_helpers import doctor, patch_torch, pretend_gpus, real_project

with_torch = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif("sys.platform != 'linux'", reason="needs the Linux wheel of torch"),
]
NUMBERS = ["NUM-MATMUL", "NUM-CONV", "NUM-GRAD", "TRAIN-STEPS", "NUM-AMP", "NUM-SDPA"]
OTHERS = ["DATA-WORKERS", "CKPT"]
SMALL = """
import sys
speed = sys.modules["gpu_smoke.speed_checks"]
speed.SIZE, speed.COPY, speed.SECONDS = 256, 2**22, 0.01
"""


def project_for(root: Path, torch_venv: Path, build: str, **lines: str) -> Project:
    """A project whose real torch says in its version.py that it is another build."""
    project = real_project(root, torch_venv, build)
    doctor(project, torch_venv, **lines)
    return project


@pytest.fixture
def gpus(tmp_path: Path, torch_venv: Path) -> Project:
    """A project for CUDA with two GPUs, of which a fake driver tells."""
    project = project_for(tmp_path, torch_venv, "cu130", cuda="13.0")
    project.env |= {"FAKE_GPUS": "90 90", "FAKE_SEEN": "2"}
    project.env["LD_LIBRARY_PATH"] = str(fake_driver(tmp_path))
    return project


class TestSeveralGpus:
    """With the real torch, whose CPU passes for two GPUs."""

    pytestmark = with_torch

    def test_two_good_gpus_pass_all_checks(self, gpus: Project) -> None:
        pretend_gpus(gpus)
        outcome = gpus.run()
        assert (outcome.code, outcome.ids("fail"), outcome.ids("warn")) == (0, [], [])
        assert outcome.text.startswith("PASS  torch 2.13.0+cu130 on 2 CUDA devices: NVIDIA Test 0")
        assert outcome["CUDA-ARCH"]["message"].endswith("compiled for 7.5, 8.0, 9.0")
        assert outcome["DEV-MEM"]["message"] == "70.0 GiB free at least"

    def test_one_bad_gpu_fails_every_check_that_computes(self, gpus: Project) -> None:
        pretend_gpus(gpus, "broken.add(('to', 'cuda:1'))")
        only = [word for name in (*NUMBERS, *OTHERS) for word in ("--only", name)]
        outcome = gpus.run(*only, "--only", "ENV-VARS", "--only", "LIB-MAPS")
        assert (outcome.code, set(outcome.ids("fail"))) == (1, {*NUMBERS, *OTHERS})
        for name in (*NUMBERS, *OTHERS):
            assert "cuda:1" in outcome[name]["message"], name
            assert outcome[name]["remedy"].endswith("the hardware is faulty."), name
        outcome = gpus.run("--only", NUMBERS[0])  # which rules nothing else out
        assert outcome[NUMBERS[0]]["remedy"].endswith("which looks for other causes first.")

    def test_one_gpu_that_does_not_count_does_not_open(self, gpus: Project) -> None:
        pretend_gpus(gpus, "broken.add(('zeros', 'cuda:1'))")
        outcome = gpus.run("--only", "DEV-OPEN")
        assert (outcome.code, outcome.ids("fail")) == (3, ["DEV-OPEN"])
        assert outcome["DEV-OPEN"]["message"] == "cuda:1 counts a thousand ones as nan."

    def test_one_full_gpu_is_worth_a_warning(self, gpus: Project) -> None:
        full = "(5 * 2**27 * (1 - int(str(d)[-1])) + 2**31 * int(str(d)[-1]), 2**33)"
        pretend_gpus(gpus, f"torch.cuda.mem_get_info = lambda d: {full}")
        outcome = gpus.run("--only", "DEV-MEM")
        assert (outcome.code, outcome.ids("warn")) == (0, ["DEV-MEM"])
        assert outcome["DEV-MEM"]["message"] == "cuda:0 has 0.6 of its 8.0 GiB free."
        assert outcome["DEV-MEM"]["remedy"] == "End what fills it: `nvidia-smi` lists it."

    def test_a_gpu_without_code_in_the_installed_torch_is_named_with_the_build_that_has_it(
        self, gpus: Project
    ) -> None:
        gpus.env["FAKE_GPUS"] = "90 61"
        pretend_gpus(gpus, "broken.add(('zeros', 'cuda:1'))", "90 61")
        for options, failed in (([], "DRV-ARCH"), (["--only", "CUDA-ARCH"], "CUDA-ARCH")):
            outcome = gpus.run(*options)
            assert outcome.code == 3
            assert outcome.ids("fail")[0] == failed
            assert "CUDA-ARCH" in outcome.ids("fail")
            assert MOVE.format("cu126") in outcome[failed]["remedy"]
        problem = "cuda:1 has compute capability 6.1, but the installed torch is compiled for 7.5, "
        assert outcome["CUDA-ARCH"]["message"] == f"{problem}8.0, 9.0."
        assert outcome["DEV-OPEN"]["remedy"] == "This follows from CUDA-ARCH."

    def test_a_slow_gpu_is_worth_a_warning_with_its_share_of_what_it_is_made_for(
        self, gpus: Project
    ) -> None:
        pretend_gpus(gpus, SMALL)
        only = [word for name in ("TFLOPS", "BW", "H2D") for word in ("--only", f"PERF-{name}")]
        outcome = gpus.run(*only)
        assert outcome.code == 0
        assert outcome.ids("warn")[:2] == ["PERF-TFLOPS", "PERF-BW"]  # PCI Express it may reach
        assert "% of the 1.07e+03 that it is made for" in outcome["PERF-TFLOPS"]["message"]
        assert "nvidia-smi -q -d PERFORMANCE" in outcome["PERF-BW"]["remedy"]
        assert outcome["PERF-BW"]["data"]["peaks"] == {"cuda:0": 4916.736, "cuda:1": 4916.736}
        assert set(outcome["PERF-H2D"]["data"]["reached"]) == {"cuda:0", "cuda:1"}
        assert outcome["PERF-H2D"]["data"]["peaks"] == {"cuda:0": 63.008, "cuda:1": 63.008}
        assert gpus.run(*only, FAKE_MIG="1").ids("warn") == []  # a part of a GPU: not known


@pytest.mark.parametrize(
    ("capability", "figures", "tflops", "bandwidth"),
    [
        ("8.0", (108, 1_410_000, 1_215_000, 5120), 312, 1555),  # A100 40 GB: its data sheet
        ("9.0", (132, 1_830_000, 3_201_000, 6144), 989, 4917),  # H100's figure; H200's memory
        ("8.9", (128, 2_520_000, 10_501_000, 384), 165, 1008),  # GeForce RTX 4090
        ("7.0", (80, 1_530_000, 877_000, 4096), 125, 898),  # V100
        ("7.5", (40, 1_590_000, 5_001_000, 256), None, 320),  # T4, and GPUs without tensor cores
        ("12.1", (48, 2_418_000, 0, 0), None, None),  # what the driver does not tell
    ],
)
def test_what_a_gpu_is_made_for_is_what_its_maker_says(
    capability: str, figures: tuple[int, ...], tflops: float | None, bandwidth: float | None
) -> None:
    found = load_package("driver_facts").peak_of(capability, *figures)
    assert found.get("tflops") == (pytest.approx(tflops, rel=0.01) if tflops else None)
    assert found.get("gb_s") == (pytest.approx(bandwidth, rel=0.01) if bandwidth else None)


class TestOtherMakers:
    """With the real torch, which passes for one of AMD's or Intel's."""

    pytestmark = with_torch

    @pytest.mark.parametrize(
        ("chip", "compiled", "remedy"),
        [
            ("gfx1031", "gfx90a gfx1030", "`export HSA_OVERRIDE_GFX_VERSION=10.3.0`"),
            ("gfx1103", "gfx90a gfx1100", "`export HSA_OVERRIDE_GFX_VERSION=11.0.0`"),
            ("gfx1031", "gfx90a", MOVE.format("cpu")),
            ("gfx90a:sramecc+:xnack-", "gfx90a", ""),
        ],
    )
    def test_an_amd_chip_without_code_leads_to_what_may_help(
        self, tmp_path: Path, torch_venv: Path, chip: str, compiled: str, remedy: str
    ) -> None:
        project = project_for(tmp_path, torch_venv, "rocm7.2", hip="7.2.53211")
        code = "torch.cuda.get_device_properties = lambda i: types.SimpleNamespace("
        code += f"gcnArchName={chip!r})\ntorch.cuda.get_arch_list = {compiled!r}.split"
        pretend_gpus(project, code, "90")
        outcome = project.run("--only", "ROCM-ARCH")
        assert outcome.code == (3 if remedy else 0)
        assert outcome["ROCM-ARCH"]["status"] == ("fail" if remedy else "pass")
        assert remedy in outcome["ROCM-ARCH"]["remedy"]

    @pytest.mark.parametrize(
        ("code", "exit_code", "said"),
        [
            ("def count(): raise RuntimeError('Failed to initialize XPU devices')", 3, "Failed to"),
            ("def count(): import os; os.abort()", 4, "crashed (Aborted)"),
            ("count = lambda: 1; torch.xpu.get_device_name = lambda i: 'Arc'", 0, "Arc"),
        ],
    )
    def test_intels_driver_that_fails_or_crashes_is_told_as_such(
        self, tmp_path: Path, torch_venv: Path, code: str, exit_code: int, said: str
    ) -> None:
        project = project_for(tmp_path, torch_venv, "xpu", xpu="20250301")
        opens = "zeros = torch.zeros; torch.zeros = lambda n, device: zeros(n)"
        also = "torch.accelerator.device_count = lambda: 1"
        patch_torch(project, f"{code}\ntorch.xpu.device_count = count\n{opens}\n{also}")
        outcome = project.run("--only", "XPU-INIT")
        assert outcome.code == exit_code
        assert said in outcome["XPU-INIT"]["message"]
        failed = exit_code != 0
        assert ("XPU-INIT" in outcome.ids("fail")) == failed
        assert ("Level Zero" in outcome["XPU-INIT"]["remedy"]) == failed

    def test_a_project_for_another_device_is_led_to_the_build_for_it(
        self, tmp_path: Path, torch_venv: Path
    ) -> None:
        project = Project(tmp_path / "project", alternatives=("cu130", "rocm7.2", "xpu"))
        project.executable = str(torch_venv / "bin" / "python")
        outcome = project.run("--device", "xpu", "--only", "TORCH-BUILD", "--only", "XPU-INIT")
        assert (outcome.code, outcome.ids("fail")[0]) == (3, "TORCH-BUILD")
        assert MOVE.format("xpu") in outcome["TORCH-BUILD"]["remedy"]
        assert outcome["XPU-INIT"]["remedy"] == "This follows from TORCH-BUILD."
        outcome = project.run("--device", "mps", "--only", "TORCH-BUILD", "--only", "MPS")
        assert "built without MPS" in outcome["MPS"]["message"]
        assert "`--device cpu`" in outcome["TORCH-BUILD"]["remedy"]


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("HIP out of memory. Tried to allocate 20 MiB", "`rocm-smi --showpids` lists it"),
        ("HIP error: out of memory", "`rocm-smi --showpids` lists it"),
        ("HIP error: device-side assert triggered", "with AMD_SERIALIZE_KERNEL=3"),
        ("HIP error: invalid device function", "whether another ROCm build names its chip"),
        ("No HIP GPUs are available", "ROCR_VISIBLE_DEVICES hides it"),
        ("HIP error: hardware memory exception", "`rocminfo`"),
    ],
)
def test_what_torch_says_of_an_amd_gpu_leads_to_its_cause_and_not_to_its_rights(
    monkeypatch: pytest.MonkeyPatch, said: str, remedy: str
) -> None:
    place_of(monkeypatch)
    checks, job = load_package("device_checks"), load_package("check").Job("rocm", False, [])
    monkeypatch.setattr(checks, "closed_to_this_user", lambda: False)
    found = checks.explain_open(job, "cuda:0", RuntimeError(said))
    assert remedy in found.remedy
    assert "usermod" not in found.remedy
    monkeypatch.setattr(checks, "closed_to_this_user", lambda: True)
    closed = checks.explain_open(job, "cuda:0", RuntimeError("No HIP GPUs are available"))
    assert "usermod -aG render,video" in closed.remedy


@pytest.mark.parametrize(
    ("built", "available", "rosetta", "fallback", "status", "said", "remedy"),
    [
        (True, True, False, False, "pass", "macOS offers", ""),
        (True, False, False, False, "fail", "built for MPS, but macOS", "macOS 14 or newer"),
        (True, False, False, True, "warn", "so the CPU is tested.", "macOS 14 or newer"),
        (False, False, True, False, "fail", "Rosetta translates it.", "for arm64."),
        (False, False, False, False, "fail", "built without MPS.", "Type `"),
    ],
)
def test_why_macos_offers_no_gpu_is_named(
    monkeypatch: pytest.MonkeyPatch,
    built: bool,
    available: bool,
    rosetta: bool,
    fallback: bool,
    status: str,
    said: str,
    remedy: str,
) -> None:
    checks = load_package("device_checks")
    monkeypatch.setattr(checks, "translated", lambda: rosetta)
    backend = SimpleNamespace(is_built=lambda: built, is_available=lambda: available)
    torch: Any = SimpleNamespace(backends=SimpleNamespace(mps=backend))
    job = load_package("check").Job("mps", fallback, ["MPS"], torch=torch)
    found = checks.check_mps(job)
    assert found.status == status
    assert said in found.message
    assert remedy in found.remedy


def test_no_python_of_this_machine_is_translated() -> None:
    assert not load_package("device_checks").translated()


@pytest.mark.parametrize(
    ("kinds", "remedy"),
    [((), "and reboot; if it stays, the hardware is faulty."), (("job.slurm",), "another machine")],
)
def test_nobody_is_told_to_restart_another_s_machine(
    monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...], remedy: str
) -> None:
    blame, check = load_package("blame"), load_package("check")
    place = PLACE.Place({kind: ["a sign"] for kind in kinds})
    monkeypatch.setattr(blame, "here", lambda: place)
    ruled_out = [check.Check("pass", "", id=name) for name in blame.RULED_OUT]
    wrong = check.Check("fail", "wrong numbers", blame.FAULTY, id="NUM-MATMUL")
    blame.suspect_hardware([*ruled_out, wrong])
    assert remedy in wrong.remedy
    assert ("reboot" in wrong.remedy) == (not kinds)
