"""Writes extensions/torch_template/dependencies.json: the names that a project's dependencies have.

python tools/dependency_names.py    # asks the package registry, for some minutes

uv locks a project of each series of torch and Python, on PyPI's wheels, for all systems, with what
its tools and build backends require; the wheels of all that say which modules they bring. What the
builds that only PyTorch's index has require beside that is taken from tests/data and the matrix.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import RawIOBase
from itertools import product
from pathlib import Path
from typing import Any

import tomlkit
import yaml
from copier import run_copy
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

sys.path.insert(0, str(Path(__file__).parents[1] / "extensions"))

from torch_template.build import Asked, Build
from torch_template.matrix.facts import COMPANIONS, PYPI, all_series
from torch_template.matrix.loading import load_matrix
from torch_template.menus import has_training
from torch_template.resolving import find_build

ROOT = Path(__file__).parents[1]
DATA = ROOT / "extensions" / "torch_template" / "dependencies.json"
METADATA = ROOT / "tests" / "data" / "torch_metadata.yaml"
# What torch imports where it is installed: a package of that name would be taken for it.
EXTRAS = "torch[opt-einsum,optree,pyyaml]"
COMPILE = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--no-build"]
TAIL = 65536  # bytes: the list of files of most wheels


class Remote(RawIOBase):
    """A file on a server, of which only the parts that are read are fetched."""

    def __init__(self, url: str, size: int) -> None:
        self._url, self._size, self._at = url, size, 0
        self._from, self._tail = size, b""

    def seekable(self) -> bool:
        """Yes: zipfile begins at the end."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        """Where reading goes on."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """The next bytes; all that is behind them is kept, too."""
        end = self._size if size < 0 else min(self._at + size, self._size)
        if self._at < self._from:
            self._from = min(self._at, max(0, self._size - TAIL))
            wanted = {"Range": f"bytes={self._from}-{self._size - 1}"}
            with urllib.request.urlopen(urllib.request.Request(self._url, headers=wanted)) as got:  # noqa: S310
                whole = got.status == 200
                self._tail = got.read()[self._from if whole else 0 :]
        found = self._tail[self._at - self._from : end - self._from]
        self._at = end
        return found


def modules(names: Iterable[str]) -> set[str]:
    """What can be imported of a wheel with these files, in lower case."""
    found = set()
    for name in names:
        parts = name.split("/")
        if parts[0].endswith(".data"):
            parts = parts[2:] if parts[1] in ("purelib", "platlib") else []
        file = len(parts) == 1
        if parts and (not file or re.search(r"\.(py|so|pyd)$", parts[0])):
            found.add(parts[0].partition(".")[0].lower() if file else parts[0].lower())
    return {name for name in found if re.fullmatch(r"[a-z][a-z0-9_]*", name)}


def in_wheel(url: str, size: int) -> set[str]:
    """What can be imported of a wheel on a server."""
    with zipfile.ZipFile(Remote(url, size)) as wheel:
        return modules(wheel.namelist())


def builds() -> Iterator[Build]:
    """PyPI's build of each series of torch for each Python that it has wheels for."""
    matrix = load_matrix()
    for torch, python in product(all_series(matrix), matrix.policy.python.offered):
        if build := find_build(matrix, Asked("uv", python, PYPI, torch, COMPANIONS)):
            yield build


def backends() -> list[str]:
    """The build backends of projects, of each manager."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "includes").glob("*.toml.jinja")]
    return [line for text in texts for line in re.findall(r'^requires = \["(.+)"\]', text, re.M)]


def project(folder: Path, build: Build) -> Path:
    """The folder of a project that has it, and asks for all that any project needs."""
    answers = {
        "python_version": build.asked.python,
        "compute_platform": PYPI,
        "torch_version": build.asked.torch,
        "torch_packages": [name for name in COMPANIONS if name in build.versions],
        "starter": "training" if has_training(build.torch) else "package",
    }
    run_copy(str(ROOT), folder, answers, defaults=True, unsafe=True, quiet=True, vcs_ref="HEAD")
    manifest = folder / "pyproject.toml"
    data: Any = tomlkit.parse(manifest.read_text(encoding="utf-8"))
    data["project"]["dependencies"].extend([EXTRAS, *backends()])
    manifest.write_text(tomlkit.dumps(data), encoding="utf-8")
    return folder


def lock(folder: Path, python: str) -> list[dict[str, Any]]:
    """What uv locks there, for all systems; that Python itself need not be here."""
    asked = ["pyproject.toml", "--group=dev", f"--python-version={python}"]
    subprocess.run([*COMPILE, *asked, "--output-file=pylock.toml"], cwd=folder, check=True)
    found = tomlkit.parse((folder / "pylock.toml").read_text(encoding="utf-8"))
    return list(found.unwrap()["packages"])


def elsewhere() -> Iterator[list[str]]:
    """What the builds that only PyTorch's index has require, as far as it is known here."""
    known = yaml.safe_load(METADATA.read_text(encoding="utf-8"))
    yield from [*known["lists"].values(), *known["xpu"].values()]
    rows = known["torch"].values()
    triton = ("triton", "rocm_triton", "xpu_triton")
    yield from ([row[name]] for row in rows for name in triton if name in row)
    yield from ([line] for line in [*known["rocm7.14"], *known["rocm_sdist"]])
    yield from ([row.package] for row in load_matrix().index_only)


def named(requirement: str) -> str:
    """The name of what is required."""
    return canonicalize_name(Requirement(requirement).name)


def required(lines: tuple[str, ...]) -> set[str]:
    """The names in these requirements, and in what they require, where the registry has them."""
    asked = ["--python-version=3.10", "--no-annotate", "--no-header", "-"]
    text = "\n".join(lines)
    done = subprocess.run([*COMPILE, *asked], input=text, capture_output=True, text=True)
    return {named(line) for line in [*lines, *done.stdout.splitlines()]}


def main() -> None:
    """Write the file."""
    wheels: dict[tuple[str, str], dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, build in enumerate(builds()):
            for package in lock(project(Path(folder, str(number)), build), build.asked.python):
                key = package["name"], package["version"]
                wheels[key] = min(package["wheels"], key=lambda wheel: int(wheel["size"]))
    with ThreadPoolExecutor(8) as threads:
        brought = threads.map(lambda wheel: in_wheel(wheel["url"], wheel["size"]), wheels.values())
        names = {name for name, _ in wheels}
        names.update(*threads.map(required, {*map(tuple, elsewhere())}))
        found = {
            "distributions": sorted(names),
            "modules": sorted(set().union(*brought)),
        }
    DATA.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
