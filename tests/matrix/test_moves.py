"""What an update says: which platforms have ended, where to move, and what a move changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from matrix.doctored import SOURCED, as_of, data_as_of, every_build
from render.projects import FROZEN
from torch_template.build import Asked, Build
from torch_template.matrix.model import Matrix
from torch_template.menus import python_choices
from torch_template.moves import (
    command,
    first_without,
    floor,
    generations,
    listed,
    platforms_of,
    successors,
    what_changes,
)
from torch_template.notes import (
    ended_note,
    notes,
    other_way,
    python_note,
    read_builds,
    retired_note,
    update_summary,
)
from torch_template.reasons import Unfit, resolve
from torch_template.torch_builds import torch_builds

NOW = as_of("2.15.0")


def build(compute_platform: str, matrix: Matrix = NOW, **answers: Any) -> Build:  # noqa: ANN401
    asked = Asked("uv", "3.12", compute_platform, packages=("torchvision",))
    found = resolve(matrix, replace(asked, **answers))
    assert isinstance(found, Build)
    return found


def others(old: Build, matrix: Matrix = NOW) -> list[Build]:
    asked = old.asked
    found = []
    for name in matrix.policy.compute_platforms.listed(None):
        other = resolve(matrix, replace(asked, compute_platform=name))
        if isinstance(other, Unfit):
            other = resolve(matrix, replace(asked, compute_platform=name, torch="latest"))
        if isinstance(other, Build) and name != asked.compute_platform:
            found.append(other)
    return found


def changes(old: Build, new: Build) -> str:
    names = NOW.gpu_generations.names
    return what_changes(names, platforms_of(old), platforms_of(new), new.asked.compute_platform)


@pytest.mark.parametrize(
    ("compute_platform", "first"),
    [
        ("cu118", "2.8.0"),
        ("cu121", "2.6.0"),
        ("cu128", "2.12.0"),
        ("cu129", "2.14.0"),  # 2.12.0 did not have it, 2.12.1 did
        ("cu126", None),
        ("cpu", None),
        ("pypi", None),
    ],
)
def test_a_platform_has_ended_with_the_first_release_without_it(
    compute_platform: str, first: str | None
) -> None:
    assert first_without(NOW, compute_platform) == first


def test_a_release_that_the_index_does_not_have_yet_ends_nothing() -> None:
    assert first_without(NOW, "cu130") is None
    assert first_without(as_of("2.11.0"), "cu128") is None
    assert first_without(as_of("2.12.0"), "cu128") == "2.12.0"


# Where each platform that has ended leads: the GPUs lost there, and what keeps them instead.
WAYS_ON: list[tuple[str, str, list[str], str | None]] = [
    ("cu117", "cu126", [], None),  # its GPUs are not known
    ("cu118", "cu126", ["Kepler"], None),  # no newer torch has Kepler
    ("cu121", "cu126", [], None),
    ("cu124", "cu126", [], None),
    ("cu128", "cu126", ["Blackwell"], "cu132"),
    ("cu129", "cu126", ["Blackwell"], "cu132"),
    ("rocm6.0", "rocm7.2", [], None),  # what has no NVIDIA driver has no floor of it
    ("rocm6.1", "rocm7.2", [], None),
    ("rocm6.2", "rocm7.2", [], None),
    ("rocm6.2.4", "rocm7.2", [], None),
    ("rocm6.3", "rocm7.2", [], None),
    ("rocm6.4", "rocm7.2", [], None),
    ("rocm7.0", "rocm7.2", [], None),
    ("rocm7.1", "rocm7.2", [], None),
]


@pytest.mark.parametrize(("compute_platform", "best", "lost", "other"), WAYS_ON)
def test_the_way_on_keeps_the_driver_then_the_gpus_then_is_the_newest(
    compute_platform: str, best: str, lost: list[str], other: str | None
) -> None:
    names = NOW.gpu_generations.names
    old = build(compute_platform, python="3.11" if compute_platform == "cu117" else "3.12")
    found = successors(NOW, old, others(old))
    assert found[0].asked.compute_platform == best
    floors = [Version(floor(platforms_of(b))) for b in (old, *found)]
    # CUDA 11's driver is the one floor that no newer torch keeps; cu126's is the least above it.
    assert floors[1] == min(floors[1:])
    assert (floors[1] == floors[0]) is (compute_platform not in ("cu117", "cu118"))
    kept = generations(names, platforms_of(found[0]))
    assert [name for name in generations(names, platforms_of(old)) if name not in kept] == lost
    second = other_way(NOW, old, found)
    assert (second and second[0].asked.compute_platform) == other
    if second:
        assert second[1] == lost


def test_the_table_of_ways_on_has_every_platform_that_has_ended() -> None:
    ended = {n for n in NOW.policy.compute_platforms.listed(None) if first_without(NOW, n)}
    assert {name for name, *_ in WAYS_ON} == ended


def test_of_equal_drivers_the_one_with_the_most_gpus_comes_first() -> None:
    """cu126 has Maxwell to Volta, which the platforms of CUDA 13 do not."""
    old = build("cu124")
    facts = data_as_of("2.15.0")
    facts["drivers"]["13"] |= {"linux": "525.60.13", "windows": "528.33"}
    matrix = Matrix.model_validate(facts)
    names = [b.asked.compute_platform for b in successors(matrix, old, others(old, matrix))]
    assert names == ["cu126", "cu132", "cu130"]


def test_every_way_on_is_a_newer_torch_for_the_same_accelerator_and_has_not_ended() -> None:
    moved = 0
    for old in every_build(FROZEN):
        if first_without(NOW, old.asked.compute_platform) and old.asked.torch == "latest":
            for new in successors(NOW, old, others(old)):
                name = new.asked.compute_platform
                assert first_without(NOW, name) is None
                assert name[:2] == old.asked.compute_platform[:2]
                assert new.torch != old.torch
                moved += 1
    assert moved > 100


def test_the_note_says_since_when_and_the_command() -> None:
    old = build("cu118")
    note = ended_note(NOW, old, others(old))
    assert note == (
        "cu118 has ended: torch 2.8.0 of 2025-08-06 and newer do not have it, so torch stays at"
        " 2.7.1. Move on with:\n\n"
        "    copier update --trust --defaults --data compute_platform=cu126\n\n"
        "cu126: torch 2.7.1+cu118 -> 2.14.1+cu126; torchvision 0.22.1+cu118 -> 0.29.1+cu126;"
        " NVIDIA driver 450.80.02 -> 525.60.13 or newer on Linux;"
        " NVIDIA driver 452.39 -> 528.33 or newer on Windows; Kepler is not in cu126."
    )


def test_where_no_way_on_keeps_driver_and_gpus_the_note_has_both_with_what_they_cost() -> None:
    old = build("cu128")
    note = ended_note(NOW, old, others(old)) or ""
    assert note.endswith(
        " Move on with:\n\n"
        "    copier update --trust --defaults --data compute_platform=cu126\n\n"
        "cu126: torch 2.11.0+cu128 -> 2.14.1+cu126; torchvision 0.26.0+cu128 -> 0.29.1+cu126;"
        " Blackwell is not in cu126; Maxwell, Pascal and Volta are new.\n\n"
        "To keep Blackwell, instead:\n\n"
        "    copier update --trust --defaults --data compute_platform=cu132\n\n"
        "cu132: torch 2.11.0+cu128 -> 2.14.1+cu132; torchvision 0.26.0+cu128 -> 0.29.1+cu132;"
        " NVIDIA driver 525.60.13 -> 580.65.06 or newer on Linux;"
        " NVIDIA driver 528.33 -> 580.88 or newer on Windows."
    )


def test_a_release_without_a_known_day_is_named_without_one() -> None:
    facts = data_as_of("2.15.0")
    facts["releases"]["2.8.0"]["released"] = None
    matrix = Matrix.model_validate(facts)
    old = build("cu118", matrix)
    assert "torch 2.8.0 and newer" in (ended_note(matrix, old, others(old, matrix)) or "")


def test_a_project_that_asked_for_a_series_hears_nothing_of_newer_ones() -> None:
    old = build("cu118", torch="2.7")
    assert ended_note(NOW, old, others(old)) is None


def without_cuda_12() -> Matrix:
    """With a torch 2.16 that has no CUDA 12 any more, as PyTorch has announced it for 2.15."""
    facts = data_as_of("2.15.0")
    for name in ("cu130", "cu132"):
        for row in facts["gpu_architectures"][name]:
            row["until"] = "2.16.0" if row["until"] in ("2.14.1", "2.15.0") else row["until"]
    facts["releases"]["2.16.0"] = {
        **facts["releases"]["2.15.0"],
        "released": facts["reviewed"],
        "index": {
            "cpu": {"platforms": "L A W M"},
            "cu130": {"platforms": "L A W", "toolkit": "13.0.3"},
            "cu132": {"platforms": "L A W", "toolkit": "13.2.2"},
        },
    }
    facts["companions"]["torchvision"]["0.31.0"] = {"torch": "==2.16.0", **SOURCED}
    return Matrix.model_validate(facts)


def test_a_project_on_cuda_12_is_told_which_gpus_newer_torches_have_lost() -> None:
    matrix = without_cuda_12()
    old = build("cu126", matrix)
    assert old.torch == "2.14.1"
    [note] = notes(matrix, old, others(old, matrix))
    assert note.startswith(
        f"cu126 has ended: torch 2.16.0 of {matrix.reviewed} and newer do not have it,"
        " so torch stays at 2.14.1. Move on with:\n\n"
        "    copier update --trust --defaults --data compute_platform=cu132\n\n"
        "cu132: torch 2.14.1+cu126 -> 2.16.0+cu132; "
    )
    assert "NVIDIA driver 525.60.13 -> 580.65.06 or newer on Linux" in note
    assert "Maxwell, Pascal and Volta are not in cu132; Blackwell is new." in note


def test_where_to_go_is_where_all_companions_are() -> None:
    old = build("cu129", packages=("torchvision", "torchaudio"))
    note = ended_note(NOW, old, others(old)) or ""
    assert "To keep Blackwell, instead:\n\n    copier update" in note
    assert note.partition("instead:")[2].split()[:6][-1] == "compute_platform=cu130"
    assert "torch_packages" not in note
    pypi = build("pypi", python="3.10", packages=("torchvision", "torchaudio"))
    assert (python_note(NOW, pypi) or "").endswith("--defaults --data python_version=3.11")


def test_gpus_that_nobody_has_looked_up_are_not_told_to_be_the_same() -> None:
    facts = data_as_of("2.15.0")
    facts["gpu_architectures"]["cu130"] = [
        {"platforms": "A", "since": "2.11.0", "sm": "9.0", **SOURCED}
    ]
    new = build("cu130", Matrix.model_validate(facts))
    assert "; not established for which GPUs cu130 is" in changes(build("cu126"), new)
    assert "GPUs" not in changes(build("cpu"), new)


def test_a_move_names_the_systems_that_have_no_wheels_any_more() -> None:
    assert "; not on linux-aarch64 and windows-amd64; " in changes(build("cu130"), build("rocm7.2"))


def test_a_python_without_security_fixes_is_told_with_the_next_one() -> None:
    old = build("cpu", python="3.10")
    assert python_note(NOW, old) == (
        "Python 3.10 gets no security fixes since October 2026. Move on with:\n\n"
        "    copier update --trust --defaults --data python_version=3.11"
    )
    assert python_note(NOW, build("cpu", python="3.11")) is None
    labels = [choice.label for choice in python_choices(NOW)]
    assert labels[:2] == ["Python 3.10 - no security fixes since October 2026", "Python 3.11"]


def test_where_nothing_newer_fits_the_note_says_so() -> None:
    old = build("cu118")
    note = ended_note(NOW, old, [build("cpu")]) or ""
    assert note.endswith("No newer torch fits Python 3.12 and uv here.")


def test_the_command_leaves_out_what_the_new_torch_has_no_partner_for() -> None:
    both = ("torchvision", "torchaudio")
    old, new = build("cu118", packages=both), build("cu132", packages=both)
    assert command(old, new) == (
        "copier update --trust --defaults --data compute_platform=cu132"
        ' --data "torch_packages=[torchvision]"'
    )
    assert "without torchaudio" in changes(old, new)


def test_the_command_leaves_a_series_that_the_new_platform_does_not_have() -> None:
    old = build("cu121", torch="2.5")
    assert command(old, build("cu126")).endswith(
        "compute_platform=cu126 --data torch_version=latest"
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("cu126", "cu130", "Maxwell, Pascal and Volta are not in cu130; Blackwell is new"),
        ("cu128", "cu130", "NVIDIA driver 525.60.13 -> 580.65.06 or newer on Linux"),
        ("cu130", "cpu", "NVIDIA driver 580.65.06 -> none needed on Linux"),
        ("cpu", "cu130", "NVIDIA driver none needed -> 580.65.06 or newer on Linux"),
        ("cpu", "cu130", "torch 2.14.1+cpu -> 2.14.1+cu130"),
    ],
)
def test_a_move_says_versions_driver_and_gpus(old: str, new: str, said: str) -> None:
    assert said in changes(build(old), build(new))


def test_one_lost_generation_is_named_in_the_singular() -> None:
    volta, without = build("cu128", torch="2.10"), build("cu130")
    assert "Volta is not in cu130" in changes(volta, without)


def test_an_equal_build_changes_nothing() -> None:
    assert changes(build("cu130"), build("cu130")) == ""


def test_a_gpu_list_that_is_not_known_is_not_compared() -> None:
    text = changes(build("cu117", python="3.11"), build("cu126", python="3.11"))
    assert "not in" not in text
    assert "new" not in text.replace("or newer", "")


def test_names_are_listed_as_in_a_sentence() -> None:
    assert listed(["Volta"]) == "Volta"
    assert listed(["Pascal", "Volta"]) == "Pascal and Volta"
    assert listed(["Maxwell", "Pascal", "Volta"], "new") == "Maxwell, Pascal and Volta are new"


def with_policy(menu: str, retired: dict[str, str]) -> Matrix:
    facts = data_as_of("2.15.0")
    facts["policy"][menu]["retired"] = retired
    return Matrix.model_validate(facts)


def test_a_retired_platform_moves_to_the_successor_of_the_policy() -> None:
    matrix = with_policy("compute_platforms", {"cu118": "cu130"})
    old = build("cu118", matrix)
    found = notes(matrix, old, others(old, matrix))
    assert len(found) == 1
    assert found[0].startswith("compute_platform cu118 is retired here. Move on with:")
    assert "--data compute_platform=cu130\n" in found[0]


def test_a_successor_that_does_not_fit_is_named_all_the_same() -> None:
    matrix = with_policy("compute_platforms", {"cu118": "cu130"})
    note = retired_note(matrix, build("cu118", matrix), []) or ""
    assert note.endswith("Its successor is cu130, which does not fit Python 3.12 and uv.")


def test_a_retired_python_is_named_with_its_successor() -> None:
    matrix = with_policy("python", {"3.10": "3.12"})
    assert python_note(matrix, build("cpu", matrix)) is None
    note = python_note(matrix, build("cpu", matrix, python="3.10")) or ""
    assert note.endswith("copier update --trust --defaults --data python_version=3.12")


def written(
    project: Path, compute_platform: str, platforms: object, everywhere: object = None
) -> Path:
    builds = {compute_platform: platforms}
    data: dict[str, Any] = {"compute_platform": compute_platform, "builds": builds}
    data |= {"in_every_build": everywhere} if everywhere else {}
    (project / "scripts").mkdir()
    (project / "scripts/torch_builds.json").write_text(json.dumps(data), encoding="utf-8")
    return project


def test_what_a_project_has_is_read_from_its_data_file(tmp_path: Path) -> None:
    old = build("cu126")
    before = read_builds(written(tmp_path, "cu126", {"platforms": platforms_of(old)}))
    assert update_summary(NOW, before, old) is None
    summary = update_summary(NOW, before, build("cu130")) or ""
    assert summary.startswith("compute platform cu126 -> cu130; torch 2.14.1+cu126 -> ")


def test_the_data_file_of_an_earlier_version_says_the_same(tmp_path: Path) -> None:
    """Until schema 2, each row had all that is said of its wheels."""
    for name in ("cu126", "pypi", "cu117", "rocm7.2"):
        old = build(name, python="3.11")
        first, second = tmp_path / name / "1", tmp_path / name / "2"
        for folder in (first, second):
            folder.mkdir(parents=True)
        before = read_builds(written(first, name, {"platforms": platforms_of(old)}))
        data = json.loads(torch_builds(old, [], [], [], {}, "https://mirror.example/whl"))
        now = read_builds(written(second, name, data["builds"][name], data.get("in_every_build")))
        assert before
        assert before == now


@pytest.mark.parametrize(
    "platforms", [[], {"platforms": []}, {"platforms": {"linux-x86_64": {"packages": 3}}}], ids=str
)
def test_a_broken_data_file_leaves_the_summary_out(tmp_path: Path, platforms: object) -> None:
    before = read_builds(written(tmp_path, "cu126", platforms))
    assert before is None
    assert update_summary(NOW, before, build("cu130")) is None


def test_a_missing_data_file_leaves_the_summary_out(tmp_path: Path) -> None:
    assert read_builds(tmp_path) is None
