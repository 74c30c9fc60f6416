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
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Wed Oct 1"
MODULE = "/proc/driver/nvidia/version"
ANOTHER_CARD = {"/sys/bus/pci/devices/2/vendor": "0x1234\n"}
EFI = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


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
    # --- the card and the kernel's driver
    there(
        "nvmlInit returns 9 where nouveau has the card",
        "DRV-NOTLOADED",
        "`blacklist nouveau`",
        "the kernel's own nouveau holds the GPU",
        world(pci={"0x2684": "nouveau"}),
        ("modprobe nvidia",),
        env=NO_MODULE,
    ),
    there(
        "nvmlInit returns 9 where the card is for virtual machines",
        "DRV-NOTLOADED",
        "Test in the virtual machine that has it",
        "set aside for virtual machines",
        world(pci={"0x2684": "vfio-pci"}),
        ("modprobe nvidia",),
        env=NO_MODULE,
    ),
    there(
        "nvmlInit returns 9 with Secure Boot",
        "DRV-NOTLOADED",
        "`Key was rejected by service`",
        "Secure Boot, which is on",
        world(pci={"0x2684": ""}, files={EFI: "\\006\\000\\000\\000\\001"}),
        (),
        env=NO_MODULE,
    ),
    there(
        "a Blackwell with the proprietary kernel module",
        "CUDA-NODEVICE",
        "open kernel module (on Ubuntu `nvidia-driver-580-open`",
        "Blackwell",
        world(pci={"0x2b85": "nvidia"}, files={MODULE: CLOSED}),
        ("nvidia-smi` to see why",),
        env=NONE,
    ),
    there(
        "a Blackwell with the open kernel module",
        "CUDA-NODEVICE",
        "a line with RmInitAdapter tells why",
        "could not start it",
        world(pci={"0x2b85": "nvidia"}, files={MODULE: OPEN}),
        ("-open`",),
        env=NONE,
    ),
    there(
        "a Pascal with a driver that is for newer GPUs",
        "CUDA-NODEVICE",
        "Install the driver 580, which is the last for it",
        "older than Turing",
        world(pci={"0x1b80": "nvidia"}, files={MODULE: CLOSED.replace("580.95.05", "590.44.01")}),
        ("RmInitAdapter",),
        env={**NONE, "FAKE_DRIVER": "590.44.01"},
    ),
    there(
        "a machine of AWS with a GPU, whose module was not built for a new kernel",
        "DRV-NOTLOADED",
        "modprobe nvidia`; if it refuses, as after an update of the kernel",
        "its kernel module is not loaded",
        world(pci={"0x2237": ""}, files=AWS),
        ("instance type",),
        env=NO_MODULE,
    ),
    there(
        "a machine of AWS without /dev/nvidia-uvm",
        "CUDA-NODEVICE",
        "nvidia-modprobe -c 0 -u`",
        "/dev/nvidia-uvm is missing",
        world("nvidiactl", "nvidia0", pci={"0x2237": "nvidia"}, files=AWS),
        ("instance type",),
        env={"FAKE_INIT": "999"},
    ),
    there(
        "a job of Slurm that was given a GPU, on a node without a driver",
        "DRV-LIBCUDA",
        "Tell those who look after this node that it has no NVIDIA driver",
        "There is an NVIDIA GPU, but no NVIDIA driver.",
        world(pci={"0x2330": ""}),
        (*NOT_INSIDE, "--gres", "reboot"),
        driver=False,
        env={**JOB, "SLURM_JOB_GPUS": "0", "CUDA_VISIBLE_DEVICES": "0"},
    ),
    there(
        "a GeForce RTX 5090 with a driver from before it",
        "CUDA-NODEVICE",
        "Install the driver 580 or newer with the open kernel module",
        "of the generation Blackwell, which its driver, 550.120, does not know yet",
        world(pci={"0x2b85": ""}, driver_in="/opt/nvidia", versions=("550.120", "550.120")),
        ("modprobe", "Secure Boot"),
        env={**NO_MODULE, "FAKE_CUDA": "12040"},
    ),
    there(
        "a Tesla K80 without a driver, none of which is new enough",
        "DRV-OLD",
        "To go on, type `copier update",
        "of the generation Kepler, for which 470 is the last NVIDIA driver",
        world(pci={"0x102d": ""}),
        ("580",),
        driver=False,
    ),
    there(
        "a service of systemd with PrivateDevices, or a chroot",
        "CUDA-NODEVICE",
        "set `PrivateDevices=no`",
        "its device files, such as /dev/nvidiactl, are not here",
        world(pci={"0x2684": "nvidia"}, files={MODULE: CLOSED}),
        ("modprobe nvidia`", "Secure Boot"),
        env=NO_MODULE,
    ),
    there(
        "one card for virtual machines, and another that nouveau has",
        "DRV-NOTLOADED",
        "`blacklist nouveau`",
        "the kernel's own nouveau holds the GPU",
        world(pci={"0x2684": "vfio-pci", "0x2204": "nouveau"}),
        ("vfio-pci",),
        env=NO_MODULE,
    ),
    there(
        "a Blackwell with the proprietary kernel module, in a container",
        "CUDA-NODEVICE",
        "On the host, install the driver 580 or newer with the open kernel module",
        "Blackwell",
        world(
            *("nvidiactl", "nvidia0", "nvidia-uvm"),
            place="docker",
            pci={"0x2b85": "nvidia"},
            files={MODULE: CLOSED},
        ),
        ("nothing can be done",),
        env=NONE,
    ),
    *(
        there(
            f"nvmlInit returns 17 {what}",
            "CUDA-NODEVICE",
            remedy,
            "use the NVIDIA GPU.",
            world("dxg", place=place, driver_in=WSL_LIB),
            (*NOT_IN_WSL, "report.md"),
            env={"FAKE_INIT": "100", "FAKE_NVML": "17"},
        )
        for what, place, remedy in (
            ("in WSL", "", "Type `wsl --shutdown` on Windows"),
            ("in Docker on WSL", "docker", "set `no-cgroups = false`"),
        )
    ),
    there(
        "an image with the driver, in an instance type without a GPU",
        "DRV-NOTLOADED",
        "Choose an instance type with a GPU.",
        "no NVIDIA GPU on this machine's bus",
        world(files={**ANOTHER_CARD, **AWS}),
        env=NO_MODULE,
    ),
    there(
        "a driver whose card is not on the bus",
        "CUDA-NODEVICE",
        "`lspci -d 10de:`",
        "no NVIDIA GPU on this machine's bus",
        world(files=ANOTHER_CARD),
        env=NONE,
    ),
    there(
        "nvmlInit returns 15",
        "CUDA-NODEVICE",
        "Switch the machine off and on.",
        "has fallen off the bus",
        world(card=True),
        ("modprobe",),
        env={"FAKE_NVML": "15", "FAKE_INIT": "100"},
    ),
    there(
        "the only GPU has fallen off the bus, in a pod",
        "CUDA-NODEVICE",
        "another node",
        "has fallen off the bus",
        before=world(place="kubernetes"),
        env={**POD, "FAKE_LOST": "1", "FAKE_INIT": "100"},
    ),
    there(
        "a Jetson Orin, for which no build has code",
        "DRV-ARCH",
        "Install the torch that NVIDIA builds for this JetPack",
        "has compute capability 8.7, but",
        world(place="jetson"),
        ("copier update", "bootstrap.sh --compute"),
        env={"FAKE_GPUS": "87"},
    ),
    there(
        "a driver for CUDA 12.0 and torch for 13.0, in a container",
        "DRV-OLD",
        "Update the NVIDIA driver of the host to 580.65.06 or newer, or type `",
        "supports CUDA 12.0, but this torch needs CUDA 13.0",
        world(place="docker"),
        env={"FAKE_CUDA": "12000", "FAKE_DRIVER": "525.85.12"},
    ),
    there(
        "a driver for CUDA 12.0 and torch for 13.0, in WSL",
        "DRV-OLD",
        "Update it on Windows to 580.65.06 or newer, not inside WSL",
        "supports CUDA 12.0, but this torch needs CUDA 13.0",
        world("dxg", driver_in=WSL_LIB),
        NOT_IN_WSL,
        env={"FAKE_CUDA": "12000", "FAKE_DRIVER": "525.85.12"},
    ),
    # --- AMD's GPUs, and shared memory
    *(
        replace(
            there(f"no /dev/kfd in {what}", "ROCM-KFD", remedy, "", GIVES[what][1], driver=False),
            build="rocm7.2",
            env=GIVES[what][2],
        )
        for what, remedy in {
            "a pod": "`resources: limits: amd.com/gpu: 1`",
            "Apptainer": "`apptainer exec --rocm`",
            "Docker": "Start it with `--device /dev/kfd --device /dev/dri`",
            "a job of Slurm": "`--gres=gpu:1`",
        }.items()
    ),
    *(
        Injection(
            f"64 MiB of /dev/shm in {what}",
            "SYS-SHM",
            remedy,
            "64 MiB left",
            0,
            before=world(shm="64m", place=place),
            env=env,
            never=("mount -o remount",),
        )
        for what, remedy, place, env in (
            ("Docker", "`--shm-size=8g`, or in Compose with `shm_size: 8gb`", "docker", {}),
            ("a pod", "Mount a volume `emptyDir: medium: Memory` on /dev/shm", "kubernetes", POD),
            ("Apptainer", "It is the host's own", "apptainer", {}),
            ("a job of Slurm", "ask those who look after this node for more", "", JOB),
        )
    ),
    # --- what is told only at the first tensor
    says(801, "operation not supported", "530 or newer from CUDA 12.1 on"),
    says(46, "CUDA-capable device(s) is/are busy or unavailable", "`nvidia-smi -q -d COMPUTE`"),
    says(2, "out of memory", "End what fills it"),
    says(304, "OS call failed or operation not supported on this OS", "report.md` writes"),
    says(719, "unspecified launch failure", "dmesg | grep Xid` tells why"),
    says(710, "device-side assert triggered", "Run it with CUDA_LAUNCH_BLOCKING=1"),
    says(222, "the provided PTX was compiled with an unsupported toolchain.", "Update the NVIDIA"),
    says(209, "no kernel image is available for execution on the device", "type `"),
]
