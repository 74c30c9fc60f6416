"""A companion that newer torches lack holds torch where it is, and the update says how to go on."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from copier import VcsRef
from copier.errors import UserMessageError

from render.projects import commit, copier_here, copy, recorded, start
from render.reading import pins_in
from update.versions import assert_clean, refused, release_with
from update.weekly_update import WeeklyUpdate

BOTH = ["torchvision", "torchaudio"]
PYPI: dict[str, Any] = {"compute_platform": "pypi", "torch_packages": BOTH}
WHY = "PyPI's torchaudio 2.11.0 is built for CUDA 13.0 on Linux, its torch 2.15.0 for CUDA 13.2"
NOTE = f"{WHY}, so torch stays at 2.14.1. Move on with:"


def versions(project: Path) -> dict[str, str]:
    """The exact versions that a project asks for."""
    return pins_in(project)


def printed(project: Path, *arguments: str) -> str:
    """What an update prints; its files are committed."""
    done = copier_here("update", "--trust", "--defaults", *arguments, project)
    assert done.returncode == 0, done.stderr
    assert_clean(project)
    commit(project)
    return done.stderr


def follow(project: Path, said: str) -> str:
    """Run the one command of a message; what that prints."""
    [command] = re.findall(r"copier update [^`\n]+", said)
    words = shlex.split(command)
    assert words[:4] == ["copier", "update", "--trust", "--defaults"]
    return printed(project, *words[4:])


@pytest.mark.slow
@pytest.mark.parametrize("manager", ["uv", "poetry", "pip"])
def test_a_companion_of_another_cuda_keeps_torch_until_the_command_is_run(
    history: Path, tmp_path: Path, manager: str
) -> None:
    project = start(history, tmp_path / "project", "v1.1.0", **PYPI, package_manager=manager)
    assert versions(project)["torch"] == "2.11.0"
    said = printed(project)
    assert NOTE in " ".join(said.split())
    assert "torchaudio 2.11.0 stays: for torch 2.14.1 as well." in said
    assert recorded(project)["torch_packages"] == BOTH
    assert recorded(project)["_commit"] == "v2.0.0"
    before = versions(project)
    assert (before["torch"], before["torchaudio"]) == ("2.14.1", "2.11.0")
    again = printed(project, "--vcs-ref", ":current:")
    assert NOTE in " ".join(again.split())
    assert versions(project) == before

    said = follow(project, said)

    assert "torch 2.14.1 -> 2.15.0" in said
    assert "stays" not in said
    assert recorded(project)["torch_packages"] == ["torchvision"]
    assert versions(project)["torch"] == "2.15.0"


@pytest.mark.slow
def test_a_project_that_was_told_to_stay_for_torchaudio_may_move(
    history: Path, tmp_path: Path
) -> None:
    answers: dict[str, Any] = {"torch_packages": BOTH, "torch_version": "2.11"}
    project = start(history, tmp_path / "project", "v1.1.0", **answers)
    said = printed(project)
    assert "torchaudio 2.11.0 works with newer torch too, so torch need not stay at 2.11" in said
    assert versions(project)["torch"] == "2.11.0"
    said = follow(project, said)
    assert "torchaudio 2.11.0 stays: for torch 2.14.1 as well." in said
    assert {*versions(project).items()} >= {("torch", "2.14.1"), ("torchaudio", "2.11.0")}
    assert "need not stay" not in printed(project, "--vcs-ref", ":current:")


@pytest.mark.slow
def test_the_weekly_update_of_such_a_project_is_prepared(history: Path, tmp_path: Path) -> None:
    project = start(history, tmp_path / "project", "v1.1.0", **PYPI)
    weekly = WeeklyUpdate(project, tmp_path)
    assert NOTE in " ".join(weekly.done("prepare", "--no-check").split())
    assert weekly.ready["version"] == "2.0.0"


@pytest.mark.slow
def test_a_new_answer_is_refused_with_the_ways_out(history: Path, tmp_path: Path) -> None:
    sentence = f"torch_packages: {WHY}: choose torch 2.14, or cpu, or leave torchaudio out."
    project = start(history, tmp_path / "project", "v2.0.0", compute_platform="pypi")
    assert refused(project, vcs_ref=VcsRef.CURRENT, torch_packages=BOTH) == sentence
    with pytest.raises(UserMessageError) as error:
        copy(history, tmp_path / "fresh", **PYPI)
    assert str(error.value) == sentence


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"compute_platform": "pypi", "torch_version": "2.15"}, WHY),
        ({"compute_platform": "cu132"}, "no torchaudio 2.11.0 is known for cu132"),
    ],
    ids=str,
)
def test_answers_that_no_torch_with_it_fits_are_refused_with_the_command(
    history: Path, tmp_path: Path, answers: dict[str, str], reason: str
) -> None:
    project = start(history, tmp_path / "project", "v1.1.0", torch_packages=BOTH)
    sentence = refused(project, **answers)
    assert sentence.startswith(f"torch_packages: {reason}: choose ")
    follow(project, sentence)
    after = recorded(project)
    assert {name: after[name] for name in answers} == answers
    assert after["torch_packages"] == ["torchvision"]


@pytest.mark.slow
def test_a_refusal_of_the_same_version_has_a_command_for_the_same_version(
    history: Path, tmp_path: Path
) -> None:
    project = start(history, tmp_path / "project", "v1.3.0", torch_packages=BOTH)
    answers = {"compute_platform": "cu132", "vcs_ref": VcsRef.CURRENT}
    sentence = refused(project, **answers)
    assert "copier update --trust --defaults --vcs-ref=:current: --data compute_" in sentence
    follow(project, sentence)
    assert recorded(project)["_commit"] == "v1.3.0"
    assert recorded(project)["torch_packages"] == ["torchvision"]


def forget_torchaudio(facts: dict[str, Any]) -> None:
    del facts["companions"]["torchaudio"]


@pytest.mark.slow
def test_a_companion_that_the_new_version_does_not_know_stops_the_update(
    repository: Path, tmp_path: Path
) -> None:
    answers: dict[str, Any] = {"torch_packages": BOTH, "torch_version": "2.11"}
    project = start(repository, tmp_path / "project", **answers)
    release_with(repository, "v1.1.0", forget_torchaudio)
    sentence = refused(project)
    assert sentence.startswith("torch_packages: torchaudio is not on offer any more: leave")
    follow(project, sentence)
    assert "torchaudio" not in versions(project)
    assert versions(project)["torch"] == "2.11.0"


def without_torchvision_for_new_pythons(facts: dict[str, Any]) -> None:
    for version in ("0.29.0", "0.29.1", "0.29.2"):
        facts["companions"]["torchvision"][version]["python"] = "3.11"


@pytest.mark.slow
def test_torchvision_that_has_no_wheels_for_the_python_any_more_keeps_torch_too(
    repository: Path, tmp_path: Path
) -> None:
    project = start(repository, tmp_path / "project", python_version="3.12")
    release_with(repository, "v1.1.0", without_torchvision_for_new_pythons)
    said = printed(project)
    assert "torchvision 0.29.1 has no Python 3.12 wheels, so torch stays at 2.13.0." in said
    assert recorded(project)["torch_packages"] == ["torchvision"]
    assert versions(project)["torch"] == "2.13.0"
    follow(project, said)
    assert versions(project) == {"torch": "2.14.1"}
