"""What this machine has, for the menu of compute platforms: NVIDIA's driver, and the GPUs.

Read from files of the kernel module and asked of NVML, the driver's own library; no program is
started. It changes no answer, and nothing of it is rendered into a project: the machine that Copier
runs on need not be the one that the project runs on.

All of it happens in a thread of its own, which a menu waits for WAIT seconds at most: NVML takes
seconds where it has to wake a GPU up, and hangs where one is broken. The thread starts when the
menu before is shown, so that it has mostly ended when somebody has answered that one.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from jinja2.runtime import Context

from .build import Build, Wheels
from .matrix.facts import PLATFORMS
from .matrix.model import Matrix

if TYPE_CHECKING:
    from ctypes import CDLL

SWITCH, OFF = "TORCH_STARTER_DETECT", ("0", "no", "off", "false")
QUESTION = "compute_platform"
WAIT = 0.04  # seconds: a menu that comes later than 0.1 s feels slow
ROOT = Path("/")
THREAD = "torch-starter: a look at this machine"
# "NVIDIA UNIX x86_64 Kernel Module  570.124.06  Wed Feb 26 ..." and "NVIDIA UNIX Open Kernel Module
# for x86_64  570.124.06  Release Build ...": the version is the first word that looks like one.
KERNEL_MODULE = re.compile(r"^NVRM version:.*?[ \t](\d{2,4}(?:\.\d{1,4}){1,3})\s", re.MULTILINE)
VERSION = re.compile(r"\d{2,4}(?:\.\d{1,4}){1,3}")
MODEL = re.compile(r"^Model:[ \t]*(\S.*)$", re.MULTILINE)
# Copier's mark and a space before it, and 80 columns: what a line of a menu can have.
INDENT, COLUMNS = 3, 80
LONGEST_NAME = 40  # letters, as "RTX PRO 6000 Blackwell Max-Q Workstation" has
LONGEST_FILE = 65536  # bytes; these files have a few hundred
MOST_GPUS = 64  # of one machine; a library that counts more is not believed
# nvml.h: NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE is 80, NVML_DEVICE_NAME_V2_BUFFER_SIZE is 96.
BUFFER = 96
FITS, DRIVER_FITS = "[fits]", "[driver fits]"
# The GPUs of Jetson boards run no code but their own: DEVICE_REQUIREMENT in torch/cuda/__init__.py.
JETSON = ("5.3", "6.2", "7.2", "8.7", "10.1")


@dataclass(frozen=True)
class Gpu:
    """A GPU: its name, short, and its compute capability, e.g. `8.6`; empty if not known."""

    name: str
    capability: str = ""


@dataclass(frozen=True)
class Machine:
    """What was found; nothing by default."""

    driver: str = ""  # of NVIDIA's, e.g. 570.124.06
    gpus: tuple[Gpu, ...] = ()
    wsl: bool = False  # the driver is that of the Windows around it


# --- What files say ---------------------------------------------------------------------------


def read(path: Path) -> str:
    """The text of a small file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(LONGEST_FILE).decode("ascii", "replace")
    except OSError:
        return ""


def short_name(name: str) -> str:
    """`NVIDIA GeForce RTX 3090` -> `RTX 3090`; only what any terminal can show."""
    plain = re.sub(r"[^\w .,()/+-]", "", name, flags=re.ASCII)
    words = re.sub(r"^(NVIDIA )?(GeForce )?", "", " ".join(plain.split()))
    return re.sub(r" (GPU|Edition)$", "", words)[:LONGEST_NAME].rstrip()


def kernel_module(root: Path) -> Machine:
    """What the kernel module of NVIDIA's driver for Linux says of itself and of its GPUs.

    Nothing on Jetson boards: the driver of their own GPU has other versions.
    """
    folder = root / "proc/driver/nvidia"
    found = KERNEL_MODULE.search(read(folder / "version"))
    if not found or (root / "etc/nv_tegra_release").exists():
        return Machine()
    files = sorted(folder.glob("gpus/*/information"))[:MOST_GPUS]
    models = [model[1] for file in files if (model := MODEL.search(read(file)))]
    names = [name for model in models if (name := short_name(model)) not in ("", "Unknown")]
    return Machine(found[1], tuple(map(Gpu, names)))


# --- What NVML says ---------------------------------------------------------------------------


def nvml_library(system: str, root: Path, environ: Mapping[str, str]) -> str:
    """The NVML that can be asked here, as a path or as a name for the loader; empty if none.

    On Linux the devices must be there: without them, NVML starts `nvidia-modprobe` to make them.
    """
    if system.startswith("windows"):
        folders = [
            Path(environ.get("SYSTEMROOT", "C:/Windows"), "System32"),
            Path(environ.get("PROGRAMFILES", "C:/Program Files"), "NVIDIA Corporation/NVSMI"),
        ]
        return next((str(f / "nvml.dll") for f in folders if (f / "nvml.dll").is_file()), "")
    if is_wsl(root):
        library = root / "usr/lib/wsl/lib/libnvidia-ml.so.1"
        return str(library) if library.is_file() else ""
    return "libnvidia-ml.so.1" if (root / "dev/nvidiactl").exists() else ""


def is_wsl(root: Path) -> bool:
    """Whether this Linux runs in Windows and shares its GPUs."""
    return (root / "dev/dxg").exists()


def load(library: str) -> CDLL:
    """Load a library while other threads go on, which CDLL by itself keeps from it on POSIX.

    Raises:
        OSError: if it cannot be loaded.
    """
    import ctypes  # here, since most runs of Copier show no menu

    if sys.platform == "win32":
        return ctypes.CDLL(library)
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    handle = dlopen(os.fsencode(library), os.RTLD_NOW)
    if not handle:
        raise OSError(f"{library} cannot be loaded")
    return ctypes.CDLL(library, handle=handle)


def ask_nvml(library: str) -> Machine:
    """The driver and the GPUs by NVML.

    Raises:
        OSError: if there is no such library, or it cannot be loaded.
        AttributeError: if it is none of NVML, or lacks what each of them has.
    """
    import ctypes

    nvml = load(library)
    if nvml.nvmlInit_v2():
        return Machine()
    text, count = ctypes.create_string_buffer(BUFFER), ctypes.c_uint()
    failed = nvml.nvmlSystemGetDriverVersion(text, BUFFER)
    driver = VERSION.fullmatch("" if failed else text.value.decode("ascii", "replace"))
    gpus: list[Gpu] = []
    with suppress(AttributeError):  # an NVML older than what is asked for here
        if not nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) and count.value <= MOST_GPUS:
            found = [nvml_gpu(nvml, index) for index in range(count.value)]
            gpus = [gpu for gpu in found if gpu]
    with suppress(AttributeError):
        nvml.nvmlShutdown()  # lets a GPU sleep again
    return Machine(driver[0] if driver else "", tuple(gpus))


def nvml_gpu(nvml: CDLL, index: int) -> Gpu | None:
    """One GPU; None if it does not answer: it is lost, or not this user's."""
    import ctypes

    handle, text = ctypes.c_void_p(), ctypes.create_string_buffer(BUFFER)
    major, minor = ctypes.c_int(), ctypes.c_int()
    if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)):
        return None
    failed = nvml.nvmlDeviceGetName(handle, text, BUFFER)
    name = "" if failed else short_name(text.value.decode("ascii", "replace"))
    failed = nvml.nvmlDeviceGetCudaComputeCapability(
        handle, ctypes.byref(major), ctypes.byref(minor)
    )
    return Gpu(name or "GPU", "" if failed else f"{major.value}.{minor.value}")


# --- Both, in a thread of its own -------------------------------------------------------------


def this_system(environ: Mapping[str, str]) -> str:
    """This platform, by the names of the matrix; not by a 32-bit Python's machine."""
    if sys.platform == "win32":  # where the module `platform` would ask WMI, which takes its time
        own = environ.get("PROCESSOR_ARCHITECTURE", "")
        return f"windows-{environ.get('PROCESSOR_ARCHITEW6432', own).lower()}"
    return f"linux-{platform.machine()}" if sys.platform == "linux" else ""


class Look:
    """A look at the machine that has begun; what it finds is there when it is asked for, or not."""

    def __init__(self, system: str, root: Path, environ: Mapping[str, str]) -> None:
        self._ended, self._found = Event(), Machine()
        self._taken: Machine | None = None
        self._arguments = system, root, environ
        try:
            Thread(target=self._run, name=THREAD, daemon=True).start()
        except RuntimeError:  # no more threads
            self._ended.set()

    def _run(self) -> None:
        with suppress(Exception):  # whatever is wrong with a driver: a hint is worth no message
            self._look(*self._arguments)
        self._ended.set()

    def _look(self, system: str, root: Path, environ: Mapping[str, str]) -> None:
        linux = system.startswith("linux")
        wsl = linux and is_wsl(root)
        files = kernel_module(root) if linux and not wsl else Machine()
        self._found = files
        # A kernel module that is not loaded yet would be, by NVML.
        library = nvml_library(system, root, environ) if files.driver or wsl or not linux else ""
        if library:
            asked = ask_nvml(library)
            self._found = Machine(asked.driver or files.driver, asked.gpus or files.gpus, wsl)

    def found(self, wait: float = WAIT) -> Machine:
        """What was found within `wait` seconds from now, and the same from then on."""
        if self._taken is None:
            self._ended.wait(wait)
            self._taken = self._found
        return self._taken


# --- What the menu shows ----------------------------------------------------------------------


def describe(machine: Machine) -> str:
    """`This machine: NVIDIA driver 570.124.06, 2x RTX 3090`; empty if there is no driver.

    It has a second line where one would have more than 80 columns.
    """
    if not machine.driver:
        return ""
    driver = f"This machine: NVIDIA driver {machine.driver}"
    kinds = Counter(gpu.name for gpu in machine.gpus).most_common()
    several = [f"{count}x {name}" if count > 1 else name for name, count in kinds]
    for shown in (2, 1):
        more = sum(count for _, count in kinds[shown:])
        gpus = ", ".join(several[:shown]) + (f" and {more} more" if more else "")
        line = f"{driver}, {gpus}" if gpus else driver
        if INDENT + len(line) <= COLUMNS:
            return line
    return f"{driver},\n{' ' * INDENT}{gpus}"


def numbers(version: str) -> list[int]:
    """The numbers of a version: 580.65.06 -> [580, 65, 6]."""
    return [int(part) for part in re.findall(r"\d+", version)]


def runs_on(wheels: Wheels, capability: str) -> bool:
    """Whether wheels have a binary for a GPU's major version, or PTX to compile.

    The rule of the smoke test's machine.py: not, where nobody knows what GPUs they are for.
    """
    own = numbers(capability)

    def fits(binary: str) -> bool:
        if capability in JETSON or binary in JETSON:
            return binary == capability or (binary, capability) == ("10.1", "11.0")
        return numbers(binary)[0] == own[0] and numbers(binary) <= own

    compiled = wheels.ptx and numbers(wheels.ptx) <= own
    return any(map(fits, wheels.gpu_architectures)) or bool(compiled)


def mark(machine: Machine, wheels: Wheels | None, least_driver: str) -> str:
    """What is known to fit of a build: all of it, or the driver alone; empty if something does not.

    The CPU's builds have no mark, since they run everywhere, nor have those for AMD and Intel, of
    which the matrix knows neither drivers nor GPUs.
    """
    if not machine.driver or wheels is None or wheels.accelerator != "cuda":
        return ""
    if numbers(machine.driver) < numbers(least_driver):
        return ""
    known = [gpu.capability for gpu in machine.gpus if gpu.capability]
    if not known:
        return DRIVER_FITS
    if not all(runs_on(wheels, capability) for capability in known):
        return ""
    return FITS if len(known) == len(machine.gpus) else DRIVER_FITS


def without_code(matrix: Matrix, machine: Machine, system: str) -> str:
    """A line about a GPU that is here and that no build for this system has code for, or nothing.

    Of a build whose GPU architectures are not known, nobody can say more.
    """
    spans = [one for rows in matrix.gpu_architectures.values() for one in rows]
    known = [one for one in spans if system in map(PLATFORMS.get, one.platforms)]
    capabilities = sorted({sm for one in known for sm in one.sm}, key=numbers)
    for gpu in machine.gpus if known else ():
        if gpu.capability and not any(
            runs_on(Wheels("cuda", None, {}, "", None, list(one.sm), one.ptx), gpu.capability)
            for one in known
        ):
            oldest, newest = capabilities[0], capabilities[-1]
            line = f"No build has code for compute capability {gpu.capability}"
            return f"{line}, only for {oldest} to {newest}."
    return ""


def least_driver(matrix: Matrix, wheels: Wheels | None, wsl: bool) -> str:
    """The driver that wheels need. In WSL it is that of Windows, with a number of its own."""
    needed = (wheels and wheels.minimum_driver) or "0"
    if wheels is None or wheels.toolkit is None or not wsl:
        return needed
    row = matrix.drivers.get(wheels.toolkit.partition(".")[0])
    return max(needed, row.windows, key=numbers) if row else needed


class MachineHint:
    """What copier.yml and the menu of compute platforms show of this machine."""

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix
        self._begun: Look | None = None

    def _look(self) -> Look | None:
        system = this_system(os.environ)
        off = os.environ.get(SWITCH, "").strip().lower() in OFF
        if self._begun is None and system and not off:
            self._begun = Look(system, ROOT, os.environ)
        return self._begun

    def hint(self) -> str:
        """The first lines of the menu's help, or nothing. Copier renders it for a menu alone."""
        look = self._look()
        machine = look.found() if look else Machine()
        lines = [describe(machine), without_code(self._matrix, machine, this_system(os.environ))]
        return "".join(f"{line}\n{' ' * INDENT}" for line in lines if line and machine.driver)

    def is_shown(self, context: Context) -> bool:
        """Whether the menu will be shown, as far as one can tell: Copier does not tell of --ask."""
        conf = context["_copier_conf"]
        given = QUESTION in conf["data"] or (conf["skip_answered"] and QUESTION in context)
        return not (conf["defaults"] or given)  # an update's other two copies take the defaults

    def mark_for(self, context: Context, question: str) -> Callable[[Build], str]:
        """What to put behind the name of a build in a question's menu.

        For the menus before that of the compute platforms: nothing, but the look begins.
        """
        # With --ask, the help has been rendered before the choices, and so the look has begun.
        look = self._look() if self.is_shown(context) else self._begun
        machine = look.found() if look and question == QUESTION else Machine()
        system = this_system(os.environ)

        def of(build: Build) -> str:
            wheels = build.wheels.get(system)
            return mark(machine, wheels, least_driver(self._matrix, wheels, machine.wsl))

        return of
