"""How long tools/refresh_matrix.py takes in a release's month, and with ten times the releases.

    python benchmarks/matrix_refresh.py [--runs 3] [--pypi-url URL]

The index is on loopback: the tests' own, and one to which copies of a real release were added, with
their torchvision, as releases to come. It remembers its answers, so that only the tool is measured.
Each refresh is a real process, with a matrix that has all releases but the newest one: cold (an
empty cache; the release is written) and warm (the cache of that run; nothing is new). The runs
with both indexes are interleaved, and the ratios of the medians are what to read: 10 is linear.
With another --pypi-url, PyPI's own, it measures what today's matrix takes there instead.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "extensions"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from packaging.version import Version

import refresh_matrix
from install.catalog import Wheel, catalog
from install.index_server import Reply
from install.loopback_index import LoopbackIndex
from install.wheels import Distribution, Stub
from refresh.listing import Source
from refresh.observed import observe
from refresh.writing import loaded
from torch_template.matrix.loading import MATRIX

GROWTH = 10
AIM = 10.0  # times the seconds: no worse than linear
COPIED = {"torch": "2.13.0", "torchvision": "0.28.0"}  # a release, and what is for it alone
FIRST = {"torch": 16, "torchvision": 31}  # the minors of the first copies
COMMAND = [sys.executable, refresh_matrix.__file__, "--write"]


@cache
def copies(index: str, project: str, number: int) -> tuple[Distribution, ...]:
    """The files of a release to come on an index: copies of a real one's, under their own names."""
    old = COPIED[project]
    new = f"{Version(old).major}.{FIRST[project] + number}.0"
    torch = f"=={COPIED['torch']}", f"==2.{FIRST['torch'] + number}.0"

    def renamed(wheel: Wheel) -> Wheel:
        requires = [r.replace(*torch) if r.startswith("torch=") else r for r in wheel.requires]
        return replace(
            wheel,
            version=wheel.version.replace(old, new),
            filename=wheel.filename.replace(f"-{old}", f"-{new}"),
            requires=tuple(requires),
        )

    wheels = [one for one in catalog().wheels(index, project) if one.version.startswith(old)]
    return tuple(Stub(renamed(wheel)) for wheel in wheels)


class GrownIndex(LoopbackIndex):
    """The index with so many more releases, which remembers its answers."""

    def __init__(self, more: int) -> None:
        super().__init__()
        self.more = more
        self._answers: dict[tuple[str, ...], Reply] = {}

    def grow(self) -> None:
        """Let one more release come out."""
        self.more += 1
        self._pages.clear()
        self._answers.clear()

    def distributions(self, index: str, project: str) -> list[Distribution]:
        """Return the files, with those of the releases to come."""
        found = super().distributions(index, project)
        numbers = range(self.more if project in COPIED else 0)
        return [*found, *(one for n in numbers for one in copies(index, project, n))]

    def answer(self, host: str, path: str, accept: str, authorization: str) -> Reply:
        """Answer as before, if it was asked before."""
        key = (host, path, accept)
        if key not in self._answers:
            self._answers[key] = super().answer(host, path, accept, authorization)
        return self._answers[key]


@dataclass(frozen=True)
class Cost:
    """What a refresh took."""

    seconds: float
    requests: int
    bytes: int

    def over(self, other: Cost) -> str:
        """Three ratios."""
        pairs = zip(self.all(), other.all(), strict=True)
        return "".join(f"{one / max(two, 1e-9):12.1f}" for one, two in pairs)

    def all(self) -> tuple[float, int, int]:
        """The three of them."""
        return self.seconds, self.requests, self.bytes


class Month:
    """The month of a release, on an index with so many releases more than there are."""

    def __init__(self, index: GrownIndex, folder: Path, pypi_url: str | None) -> None:
        self.index, self.folder, self.made_up = index, folder, pypi_url is None
        self.pypi_url = pypi_url or index.simple_url
        folder.mkdir()
        self.before = MATRIX.read_text(encoding="utf-8")
        if self.made_up:
            self._catch_up()
            index.grow()
        self.number = 0
        [*self.runs()]  # the index makes its answers

    def _catch_up(self) -> None:
        """Write all releases but the newest."""
        source = Source(self.index.pytorch_url, self.index.simple_url, self.folder / "before")
        seen, today = observe(source, loaded(self.before)), datetime.now(timezone.utc).date()
        self.before = refresh_matrix.refreshed(self.before, seen, today).yaml

    def runs(self) -> Iterator[tuple[str, Cost]]:
        """The release is written, with an empty cache; then nothing is new."""
        self.number += 1
        matrix = self.folder / "version_matrix.yml"
        matrix.write_text(self.before, encoding="utf-8")
        for name in ("cold", "warm"):
            yield name, self._refresh(matrix)
            written = loaded(matrix.read_text(encoding="utf-8"))
            newest = f"2.{FIRST['torch'] + self.index.more - 1}.0"
            if self.made_up and written.newest_first[0] != newest:
                raise AssertionError(f"{newest} was not written")

    def _refresh(self, matrix: Path) -> Cost:
        where = [f"--index-url={self.index.pytorch_url}", f"--pypi-url={self.pypi_url}"]
        mine = [f"--matrix={matrix}", f"--cache={self.folder / f'cache-{self.number}'}"]
        first = len(self.index.requests)
        started_at = time.perf_counter()
        done = subprocess.run([*COMMAND, *where, *mine], capture_output=True, text=True)
        taken = time.perf_counter() - started_at
        if done.returncode not in (0, 1) or done.stderr:
            raise AssertionError(done.stderr)
        seen = self.index.requests[first:]
        return Cost(taken, len(seen), sum(one.size for one in seen))


def main() -> int:
    """Command line: see the top of this file. Exits 1 if ten times the releases cost more."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--pypi-url", help="another simple API than that on loopback")
    options = parser.parse_args()
    today = len(loaded(MATRIX.read_text(encoding="utf-8")).releases)
    costs: dict[tuple[int, str], list[Cost]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        months = {}
        for factor in (1,) if options.pypi_url else (1, GROWTH):
            index = stack.enter_context(closing(GrownIndex(today * (factor - 1))))
            stack.enter_context(index.root_page())
            months[factor] = Month(index, folder / str(factor), options.pypi_url)
        for _ in range(options.runs):
            for factor, month in months.items():
                for name, cost in month.runs():
                    costs.setdefault((factor, name), []).append(cost)
    medians = {key: sorted(runs, key=Cost.all)[len(runs) // 2] for key, runs in costs.items()}
    print(f"{'':28}{'seconds':>12}{'requests':>12}{'MB':>12}   ({options.runs} runs)")
    for (factor, name), cost in medians.items():
        what = f"{today * factor} releases, {name}"
        print(f"{what:28}{cost.seconds:12.2f}{cost.requests:12}{cost.bytes / 1e6:12.2f}")
    if options.pypi_url:
        return 0
    for name in ("cold", "warm"):
        print(f"{f'ratio, {name}':28}{medians[GROWTH, name].over(medians[1, name])}")
    worst = max(medians[GROWTH, n].seconds / medians[1, n].seconds for n in ("cold", "warm"))
    print(f"{GROWTH} times the releases take {worst:.1f} times the seconds (aim: {AIM:g} at most)")
    return int(worst > AIM)


if __name__ == "__main__":
    sys.exit(main())
