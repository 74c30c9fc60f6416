"""NVIDIA's cards on this machine's bus: who holds them, of what generation, with which drivers."""

from __future__ import annotations

import re
from bisect import bisect
from pathlib import PurePath
from typing import Any, NamedTuple


class Generation(NamedTuple):
    """GPUs that the same drivers are for."""

    name: str
    first: int  # the branch of the driver that begins to know them, where torch can use them
    last: int = 0  # the last branch that does; 0: none is known to be the last


# Drivers: NVIDIA's lists of legacy GPUs (390, 470, 580), and the README of each branch.
FERMI = Generation("Fermi or older", 0, 390)
KEPLER = Generation("Kepler", 0, 470)
MAXWELL, PASCAL = Generation("Maxwell", 0, 580), Generation("Pascal", 0, 580)
VOLTA, TURING = Generation("Volta", 384, 580), Generation("Turing", 410)
AMPERE, ADA, HOPPER = Generation("Ampere", 450), Generation("Ada", 520), Generation("Hopper", 515)
BLACKWELL = Generation("Blackwell", 570)
UNKNOWN = Generation("", 0)
# Where each begins among the PCI device ids, by the PCI ID Repository and the driver's README.
BEGINS = {
    0x0000: UNKNOWN,  # what the kernel does not tell
    0x0001: FERMI,
    0x0FC0: KEPLER,
    0x1040: FERMI,
    0x1180: KEPLER,
    0x1200: FERMI,
    0x1280: KEPLER,
    0x1340: MAXWELL,
    0x15F0: PASCAL,
    0x1600: MAXWELL,
    0x1B00: PASCAL,
    0x1D80: VOLTA,
    0x1E00: TURING,
    0x2080: AMPERE,
    0x2180: TURING,
    0x2200: AMPERE,
    0x2300: HOPPER,
    0x2400: AMPERE,
    0x2680: ADA,
    0x2900: BLACKWELL,
    0x2A00: UNKNOWN,
    0x2B00: BLACKWELL,
    0x3000: UNKNOWN,
    0x3180: BLACKWELL,
    0x3200: UNKNOWN,
}


def generation(device: int) -> Generation:
    """What a card is, by its PCI device id."""
    return list(BEGINS.values())[bisect(list(BEGINS), device) - 1]


def for_guests(driver: str) -> bool:
    """Whether a kernel's driver does nothing but keep a card for virtual machines."""
    return "vfio" in driver or driver in ("pci-stub", "pciback")


def left(facts: dict[str, Any]) -> list[tuple[int, str]]:
    """The cards that no virtual machine is to have: their device ids and kernel drivers."""
    return [(number, driver) for number, driver in facts.get("cards", []) if not for_guests(driver)]


def set_aside(facts: dict[str, Any]) -> bool:
    """Whether virtual machines are to have all cards."""
    return bool(facts.get("cards")) and not left(facts)


def holders(facts: dict[str, Any]) -> list[str]:
    """The kernel's drivers that hold a card and are not NVIDIA's; those for guests if all are."""
    every = left(facts) or facts.get("cards", [])
    return sorted({driver for _, driver in every} - {"", "nvidia"})


def generations(facts: dict[str, Any]) -> set[Generation]:
    """Of which generations the cards are that this machine has for itself."""
    return {generation(number) for number, _ in left(facts)}


def the_last_driver(facts: dict[str, Any]) -> int:
    """The last branch of NVIDIA's driver that has one of the cards; 0 if there is no last one."""
    lasts = [one.last for one in generations(facts)]
    return max(lasts) if lasts and all(lasts) else 0


def branch(driver: str) -> int:
    """The branch of a driver: 580.65.06 -> 580; 0 if its version is not known."""
    found = re.match(r"\d+", driver)
    return int(found[0]) if found else 0


def unfit(facts: dict[str, Any], driver: str) -> str:
    """Why a driver ignores all cards of this machine, as a cause; "" if it does not."""
    mine, every = branch(driver), generations(facts)
    if not mine or not every:
        return ""
    last = the_last_driver(facts)
    if last and mine > last:
        return "needs-legacy-driver"
    return "needs-newer-driver" if mine < min(one.first for one in every) else ""


def why_not_started(facts: dict[str, Any], driver: str) -> str:
    """Why a driver does not start a GPU that is on the bus."""
    if cause := unfit(facts, driver):
        return cause
    module, every = facts.get("module", ""), generations(facts)
    opened = "Open" in module
    if BLACKWELL in every and module and not opened:
        return "needs-open-module"
    # The open module is for Turing and newer: the driver's README, "Open Linux Kernel Modules".
    return "needs-legacy-driver" if opened and the_last_driver(facts) else "gpu-does-not-start"


def why_not_loaded(facts: dict[str, Any], driver: str) -> str:
    """Why the driver's kernel module is not there, where the bus is this system's own."""
    if not facts["card"]:
        return "driver-without-card" if facts.get("bus") else "module-not-loaded"
    if set_aside(facts):
        return "given-to-virtual-machines"
    if facts.get("module"):  # it is
        return why_not_started(facts, driver) if facts.get("nodes") else "device-files-missing"
    bound = {driver for _, driver in left(facts)}
    if holders(facts) and "nvidia" not in bound:
        return "other-kernel-driver"
    if cause := unfit(facts, driver):
        return cause
    return "module-unsigned" if facts.get("secure_boot") else "card-not-loaded"


def in_compat(path: str) -> bool:
    """Whether a folder of a path is that of CUDA's own driver, for use with an older one."""
    return any(re.match(r"compat(_|-|$)", part) for part in PurePath(path).parts[:-1])
