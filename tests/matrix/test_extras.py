"""Extra compute platforms: the newest release that all have; none moves for one more of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from matrix.doctored import frozen
from torch_template.build import Asked, Build
from torch_template.notes import notes
from torch_template.reasons import why_no_extra
from torch_template.resolving import fitting_release, kept_build, same_release

MATRIX = frozen()
CU130 = Asked("uv", "3.12", "cu130")


def releases(asked: Asked, name: str) -> set[str]:
    """Every release that a compute platform can have with these answers, one series at a time."""
    series = {".".join(torch.split(".")[:2]) for torch in MATRIX.releases}
    found = (
        fitting_release(MATRIX, replace(asked, compute_platform=name, torch=s)) for s in series
    )
    return {torch for torch in found if torch}


@pytest.mark.parametrize("own", MATRIX.policy.on_machines)
def test_all_share_the_newest_release_that_each_of_them_has(own: str) -> None:
    asked = replace(CU130, compute_platform=own)
    for other in MATRIX.policy.on_machines:
        build = kept_build(MATRIX, replace(asked, extras=(other,)))
        shared = releases(asked, own) & releases(replace(asked, manager="pip"), other)
        assert (build is None) == (not shared), other
        if build:
            newest = max(shared, key=MATRIX.newest_first[::-1].index)
            assert build.torch == newest, other
            if other != own:
                [beside] = same_release(MATRIX, build, (other,))
                assert beside.versions == build.versions


def test_a_new_project_takes_an_older_release_for_them_and_an_old_one_is_asked_first() -> None:
    newest = kept_build(MATRIX, CU130)
    older = kept_build(MATRIX, replace(CU130, extras=("cu128",)))
    assert isinstance(newest, Build)
    assert isinstance(older, Build)
    assert older.torch != newest.torch
    assert why_no_extra(MATRIX, CU130, ("cu128",)) is None
    why = str(why_no_extra(MATRIX, CU130, ("cpu", "cu128"), ("cpu",)))
    series = older.torch.rpartition(".")[0]
    assert why == (
        f"there is no torch {newest.torch} for cu128, and for it cu130 would move to {older.torch}:"
        f" choose torch {series}, or leave cu128 out"
    )
    assert why_no_extra(MATRIX, replace(CU130, torch=series), ("cpu", "cu128"), ("cpu",)) is None


def test_what_a_project_has_it_keeps_and_may_give_up() -> None:
    had = ("cpu", "cu128")
    assert why_no_extra(MATRIX, CU130, had, had) is None
    assert why_no_extra(MATRIX, CU130, ("cpu",), had) is None
    assert why_no_extra(MATRIX, CU130, (), had) is None


@pytest.mark.parametrize(
    ("extras", "torch", "said"),
    [
        (("cu117",), "latest", "no torch for both cu130 and cu117 has Python 3.12 wheels: leave"),
        (
            ("cu128",),
            "2.13",
            "no torch 2.13 for both cu130 and cu128 has Python 3.12 wheels: choose",
        ),
        (
            ("cu132", "cu128"),
            "latest",
            "no torch for all of cu130, cu132, cu128 has Python 3.12 wheels: leave",
        ),
    ],
)
def test_where_there_is_none_the_way_out_is_told(
    extras: tuple[str, ...], torch: str, said: str
) -> None:
    why = str(why_no_extra(MATRIX, replace(CU130, torch=torch), extras))
    assert said in why
    assert f"leave {extras[-1]} out" in why or f"leave {extras[0]} out" in why


def test_the_project_s_own_platform_in_that_list_adds_nothing() -> None:
    assert why_no_extra(MATRIX, CU130, ("cu130",), ()) is None
    build = kept_build(MATRIX, replace(CU130, extras=("cu130",)))
    assert build
    assert build.torch == fitting_release(MATRIX, CU130)


def test_a_project_is_told_for_what_its_torch_stays_behind() -> None:
    for extras, rest in ((("cpu", "cu128"), "cpu"), (("cu128",), "")):
        build = kept_build(MATRIX, replace(CU130, extras=extras))
        assert build
        assert notes(MATRIX, build, []) == [
            "cu128 has no torch 2.14.1, so torch stays at 2.11.0 for it. To go on without it:\n\n"
            f'    copier update --trust --defaults --data "extra_compute_platforms=[{rest}]"'
        ]
    build = kept_build(MATRIX, replace(CU130, extras=("cpu",)))
    assert build
    assert notes(MATRIX, build, []) == []
