"""What a refresh takes from the indexes, and what it only tells."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from refresh.made_up import (
    BASE,
    DAY,
    LATER,
    NEWEST,
    as_written,
    base,
    companion,
    found,
    less,
    refresh,
    release,
    world,
)
from refresh.observed import Seen
from refresh.rows import cells_of, promised, python_rows, wheels
from refresh.words import what_is_new
from refresh.writing import loaded
from refresh_matrix import refreshed
from torch_template.build import Asked, Build
from torch_template.matrix.model import Matrix
from torch_template.menus import compute_platform_choices
from torch_template.reasons import Unfit, resolve


def rows(text: str) -> Any:  # noqa: ANN401
    return yaml.safe_load(text)


def test_where_the_indexes_have_what_the_matrix_says_there_is_nothing_to_do() -> None:
    result = refresh()
    assert (result.edits, result.yaml) == ((), BASE)
    assert {one.kind for one in result.findings} <= {"gap"}


@pytest.mark.slow
def test_a_new_release_is_written_as_its_pages_show_it() -> None:
    result = refresh(release(without=["cu126"], python=">=3.11"), companion())
    row = rows(result.yaml)["releases"]["2.16.0"]
    old = rows(BASE)["releases"][NEWEST]
    del old["index"]["cu126"]
    assert row["index"] == old["index"]
    assert (row["pypi"], row["released"], row["python"]) == (old["pypi"], DAY, "3.11 - 3.14")
    assert row["more_python"] == old["more_python"]
    assert row["confidence"] == "verified"
    assert {*row["sources"]} <= {*rows(result.yaml)["sources"]}
    assert rows(result.yaml)["reviewed"] == LATER
    build = resolve(loaded(result.yaml), Asked("uv", "3.12", "cu130", packages=("torchvision",)))
    assert isinstance(build, Build)
    assert build.versions == {"torch": "2.16.0", "torchvision": "0.31.0"}


HALF = {
    "a system": less(release(), page="cu130", on="A"),
    "a compute platform": release(without=["xpu"]),
    "a Python": less(release(), page="cu132", on="L", minor="3.14"),
    "the index": release(without=[*base().releases[NEWEST].index]),
    "PyPI": release(without=["pypi"]),
}


@pytest.mark.few(2)
@pytest.mark.parametrize("lacks", HALF)
def test_a_release_that_is_half_there_is_told_and_not_taken(lacks: str) -> None:
    result = refresh(HALF[lacks], today=DAY + timedelta(days=1))
    assert [one.about for one in found(result, "half there")] == ["torch 2.16.0"]
    assert result.yaml == BASE


@pytest.mark.few(1)
@pytest.mark.parametrize("lacks", HALF)
def test_after_three_days_without_a_file_no_more_is_to_come_but_from_pypi(lacks: str) -> None:
    result = refresh(HALF[lacks], today=DAY + timedelta(days=3))
    assert ("2.16.0" in rows(result.yaml)["releases"]) == (lacks != "PyPI")


def test_where_a_page_is_missing_altogether_nothing_new_is_taken() -> None:
    left = {name: less(one, page="cu132") for name, one in as_written().torch.items()}
    result = refresh(*left.values(), release(without=["cu132"]))
    [finding] = found(result, "half there")
    assert (finding.about, "No release has cu132 now" in finding.text) == ("torch 2.16.0", True)
    assert "2.16.0" not in rows(result.yaml)["releases"]


def test_a_wheel_on_pypi_of_an_unknown_build_is_not_taken() -> None:
    result = refresh(replace(release(), builds={}))
    [finding] = found(result, "not taken")
    assert "is built for cannot be read" in finding.text
    assert result.yaml == BASE


def test_a_python_that_the_release_itself_excludes_is_not_missing() -> None:
    result = refresh(release(python=">=3.11"), today=DAY)
    assert rows(result.yaml)["releases"]["2.16.0"]["python"] == "3.11 - 3.14"


def test_what_a_page_does_not_show_any_more_is_told_and_stays() -> None:
    gone = less(as_written().torch["2.12.1"], page="cu129", on="A")
    result = refresh(gone)
    [finding] = found(result, "promised")
    assert finding.about == "torch 2.12.1"
    assert "cu129 on linux-aarch64 (Python 3.10 - 3.14)" in finding.text
    assert result.yaml == BASE


def test_a_companion_that_a_page_does_not_show_any_more_is_told_and_stays() -> None:
    """Also one whose row says nothing of the index: it is promised where torch is."""
    for version in ("0.28.0", "0.24.1"):
        result = refresh(less(as_written().companions["torchvision"][version], page="cu130"))
        [finding] = found(result, "promised")
        assert finding.about == f"torchvision {version}"
        assert "cu130 on linux-x86_64 (Python 3.10 - 3.14)" in finding.text
        assert result.yaml == BASE


def test_a_wheel_that_is_named_otherwise_than_expected_is_not_added() -> None:
    """Its name would be promised with a suffix, which it does not have."""
    seen = as_written().torch["2.12.1"]
    new = wheels(seen.cells) | {("cu129", "W", f"3.{minor}") for minor in range(10, 15)}
    bare = replace(seen, cells=cells_of(new), unsuffixed=seen.unsuffixed | {("cu129", "W")})
    result = refresh(bare)
    assert result.yaml == BASE
    assert "windows-amd64 on cu129 have no suffix" in found(result, "differs")[0].text


def test_a_release_that_is_gone_is_told_and_stays() -> None:
    indexes = world()
    del indexes.torch["2.9.0"]  # type: ignore[attr-defined]
    del indexes.companions["torchvision"]["0.24.0"]  # type: ignore[attr-defined]
    result = refreshed(BASE, indexes, LATER)
    assert [one.about for one in found(result, "promised")] == ["torch 2.9.0", "torchvision 0.24.0"]
    assert result.yaml == BASE


def test_what_came_to_a_known_release_is_added_to_its_row() -> None:
    text = BASE.replace("      cu129: {platforms: L A, toolkit: 12.9.1}\n", "", 1)
    text = text.replace("cu130: {platforms: L A W, toolkit: 13.0.0}", "cu130: {platforms: L W}", 1)
    result = refreshed(text, world(), LATER)
    index = rows(result.yaml)["releases"]["2.9.1"]["index"]
    assert [*index][:5] == ["cpu", "cu126", "cu128", "cu129", "cu130"]
    assert index["cu129"] == {"platforms": "L A", "toolkit": "12.9.1"}
    assert rows(result.yaml)["releases"]["2.9.0"]["index"]["cu130"]["platforms"] == "L A W"
    assert "INDEX" in rows(result.yaml)["releases"]["2.9.1"]["sources"]


@pytest.mark.slow
def test_what_was_inferred_and_is_seen_now_is_not_called_inferred_any_more() -> None:
    row = "    pypi: {L: cu130, A: cu130, W: cpu, M: cpu}\n"
    at = BASE.index(row, BASE.index(f"  {NEWEST}:\n")) + len(row)
    inferred = "    inferred: {cu126: L A, xpu: W}  # from the one before\n"
    text = BASE[:at] + inferred + BASE[at:]
    without = less(as_written().torch[NEWEST], page="cu126", on="A")
    written = rows(refresh(without, text=text).yaml)["releases"][NEWEST]
    assert written["inferred"] == {"cu126": "A"}
    result = refresh(text=text)
    assert "inferred" not in rows(result.yaml)["releases"][NEWEST]
    assert f"torch {NEWEST}: more is known of what was inferred" in what_is_new(
        result.old, result.new
    )


def test_what_a_person_wrote_otherwise_is_told_and_stays() -> None:
    seen = as_written().torch[NEWEST]
    other = replace(
        seen,
        released=date(2026, 9, 29),
        builds={**seen.builds, "W": "cu130"},
        toolkits={**seen.toolkits, "cu132": "13.2.0"},
        unsuffixed=frozenset({("cpu", "M"), ("cu126", "A")}),
    )
    result = refresh(other)
    told = " ".join(one.text for one in found(result, "differs"))
    for part in ("2026-09-29", "windows-amd64 is built for cu130", "13.2.0", "cu126 have no"):
        assert part in told
    assert result.yaml == BASE


def test_what_is_older_than_the_matrix_begins_is_left_out() -> None:
    old = replace(release("2.3.1"), released=date(2024, 6, 5), newest_file=date(2024, 6, 5))
    assert refresh(old).yaml == BASE


@pytest.mark.slow
def test_a_patch_of_an_older_series_is_taken() -> None:
    result = refresh(release("2.12.2", like="2.12.1"))
    names = [*rows(result.yaml)["releases"]]
    assert names[names.index("2.12.1") + 1] == "2.12.2"


def test_pages_that_were_not_established_are_taken_once_they_are_whole() -> None:
    at = BASE.index(f"  {NEWEST}:\n")
    start, end = BASE.index("    index:\n", at), BASE.index("    pypi:", at)
    text = f"{BASE[:start]}    index: {{}}  # not established\n{BASE[end:]}"
    whole, half = as_written().torch[NEWEST], less(as_written().torch[NEWEST], page="cu130")
    today = whole.newest_file or DAY
    result = refreshed(text, world(half), today)
    assert [one.about for one in found(result, "half there")] == [f"torch {NEWEST}"]
    assert result.yaml == text
    result = refreshed(text, world(whole), today)
    assert rows(result.yaml)["releases"][NEWEST]["index"] == rows(BASE)["releases"][NEWEST]["index"]
    assert "not established" not in result.yaml[result.yaml.index(f"  {NEWEST}:\n") :]


# --- compute platforms and toolkits


@pytest.mark.slow
def test_a_new_compute_platform_stands_at_its_place_and_its_gpus_are_a_gap() -> None:
    result = refresh(release(renamed={"cu126": "cu134"}))
    matrix = loaded(result.yaml)
    assert [*matrix.compute_platforms][:3] == ["cpu", "cu134", "cu132"]
    assert matrix.policy.compute_platforms.offered[:3] == ["cpu", "cu134", "cu132"]
    build = resolve(matrix, Asked("uv", "3.12", "cu134"))
    assert isinstance(build, Build)
    assert (build.main.gpu_architectures, build.main.minimum_driver) == ([], "580.65.06")
    assert any("cu134 is built on" in one.text for one in found(result, "gap"))


def test_a_cuda_whose_driver_nobody_knows_is_blocked_and_pypi_stays_behind() -> None:
    result = refresh(release(renamed={"cu130": "cu140"}))
    matrix = loaded(result.yaml)
    found_build = resolve(matrix, Asked("uv", "3.12", "cu140"))
    assert isinstance(found_build, Unfit)
    assert "driver for CUDA 14 is not established" in found_build.reason
    from_pypi = resolve(matrix, Asked("uv", "3.12", "pypi"))
    assert isinstance(from_pypi, Build)
    assert from_pypi.torch == NEWEST
    pinned = resolve(matrix, Asked("uv", "3.12", "pypi", "2.16"))
    assert isinstance(pinned, Unfit)
    choices = compute_platform_choices(matrix, Asked("uv", "3.12", "cpu"))
    assert next(one for one in choices if one.value == "cu140").why_not
    assert [one.about for one in found(result, "gap") if "driver for CUDA 14" in one.text] == [
        "cu140"
    ]
    known = result.yaml.replace(
        "\n\n# Where a choice leads",
        '\n  "14": {linux: 620.10.01, windows: "620.20", confidence: verified, sources: [NVIDIA]}'
        "\n\n# Where a choice leads",
    )
    line = next(line for line in known.splitlines() if line.startswith("  cu140: "))
    known = known.replace(line, "  cu140: {name: CUDA 14.0, accelerator: cuda}")
    after = loaded(known)
    for name in ("cu140", "pypi"):
        build = resolve(after, Asked("uv", "3.12", name))
        assert isinstance(build, Build)
        assert (build.torch, build.main.minimum_driver) == ("2.16.0", "620.10.01")


@pytest.mark.slow
def test_a_rocm_that_requires_what_none_before_it_did_is_blocked() -> None:
    plain = release(renamed={"rocm7.2": "rocm7.15"})
    strange = replace(plain, needs={**plain.needs, "rocm7.15": (Requirement("rocm"),)})
    blocked = loaded(refresh(strange).yaml).compute_platforms["rocm7.15"].blocked
    assert blocked == "it requires rocm, which no build on offer before it did"
    assert loaded(refresh(plain).yaml).compute_platforms["rocm7.15"].blocked is None
    another = release("2.17.0", renamed={"rocm7.2": "rocm7.16"})
    another = replace(another, needs={**another.needs, "rocm7.16": (Requirement("rocm"),)})
    both = refreshed(refresh(strange).yaml, world(strange, another), LATER)
    assert loaded(both.yaml).compute_platforms["rocm7.16"].blocked == blocked


@pytest.mark.slow
def test_what_a_known_platform_newly_requires_is_told() -> None:
    new = release()
    result = refresh(replace(new, needs={**new.needs, "xpu": (Requirement("oneapi"),)}))
    [finding] = found(result, "differs")
    assert "on xpu requires oneapi, which no build on offer before it did" in finding.text


@pytest.mark.few(1)
@pytest.mark.parametrize("pins", [{"nvidia-cublas": "13.2.9.9"}, None])
def test_a_toolkit_without_known_pins_is_not_for_poetry(pins: dict[str, str] | None) -> None:
    new = release()
    new = replace(new, toolkits={**new.toolkits, "cu132": "13.2.9"})
    seen = world(new, pins={"13.2.9": pins} if pins is not None else {})
    matrix = loaded(refreshed(BASE, seen, LATER).yaml)
    build = resolve(matrix, Asked("poetry", "3.12", "cu132"))
    if pins is None:
        assert isinstance(build, Unfit)
    else:
        assert isinstance(build, Build)
        assert build.nvidia_pins == pins


# --- file names without a suffix


def test_wheels_without_a_suffix_get_a_row() -> None:
    new = release()
    bare = frozenset((page, p) for page, row in new.index.items() for p in row if p in "AM")
    result = refresh(replace(new, unsuffixed=bare))
    build = resolve(loaded(result.yaml), Asked("pip", "3.12", "cpu"))
    assert isinstance(build, Build)
    assert build.torch == "2.16.0"
    assert rows(result.yaml)["unsuffixed"][-1] == {
        "package": "torch",
        "platforms": "A",
        "since": "2.16.0",
        "until": "2.16.0",
        "confidence": "verified",
        "sources": ["INDEX"],
    }


def test_wheels_of_which_some_have_a_suffix_are_not_taken() -> None:
    new = release()
    result = refresh(replace(new, unsuffixed=new.unsuffixed | {("cpu", "A")}))
    [finding] = found(result, "not taken")
    assert "without a suffix on cpu, and with one on cu126" in finding.text
    assert result.yaml == BASE


# --- Pythons


@pytest.mark.parametrize("torch", base().releases)
def test_the_pythons_of_a_release_are_written_as_in_its_row(torch: str) -> None:
    row = rows(BASE)["releases"][torch]
    said = python_rows(cells_of(promised(base().releases[torch])))
    assert said.row == {key: row[key] for key in ("python", "more_python") if key in row}
    assert not said.left_out


@pytest.mark.slow
def test_a_python_that_no_row_can_say_is_not_offered() -> None:
    """One that PyPI has and `cpu` has not: what is not for cpu is not for PyPI's wheels, either."""
    new = less(release(), page="cpu", on="L", minor="3.15")
    odd = replace(new, cells=cells_of(wheels(new.cells) | {("pypi", "L", "3.15")}))
    result = refresh(odd)
    row = loaded(result.yaml).releases["2.16.0"]
    assert row.not_offered == [
        "pypi on linux-x86_64: Python 3.15, which other builds there do not have"
    ]
    assert wheels(odd.cells) - promised(row) == {("pypi", "L", "3.15")}
    assert promised(row) <= wheels(odd.cells)
    assert refresh(odd, text=result.yaml).yaml == result.yaml


# --- companions


def beside(seen: Seen) -> tuple[Matrix, dict[str, Any]]:
    result = refresh(release(), seen)
    return loaded(result.yaml), rows(result.yaml)["companions"][seen.package][seen.version]


def test_a_companion_that_is_where_torch_is_has_a_short_row() -> None:
    _, row = beside(companion())
    sourced = {"confidence": "verified", "sources": ["INDEX", "PYPI-FILES"]}
    assert row == {"torch": "==2.16.0", "python_excluded": ["3.14.1"], **sourced}


def test_a_companion_that_is_not_where_torch_is_says_where() -> None:
    matrix, row = beside(less(companion(), page="xpu"))
    assert "xpu" not in row["index"]
    assert row["index"]["cu126"] == "L A W"
    build = resolve(matrix, Asked("uv", "3.12", "xpu", packages=("torchvision",)))
    assert isinstance(build, Build)
    assert build.versions == {"torch": "2.16.0"}


@pytest.mark.slow
def test_a_companion_for_every_newer_torch_says_all_of_its_own() -> None:
    _, row = beside(companion(torch=">=2.16.0"))
    assert row["torch"] == ">=2.16.0"
    assert row["python"] == "3.10 - 3.14"
    assert row["index"]["cpu"] == "L A W M"
    assert row["pypi"] == {"L": "cu130", "A": "cu130", "W": "cpu", "M": "cpu"}


def test_a_companion_that_declares_no_torch_is_left_to_a_person() -> None:
    new = replace(as_written().companions["torchaudio"]["2.11.0"], version="2.11.1")
    result = refresh(new)
    assert [one.about for one in found(result, "not taken")] == ["torchaudio 2.11.1"]
    assert result.yaml == BASE


@pytest.mark.slow
def test_a_companion_s_row_gets_the_pages_that_it_says_itself() -> None:
    text = BASE.replace("        cu128: L A W\n", "").replace("  cu130: L A W\n", "  cu130: L A\n")
    result = refreshed(text, world(), LATER)
    index = rows(result.yaml)["companions"]["torchaudio"]["2.11.0"]["index"]
    assert index == rows(BASE)["companions"]["torchaudio"]["2.11.0"]["index"]


def test_a_companion_that_requires_another_torch_is_told() -> None:
    seen = as_written().companions["torchvision"]["0.28.0"]
    result = refresh(replace(seen, torch="==2.13.1", python=">=3.10"))
    told = [one.text for one in found(result, "differs")]
    assert "==2.13.1, the matrix has it beside 2.13.0" in told[0]
    assert "['3.14.1']" in told[1]
