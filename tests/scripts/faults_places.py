"""Faults of drivers and GPUs in containers, in WSL, in jobs: what can be done there, or outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from scripts.injections import UNSET, Injection, device, only_nvml
from scripts.worlds import world

# What nobody can do in a container, in WSL or in a job.
NOT_INSIDE = ("modprobe", "systemctl", "Reboot", "and reboot")
NOT_IN_WSL = (*NOT_INSIDE, "/dev/nvidia", "RmInitAdapter")
OVERLAY = "1 0 0:1 / / rw - overlay overlay rw,lowerdir=/var/lib/containerd/io.containerd.x\n"
POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
JOB = {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1"}
NONE = {"FAKE_INIT": "100", "FAKE_SEEN": "0"}
NO_MODULE = {"FAKE_INIT": "100", "FAKE_NVML": "9"}
AWS = {"/sys/class/dmi/id/sys_vendor": "Amazon EC2\n"}
WSL_LIB = "/usr/lib/wsl/lib"
COMPAT = "/usr/local/cuda-13.0/compat"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build"


def there(
    what: str,
    name: str,
    remedy: str,
    said: str = "",
    before: str = "",
    never: tuple[str, ...] = NOT_INSIDE,
    driver: bool = True,
    env: Mapping[str, str] | None = None,
) -> Injection:
    """A fault of a driver in a place, and what must not be said there."""
    fault = device(what, name, remedy, said, before=before or world(), driver=driver)
    return replace(fault, env=env or {}, never=never)


def no_libcuda(what: str, remedy: str, before: str, **env: str) -> Injection:
    """NVML that answers, without libcuda."""
    fault = there(what, "DRV-LIBCUDA", remedy, "no libcuda", before, driver=False, env=env)
    return replace(fault, change=only_nvml)


def says(code: int, words: str, remedy: str) -> Injection:
    """A device that does not open, as torch tells it."""
    text = f"CUDA error: {words}\\nCUDA kernel errors might be asynchronously reported"
    fault = device(f"torch says `{words}`", "DEV-OPEN", remedy, before=world())
    code_of_torch = fault.torch.replace(
        '"the driver said no\\nand a hint that nobody reads"', repr(text.replace("\\n", "\n"))
    )
    assert code_of_torch != fault.torch, code
    return replace(fault, also=(), torch=code_of_torch)


# A container or a machine, what starts it with a GPU there, and how it is made.
GIVES = {
    "Docker": ("`docker run --gpus all`", world(place="docker"), {}),
    "Docker on WSL": ("`docker run --gpus all`", world("dxg", place="docker"), {}),
    "Compose": ("`capabilities: [gpu, compute, utility]`", world(place="docker"), {}),
    "Podman": ("`podman run --device nvidia.com/gpu=all`", world(place="podman"), {}),
    "Podman under SELinux": (
        "--security-opt label=disable`",
        world(place="podman selinux"),
        {},
    ),
    "a pod": ("`resources: limits: nvidia.com/gpu: 1`", world(place="kubernetes"), POD),
    "nerdctl": (
        "`nerdctl run --gpus all`",
        world(files={"/proc/self/mountinfo": OVERLAY}),
        {},
    ),
    "Apptainer": ("`apptainer exec --nv`", world(place="apptainer"), {}),
    "Apptainer in a job": ("`apptainer exec --nv`", world(place="apptainer"), JOB),
    "LXD or Incus": ("`incus config set NAME nvidia.runtime=true`", world(place="lxc"), {}),
    "systemd-nspawn": ("`--bind=/dev/nvidia0 --bind=", world(place="nspawn"), {}),
    "a container of Jetson": ("`docker run --runtime nvidia`", world(place="docker jetson"), {}),
    "a job of Slurm": ("`--gres=gpu:1` or `--gpus=1`", world(), JOB),
    "a job of PBS": ("`qsub -l select=1:ngpus=1`", world(), {"PBS_JOBID": "7.x"}),
    "a job of LSF": ('`bsub -gpu "num=1"`', world(), {"LSB_JOBID": "7"}),
    "Colab": (
        "`Runtime > Change runtime type`",
        world(place="docker"),
        {"COLAB_RELEASE_TAG": "release-colab_20260401"},
    ),
    "Kaggle": ("Choose an accelerator", world(), {"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}),
    "a runner of GitHub": ("a runner with a GPU", world(), {"GITHUB_ACTIONS": "true"}),
}

FAULTS: list[Injection] = [
    *(
        there(f"no driver in {what}", "DRV-LIBCUDA", remedy, "", before, driver=False, env=env)
        for what, (remedy, before, env) in GIVES.items()
    ),
    there(
        "no driver in a machine of AWS",
        "DRV-LIBCUDA",
        "Choose an instance type with a GPU.",
        "no sign of an NVIDIA GPU",
        world(files=AWS),
        driver=False,
    ),
    there(
        "no driver in WSL 1",
        "DRV-LIBCUDA",
        "`wsl --set-version NAME 2`",
        "WSL 1 has no GPU",
        world(files={"/proc/version": "Linux version 4.4.0-19041-Microsoft\n"}),
        NOT_IN_WSL,
        driver=False,
    ),
    *(
        there(
            f"nvmlInit returns 9 in {what}",
            "DRV-NOTLOADED",
            GIVES[what][0],
            "",
            GIVES[what][1],
            env={**GIVES[what][2], **NO_MODULE},
        )
        for what in ("a pod", "Apptainer", "LXD or Incus", "nerdctl", "Podman")
    ),
    # --- half of a driver
    no_libcuda(
        "Docker with `utility` alone, NVML and no libcuda",
        "in Compose, with `capabilities: [gpu, compute, utility]`.",
        world(place="docker"),
    ),
    no_libcuda(
        "Docker Desktop on WSL with `utility` alone",
        "`-e NVIDIA_DRIVER_CAPABILITIES=compute,utility`",
        world("dxg", place="docker"),
    ),
    no_libcuda(
        "WSL with NVML of Windows, and no libcuda",
        "if this is a container, start it with `-e NVIDIA_DRIVER_CAPABILITIES=compute,utility`",
        world("dxg"),
    ),
    no_libcuda(
        "a pod with `utility` alone",
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility in the pod's `env:`",
        world(place="kubernetes"),
        **POD,
    ),
    no_libcuda(
        "Podman whose CDI has no libcuda",
        "`sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml` on the host",
        world(place="podman"),
    ),
    no_libcuda(
        "enroot, whose NVIDIA_DRIVER_CAPABILITIES is `utility`",
        "which is `utility` alone if it is not said",
        world(files={"/proc/self/mountinfo": "1 0 0:1 /pyxis_7 / rw - ext4 /dev/sda rw\n"}),
        **JOB,
    ),
    # --- libcuda is not the one that is meant
    *(
        there(
            f"a Linux driver in WSL, cuInit {code}",
            "DRV-MISMATCH",
            "type `wsl --shutdown` on Windows",
            "A Linux driver is installed inside WSL: ",
            world("dxg"),
            NOT_IN_WSL,
            env={"FAKE_INIT": code, "FAKE_NVML": "9"},
        )
        for code in ("2", "100", "999")
    ),
    there(
        "a Linux driver in the image of a container on WSL",
        "DRV-MISMATCH",
        "Take NVIDIA's driver packages out of the image",
        "This image brings a Linux driver of its own",
        world("dxg", place="docker"),
        NOT_IN_WSL,
        env={"FAKE_INIT": "999", "FAKE_NVML": "9"},
    ),
    there(
        "WSL whose own driver has stopped, cuInit 999",
        "CUDA-UNKNOWN",
        "Type `wsl --shutdown` on Windows",
        "999 (CUDA_ERROR_UNKNOWN)",
        world("dxg", driver_in=WSL_LIB),
        NOT_IN_WSL,
        env={"FAKE_INIT": "999"},
    ),
    there(
        "cuInit returns 803 with CUDA's compat first, in a container",
        "CUDA-COMPAT",
        "in the image, and run `ldconfig` there",
        f"{COMPAT}/libcuda.so.1, is found before the driver that runs, 580.95.05",
        world(place="docker", driver_in=COMPAT),
        env={"FAKE_INIT": "803"},
    ),
    there(
        "cuInit returns 804 with CUDA's compat first",
        "CUDA-COMPAT",
        "/etc/ld.so.conf.d",
        f"cannot use CUDA's compat driver, {COMPAT}/libcuda.so.1.",
        world(driver_in=COMPAT),
        env={"FAKE_INIT": "804"},
    ),
    there(
        "libcuda of the toolkit's stubs",
        "DRV-LIBCUDA",
        "Take its folder out of LD_LIBRARY_PATH",
        "/opt/cuda/lib64/stubs/libcuda.so.1 is a stub",
        world(driver_in="/opt/cuda/lib64/stubs"),
        env={"FAKE_INIT": "34", "FAKE_NVML": "9", "FAKE_CUDA": "0"},
    ),
    there(
        "libcuda and NVML of two drivers",
        "CUDA-MISMATCH",
        "Remove what brought /opt/nvidia/libcuda.so.1",
        "is of 570.124.06, but the driver that runs is 580.95.05",
        world(driver_in="/opt/nvidia", versions=("570.124.06", "580.95.05")),
        ("modprobe",),
        env={"FAKE_INIT": "803"},
    ),
    there(
        "libcuda of the image in a container, and NVML of the host",
        "CUDA-MISMATCH",
        "Take NVIDIA's driver packages (libcuda, libnvidia-*) out of the image",
        "is of 570.124.06",
        world(place="docker", driver_in="/opt/nvidia", versions=("570.124.06", "580.95.05")),
        env={"FAKE_INIT": "803"},
    ),
    # --- codes, where nothing can be done inside
    there(
        "cuInit returns 803 in a container",
        "CUDA-MISMATCH",
        "Start a new container",
        before=world(place="docker"),
        env={"FAKE_INIT": "803"},
        never=("modprobe", "Reboot"),
    ),
    there(
        "cuInit returns 803 in a job",
        "CUDA-MISMATCH",
        "Take another node",
        env={**JOB, "FAKE_INIT": "803"},
    ),
    there(
        "cuInit returns 802 in a container",
        "CUDA-FABRIC",
        "On the host, not in here, type `sudo systemctl enable --now nvidia-fabricmanager`",
        before=world(place="docker"),
        never=("modprobe",),
        env={"FAKE_INIT": "802"},
    ),
    there(
        "cuInit returns 802 in a pod",
        "CUDA-FABRIC",
        "nvlsm too",
        never=("modprobe",),
        env={**POD, "FAKE_INIT": "802"},
    ),
    there(
        "cuInit returns 802 with confidential computing",
        "CUDA-FABRIC",
        "`nvidia-smi conf-compute -srs 1`"[1:],
        "has not been set ready",
        never=("fabricmanager",),
        env={"FAKE_INIT": "802", "FAKE_READY": "0"},
    ),
    there(
        "cuInit returns 999 in a container",
        "CUDA-UNKNOWN",
        "Start a new container",
        before=world(place="docker"),
        env={"FAKE_INIT": "999"},
    ),
    there(
        "cuInit returns 999 in a job",
        "CUDA-UNKNOWN",
        "Take another node",
        env={**JOB, "FAKE_INIT": "999"},
    ),
    there(
        "cuInit returns 999, and /dev/nvidia-uvm is missing",
        "CUDA-NODEVICE",
        "nvidia-modprobe -c 0 -u`",
        "/dev/nvidia-uvm is missing",
        world("nvidiactl", "nvidia0"),
        ("Reboot",),
        env={"FAKE_INIT": "999"},
    ),
    there(
        "cuInit returns 999 in a container without /dev/nvidia-uvm",
        "CUDA-NODEVICE",
        "add `--device /dev/nvidia-uvm`",
        "/dev/nvidia-uvm is missing",
        world("nvidiactl", "nvidia0", place="docker"),
        env={"FAKE_INIT": "999"},
    ),
    there(
        "cuInit returns 46 with the compute mode EXCLUSIVE_PROCESS",
        "CUDA-BUSY",
        "nvidia-smi -c DEFAULT`",
        "compute mode is EXCLUSIVE_PROCESS",
        never=("Reboot",),
        env={"FAKE_INIT": "46", "FAKE_MODE": "3"},
    ),
    there(
        "cuInit returns 46 with the compute mode PROHIBITED, in a container",
        "CUDA-BUSY",
        "`sudo nvidia-smi -c DEFAULT` on the host",
        "compute mode is PROHIBITED",
        world(place="docker"),
        env={"FAKE_INIT": "46", "FAKE_MODE": "2"},
    ),
    there(
        "cuInit returns 102",
        "CUDA-UNKNOWN",
        "nvidia-gridd",
        "no licence",
        env={"FAKE_INIT": "102"},
    ),
    there(
        "cuInit returns 805",
        "CUDA-UNKNOWN",
        "CUDA_MPS_PIPE_DIRECTORY",
        "805 (CUDA_ERROR_MPS_CONNECTION_FAILED)",
        env={"FAKE_INIT": "805"},
    ),
    there(
        "cuInit returns 805 in a container",
        "CUDA-UNKNOWN",
        "start the container with `--ipc=host`",
        before=world(place="docker"),
        never=("Restart the host",),
        env={"FAKE_INIT": "805", "CUDA_MPS_PIPE_DIRECTORY": "/tmp/nvidia-mps"},
    ),
    there(
        "cuInit returns 12345",
        "CUDA-UNKNOWN",
        "report.md` writes",
        "cuInit returned 12345 (a new code)",
        env={"FAKE_INIT": "12345"},
    ),
    there(
        "nvmlInit returns 3, and CUDA no GPU",
        "CUDA-UNKNOWN",
        "report.md` writes",
        "nvmlInit returned 3 (NVML_ERROR_NOT_SUPPORTED)",
        env={"FAKE_INIT": "100", "FAKE_NVML": "3"},
    ),
    there(
        "nvmlInit returns 18 in Podman",
        "DRV-MISMATCH",
        "`sudo nvidia-ctk cdi generate",
        before=world(place="podman"),
        env={"FAKE_NVML": "18", "FAKE_INIT": "803"},
        never=("modprobe", "Reboot"),
    ),
    there(
        "nvmlInit returns 999 in a pod",
        "DRV-CGROUP",
        "Delete the pod",
        "has lost its right",
        before=world(place="kubernetes"),
        env={**POD, "FAKE_NVML": "999", "FAKE_INIT": "100"},
    ),
    # --- device files
    there(
        "rootless Podman under SELinux, which may not open the device",
        "CUDA-NODEVICE",
        "`--security-opt label=disable`",
        "This container may not open /dev/nvidiactl",
        world(
            "nvidia-uvm",
            place="podman selinux",
            refused="nvidiactl nvidia0",
            files={"/proc/self/uid_map": "0 1000 1\n"},
        ),
        env={"FAKE_INIT": "100", "FAKE_NVML": "4"},
    ),
    there(
        "a user who may not open the device",
        "CUDA-NODEVICE",
        "See `ls -l /dev/nvidiactl`",
        "You may not open /dev/nvidiactl",
        world("nvidia-uvm", refused="nvidiactl nvidia0"),
        ("Reboot", "modprobe"),
        env={"FAKE_INIT": "100", "FAKE_NVML": "4"},
    ),
    there(
        "a job of Slurm without --gres, whose devices are refused",
        "CUDA-NODEVICE",
        "`--gres=gpu:1`",
        "This job was given no GPU.",
        world("nvidiactl", "nvidia-uvm", refused="nvidia0", card=True),
        env={**JOB, **NONE},
    ),
    there(
        "a job of Slurm without --gres, CUDA_VISIBLE_DEVICES=NoDevFiles",
        "CUDA-NODEVICE",
        "`--gres=gpu:1`",
        "This job was given no GPU.",
        env={**JOB, "FAKE_INIT": "100", "CUDA_VISIBLE_DEVICES": "NoDevFiles"},
    ),
    there(
        "a job of Slurm that was given a GPU, and hides it",
        "CUDA-NODEVICE",
        UNSET,
        "hides the 1 NVIDIA GPU",
        env={
            **JOB,
            "SLURM_JOB_GPUS": "0",
            "FAKE_INIT": "100",
            "CUDA_VISIBLE_DEVICES": "-1",
        },
    ),
    there(
        "an instance of MIG that a pod was not given",
        "DRV-MIG",
        "`nvidia.com/mig-1g.10gb: 1`",
        "CUDA sees no instance",
        before=world(place="kubernetes"),
        env={**POD, "FAKE_MIG": "1", "FAKE_GPUS": ""},
    ),
    there(
        "CUDA's compat driver in WSL, cuInit 804",
        "CUDA-COMPAT",
        "Take its folder out of LD_LIBRARY_PATH",
        before=world("dxg", driver_in=COMPAT),
        never=("purge", "modprobe"),
        env={"FAKE_INIT": "804"},
    ),
    there(
        "a pod that has the GPU's device, whose driver does not start it",
        "CUDA-NODEVICE",
        "Let the pod start on another node",
        "could not start it",
        world("nvidiactl", "nvidia-uvm", "nvidia0", place="kubernetes"),
        env={**POD, **NONE},
    ),
]
