"""The bootstrap of an adopted repository installs the build that was proposed, on loopback."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from adopting.repositories import NAMES, layout, made, options, run
from install.checkouts import installed
from install.managers import Tools, add_real
from render.projects import PYTHON, files, git

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="runs bootstrap.sh"),
    pytest.mark.usefixtures("real_pip"),
    pytest.mark.network,
    pytest.mark.slow,
]
BY_SETUPTOOLS = ("conda", "setup-py")
# `some` keeps the first and the sixth: one of uv, and one with a setup.py.
INSTALLING = ["uv-extras", "hatch", "notebooks", "poetry-1", "conda", "setup-py"]
INSTALLING += ["requirements-split", "poetry-2", "uv-sources"]


@pytest.fixture(scope="session")
def real_setuptools(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> None:
    """setuptools on the loopback index: a stub could not run a setup.py."""
    add_real(tools, tmp_path_factory.mktemp("setuptools"), "setuptools>=77")


def adopted(tools: Tools, template: Path, folder: Path, name: str) -> Path:
    """A repository whose index is the one on loopback, after its adoption."""
    one = layout(name)
    repository = made(one, folder / name, tools.index.pytorch_url)
    more = [f"python_version={PYTHON}"]
    if not any(tools.index.pytorch_url.encode() in text for text in files(repository).values()):
        more.append(f"pytorch_index_url={tools.index.pytorch_url}")
    done = run(template, repository, *options(one, *more), "--write")
    assert done.returncode == 0, done.stderr
    return repository


def wanted(repository: Path) -> dict[str, str]:
    """The versions that the data file of the project names for Linux."""
    data = json.loads((repository / "scripts/torch_builds.json").read_text(encoding="utf-8"))
    build = data["builds"][data["compute_platform"]]
    return dict({**build, **build["platforms"]["linux-x86_64"]}["packages"])


@pytest.mark.some(2)
@pytest.mark.parametrize("name", INSTALLING)
def test_the_bootstrap_of_an_adopted_repository_installs_the_proposed_build(
    tools: Tools, git_template: Path, tmp_path: Path, name: str, request: pytest.FixtureRequest
) -> None:
    if name in BY_SETUPTOOLS:
        request.getfixturevalue("real_setuptools")
    repository = adopted(tools, git_template, tmp_path, name)
    tools.bootstrap(repository)
    has = installed(tools, repository)
    assert {name: has.get(name) for name in wanted(repository)} == wanted(repository)
    new = git(repository, "status", "--porcelain").split()
    assert set(new) <= {"??", "uv.lock", "poetry.lock"}


def test_all_layouts_but_those_with_what_loopback_lacks_are_installed() -> None:
    """A package from git, and a backend that the index has no stub of."""
    assert {*NAMES} - {*INSTALLING} == {"requirements-alone", "pdm"}
