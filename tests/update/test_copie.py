"""The template works with pytest-copie, the way in which a fork of it would test its policy."""

from __future__ import annotations

from pathlib import Path

from pytest_copie.plugin import Copie

from render.projects import commit, git
from update.versions import assert_clean


def test_a_project_is_made_and_then_updated(copie: Copie, history: Path) -> None:
    answers = {"compute_platform": "cu126", "package_manager": "pip"}
    made = copie.copy(answers, template_dir=history, vcs_ref="v1.2.0")
    assert made.exit_code == 0, made.exception
    assert made.project_dir is not None
    assert made.answers["compute_platform"] == "cu126"
    pins = made.project_dir / "requirements" / "torch-cu126.txt"
    assert "torch==2.13.0+cu126" in pins.read_text(encoding="utf-8")
    git(made.project_dir, "init", "--quiet")
    commit(made.project_dir)

    updated = copie.update(made, vcs_ref="v2.0.0")

    assert updated.exit_code == 0, updated.exception
    assert_clean(made.project_dir)
    assert updated.answers == made.answers
    assert "torch==2.14.1+cu126" in pins.read_text(encoding="utf-8")


def test_a_refusal_reaches_the_test(copie: Copie, history: Path) -> None:
    result = copie.copy({"compute_platform": "cu121", "python_version": "3.14"}, history)

    assert result.exit_code == -1
    assert "cu121 ends at torch 2.5.1, which has no Python 3.14 wheels" in str(result.exception)
