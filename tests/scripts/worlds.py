"""Machines that this one is not: other devices, another PCI bus, in a container or not.

A machine is the arguments of `world`. To show one more thing of a machine, add a keyword to it, and
to its commands the line of a shell that puts this thing below /mnt, the root that the test sees.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

# One process makes all mounts: one each would be half of what a test takes.
BIND = """
mount -t tmpfs tmpfs /mnt
folders='/mnt/dev/shm /mnt/run /mnt/mnt' links= files= mounts=
for one in /*; do
    case $one in /mnt|/dev|/run|*' '*) continue;; esac
    if [ -L "$one" ]; then links="$links $one"
    elif [ -d "$one" ]; then
        folders="$folders /mnt$one" mounts="$mounts$one /mnt$one none rbind\\n"
    fi
done
for one in null zero full random urandom tty; do
    files="$files /mnt/dev/$one" mounts="$mounts/dev/$one /mnt/dev/$one none bind\\n"
done
mkdir -p $folders
[ ! "$links" ] || cp -a $links /mnt
touch $files
printf "$mounts" >/mnt/mnt/fstab
mount --all --fstab /mnt/mnt/fstab
"""
# put PATH TEXT: a file of the root that the test sees; nothing outside of it is written to.
PUT = """
put() {
    path=/mnt$1
    count=$((${count:-0} + 1))
    if [ -e "$path" ]; then
        printf '%b' "$2" >/mnt/mnt/$count
        mount --bind /mnt/mnt/$count "$path"
        return
    fi
    folder=${path%/*}
    while [ ! -d "$folder" ]; do folder=${folder%/*}; done
    case $folder in
    /mnt|/mnt/run*|/mnt/dev*|/mnt/mnt*|/mnt/sys/bus*) ;;
    /mnt/sys*|/mnt/proc/driver*)
        mkdir -p "$folder/own" 2>/dev/null || mount -t tmpfs tmpfs "$folder"
        ;;
    *)
        mkdir /mnt/mnt/up$count /mnt/mnt/work$count
        mount -t overlay overlay "$folder" -o \\
            "lowerdir=$folder,upperdir=/mnt/mnt/up$count,workdir=/mnt/mnt/work$count"
        ;;
    esac
    mkdir -p "${path%/*}"
    printf '%b' "$2" >"$path"
}
"""
# Nothing of this machine's own hardware and firmware.
NO_CARDS = """mount -t tmpfs tmpfs /mnt/sys/bus
mkdir -p /mnt/sys/bus/pci/devices
for one in class/dmi hypervisor firmware; do
    [ ! -d /mnt/sys/$one ] || mount -t tmpfs tmpfs /mnt/sys/$one
done
"""
HERE = f"""{BIND}
{NO_CARDS}
mount --bind /dev/shm /mnt/dev/shm
exec chroot /mnt sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
"""  # this machine, but nothing in its root tells that it is a container
# What shows that a machine is of a kind, by the kind's name; the others tell it by variables.
MARKS = {
    "docker": {"/.dockerenv": ""},
    "podman": {"/run/.containerenv": ""},
    "kubernetes": {"/run/secrets/kubernetes.io/serviceaccount/namespace": "default"},
    "apptainer": {"/.singularity.d/runscript": ""},
    "lxc": {"/run/systemd/container": "lxc"},
    "nspawn": {"/run/systemd/container": "systemd-nspawn"},
    "wsl": {"/dev/dxg": ""},
    "jetson": {"/etc/nv_tegra_release": "# R36 (release), REVISION: 4.3"},
    "selinux": {"/proc/self/attr/current": "system_u:system_r:container_t:s0:c1,c2"},
}
CARD = "mkdir /mnt/sys/bus/pci/devices/0; cd /mnt/sys/bus/pci/devices/0; "
CARD += "echo 0x10de >vendor; echo 0x030200 >class"


def world(
    *devices: str,
    card: bool = False,
    container: bool = False,
    locked: str = "",
    shm: str = "",
    place: str = "",
    files: Mapping[str, str] | None = None,
    pci: Mapping[str, str] | None = None,
    refused: str = "",
    driver_in: str = "",
    versions: tuple[str, ...] = (),
) -> str:
    """Commands of a shell that end in a root of its own, for Project.before.

    Args:
        devices: Files below /dev, beside the usual.
        card: Whether the PCI bus has a display controller of NVIDIA.
        container: Whether the marks of a container are there.
        locked: One of the devices, that nobody may write to.
        shm: The size of /dev/shm; without it, it is that of this machine.
        place: Keys of MARKS, with spaces between.
        files: Other files, by their paths.
        pci: Cards of NVIDIA by their device's number, and the kernel's driver of each.
        refused: Devices below /dev that nobody may open, with spaces between.
        driver_in: A folder that has the fake driver, instead of that in LD_LIBRARY_PATH.
        versions: Of libcuda there, and of NVML: what their files are called by.
    """
    memory = f"-t tmpfs -o size={shm} tmpfs" if shm else "--bind /dev/shm"
    commands = [BIND, NO_CARDS, f"mount {memory} /mnt/dev/shm", PUT]
    commands += [f"mkdir -p $(dirname /mnt/dev/{one}); touch /mnt/dev/{one}" for one in devices]
    if locked:
        commands.append(f"mount --bind /mnt/dev/{locked} /mnt/dev/{locked}")
        commands.append(f"mount -o remount,bind,ro /mnt/dev/{locked}")
    commands += [CARD] * card
    for number, bound in (pci or {}).items():
        commands += [
            f"put /sys/bus/pci/devices/{number}/{name} {text}"
            for name, text in (("vendor", "0x10de"), ("class", "0x030000"), ("device", number))
        ]
        if bound:
            commands.append(f"ln -s ../../drivers/{bound} /mnt/sys/bus/pci/devices/{number}/driver")
    for one in refused.split():
        commands.append(f"put /dev/{one} ''; mount --bind /dev/null /mnt/dev/{one}")
        commands.append(f"mount -o remount,bind,nodev /mnt/dev/{one}")
    if driver_in:
        commands += [f"put {driver_in}/empty ''", f'cp "$LD_LIBRARY_PATH"/lib* /mnt{driver_in}']
        commands.append(f"export LD_LIBRARY_PATH={driver_in}")
    for name, version in zip(("libcuda.so", "libnvidia-ml.so"), versions, strict=False):
        commands.append(f"cd /mnt{driver_in}; mv {name}.1 {name}.{version}")
        commands.append(f"ln -s {name}.{version} {name}.1; cd /")
    names = place.split() + ["docker"] * container
    every = {path: text for name in names for path, text in MARKS[name].items()}
    for path, text in {**every, **(files or {})}.items():
        own = path.replace("/proc/self/", "/proc/$$/")
        commands.append(f'put "{own}" {shlex.quote(text)}')
    return "\n".join([*commands, 'exec chroot /mnt "$@"'])
