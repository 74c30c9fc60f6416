"""Fifteen months of releases: each is refreshed, published, and reaches projects by an update."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from copier import run_update
from copier.errors import UserMessageError
from packaging.version import Version
from ruamel.yaml import YAML

from install.loopback_index import version_of
from matrix.doctored import MANAGERS, data, offered, usable
from refresh.cutting import cut_back
from refresh.growing import GrowingIndex
from refresh.writing import loaded
from refresh_matrix import main
from render.projects import MATRIX_YML, commit, copy, files, recorded, release, start
from render.reading import pins_in
from torch_template.build import Asked
from torch_template.matrix.model import Matrix
from torch_template.menus import compute_platform_choices
from torch_template.reasons import resolve
from update.versions import assert_clean, cloned_once

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("refresh")]
THEN, PYTHON = "2.8.0", "3.12"
# To save seconds, 2.9.0, 2.9.1, 2.12.1, 2.14.0 and 2.14.1 come with the next one.
MONTHS = ("2.10.0", "2.11.0", "2.12.0", "2.13.0", "2.15.0")
LEARNT = "2.13.0"  # before it, somebody writes what no index tells
PROJECTS: dict[str, dict[str, Any]] = {
    "cpu": {"package_manager": "uv", "torch_packages": ["torchvision"]},
    "cu128": {"package_manager": "poetry", "torch_packages": []},
    "cu126": {"package_manager": "pip", "torch_packages": ["torchaudio"]},
    "pypi": {"package_manager": "pip", "torch_packages": []},
}
AT_FIRST = {
    "cpu": {"torch": "2.8.0", "torchvision": "0.23.0"},
    "cu128": {"torch": "2.8.0"},
    "cu126": {"torch": "2.8.0", "torchaudio": "2.8.0"},
    "pypi": {"torch": "2.8.0"},
}
# What each month brings; what is not named stays. cu128 ends with 2.11.0; 2.15.0 is on PyPI only.
# torchaudio 2.11.0 names no torch, PyPI's torch 2.11.0 is for a CUDA of unknown driver: both wait.
MOVES: dict[str, dict[str, dict[str, str]]] = {
    "2.10.0": {
        "cpu": {"torch": "2.10.0", "torchvision": "0.25.0"},
        "cu128": {"torch": "2.10.0"},
        "cu126": {"torch": "2.10.0", "torchaudio": "2.10.0"},
        "pypi": {"torch": "2.10.0"},
    },
    "2.11.0": {
        "cpu": {"torch": "2.11.0", "torchvision": "0.26.0"},
        "cu128": {"torch": "2.11.0"},
    },
    "2.12.0": {"cpu": {"torch": "2.12.0", "torchvision": "0.27.0"}},
    "2.13.0": {
        "cpu": {"torch": "2.13.0", "torchvision": "0.28.0"},
        "cu126": {"torch": "2.13.0", "torchaudio": "2.11.0"},
        "pypi": {"torch": "2.13.0"},
    },
    "2.15.0": {
        "cpu": {"torch": "2.14.1", "torchvision": "0.29.1"},
        "cu126": {"torch": "2.14.1", "torchaudio": "2.11.0"},
        "pypi": {"torch": "2.15.0"},
    },
}
# Why a project stays, and where the command that it is told leads: from the month on.
STAYS = {
    ("cu128", "2.12.0"): (
        "cu128 has ended: torch 2.12.0 of 2026-05-13 and newer do not have it, so torch stays at"
        " 2.11.0. Move on with:",
        "copier update --trust --defaults --data compute_platform=",
    ),
    ("cu126", "2.11.0"): (
        "so torch stays at 2.10.0. Move on with:",
        'copier update --trust --defaults --data "torch_packages=[]"',
    ),
}


WAITS = {"cu126": ("2.11.0", "2.12.0"), "pypi": ("2.11.0", "2.12.0")}


class Year:
    """The template's repository, its index, and the projects, as months go by."""

    def __init__(self, repository: Path, folder: Path, index: GrowingIndex) -> None:
        self.repository, self.folder, self.index = repository, folder, index
        self.matrix = repository / MATRIX_YML
        self.matrix.write_text(cut_back(THEN), encoding="utf-8")
        release(repository, "v1.0.0")
        self.version = 0
        self.projects = {
            name: start(repository, folder / name, **answers_of(name)) for name in PROJECTS
        }

    def refresh(self, torch: str) -> str:
        """Let a release come out, and write it; what is told."""
        self.index.grow(torch)
        where = [f"--index-url={self.index.pytorch_url}", f"--pypi-url={self.index.simple_url}"]
        mine = [f"--matrix={self.matrix}", f"--cache={self.folder / 'cache'}"]
        told, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(told), redirect_stderr(errors):
            assert main(["--write", *where, *mine]) == 1
        assert errors.getvalue() == ""
        assert f"- torch {torch} of " in told.getvalue()
        return told.getvalue()

    def publish(self) -> str:
        """Tag what the repository has now; the tag."""
        self.version += 1
        tag = f"v1.{self.version}.0"
        release(self.repository, tag)
        return tag

    def newest(self, name: str) -> str:
        """The newest torch for this Python on Linux that a page of the index has now."""
        files = [one.filename for one in self.index.distributions(name, "torch")]
        mine = [one for one in files if re.search(r"-cp312-.*linux.*x86_64", one)]
        return max(Version(version_of(one)) for one in mine).public

    def facts(self) -> Matrix:
        """The matrix as it is now."""
        return loaded(self.matrix.read_text(encoding="utf-8"))


@pytest.fixture
def year(tmp_path: Path, template: Path) -> Iterator[Year]:
    repository = Path(shutil.copytree(template, tmp_path / "torch-starter"))
    with closing(GrowingIndex()) as index, index.root_page("nightly"), cloned_once(repository):
        yield Year(repository, tmp_path, index)


def answers_of(name: str) -> dict[str, Any]:
    """The answers of a project."""
    return {"compute_platform": name, "python_version": PYTHON, "ci": "none", **PROJECTS[name]}


def pins(project: Path) -> dict[str, str]:
    """The exact versions that a project asks for: without `+cu128`, which pip's constraints add."""
    return pins_in(project)


def answers(project: Path) -> dict[str, Any]:
    """What a project remembers of its answers, whatever the version of the template."""
    return {key: value for key, value in recorded(project).items() if key != "_commit"}


def assert_refused(year: Year, tag: str, name: str) -> None:
    """A new project cannot have a platform whose driver nobody knows."""
    choice = {"python_version": PYTHON, "compute_platform": name}
    with pytest.raises(UserMessageError, match="driver for CUDA 13 is not established"):
        copy(year.repository, year.folder / "refused", tag, **choice)


def learn(path: Path) -> None:
    """Write what no index tells: the driver of CUDA 13, and with which torch a torchaudio works."""
    yml, known = YAML(), data()
    yml.width = 1 << 16
    facts: Any = yml.load(path.read_text(encoding="utf-8"))
    facts["drivers"]["13"] = known["drivers"]["13"]
    facts["companions"]["torchaudio"]["2.11.0"] = known["companions"]["torchaudio"]["2.11.0"]
    for name in ("cu130", "cu132"):
        del facts["compute_platforms"][name]["blocked"]
    out = io.StringIO()
    yml.dump(facts, out)
    path.write_text(out.getvalue(), encoding="utf-8")


def assert_offers_only_known_drivers(matrix: Matrix) -> None:
    """No build that a menu leads to is for a CUDA whose driver nobody knows."""
    for manager in MANAGERS:
        usual = Asked(manager, PYTHON, "cpu")
        menu = usable(compute_platform_choices(matrix, usual))
        assert ("cu130" in menu) == ("13" in matrix.drivers)
        for asked in (one for name in menu for one in offered(matrix, manager, PYTHON, name)):
            for wheels in resolve(matrix, asked).wheels.values():  # type: ignore[union-attr]
                major = (wheels.toolkit or "").partition(".")[0]
                if wheels.accelerator == "cuda":
                    assert (major in matrix.drivers, bool(wheels.minimum_driver)) == (True, True)


def updated(project: Path, tag: str, capfd: pytest.CaptureFixture[str]) -> str:
    """Update a project, commit it; what its owner is told, in one line."""
    capfd.readouterr()
    run_update(project, defaults=True, unsafe=True, overwrite=True, vcs_ref=tag)
    assert_clean(project)
    commit(project)
    assert recorded(project)["_commit"] == tag
    return " ".join(capfd.readouterr().err.split())


def assert_told(
    name: str, before: Mapping[str, str], now: Mapping[str, str], refresh: str, update: str
) -> None:
    """What moved was foretold by the refresh, and said by the update."""
    lines = [one for one in refresh.splitlines() if re.search(rf"[ =]{name}[ ,]", one)]
    foretold = [one for one in lines if f" to {now['torch']}" in one]
    assert (name, bool(foretold), "Changed: " in update) == (name, before != now, before != now)
    for package in now:
        if before[package] != now[package]:
            was, is_now = re.escape(before[package]), re.escape(now[package])
            assert re.search(rf"\b{package} {was}(\+\w+)? -> {is_now}(\+\w+)?[;.]", update), update


def test_a_year_of_releases_reaches_the_projects_and_nothing_is_switched_without_a_word(
    year: Year, capfd: pytest.CaptureFixture[str]
) -> None:
    at_first = {name: answers(project) for name, project in year.projects.items()}
    expected = {name: {**known} for name, known in AT_FIRST.items()}
    assert {name: pins(one) for name, one in year.projects.items()} == expected
    stays: dict[str, tuple[str, str]] = {}
    tag = "v1.0.0"
    for torch in MONTHS:
        if torch == LEARNT:
            assert_refused(year, tag, "cu130")
            learn(year.matrix)
            del stays["cu126"]
        told = year.refresh(torch)
        gap = "cu130 (not known): the least NVIDIA driver for CUDA 13 is not established"
        assert (gap in told) == (MONTHS.index(torch) < MONTHS.index(LEARNT))
        assert_offers_only_known_drivers(year.facts())
        tag = year.publish()
        stays |= {name: said for (name, since), said in STAYS.items() if since == torch}
        for name, project in year.projects.items():
            said = updated(project, tag, capfd)
            before = expected[name]
            now = expected[name] = {**before, **MOVES[torch].get(name, {})}
            assert (torch, name, pins(project)) == (torch, name, now)
            assert (now["torch"] == year.newest(name)) == (torch not in WAITS.get(name, ()))
            assert_told(name, before, now, told, said)
            if way := re.search(r"--data compute_platform=(\w+)", said):
                assert Version(year.newest(way[1])) > Version(now["torch"])
            assert answers(project) == at_first[name]
            for words in stays.get(name, ()):
                assert words in said
            assert ("so torch stays" in said) == (name in stays)
    for name, project in year.projects.items():
        fresh = copy(year.repository, year.folder / f"fresh-{name}", tag, **answers_of(name))
        assert files(project) == files(fresh), name
