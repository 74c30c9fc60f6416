"""The smoke test names the cause when an NVIDIA driver, or its GPU, does not do for the project."""

from pathlib import Path
from typing import Any

import pytest

from scripts.injections import MOVE
from scripts.smoke_helpers import (
    Project,
    fake_driver,
    load_package,
    machine,
    place_of,
    without_gpu,
)

NO_CUDA = """
from .version import __version__
def zeros(*shape, device):
    raise RuntimeError("the driver said no\\nand a hint that nobody reads")
class accelerator:
    device_count = staticmethod(lambda: 0)
"""


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fake NVIDIA driver."""
    return fake_driver(tmp_path_factory.mktemp("driver"))


def cuda_project(root: Path, driver: Path, build: str = "cu130", **wheels: Any) -> Project:  # noqa: ANN401
    """A project for CUDA with a driver, and a torch that cannot open a device."""
    project = Project(root / "project", build, wheels=wheels)
    project.add_stub_torch(NO_CUDA)
    project.env["LD_LIBRARY_PATH"] = str(driver)
    return project


def test_a_good_driver_and_gpu_pass(tmp_path: Path, driver: Path) -> None:
    outcome = cuda_project(tmp_path, driver).run()
    good = ["TORCH-FOUND", "TORCH-BUILD", "DRV-LIBCUDA", "DRV-OLD", "CUDA-NODEVICE", "DRV-ARCH"]
    assert set(good) <= set(outcome.ids("pass"))
    assert outcome["CUDA-NODEVICE"]["data"] == {
        "gpus": [{"name": "NVIDIA Test 0", "capability": "9.0"}]
    }
    # The stub cannot open it: a failure of its own then, in torch's words.
    assert (outcome.code, outcome.ids("fail")) == (3, ["DEV-OPEN"])
    assert "the driver said no" in outcome["DEV-OPEN"]["message"]
    assert "nobody reads" not in outcome.text
    assert "nvidia-smi" in outcome["DEV-OPEN"]["remedy"]


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("visible", "gpus", "status"),
    [
        ("9", "", "fail"),
        ("0,2,1", "90", "warn"),
        ("GPU-5a18", "90", ""),
        ("GPU-5a28", "", "fail"),
        ("cuda:0", "", "fail"),
        ("1, 0", "90 90", ""),
        ("0,-1,9", "90", ""),
        ("MIG-1f2e", "90", ""),
        ("7", "90", ""),  # CUDA has found it, whatever NVML counts
    ],
)
def test_every_gpu_that_cuda_visible_devices_names_must_be_there(
    tmp_path: Path, driver: Path, visible: str, gpus: str, status: str
) -> None:
    env = {"FAKE_GPUS": gpus, "FAKE_SEEN": "2", "CUDA_VISIBLE_DEVICES": visible}
    outcome = cuda_project(tmp_path, driver).run("--only", "CUDA-VISIBLE", **env)
    assert outcome.code == (3 if status == "fail" else 0)
    assert outcome.ids("fail" if status == "fail" else "warn") == ["CUDA-VISIBLE"] * bool(status)
    if status:
        check = outcome["CUDA-VISIBLE"]
        assert f"names {check['data']['entry']!r}, but this machine has 2" in check["message"]
        assert check["remedy"].startswith("Type `unset CUDA_VISIBLE_DEVICES`, or take a number")
    outcome = cuda_project(tmp_path / "all", driver).run(**env)
    assert outcome.ids("fail")[:-1] == ["CUDA-VISIBLE"] * (status == "fail")  # then DEV-OPEN


@pytest.mark.slow
@without_gpu
def test_a_driver_without_any_gpu_fails_unless_the_cpu_will_do(
    tmp_path: Path, driver: Path
) -> None:
    project = cuda_project(tmp_path, driver)
    none = {"FAKE_INIT": "100", "FAKE_SEEN": "0"}
    assert project.run("--device", "auto", **none)["CUDA-NODEVICE"]["status"] == "skip"
    named = {**none, "CUDA_VISIBLE_DEVICES": "0"}
    assert project.run("--device", "auto", **named).ids("fail") == ["DEV-OPEN"]  # of the stub
    old = project.run("--device", "auto", FAKE_CUDA="11040", **none)
    assert {"DRV-OLD", "CUDA-NODEVICE"} <= set(old.ids("skip"))
    assert project.run(FAKE_CUDA="11040", **none).ids("fail")[0] == "DRV-OLD"
    outcome = project.run(**none)
    assert outcome["CUDA-NODEVICE"]["status"] == "fail"
    assert "finds no GPU" in outcome["CUDA-NODEVICE"]["message"]
    assert MOVE.format("cpu") in outcome["CUDA-NODEVICE"]["remedy"]


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("gpus", "wheels", "status"),
    [
        ("89", {}, "pass"),  # runs the code for 8.6
        ("121", {}, "pass"),  # runs the code for 12.0
        ("110", {}, "fail"),  # 11.0 cannot run the code for 10.0
        ("72", {}, "fail"),  # 7.5 is too new for it
        ("87", {}, "fail"),  # a Jetson, which runs neither the code for 8.0 nor for 8.6
        ("87", {"gpu_architectures": ["8.0", "8.7"]}, "pass"),
        ("89", {"gpu_architectures": ["8.7"]}, "fail"),
        ("130", {"ptx": "12.0"}, "pass"),
        ("90", {"ptx": "12.0", "gpu_architectures": ["12.0"]}, "fail"),
    ],
)
def test_code_runs_on_newer_gpus_of_its_generation_and_ptx_on_all_newer(
    tmp_path: Path, driver: Path, gpus: str, wheels: dict[str, Any], status: str
) -> None:
    outcome = cuda_project(tmp_path, driver, **wheels).run(FAKE_GPUS=gpus)
    assert outcome["DRV-ARCH"]["status"] == status


@pytest.mark.parametrize(
    ("kind", "card", "auto", "said", "remedy"),
    [
        ("wsl", False, "skip", "WSL", "on Windows, not inside WSL"),
        ("container.docker", True, "fail", "container", "`docker run --gpus all`"),
        ("container.docker", False, "skip", "container", "`--device auto`"),
        ("job.slurm", False, "skip", "This job", "`--gres=gpu:1`"),
        ("", True, "fail", "but no NVIDIA driver", "driver 580.65.06 or newer, and"),
        ("", False, "skip", "no sign of an NVIDIA GPU", MOVE.format("cpu")),
    ],
)
def test_a_missing_driver_has_a_cause_by_the_place(
    monkeypatch: pytest.MonkeyPatch, kind: str, card: bool, auto: str, said: str, remedy: str
) -> None:
    place_of(monkeypatch, *filter(None, [kind]))
    checks = load_package("driver_checks")
    for named, status in ((False, auto), (True, "fail")):
        found = checks.check_libcuda(machine(auto=not named, driver={"ended": "", "card": card}))
        assert found.status == status
        assert said in found.message
        assert remedy in found.remedy or status == "skip"


def test_an_amd_gpu_leads_from_cuda_to_the_nearest_rocm_build() -> None:
    others = {name: {"accelerator": name[:4], "release": "2.14.1"} for name in ("rocm7.2", "rocm7")}
    nothing = {"ended": "", "card": False}
    check = load_package("driver_checks").check_libcuda
    found = check(machine(driver={**nothing, "amd": True}, alternatives=others))
    assert f"for the AMD GPU of this machine, type {MOVE.format('rocm7.2')}" in found.remedy
    found = check(machine(driver={**nothing, "amd": False}, alternatives=others))
    assert "rocm" not in found.remedy
    pypi = {"name": "pypi", "auto": True, "alternatives": others}
    found = check(machine(driver={**nothing, "amd": True}, **pypi))
    assert found.status == "warn"
    there = "where its index can be reached. `--device cuda` insists on an NVIDIA GPU."
    assert found.remedy == (
        f"For the AMD GPU of this machine, type {MOVE.format('rocm7.2')} {there}"
    )
