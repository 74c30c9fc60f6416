"""From every version of the template to later ones: each manager, each compute platform.

Four versions, made from the real matrix by cutting releases off: platforms appear, end, get another
name, and are retired by policy.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import combinations, cycle, pairwise
from pathlib import Path
from typing import Any

import pytest

from matrix.doctored import MANAGERS, data_as_of, usable
from render.projects import commit, copy, files, recorded, release, start, update
from torch_template.build import Asked
from torch_template.matrix.model import Matrix
from torch_template.menus import compute_platform_choices
from update.test_edits import INSERTED
from update.versions import Change, assert_clean, clone, cloned_once, forget, write_matrix

PYTHON = "3.11"  # has the most compute platforms
AS_OF = {"v1.1.0": "2.5.1", "v1.2.0": "2.8.0", "v1.3.0": "2.11.0", "v2.0.0": "2.15.0"}
RETIRED = {
    "v1.3.0": {"cu121": "cu126"},
    "v2.0.0": {"cu118": "cu126", "cu121": "cu126", "rocm6.1": "rocm7.2"},
}
JOURNEYS = list(combinations(AS_OF, 2))
# To the newest, from the oldest and from the one before it: those are in README.md's test command.
MAIN = [("v1.1.0", "v2.0.0"), ("v1.3.0", "v2.0.0")]
UNTOUCHED = [
    (*journey, manager)
    for journey, turn in zip(JOURNEYS, cycle(MANAGERS), strict=False)
    for manager in (MANAGERS if journey == MAIN[0] else [turn])
]


def facts_of(tag: str) -> dict[str, Any]:
    """The matrix of one version: it does not know what PyTorch had not made yet."""
    facts = data_as_of(AS_OF[tag])
    rows = facts["releases"].values()
    made = {n for row in rows for n in (*row["index"], *row["pypi"].values())}
    for name in set(facts["compute_platforms"]) - made - {"pypi"}:
        change: Change = forget(name)
        change(facts)
    facts["policy"]["compute_platforms"]["retired"] = RETIRED.get(tag, {})
    if tag == "v2.0.0":
        facts["compute_platforms"]["cu126"]["name"] = "CUDA 12.6 (Maxwell to Hopper)"
        facts["policy"]["compute_platforms"]["offered"].remove("cu118")
    return facts


def offered(tag: str, manager: str) -> list[str]:
    """The compute platforms that a new project can choose."""
    matrix = Matrix.model_validate(facts_of(tag))
    return usable(compute_platform_choices(matrix, Asked(manager, PYTHON, "cpu")))


class Versions:
    """The template's repository, and what each version of it makes of a set of answers."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.folder = folder
        self.repository = clone(source, folder / "torch-starter")
        for tag in AS_OF:
            write_matrix(self.repository, facts_of(tag))
            release(self.repository, tag)
            # Without its history a template renders without being cloned.
            shutil.copytree(
                self.repository, folder / tag, ignore=shutil.ignore_patterns(".git", "torch-cpu")
            )
        self._made: dict[tuple[str, ...], Path] = {}

    def project(self, tag: str, **answers: str) -> Path:
        """A committed project of a version, made once; the caller may not change it."""
        key = ("project", tag, *answers.values())
        if key not in self._made:
            path = self.folder / "-".join(key)
            self._made[key] = start(self.repository, path, tag, **answers)
        return self._made[key]

    def fresh(self, tag: str, **answers: str) -> Path:
        """What a version renders, made once."""
        key = ("fresh", tag, *answers.values())
        if key not in self._made:
            self._made[key] = copy(self.folder / tag, self.folder / "-".join(key), **answers)
        return self._made[key]


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory, git_template: Path) -> Iterator[Versions]:
    versions = Versions(git_template, tmp_path_factory.mktemp("versions"))
    with cloned_once(versions.repository):
        yield versions


def share(before: str, after: str, manager: str) -> list[str]:
    """The compute platforms of a journey: those that it ends, and its share of the others.

    Each goes once from each version, whose journeys take turns: all on all would take minutes.
    """
    platforms, later = offered(before, manager), offered(after, manager)
    assert len(platforms) >= 8
    beside = [one for one in UNTOUCHED if one[0] == before]
    turn = platforms[beside.index((before, after, manager)) :: len(beside)]
    return [name for name in platforms if name in turn or name not in later]


def without_origin(project: Path) -> dict[str, Any]:
    """The recorded answers, without the address and the version of the template."""
    return {k: v for k, v in recorded(project).items() if not k.startswith("_")}


def test_each_platform_goes_from_each_version() -> None:
    for tag in AS_OF:
        shares = [set(share(*one)) for one in UNTOUCHED if one[0] == tag]
        assert not shares or set.union(*shares) == {
            name for one in UNTOUCHED if one[0] == tag for name in offered(tag, one[2])
        }


def test_platforms_appear_and_end_and_are_retired() -> None:
    menus = [set(offered(tag, "uv")) for tag in AS_OF]
    assert all(later - earlier for earlier, later in pairwise(menus))
    assert {"cu118", "cu121", "rocm6.1"} <= menus[0]
    assert not {"cu118", "cu121", "rocm6.1"} & menus[-1]
    assert "cu117" in menus[-1]  # ended long ago, and not retired


@pytest.mark.some(4)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "manager"),
    [
        # One process makes the projects of a manager.
        pytest.param(*one, marks=pytest.mark.xdist_group(f"versions, {one[2]}"))
        for one in UNTOUCHED
    ],
)
def test_an_untouched_project_becomes_what_a_fresh_one_is_and_keeps_its_platform(
    versions: Versions, tmp_path: Path, before: str, after: str, manager: str
) -> None:
    for name in share(before, after, manager):
        answers = {
            "package_manager": manager,
            "python_version": PYTHON,
            "compute_platform": name,
        }
        made = versions.project(before, **answers)
        project = Path(shutil.copytree(made, tmp_path / name))
        update(project, vcs_ref=after)
        fresh = versions.fresh(after, **answers)
        assert recorded(project)["_commit"] == after
        assert without_origin(project) == without_origin(fresh) == without_origin(made)
        assert without_origin(project)["compute_platform"] == name
        assert_clean(project)
        updated, expected = files(project), files(fresh)
        del updated[".copier-answers.yml"], expected[".copier-answers.yml"]
        assert updated == expected, name


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("before", "after", "manager"),
    [
        pytest.param(*journey, manager, marks=() if journey in MAIN else pytest.mark.slow)
        for journey, manager in zip(JOURNEYS, cycle(MANAGERS), strict=False)
    ],
    ids=["-".join(journey) for journey in JOURNEYS],
)
def test_edits_of_every_kind_at_once_survive_and_nothing_else_differs(
    versions: Versions, tmp_path: Path, before: str, after: str, manager: str
) -> None:
    answers = {"package_manager": manager, "python_version": PYTHON, "compute_platform": "cu118"}
    made = versions.project(before, **answers)
    project = Path(shutil.copytree(made, tmp_path / "project"))
    edits = [(*edit[:3],) for edit in INSERTED.values() if manager in edit[3]]
    for file, place, text in edits:
        path = project / file
        content = path.read_text(encoding="utf-8")
        path.write_text(content.replace(place, text + place, 1), encoding="utf-8")
    commit(project)
    update(project, vcs_ref=after)
    assert_clean(project)
    expected = files(versions.fresh(after, **answers))
    found = files(project)
    for file, _, text in edits:
        assert text in found[file].decode(), (file, text)
        found[file] = found[file].decode().replace(text, "", 1).encode()
    del found[".copier-answers.yml"], expected[".copier-answers.yml"]
    assert found == expected
