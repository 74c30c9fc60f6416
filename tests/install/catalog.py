"""What the loopback index serves: read from tests/data, and from nothing of the template itself.

So a test can compare the two: whatever the template offers must have its files here.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

DATA = Path(__file__).parents[1] / "data"
PYPI = "pypi"
# What the CUDA folders copy whole; of nvidia-* they copy the versions that a torch wheel pins.
CUDA_PROJECTS = ("cuda-bindings", "cuda-pathfinder", "cuda-toolkit", "triton")
TORCH_PROJECTS = ("torch", "torchvision", "torchaudio", "torchcodec")
# The name that the template and its data file give to a platform, and the wheel tags that mean it.
PLATFORM_OF_TAG = (
    ("linux-x86_64", re.compile(r"(many)?linux.*x86_64$")),
    ("linux-aarch64", re.compile(r"(many)?linux.*aarch64$")),
    ("windows-amd64", re.compile(r"win_amd64$")),
    ("macos-arm64", re.compile(r"macosx_.*_arm64$")),
)


@dataclass(frozen=True)
class Wheel:
    """A file name on an index, with what its METADATA says."""

    index: str
    project: str
    version: str
    filename: str
    requires: tuple[str, ...] = ()
    requires_python: str | None = None
    uploaded: str = "2026-01-15"
    # The build inside torch and its companions (`cu130`), which no name on PyPI has.
    build: str | None = None


@dataclass(frozen=True)
class Row:
    """One line of a catalogue file: a version, its Python tags and its platform tags."""

    project: str
    version: str
    build_tag: str
    pythons: tuple[str, ...]
    platforms: tuple[str, ...]

    def filenames(self) -> Iterator[tuple[str, str]]:
        """Yield (file name, platform tag)."""
        name = self.project.replace("-", "_")
        if self.platforms == ("sdist",):
            yield f"{name}-{self.version}.tar.gz", "sdist"
            return
        head = [name, self.version] + ([self.build_tag] if self.build_tag else [])
        for python in self.pythons:
            tag, _, abi = python.partition("/")
            if tag.startswith("py"):
                abi = "none"
            elif not abi:
                tag, abi = tag.rstrip("t"), tag
            for platform in self.platforms:
                yield "-".join([*head, tag, abi, platform]) + ".whl", platform


@cache
def sections(name: str) -> dict[str, list[str]]:
    """Return the lines of a file in tests/data below each `[index]`, in the file's order."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in (DATA / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            lines = found[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            lines.append(line)
    return found


def read_rows(lines: Iterable[str]) -> list[Row]:
    """Read `project version[-build] | cp312 cp313t cp310/none py3 | platform tags or sdist`."""
    rows = []
    for line in lines:
        what, pythons, platforms = (part.split() for part in line.split("|"))
        version, _, build_tag = what[1].partition("-")
        rows.append(Row(what[0], version, build_tag, tuple(pythons), tuple(platforms)))
    return rows


def _read_yaml(name: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((DATA / name).read_text(encoding="utf-8"))
    return data


def _add_marker(requirement: str, marker: str) -> str:
    return f"{requirement}; {marker}"


@cache
def torch_metadata() -> dict[str, Any]:
    """Return tests/data/torch_metadata.yaml."""
    return _read_yaml("torch_metadata.yaml")


@dataclass(frozen=True)
class TorchMetadata:
    """The METADATA of the torch projects (tests/data/torch_metadata.yaml)."""

    data: dict[str, Any] = field(default_factory=torch_metadata)

    def of(self, index: str, row: Row, filename: str, platform: str) -> Wheel:
        """Describe one wheel of torch or of a companion."""
        public = row.version.partition("+")[0]
        if row.project == "torch":
            return self._torch(index, row, public, filename, platform)
        requires_torch, requires_python, *beside = self.data[row.project][public]
        requires = (f"torch{requires_torch}",) if requires_torch else ()
        if row.project == "torchvision":
            requires = ("numpy", *requires, "pillow!=8.3.*,>=5.3.0")
        torch = beside[0] if beside else requires_torch.removeprefix("==")
        build = self._build(index, self.data["torch"][torch], platform)
        return Wheel(
            index, row.project, row.version, filename, requires, requires_python, build=build
        )

    def _build(self, index: str, release: dict[str, Any], platform: str) -> str | None:
        """Return the compute platform that a wheel was built for; None for macOS."""
        if platform.startswith("macosx"):
            return None
        if index != PYPI:
            return index
        key = next(name for name, tag in PLATFORM_OF_TAG if tag.match(platform))
        return str(release["pypi"][key])

    def _torch(self, index: str, row: Row, public: str, filename: str, platform: str) -> Wheel:
        release = self.data["torch"][public]
        mac = platform.startswith("macosx")
        requires = [*release["requires"], *([] if mac else self._extra(index, public, release))]
        return Wheel(
            index,
            "torch",
            row.version,
            filename,
            tuple(requires),
            release["requires_python"],
            release["uploaded"],
            self._build(index, release, platform),
        )

    def _extra(self, index: str, public: str, release: dict[str, Any]) -> list[str]:
        """Return what a wheel requires for its accelerator."""
        marker = release["linux_marker"]
        bound = f" and {release['triton_python']}" if "triton_python" in release else ""
        if index.startswith("rocm"):
            triton = _add_marker(release["rocm_triton"], 'platform_system == "Linux"' + bound)
            return [*self.data.get(index, []), triton]
        if index == "xpu":
            intel = max((v for v in self.data["xpu"] if Version(v) <= Version(public)), key=Version)
            anywhere = 'platform_system == "Linux" or platform_system == "Windows"'
            return [*self.data["xpu"][intel], _add_marker(release["xpu_triton"], anywhere)]
        name = release["pypi"]["list"] if index == PYPI else release.get("cuda", {}).get(index)
        if name is None:
            return []
        pins = [_add_marker(pin, marker) for pin in self.data["lists"][name]]
        return [*pins, _add_marker(release["triton"], marker + bound)]

    def requirement_strings(self) -> Iterator[str]:
        """Yield every requirement that some wheel here has."""
        for release in self.data["torch"].values():
            yield from release["requires"]
            yield release["triton"]
        for pins in (*self.data["lists"].values(), *self.data["xpu"].values()):
            yield from pins


class Catalog:
    """All wheels of all indexes, by index (`cpu`, `cu130`, ..., `pypi`) and project."""

    def __init__(self) -> None:
        self._read: dict[str, dict[str, list[Wheel]]] = {}
        self._lock = threading.Lock()  # the index answers in several threads

    @cached_property
    def indexes(self) -> tuple[str, ...]:
        """Return the compute platforms that have a folder, and `pypi`."""
        return tuple(sorted(sections("catalog.txt")))

    @cached_property
    def _packages(self) -> PyPIPackages:
        return PyPIPackages(_read_yaml("pypi_packages.yaml"), TorchMetadata())

    @cached_property
    def _mirrored(self) -> list[Row]:
        return read_rows(sections("mirrored_packages.txt")["copies"])

    def _index(self, index: str) -> dict[str, list[Wheel]]:
        """Return the wheels of an index by project, read when somebody asks."""
        if index not in self.indexes:
            return {}
        with self._lock:
            if index not in self._read:
                self._read[index] = self._read_index(index)
        return self._read[index]

    def _read_index(self, index: str) -> dict[str, list[Wheel]]:
        projects: dict[str, list[Wheel]] = {}
        others = self._packages.wheels() if index == PYPI else self._copies(index)
        for wheel in (*self._own(index), *others):
            projects.setdefault(wheel.project, []).append(wheel)
        for wheels in projects.values():
            wheels.sort(key=lambda wheel: wheel.filename)
        return projects

    def _own(self, index: str) -> Iterator[Wheel]:
        """Yield the wheels of the torch projects, and of the triton that belongs to them."""
        torch = TorchMetadata()
        for row in read_rows(sections("catalog.txt")[index]):
            for filename, platform in row.filenames():
                if row.project in TORCH_PROJECTS:
                    yield torch.of(index, row, filename, platform)
                else:
                    requires = torch.data["rocm_sdist"] if row.project == "rocm" else ()
                    yield Wheel(index, row.project, row.version, filename, tuple(requires))

    def _copies(self, index: str) -> Iterator[Wheel]:
        """Yield the copies of other projects that a folder of the PyTorch index has."""
        for row in self._mirrored:
            for filename, _ in row.filenames():
                requires = self._packages.requires(row.project)
                yield Wheel(index, row.project, row.version, filename, requires)
        if index.startswith("cu"):
            pinned = self._packages.pinned
            for wheel in self._packages.wheels():
                if wheel.version in pinned.get(wheel.project, ()) or wheel.project in CUDA_PROJECTS:
                    yield replace(wheel, index=index)

    def projects(self, index: str) -> list[str]:
        """Return the names of the projects that an index has."""
        return sorted(self._index(index))

    def wheels(self, index: str, project: str) -> list[Wheel]:
        """Return an index's wheels of a project, in the order of the page; none if unknown."""
        return self._index(index).get(project, [])

    def files(self, index: str, project: str | None = None) -> list[str]:
        """Return an index's file names: of one project, or of torch and its companions."""
        names = TORCH_PROJECTS if project is None else (project,)
        return [wheel.filename for name in names for wheel in self.wheels(index, name)]


class PyPIPackages:
    """The other projects on the PyPI-like index (tests/data/pypi_packages.yaml)."""

    def __init__(self, data: dict[str, Any], torch: TorchMetadata) -> None:
        self.data = data
        self.pinned = self._pinned(list(torch.requirement_strings()))

    def requires(self, project: str) -> tuple[str, ...]:
        """Return what the newest version of a project requires, where it matters."""
        versions = self.data.get(project, {}).get("versions", {})
        return tuple(versions[list(versions)[-1]]) if project in ("jinja2", "sympy") else ()

    def wheels(self) -> Iterator[Wheel]:
        """Yield every wheel: of the versions in the file, and of those that torch pins."""
        for project in sorted({*self.data, *self.pinned}):
            row = self.data.get(project, {})
            versions: dict[str, list[str]] = {
                version: [] for version in self.pinned.get(project, ())
            }
            versions.update(row.get("versions", {}))
            versions.update(self._toolkits(row))
            for version, requires in versions.items():
                requires_python = row.get("requires_python", {}).get(version)
                every = (*row.get("requires", ()), *requires)
                for tags in self._tags(project, row):
                    filename = f"{project.replace('-', '_')}-{version}-{tags}.whl"
                    yield Wheel(PYPI, project, version, filename, every, requires_python)

    def _tags(self, project: str, row: dict[str, Any]) -> list[str]:
        if "tags" not in row and project.startswith("nvidia-"):
            row = self.data["nvidia-cublas"]
        platforms = row.get("platforms", ["any"])
        return [
            f"{tag}-{platform}" for tag in row.get("tags", ["py3-none"]) for platform in platforms
        ]

    def _toolkits(self, row: dict[str, Any]) -> dict[str, list[str]]:
        """Return the requirements of cuda-toolkit, all of them behind an extra."""
        found: dict[str, list[str]] = {}
        for version, extras in row.get("extras", {}).items():
            lines: list[str] = found.setdefault(version, [])
            for extra, requires in extras.items():
                marker = row["extra_marker"] if extra != "cufile" else 'sys_platform == "linux"'
                lines += [f'{pin}; ({marker}) and extra == "{extra}"' for pin in requires]
        return found

    def _pinned(self, wanted: list[str]) -> dict[str, list[str]]:
        """Return the versions that something pins with ==, by project."""
        everything = list(wanted)
        for row in self.data.values():
            for extras in row.get("extras", {}).values():
                everything += [pin for pins in extras.values() for pin in pins]
        pinned: dict[str, list[str]] = {}
        for text in everything:
            requirement = Requirement(text)
            name = canonicalize_name(requirement.name)
            for pin in requirement.specifier:
                version = pin.version.removesuffix(".*")
                if pin.operator != "==" or name in ("torch", "cuda-toolkit", "sympy"):
                    continue
                if version not in pinned.setdefault(name, []):
                    pinned[name].append(version)
        return pinned


@cache
def catalog() -> Catalog:
    """Return the one catalogue of this process."""
    return Catalog()


def files(index: str, project: str | None = None) -> list[str]:
    """Return the file names that an index has of a project (default: the three torch projects)."""
    return catalog().files(index, project)
