"""The wheels on a page of an index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class File:
    """One wheel of a final release, on one page."""

    package: str  # torch, torchvision, torchaudio, torchcodec
    version: str  # the public part: 2.14.1
    local: str | None  # cu130, cpu, cu117.with.pypi.cudnn; None: no suffix
    pythons: frozenset[str]  # the minors that it installs on
    platform: str  # linux-x86_64, linux-aarch64, windows-amd64, macos-arm64, any
    url: str
    sha256: str | None  # None: the page has no hash for it
    metadata_url: str | None  # of its METADATA, with its hash: ...whl.metadata#sha256=...
    uploaded: date | None
    size: int | None  # bytes


@dataclass(frozen=True)
class Page:
    """What an index has of a package."""

    index: str  # a folder of the PyTorch index (cpu, cu130, rocm7.2, xpu), or pypi
    package: str
    files: tuple[File, ...]
    left_out: Mapping[str, int]  # why -> how many: "nightly", "platform linux_s390x", ...
