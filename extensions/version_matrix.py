"""Queries of the version matrix: which build fits a set of answers, and if none, why and what does.

Pure functions of the matrix (see matrix_model.py), registered as Jinja globals in the one class at
the end. No network, no subprocess.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import yaml
from copier.errors import UserMessageError
from jinja2 import Environment, pass_context
from jinja2.ext import Extension
from jinja2.runtime import Context
from packaging.version import Version

if TYPE_CHECKING:
    from matrix_model import Matrix, Release

PLATFORMS = {
    "L": "linux-x86_64",
    "A": "linux-aarch64",
    "W": "windows-amd64",
    "M": "macos-arm64",
}
COMPANIONS = ("torchvision", "torchaudio")
PYPI = "pypi"


@dataclass(frozen=True)
class Unfit:
    """Why a combination cannot work, and the nearest ones that do."""

    reason: str
    ways_out: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.reason}: choose {', or '.join(self.ways_out)}"


@dataclass(frozen=True)
class Choice:
    """One line of a menu; `why_not` shows it disabled, with the reason and the way out."""

    label: str
    value: str
    why_not: str = ""


@dataclass(frozen=True)
class Asked:
    """The answers that a build depends on; `torch` is `latest` or a series such as `2.13`."""

    manager: str
    python: str
    compute_platform: str
    torch: str = "latest"
    packages: tuple[str, ...] = ()


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


_key = lru_cache(maxsize=None)(Version)


def series(torch: str) -> str:
    """`2.14.1` -> `2.14`."""
    return torch.rpartition(".")[0]


def python_key(minor: str) -> int:
    """Sort key of a Python minor: `3.9` comes before `3.10`."""
    return int(minor.removeprefix("3."))


def pythons(release: Release, compute_platform: str, accelerator: str, platform: str) -> set[str]:
    """The Python minors that a build of torch has wheels for, on one platform (a letter)."""
    more = {
        minor
        for row in release.more_python
        for minor in row.python
        if platform in row.platforms and row.not_for not in (compute_platform, accelerator)
    }
    return {*release.python, *more}


def wheel_platforms(matrix: Matrix, torch: str, compute_platform: str, python: str) -> list[str]:
    """The platforms (letters) that have torch wheels. macOS counts through PyPI's own wheel."""
    release = matrix.releases[torch]
    row = release.index.get(compute_platform)
    on = tuple(release.pypi.on()) if compute_platform == PYPI else row.platforms if row else ()
    accelerator = matrix.compute_platforms[compute_platform].accelerator
    found = [
        p for p in on if p != "M" and python in pythons(release, compute_platform, accelerator, p)
    ]
    if found and release.pypi.M and python in pythons(release, PYPI, "cpu", "M"):
        found.append("M")
    return found


def is_usable(matrix: Matrix, torch: str, compute_platform: str, python: str) -> bool:
    """Whether a release has wheels on Linux x86_64 or Windows, without which it is no build."""
    return bool({"L", "W"} & set(wheel_platforms(matrix, torch, compute_platform, python)))


def has_partner(matrix: Matrix, torch: str, companion: str, python: str) -> bool:
    """Whether torchvision or torchaudio has wheels for this release and Python."""
    release = matrix.releases[torch]
    more = {m for row in release.more_python if row.companions for m in row.python}
    return getattr(release, companion) != "none" and python in {*release.python, *more}


def is_unsuffixed(matrix: Matrix, package: str, torch: str, platform: str) -> bool:
    """Whether the PyTorch index has this wheel without `+<compute platform>`."""
    rows = (row for row in matrix.unsuffixed if row.package == package)
    return platform == "M" or any(row.holds(torch, platform) for row in rows)


def releases_of(matrix: Matrix, compute_platform: str, torch: str = "latest") -> list[str]:
    """The releases that have this compute platform, newest first; of one series, or all."""
    return [
        name
        for name in matrix.newest_first
        if torch in ("latest", series(name))
        and (
            compute_platform in matrix.releases[name].index
            or (compute_platform == PYPI and matrix.releases[name].pypi.on())
        )
    ]


def has_ended(matrix: Matrix, compute_platform: str) -> bool:
    """Whether PyTorch makes no new releases for a compute platform."""
    newest = next((n for n in matrix.newest_first if matrix.releases[n].index), None)
    if newest is None or compute_platform == PYPI:
        return False
    return compute_platform not in matrix.releases[newest].index


def toolkit_of(matrix: Matrix, torch: str, compute_platform: str) -> str | None:
    """The CUDA toolkit that a build is made with, e.g. `13.0.3`; None if not established."""
    release = matrix.releases[torch]
    if row := release.index.get(compute_platform):
        return row.toolkit
    linux = release.pypi.L or ""
    in_index = release.index.get(linux)
    return release.pypi.toolkit or (in_index.toolkit if in_index else None)


def nvidia_pins(matrix: Matrix, torch: str, compute_platform: str) -> dict[str, str] | None:
    """The exact pins Poetry needs for a CUDA build; None where they are not established."""
    linux = matrix.releases[torch].pypi.L if compute_platform == PYPI else compute_platform
    if linux is None or matrix.compute_platforms[linux].accelerator != "cuda":
        return {}
    if _key(torch) < _key(matrix.cuda_toolkits.required_since):
        return {}
    toolkit = toolkit_of(matrix, torch, compute_platform)
    return matrix.cuda_toolkits.versions[toolkit].poetry_pins if toolkit else None


def resolve(matrix: Matrix, asked: Asked) -> Build | Unfit:
    """The newest build that fits, or why there is none.

    A build fits if it has wheels for the Python on Linux x86_64 or Windows. A companion without a
    partner is left out: it never holds torch back.
    """
    name = asked.compute_platform
    if name not in matrix.compute_platforms:
        return Unfit(f"{name} is not a compute platform that this template knows", _offered(matrix))
    known = matrix.compute_platforms[name]
    if known.blocked:
        return Unfit(f"{name} cannot be locked: {known.blocked}", (known.instead or "cpu",))
    releases = releases_of(matrix, name, asked.torch)
    for torch in releases:
        if is_usable(matrix, torch, name, asked.python):
            if asked.manager == "poetry" and nvidia_pins(matrix, torch, name) is None:
                return Unfit(
                    f"Poetry would lock two versions of some nvidia packages for torch {torch} on"
                    f" {name}, and the pins against it are not established",
                    ("uv", "pip"),
                )
            return _build(matrix, asked, torch)
    return _unfit(matrix, asked, releases)


def _build(matrix: Matrix, asked: Asked, torch: str) -> Build:
    release = matrix.releases[torch]
    name = asked.compute_platform
    accelerator = matrix.compute_platforms[name].accelerator
    versions = {"torch": torch} | {
        companion: getattr(release, companion)
        for companion in COMPANIONS
        if companion in asked.packages and has_partner(matrix, torch, companion, asked.python)
    }
    platforms = [
        platform
        for platform in wheel_platforms(matrix, torch, name, asked.python)
        if not _ambiguous(matrix, asked, torch, platform, versions)
    ]
    numpy_1 = any(row.torch == torch and {*row.platforms} & {*platforms} for row in matrix.numpy_1)
    pins = nvidia_pins(matrix, torch, name) if asked.manager == "poetry" else {}
    return Build(
        asked=asked,
        name=matrix.compute_platforms[name].name,
        torch=torch,
        versions=versions,
        wheels={PLATFORMS[p]: _wheels(matrix, torch, name, p, versions) for p in platforms},
        index_only={
            row.package: [PLATFORMS[p] for p in row.platforms]
            for row in matrix.index_only
            if row.accelerator == accelerator and row.holds(torch, row.platforms[0])
        },
        nvidia_pins=pins or {},
        numpy="numpy<2" if numpy_1 else "numpy",
        python_excluded=tuple(
            version
            for version in release.python_excluded
            if series(version) == asked.python and "torchvision" in versions
        ),
        windows_path=_windows_path(matrix, torch) if "W" in platforms else None,
    )


def _windows_path(matrix: Matrix, torch: str) -> dict[str, int | bool]:
    """The letters that torch's files need behind site-packages, the most known if not measured."""
    letters = {row.torch: row.letters for row in matrix.windows_paths}
    return {
        "letters": letters.get(torch, max(letters.values())),
        "measured": torch in letters,
    }


def _ambiguous(
    matrix: Matrix, asked: Asked, torch: str, platform: str, versions: Mapping[str, str]
) -> bool:
    """Whether only uv's explicit index keeps a platform's wheels apart from PyPI's of equal name.

    An unsuffixed aarch64 wheel of a CUDA index has the file name of PyPI's CPU wheel, which pip
    would be free to take; Poetry would lock the suffixed version, which has no such wheel.
    """
    if asked.manager == "uv" or platform != "A" or asked.compute_platform == PYPI:
        return False
    unsuffixed = any(is_unsuffixed(matrix, package, torch, platform) for package in versions)
    return unsuffixed and (asked.manager == "poetry" or asked.compute_platform != "cpu")


def _wheels(
    matrix: Matrix, torch: str, compute_platform: str, platform: str, versions: Mapping[str, str]
) -> Wheels:
    build = compute_platform
    if compute_platform == PYPI or platform == "M":
        build = matrix.releases[torch].pypi.on()[platform]
    from_index = compute_platform != PYPI and platform != "M"
    runtime = "" if is_unsuffixed(matrix, "torch", torch, platform) else f"+{build}"
    packages = {
        package: version
        if not from_index or is_unsuffixed(matrix, package, torch, platform)
        else f"{version}+{build}"
        for package, version in versions.items()
    }
    known = matrix.compute_platforms[build]
    rows = matrix.gpu_architectures.get(build, [])
    architectures = next((row for row in rows if row.holds(torch, platform)), None)
    driver = (
        matrix.drivers[toolkit_name(build).partition(".")[0]]
        if known.accelerator == "cuda"
        else None
    )
    return Wheels(
        accelerator="mps" if platform == "M" else known.accelerator,
        toolkit=toolkit_name(build) if known.accelerator in ("cuda", "rocm") else None,
        packages=packages,
        torch_version=torch + runtime,
        minimum_driver=(driver.windows if platform == "W" else driver.linux) if driver else None,
        gpu_architectures=list(architectures.sm) if architectures else [],
        ptx=architectures.ptx if architectures else None,
    )


def toolkit_name(compute_platform: str) -> str:
    """`cu130` -> `13.0`, `rocm7.2` -> `7.2`: what torch.version.cuda or .hip begins with."""
    if compute_platform.startswith("cu"):
        return f"{compute_platform[2:-1]}.{compute_platform[-1]}"
    return compute_platform.removeprefix("rocm")


def same_release(matrix: Matrix, build: Build) -> list[Build]:
    """The other compute platforms' builds of the same release: what one machine can have instead.

    With the wheels that pip can take, since that is how they are installed there.
    """
    asked = replace(build.asked, manager="pip")
    return [
        _build(matrix, replace(asked, compute_platform=name), build.torch)
        for name in _offered(matrix)
        if name != asked.compute_platform
        and not matrix.compute_platforms[name].blocked
        and build.torch in releases_of(matrix, name)
        and is_usable(matrix, build.torch, name, asked.python)
    ]


# --- Reasons and ways out ---------------------------------------------------------------------


def _offered(matrix: Matrix) -> tuple[str, ...]:
    return tuple(matrix.policy.compute_platforms.listed(None))


def _fits(matrix: Matrix, asked: Asked) -> bool:
    return isinstance(resolve(matrix, asked), Build)


def _has_wheels(matrix: Matrix, python: str, compute_platform: str, torch: str = "latest") -> bool:
    return any(
        is_usable(matrix, name, compute_platform, python)
        for name in releases_of(matrix, compute_platform, torch)
    )


def _unfit(matrix: Matrix, asked: Asked, releases: list[str]) -> Unfit:
    name, python = asked.compute_platform, asked.python
    if not releases:
        ways = (_other_series(matrix, asked), _other_compute_platform(matrix, asked))
        reason = f"torch {asked.torch} has no {name} build"
    elif asked.torch == "latest":
        ended = f"{name} ends at torch {releases[0]}, which"
        what = ended if has_ended(matrix, name) else f"torch {releases[0]} on {name}"
        reason = f"{what} has no Python {python} wheels"
        ways = (_other_python(matrix, asked), _other_compute_platform(matrix, asked))
    else:
        reason = f"torch {releases[0]} on {name} has no Python {python} wheels"
        ways = (_other_series(matrix, asked), _other_python(matrix, asked))
    return Unfit(reason, tuple(way for way in ways if way) or ("cpu",))


def _other_python(matrix: Matrix, asked: Asked) -> str | None:
    offered = matrix.policy.python.listed(None)
    fits = [p for p in offered if _has_wheels(matrix, p, asked.compute_platform, asked.torch)]
    if not fits:
        return None
    older = max(fits, key=python_key)
    if python_key(older) < python_key(asked.python):
        return f"Python {older} or older"
    return f"Python {min(fits, key=python_key)} or newer"


def _other_compute_platform(matrix: Matrix, asked: Asked) -> str | None:
    """The nearest one of the same kind of accelerator, newer before older; else cpu."""
    names = list(matrix.compute_platforms)
    at = names.index(asked.compute_platform)
    accelerator = matrix.compute_platforms[asked.compute_platform].accelerator
    near = [n for n in [*reversed(names[:at]), *names[at + 1 :]] if n in _offered(matrix)]
    same = [n for n in near if n != PYPI and matrix.compute_platforms[n].accelerator == accelerator]
    for name in [*same, "cpu"]:
        usable = not matrix.compute_platforms[name].blocked and name != asked.compute_platform
        if usable and _has_wheels(matrix, asked.python, name, asked.torch):
            return name
    return None


def all_series(matrix: Matrix) -> list[str]:
    """Every series of torch, newest first."""
    return list(dict.fromkeys(series(name) for name in matrix.newest_first))


def _other_series(matrix: Matrix, asked: Asked) -> str | None:
    """The nearest series with this compute platform and Python, newer before older."""
    names, name = all_series(matrix), asked.compute_platform
    fitting = {
        series(torch)
        for torch in releases_of(matrix, name)
        if is_usable(matrix, torch, name, asked.python)
    }
    at = names.index(asked.torch) if asked.torch in names else 0
    near = [*reversed(names[:at]), *names[at + 1 :]]
    return next((f"torch {other}" for other in near if other in fitting), None)


def why_no_companion(matrix: Matrix, asked: Asked, companion: str) -> Unfit | None:
    """Why torchvision or torchaudio cannot be had beside the build; None if it can."""
    build = resolve(matrix, asked)
    if isinstance(build, Unfit) or has_partner(matrix, build.torch, companion, asked.python):
        return None
    without = f"leave {companion} out"
    release = matrix.releases[build.torch]
    if (version := getattr(release, companion)) != "none":
        older = f"Python {max(release.python, key=python_key)} or older"
        return Unfit(f"{companion} {version} has no Python {asked.python} wheels", (older, without))
    partners = [n for n in matrix.newest_first if getattr(matrix.releases[n], companion) != "none"]
    last = series(partners[0])
    can_stay = _has_wheels(matrix, asked.python, asked.compute_platform, last)
    stay = (f"torch {last}",) if can_stay else ()
    return Unfit(f"{companion} ends with torch {last}", (*stay, without))


# --- Choices: what the menus of copier.yml show -----------------------------------------------


def generations(matrix: Matrix, wheels: Wheels) -> str | None:
    """`Turing to Blackwell`: the GPU generations that a platform's binaries are built for."""
    names = matrix.gpu_generations.names
    found = [names[capability] for capability in wheels.gpu_architectures if capability in names]
    if not found:
        return None
    return found[0] if found[0] == found[-1] else f"{found[0]} to {found[-1]}"


def label(matrix: Matrix, build: Build, mark: str = "") -> str:
    """What a person needs to choose a compute platform, in one line.

    Terminals cut it off where they end, so a mark is behind the name.
    """
    main = build.main
    if build.asked.compute_platform == PYPI:
        linux = f"CUDA {main.toolkit}" if main.accelerator == "cuda" else "CPU"
        facts = [f"no other index: {linux} on Linux, CPU on Windows, Metal on macOS"]
    elif main.accelerator == "cuda":
        facts = [f"driver {(main.minimum_driver or '').partition('.')[0]}+"]
        facts += [names] if (names := generations(matrix, main)) else []
    else:
        kinds = {"cpu": "any machine, no GPU", "rocm": "AMD GPUs", "xpu": "Intel GPUs"}
        facts = [kinds[main.accelerator]]
    facts.append(f"torch {build.torch}")
    if not {"L", "W"} <= {*build.platforms}:
        facts.append("Linux only" if "L" in build.platforms else "Windows only")
    name = f"{build.name} {mark}".rstrip()
    return f"{name} - {', '.join(facts)}"


def python_choices(matrix: Matrix, current: str | None = None) -> list[Choice]:
    """The Python minors to choose from."""
    return [Choice(f"Python {minor}", minor) for minor in matrix.policy.python.listed(current)]


def compute_platform_choices(
    matrix: Matrix,
    asked: Asked,
    current: str | None = None,
    mark: Callable[[Build], str] = lambda _: "",
) -> list[Choice]:
    """Every compute platform on offer; what does not fit carries the reason and the way out.

    `mark`: what to put behind the name of a build.
    """
    choices = []
    for name in matrix.policy.compute_platforms.listed(current):
        found = resolve(matrix, replace(asked, compute_platform=name, torch="latest"))
        if isinstance(found, Unfit):
            choices.append(Choice(matrix.compute_platforms[name].name, name, str(found)))
        else:
            choices.append(Choice(label(matrix, found, mark(found)), name))
    return choices


def torch_version_choices(matrix: Matrix, asked: Asked) -> list[Choice]:
    """`latest`, then every series."""
    newest = resolve(matrix, replace(asked, torch="latest"))
    if isinstance(newest, Unfit):
        choices = [Choice("latest", "latest", str(newest))]
    elif has_ended(matrix, asked.compute_platform):
        last = f"latest - torch {newest.torch}, the last one for {asked.compute_platform}"
        choices = [Choice(last, "latest")]
    else:
        now = f"latest - torch {newest.torch} now, and newer with each update"
        choices = [Choice(now, "latest")]
    for name in all_series(matrix):
        found = resolve(matrix, replace(asked, torch=name))
        if isinstance(found, Unfit):
            choices.append(Choice(name, name, str(found)))
        else:
            choices.append(Choice(f"{name} - torch {found.torch}, and its patches only", name))
    return choices


def torch_package_choices(matrix: Matrix, asked: Asked) -> list[Choice]:
    """torchvision and torchaudio; without a partner, the reason and the way out."""
    build = resolve(matrix, replace(asked, packages=COMPANIONS))
    versions = build.versions if isinstance(build, Build) else {}
    return [
        Choice(f"{name} {versions[name]}", name)
        if name in versions
        else Choice(name, name, str(why_no_companion(matrix, asked, name) or ""))
        for name in COMPANIONS
    ]


def why_not(choices: list[Choice], value: object) -> str | None:
    """The sentence that refuses a value given for a question; None if the value is a choice."""
    for choice in choices:
        if choice.value == value:
            return choice.why_not or None
    values = ", ".join(choice.value for choice in choices if not choice.why_not)
    return f"{value!r} is not on offer: choose {values or 'nothing'}"


# --- The one registration ---------------------------------------------------------------------


class VersionMatrixExtension(Extension):
    """Registers the queries as Jinja globals that read the answers given so far."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._matrix = cast("Matrix", environment.globals["version_matrix"])
        environment.globals.update(
            matrix_choices=self.choices,
            matrix_default=self.default,
            matrix_why_not=self.why_not,
            torch_build=self.build,
            torch_alternatives=self.alternatives,
            torch_pythons=self.pythons,
            torch_same_release=self.same_release,
        )

    def _asked(self, context: Context) -> Asked:
        answer = context.get
        packages = answer("torch_packages")
        return Asked(
            manager=answer("package_manager", "uv"),
            python=answer("python_version", self._matrix.policy.python.default),
            compute_platform=answer(
                "compute_platform", self._matrix.policy.compute_platforms.default
            ),
            torch=answer("torch_version", "latest"),
            packages=tuple(packages if isinstance(packages, list) else ()),
        )

    def _choices(
        self, context: Context, question: str, mark: Callable[[Build], str] = lambda _: ""
    ) -> list[Choice]:
        matrix, asked, current = self._matrix, self._asked(context), context.get(question)
        if question == "python_version":
            return python_choices(matrix, current)
        if question == "compute_platform":
            return compute_platform_choices(matrix, asked, current, mark)
        if question == "torch_version":
            return torch_version_choices(matrix, asked)
        return torch_package_choices(matrix, asked)

    @pass_context
    def choices(self, context: Context, question: str) -> str:
        """A question's `choices`, as JSON (which is YAML).

        Copier compiles and renders each string in it. Where it is to show no menu, as in two of the
        three times that an update renders a project, it gets the answer alone, which
        `check_answer` holds against the whole menu.
        """
        recorded: Any = self.environment.globals["answers_are_recorded"]
        if recorded(context) and question != "torch_packages":
            return json.dumps([context["_copier_conf"]["data"][question]])
        mark: Any = self.environment.globals["machine_mark"]
        return json.dumps(
            [
                [
                    one.label,
                    {"value": one.value, "validator": one.why_not} if one.why_not else one.value,
                ]
                for one in self._choices(context, question, mark(context, question))
            ]
        )

    @pass_context
    def default(self, context: Context, question: str) -> str:
        """A question's `default`: the policy's, and torchvision where it has a partner."""
        policy = self._matrix.policy
        if question == "torch_packages":
            usable = {c.value for c in self._choices(context, question) if not c.why_not}
            return json.dumps([name for name in COMPANIONS[:1] if name in usable])
        return (policy.python if question == "python_version" else policy.compute_platforms).default

    def why_not(self, context: Context, question: str, value: object) -> str | None:
        """The sentence that refuses a value for one of the matrix's questions, or None."""
        choices = self._choices(context, question)
        if question == "torch_packages":
            try:
                value = yaml.safe_load(value) if isinstance(value, str) else value
            except yaml.YAMLError:
                value = None
            if not isinstance(value, list):
                return "it is a list: write torch_packages=[torchvision], or [] for torch alone"
        policy = self._matrix.policy
        menus = {"compute_platform": policy.compute_platforms, "python_version": policy.python}
        if question in menus and value not in [choice.value for choice in choices]:
            successor = menus[question].retired.get(str(value))
            if successor:
                return f"{value} is retired: choose {successor}"
        parts = value if isinstance(value, list) else [value]
        return next((why for part in parts if (why := why_not(choices, part))), None)

    @pass_context
    def build(self, context: Context) -> Build:
        """The build to render.

        Raises:
            UserMessageError: if the answers do not fit together.
        """
        found = resolve(self._matrix, self._asked(context))
        if isinstance(found, Unfit):
            raise UserMessageError(f"{found}.")
        return found

    @pass_context
    def pythons(self, context: Context) -> list[str]:
        """The Python minors on offer for which the project would get the release that it has."""
        asked, now = self._asked(context), self.build(context)
        found = {
            minor: resolve(self._matrix, replace(asked, python=minor))
            for minor in self._matrix.policy.python.listed(None)
        }
        return [
            minor
            for minor, build in found.items()
            if isinstance(build, Build)
            and (build.torch, build.versions) == (now.torch, now.versions)
        ]

    @pass_context
    def alternatives(self, context: Context) -> list[Build]:
        """The other compute platforms' builds, of the project's torch series where there is one."""
        asked = self._asked(context)
        builds = []
        for name in self._matrix.policy.compute_platforms.listed(None):
            if name != asked.compute_platform:
                other = replace(asked, compute_platform=name)
                found = resolve(self._matrix, other)
                if isinstance(found, Unfit) and other.torch != "latest":
                    found = resolve(self._matrix, replace(other, torch="latest"))
                builds.append(found)
        return [build for build in builds if isinstance(build, Build)]

    def same_release(self, build: Build) -> list[Build]:
        """The other compute platforms' builds of a build's release."""
        return same_release(self._matrix, build)
