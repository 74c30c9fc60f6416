"""The smoke test names what is wrong with environment variables, memory, paths and packages."""

from pathlib import Path

import pytest

from scripts.smoke_helpers import Project, load_package, machine, needs_namespaces

STUB = "from .version import __version__\n"


def test_a_small_dev_shm_is_told_before_workers_die(tmp_path: Path) -> None:
    needs_namespaces()
    project = Project(tmp_path / "project")
    project.add_stub_torch(STUB)
    small = "mount -t tmpfs -o size=64m tmpfs /dev/shm; mount -t tmpfs tmpfs /run"
    for before, remedy in (
        (f"{small}; touch /run/.containerenv", "Start the container with `--shm-size=8g`"),
        ("mount -t tmpfs -o size=300m tmpfs /dev/shm", ""),
    ):
        project.before = before
        check = project.run()["SYS-SHM"]
        assert check["status"] == ("warn" if remedy else "pass")
        assert remedy in check["remedy"]
        assert ("64 MiB left" in check["message"]) == bool(remedy)


@pytest.mark.parametrize(
    ("build", "name", "value"),
    [
        ("cpu", "KMP_DUPLICATE_LIB_OK", "TRUE"),
        ("cu130", "CUDA_LAUNCH_BLOCKING", "1"),
        ("cu130", "CUDA_HOME", "/no/such/cuda"),
        ("rocm7.2", "HSA_OVERRIDE_GFX_VERSION", "10.3.0"),
        ("rocm7.2", "HIP_VISIBLE_DEVICES", "-1"),
    ],
)
def test_a_variable_that_breaks_things_is_worth_a_warning(
    tmp_path: Path, build: str, name: str, value: str
) -> None:
    project = Project(tmp_path / "project", build)
    project.add_stub_torch(STUB)
    assert project.run().ids("warn") == []
    outcome = project.run(**{name: value})
    assert outcome.ids("warn") == ["ENV-VARS"]
    assert f"{name}={value!r}" in outcome["ENV-VARS"]["message"]
    assert outcome["ENV-VARS"]["remedy"] == f"If you did not mean that, type `unset {name}`."


def test_several_variables_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "libcudnn_cnn.so.9").touch()
    (tmp_path / "other").mkdir()
    traps = load_package("system_checks").traps
    libraries = {"LD_LIBRARY_PATH": f"{tmp_path / 'other'}::{tmp_path}"}
    found = traps("cuda", {**libraries, "KMP_DUPLICATE_LIB_OK": "1"})
    assert [way_out for _, way_out in found] == [
        "type `unset KMP_DUPLICATE_LIB_OK`",
        f"take {tmp_path} out of LD_LIBRARY_PATH",
    ]
    assert traps("cpu", libraries) == []
    harmless = {"KMP_DUPLICATE_LIB_OK": "0", "CUDA_HOME": str(tmp_path), "CUDA_LAUNCH_BLOCKING": ""}
    assert traps("cuda", harmless) == []


@pytest.mark.parametrize(
    ("length", "letters", "fits"),
    [(90, 169, True), (91, 169, False), (132, 127, True), (133, 127, False)],
)
@pytest.mark.parametrize(("measured", "would"), [(True, "would"), (False, "may")])
def test_windows_paths_are_limited(
    length: int, letters: int, fits: bool, measured: bool, would: str
) -> None:
    here = machine(windows_path={"letters": letters, "measured": measured})
    trouble = load_package("system_checks").path_trouble("x" * length, here)
    said = f"Paths of torch 2.14.1 {would} be 260 letters long, Windows allows 259"
    assert trouble == ("" if fits else said)


AMD = {"kfd": True, "kfd_usable": True, "render": True, "container": False, "wsl": False}


@pytest.mark.parametrize(
    ("facts", "said", "remedy"),
    [
        ({"kfd_usable": False}, "may not open /dev/kfd", "`sudo usermod -aG render,video $USER`"),
        ({"kfd_usable": False, "container": True}, "This container", "`--device /dev/kfd"),
        ({"render": False}, "no render node in /dev/dri", "amdgpu"),
        ({"kfd": False, "kfd_usable": False}, "There is no /dev/kfd", "compute_platform=cpu"),
    ],
)
def test_what_keeps_an_amd_gpu_away_is_named(
    facts: dict[str, bool], said: str, remedy: str
) -> None:
    check = load_package("driver_checks").check_kfd
    found = check(machine(accelerator="rocm", driver={**AMD, **facts}))
    assert found.status == "fail"
    assert said in found.message
    assert remedy in found.remedy
    assert check(machine(accelerator="rocm", driver=AMD)).status == "pass"
    assert check(machine(accelerator="rocm", driver={**AMD, **facts, "wsl": True})) is None


@pytest.mark.skipif(Path("/dev/kfd").exists(), reason="this machine has an AMD card")
def test_a_machine_without_an_amd_gpu_fails_only_where_one_is_asked_for(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", "rocm7.2")
    project.add_stub_torch(STUB, hip="7.2.53211")
    outcome = project.run()
    assert outcome.code == 3
    assert "ROCM-KFD" in outcome.ids("fail")
    assert outcome["DEV-OPEN"]["remedy"] == "This follows from ROCM-KFD."
    assert project.run("--device", "auto")["ROCM-KFD"]["status"] == "warn"


@pytest.mark.parametrize(
    ("installed", "status", "said"),
    [
        (["nvidia-cudnn-cu13", "nvidia-cublas"], "pass", "those of CUDA 13"),
        (["nvidia-cudnn-cu13", "nvidia_cudnn_cu12"], "fail", "Both nvidia-cudnn-cu12 and"),
        (["nvidia-cudnn-cu13", "nvidia-nccl-cu12"], "warn", "nvidia-nccl-cu12 is installed"),
    ],
)
def test_nvidia_packages_of_two_cudas_are_named(
    tmp_path: Path, installed: list[str], status: str, said: str
) -> None:
    project = Project(tmp_path / "project", "cu130")
    project.add_stub_torch("raise ImportError('cudnn')")
    for name in installed:
        info = project.root / "site" / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        (info / "METADATA").write_text(about, encoding="utf-8")
    outcome = project.run("--device", "auto")
    check = outcome["PKG-NVMIX"]
    assert outcome.code == 1
    assert check["status"] == status
    assert said in check["message"]
    remedies = {"fail": "Type `./bootstrap.sh --recreate`.", "pass": ""}
    remedies["warn"] = f"If nothing else needs it: {remedies['fail']}"
    assert check["remedy"] == remedies[status]
