"""Writes the tables of README.md that repeat facts kept elsewhere: the questions and the matrix.

python tools/readme_tables.py            # rewrites what lies between the markers
python tools/readme_tables.py --check    # exits 1 if README.md is stale
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from packaging.version import Version

sys.path.insert(0, str(Path(__file__).parents[1] / "extensions"))

from torch_template.build import Asked, Build
from torch_template.matrix.facts import python_key
from torch_template.matrix.loading import load_matrix
from torch_template.matrix.model import Matrix, Release
from torch_template.menus import generations
from torch_template.reasons import resolve

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


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


# --- The questions ----------------------------------------------------------------------------


def questions(copier_yml: Path = ROOT / "copier.yml") -> Table:
    """The questions of copier.yml, in their order, with the default and the help."""
    asked = yaml.safe_load(copier_yml.read_text(encoding="utf-8"))
    rows = [
        (f"`{name}`", default_text(question.get("default")), help_text(question["help"]))
        for name, question in asked.items()
        if not name.startswith("_") and question.get("when") is not False
    ]
    return Table(("question", "default", "what it asks"), rows)


def help_text(text: str) -> str:
    """A question's help as everybody sees it, without the line about one machine."""
    return text.removeprefix("{{ machine_hint() }}")


def default_text(default: object) -> str:
    """A default for people: templates are told in words, an empty string is told as empty."""
    policy = load_matrix().policy
    words = {
        "{{ project_name | default_package_name }}": "from `project_name`",
        "{{ default_of('python_version') }}": f"`{policy.python.default}`",
        "{{ default_of('compute_platform') }}": f"`{policy.compute_platforms.default}`",
        "{{ default_of('torch_packages') }}": "`torchvision`, where it fits",
    }
    text = str(default)
    if "{{" in text:
        return words[text]
    return f"`{text}`" if text else "empty"


# --- The matrix -------------------------------------------------------------------------------


def releases(matrix: Matrix) -> Table:
    """One row a release."""
    head = ("torch", "released", "torchvision", "torchaudio", "Python", "PyTorch index", "PyPI")
    rows = []
    for name in matrix.newest_first:
        release = matrix.releases[name]
        index = {platform: row.platforms for platform, row in release.index.items()}
        rows.append(
            (
                name,
                str(release.released or "-"),
                release.torchvision,
                release.torchaudio.replace("none", "-"),
                _pythons(release),
                _by_systems(index),
                _by_systems(_pypi(release)),
            )
        )
    return Table(head, rows)


def _pythons(release: Release) -> str:
    more = [f"{span(row.python)} {''.join(row.platforms)}" for row in release.more_python]
    return ", ".join([span(release.python), *more])


def _pypi(release: Release) -> dict[str, tuple[str, ...]]:
    builds: dict[str, tuple[str, ...]] = {}
    for system, build in release.pypi.on().items():
        builds[build] = (*builds.get(build, ()), system)
    return builds


def _by_systems(builds: Mapping[str, tuple[str, ...]]) -> str:
    """`cpu LAWM; cu126 cu130 LAW`: the compute platforms that have the same systems together."""
    together: dict[str, list[str]] = {}
    for build, systems in builds.items():
        together.setdefault("".join(systems), []).append(build)
    return "; ".join(f"{' '.join(names)} {systems}" for systems, names in together.items()) or "-"


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
            rows.append((title, *("-",) * 4, f"not offered: {known.blocked}"))
    return Table(head, rows)


def _newest(matrix: Matrix, builds: Mapping[str, Build]) -> tuple[str, ...]:
    """What the newest of a compute platform's builds needs and runs on."""
    best = max(builds.values(), key=lambda build: (Version(build.torch), len(build.wheels)))
    gpu = next((wheels for wheels in best.wheels.values() if wheels.minimum_driver), None)
    windows = best.wheels.get("windows-amd64")
    drivers = [gpu.minimum_driver if gpu else None, windows.minimum_driver if windows else None]
    gpus = (generations(matrix, gpu) or "not known") if gpu else "-"
    return (
        best.torch,
        span(builds),
        "".join(best.platforms),
        " / ".join(filter(None, drivers)) or "-",
        gpus,
    )


# --- README.md --------------------------------------------------------------------------------


def tables() -> dict[str, Table]:
    """Every table of README.md, by the name of its markers."""
    matrix = load_matrix()
    return {
        "questions": questions(),
        "compute platforms": compute_platforms(matrix),
        "releases": releases(matrix),
    }


def refreshed(text: str) -> str:
    """The text with each table as it should be.

    Raises:
        ValueError: if the markers of a table are not there exactly once.
    """
    for name, table in tables().items():
        begin, end = f"<!-- begin table: {name} -->", f"<!-- end table: {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"README.md needs {begin} and {end}, once each")
        before, _, rest = text.partition(begin)
        after = rest.partition(end)[2]
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


def main() -> int:
    """Command line: see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit 1 if README.md is stale")
    check = parser.parse_args().check
    old = README.read_text(encoding="utf-8")
    new = refreshed(old)
    if new == old:
        return 0
    if check:
        print("README.md is stale: run `python tools/readme_tables.py`.", file=sys.stderr)
        return 1
    README.write_text(new, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
