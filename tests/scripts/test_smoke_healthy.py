"""The smoke test raises no false alarm: set-ups that look odd and are well."""

import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.injections import GOOD_START, before_torch
from scripts.smoke_helpers import Project, fake_driver, needs_namespaces
from scripts.torch_helpers import doctor, real_project
from scripts.worlds import world

HARMLESS = {
    "CONDA_PREFIX": "/opt/conda",
    "CONDA_DEFAULT_ENV": "base",
    "CONDA_SHLVL": "1",
    "CUDA_HOME": "/usr",
    "CUDA_LAUNCH_BLOCKING": "0",
    "CUDA_MODULE_LOADING": "LAZY",
    "CUDA_VISIBLE_DEVICES": "0",
    "KMP_DUPLICATE_LIB_OK": "FALSE",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTORCH_ENABLE_MPS_FALLBACK": "1",
    "LD_LIBRARY_PATH": "/usr/lib::/no/such/folder",
}
POOR = {"HOME": "", "USER": "", "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "TERM": ""}
Prepare = Callable[[Project, Path], object]


def uv_made(project: Project, torch_venv: Path) -> None:
    """Let the project's .venv be one that uv has made, with the same torch."""
    venv = project.root / ".venv"
    venv.unlink()
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    python = torch_venv / "bin" / "python"
    command = [str(uv), "venv", "--quiet", "--offline", "--python", str(python), str(venv)]
    subprocess.run(command, check=True)
    site = next(venv.glob("lib/python*/site-packages"))
    real = next(torch_venv.glob("lib/python*/site-packages"))
    (site / "torch.pth").write_text(f"{real}\n", encoding="utf-8")


def odd_folder(project: Project, torch_venv: Path) -> None:
    """Let the current folder have what would be in the way if it were looked at."""
    odd = project.root.parent / "elsewhere"
    odd.mkdir()
    for name in ("torch.py", "random.py", "gpu_smoke.py", "json.py"):
        (odd / name).write_text("raise SystemExit(7)\n", encoding="utf-8")
    project.before = f"cd '{odd}'"


def read_only(project: Project, torch_venv: Path) -> None:
    """Let nobody write to the project's scripts."""
    scripts = project.root / "scripts"
    project.before = f"mount --bind {scripts} {scripts}; mount -o remount,bind,ro {scripts}"


def without_a_gpu(**lines: str) -> Prepare:
    """Let torch be of the project's build, on a machine that shows no GPU."""

    def prepare(project: Project, torch_venv: Path) -> None:
        doctor(project, torch_venv, **lines)
        project.before = world()

    return prepare


def in_world(before: str) -> Prepare:
    """Let the machine be another."""
    return lambda project, torch_venv: setattr(project, "before", before)


AUTO = ("--device", "auto")
HEALTHY: dict[str, tuple[str, str, Prepare, dict[str, str], tuple[str, ...]]] = {
    # name: folder, build, what is odd, variables, arguments
    "a CPU project": ("project", "cpu", lambda project, venv: None, {}, ()),
    "a folder with spaces and letters": (
        "my pr\u00f6ject (1) \u4f60 & x",
        "cpu",
        lambda project, venv: None,
        {},
        (),
    ),
    "a CUDA project without a GPU, --device auto --strict": (
        "project",
        "cu130",
        without_a_gpu(cuda="13.0"),
        {},
        (*AUTO, "--strict"),
    ),
    "a ROCm project without a GPU, --device auto --strict": (
        "project",
        "rocm7.2",
        without_a_gpu(hip="7.2.53211"),
        {},
        (*AUTO, "--strict"),
    ),
    "a .venv made by uv": ("project", "cpu", uv_made, {}, ()),
    "variables of conda and others": ("project", "cpu", lambda project, venv: None, HARMLESS, ()),
    "another folder, with a torch.py": ("project", "cpu", odd_folder, {}, ()),
    "a read-only project": ("project", "cpu", read_only, {}, ()),
    "no home, no user, the locale C": ("project", "cpu", lambda project, venv: None, POOR, ()),
    "a container": ("project", "cpu", in_world(world(container=True)), {}, ()),
    "300 MiB of /dev/shm": ("project", "cpu", in_world(world(shm="300m")), {}, ("--strict",)),
}


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.skipif("sys.platform != 'linux'", reason="needs the Linux wheel of torch")
@pytest.mark.parametrize("name", HEALTHY)
def test_what_is_well_gets_no_warning(tmp_path: Path, torch_venv: Path, name: str) -> None:
    folder, build, prepare, env, arguments = HEALTHY[name]
    project = real_project(tmp_path / folder, torch_venv, build)
    prepare(project, torch_venv)
    if project.before:
        needs_namespaces()
    outcome = project.run(*arguments, **env)
    assert outcome.ids("fail") + outcome.ids("warn") == []
    assert {"TORCH-BUILD", "DEV-OPEN", "TRAIN-STEPS"} <= set(outcome.ids("pass"))
    assert outcome.code == 0 or outcome["SYS-SHM"]["status"] == "warn"


@pytest.mark.parametrize(
    ("build", "env", "before", "ids"),
    [
        ("cu130", {"FAKE_GPUS": "90", "FAKE_DRIVER": "580.95.05"}, "", {"DRV-ARCH", "DRV-OLD"}),
        ("cu130", {"FAKE_GPUS": "90 " * 8, "FAKE_SEEN": "8"}, "", {"CUDA-NODEVICE"}),
        ("cu130", {"FAKE_CUDA": "14010", "FAKE_DRIVER": "640.10"}, "", {"DRV-OLD"}),
        ("pypi", {}, "", {"TORCH-BUILD", "CUDA-NODEVICE", "DRV-ARCH", "DRV-OLD"}),
        ("cu126", {"FAKE_CUDA": "12000", "FAKE_DRIVER": "525.85.12"}, "", {"DRV-OLD"}),
        ("cu126", {"FAKE_GPUS": "61"}, "", {"DRV-ARCH"}),
        ("cu130", {"FAKE_MIG": "1"}, world(container=True), {"DRV-MIG"}),
        ("cu130", {"FAKE_MIG": "1", "CUDA_VISIBLE_DEVICES": "MIG-1f2e"}, "", {"DRV-MIG"}),
        ("cu130", {"FAKE_NVML": "15"}, "", {"CUDA-NODEVICE"}),
        ("rocm7.2", {}, world("kfd", "dri/renderD128"), {"ROCM-KFD"}),
        ("rocm7.2", {}, world("dxg"), {"TORCH-BUILD"}),
    ],
)
def test_a_good_driver_and_gpu_get_no_warning(
    tmp_path: Path, build: str, env: dict[str, str], before: str, ids: set[str]
) -> None:
    project = Project(tmp_path / "project", build)
    rocm = {"cuda": "", "hip": "7.2.53211"} if build.startswith("rocm") else {}
    project.add_stub_torch(GOOD_START, **rocm)
    project.env["LD_LIBRARY_PATH"] = str(fake_driver(tmp_path))
    if before:
        needs_namespaces()
        project.before = before
    outcome = project.run(*before_torch(), **env)
    assert outcome.ids("fail") + outcome.ids("warn") == []
    assert ids <= set(outcome.ids("pass"))
