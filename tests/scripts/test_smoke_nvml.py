"""The smoke test names the cause when NVIDIA's kernel module does not answer, or GPUs are split."""

from pathlib import Path

import pytest

from scripts.smoke_helpers import (
    Project,
    fake_driver,
    load_package,
    machine,
    needs_namespaces,
    place_of,
)
from scripts.worlds import world

CONTAINER = world(container=True)
STUB = "from .version import __version__\n"


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fake NVIDIA driver."""
    return fake_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def project(tmp_path: Path, driver: Path) -> Project:
    """A project for CUDA with a driver, and a torch that cannot open a device."""
    project = Project(tmp_path / "project", "cu130")
    project.add_stub_torch(STUB)
    project.env["LD_LIBRARY_PATH"] = str(driver)
    return project


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("code", "name", "remedy"),
    [
        ("9", "DRV-NOTLOADED", "Start it with `docker run --gpus all`"),
        ("18", "DRV-MISMATCH", "Start a new container; if it says the same, reboot the machine."),
        ("999", "DRV-CGROUP", "set `native.cgroupdriver=cgroupfs` for Docker."),
    ],
)
@pytest.mark.parametrize("init", ["803", "999"])  # 100 is in faults_driver.py
def test_what_nvml_returns_in_a_container_is_the_cause_of_what_cuda_returns(
    project: Project, code: str, name: str, remedy: str, init: str
) -> None:
    needs_namespaces()
    project.before = CONTAINER
    outcome = project.run(FAKE_NVML=code, FAKE_INIT=init)
    assert (outcome.code, outcome.ids("fail")) == (3, [name, "DEV-OPEN"])
    assert remedy in outcome[name]["remedy"]
    assert outcome[name]["data"] == {"nvmlInit": int(code)}
    assert outcome["DEV-OPEN"]["remedy"] == f"This follows from {name}."


def test_nvml_in_trouble_is_a_warning_where_cuda_works(project: Project) -> None:
    outcome = project.run(FAKE_NVML="18")
    assert outcome.ids("warn") == ["DRV-MISMATCH"]
    assert outcome["CUDA-NODEVICE"]["status"] == "pass"


def test_one_lost_gpu_of_two_is_a_warning_and_the_only_row_of_its_id(project: Project) -> None:
    outcome = project.run(FAKE_SEEN="2", FAKE_LOST="1", FAKE_GPUS="90")
    assert outcome.ids("warn") == ["CUDA-NODEVICE"]
    assert "CUDA-NODEVICE" not in outcome.ids("pass")


@pytest.mark.parametrize(
    ("container", "code", "name", "remedy"),
    [
        (False, 9, "DRV-NOTLOADED", "modprobe nvidia`"),
        (True, 9, "DRV-NOTLOADED", "`docker run --gpus all`"),
        (False, 18, "DRV-MISMATCH", "Reboot"),
        (False, 999, "", ""),  # which says nothing there
        (False, 15, "CUDA-NODEVICE", "Switch the machine off and on."),
        (True, 15, "CUDA-NODEVICE", "Restart the host;"),
        (False, 3, "", ""),
    ],
)
def test_what_nvml_returns_means_something_else_outside_a_container(
    monkeypatch: pytest.MonkeyPatch, container: bool, code: int, name: str, remedy: str
) -> None:
    place_of(monkeypatch, *["container.docker"] * container)
    checks = load_package("driver_checks")
    facts = {"init": 100, "gpus": [], "nvml": code, "card": True}
    found = checks.check_nvml(machine(driver=facts))
    of_cuda = checks.check_cuda(machine(driver=facts))
    if name:
        assert (found.id, found.status) == (name, "fail")
        assert remedy in found.remedy
        assert of_cuda is None
    else:
        assert found is None
        assert of_cuda.status == "fail"


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("env", "container", "status"),
    [
        ({"FAKE_GPUS": ""}, False, "fail"),
        ({"FAKE_INIT": "100", "CUDA_VISIBLE_DEVICES": "0"}, False, "fail"),
        ({}, True, "pass"),
        ({}, False, "warn"),
        ({"FAKE_INSTANCES": "1"}, False, "pass"),
        ({"CUDA_VISIBLE_DEVICES": "MIG-1f2e"}, False, "pass"),
    ],
)
def test_an_instance_of_a_split_gpu_is_to_be_named(
    project: Project, env: dict[str, str], container: bool, status: str
) -> None:
    if container:
        needs_namespaces()
        project.before = CONTAINER
    outcome = project.run(FAKE_MIG="1", **env)
    assert outcome["DRV-MIG"]["status"] == status
    if status == "fail":
        assert (outcome.code, outcome.ids("fail")) == (3, ["DRV-MIG", "DEV-OPEN"])
        remedy = "Set CUDA_VISIBLE_DEVICES to one of the MIG- names of `nvidia-smi -L`."
        assert outcome["DRV-MIG"]["remedy"] == remedy


def test_the_first_instance_is_worth_a_warning_where_all_could_be_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place_of(monkeypatch)
    check = load_package("driver_checks").check_instances
    facts = {"init": 0, "gpus": [{"name": "A100"}], "mig": 2, "instances": 2}
    found = check(machine(driver=facts))
    assert found.status == "warn"
    assert "MIG splits 2 GPU(s)" in found.message
    assert check(machine(driver={**facts, "mig": 0})) is None
    assert check(machine(driver={**facts, "instances": 1})).status == "pass"
    place_of(monkeypatch, "job.pbs")  # which gives the instance that it was asked for
    assert check(machine(driver=facts)).status == "pass"


def test_hiding_all_gpus_is_not_the_fault_of_mig(project: Project) -> None:
    env = {"FAKE_MIG": "1", "FAKE_INIT": "100", "CUDA_VISIBLE_DEVICES": "-1"}
    assert project.run(**env).ids("fail") == ["CUDA-NODEVICE", "DEV-OPEN"]
