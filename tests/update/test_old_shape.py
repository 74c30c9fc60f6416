"""Projects whose exact torch stands in `[project] dependencies`, as it once did."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from matrix.doctored import MANAGERS
from render.projects import ROOT, commit, copy, files, git, recorded, release, start, update
from render.reading import pins_in, pyproject
from update.versions import assert_clean

OLD = ROOT / "tests" / "data" / "old_shape"


@pytest.fixture
def old(repository: Path) -> Path:
    """The template with a version v0.9.0, which has the old shape, and v2.0.0, as it is now."""
    now = {path: path.read_bytes() for path in repository.glob("*/pyproject*.jinja")}
    for path in now:
        if (OLD / path.name).exists():
            text = (OLD / path.name).read_text(encoding="utf-8")
            was = "requirement | replace(' == ', '==') | to_toml"  # as these lines had it then
            path.write_text(text.replace("requirement | to_toml", was), encoding="utf-8")
    release(repository, "v0.9.0")
    for path, content in now.items():
        path.write_bytes(content)
    release(repository, "v2.0.0")
    return repository


def edited(project: Path) -> list[str]:
    """An owner's edits around the lines that move; what each must have become."""
    path = project / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    for after, own in (
        ('    "numpy",\n', '    "lightning>=2.5",\n'),
        ('    "pytest>=8.3",\n', '    "pytest-cov",\n'),
        (
            "explicit = true\n",
            '\n[[tool.uv.index]]\nname = "own"\nurl = "https://own.example.com"\n',
        ),
        ("line-length = 100\n", 'target-version = "py312"\n'),
        ('version = "0.1.0"\n', 'keywords = ["mine"]\n'),
    ):
        text = text.replace(after, after + own)
    text = text.replace('"mypy>=1.15"', '"mypy>=1.16"')
    path.write_text(text, encoding="utf-8")
    commit(project)
    return ['"lightning>=2.5"', '"pytest-cov"', '"py312"', '"mypy>=1.16"', 'keywords = ["mine"]']


@pytest.mark.few(1)
@pytest.mark.parametrize("compute_platform", ["cu126", "pypi", "rocm7.2"])
@pytest.mark.parametrize("manager", MANAGERS)
def test_they_are_moved_without_a_conflict(
    old: Path, tmp_path: Path, manager: str, compute_platform: str
) -> None:
    answers = {"package_manager": manager, "compute_platform": compute_platform}
    project = start(old, tmp_path / "project", "v0.9.0", **answers)
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    assert any(line.startswith("torch==") for line in pyproject(text)["project"]["dependencies"])
    untouched = Path(shutil.copytree(project, tmp_path / "untouched"))
    own = edited(project)

    for one in (project, untouched):
        update(one)
        assert_clean(one)

    new = copy(old, tmp_path / "new", "v2.0.0", **answers)
    assert files(untouched) == files(new)
    assert recorded(project)["_commit"] == "v2.0.0"
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    assert all(line in text for line in own)
    assert pins_in(project) == pins_in(new)
    dependencies = pyproject(text)["project"]["dependencies"]
    assert not any("==" in line for line in dependencies), dependencies
    git(project, "diff", "--check")
