"""An update that would have to change what a project asked for stops, and leaves it alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from render.projects import (
    MATRIX_YML,
    commit,
    copier,
    copy,
    files,
    git,
    recorded,
    release,
    start,
    update,
)
from update.versions import assert_clean, edit, forget, refused, release_as_of, release_with


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, history: Path) -> Path:
    """A project of torch 2.13, which nobody changes."""
    return start(history, tmp_path_factory.mktemp("untouched") / "project", "v1.2.0")


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        (
            "compute_platform: cpu\n",
            "platform: cu126\n",
            "platform in .copier-answers.yml is no question of version v1.2.0."
            " Correct that line or take it out, and commit.",
        ),
        (
            "compute_platform: cpu\n",
            "compute_platfrom: cu126\n",
            "compute_platfrom in .copier-answers.yml is no question of version v1.2.0:"
            " did you mean compute_platform? Correct that line or take it out, and commit.",
        ),
        (
            "compute_platform: cpu\n",
            "",
            "compute_platform: .copier-answers.yml has no answer. Write its line back"
            " (`git log -p -- .copier-answers.yml` shows it), and commit.",
        ),
        (
            "compute_platform: cpu",
            "compute_platform: {a: b}",
            "compute_platform: {'a': 'b'} is not",
        ),
        ("license: MIT", "license:", "license: None is not text: write it in quotes"),
        (
            "python_version: '3.12'",
            "python_version: 3.12",
            "python_version: 3.12 was read as a num",
        ),
        ("torch_packages:\n- torchvision", "torch_packages: 3", "torch_packages: it is a list:"),
    ],
)
def test_answers_edited_to_what_no_version_knows_stop_the_update(
    untouched: Path, tmp_path: Path, line: str, instead: str, said: str
) -> None:
    project = Path(shutil.copytree(untouched, tmp_path / "project"))
    edit(project, ".copier-answers.yml", line, instead)
    commit(project)
    assert refused(project).startswith(said)


MIGRATION = """\
import pathlib
file = pathlib.Path(".copier-answers.yml")
text = file.read_text(encoding="utf-8")
file.write_text(text.replace("project_description:", "summary:"), encoding="utf-8")
"""


@pytest.mark.slow
def test_a_question_that_a_version_renames_takes_its_answer_along(
    repository: Path, tmp_path: Path
) -> None:
    """As CONTRIBUTING.md has it: with a migration before the update."""
    project = start(repository, tmp_path / "project", project_description="Finds *cats*")
    files_with_it = git(repository, "grep", "--name-only", "project_description").splitlines()
    for name in files_with_it:
        edit(repository, name, "project_description", "summary")
    (repository / "migrations").mkdir()
    (repository / "migrations/summary.py").write_text(MIGRATION, encoding="utf-8")
    script = "{{ _copier_conf.src_path }}/migrations/summary.py"
    text = (repository / "copier.yml").read_text(encoding="utf-8")
    (repository / "copier.yml").write_text(
        f"{text}\n_migrations:\n  - version: v2.0.0\n    when: \"{{{{ _stage == 'before' }}}}\"\n"
        f'    command: ["{{{{ _copier_python }}}}", "{script}"]\n',
        encoding="utf-8",
    )
    release(repository, "v2.0.0")
    update(project)
    assert_clean(project)
    assert recorded(project)["summary"] == "Finds *cats*"
    assert "project_description" not in recorded(project)
    fresh = copy(repository, tmp_path / "fresh", summary="Finds *cats*")
    assert files(project) == files(fresh)


def retire(facts: dict[str, Any]) -> None:
    facts["policy"]["compute_platforms"]["retired"] = {"cu118": "cu126"}


@pytest.mark.slow
def test_a_platform_that_the_new_version_does_not_know_stops_the_update(
    repository: Path, tmp_path: Path
) -> None:
    release_with(repository, "v1.1.0", forget("cu118"))
    project = start(repository, tmp_path / "project", compute_platform="cu118")
    sentence = refused(project)
    assert sentence.startswith("compute_platform: 'cu118' is not on offer: choose cpu, cu132")
    update(project, compute_platform="cu126")
    assert recorded(project)["compute_platform"] == "cu126"
    assert_clean(project)


@pytest.mark.slow
def test_the_copier_command_refuses_it_in_one_sentence(repository: Path, tmp_path: Path) -> None:
    release_with(repository, "v1.1.0", forget("cu118"))
    project = start(repository, tmp_path / "project", compute_platform="cu118")
    for mode in (["--defaults"], ["--skip-answered", "--defaults"]):
        result = copier("update", "--trust", *mode, project)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        assert result.stderr.splitlines()[-1].startswith("compute_platform: 'cu118' is not on")
        assert git(project, "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_python_that_the_new_version_does_not_offer_stops_the_update(
    repository: Path, tmp_path: Path
) -> None:
    release_with(
        repository, "v1.1.0", lambda facts: facts["policy"]["python"]["offered"].remove("3.10")
    )
    project = start(repository, tmp_path / "project", python_version="3.10")
    assert refused(project) == (
        "python_version: '3.10' is not on offer: choose 3.11, 3.12, 3.13, 3.14, 3.15."
    )


@pytest.mark.slow
def test_a_new_python_stops_where_the_recorded_platform_has_no_wheels_for_it(
    history: Path, tmp_path: Path
) -> None:
    project = start(history, tmp_path / "project", "v2.0.0", compute_platform="cu118")
    assert refused(project, python_version="3.14") == (
        "compute_platform: cu118 ends at torch 2.7.1, which has no Python 3.14 wheels:"
        " choose Python 3.13 or older, or cu126."
    )


def withdraw(facts: dict[str, Any]) -> None:
    del facts["releases"]["2.13.0"]
    del facts["companions"]["torchvision"]["0.28.0"]


@pytest.mark.slow
def test_a_release_that_the_new_version_withdrew_stops_the_update(
    repository: Path, tmp_path: Path
) -> None:
    project = start(repository, tmp_path / "project", torch_version="2.13")
    release_with(repository, "v1.1.0", withdraw)
    assert refused(project).startswith("torch_version: '2.13' is not on offer: choose latest")


@pytest.mark.slow
def test_a_retired_platform_stays_and_the_update_says_how_to_move_on(
    repository: Path, tmp_path: Path
) -> None:
    project = start(repository, tmp_path / "project", compute_platform="cu118")
    release_with(repository, "v1.1.0", retire)
    result = copier("update", "--trust", "--defaults", project)
    assert result.returncode == 0, result.stderr
    assert recorded(project)["compute_platform"] == "cu118"
    assert recorded(project)["_commit"] == "v1.1.0"
    command = "copier update --trust --defaults --data compute_platform=cu126"
    assert command in result.stderr


@pytest.mark.slow
def test_the_way_on_from_a_retired_platform_works(repository: Path, tmp_path: Path) -> None:
    project = start(repository, tmp_path / "project", compute_platform="cu118")
    release_with(repository, "v1.1.0", retire)
    result = copier("update", "--trust", "--defaults", "--data", "compute_platform=cu126", project)
    assert result.returncode == 0, result.stderr
    assert "retired" not in result.stderr
    assert recorded(project)["compute_platform"] == "cu126"


def test_a_retired_platform_can_still_be_asked_for_by_name(
    repository: Path, tmp_path: Path
) -> None:
    release_with(repository, "v1.1.0", retire)
    project = start(repository, tmp_path / "project", "v1.1.0", compute_platform="cu118")
    assert recorded(project)["compute_platform"] == "cu118"


@pytest.mark.slow
def test_poetry_stops_where_the_pins_of_the_new_torch_are_not_established(
    repository: Path, tmp_path: Path
) -> None:
    release_as_of(repository, "2.12.1", "v1.1.0")
    answers = {"package_manager": "poetry", "compute_platform": "cu130"}
    project = start(repository, tmp_path / "project", "v1.1.0", **answers)
    git(repository, "checkout", "--quiet", "v1.0.0", "--", MATRIX_YML)
    release_with(
        repository,
        "v1.2.0",
        lambda facts: facts["cuda_toolkits"]["versions"]["13.0.3"].pop("poetry_pins"),
    )
    sentence = refused(project)
    assert sentence.startswith("compute_platform: Poetry would lock two versions")
    assert sentence.endswith("choose uv, or pip.")
