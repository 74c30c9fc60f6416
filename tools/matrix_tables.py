"""The tables of docs/matrix.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from packaging.version import Version

from torch_template.build import Asked, Build
from torch_template.matrix.companions import partner
from torch_template.matrix.facts import COMPANIONS, PYPI, is_usable, python_key
from torch_template.matrix.model import Companion, Matrix, PyPIBuilds, Release
from torch_template.menus import generations
from torch_template.reasons import resolve

UNKNOWN = "not established"
NONE = "-"


@dataclass(frozen=True)
class Table:
    """A Markdown table; cells are Markdown."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def __str__(self) -> str:
        lines = [self.head, ("---",) * len(self.head), *self.rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def span(minors: Iterable[str]) -> str:
    """`3.10 - 3.14`, or the one minor."""
    first, *_, last = sorted({*minors}, key=python_key) * 2
    return first if first == last else f"{first} - {last}"


def sourced(confidence: str, names: Sequence[str]) -> tuple[str, str]:
    """The two last cells of most rows."""
    return confidence, " ".join(f"`{name}`" for name in names)


# --- Compute platforms ------------------------------------------------------------------------


def compute_platforms(matrix: Matrix) -> Table:
    """One row a compute platform on offer, with the newest build that it has."""
    head = ("compute platform", "torch", "Python", "systems", "NVIDIA driver", "GPUs")
    rows = []
    for name in matrix.policy.compute_platforms.offered:
        known = matrix.compute_platforms[name]
        title = f"`{name}` {known.name}" if name != known.name.lower() else f"`{name}`"
        builds = {
            python: build
            for python in matrix.policy.python.offered
            if isinstance(build := resolve(matrix, Asked("uv", python, name)), Build)
        }
        if builds:
            rows.append((title, *_newest(matrix, builds)))
        else:
            rows.append((title, *(NONE,) * 4, f"not offered: {known.blocked}"))
    return Table(head, rows)


def _newest(matrix: Matrix, builds: Mapping[str, Build]) -> tuple[str, ...]:
    """What the newest of a compute platform's builds needs and runs on."""
    best = max(builds.values(), key=lambda build: (Version(build.torch), len(build.wheels)))
    gpu = next((wheels for wheels in best.wheels.values() if wheels.minimum_driver), None)
    windows = best.wheels.get("windows-amd64")
    drivers = [gpu.minimum_driver if gpu else None, windows.minimum_driver if windows else None]
    return (
        best.torch,
        span(builds),
        "".join(best.platforms),
        " / ".join(filter(None, drivers)) or NONE,
        gpus(matrix, best),
    )


def gpus(matrix: Matrix, build: Build) -> str:
    """The GPUs that a build reaches: NVIDIA's generations, or whose GPUs they are."""
    kinds = [wheels.accelerator for wheels in build.wheels.values()]
    if "cuda" in kinds:
        wheels = next(one for one in build.wheels.values() if one.accelerator == "cuda")
        return generations(matrix, wheels) or UNKNOWN
    makers = {"rocm": "AMD; which is ", "xpu": "Intel; which is "}
    return next((makers[kind] + UNKNOWN for kind in kinds if kind in makers), NONE)


# --- Releases ---------------------------------------------------------------------------------


def releases(matrix: Matrix) -> Table:
    """One row a release."""
    head = (
        *("torch", "released", *COMPANIONS, "Python", "PyTorch index", "PyPI"),
        *("confidence", "sources"),
    )
    rows = []
    for name in matrix.newest_first:
        release = matrix.releases[name]
        index = {platform: row.platforms for platform, row in release.index.items()}
        rows.append(
            (
                name,
                str(release.released or UNKNOWN),
                *(_newest_partner(matrix, name, companion) for companion in COMPANIONS),
                _pythons(release),
                _by_systems(index),
                _by_systems(_pypi(release.pypi)),
                *sourced(_confidence(release), release.sources),
            )
        )
    return Table(head, rows)


def _newest_partner(matrix: Matrix, torch: str, companion: str) -> str:
    """The newest release of a companion that some build of a release of torch can have."""
    if not matrix.partners[torch].get(companion):
        return UNKNOWN
    found = {
        one.version
        for name in (*matrix.releases[torch].index, PYPI)
        for minor in _minors(matrix.releases[torch])
        if is_usable(matrix, torch, name, minor)
        and (one := partner(matrix, torch, companion, name, minor))
    }
    return max(found, key=Version) if found else NONE


def _pythons(release: Release) -> str:
    parts = [span(release.python)]
    for row in release.more_python:
        unless = f" (not {' '.join(row.not_for)})" if row.not_for else ""
        parts.append(f"{span(row.python)} {''.join(row.platforms)}{unless}")
    return ", ".join(parts)


def _confidence(release: Release) -> str:
    """The release's, and the cells that are weaker."""
    cells = [("one source", release.one_source), ("inferred", release.inferred)]
    weaker = [f"{_by_systems(found)} {word}" for word, found in cells if found]
    return "; ".join([release.confidence, *weaker])


def _pypi(pypi: PyPIBuilds) -> dict[str, tuple[str, ...]]:
    builds: dict[str, tuple[str, ...]] = {}
    for system, build in pypi.on().items():
        builds[build] = (*builds.get(build, ()), system)
    return builds


def _by_systems(builds: Mapping[str, Sequence[str]]) -> str:
    """`cpu LAWM; cu126 cu130 LAW`: the compute platforms that have the same systems together."""
    together: dict[str, list[str]] = {}
    for build, systems in builds.items():
        together.setdefault("".join(systems), []).append(build)
    parts = (f"{' '.join(names)} {systems}" for systems, names in together.items())
    return "; ".join(parts) or UNKNOWN


# --- Companions -------------------------------------------------------------------------------


def companions(matrix: Matrix) -> Table:
    """One row a release of a companion, newest first."""
    head = ("companion", "torch", "Python", "PyTorch index", "PyPI", "confidence", "sources")
    rows = []
    for name in COMPANIONS:
        known = matrix.companions.get(name, {})
        for version in sorted(known, key=Version, reverse=True):
            one = known[version]
            index, pypi = one.index, one.pypi
            rows.append(
                (
                    f"{name} {version}",
                    f"`{one.torch}`",
                    _companion_pythons(one),
                    "as torch" if index is None else (_by_systems(index) if index else NONE),
                    "as torch"
                    if pypi is None
                    else (_by_systems(_pypi(pypi)) if pypi.on() else NONE),
                    *sourced(one.confidence, one.sources),
                )
            )
    return Table(head, rows)


def _companion_pythons(one: Companion) -> str:
    more = [f"{span(row.python)} {''.join(row.platforms)}" for row in one.more_python]
    parts = [span(one.python) if one.python else "as torch", *more]
    return ", ".join([*parts, *(f"not {version}" for version in one.python_excluded)])


# --- Python -----------------------------------------------------------------------------------


def pythons(matrix: Matrix) -> Table:
    """One row a minor, newest first."""
    head = ("Python", "torch", "offered", "security fixes until", "confidence", "sources")
    rows = []
    for minor in sorted(_every_python(matrix), key=python_key, reverse=True):
        known = matrix.pythons.get(minor)
        has = [name for name in matrix.newest_first if minor in _minors(matrix.releases[name])]
        ends = f"{known.ends}{', ended' if matrix.has_ended(minor) else ''}" if known else UNKNOWN
        rows.append(
            (
                minor,
                f"{has[-1]} - {has[0]}" if has else NONE,
                "yes" if minor in matrix.policy.python.listed(None) else "no",
                ends,
                *(sourced(known.confidence, known.sources) if known else (NONE, NONE)),
            )
        )
    return Table(head, rows)


def _minors(release: Release) -> set[str]:
    return {*release.python, *(minor for row in release.more_python for minor in row.python)}


def _every_python(matrix: Matrix) -> set[str]:
    return {*matrix.pythons}.union(*(_minors(one) for one in matrix.releases.values()))


# --- Drivers and GPUs -------------------------------------------------------------------------


def drivers(matrix: Matrix) -> Table:
    """One row a CUDA major version, newest first."""
    rows = [
        (f"CUDA {major}", row.linux, row.windows, *sourced(row.confidence, row.sources))
        for major, row in sorted(matrix.drivers.items(), key=lambda one: -int(one[0]))
    ]
    return Table(("toolkits", "Linux", "Windows", "confidence", "sources"), rows)


def toolkits(matrix: Matrix) -> Table:
    """One row a CUDA toolkit, newest first, with the builds that are made with it."""
    uses: dict[str, dict[str, list[str]]] = {}
    for torch in reversed(matrix.newest_first):
        release = matrix.releases[torch]
        cells = {name: row.toolkit for name, row in release.index.items()}
        for name, toolkit in {**cells, PYPI: release.pypi.toolkit}.items():
            if toolkit:
                uses.setdefault(toolkit, {}).setdefault(f"`{name}`", []).append(torch)
    rows = []
    for version in sorted(matrix.cuda_toolkits.versions, key=Version, reverse=True):
        row = matrix.cuda_toolkits.versions[version]
        builds = [f"{name} {' '.join(found)}" for name, found in uses.get(version, {}).items()]
        least = (row.linux or UNKNOWN, row.windows or UNKNOWN)
        last = sourced(row.confidence, row.sources)
        rows.append((version, *least, "; ".join(builds) or NONE, *last))
    return Table(("toolkit", "Linux", "Windows", "torch", "confidence", "sources"), rows)


def architectures(matrix: Matrix) -> Table:
    """One row a compute platform, system and span of releases."""
    head = (
        *("compute platform", "torch", "systems", "capabilities", "PTX", "GPUs"),
        *("confidence", "sources"),
    )
    names = matrix.gpu_generations.names
    rows = []
    for name, spans in matrix.gpu_architectures.items():
        for row in spans:
            found = list(dict.fromkeys(names[one] for one in row.sm if one in names))
            rows.append(
                (
                    f"`{name}`",
                    between(row.since, row.until),
                    "".join(row.platforms),
                    " ".join(row.sm),
                    row.ptx or NONE,
                    ", ".join(found) or UNKNOWN,
                    *sourced(row.confidence, row.sources),
                )
            )
    return Table(head, rows)


def gpu_generations(matrix: Matrix) -> Table:
    """One row a generation."""
    known = matrix.gpu_generations
    by_name: dict[str, list[str]] = {}
    for capability, name in known.names.items():
        by_name.setdefault(name, []).append(capability)
    last = sourced(known.confidence, known.sources)
    rows = [(name, " ".join(found), *last) for name, found in by_name.items()]
    return Table(("generation", "capabilities", "confidence", "sources"), rows)


# --- The rest ---------------------------------------------------------------------------------


def rest(matrix: Matrix) -> Table:
    """What projects are told beside their torch, one row a fact."""
    rows = [
        (
            f"`{row.package}`, for {row.accelerator}, is on the PyTorch index only",
            between(row.since, row.until),
            "".join(row.platforms),
            *sourced(row.confidence, row.sources),
        )
        for row in matrix.index_only
    ]
    rows += [
        (
            f"`{one.package}` of the PyTorch index has no `+<compute platform>` in its version",
            between(one.since, one.until),
            "".join(one.platforms),
            *sourced(one.confidence, one.sources),
        )
        for one in matrix.unsuffixed
    ]
    rows += [
        ("numpy below 2", old.torch, "".join(old.platforms), *sourced(old.confidence, old.sources))
        for old in matrix.numpy_1
    ]
    rows += [
        (
            f"glibc {row.needs}" + (f" (`{row.compute_platform}`)" if row.compute_platform else ""),
            between(row.since, row.until),
            "".join(row.platforms),
            *sourced(row.confidence, row.sources),
        )
        for row in matrix.glibc
    ]
    rows += [
        (
            f"{path.letters} letters of a path behind `site-packages`, of Windows' 259",
            path.torch,
            "W",
            *sourced(path.confidence, path.sources),
        )
        for path in matrix.windows_paths
    ]
    return Table(("what", "torch", "systems", "confidence", "sources"), rows)


def between(since: str, until: str) -> str:
    """A span of releases of torch in words."""
    if since == until:
        return since
    first, last = ("" if end in ("0", "9999") else end for end in (since, until))
    if first and last:
        return f"{first} - {last}"
    return f"from {first}" if first else f"to {last}" if last else "all"


def left_out(matrix: Matrix) -> Table:
    """What a release has that no project can have, newest first."""
    blocked = [
        (f"all of `{name}`", one.blocked)
        for name, one in matrix.compute_platforms.items()
        if one.blocked
    ]
    releases = [(torch, matrix.releases[torch].not_offered) for torch in matrix.newest_first]
    rows = [(torch, "; ".join(what)) for torch, what in releases if what]
    return Table(("torch", "what"), [*blocked, *rows])


def sources(matrix: Matrix) -> Table:
    """One row a source."""
    return Table(("name", "what"), [(f"`{name}`", what) for name, what in matrix.sources.items()])
