"""Faults of cards, of the kernel's drivers, and those that a first tensor tells, in each place."""

from __future__ import annotations

from dataclasses import replace

from scripts.faults_places import (
    AWS,
    GIVES,
    JOB,
    NO_MODULE,
    NONE,
    NOT_IN_WSL,
    NOT_INSIDE,
    OPEN,
    POD,
    WSL_LIB,
    says,
    there,
)
from scripts.injections import Injection
from scripts.worlds import world

CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Wed Oct 1"
MODULE = "/proc/driver/nvidia/version"
ANOTHER_CARD = {"/sys/bus/pci/devices/2/vendor": "0x1234\n"}
EFI = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


FAULTS: list[Injection] = [
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
