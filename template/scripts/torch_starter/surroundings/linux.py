"""What decides on Linux whether a GPU can be used: devices, modules, mounts, limits, the linker.

Each function yields lines for a bug report, and nothing on another system.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

DEVICES = ("nvidia*", "nvidia-caps/*", "nvhost*", "nvmap", "dxg", "kfd", "dri/*")
MODULES = re.compile(r"(nvidia\w*|nouveau|nova_core|gdrdrv|amdgpu|i915|xe|nvgpu)\b")
GROUPS = ("root", "wheel", "sudo", "video", "render", "docker", "nvidia", "vglusers", "kvm")
# The libraries of which one from elsewhere does harm.
LIBRARIES = re.compile(
    r"lib(cuda|cudnn|cublas|nv|nccl|cufft|cusparse|cusolver|curand|cupti|stdc\+\+|gomp|iomp|gcc_s)"
)


def text_of(path: str | Path) -> str:
    """What a file says; "" if it is not there, or nobody may read it."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def cards() -> Iterator[str]:
    """What is on the PCI bus that shows or computes, and which kernel driver has it."""
    for device in sorted(Path("/sys/bus/pci/devices").glob("*")):
        if text_of(device / "class").startswith(("0x03", "0x12")):
            vendor, number = text_of(device / "vendor"), text_of(device / "device")
            driver = Path(os.path.realpath(device / "driver")).name
            bound = driver if (device / "driver").exists() else "no driver"
            yield f"{device.name}: {vendor} {number}, {bound}"


def device_files() -> Iterator[str]:
    """The files by which drivers are reached, whose they are, and whether they can be opened."""
    if sys.platform == "win32":
        return
    for path in sorted({one for name in DEVICES for one in Path("/dev").glob(name)}):
        with suppress(OSError):
            found = path.stat()
            number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
            usable = os.access(path, os.R_OK | os.W_OK)
            row = f"{stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid} {path} {number}"
            yield row if usable or path.is_dir() else f"{row}, which this user may not open"


def kernel_modules() -> Iterator[str]:
    """The kernel's modules for GPUs, and what the one of NVIDIA says of itself."""
    for line in text_of("/proc/modules").splitlines():
        if MODULES.match(line):
            name, _, used, *_ = line.split()
            version = text_of(f"/sys/module/{name}/version")
            yield f"module {name} {version}, used {used} times"
    if said := text_of("/proc/driver/nvidia/version"):
        yield said
    if said := text_of("/etc/nv_tegra_release"):
        yield said.splitlines()[0]


def mounts(folders: Iterable[Path]) -> Iterator[str]:
    """Of what kind the file systems of these folders are, and with which options."""
    rows = [line.split() for line in text_of("/proc/self/mountinfo").splitlines()]
    for folder in folders:
        real = os.path.realpath(folder)
        # number, parent, device, root, mount point, options, ..., -, kind, source, ...
        on = [row for row in rows if (real + "/").startswith(row[4].rstrip("/") + "/")]
        if on:  # the last one covers those before it
            row = max(reversed(on), key=lambda one: len(one[4]))
            yield f"{folder} is on {row[row.index('-') + 1]} ({row[5]})"


def limits() -> Iterator[str]:
    """What this process may have."""
    if sys.platform == "win32":
        return
    import resource

    for name in ("AS", "MEMLOCK", "NOFILE", "NPROC", "STACK", "CORE"):
        values = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
        shown = ["unlimited" if one == resource.RLIM_INFINITY else str(one) for one in values]
        yield f"limit {name}: {shown[0]}, at most {shown[1]}"


def control_groups() -> Iterator[str]:
    """The memory that all control groups above this process leave it: where there is a limit."""
    for line in text_of("/proc/self/cgroup").splitlines():
        _, kinds, path = line.split(":", 2)
        base, file = Path("/sys/fs/cgroup"), "memory.max"
        if kinds:  # the first version: a tree for each kind
            base, file = base / "memory", "memory.limit_in_bytes"
        if not kinds or "memory" in kinds.split(","):
            own = base / path.strip("/")
            for folder in (own, *own.parents):
                if (said := text_of(folder / file)).isdecimal() and int(said) < 2**60:
                    yield f"control group: {int(said) / 2**30:.1f} GiB of memory"


def guards() -> Iterator[str]:
    """SELinux, AppArmor and the like."""
    for name, path in (
        ("SELinux enforces", "/sys/fs/selinux/enforce"),
        ("AppArmor", "/sys/module/apparmor/parameters/enabled"),
        ("label of this process", "/proc/self/attr/current"),
        ("lockdown", "/sys/kernel/security/lockdown"),
    ):
        if said := text_of(path).rstrip("\0"):
            yield f"{name}: {said}"
    found = re.findall(r"^(Seccomp|NoNewPrivs|CapEff):\s*(\S+)", text_of("/proc/self/status"), re.M)
    yield from (f"{name}: {value}" for name, value in found)


def account() -> Iterator[str]:
    """Who runs this, by number, and the groups that matter by name."""
    if sys.platform == "win32":
        return
    import grp

    names = []
    for number in sorted({os.getgid(), *os.getgroups()}):
        with suppress(KeyError):  # a container need not know it
            names.append(grp.getgrgid(number).gr_name)
    known = [name for name in names if name in GROUPS]
    yield f"user {os.getuid()}, groups {sorted({os.getgid(), *os.getgroups()})}: {known}"


def linker() -> Iterator[str]:
    """Where the linker looks beside its usual folders, and what it has found there."""
    files = [Path("/etc/ld.so.conf"), *sorted(Path("/etc/ld.so.conf.d").glob("*"))]
    for path in files:
        lines = [line.strip() for line in text_of(path).splitlines()]
        yield from (f"{path}: {line}" for line in lines if line and not line.startswith("#"))
    if preload := text_of("/etc/ld.so.preload"):
        yield f"/etc/ld.so.preload: {preload}"
    with suppress(OSError, subprocess.SubprocessError):  # a system need not have it
        command = [next(filter(os.path.exists, ("/sbin/ldconfig", "/usr/sbin/ldconfig"))), "-p"]
        done = subprocess.run(command, capture_output=True, check=True, timeout=10)
        rows = done.stdout.decode("utf-8", "replace").splitlines()
        yield from (row.strip() for row in rows if LIBRARIES.match(row.strip()))
