"""What `copier copy` and `copier update` print, run as a person would."""

from __future__ import annotations

from pathlib import Path

import pytest

from render.projects import copier, git, recorded, start
from update.versions import assert_clean

WAY_ON = "copier update --trust --defaults --data compute_platform=cu126"


def printed(project: Path, *data: str) -> str:
    """What an update prints."""
    given = [part for answer in data for part in ("--data", answer)]
    result = copier("update", "--trust", "--defaults", *given, project)
    assert result.returncode == 0, result.stderr
    assert_clean(project)
    return result.stderr


@pytest.mark.slow
def test_an_update_says_what_it_changed(history: Path, tmp_path: Path) -> None:
    project = start(history, tmp_path / "project", "v1.2.0", compute_platform="cu130")
    text = printed(project)
    assert "Changed: torch 2.13.0+cu130 -> 2.14.1+cu130; torchvision 0.28.0+cu130 -> " in text
    assert "has ended" not in text


@pytest.mark.slow
def test_a_platform_that_ended_stays_and_the_update_says_where_and_since_when(
    history: Path, tmp_path: Path
) -> None:
    project = start(history, tmp_path / "project", "v1.1.0", compute_platform="cu128")
    text = printed(project)
    assert recorded(project)["compute_platform"] == "cu128"
    assert (
        "cu128 has ended: torch 2.12.0 of 2026-05-13 and newer do not have it,"
        " so torch stays at 2.11.0. Move on with:" in text
    )
    assert WAY_ON in text
    to_cu132 = WAY_ON.replace("cu126", "cu132")
    assert (
        f"Volta are new.\n\nTo keep Blackwell, instead:\n\n    {to_cu132}\n\ncu132: torch" in text
    )
    assert "Changed:" not in text


@pytest.mark.slow
def test_the_command_in_the_message_moves_on(history: Path, tmp_path: Path) -> None:
    packages = ["torchvision", "torchaudio"]
    answers = {"compute_platform": "cu118", "torch_packages": packages}
    project = start(history, tmp_path / "project", "v1.1.0", **answers)
    text = printed(project)
    command = next(line.strip() for line in text.splitlines() if line.strip().startswith(WAY_ON))
    assert command == WAY_ON
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "Update")
    text = printed(project, "compute_platform=cu126")
    assert "has ended" not in text
    assert recorded(project)["compute_platform"] == "cu126"
    assert "Changed: compute platform cu118 -> cu126; torch 2.7.1+cu118 -> 2.14.1+cu126" in text
    assert "torchaudio 2.7.1+cu118 -> 2.11.0+cu126" in text
    assert "NVIDIA driver 450.80.02 -> 525.60.13 or newer on Linux" in text
    assert "Kepler is not in cu126" in text


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["deleted", "edited"])
def test_a_data_file_that_cannot_be_read_does_not_disturb_the_update(
    history: Path, tmp_path: Path, damage: str
) -> None:
    project = start(history, tmp_path / "project", "v2.0.0")
    file = project / "scripts" / "torch_builds.json"
    file.unlink() if damage == "deleted" else file.write_text("{", encoding="utf-8")
    git(project, "commit", "--quiet", "--all", "--message", "Mine")
    result = copier("update", "--trust", "--defaults", project)
    assert result.returncode == 0, result.stderr
    assert "is up to date: torch" in result.stderr
    assert "Changed:" not in result.stderr


def test_a_new_project_on_a_platform_that_ended_hears_of_it(history: Path, tmp_path: Path) -> None:
    data = ("--data", "compute_platform=cu118")
    result = copier("copy", "--trust", "--defaults", *data, history, tmp_path / "project")
    assert result.returncode == 0, result.stderr
    assert "cu118 has ended" in result.stderr
    assert WAY_ON in result.stderr
