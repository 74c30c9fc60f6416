"""An update that would have to change what a project asked for stops, and leaves it alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from copier.errors import UserMessageError

from render.projects import copier, files, git, recorded, start, update
from update.versions import assert_clean, forget, release_as_of, release_with


def refused(project: Path, **answers: Any) -> str:  # noqa: ANN401
    """The sentence with which an update is refused; the project is untouched."""
    before = files(project)
    with pytest.raises(UserMessageError) as error:
        update(project, **answers)
    assert files(project) == before
    assert git(project, "status", "--porcelain") == ""
    return str(error.value)


def retire(facts: dict[str, Any]) -> None:
    facts["policy"]["compute_platforms"]["retired"] = {"cu118": "cu126"}


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


def test_the_copier_command_refuses_it_in_one_sentence(repository: Path, tmp_path: Path) -> None:
    release_with(repository, "v1.1.0", forget("cu118"))
    project = start(repository, tmp_path / "project", compute_platform="cu118")
    for mode in (["--defaults"], ["--skip-answered", "--defaults"]):
        result = copier("update", "--trust", *mode, project)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        assert result.stderr.splitlines()[-1].startswith("compute_platform: 'cu118' is not on")
        assert git(project, "status", "--porcelain") == ""


def test_a_python_that_the_new_version_does_not_offer_stops_the_update(
    repository: Path, tmp_path: Path
) -> None:
    release_with(
        repository, "v1.1.0", lambda facts: facts["policy"]["python"]["offered"].remove("3.10")
    )
    project = start(repository, tmp_path / "project", python_version="3.10")
    assert refused(project) == (
        "python_version: '3.10' is not on offer: choose 3.11, 3.12, 3.13, 3.14."
    )


def test_a_new_python_stops_where_the_recorded_platform_has_no_wheels_for_it(
    history: Path, tmp_path: Path
) -> None:
    project = start(history, tmp_path / "project", "v2.0.0", compute_platform="cu118")
    assert refused(project, python_version="3.14") == (
        "compute_platform: cu118 ends at torch 2.7.1, which has no Python 3.14 wheels:"
        " choose Python 3.13 or older, or cu126."
    )


def test_torchaudio_stops_the_update_to_a_torch_that_has_none(
    history: Path, tmp_path: Path
) -> None:
    packages = ["torchvision", "torchaudio"]
    project = start(history, tmp_path / "project", "v1.1.0", torch_packages=packages)
    assert refused(project) == (
        "torch_packages: torchaudio ends with torch 2.11:"
        " choose torch 2.11, or leave torchaudio out."
    )
    assert recorded(project)["torch_packages"] == packages


@pytest.mark.parametrize(
    "way_out", [{"torch_version": "2.11"}, {"torch_packages": ["torchvision"]}], ids=str
)
def test_both_ways_out_of_the_refused_torchaudio_work(
    history: Path, tmp_path: Path, way_out: dict[str, Any]
) -> None:
    packages = ["torchvision", "torchaudio"]
    project = start(history, tmp_path / "project", "v1.1.0", torch_packages=packages)
    update(project, **way_out)
    assert_clean(project)
    assert {name: recorded(project)[name] for name in way_out} == way_out


def withdraw(facts: dict[str, Any]) -> None:
    del facts["releases"]["2.13.0"]


def test_a_release_that_the_new_version_withdrew_stops_the_update(
    repository: Path, tmp_path: Path
) -> None:
    project = start(repository, tmp_path / "project", torch_version="2.13")
    release_with(repository, "v1.1.0", withdraw)
    assert refused(project).startswith("torch_version: '2.13' is not on offer: choose latest")


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


def test_poetry_stops_where_the_pins_of_the_new_torch_are_not_established(
    repository: Path, tmp_path: Path
) -> None:
    release_as_of(repository, "2.12.1", "v1.1.0")
    answers = {"package_manager": "poetry", "compute_platform": "cu130"}
    project = start(repository, tmp_path / "project", "v1.1.0", **answers)
    git(repository, "checkout", "--quiet", "v1.0.0", "--", "extensions/version_matrix.yml")
    release_with(
        repository,
        "v1.2.0",
        lambda facts: facts["cuda_toolkits"]["versions"]["13.0.3"].pop("poetry_pins"),
    )
    sentence = refused(project)
    assert sentence.startswith("compute_platform: Poetry would lock two versions")
    assert sentence.endswith("choose uv, or pip.")
