"""What a wheel or a page may say that nobody expects."""

from __future__ import annotations

import time

import pytest

import refresh_matrix
from refresh.cache import Kept
from refresh.insides import compute_platform
from refresh.listing import RefreshError
from refresh.pages import FOLDER, parse
from refresh.site import Answer, Site, page, wheels
from refresh.wheels import File
from torch_template.matrix.facts import toolkit_name

FILE = File("torch", "2.16.0", None, frozenset(), "any", "http://x/a.whl", None, None, None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cuda = '13.10'", "cu1310"),
        ("cuda = '13.0'", "cu130"),
        ("__version__ = '2.16.0+git123'", None),
        ("__version__ = '2.16.0+cpu\\n- <b>'", None),
        ("__version__ = '2.16.0+rocm7.2'", "rocm7.2"),
    ],
)
def test_only_a_compute_platform_is_one(text: str, expected: str | None) -> None:
    assert compute_platform(text.encode(), FILE) == expected


def test_cuda_may_have_a_minor_of_two_digits() -> None:
    assert FOLDER.fullmatch("cu1310")
    assert [toolkit_name(name) for name in ("cu118", "cu130", "cu1310")] == [
        "11.8",
        "13.0",
        "13.10",
    ]


def test_many_blanks_in_a_title_cost_no_time() -> None:
    begun = time.monotonic()
    with pytest.raises(RefreshError, match="no link"):
        parse(Kept("x", "http://x/", "text/html", b"<title>" + b" " * 60000))
    assert time.monotonic() - begun < 0.5


@pytest.mark.parametrize(
    "answer",
    [
        page(*wheels(3), data_upload_time="2026-13-45T00:00:00Z"),
        Answer(b"[" * 100_000, kind="application/vnd.pypi.simple.v1+json"),
    ],
    ids=["no day", "deep JSON"],
)
def test_what_nobody_can_understand_is_told_with_its_address(site: Site, answer: Answer) -> None:
    with pytest.raises(RefreshError, match=r"http://127.0.0.1:\d+/whl/cu130/torch/ "):
        site.read(answer)


def test_a_crash_is_told_apart_from_something_that_differs(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def crash() -> int:
        raise KeyError("files")

    monkeypatch.setattr(refresh_matrix, "main", crash)
    assert refresh_matrix.command() == 5
    assert "KeyError: 'files'\nThis is a fault of the tool: report it" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (
            "torch-2.15.0.post1+cu130-cp312-cp312-manylinux_2_28_x86_64.whl",
            "version of another form",
        ),
        ("torch-1!2.3.0+cu130-cp312-cp312-manylinux_2_28_x86_64.whl", "version of another form"),
        ("torch-2.16+cu130-cp312-cp312-manylinux_2_28_x86_64.whl", "version of another form"),
        ("torch-2.14.1+cu130-cp33000-cp33000-manylinux_2_28_x86_64.whl", "odd Python"),
    ],
)
def test_an_odd_wheel_among_others_is_left_out_and_counted(site: Site, name: str, why: str) -> None:
    read = site.read(page(*wheels(20), name))
    assert len(read.files) == 20
    assert read.left_out[why] == 1
