"""An update adds no program to a project that did not ask, and touches none that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from render.projects import commit, copier, files, git, recorded, release, start, update
from update.versions import assert_clean

SOURCE = "src/my_torch_project"
OF_TRAINING = "template/{% if brings_training() %}src{% endif %}/{{ package_name }}"


def without_the_question(repository: Path) -> None:
    """Make v1.1.0 a version that is older than the question."""
    path = repository / "copier.yml"
    text = path.read_text(encoding="utf-8")
    text, count = re.subn(r"(?ms)^starter:\n.*?\n\n", "", text)
    assert count == 1
    path.write_text(text, encoding="utf-8")
    for file in (repository / "template").rglob("*"):
        if file.is_file() and file.suffix == ".jinja":
            old = file.read_text(encoding="utf-8")
            block = r'(?ms)^\{% if starter == "training" %\}\n.*?^\{% endif %\}\n'
            old = re.sub(block, "", old).replace('starter == "training"', "false")
            file.write_text(old, encoding="utf-8")
    git(repository, "rm", "-r", "--quiet", "--force", ":(glob)template/*brings_training*/**")
    release(repository, "v0.9.0")


def test_a_project_that_is_older_than_the_question_gets_nothing_added(
    repository: Path, tmp_path: Path
) -> None:
    git(repository, "checkout", "--quiet", "-b", "old")
    without_the_question(repository)
    project = start(repository, tmp_path / "project", "v0.9.0")
    assert "starter" not in recorded(project)
    before = files(project)

    update(project, "v1.0.0")

    assert_clean(project)
    assert recorded(project)["starter"] == "package"
    changed = {name for name, text in files(project).items() if before.get(name) != text}
    assert changed == {".copier-answers.yml"}
    assert files(project).keys() == before.keys()


def test_a_default_for_new_projects_does_not_reach_older_ones(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repository, "checkout", "--quiet", "-b", "old")
    without_the_question(repository)
    project = start(repository, tmp_path / "project", "v0.9.0")
    settings = tmp_path / "settings.yml"
    settings.write_text("defaults:\n  starter: training\n", encoding="utf-8")
    monkeypatch.setenv("COPIER_SETTINGS_PATH", str(settings))
    before = files(project)

    done = copier("update", "--trust", "--defaults", "--vcs-ref=v1.0.0", project)

    assert done.returncode == 0, done.stderr
    assert recorded(project)["starter"] == "package"
    assert files(project).keys() == before.keys()
    new = tmp_path / "new"
    done = copier("copy", "--trust", "--defaults", "--vcs-ref=v1.0.0", repository, new)
    assert recorded(new)["starter"] == "training", done.stderr


def test_the_files_of_the_training_are_the_owner_s(repository: Path, tmp_path: Path) -> None:
    project = start(repository, tmp_path / "project", starter="training")
    own = project / SOURCE / "model.py"
    own.write_text("# mine\n", encoding="utf-8")
    (project / SOURCE / "report.py").unlink()
    (project / "scripts/train.sbatch").unlink()
    commit(project)
    before = {name: text for name, text in files(project).items() if name != ".copier-answers.yml"}
    for name in ("data", "model", "report", "training"):
        path = repository / OF_TRAINING / f"{name}.py"
        path.write_text(f"# new\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    release(repository, "v2.0.0")

    update(project)

    assert_clean(project)
    after = {name: text for name, text in files(project).items() if name != ".copier-answers.yml"}
    assert recorded(project)["_commit"] == "v2.0.0"
    assert after == before


def test_a_package_may_get_the_training_later_and_keeps_what_it_has(
    repository: Path, tmp_path: Path
) -> None:
    project = start(repository, tmp_path / "project")
    own = project / SOURCE / "model.py"
    own.write_text("# mine\n", encoding="utf-8")
    commit(project)

    pyproject = project / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    text = text.replace('    "numpy",\n', '    "numpy>=2",\n    "lightning",\n')
    pyproject.write_text(text, encoding="utf-8")
    commit(project)

    to = ("update", "--trust", "--defaults", "--vcs-ref=:current:", project, "--data")
    done = copier(*to, "starter=training")

    assert done.returncode == 0, done.stderr
    note = "src/my_torch_project/model.py: here before, and left as it was, "
    assert note in done.stderr.replace("\n", " ")
    assert_clean(project)
    assert own.read_text(encoding="utf-8") == "# mine\n"
    assert (project / SOURCE / "training.py").exists()
    assert '"tyro' in (project / "pyproject.toml").read_text(encoding="utf-8")

    (project / "src/my_torch_project/model.py").unlink()
    commit(project)
    done = copier(*to, "starter=package")
    assert "src/my_torch_project/__main__.py and src/my_torch_project/checkpoints.py and what" in (
        done.stderr.replace("\n", " ")
    )
    assert (project / SOURCE / "training.py").exists()
