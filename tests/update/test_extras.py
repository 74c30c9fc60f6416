"""Other builds that a project keeps: adding one moves no torch, and an update keeps them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from copier import VcsRef

from render.projects import commit, recorded, start, update
from render.reading import pins_in
from update.versions import assert_clean, refused

QUESTION = "extra_compute_platforms"


def kept(project: Path) -> list[str]:
    """The platforms that the bootstrap has to lock."""
    data = json.loads((project / "scripts/torch_builds.json").read_text(encoding="utf-8"))
    return list(data.get(QUESTION, []))


@pytest.mark.slow
def test_one_more_build_later_moves_no_torch_or_is_refused_with_the_way_out(
    history: Path, tmp_path: Path
) -> None:
    project = start(history, tmp_path / "project", "v2.0.0", compute_platform="cu130")
    before = pins_in(project)

    update(project, vcs_ref=VcsRef.CURRENT, **{QUESTION: ["cpu"]})
    assert_clean(project)
    assert kept(project) == ["cpu"]
    assert pins_in(project) == before
    commit(project)

    sentence = refused(project, vcs_ref=VcsRef.CURRENT, **{QUESTION: ["cpu", "cu128"]})
    assert sentence == (
        f"{QUESTION}: there is no torch 2.14.1 for cu128, and for it cu130 would move to 2.11.0:"
        " choose torch 2.11, or leave cu128 out."
    )
    both = {QUESTION: ["cpu", "cu128"], "torch_version": "2.11"}
    update(project, vcs_ref=VcsRef.CURRENT, **both)
    assert kept(project) == ["cpu", "cu128"]
    assert pins_in(project)["torch"] == "2.11.0"


@pytest.mark.slow
def test_a_new_project_gets_the_newest_torch_of_all_and_an_update_keeps_them_together(
    history: Path, tmp_path: Path
) -> None:
    answers = {"compute_platform": "cu130", QUESTION: ["cu130", "cu128"]}
    project = start(history, tmp_path / "project", "v2.0.0", **answers)
    assert pins_in(project)["torch"] == "2.11.0"
    assert kept(project) == ["cu128"]  # its own is in uv.lock
    update(project, vcs_ref=VcsRef.CURRENT, compute_platform="cu128")
    assert recorded(project)[QUESTION] == ["cu130", "cu128"]
    assert kept(project) == ["cu130"]
    assert pins_in(project)["torch"] == "2.11.0"


def test_a_pair_that_somebody_has_recorded_and_that_cannot_be_had_is_told_as_such(
    history: Path, tmp_path: Path
) -> None:
    project = start(history, tmp_path / "project", "v2.0.0", compute_platform="cpu")
    answers = project / ".copier-answers.yml"
    text = answers.read_text(encoding="utf-8")
    assert f"{QUESTION}: []" in text
    both = text.replace(f"{QUESTION}: []", f"{QUESTION}: [rocm7.2, cu118]")
    answers.write_text(both, encoding="utf-8")
    commit(project)
    sentence = refused(project, vcs_ref=VcsRef.CURRENT)
    assert sentence.startswith(f"{QUESTION}: no torch for all of cpu, rocm7.2, cu118 has ")
    assert sentence.endswith("out.")
