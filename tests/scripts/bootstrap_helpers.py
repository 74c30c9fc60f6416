"""Small real projects for the bootstrap tests: a local package, stub wheels, no index needed."""

import base64
import hashlib
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from machine_settings import environment_before

TEMPLATE = Path(__file__).resolve().parents[2] / "template"
MACHINERY = TEMPLATE / "scripts" / "torch_starter"
PYTHON = Path(getattr(sys, "_base_executable", sys.executable))
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
ODD_NAME = 'it\'s a "test" 100% (d\u00e9j\u00e0^vu) & !'  # quotes, not ASCII, what cmd expands

# A build backend in the tree, so that building needs no download. With a file `block` beside it,
# it waits, which gives a test the time to interrupt.
BACKEND = """
import pathlib, time, zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    while pathlib.Path("block").exists():
        pathlib.Path("blocked").touch()
        time.sleep(0.05)
    name, info = "demo-0.1-py3-none-any.whl", "demo-0.1.dist-info"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, name), "w") as wheel:
        wheel.writestr("demo.pth", str(pathlib.Path("src").absolute()))
        wheel.writestr(info + "/METADATA", METADATA)
        wheel.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(info + "/RECORD", f"demo.pth,,\\n{info}/METADATA,,\\n{info}/WHEEL,,\\n")
    return name

build_wheel = build_editable
"""


def module(name: str) -> ModuleType:
    """A module of scripts/torch_starter/bootstrapping, imported."""
    return importlib.import_module(f"bootstrapping.{name}")


def make_wheel(folder: Path, name: str, version: str, needs: str = "") -> Path:
    """A wheel with one module that knows its version."""
    info = f"{name}-{version}.dist-info"
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{info}/RECORD,,"]
    for file, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record.append(f"{file},sha256={digest.decode()},{len(text)}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in {**files, f"{info}/RECORD": "\n".join(record) + "\n"}.items():
            wheel.writestr(file, text)
    return path


def tool(name: str) -> Path:
    """A developer tool of this repository, beside the running Python or on PATH."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which(name, path=places)
    if not found:
        pytest.skip(f"{name} is not installed")
    return Path(found)


def old_tool(folder: Path, requirement: str) -> Path:
    """A manager of an older version, in a virtual environment of its own."""
    uv = str(tool("uv"))
    name = requirement.partition("=")[0]
    subprocess.run([uv, "venv", "--quiet", "--python", str(PYTHON), str(folder)], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python")]
    done = subprocess.run([*install, requirement], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return folder / "bin" / name


def other_python(*minors: str) -> tuple[str, Path]:
    """A Python of another minor than the running one, or of one of these, with its minor."""
    before = environment_before()  # where Pythons lie, whoever runs the tests
    home = Path(before.get("HOME", "/"))
    stores = {
        Path(before.get("PYENV_ROOT") or home / ".pyenv", "versions"): "{}.*/bin/python",
        Path(
            before.get("RUNNER_TOOL_CACHE") or "/opt/hostedtoolcache", "Python"
        ): "{}.*/*/bin/python",
        home / ".local/share/uv/python": "cpython-{}.*/bin/python",
        Path(
            sys.base_prefix
        ).parent: "{}.*/bin/python",  # beside the running one, as pyenv has them
    }
    for minor in minors or ("3.10", "3.11", "3.12", "3.13", "3.14"):
        places = [one for store, name in stores.items() for one in store.glob(name.format(minor))]
        places += [Path(shutil.which(f"python{minor}") or "/"), Path(f"/usr/bin/python{minor}")]
        for place in [PYTHON] if minor == MINOR and minors else places if minor != MINOR else []:
            command = [str(place), "-I", "-c", "import ensurepip"]
            try:
                if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                    return minor, place.resolve()
            except OSError:
                continue
    pytest.skip("there is no such second Python on this machine")


def path_of(folder: Path, programs: dict[str, Path]) -> Path:
    """A folder for PATH that has these programs and nothing else."""
    folder.mkdir(parents=True)
    for name, program in programs.items():
        (folder / name).symlink_to(program)
    return folder


@dataclass
class Demo:
    """A project as the template renders it, as far as the bootstrap is concerned."""

    root: Path
    manager: str
    env: dict[str, str]
    builds: dict[str, Any] = field(default_factory=dict)

    @property
    def python(self) -> Path:
        return self.root / ".venv" / "bin" / "python"

    def run(
        self, *arguments: str, shell: str = "/bin/sh", script: str = "", **env: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run bootstrap.sh from another folder."""
        return subprocess.run(
            [shell, script or str(self.root / "bootstrap.sh"), *arguments],
            cwd=self.root.parent,
            env={**self.env, **env},
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            timeout=300,
            check=False,
        )

    def run_mounted(self, option: str) -> "subprocess.CompletedProcess[str]":
        """Run bootstrap.sh where the project's folder is mounted with an option, such as ro."""
        root = shlex.quote(str(self.root))
        mount = f"mount --bind {root} {root} && mount -o remount,bind,{option} {root}"
        return subprocess.run(
            ["unshare", "-m", "sh", "-c", f"{mount} && exec sh {root}/bootstrap.sh"],
            env={**self.env, "PATH": f"{self.env['PATH']}:/usr/sbin:/usr/bin:/bin"},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    def ask(self, code: str) -> str:
        """What the project's own Python answers."""
        command = [str(self.python), "-c", f"print({code})"]
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", check=True, cwd=self.root.parent
        ).stdout.strip()

    def write_builds(self) -> None:
        text = json.dumps(self.builds, indent=2)
        (self.root / "scripts" / "torch_builds.json").write_text(text, encoding="utf-8")

    def write_smoke_test(self, text: str) -> None:
        (self.root / "scripts" / "gpu_smoke_test.py").write_text(text, encoding="utf-8")

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def files(self) -> dict[str, bytes]:
        """Everything in the project."""
        paths = (path for path in self.root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in paths}


def builds_for(manager: str, minor: str) -> dict[str, Any]:
    """A torch_builds.json with the platforms that the tests may run on."""
    names = ("linux-x86_64", "linux-aarch64", "macos-arm64", "macos-x86_64")
    nothing = dict.fromkeys(("toolkit", "minimum_driver", "gpu_architectures", "ptx"))
    wheels = {"accelerator": "cpu", "packages": {"demo_stub": "1.0"}, **nothing}
    platforms = dict.fromkeys(names, wheels)
    build = {
        "label": "CPU",
        "release": "2.13.0",
        "index_url": None,
        "platforms": platforms,
    }
    return {
        "schema": 2,
        "package_manager": manager,
        "python": minor,
        "requires_python": f"=={minor}.*",
        "compute_platform": "cpu",
        "release": "2.13.0",
        "builds": {"cpu": build},
        "alternatives": {},
        "moves": {},
    }


def pyproject(manager: str, minor: str) -> str:
    """A pyproject.toml that needs demo_stub."""
    project = f"""[project]
name = "demo"
version = "0.1"
requires-python = "=={minor}.*"
dependencies = ["demo-stub"]

[dependency-groups]
dev = []
"""
    backend = """
[build-system]
requires = []
build-backend = "demo_backend"
backend-path = ["backend"]
"""
    uv = """
[tool.uv]
required-version = ">=0.9.25"
no-index = true
find-links = ["../wheels"]
"""
    poetry = """
[tool.poetry]
package-mode = false
requires-poetry = ">=2.2"

[tool.poetry.dependencies]
demo-stub = { path = "../wheels/demo_stub-1.0-py3-none-any.whl" }
"""
    extra = {"uv": backend + uv, "pip": backend, "poetry": poetry}
    return project + extra[manager]


def make_demo(folder: Path, manager: str, name: str = "demo", minor: str = MINOR) -> Demo:
    """Write a project, with a PATH that has this Python and its manager."""
    root, wheels = folder / name, folder / "wheels"
    for part in ("scripts/torch_starter", "src/demo", "backend", "requirements"):
        (root / part).mkdir(parents=True)
    for script in ("bootstrap.sh", "scripts/torch_starter/bootstrap.py"):
        shutil.copy(TEMPLATE / script, root / script)
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("bootstrapping", "surroundings"):
        package = f"scripts/torch_starter/{name}"
        shutil.copytree(TEMPLATE / package, root / package, ignore=ignore)
    (root / "pyproject.toml").write_text(pyproject(manager, minor), encoding="utf-8")
    (root / "requirements" / "torch-cpu.txt").write_text("demo-stub==1.0\n", encoding="utf-8")
    (root / "src" / "demo" / "__init__.py").touch()
    metadata = "Metadata-Version: 2.1\nName: demo\nVersion: 0.1\nRequires-Dist: demo-stub\n"
    backend = f"{BACKEND}\nMETADATA = {metadata!r}\n"
    (root / "backend" / "demo_backend.py").write_text(backend, encoding="utf-8")
    make_wheel(wheels, "demo_stub", "1.0")
    programs = {"python3": PYTHON}
    if manager != "pip":
        programs[manager] = tool(manager)
    # The way to the registry, and nothing of what the machine sets for pip and uv.
    network = re.compile(
        r"SSL_CERT_.*|.*_(CERTS?|BUNDLE|PROXY|HOST)|NETRC|PIP_INDEX_URL|UV_DEFAULT_INDEX"
        r"|PIP_C(ONFIG_FILE|ACHE_DIR)|XDG_CONFIG_DIRS",
        re.IGNORECASE,
    )
    kept = {key: text for key, text in os.environ.items() if network.fullmatch(key)}
    home = folder / "home"
    home.mkdir()
    path = path_of(folder / "bin", programs)
    env = {**kept, "PATH": str(path), "HOME": str(home), "SHELL": "/bin/sh", "LANG": "C.UTF-8"}
    demo = Demo(root, manager, env, builds_for(manager, minor))
    demo.write_builds()
    demo.write_smoke_test("print('the smoke test ran')\n")
    return demo
