"""Stub distributions, made in memory: valid for pip, uv and Poetry, and very small."""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib
import io
import re
import tarfile
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import BinaryIO, Protocol

from packaging.requirements import Requirement
from packaging.tags import Tag, sys_tags
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from install.catalog import PYPI, TORCH_PROJECTS, Wheel, catalog, torch_metadata

EPOCH = (2026, 1, 1, 0, 0, 0)
# The projects that carry stub_backend.py, and the module of theirs that a pyproject.toml names.
BACKENDS = {"hatchling": "hatchling/build.py", "poetry-core": "poetry/core/masonry/api.py"}
# The build backend of the stub sdist: it needs nothing, so that building it needs no index.
SDIST_BACKEND = """\
import os, zipfile
NAME, VERSION = {name!r}, {version!r}

def build_wheel(directory, config_settings=None, metadata_directory=None):
    info = f"{{NAME}}-{{VERSION}}.dist-info"
    file = f"{{NAME}}-{{VERSION}}-py3-none-any.whl"
    wheel = "Wheel-Version: 1.0\\nGenerator: stub\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    with zipfile.ZipFile(os.path.join(directory, file), "w") as archive:
        archive.writestr(f"{{NAME}}/__init__.py", "")
        archive.writestr(f"{{info}}/METADATA", open("METADATA").read())
        archive.writestr(f"{{info}}/WHEEL", wheel)
        archive.writestr(f"{{info}}/RECORD", "")
    return file
"""


class Distribution(Protocol):
    """A file that the index can serve."""

    @property
    def filename(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def metadata(self) -> bytes: ...
    @property
    def requires_python(self) -> str | None: ...
    @property
    def uploaded(self) -> str: ...
    @property
    def size(self) -> int: ...
    def open(self) -> BinaryIO: ...


class Stub:
    """A stub wheel (or sdist) of the catalogue, built when somebody reads it."""

    def __init__(self, wheel: Wheel) -> None:
        self.wheel = wheel
        self.filename = wheel.filename
        self.requires_python = wheel.requires_python
        self.uploaded = wheel.uploaded
        self._bytes: bytes | None = None
        self._sha256 = ""

    @property
    def metadata(self) -> bytes:
        """Return the METADATA file."""
        return metadata_text(self.wheel).encode()

    @property
    def sha256(self) -> str:
        """Return the hash of the file."""
        self.content()
        return self._sha256

    @property
    def size(self) -> int:
        """Return the size of the file."""
        return len(self.content())

    def open(self) -> BinaryIO:
        """Open the file."""
        return io.BytesIO(self.content())

    def content(self) -> bytes:
        """Return the file, made once."""
        if self._bytes is None:
            sdist = self.filename.endswith(".tar.gz")
            content = build_sdist(self.wheel) if sdist else build_wheel(self.wheel)
            self._sha256 = hashlib.sha256(content).hexdigest()
            self._bytes = content
        return self._bytes


class RealWheel:
    """A wheel file on disk, served in place of a stub of the same name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.filename = path.name
        self.uploaded = "2026-07-08"
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            self.metadata = archive.read(name)
        found = re.search(rb"^Requires-Python: (.+)$", self.metadata, re.MULTILINE)
        self.requires_python = found[1].decode().strip() if found else None

    @property
    def sha256(self) -> str:
        """Return the hash of the file, read once."""
        return _sha256_of(self.path)

    @property
    def size(self) -> int:
        """Return the size of the file."""
        return self.path.stat().st_size

    def open(self) -> BinaryIO:
        """Open the file."""
        return self.path.open("rb")


@cache
def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def metadata_text(wheel: Wheel) -> str:
    """Return the METADATA of a stub."""
    lines = [
        "Metadata-Version: 2.2",
        f"Name: {wheel.project}",
        f"Version: {wheel.version}",
        f"Summary: Stub of {wheel.project} {wheel.version}",
    ]
    if wheel.requires_python:
        lines.append(f"Requires-Python: {wheel.requires_python}")
    extras = []
    for text in wheel.requires:
        marker = str(Requirement(text).marker or "")
        extras += re.findall(r'extra == "([^"]+)"', marker)
    lines += [f"Provides-Extra: {extra}" for extra in dict.fromkeys(extras)]
    lines += [f"Requires-Dist: {text}" for text in wheel.requires]
    return "\n".join(lines) + "\n"


def build_wheel(wheel: Wheel) -> bytes:
    """Return a valid wheel whose one module says which build it is."""
    stem = "-".join(wheel.filename.split("-")[:2])
    _, _, python, abi, platform = wheel.filename.removesuffix(".whl").rsplit("-", 4)
    tags = [f"Tag: {py}-{abi}-{part}\n" for py in python.split(".") for part in platform.split(".")]
    members = {
        **_module(wheel),
        f"{stem}.dist-info/METADATA": metadata_text(wheel),
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: stub\nRoot-Is-Purelib: false\n"
        + "".join(tags),
    }
    record = [f"{name},{_record_hash(text)}" for name, text in members.items()]
    record.append(f"{stem}.dist-info/RECORD,,")
    members[f"{stem}.dist-info/RECORD"] = "\n".join(record) + "\n"
    return _zip(members)


def _module(wheel: Wheel) -> dict[str, str]:
    module = wheel.project.replace("-", "_")
    if wheel.project in BACKENDS:
        backend = Path(__file__).with_name("stub_backend.py").read_text(encoding="utf-8")
        return {BACKENDS[wheel.project]: backend}
    if wheel.project == "tomli":
        return _vendored_tomli()
    if wheel.project in TORCH_PROJECTS[1:]:
        version = f"__version__ = {version_inside(wheel)!r}\ngit_version = {'0' * 40!r}\n"
        init = f'__version__ = "{wheel.version}"\n'
        return {f"{module}/__init__.py": init, f"{module}/version.py": version}
    if wheel.project != "torch":
        return {f"{module}/__init__.py": f'__version__ = "{wheel.version}"\n'}
    return {
        "torch/__init__.py": "from torch.version import __version__ as __version__\n",
        "torch/version.py": torch_version_module(wheel),
    }


def _vendored_tomli() -> dict[str, str]:
    """Return pip's copy of tomli, which the stub backend needs on Python 3.10."""
    folder = Path(importlib.import_module("pip._vendor.tomli").__path__[0])
    return {f"tomli/{path.name}": path.read_text(encoding="utf-8") for path in folder.glob("*.py")}


def version_inside(wheel: Wheel) -> str:
    """Return `__version__`, which has the build even if the wheel's name does not."""
    known = f"+{wheel.build}" if wheel.index == PYPI and wheel.build else ""
    return f"{wheel.version}{known}"


def torch_version_module(wheel: Wheel) -> str:
    """Return torch/version.py."""
    build = wheel.build or ""
    cuda = f"{build[2:-1]}.{build[-1]}" if build.startswith("cu") else None
    hip = torch_metadata()["hip"].get(build, f"{build[4:]}.0") if build.startswith("rocm") else None
    values = {
        "__version__": version_inside(wheel),
        "debug": False,
        "cuda": cuda,
        "git_version": "0" * 40,
    }
    values |= {"hip": hip, "xpu": "20260101" if build == "xpu" else None}
    return "".join(f"{name} = {value!r}\n" for name, value in values.items())


def _record_hash(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
    return f"sha256={digest.decode()},{len(text.encode())}"


def _zip(members: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, text)
    return buffer.getvalue()


def build_sdist(wheel: Wheel) -> bytes:
    """Return an sdist whose requirements are dynamic: only building it tells them."""
    root = f"{wheel.project}-{wheel.version}"
    pkg_info = f"Metadata-Version: 2.2\nName: {wheel.project}\nVersion: {wheel.version}\n"
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    members = {
        "PKG-INFO": pkg_info + "Dynamic: Requires-Dist\nDynamic: Provides-Extra\n",
        "METADATA": metadata_text(wheel),
        "pyproject.toml": project,
        "backend.py": SDIST_BACKEND.format(name=wheel.project, version=wheel.version)
        + "\ndef build_sdist(directory, config_settings=None):\n    raise NotImplementedError\n",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(f"{root}/{name}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return gzip.compress(buffer.getvalue(), mtime=0)


@cache
def stubs(index: str, project: str) -> tuple[Stub, ...]:
    """Return the stub files of a project on an index, in the order of its page."""
    return tuple(Stub(wheel) for wheel in catalog().wheels(index, project))


@cache
def tags_of_this_machine() -> frozenset[Tag]:
    """All wheel tags that the running Python takes."""
    return frozenset(sys_tags())


def fits_here(filename: str, versions: set[Version]) -> bool:
    """Whether a file is a wheel of one of these versions that a tool might take on this machine."""
    if not filename.endswith(".whl"):
        return False
    _, version, _, tags = parse_wheel_filename(filename)
    return version in versions and not tags.isdisjoint(tags_of_this_machine())
