"""What a valid `version_matrix.yml` is, and what its rows mean.

Every fact has a confidence and sources, every reference must exist, and nothing unknown is
accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _words(value: object) -> object:
    return tuple(value.split()) if isinstance(value, str) else value


def _minors(value: object) -> object:
    """Expand `3.10 - 3.14` to its minors; a single minor stands for itself."""
    if not isinstance(value, str):
        return value
    first, _, last = value.partition(" - ")
    if not all(re.fullmatch(r"3\.\d+", end) for end in (first, last or first)):
        raise ValueError(f"{value!r} is not one Python such as '3.12', or a range: 3.10 - 3.14")
    low, high = (int(end.removeprefix("3.")) for end in (first, last or first))
    return tuple(f"3.{minor}" for minor in range(low, high + 1))


def _version(value: object) -> object:
    if isinstance(value, str):
        try:
            Version(value)
        except InvalidVersion as error:
            raise ValueError(f"{value!r} is not a version") from error
    return value


def _specifiers(value: object) -> object:
    if isinstance(value, str):
        try:
            SpecifierSet(value)
        except InvalidSpecifier as error:
            raise ValueError(f"{value!r} is not a requirement such as '>=2.11.0'") from error
        if not value.strip():
            raise ValueError("it says nothing: write a requirement such as '>=2.11.0'")
    return value


Platforms = Annotated[
    tuple[Literal["L", "A", "W", "M"], ...], BeforeValidator(_words), Field(min_length=1)
]
Minors = Annotated[tuple[str, ...], BeforeValidator(_minors), Field(min_length=1)]
VersionStr = Annotated[str, BeforeValidator(_version)]
SpecifierStr = Annotated[str, BeforeValidator(_specifiers)]
CompanionName = Annotated[str, Field(pattern="^torch(vision|audio|codec)$")]
Capabilities = Annotated[tuple[str, ...], BeforeValidator(_words), Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class _Sourced(_Strict):
    confidence: Literal["verified", "one source", "inferred"]
    sources: Annotated[list[str], Field(min_length=1)]


class _Span(_Sourced):
    """A fact that holds for the releases `since` .. `until` (both included) on `platforms`."""

    platforms: Platforms
    since: VersionStr = "0"
    until: VersionStr = "9999"

    def holds(self, torch: str, platform: str) -> bool:
        in_span = Version(self.since) <= Version(torch) <= Version(self.until)
        return in_span and platform in self.platforms


class Unsuffixed(_Span):
    package: Literal["torch", "torchvision", "torchaudio", "torchcodec"]


class IndexOnly(_Span):
    package: str
    accelerator: str = Field(alias="for")


class Architectures(_Span):
    sm: Capabilities
    ptx: str | None = None


class Glibc(_Span):
    """The oldest glibc of Linux for which wheels are; `for`: of one compute platform alone."""

    needs: VersionStr
    compute_platform: str | None = Field(alias="for", default=None)


class Numpy1(_Sourced):
    torch: VersionStr
    platforms: Platforms


class WindowsPath(_Sourced):
    """The longest path of a file and of a folder in a Windows wheel, from site-packages on."""

    torch: VersionStr
    file: int
    folder: int | None = None  # not noted

    @property
    def letters(self) -> int:
        """What must fit behind site-packages: Windows grants a folder 12 letters less."""
        return 1 + max(self.file, (self.folder or 0) + 12)


class Driver(_Sourced):
    linux: VersionStr
    windows: VersionStr


class Toolkit(_Sourced):
    linux: VersionStr | None = None
    windows: VersionStr | None = None
    poetry_pins: dict[str, VersionStr] | None = None


class Toolkits(_Strict):
    required_since: VersionStr
    versions: dict[VersionStr, Toolkit]


class Generations(_Sourced):
    names: dict[str, str]


class ComputePlatform(_Strict):
    name: str
    accelerator: Literal["cpu", "cuda", "rocm", "xpu"]
    blocked: str | None = None
    instead: str | None = None
    sources: list[str] = []


class OnIndex(_Strict):
    platforms: Platforms
    toolkit: VersionStr | None = None


class MorePython(_Strict):
    """Minors that only some platforms have; `not_for`: compute platforms and accelerators."""

    python: Minors
    platforms: Platforms
    not_for: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()


class PyPIBuilds(_Strict):
    """Which compute platform PyPI's own wheel is built for, by platform."""

    L: str | None = None
    A: str | None = None
    W: str | None = None
    M: str | None = None
    toolkit: VersionStr | None = None

    def on(self) -> dict[str, str]:
        """The platforms (letters) that PyPI has wheels for, with what they are built for."""
        return {p: build for p in "LAWM" if (build := getattr(self, p))}


class Release(_Sourced):
    released: date | None
    python: Minors
    more_python: list[MorePython] = []
    index: dict[str, OnIndex]
    pypi: PyPIBuilds
    inferred: dict[str, Platforms] = {}
    one_source: dict[str, Platforms] = {}
    not_offered: list[str] = []


class Companion(_Sourced):
    """A release of a companion: with which releases of torch it works, and where its wheels are.

    What is left out is as torch has it: the Pythons but for `more_python`, the index, and PyPI.
    `any_minor`: whether one for CUDA 13.0 goes with a torch for 13.2 as well.
    """

    torch: SpecifierStr
    python: Minors | None = None
    more_python: list[MorePython] = []
    python_excluded: list[VersionStr] = []
    index: dict[str, Platforms] | None = None
    pypi: PyPIBuilds | None = None
    any_minor: bool = False
    one_source: dict[str, Platforms] = {}

    @model_validator(mode="before")
    @classmethod
    def _says_something(cls, row: Any) -> Any:  # noqa: ANN401
        for key in row if isinstance(row, dict) else ():
            if row[key] is None:
                raise ValueError(f"nothing stands behind {key}: leave it out, or write {{}}")
        return row

    @model_validator(mode="after")
    def _fits_together(self) -> Companion:
        if any(row.not_for for row in self.more_python):
            raise ValueError("more_python of a companion knows no not_for: say it with index")
        for name, platforms in self.one_source.items():
            if not {*platforms} <= {*(self.index or {}).get(name, ())}:
                raise ValueError(f"one_source names {name}, which index does not have there")
        return self

    def pythons(self, release: Release, platform: str) -> set[str]:
        """The minors that it has wheels for on a platform (a letter), beside a release of torch."""
        more = [row for row in self.more_python if platform in row.platforms]
        return {*(self.python or release.python), *(minor for row in more for minor in row.python)}


class Python(_Sourced):
    """Until when a minor gets security fixes."""

    ends: date


STARTERS = ("training", "package")


class Choices(_Strict):
    offered: Annotated[list[str], Field(min_length=1)]
    default: str
    retired: dict[str, str]

    def listed(self, current: str | None) -> list[str]:
        """What a menu shows: the offered values that are not retired, and the current one."""
        shown = [value for value in self.offered if value not in self.retired or value == current]
        return [*shown, current] if current in self.retired and current not in shown else shown


class Policy(_Strict):
    compute_platforms: Choices
    python: Choices
    also_on_machines: list[str] = ["cpu"]
    starter: Choices = Choices(offered=[*STARTERS], default=STARTERS[0], retired={})
    # Days for which a release is not locked; none of PyTorch's, which the template chooses.
    cool_down: Annotated[int, Field(ge=0, le=365)] = 0

    @property
    def on_machines(self) -> list[str]:
        """The platforms that one machine may have instead of its project's."""
        return list(dict.fromkeys([*self.compute_platforms.listed(None), *self.also_on_machines]))


class Matrix(_Strict):
    """The whole of version_matrix.yml. Every cross-reference is checked when it loads."""

    reviewed: date
    policy: Policy
    sources: dict[str, str]
    drivers: dict[str, Driver]
    compute_platforms: dict[str, ComputePlatform]
    unsuffixed: list[Unsuffixed]
    index_only: list[IndexOnly]
    numpy_1: list[Numpy1]
    windows_paths: Annotated[list[WindowsPath], Field(min_length=1)]
    glibc: list[Glibc]
    cuda_toolkits: Toolkits
    gpu_generations: Generations
    gpu_architectures: dict[str, list[Architectures]]
    pythons: dict[str, Python]
    releases: dict[VersionStr, Release]
    companions: dict[CompanionName, dict[VersionStr, Companion]]

    @model_validator(mode="after")
    def _references_exist(self) -> Matrix:
        for name, release in self.releases.items():
            builds = [*release.index, *release.pypi.on().values()]
            _known(builds, self.compute_platforms, f"release {name}: compute platform")
            toolkits = [row.toolkit for row in release.index.values() if row.toolkit]
            _known(toolkits, self.cuda_toolkits.versions, f"release {name}: CUDA toolkit")
        for companion, rows in self.companions.items():
            for version, one in rows.items():
                builds = [*(one.index or ()), *(one.pypi.on().values() if one.pypi else ())]
                what = f"{companion} {version}: compute platform"
                _known(builds, {*self.compute_platforms} - {"pypi"}, what)
                if not any(torch in SpecifierSet(one.torch) for torch in self.releases):
                    raise ValueError(f"{companion} {version}: no release is torch{one.torch}")
        for what, row in self._sourced():
            _known(row.sources, self.sources, f"{what}: source")
        for name, known in self.compute_platforms.items():
            # Without a driver it would be promised to machines that cannot run it.
            if known.accelerator == "cuda" and not known.blocked:
                _known([cuda_major(name)], self.drivers, f"{name}: driver for CUDA")
            if known.instead:
                _known([known.instead], self.compute_platforms, f"{name}: instead")
        _known(self.gpu_architectures, self.compute_platforms, "gpu_architectures: platform")
        only = [row.compute_platform for row in self.glibc if row.compute_platform]
        _known(only, self.compute_platforms, "glibc: platform")
        return self

    @model_validator(mode="after")
    def _policy_can_be_kept(self) -> Matrix:
        menu, python = self.policy.compute_platforms, self.policy.python
        named = [*menu.offered, *menu.retired, *self.policy.also_on_machines]
        _known(named, self.compute_platforms, "policy: compute platform")
        for minor in (*python.offered, *python.retired):
            if not re.fullmatch(r"3\.\d+", minor):
                raise ValueError(f"policy: Python {minor!r} is not one such as '3.12'")
        starter = self.policy.starter
        _known([*starter.offered, *starter.retired], STARTERS, "policy: starter")
        # Projects that are older than the question have the one, and some have the other.
        _known(STARTERS, [*starter.offered, *starter.retired], "policy: starter")
        for choices in (menu, python, starter):
            offered = [value for value in choices.offered if value not in choices.retired]
            for name, successor in choices.retired.items():
                if successor in choices.retired:
                    raise ValueError(
                        f"policy: {name} leads to {successor}, which is retired itself"
                    )
            _known([choices.default, *choices.retired.values()], offered, "policy: choice")
        return self

    def _sourced(self) -> Iterator[tuple[str, _Sourced]]:
        """Every row that names sources, with what to call it."""
        yield "gpu_generations", self.gpu_generations
        named: dict[str, Mapping[str, _Sourced]] = {
            "release": self.releases,
            "driver": self.drivers,
            "CUDA toolkit": self.cuda_toolkits.versions,
            "Python": self.pythons,
            **self.companions,
        }
        for what, rows in named.items():
            yield from ((f"{what} {name}", row) for name, row in rows.items())
        for name, spans in self.gpu_architectures.items():
            yield from ((f"gpu_architectures {name}", span) for span in spans)
        listed: dict[str, Sequence[_Sourced]] = {
            "unsuffixed": self.unsuffixed,
            "index_only": self.index_only,
            "numpy_1": self.numpy_1,
            "windows_paths": self.windows_paths,
            "glibc": self.glibc,
        }
        for what, entries in listed.items():
            yield from ((what, entry) for entry in entries)

    @cached_property
    def newest_first(self) -> list[str]:
        """All releases, by version."""
        return _newest_first(self.releases)

    @cached_property
    def partners(self) -> dict[str, dict[str, list[str]]]:
        """By release of torch, the releases of each companion that work with it, newest first."""
        newest = {
            name: [(version, SpecifierSet(rows[version].torch)) for version in _newest_first(rows)]
            for name, rows in self.companions.items()
        }
        return {
            torch: {
                name: [version for version, wanted in rows if torch in wanted]
                for name, rows in newest.items()
            }
            for torch in self.releases
        }

    def has_ended(self, python: str) -> bool:
        """Whether a minor got no security fixes any more when the facts were last reviewed."""
        row = self.pythons.get(python)
        return row is not None and row.ends < self.reviewed


def cuda_major(compute_platform: str) -> str:
    """The major version of CUDA, of which each has two digits: `cu130` -> `13`."""
    return compute_platform[2:4]


def _newest_first(versions: Iterable[str]) -> list[str]:
    return sorted(versions, key=Version, reverse=True)


def _known(values: Iterable[str], known: Iterable[str], what: str) -> None:
    known = set(known)
    for value in values:
        if value not in known:
            raise ValueError(f"{what} {value!r} is not defined")
