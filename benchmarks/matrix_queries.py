"""How the queries of the version matrix grow with it: today's, and ten times as many releases.

    python benchmarks/matrix_queries.py [--runs 30]

The added releases are newer than the real ones and have the compute platforms of the newest real
one, so the older compute platforms are found only behind all of them. A ratio of 10 is linear
growth; a menu with a line for every series of torch cannot have less.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "extensions"))

from torch_template.build import Asked
from torch_template.matrix.loading import MATRIX
from torch_template.matrix.model import Matrix
from torch_template.menus import (
    compute_platform_choices,
    torch_package_choices,
    torch_version_choices,
)
from torch_template.reasons import Unfit, resolve

GROWTH = 10
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # as matrix/loading.py loads it


def grown(rows: dict[str, Any], factor: int) -> dict[str, Any]:
    """The rows of the matrix with `factor` times as many releases."""
    releases = rows["releases"]
    newest = next(name for name in reversed(releases) if releases[name]["index"])
    last = int(next(reversed(releases)).split(".")[1])
    more = len(releases) * (factor - 1)
    added = {f"2.{last + 1 + number}.0": deepcopy(releases[newest]) for number in range(more)}
    return {**rows, "releases": {**releases, **added}}


def queries(rows: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """What Copier asks for, from the commonest to the worst."""
    matrix = Matrix.model_validate(rows)
    usual = Asked("uv", "3.12", "cpu", packages=("torchvision",))
    legacy = Asked("poetry", "3.12", "cu118", packages=("torchvision",))
    hopeless = Asked("uv", "3.14", "cu117")
    if not isinstance(resolve(matrix, hopeless), Unfit):
        raise AssertionError("the hopeless query has a build: choose another one")
    text = yaml.safe_dump(rows, sort_keys=False)
    return {
        "read and validate": lambda: Matrix.model_validate(yaml.load(text, LOADER)),  # noqa: S506
        "resolve, newest release": lambda: resolve(matrix, usual),
        "resolve, old release": lambda: resolve(matrix, legacy),
        "resolve, no build": lambda: resolve(matrix, hopeless),
        "menu of compute platforms": lambda: compute_platform_choices(matrix, usual),
        "menu of torch packages": lambda: torch_package_choices(matrix, usual),
        "menu of torch series": lambda: torch_version_choices(matrix, legacy),
    }


def milliseconds(query: Callable[[], object], runs: int) -> float:
    """Median time of a query, after one run that warms caches up."""
    query()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        query()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def main() -> int:
    """Command line: see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=30)
    runs = parser.parse_args().runs
    rows = yaml.safe_load(MATRIX.read_bytes())
    today, later = queries(rows), queries(grown(rows, GROWTH))
    print(f"{'':28}{'today':>11}{f'x {GROWTH}':>11}{'ratio':>7}   ({runs} runs each)")
    for name, query in today.items():
        now, then = milliseconds(query, runs), milliseconds(later[name], runs)
        print(f"{name:28}{now:8.3f} ms{then:8.3f} ms{then / now:7.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
