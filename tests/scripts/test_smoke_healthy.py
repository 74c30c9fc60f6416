"""The smoke test raises no false alarm: set-ups that look odd and are well."""

import subprocess
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


def read_only_root(project: Project, torch_venv: Path) -> None:
    """Let nobody write anywhere but to the project, and to a folder for what is temporary."""
    folder = project.root.parent
    (folder / "tmp").mkdir()
    project.env["TMPDIR"] = str(folder / "tmp")
    project.before = f"mount --bind '{folder}' '{folder}'; mount -o remount,bind,ro /"


def small_tmp(project: Project, torch_venv: Path) -> None:
    """Let the folder for what is temporary have room for next to nothing, and run no program."""
    (project.root / "tmp").mkdir()
    project.env["TMPDIR"] = str(project.root / "tmp")
    project.before = f"mount -t tmpfs -o size=1m,noexec tmpfs {project.root / 'tmp'}"


def linked(project: Project, torch_venv: Path) -> None:
    """Let the project's folder be reached by a link."""
    link = project.root.with_name("a link")
    link.symlink_to(project.root)
    project.root = link


# A user that no file knows; it may read what is the tests' own.
NOBODY = (
    "--reuid 4711 --regid 4711 --clear-groups --inh-caps=+dac_override --ambient-caps=+dac_override"
)
PROXIES = {
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "NO_PROXY": "localhost",
    "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
}


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
    "a user without an account": (
        "project",
        "cpu",
        in_world(f'exec setpriv {NOBODY} env -u USER -u LOGNAME HOME=/ "$@"'),
        {},
        (),
    ),
    "a root that nobody may write to": ("project", "cpu", read_only_root, {}, ()),
    "a /tmp of 1 MiB, from which nothing runs": ("project", "cpu", small_tmp, {}, ()),
    "a folder that is a link": ("project", "cpu", linked, {}, ()),
    "proxies": ("project", "cpu", lambda project, venv: None, PROXIES, ()),
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


@dataclass(frozen=True)
class Good:
    """A driver and a GPU that are well, and where they are."""

    before: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    build: str = "cu130"
    ids: str = "CUDA-NODEVICE DRV-ARCH DRV-OLD"  # what passes
    wheels: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""  # what PYTHONPATH and LD_LIBRARY_PATH have beside the usual


NVIDIA = ("nvidia0", "nvidiactl", "nvidia-uvm")
CONTAINER = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_PORT": "tcp://10.0.0.1:443"}
SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "3", "SLURM_GPUS_ON_NODE": "1", "SLURM_PROCID": "0"}
MIG = "MIG-5c89852c-d268-5c09-8ad5-8e9b2e0a9b9b"
DMI = "/sys/class/dmi/id"
ROS = "/opt/ros/jazzy/lib/python3.12/site-packages"


def machine(vendor: str, product: str) -> str:
    """A machine of which its firmware says what it is."""
    return world(*NVIDIA, files={f"{DMI}/sys_vendor": vendor, f"{DMI}/product_name": product})


GOOD = {
    "one of Hopper": Good(env={"FAKE_GPUS": "90", "FAKE_DRIVER": "580.95.05"}),
    "eight": Good(env={"FAKE_GPUS": "90 " * 8, "FAKE_SEEN": "8"}),
    "a newer driver": Good(env={"FAKE_CUDA": "14010", "FAKE_DRIVER": "640.10"}),
    "PyPI's wheels": Good(build="pypi", ids="TORCH-BUILD CUDA-NODEVICE DRV-ARCH DRV-OLD"),
    "an older driver of the same CUDA": Good(
        build="cu126", env={"FAKE_CUDA": "12000", "FAKE_DRIVER": "525.85.12"}
    ),
    "one of Pascal": Good(build="cu126", env={"FAKE_GPUS": "61"}),
    "an instance in a container": Good(
        world(container=True), {"FAKE_MIG": "1"}, ids="DRV-MIG CUDA-NODEVICE"
    ),
    "an instance by its name": Good(
        env={"FAKE_MIG": "1", "CUDA_VISIBLE_DEVICES": "MIG-1f2e"}, ids="DRV-MIG"
    ),
    "an NVML that may not look at a GPU": Good(env={"FAKE_NVML": "15"}),
    "one of AMD": Good(world("kfd", "dri/renderD128"), build="rocm7.2", ids="ROCM-KFD"),
    "one of AMD in WSL": Good(world("dxg"), build="rocm7.2", ids="TORCH-BUILD"),
    "two of two generations": Good(env={"FAKE_GPUS": "75 120", "FAKE_SEEN": "2"}),
    "two, the other way round": Good(
        env={"FAKE_GPUS": "90 90", "FAKE_SEEN": "2", "CUDA_VISIBLE_DEVICES": "1,0"},
        ids="CUDA-NODEVICE",
    ),
    "a virtual machine": Good(machine("QEMU", "Standard PC (Q35 + ICH9, 2009)")),
    "AWS": Good(machine("Amazon EC2", "p5.48xlarge")),
    "Google": Good(machine("Google", "Google Compute Engine")),
    "Azure": Good(machine("Microsoft Corporation", "Virtual Machine")),
    "WSL": Good(
        world("dxg", place="wsl", driver_in="/usr/lib/wsl/lib"),
        {"WSL_DISTRO_NAME": "Ubuntu", "WSL_INTEROP": "/run/WSL/1_interop"},
    ),
    "Docker": Good(world(*NVIDIA, place="docker"), CONTAINER),
    "Docker in WSL": Good(
        world("dxg", place="docker wsl", driver_in="/usr/lib/wsl/lib"), CONTAINER
    ),
    "a devcontainer": Good(
        world(*NVIDIA, place="docker"),
        {**CONTAINER, "REMOTE_CONTAINERS": "true", "VSCODE_IPC_HOOK_CLI": "/tmp/x.sock"},
        path="/usr/local/nvidia/lib64",
    ),
    "Podman, by CDI": Good(
        world(*NVIDIA, place="podman"), {"container": "podman", "NVIDIA_VISIBLE_DEVICES": "void"}
    ),
    "containerd": Good(
        world(*NVIDIA, files={"/proc/1/cgroup": "0::/kubepods.slice/cri-containerd-1f2e.scope"}),
        CONTAINER,
    ),
    "a pod of Kubernetes": Good(world(*NVIDIA, place="kubernetes"), {**CONTAINER, **POD}),
    "a MIG slice in a pod": Good(
        world(*NVIDIA, place="kubernetes"),
        {**CONTAINER, **POD, "FAKE_MIG": "1", "NVIDIA_VISIBLE_DEVICES": MIG},
        ids="DRV-MIG CUDA-NODEVICE",
    ),
    "Apptainer": Good(
        world(*NVIDIA, place="apptainer", driver_in="/.singularity.d/libs"),
        {"APPTAINER_CONTAINER": "/images/x.sif", "SINGULARITY_CONTAINER": "/images/x.sif"},
    ),
    "enroot and pyxis in a job of Slurm": Good(
        world(*NVIDIA, files={"/.lock": ""}), {**CONTAINER, **SLURM, "ENROOT_ROOTFS": "/x"}
    ),
    "LXC": Good(world(*NVIDIA, place="lxc"), {"container": "lxc"}),
    "systemd-nspawn": Good(world(*NVIDIA, place="nspawn"), {"container": "systemd-nspawn"}),
    "a job of Slurm": Good(
        world(*NVIDIA), {**SLURM, "SLURMD_NODENAME": "n1", "CUDA_VISIBLE_DEVICES": "0"}
    ),
    "a job of PBS": Good(
        world(*NVIDIA), {"PBS_JOBID": "7.pbs", "CUDA_VISIBLE_DEVICES": "GPU-5a0d8ce01-test"}
    ),
    "a job of LSF": Good(world(*NVIDIA), {"LSB_JOBID": "7", "CUDA_VISIBLE_DEVICES": "0"}),
    "stale variables of Slurm": Good(env={**SLURM, "SLURM_JOB_GPUS": "7"}),
    "a pod's variables, leaked into ssh": Good(env=POD),
    "Jetson": Good(
        world("nvhost-gpu", "nvmap", place="jetson"),
        {"FAKE_GPUS": "87", "FAKE_NVML": "3"},
        wheels={"gpu_architectures": ["8.7"]},
        ids="CUDA-NODEVICE DRV-ARCH",
    ),
    "Colab": Good(
        world(*NVIDIA, place="docker", driver_in="/usr/lib64-nvidia"),
        {"COLAB_RELEASE_TAG": "x", "COLAB_GPU": "1", "FAKE_GPUS": "75", "TF_USE_LEGACY_KERAS": ""},
        path="/env/python",
    ),
    "a runner of GitHub": Good(env={"CI": "true", "GITHUB_ACTIONS": "true", "RUNNER_OS": "Linux"}),
    "a runner of GitLab": Good(
        world(*NVIDIA, place="docker"), {**CONTAINER, "CI": "true", "GITLAB_CI": "true"}
    ),
    "a module of a CUDA": Good(
        world(files={"/opt/cuda/12.4/lib64/libcudart.so.12": ""}),
        {"CUDA_HOME": "/opt/cuda/12.4", "LOADEDMODULES": "cuda/12.4", "MODULEPATH": "/opt/modules"},
        path="/opt/cuda/12.4/lib64",
    ),
    "ROS": Good(
        world(files={f"{ROS}/rclpy/__init__.py": ""}),
        {"ROS_DISTRO": "jazzy", "AMENT_PREFIX_PATH": "/opt/ros/jazzy", "ROS_VERSION": "2"},
        path=ROS,
    ),
}


@pytest.mark.few(10)
@pytest.mark.parametrize("name", GOOD)
def test_a_good_driver_and_gpu_get_no_warning(tmp_path: Path, name: str) -> None:
    good = GOOD[name]
    project = Project(tmp_path / "project", good.build, wheels=good.wheels)
    rocm = {"cuda": "", "hip": "7.2.53211"} if good.build.startswith("rocm") else {}
    project.add_stub_torch(GOOD_START, **rocm)
    project.env["LD_LIBRARY_PATH"] = str(fake_driver(tmp_path))
    if good.path:
        project.env["PYTHONPATH"] += f":{good.path}"
        project.env["LD_LIBRARY_PATH"] += f":{good.path}" * (not good.before.count("export LD_"))
    if good.before:
        needs_namespaces()
        project.before = good.before
    outcome = project.run(*before_torch(), **good.env)
    assert outcome.ids("fail") + outcome.ids("warn") == []
    assert set(good.ids.split()) <= set(outcome.ids("pass"))


def test_there_are_many_healthy_set_ups() -> None:
    assert len(HEALTHY) + len(GOOD) >= 50
