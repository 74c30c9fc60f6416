"""An adopted repository is updated as any project is, and its own files stay its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adopting.repositories import NAMES, layout, made, options, run
from render.projects import files, recorded, release, update

OWN = ("README.md", "LICENSE", ".gitignore", ".gitattributes", ".editorconfig", "renovate.json")
CONFLICT = b"<<<<<<<"


@pytest.fixture(scope="module")
def newer(git_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template with a second version, in which much has changed that owners have their own of."""
    folder = tmp_path_factory.mktemp("newer") / "torch-starter"
    shutil.copytree(git_template, folder)
    for name in (
        "README.md.jinja",
        "LICENSE.jinja",
        ".gitignore",
        ".gitattributes",
        "bootstrap.sh",
    ):
        with (folder / "template" / name).open("a", encoding="utf-8", newline="") as file:
            file.write("# In the next version\n")
    release(folder, "v1.1.0")
    return folder


# `some` keeps the first and the seventh.
FIRST = ["uv-extras", "conda", "hatch", "notebooks", "pdm", "requirements-alone", "poetry-2"]


@pytest.mark.slow
@pytest.mark.some(2)
@pytest.mark.parametrize("name", [*FIRST, *(name for name in NAMES if name not in FIRST)])
def test_an_update_changes_the_build_and_nothing_of_the_owner_s(
    newer: Path, tmp_path: Path, name: str
) -> None:
    one = layout(name)
    repository = made(one, tmp_path / name)
    done = run(newer, repository, *options(one), "--vcs-ref", "v1.0.0", "--write")
    assert done.returncode == 0, done.stderr
    before = files(repository)

    # Without [project], the Python is in a line that the template does not have.
    python = "3.11" if name == "poetry-1" else "3.12"
    update(repository, python_version=python, compute_platform="cu126", torch_version="2.12")

    after = files(repository)
    assert recorded(repository)["_commit"] == "v1.1.0"
    assert [name for name, text in after.items() if CONFLICT in text or name.endswith(".rej")] == []
    assert b"In the next version" in after["bootstrap.sh"]
    untouched = {name for name in one.files if name not in ("pyproject.toml", ".python-version")}
    for file in untouched.union(OWN) & {*before, *after}:
        assert after.get(file) == before.get(file), file
    pins = "requirements/torch-cu126.txt"
    assert b"torch==2.12.1" in after[pins if pins in after else "pyproject.toml"].replace(
        b" == ", b"=="
    )
