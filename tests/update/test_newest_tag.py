"""Projects of the newest version that users have, updated to what is to be the next one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from packaging.version import Version

from release import tags
from render.projects import ROOT, copier, git, recorded, release, start, working_tree
from update.versions import assert_clean, clone

PROJECTS = [("uv", "cpu"), ("poetry", "cu130"), ("pip", "pypi")]


def newest_tag() -> str | None:
    """The tag that Copier takes: the newest one, a pre-release only where there is no other."""
    found = tags(ROOT)
    finals = [tag for tag, version in found.items() if not version.is_prerelease]
    return next(iter([*finals, *found]), None)


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """This repository with what is here as its next version: its folder, newest tag and that.

    In a clone that has no tag, what was committed last stands for the version that users have.
    """
    repository = clone(ROOT, tmp_path_factory.mktemp("candidate") / "torch-starter")
    newest = newest_tag() or "v0.0.1"
    if not newest_tag():
        git(repository, "tag", newest)
    git(repository, "rm", "--quiet", "-r", ".")
    for file in working_tree():
        (repository / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, repository / file)
    following = f"v{Version(newest).major + 1}.0.0"
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "Before the next")
    release(repository, following)
    return repository, newest, following


def torch_of(project: Path) -> str:
    """The release of torch that a project has."""
    text = (project / "scripts" / "torch_builds.json").read_text(encoding="utf-8")
    return str(json.loads(text)["release"])


@pytest.mark.slow
@pytest.mark.xdist_group("newest tag")
@pytest.mark.parametrize(("manager", "compute_platform"), PROJECTS)
def test_a_project_of_the_newest_version_is_updated_to_what_is_here(
    candidate: tuple[Path, str, str], tmp_path: Path, manager: str, compute_platform: str
) -> None:
    template, newest, following = candidate
    answers = {"package_manager": manager, "compute_platform": compute_platform}
    project = start(template, tmp_path / "project", newest, **answers)
    before, torch = recorded(project), torch_of(project)
    assert before["_commit"] == newest

    done = copier("update", "--trust", "--defaults", project)

    assert done.returncode == 0, done.stderr
    assert_clean(project)
    after = recorded(project)
    assert after["_commit"] == following
    kept = {name: said for name, said in before.items() if not name.startswith("_")}
    assert {name: after.get(name) for name in kept} == kept
    assert f"is up to date: torch {torch_of(project)}" in done.stderr
    assert torch == torch_of(project) or f"Changed: torch {torch}" in done.stderr
