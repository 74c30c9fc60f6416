"""Machines that this one is not: other devices, another PCI bus, in a container or not.

A machine is the arguments of `world`. To show one more thing of a machine, add a keyword to it, and
to its commands the line of a shell that puts this thing below /mnt, the root that the test sees.
"""

from __future__ import annotations

BIND = """
mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/dev/shm /mnt/run /mnt/mnt
for one in /*; do
    case $one in /mnt|/dev|/run) continue;; esac
    if [ -L "$one" ]; then cp -a "$one" /mnt
    elif [ -d "$one" ]; then mkdir -p "/mnt$one"; mount --rbind "$one" "/mnt$one"; fi
done
for one in null zero urandom; do
    touch /mnt/dev/$one
    mount --bind /dev/$one /mnt/dev/$one
done
"""
NO_CARDS = "mount -t tmpfs tmpfs /mnt/sys/bus; mkdir -p /mnt/sys/bus/pci/devices"
CARD = "mkdir /mnt/sys/bus/pci/devices/0; cd /mnt/sys/bus/pci/devices/0; "
CARD += "echo 0x10de >vendor; echo 0x030200 >class"


def world(
    *devices: str, card: bool = False, container: bool = False, locked: str = "", shm: str = ""
) -> str:
    """Commands of a shell that end in a root of its own, for Project.before.

    Args:
        devices: Files below /dev, beside the usual.
        card: Whether the PCI bus has a display controller of NVIDIA.
        container: Whether the marks of a container are there.
        locked: One of the devices, that nobody may write to.
        shm: The size of /dev/shm; without it, it is that of this machine.
    """
    memory = f"-t tmpfs -o size={shm} tmpfs" if shm else "--bind /dev/shm"
    commands = [BIND, NO_CARDS, f"mount {memory} /mnt/dev/shm"]
    commands += [f"mkdir -p $(dirname /mnt/dev/{one}); touch /mnt/dev/{one}" for one in devices]
    if locked:
        commands.append(f"mount --bind /mnt/dev/{locked} /mnt/dev/{locked}")
        commands.append(f"mount -o remount,bind,ro /mnt/dev/{locked}")
    commands += [CARD] * card + ["touch /mnt/run/.containerenv"] * container
    return "\n".join([*commands, 'exec chroot /mnt "$@"'])
