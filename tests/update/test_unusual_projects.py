"""Updates that cannot begin leave the project alone; a template without tags works all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from copier import run_copy

from render.projects import MATRIX_YML, commit, copier, copy, files, git, recorded, start, update
from update.versions import assert_clean, edit
from update.weekly_update import COPIER

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("dirty", "Destination repository is dirty"),
        ("no answers", "cannot obtain old template references from `.copier-answers.yml`"),
        ("no git", "Updating is only supported in git-tracked subprojects"),
        ("no YAML", "yaml.parser.ParserError: "),  # Copier's own: our code does not run yet
    ],
)
def test_an_update_that_cannot_begin_says_why_and_changes_nothing(
    history: Path, tmp_path: Path, damage: str, said: str
) -> None:
    project = start(history, tmp_path / "project", "v1.2.0")
    if damage == "dirty":
        (project / "README.md").write_text("# Unsaved work\n", encoding="utf-8")
    elif damage == "no answers":
        git(project, "rm", "--quiet", ".copier-answers.yml")
        commit(project)
    elif damage == "no YAML":
        (project / ".copier-answers.yml").write_text("license: [MIT\n", encoding="utf-8")
        commit(project)
    else:
        (project / ".git").rename(tmp_path / "git")
    before = files(project)
    result = copier("update", "--trust", "--defaults", project)
    assert result.returncode == 1
    assert said in result.stderr
    assert ("Traceback" in result.stderr) is (damage == "no YAML")
    assert files(project) == before


def test_a_template_without_tags_can_be_followed(git_template: Path, tmp_path: Path) -> None:
    template = tmp_path / "torch-starter"
    git(git_template, "clone", "--quiet", "--no-tags", ".", str(template))
    project = tmp_path / "project"
    run_copy(str(template), project, defaults=True, unsafe=True, quiet=True)
    git(project, "init", "--quiet")
    commit(project)
    edit(template, MATRIX_YML, "cpu: {name: CPU,", "cpu: {name: Central processor,")
    commit(template)
    update(project)
    assert_clean(project)
    assert recorded(project)["_commit"] == git(template, "rev-parse", "--short", "HEAD").strip()
    assert "Central processor" in (project / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def part(history: Path, tmp_path: Path) -> Path:
    """A project in a folder of a larger repository, which has a torch of its own elsewhere."""
    whole = tmp_path / "whole"
    (whole / "other").mkdir(parents=True)
    (whole / "other" / "pyproject.toml").write_text("# another\n", encoding="utf-8")
    git(whole, "init", "--quiet")
    project = copy(history, whole / "libs" / "train", "v1.2.0", ci="none")
    (project / "README.md").open("a", encoding="utf-8").write("\nOur own words.\n")
    commit(whole)
    return project


def test_a_project_in_a_folder_of_a_larger_repository_is_updated_there_alone(part: Path) -> None:
    whole = part.parent.parent
    result = copier("update", "--trust", "--defaults", cwd=part)
    assert result.returncode == 0, result.stderr
    assert_clean(part)
    changed = git(whole, "status", "--porcelain", "--untracked-files=all").splitlines()
    assert all(line[3:].startswith("libs/train/") for line in changed)
    assert "libs/train/pyproject.toml" in {line[3:] for line in changed}
    assert recorded(part)["_commit"] == "v2.0.0"
    assert "Our own words." in (part / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in whole.iterdir()} == {".git", "libs", "other"}


def test_the_weekly_update_of_such_a_project_commits_its_folder_alone(
    part: Path, tmp_path: Path
) -> None:
    whole = part.parent.parent
    script = part / "scripts" / "torch_starter" / "template_update.py"
    command = [sys.executable, str(script), "prepare", "--report", str(tmp_path / "report")]
    done = subprocess.run(
        [*command, "--copier", str(COPIER)], cwd=part, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    names = git(whole, "show", "--name-only", "--format=", "HEAD").split()
    assert names
    assert all(name.startswith("libs/train/") for name in names)
