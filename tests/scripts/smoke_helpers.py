"""Projects for the smoke test: a data file, the script, and a torch: real, a stub, or none."""

import compileall
import importlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from scripts.worlds import HERE as OUTSIDE

PLACE: Any = importlib.import_module("surroundings.place")
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "template" / "scripts" / "gpu_smoke_test.py"
PACKAGE = SCRIPT.with_name("torch_starter") / "gpu_smoke"
SCHEMA = json.loads((PACKAGE / "report.schema.json").read_text(encoding="utf-8"))
valid = fastjsonschema.compile(SCHEMA)
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
SYSTEM = {"Darwin": "macos"}.get(platform.system(), platform.system().lower())
HERE = f"{SYSTEM}-{platform.machine().lower()}"
TORCH = "2.13.0"
QUICK = [
    "TORCH-IMPORT",
    "DEV-OPEN",
    "DEV-MEM",
    "NUM-MATMUL",
    "NUM-CONV",
    "NUM-GRAD",
    "TRAIN-STEPS",
    "PKG-NUMPY",
    "LIB-MAPS",
    "LIB-OMP",
]
NOT_HERE = ("DEV-MEM", "PKG-NUMPY")  # of these, where there is neither a GPU nor NumPy
CARDS = [path.read_text(encoding="ascii") for path in Path("/sys/bus/pci/devices").glob("*/vendor")]
without_gpu = pytest.mark.skipif("0x10de\n" in CARDS, reason="this machine has an NVIDIA card")

# What could tell that the tests run in a container, a job or a CI, of which no test is to know.
SIGN_VARIABLES = {
    word
    for row in PLACE.SIGNS.values()
    for word in re.findall(r"(?:^|[\s+!])([A-Z_]+)\b(?!/)", row)
} | {"container"}

CUDA_WHEELS: dict[str, dict[str, Any]] = {
    "cu126": {
        "accelerator": "cuda",
        "minimum_driver": "525.60.13",
        "gpu_architectures": ["5.0", "6.0", "7.0", "7.5", "8.0", "8.6", "9.0"],
        "ptx": None,
    },
    "cu130": {
        "accelerator": "cuda",
        "minimum_driver": "580.65.06",
        "gpu_architectures": ["7.5", "8.0", "8.6", "9.0", "10.0", "12.0"],
        "ptx": None,
    },
}
OTHER_WHEELS: dict[str, Any] = {"minimum_driver": None, "gpu_architectures": [], "ptx": None}
CUDA_WHEELS["cu132"] = CUDA_WHEELS["pypi"] = CUDA_WHEELS["cu130"]
CUDA_WHEELS["cu128"] = {
    **CUDA_WHEELS["cu126"],
    "gpu_architectures": ["7.5", "8.0", "8.6", "9.0", "10.0", "12.0"],
}
# Nobody knows for which GPUs this is: it is never to be recommended for one.
CUDA_WHEELS["cu118"] = {**OTHER_WHEELS, "accelerator": "cuda", "minimum_driver": "450.80.02"}
RELEASES = {"cu118": "2.7.1", "cu128": "2.11.0", "pypi": "2.15.0"}
LABELS = {"cpu": "CPU", "cu126": "CUDA 12.6", "cu130": "CUDA 13.0", "rocm7.2": "ROCm 7.2"}
TOOLKITS = {"cu126": "12.6", "cu130": "13.0", "rocm7.2": "7.2", "pypi": "13.0"}


def wheels_of(name: str) -> dict[str, Any]:
    """The entry of a compute platform among the alternatives."""
    accelerator = "rocm" if name.startswith("rocm") else name
    return CUDA_WHEELS.get(name, {"accelerator": accelerator, **OTHER_WHEELS})


def version_of(name: str) -> str:
    """What torch of a compute platform says of itself; PyPI's is one of them."""
    return f"{TORCH}+{'cu130' if name == 'pypi' else name}"


def move(name: str) -> str:
    """What Copier must be told beside the name of a compute platform."""
    return "--data torch_version=latest" if name in RELEASES else ""


@cache
def compiled_scripts() -> tempfile.TemporaryDirectory[str]:
    """The smoke test as a project has it after its first run: a test need not compile it again."""
    folder = tempfile.TemporaryDirectory()
    shutil.copy(SCRIPT, folder.name)
    without_caches = shutil.ignore_patterns("__pycache__")
    for name in ("gpu_smoke", "surroundings"):
        package = Path(folder.name, "torch_starter", name)
        shutil.copytree(PACKAGE.with_name(name), package, ignore=without_caches)
        compileall.compile_dir(package, quiet=2)
    return folder


@dataclass
class Outcome:
    """What a run of the smoke test came to."""

    code: int
    text: str
    stderr: str
    document: dict[str, Any]

    def __getitem__(self, name: str) -> dict[str, Any]:
        """The check with this id."""
        found: dict[str, Any] = next(c for c in self.document["checks"] if c["id"] == name)
        return found

    def ids(self, status: str) -> list[str]:
        """The checks that ended so, but for one that depends on where the tests run."""
        checks = self.document["checks"]
        return [c["id"] for c in checks if c["status"] == status and c["id"] != "SYS-SHM"]


@dataclass
class Project:
    """A project as it is rendered, as far as the smoke test looks at it."""

    root: Path
    build: str = "cpu"
    packages: Mapping[str, str] = field(default_factory=dict)
    wheels: Mapping[str, Any] = field(default_factory=dict)  # overrides
    alternatives: tuple[str, ...] = ("cpu", "cu132", "cu130", "cu128", "cu126", "cu118", "pypi")
    python: str = f"=={MINOR}.*"
    executable: str = sys.executable
    isolated: bool = False
    before: str = ""  # commands of a shell, in a mount namespace of its own
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Write the project."""
        scripts = self.root / "scripts"
        shutil.copytree(compiled_scripts().name, scripts)
        version = version_of(self.build)
        own = wheels_of(self.build) | {
            "toolkit": TOOLKITS.get(self.build),
            "packages": {"torch": version, **self.packages},
            "torch_version": version,
            **self.wheels,
        }
        document = {
            "schema": 2,
            "package_manager": "uv",
            "python": MINOR,
            "requires_python": self.python,
            "compute_platform": self.build,
            "release": RELEASES.get(self.build, TORCH),
            "builds": {self.build: self._build(self.build, own)},
            "alternatives": {
                HERE: {
                    name: {"release": RELEASES.get(name, TORCH), **wheels_of(name)}
                    for name in self.alternatives
                    if name != self.build
                }
            },
        }
        document["moves"] = {name: move(name) for name in self.alternatives if name != self.build}
        (scripts / "torch_builds.json").write_text(json.dumps(document), encoding="utf-8")
        # Neither a driver nor a setting of this machine is to decide a test.
        nothing = self.root / "no-driver"
        nothing.mkdir()
        for library in ("libcuda.so.1", "libnvidia-ml.so.1"):
            (nothing / library).touch()
        personal = (
            "PYTHON",
            "NO_COLOR",
            "FORCE_COLOR",
            "COLUMNS",
            "KMP_",
            "CUDA_",
            "HSA_",
            "HIP_",
            "ROCR_",
        )
        inherited = {k: value for k, value in os.environ.items() if not k.startswith(personal)}
        for name in SIGN_VARIABLES & set(inherited):
            del inherited[name]
        self.env = {**inherited, "LD_LIBRARY_PATH": str(nothing), **self.env}

    @staticmethod
    def _build(name: str, wheels: Mapping[str, Any]) -> dict[str, Any]:
        label = LABELS.get(name, name.upper())
        index = {} if name == "pypi" else {"index_url": f"https://download.pytorch.org/whl/{name}"}
        return {"label": label, **index, "platforms": {HERE: dict(wheels)}}

    def command(self, *arguments: str) -> list[str]:
        """The command line of a run."""
        flags = ["-I"] if self.isolated else []
        script = self.root / "scripts" / SCRIPT.name
        command = [self.executable, *flags, str(script), *arguments]
        before = self.before or outside()
        if not before:
            return command
        script = self.root.parent / "before.sh"
        script.write_text(f'{before}\nexec "$@"\n', encoding="utf-8")
        return ["unshare", "-m", "sh", "-e", str(script), *command]

    def run(self, *arguments: str, **env: str) -> Outcome:
        """Run the smoke test; what it promises of every run is asserted here."""
        file = self.root / "smoke.json"
        command, variables = self.command("--json", str(file), *arguments), {**self.env, **env}
        if command[0] == "unshare" and "PATH" in env:  # which what prepares a machine needs
            place = command.index(self.executable)
            command[place:place] = ["env", f"PATH={env['PATH']}"]
            variables["PATH"] = os.environ["PATH"]
        done = subprocess.run(
            command,
            env=variables,
            capture_output=True,
            check=False,
            timeout=300,  # a busy machine compiles slowly
        )
        text, stderr = done.stdout.decode("ascii"), done.stderr.decode("ascii")
        assert "Traceback" not in text + stderr
        assert stderr == ""
        assert "\033" not in text
        document = json.loads(file.read_text(encoding="ascii"))
        assert_schema(document)
        assert document["exit_code"] == done.returncode
        failed = document["summary"]["fail"]
        warned = document["summary"]["warn"] and "--strict" in arguments
        assert text.startswith("FAIL  " if failed else "WARN  " if warned else "PASS  ")
        assert bool(failed or warned) == bool(done.returncode)
        return Outcome(done.returncode, text, stderr, document)

    def add_stub_torch(self, code: str, version: str = "", **lines: str) -> None:
        """Put a torch of a few lines on the path; the Python of the tests passes as .venv."""
        (self.root / ".venv").symlink_to(sys.prefix)
        version = version or version_of(self.build)
        site = self.root / "site"
        self.env["PYTHONPATH"] = str(site)
        write_version(site, version, {"cuda": TOOLKITS.get(self.build, ""), **lines})
        (site / "torch" / "__init__.py").write_text(code, encoding="utf-8")


@cache
def has_namespaces() -> bool:
    """Whether `before` can work."""
    probe = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/run"]
    return (
        bool(shutil.which("unshare")) and not subprocess.run(probe, capture_output=True).returncode
    )


def needs_namespaces() -> None:
    """Skip a test where `before` cannot work."""
    if not has_namespaces():
        pytest.skip("needs the right to mount, in a mount namespace of its own")


@cache
def outside() -> str:
    """Commands that hide what kind of machine the tests run on; none, where nothing tells it."""
    return OUTSIDE if PLACE.find_place({}).signs and has_namespaces() else ""


def write_version(site: Path, version: str, lines: Mapping[str, str], metadata: str = "") -> None:
    """A torch/version.py in the style of the real one, and the metadata of that version."""
    text = f"from typing import Optional\n\n__version__ = {version!r}\ndebug = False\n"
    for name in ("cuda", "hip", "xpu"):
        text += f"{name}: Optional[str] = {lines.get(name) or None!r}\n"
    (site / "torch").mkdir(parents=True, exist_ok=True)
    (site / "torch" / "version.py").write_text(text, encoding="utf-8")
    info = site / f"torch-{version}.dist-info"
    info.mkdir()
    about = f"Metadata-Version: 2.1\nName: torch\nVersion: {metadata or version}\n"
    (info / "METADATA").write_text(about, encoding="utf-8")


def fake_driver(folder: Path) -> Path:
    """A folder for LD_LIBRARY_PATH with an NVIDIA driver that FAKE_ variables command."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler or SYSTEM != "linux":
        pytest.skip("needs Linux and a C compiler, to build a fake NVIDIA driver")
    source = Path(__file__).with_name("fake_driver.c")
    library = folder / "libcuda.so.1"
    command = [compiler, "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    shutil.copy(library, folder / "libnvidia-ml.so.1")
    return folder


def load_package(name: str) -> Any:  # noqa: ANN401 - the module under test
    """A module of the smoke test, for what no machine can be made to show."""
    return importlib.import_module(f"gpu_smoke.{name}")


def machine(**facts: Any) -> Any:  # noqa: ANN401
    """A machine of a project for CUDA 13.0, for what no machine can be made to show."""
    usual: dict[str, Any] = {
        "python": "==3.12.*",
        "label": "CUDA 13.0",
        "windows_path": {"letters": 122, "measured": True},
        "release": "2.14.1",
        "wheels": {"minimum_driver": "580.65.06"},
        "alternatives": {"cpu": {"accelerator": "cpu", "release": "2.14.1"}},
        "accelerator": "cuda",
    }
    everything = {**usual, **facts}
    moves = {name: move(name) for name in everything["alternatives"]}
    return load_package("machine").Machine(**{"moves": moves, **everything})


def place_of(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    """Let this be a place of these kinds, for modules of the smoke test that ask where they are."""
    place = PLACE.Place({kind: ["a sign"] for kind in kinds})
    for name in ("driver_checks", "machine", "device_checks"):
        monkeypatch.setattr(load_package(name), "here", lambda: place)


def assert_schema(document: dict[str, Any]) -> None:
    """Whether a report is smoke/1, with no other keys, and consistent."""
    valid(document)
    types = {
        "schema": str,
        "level": str,
        "device": str,
        "started": str,
        "seconds": float,
        "exit_code": int,
        "summary": dict,
        "host": dict,
        "checks": list,
    }
    assert {key: type(value) for key, value in document.items()} == types
    assert document["schema"] == "smoke/1"
    assert document["device"] in ("cpu", "cuda", "mps", "xpu")
    assert {key: type(value) for key, value in document["host"].items()} == {
        "os": str,
        "python": str,
    }
    statuses = [check["status"] for check in document["checks"]]
    assert document["summary"] == {s: statuses.count(s) for s in ("pass", "warn", "fail", "skip")}
    assert sum(document["summary"].values()) == len(statuses)
    names = [check["id"] for check in document["checks"]]
    assert len(set(names)) == len(names), names
    for check in document["checks"]:
        assert {key: type(value) for key, value in check.items()} == {
            "id": str,
            "status": str,
            "message": str,
            "remedy": str,
            "seconds": float,
            "data": dict,
        }
        assert check["message"]
        if check["status"] in ("warn", "fail"):  # sentences, and never without a way out
            assert check["remedy"].endswith("."), check
            assert len(check["message"].split()) > 3, check
