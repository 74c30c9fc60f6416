"""What a build is: what was asked for, and the exact wheels that each platform gets."""

from __future__ import annotations

from dataclasses import dataclass, field

from .matrix.facts import PLATFORMS

ANSWERS_FILE = ".copier-answers.yml"  # Copier's own name for it


@dataclass(frozen=True)
class Asked:
    """The answers that a build depends on; `torch` is `latest` or a series such as `2.13`.

    `answers_file` is where the project has them, which commands name if it is not the usual one.
    """

    manager: str
    python: str
    compute_platform: str
    torch: str = "latest"
    packages: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()  # other compute platforms, which must have the same release
    answers_file: str = ANSWERS_FILE


@dataclass(frozen=True)
class Wheels:
    """What one platform gets: a row of torch_builds.json."""

    accelerator: str
    toolkit: str | None
    packages: dict[str, str]
    torch_version: str
    minimum_driver: str | None
    gpu_architectures: list[str]
    ptx: str | None
    glibc: str | None = None  # the oldest that Linux may have


@dataclass(frozen=True)
class Build:
    """One release for one compute platform and Python: the exact wheels for each platform."""

    asked: Asked
    name: str
    torch: str
    versions: dict[str, str]
    wheels: dict[str, Wheels]
    index_only: dict[str, list[str]]
    nvidia_pins: dict[str, str] = field(default_factory=dict)
    numpy: str = "numpy"
    python_excluded: tuple[str, ...] = ()
    windows_path: dict[str, int | bool] | None = None  # None: no wheels for Windows

    @property
    def main(self) -> Wheels:
        """What Linux x86_64 gets, or else Windows: every build has one of them."""
        return self.wheels.get(PLATFORMS["L"]) or self.wheels[PLATFORMS["W"]]

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platforms with wheels, as letters."""
        return tuple(letter for letter, name in PLATFORMS.items() if name in self.wheels)
