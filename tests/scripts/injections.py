"""What the smoke test is tried with: what is broken, and what it has to say about that.

To add a fault, add a row to the FAULTS of a faults_*.py, whose first line says of what it has them:
of this Python and its packages, of drivers, places and cards, of what torch loads and computes. A
row is one call of a function below, which says what its words mean, or an `Injection`.
`before=world(...)` gives it another machine, `driver=True` with FAKE_ variables another NVIDIA
driver. test_smoke_diagnoses.py injects it, pytest prints it, and `python tools/smoke_docs.py`
writes it into docs/smoke-test.md.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from scripts.smoke_helpers import HERE, TORCH, Project, fake_driver, load_package
from scripts.torch_helpers import patch_torch
from scripts.worlds import world

NO_CUDA = """
from .version import __version__
def zeros(*shape, device):
    raise RuntimeError("the driver said no\\nand a hint that nobody reads")
class accelerator:
    device_count = staticmethod(lambda: 0)
"""
ON_CPU = """
from .version import __version__
class zeros:
    def __init__(self, count, device):
        if device != "cpu":
            raise RuntimeError("the driver said no")
        self.count = count
    def __add__(self, one):
        return self
    def sum(self):
        return self.count
class cpu: pass
class accelerator:
    device_count = staticmethod(lambda: 0)
"""
GOOD_START = "from .version import __version__\n"
UPDATE = "copier update --trust --defaults --vcs-ref=:current:"
MOVE = f"`{UPDATE} --data compute_platform={{}}` and then `sh bootstrap.sh`"
RECREATE = "Type `sh bootstrap.sh --recreate`."
NO_CODE = "No build on offer has code for compute capability {}, only for 5.0 to 12.0"
UNSET = "Type `unset CUDA_VISIBLE_DEVICES`"
DRIVER = "the NVIDIA driver 580.65.06 or newer"
FAULTY = "the hardware is faulty."
SEND = "to those who look after this template."
ONLY = "without `--only`, which looks for other causes first."
NO_WORKERS = "or use `num_workers=0`."
NOT_A_NUMBER = "true = {0}\n{0} = lambda *a, **k: true(*a, **k) * float('nan')"
HANGS = "import time; time.sleep(99)"


def before_torch() -> list[str]:
    """Arguments for all checks that do without torch."""
    return [word for name in load_package("command").MACHINE_CHECKS for word in ("--only", name)]


@dataclass(frozen=True)
class Injection:
    """A fault, and what has to be said about it."""

    what: str  # in words, for people
    id: str
    remedy: str  # words of it
    said: str = ""  # words of the message
    code: int = 3  # 0: it is worth a warning
    also: tuple[str, ...] = ()  # the ids that fail or warn as a consequence
    build: str = "cpu"
    torch: str = ""  # code of a stub; "real"; "": only the checks without torch are carried out
    installed: str = ""  # the version of that stub, if it is another than is asked for
    patch: str = ""  # code to run right after the real torch is imported
    driver: bool = False  # a fake NVIDIA driver, which FAKE_ variables command
    env: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    before: str = ""  # commands in a mount namespace of its own
    verdict: str = ""  # words of the first line
    never: tuple[str, ...] = ()  # words that would be wrong there, in any remedy
    change: Callable[[Project], object] = lambda project: None


def device(
    what: str,
    name: str,
    remedy: str,
    said: str = "",
    build: str = "cu130",
    before: str = "",
    arguments: tuple[str, ...] = (),
    driver: bool = True,
    **env: str,
) -> Injection:
    """A device that does not do. torch cannot open one either, and says from what that follows."""
    return Injection(
        what,
        name,
        remedy,
        said,
        also=("DEV-OPEN",),
        build=build,
        torch=NO_CUDA,
        before=before,
        arguments=arguments,
        driver=driver,
        env=env,
    )


def hidden_gpu(what: str, visible: str, build: str) -> Injection:
    """A GPU that CUDA_VISIBLE_DEVICES hides."""
    return device(
        what,
        "CUDA-NODEVICE",
        f"{UNSET}, or test with `--device cpu`.",
        "hides the 1 NVIDIA GPU",
        build,
        FAKE_INIT="100",
        CUDA_VISIBLE_DEVICES=visible,
    )


def hanging_driver(what: str, build: str) -> Injection:
    """A driver that never comes back, so that nobody can open a device."""
    return Injection(
        what,
        "DRV-LIBCUDA",
        "Reboot",
        "did not answer within 2 s",
        4,
        build=build,
        torch=NO_CUDA,
        driver=True,
        env={"FAKE_TROUBLE": "hang"},
        arguments=("--timeout", "2"),
    )


def instead(
    what: str,
    name: str,
    remedy: str,
    said: str = "",
    before: str = "",
    arguments: tuple[str, ...] = (),
    driver: bool = False,
    change: Callable[[Project], object] = lambda project: None,
    **env: str,
) -> Injection:
    """No GPU for PyPI's wheels, which nobody asked for one: the CPU does, with one warning."""
    return Injection(
        f"PyPI's wheels: {what}",
        name,
        remedy,
        said,
        0,
        build="pypi",
        torch=ON_CPU,
        before=before,
        arguments=(*before_torch(), "--only", "DEV-OPEN", *arguments),
        driver=driver,
        env=env,
        verdict=f"PASS  torch {TORCH}+cu130 on the CPU, no CUDA device here",
        change=change,
    )


def variable(name: str, value: str, build: str = "cpu") -> Injection:
    """An environment variable that is in the way, where there is such a device."""
    remedy = f"If you did not mean that, type `unset {name}`."
    said = f"{name}={value!r}"
    amd = world("kfd", "dri/renderD128") if build.startswith("rocm") else ""
    cuda = build.startswith("cu")
    return Injection(
        said, "ENV-VARS", remedy, said, 0, build=build, driver=cuda, before=amd, env={name: value}
    )


def dies(what: str, name: str, remedy: str, code: str, said: str) -> Injection:
    """A torch that takes the child process down."""
    limit = ("--timeout", "2")
    return Injection(what, name, remedy, said, 4, torch=code, arguments=limit)


def numbers(
    what: str, name: str, patch: str, said: str = "", *also: str, level: str = "quick"
) -> Injection:
    """The real torch computes something else."""
    only = ("--only", name) if level == "full" else ()
    remedy = ONLY if only else FAULTY
    return Injection(what, name, remedy, said, 1, also, torch="real", patch=patch, arguments=only)


def package(project: Project, name: str, version: str = "1.0", *requires: str) -> None:
    """Metadata of an installed package."""
    info = project.root / "site" / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    about += "".join(f"Requires-Dist: {one}\n" for one in requires)
    (info / "METADATA").write_text(about, encoding="utf-8")


def packages(*names: str) -> Callable[[Project], object]:
    """Packages beside torch."""

    def write(project: Project) -> None:
        for name in names:
            package(project, name)

    return write


def companion(
    name: str, version: str, metadata: str = "", *requires: str, **modules: str
) -> Callable[[Project], object]:
    """A companion of torch: its version.py, its metadata, and the code of its modules."""

    def write(project: Project) -> None:
        (project.root / "site").mkdir(exist_ok=True)
        package(project, name, metadata or version, *requires)
        for module, code in {
            "__init__": "",
            "version": f"__version__ = {version!r}",
            **modules,
        }.items():
            file(f"site/{name}/{module}.py", f"{code}\n")(project)
        project.env["PYTHONPATH"] = str(project.root / "site")

    return write


def torch_requires(*requires: str) -> Callable[[Project], object]:
    """What torch's own metadata asks for."""

    def write(project: Project) -> None:
        [metadata] = project.root.glob("site/torch-*.dist-info/METADATA")
        lines = "".join(f"Requires-Dist: {one}\n" for one in requires)
        metadata.write_text(metadata.read_text(encoding="utf-8") + lines, encoding="utf-8")

    return write


def file(path: str, text: str = "raise SystemExit(7)\n") -> Callable[[Project], object]:
    """A file in the project."""

    def write(project: Project) -> None:
        target = project.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    return write


def all_of(*changes: Callable[[Project], object]) -> Callable[[Project], object]:
    """Several changes, one after the other."""
    return lambda project: [change(project) for change in changes]


def asks_for(**wheels: Any) -> Callable[[Project], object]:  # noqa: ANN401
    """What the project asks for on this system; None: nothing is there to ask for."""

    def edit(project: Project) -> None:
        path = project.root / "scripts" / "torch_builds.json"
        document = json.loads(path.read_text(encoding="utf-8"))
        document |= {key: wheels.pop(key) for key in ("requires_python",) if key in wheels}
        platforms = document["builds"][project.build]["platforms"]
        if wheels.pop("none", False):
            platforms["solaris-sparc"] = platforms.pop(HERE)
        else:
            platforms[HERE] |= wheels
        path.write_text(json.dumps(document), encoding="utf-8")

    return edit


def cpu_wheels(project: Project) -> None:
    """The project's build computes on the CPU alone here, as PyPI's wheels on Windows."""
    asks_for(
        accelerator="cpu",
        toolkit=None,
        torch_version=f"{TORCH}+cpu",
        packages={"torch": f"{TORCH}+cpu"},
    )(project)


def without(path: str) -> Callable[[Project], object]:
    """A project without a file or folder of it."""

    def remove(project: Project) -> None:
        target = project.root / path
        shutil.rmtree(target) if target.is_dir() and not target.is_symlink() else target.unlink()

    return remove


def compiled(library: Path, code: str = "", *needs: Path) -> Path:
    """A shared library of a few lines of C, that needs others."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        pytest.skip("needs a C compiler, to build a library")
    command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", str(library)]
    command += ["-Wl,--no-as-needed", "-x", "c", "-", "-x", "none", *map(str, needs)]
    subprocess.run(command, input=code, check=True, text=True)
    return library


def foreign_cudnn(code: str = "") -> Callable[[Project], object]:
    """A cuDNN from outside the environment, that torch loads; and code to run after that."""

    def write(project: Project) -> None:
        (project.root.parent / "elsewhere").mkdir()
        library = compiled(project.root.parent / "elsewhere" / "libcudnn_ops.so.9")
        load = f"import ctypes; torch.foreign = ctypes.CDLL({str(library)!r})\n"
        patch_torch(project, load + code)

    return write


def only_nvml(project: Project) -> None:
    """NVML of an NVIDIA driver, without its libcuda."""
    folder = project.root / "nvml"
    folder.mkdir()
    library = fake_driver(folder) / "libcuda.so.1"
    library.unlink()
    library.touch()
    project.env["LD_LIBRARY_PATH"] = str(folder)


# A sound decoder that cannot: torchcodec's own words, as of 0.13.0.
NO_DECODER = """
class AudioDecoder:
    def __init__(self, source):
        raise RuntimeError("Could not load libtorchcodec. Likely causes: ...")
"""


def beside_torch(name: str, version: str, **modules: str) -> Callable[[Project], object]:
    """A companion that is as asked for, beside the real torch."""
    packages = {"torch": f"{TORCH}+cpu", name: version}
    return all_of(asks_for(packages=packages), companion(name, version, **modules))


def codec_for(major: int, code: str = "", library: str = "") -> Callable[[Project], object]:
    """A torchcodec for one version of FFmpeg, with a real library: its code, and what it needs."""

    def write(project: Project) -> None:
        beside_torch("torchcodec", "0.13.0+cpu", decoders=NO_DECODER)(project)
        folder = project.root / "site" / "torchcodec"
        needs = compiled(folder / library) if library else folder
        compiled(folder / f"libtorchcodec_core{major}.so", code, *([needs] if library else []))
        if library:
            needs.unlink()

    return write


def torchvision(nms: str) -> Callable[[Project], object]:
    """A torchvision whose nms does this."""

    def write(project: Project) -> None:
        folder = "site/torchvision"
        file(f"{folder}/__init__.py", "")(project)
        file(f"{folder}/ops.py", f"def nms(boxes, scores, limit):\n    {nms}\n")(project)
        project.env["PYTHONPATH"] = str(project.root / "site")

    return write


def bad_nms(what: str, remedy: str, said: str, nms: str) -> Injection:
    """A torchvision whose nms does this instead, beside the real torch."""
    only = ("--only", "VISION-NMS")
    change = torchvision(nms)
    return Injection(
        what, "VISION-NMS", remedy, said, 1, torch="real", arguments=only, change=change
    )


def product(change: str) -> str:
    """A torch whose float32 matrix product is another."""
    return (
        "true = torch.Tensor.__matmul__\n"
        "def matmul(a, b):\n"
        "    product = true(a, b)\n"
        f"    return {change} if a.dtype == torch.float32 else product\n"
        "torch.Tensor.__matmul__ = matmul"
    )
