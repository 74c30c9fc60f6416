"""What a project begins with: a program that trains, or a package with the choice of the device."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from copier.errors import UserMessageError

from matrix.doctored import MANAGERS, frozen
from render.projects import MATRIX_YML, ROOT, copy, files, recorded
from render.reading import pyproject
from torch_template.build import Asked
from torch_template.menus import starter_choices

OF_TRAINING = {
    "scripts/train.sbatch",
    "tests/test_training.py",
    *(
        f"src/my_torch_project/{name}.py"
        for name in (
            *("__main__", "checkpoints", "data", "failures", "logs", "model", "processes"),
            *("record", "report", "settings", "training"),
        )
    ),
}
LONGEST = 500  # lines that are not empty, of all files but these:
OF_PEOPLE = {"failures", "logs", "record", "report"}  # what it says, writes down and draws


def requirements(project: Path) -> set[str]:
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    return {line.partition(">")[0] for line in pyproject(text)["project"]["dependencies"]}


@pytest.mark.parametrize("manager", MANAGERS)
def test_the_training_adds_its_files_and_what_they_import(
    manager: str, template: Path, tmp_path: Path
) -> None:
    answers = {"package_manager": manager}
    plain = copy(template, tmp_path / "plain", **answers)
    trains = copy(template, tmp_path / "trains", **answers, starter="training")

    assert files(trains).keys() - files(plain).keys() == OF_TRAINING
    assert files(plain).keys() <= files(trains).keys()
    added = requirements(trains) - requirements(plain)
    assert added == {"matplotlib", "scikit-learn", "tensorboard", "tyro"}
    readme = (trains / "README.md").read_text(encoding="utf-8")
    assert "--nproc-per-node=4 -m my_torch_project" in readme
    assert "torch.distributed.run" not in (plain / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("python_version", ["3.10", "3.14", "3.15"])
def test_ruff_finds_nothing_whatever_the_python(
    python_version: str, template: Path, tmp_path: Path
) -> None:
    project = copy(template, tmp_path / "new", starter="training", python_version=python_version)
    for words in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, "--no-cache", "."]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_a_new_project_gets_it_unless_its_torch_is_too_old(template: Path, tmp_path: Path) -> None:
    shipped = Path(shutil.copytree(template, tmp_path / "torch-starter"))
    shutil.copyfile(ROOT / MATRIX_YML, shipped / MATRIX_YML)

    assert recorded(copy(shipped, tmp_path / "new"))["starter"] == "training"
    old = copy(shipped, tmp_path / "old", torch_version="2.5")
    assert recorded(old)["starter"] == "package"


def test_a_torch_that_lacks_what_it_is_built_on_is_refused(template: Path, tmp_path: Path) -> None:
    with pytest.raises(UserMessageError, match=r"starter: it needs torch 2\.6 or newer"):
        copy(template, tmp_path / "project", starter="training", torch_version="2.5")
    assert not (tmp_path / "project").exists()


def test_the_menu_says_since_when() -> None:
    for series, reason in (("2.5", "2.6 or newer, and this is 2.5.1"), ("2.6", "")):
        asked = Asked("uv", "3.12", "cpu", series)
        whys = {one.value: one.why_not for one in starter_choices(frozen(), asked)}
        assert reason in whys["training"]
        assert not whys["package"]


def test_the_program_is_read_in_ten_minutes() -> None:
    [folder] = (ROOT / "template").glob("*brings_training*src*/*package_name*")
    texts = {path.stem: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    lines = {name: sum(map(bool, text.splitlines())) for name, text in texts.items()}
    assert sum(lines[name] for name in lines.keys() - OF_PEOPLE) <= LONGEST
    assert "cu1" not in "".join(texts.values())
