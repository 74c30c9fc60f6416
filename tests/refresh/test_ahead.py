"""A refresh passes the tests by itself: nobody has to correct what they expect of the facts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from packaging.version import Version

from refresh.findings import SETTLED
from refresh.made_up import as_written, companion, less, release
from refresh.observed import Observed
from refresh.rows import cells_of, wheels
from refresh.writing import loaded
from refresh_matrix import refreshed
from refresh_pull_request import GENERATORS, MATRIX
from snapshot import snapshot
from torch_template.matrix.facts import PYPI

DAY = timedelta(days=1)
# Every quick test of the facts and of what is made from them, but one that takes half a minute.
TESTS = ("tests/matrix", "tests/repo/test_matrix_docs.py", "tests/repo/test_readme.py")
TOO_LONG = "tests/matrix/test_commands.py"


def with_more(text: str) -> tuple[str, list[str]]:
    """A matrix after a refresh, and the releases of torch that are new in it.

    More of the newest release is on the index; there are a patch of it, and a minor release without
    a compute platform and without two Pythons; each has its torchvision.
    """
    matrix, seen = loaded(text), as_written(text)
    newest, vision = matrix.newest_first[0], [*matrix.companions["torchvision"]][-1]
    (major, minor, patch), (_, beside, last) = Version(newest).release, Version(vision).release
    day = matrix.reviewed + DAY
    ended, own, more = "cu126", seen.torch[newest], release(newest, python=">=3.11")
    on_index = {wheel for wheel in wheels(more.cells) if wheel[0] != PYPI}
    torch = {
        newest: replace(
            own,
            cells=cells_of({*wheels(own.cells), *on_index}),
            toolkits={**more.toolkits, **own.toolkits},
            needs={**more.needs, **own.needs},
        )
    }
    visions, new = {}, [f"{major}.{minor}.{patch + 1}", f"{major}.{minor + 1}.0"]
    versions = [f"0.{beside}.{last + 1}", f"0.{beside + 1}.0"]
    for name, version, python in zip(new, versions, (">=3.11", ">=3.12"), strict=True):
        one = release(name, without=[ended], python=python)
        torch[name] = replace(one, released=day, newest_file=day)
        partner = less(companion(version=version, torch=f"=={name}"), page=ended)
        visions[version] = replace(partner, newest_file=day)
    companions = {**seen.companions}
    companions["torchvision"] = {**companions["torchvision"], **visions}
    after = refreshed(text, Observed({**seen.torch, **torch}, companions, seen.pins), day + SETTLED)
    return after.yaml, new


@pytest.mark.some(0)
@pytest.mark.slow
def test_the_tests_pass_with_releases_that_they_do_not_know(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="the workflow draws its pictures on Linux")
    work = snapshot(tmp_path / "torch-starter")
    text, new = with_more((work / MATRIX).read_text(encoding="utf-8"))
    after = loaded(text)
    assert after.newest_first[:2] == [*reversed(new)]
    assert all(after.partners[name]["torchvision"] for name in new)
    (work / MATRIX).write_text(text, encoding="utf-8")
    for generator in GENERATORS:
        subprocess.run([sys.executable, *generator], cwd=work, check=True)
    options = ["-n0", "-q", "-p", "no:cacheprovider", "-m", "not slow and not network"]
    command = [sys.executable, "-m", "pytest", *options, f"--ignore={TOO_LONG}", *TESTS]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout.splitlines()[-1]
