"""What causes/ and codes.ini say: what can be done in every place, in the makers' own words."""

import ctypes
import importlib
import platform
import re
import string
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from scripts.smoke_helpers import PLACE

knowledge: Any = importlib.import_module("surroundings.knowledge")
CAUSES = knowledge.table("causes")
DRIVER = [
    name for name in CAUSES.sections() if CAUSES[name].get("id", "").startswith(("DRV", "CUDA"))
]
# Those that stand on a machine of its own only: see driver_checks.py.
TEXTS = "".join(text for name in CAUSES.sections() for text in CAUSES[name].values())
WORDS = {name: f"<{name}>" for _, name, _, _ in string.Formatter().parse(TEXTS) if name}
# Those of a card on the bus that this system has for itself, or shares: see own_bus.
BARE = {
    "card-not-loaded",
    "card-without-driver",
    "device-files-missing",
    "gpu-does-not-start",
    "module-unsigned",
    "driver-without-card",
    "needs-legacy-driver",
    "needs-newer-driver",
    "needs-open-module",
    "other-kernel-driver",
    "given-to-virtual-machines",
    "module-for-other-kernel",
    "module-key-rejected",
    "no-such-device",
}
LINUX = {"linux-driver-in-wsl", "job-without-gpu", "no-device-file"}  # alone
CONTAINERS = [kind for kind in PLACE.SIGNS if kind.startswith("container")]
NO_TENANT_S = {f"container.{name}" for name in ("toolbox", "nspawn", "lxc.proxmox", "desktop")}
BOARDS = [["jetson"], ["container.docker", "jetson"], ["container.podman", "jetson"]]
TENANTS = [kind for kind in PLACE.SIGNS if kind.partition(".")[0] in PLACE.TENANTS]
GUESTS = [
    *([kind] for kind in PLACE.SIGNS if kind.partition(".")[0] in PLACE.GUESTS),
    *([kind, "wsl"] for kind in CONTAINERS if kind not in NO_TENANT_S),
    *([kind, tenant] for kind in CONTAINERS for tenant in TENANTS if kind not in NO_TENANT_S),
    *BOARDS[1:],
    ["container.docker", "cloud.aws", "vm.kvm"],
    ["container.podman", "selinux", "rootless"],
]
SHARED = [kinds for kinds in GUESTS if not any("container" in one or "wsl" in one for one in kinds)]
MACHINES = [["cloud.aws"], ["cloud.gcp", "vm.kvm"], ["vm"], ["jetson"], ["dgx"]]
NOT_INSIDE = re.compile(
    r"(?<!nvidia-)modprobe|systemctl restart|(?<!and )\breboot\b(?! the (machine|host))", re.I
)
# What must not be said in a place to a user who is not root: names, one of which the place has,
# names that it has not, and what is never right there. {sudo} is <sudo> here.
OF_DOCKER = r"[Dd]ocker|[Cc]ompose|--gpus all|--shm-size|--memory 16g"
OF_CLUSTERS = r"--gres|\bsrun\b|\bqsub\b|\bbsub\b|\bflux run\b"
ROOT_S = r"sudo|dmesg|\bapt\b|apt-get|systemctl|usermod|modprobe|nvidia-smi -c\b|--gpu-reset"
HOST_S = r"(on|of|restart|have) the host\b(?!'s group)"
NEVER = [
    ("job login notebook ci", "", rf"{ROOT_S}|{HOST_S}|[Rr]eboot"),
    ("kubernetes", "", rf"{ROOT_S}|{HOST_S}|[Rr]eboot"),
    ("kubernetes lxc apptainer enroot shifter toolbox snap", "docker podman containerd", OF_DOCKER),
    ("podman", "docker", r"docker run|--runtime nvidia|Compose|for Docker"),
    ("lxc", "ci", r"--nv\b|--device (?!cpu)|nvidia\.com/gpu"),
    ("proxmox", "", r"incus|lxc config|LXD"),
    ("desktop", "job login notebook ci", r"--gpus all|Toolkit"),
    ("wsl", "", r"modprobe|nvidia_uvm|[Rr]eboot|[Rr]estart the host|systemctl|dmesg \|"),
    ("cloud", "", r"\bseat\b|cables?\b|BIOS|firmware"),
    ("jetson", "", r"modprobe|nvidia-smi|Secure Boot|BIOS|cables|lspci"),
    ("notebook ci", "", OF_CLUSTERS),
]
# What a check never tells there, though --explain may: cards on a bus, and what only those have.
CARDS = {"compute-mode", "mig-without-instance", "mig-takes-the-first", "no-licence", "no-power"}
CARDS |= {"not-ready-for-confidential", "no-fabric", "not-permitted", "mps-server", "nccl-fails"}
MESSAGES = {one for one in CAUSES if CAUSES[one].get("of") == "engine" and one not in DRIVER}


def advice(cause: str, *kinds: str) -> Any:  # noqa: ANN401
    """What is said of a cause in a place, whatever it names."""
    place = PLACE.Place({kind: ["a sign"] for kind in kinds})
    return knowledge.advice(cause, place, **WORDS)


@pytest.mark.parametrize("cause", DRIVER)
def test_a_cause_says_what_can_be_done_in_each_place(cause: str) -> None:
    for kinds in ([], *(SHARED if cause in BARE else GUESTS)):
        name, says, do = advice(cause, *kinds)
        assert name
        assert says.endswith("."), kinds
        assert do.endswith("."), kinds
        assert (says + do).isascii()
        if kinds:
            assert not NOT_INSIDE.search(do), (kinds, do)
        if any(kind.startswith("container") for kind in kinds) and "wsl" in kinds:
            assert "inside WSL" not in do


def is_told(cause: str, names: frozenset[str]) -> bool:
    """Whether a check can come to a cause there."""
    if cause == "linux-driver-in-wsl":
        return "wsl" in names
    if cause in CARDS:
        return "jetson" not in names
    if cause in MESSAGES:
        return False
    return cause not in BARE or names.isdisjoint(("guest", "jetson"))


@pytest.mark.parametrize("cause", CAUSES.sections())
def test_nobody_is_told_what_cannot_be_done_there(
    monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000, raising=False)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    for kinds in (*GUESTS, *MACHINES):
        names = PLACE.Place({kind: ["a sign"] for kind in kinds}).names
        do = advice(cause, *kinds).do if is_told(cause, names) else ""
        for some, none, never in NEVER:
            if names & set(some.split()) and names.isdisjoint(none.split()):
                assert not re.search(never, do), (kinds, do)


@pytest.mark.parametrize("cause", [one for one in DRIVER if one not in {*BARE, *LINUX}])
def test_windows_is_not_told_to_do_what_is_done_on_linux(
    monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    linux = re.compile(
        r"modprobe|dmesg|sudo|/dev/|ldconfig|systemctl|lspci|apt|\bReboot\b|ls -l|/etc/"
    )
    assert not linux.search(advice(cause).do.replace("<sudo>", "sudo"))


def test_a_container_s_row_comes_before_that_of_what_it_runs_on() -> None:
    for kinds, words in (
        (["container.kubernetes", "container.containerd", "wsl"], "nvidia.com/gpu"),
        (["container.kubernetes", "container.podman", "container.crio"], "nvidia.com/gpu"),
        (["container.apptainer", "job.slurm"], "--nv"),
        (["container.docker", "notebook.colab"], "Runtime > Change runtime type"),
        (["container.podman", "container.toolbox"], "toolbox anew"),
        (["container.podman", "container.distrobox"], "distrobox create --nvidia"),
        (["job.slurm", "job.allocation"], "not on the job's node"),
    ):
        assert words in advice("no-driver", *kinds).do
    assert advice("mps-server", "job.slurm").do.startswith("Type `<unset_mps>`")


def test_who_may_do_it_decides_whose_row_is_taken() -> None:
    for cause, kinds, words in (
        ("driver-updated", ["container.apptainer", "job.slurm"], "Take another node"),
        ("driver-mismatch", ["container.docker", "notebook.colab"], "on a new machine"),
        ("no-fabric", ["container.docker", "ci.github"], "look after the runner"),
        ("none-usable", ["container.docker"], "reboot the host"),
        ("job-without-gpu", ["container.apptainer", "job.slurm"], "--gres=gpu:1"),
        ("no-driver", ["container.docker", "job.htcondor"], "request_gpus"),
        ("no-device-file", ["job.slurm"], "Take another node"),
        ("lost-in-container", ["container.docker", "wsl"], "wsl --shutdown"),
        ("driver-mismatch", ["container.docker", "wsl"], "wsl --shutdown"),
        ("lost-in-container", ["container.docker"], "no-cgroups"),
        ("no-driver", ["container.lxc.proxmox"], "pct set ID -dev0"),
        ("no-driver", ["container.docker", "container.desktop"], "build for macOS"),
        ("no-driver", ["ci.github", "container.kubernetes"], "resources: limits"),
        ("finds-no-gpu", ["jetson"], "/dev/nvmap"),
        ("amd-does-not-open", ["wsl"], "ROCm for WSL"),
        ("gpu-lost", ["cloud.aws"], "another machine"),
        ("no-memory", ["container.kubernetes"], "limits: memory"),
    ):
        assert words in advice(cause, *kinds).do, (cause, kinds)
    assert "may be a cluster's login node" in advice("no-driver", "login.slurm").says


@pytest.mark.parametrize(
    ("kinds", "root", "told"),
    [
        ([], 1000, "Type `sudo apt install ffmpeg`."),
        (["container.docker"], 0, "and add it to the image, so that it stays."),
        (["container.kubernetes"], 1000, "Add it to the image, by `apt install ffmpeg` there."),
        (["container.apptainer"], 0, "Add it to the image, by `apt install ffmpeg` there."),
        (["job.slurm"], 1000, "Load a module that brings FFmpeg, or ask who looks after"),
    ],
)
def test_a_program_is_installed_by_who_may(
    monkeypatch: pytest.MonkeyPatch, kinds: list[str], root: int, told: str
) -> None:
    system: Any = importlib.import_module("surroundings.system")
    monkeypatch.setattr(system, "system", lambda: "debian")
    monkeypatch.setattr(system, "here", lambda: PLACE.Place({kind: ["x"] for kind in kinds}))
    monkeypatch.setattr("os.geteuid", lambda: root, raising=False)
    monkeypatch.setattr(sys, "base_prefix", "/nowhere")
    assert told in system.install({"debian": "ffmpeg", "": "ffmpeg"}, "FFmpeg")


def test_every_code_s_cause_is_one_that_is_told() -> None:
    families = knowledge.table("codes.ini")
    for family in ("cuda", "nvml", "context"):
        for number in families[family]:
            cause = knowledge.code(family, int(number)).cause
            assert not cause or cause in CAUSES, (family, number)


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("CUDA error: operation not supported\nSearch for `cudaErrorNotSupported' in https", 801),
        ("Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized", 802),
        ("CUDA out of memory. Tried to allocate 2.00 MiB. GPU 0 has a total capacity of", 2),
        ("CUDA driver error: invalid argument", 1),
        ("CUDA error: the provided PTX was compiled with an unsupported toolchain.", 222),
        ("Search for `cudaErrorAssert' in https://docs.nvidia.com", 710),
        ("No CUDA GPUs are available", None),
        ("Expected all tensors to be on the same device", None),
    ],
)
def test_what_torch_says_leads_back_to_the_code(said: str, number: int | None) -> None:
    assert knowledge.cuda_code(said) == number


@pytest.fixture(scope="session")
def toolkit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NVIDIA's headers and its runtime library, out of its wheels."""
    folder = tmp_path_factory.mktemp("toolkit")
    wheels = ["nvidia-cuda-runtime==13.5.37", "nvidia-nvml-dev==13.5.37"]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), *wheels]
    subprocess.run(command, check=True, capture_output=True)
    for wheel in folder.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(folder)
    return folder / "nvidia" / "cu13"


def enum(header: Path, pattern: str) -> dict[int, str]:
    """The values of an enum of C, and their names."""
    text = header.read_text(encoding="utf-8")
    rows = re.findall(rf"^ +({pattern}) += +(\d+)", text, re.MULTILINE)
    return {int(number): name for name, number in rows}


def ours(family: str) -> dict[int, tuple[str, str]]:
    """The names and words of a family."""
    rows = {int(number) for number in knowledge.table("codes.ini")[family]}
    return {number: knowledge.code(family, number)[:2] for number in rows}


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.skipif("sys.platform != 'linux'", reason="NVIDIA has its wheels for Linux")
def test_the_codes_are_all_those_of_nvidia_s_headers(toolkit: Path) -> None:
    driver = enum(toolkit / "include" / "cuda.h", r"CUDA_(?:SUCCESS|ERROR)\w*")
    runtime = enum(toolkit / "include" / "driver_types.h", r"cuda(?:Success|Error)\w*")
    assert len(driver) > 90
    assert len(runtime) > 120
    names = {number: name for number, (name, _) in ours("cuda").items()}
    assert names == {**runtime, **driver}
    nvml = enum(toolkit / "include" / "nvml.h", r"NVML_(?:SUCCESS|ERROR)\w*")
    assert len(nvml) > 25
    assert {number: name for number, (name, _) in ours("nvml").items()} == nvml


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.skipif("sys.platform != 'linux'", reason="NVIDIA has its wheels for Linux")
def test_the_words_of_a_code_are_those_that_torch_gets_from_cuda(toolkit: Path) -> None:
    library = next((toolkit / "lib").glob("libcudart.so.*"))
    cudart = ctypes.CDLL(str(library))
    cudart.cudaGetErrorString.restype = ctypes.c_char_p
    known = 0
    for number, (name, words) in ours("cuda").items():
        said = cudart.cudaGetErrorString(number).decode()
        if said != "unrecognized error code":
            assert words == said, name
            known += 1
    assert known > 120
