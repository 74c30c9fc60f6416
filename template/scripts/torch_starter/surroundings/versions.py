"""Versions and names of packages, as they are compared."""

from __future__ import annotations

import re


def numbers(version: str) -> list[int]:
    """The numbers of a version: 580.65.06 -> [580, 65, 6]; 2.28 comes after 2.9."""
    return [int(part) for part in re.findall(r"\d+", version)]


def canonical(name: str) -> str:
    """A package's name in the one spelling that PEP 503 compares: NVIDIA_NCCL -> nvidia-nccl."""
    return re.sub(r"[-_.]+", "-", name).lower()
