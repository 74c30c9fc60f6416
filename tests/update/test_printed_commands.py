"""The commands of Copier that a project's pages and messages print, typed by its owner."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from render.projects import commit, copier, copier_here, copy, git, recorded, under_git
from update.versions import assert_clean, clone, cloned_once, release_with
from update.weekly_update import COPIER

OTHER = ".copier-answers.torch.yml"
COMMAND = re.compile(r"copier update [^`\n#]+")
PAGES = ("README.md", "docs/pytorch-build.md")


def printed(project: Path) -> list[str]:
    """The commands of the pages, and some of those by which the scripts move the project.

    Those are all alike, and each takes seconds; test_printed_moves.py holds them all to the menus.
    """
    texts = [(project / page).read_text(encoding="utf-8") for page in PAGES]
    found = [one.strip() for text in texts for one in COMMAND.findall(text)]
    data = json.loads((project / "scripts" / "torch_builds.json").read_text(encoding="utf-8"))
    update = next(one for one in found if one.endswith("--defaults"))
    move = f"{update} --vcs-ref=:current: --data compute_platform="
    moves = [f"{move}{name} {more}".strip() for name, more in data["moves"].items()]
    return [*found, *moves[::12]]


def typed(project: Path, command: str, *, here: bool = False) -> dict[str, Any]:
    """What the answers are after a command, given to a clone; without questions.

    `here`: in this process, where the project has to be named.
    """
    words = shlex.split(command)
    assert words[:3] == ["copier", "update", "--trust"]
    words += [] if "--defaults" in words else ["--defaults"]
    git(project, "reset", "--quiet", "--hard")
    git(project, "clean", "--quiet", "-d", "--force")
    result = copier_here(*words[1:], project) if here else copier(*words[1:], cwd=project)
    assert result.returncode == 0, (command, result.stderr)
    assert_clean(project)
    return recorded(project) if (project / ".copier-answers.yml").exists() else {}


def without_cpu(facts: dict[str, Any]) -> None:
    """A policy of two platforms for GPUs."""
    facts["policy"]["compute_platforms"] |= {"offered": ["cu130", "cu126"], "default": "cu130"}


def with_retirements(facts: dict[str, Any]) -> None:
    """A policy that has retired what the project has."""
    facts["policy"]["compute_platforms"]["retired"] = {"cu118": "cu126"}
    facts["policy"]["python"]["retired"] = {"3.10": "3.14"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "answers"),
    [
        (None, {"compute_platform": "pypi", "torch_version": "2.15"}),
        (without_cpu, {"compute_platform": "cu130", "package_manager": "poetry"}),
        (with_retirements, {"compute_platform": "cu118", "python_version": "3.10"}),
    ],
    ids=["pypi-2.15", "without-cpu", "with-retirements"],
)
def test_every_command_that_a_project_prints_works(
    change: Any,  # noqa: ANN401
    answers: dict[str, Any],
    git_template: Path,
    tmp_path: Path,
) -> None:
    template = clone(git_template, tmp_path / "torch-starter")
    if change:
        release_with(template, "v2.0.0", change)
    project = under_git(copy(template, tmp_path / "project", ci="none", **answers))
    commands = printed(project)
    assert len(commands) >= 5
    with cloned_once(template):
        for at, command in enumerate(dict.fromkeys(commands)):
            after = typed(project, command, here=at > 0)
            for question, value in re.findall(r"--data \"?(\w+)=(\[[^\]]*\]|[^ \"]+)", command):
                assert after[question] == (yaml.safe_load(value) if value[0] in "[t" else value)


@pytest.mark.slow
def test_another_answers_file_is_named_wherever_it_has_to_be(history: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    chosen = ["--answers-file", OTHER, "--vcs-ref", "v1.3.0", "--data", "compute_platform=cu130"]
    result = copier("copy", "--trust", "--defaults", *chosen, history, project)
    assert result.returncode == 0, result.stderr
    under_git(project)
    commands = printed(project)
    assert len(commands) >= 5
    assert all(f" --answers-file {OTHER} " in f"{command} " for command in commands)
    for text in ((project / page).read_text(encoding="utf-8") for page in PAGES):
        assert ".copier-answers.yml" not in text
    move = next(one for one in commands if one.endswith("compute_platform=cpu"))
    typed(project, move)
    assert "compute_platform: cpu\n" in (project / OTHER).read_text(encoding="utf-8")
    assert not (project / ".copier-answers.yml").exists()
    commit(project)

    builds = ["--compute-platform", "cu118", "--dry-run"]
    bootstrap = subprocess.run(
        ["sh", "bootstrap.sh", *builds], cwd=project, capture_output=True, text=True, check=False
    )
    assert f"copier update --trust --answers-file {OTHER} --defaults --vcs-ref" in bootstrap.stderr
    script = project / "scripts" / "torch_starter" / "template_update.py"
    command = [sys.executable, str(script), "prepare", "--no-check", "--copier", str(COPIER)]
    weekly = subprocess.run(
        [*command, "--report", str(tmp_path / "report")],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert weekly.returncode == 0, weekly.stderr
    assert "_commit: v2.0.0\n" in (project / OTHER).read_text(encoding="utf-8")
    assert not (project / ".copier-answers.yml").exists()
