"""What a network can do to a refresh of the matrix: nothing wrong is believed, and why is said."""

from __future__ import annotations

import gzip
import json
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from install.failing_servers import inspecting_proxy, login_proxy, make_certificate
from refresh.listing import RefreshError, ShrunkError, shown_progress
from refresh.site import Answer, Site, page, slowly, wheels

GOOD = page(*wheels(20))
BAD_LUCK = Answer(b"bad luck\n", 503)
LOGIN = Answer(b"<html><head><title>Hotel Wi-Fi</title></head><a href='/go'>go</a></html>")
LATER = r" (Run this|or run this) again later"


@pytest.mark.parametrize(
    "fault",
    [
        BAD_LUCK,
        Answer(b"slow down\n", 429, headers={"Retry-After": "0"}),
        replace(GOOD, cut=True),
        replace(GOOD, status=502, cut=True),
    ],
    ids=["503", "429", "cut", "502 and cut"],
)
def test_a_passing_fault_is_tried_again(site: Site, fault: Answer) -> None:
    assert len(site.read(fault, fault, GOOD).files) == 20
    assert len(site.seen) == 3


def test_a_server_that_says_when_to_come_back_is_listened_to(site: Site) -> None:
    begun = time.monotonic()
    site.read(Answer(status=429, headers={"Retry-After": "1"}), GOOD)
    assert time.monotonic() - begun >= 1


DAY = "Fri, 20 Nov 2026 10:00:00 GMT"
NO_JSON = Answer(json.dumps({"name": "torch"}).encode(), kind="application/json")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (BAD_LUCK, rf"answered 503 Service Unavailable\.{LATER}"),
        (replace(GOOD, cut=True), rf"broke off in the middle, 3 times\.{LATER}"),
        (replace(GOOD, body=GOOD.body[:-400]), rf"ends in the middle\.{LATER}"),
        (LOGIN, r"lists no file at all, and is called “Hotel Wi-Fi”\. Log in"),
        (Answer(b"<html><p>Welcome</html>"), r"no page of a package index: it has no link\. Log"),
        (Answer(b"\x00\xff\xc3(" * 40), r"it has no link\. Log in"),
        (replace(GOOD, kind="image/png"), r"it is image/png\. Log in"),
        (NO_JSON, r"no page of a package index: 2 validation errors.*\. Log in"),
        (Answer(b'{"files": [', kind="application/json"), r"no page of a package index: .*Log in"),
        (Answer(b"", 401), r"answered 401 Unauthorized\. Log in"),
        (Answer(b"", 410), r"answered 410 Gone\. Look"),
        (Answer(b"", 302, headers={"Location": "./"}), r"cannot be reached: .* Log in"),
        (page(*wheels(3), "torch-2.whl"), r"1 of 4 names are none of wheels\. Look"),
    ],
)  # fmt: skip
def test_what_is_no_whole_page_is_refused_in_a_sentence(
    site: Site, answer: Answer, sentence: str
) -> None:
    with pytest.raises(RefreshError, match=sentence) as caught:
        site.read(answer)
    message = str(caught.value)
    assert re.search(rf"{site.url}/whl/cu130/torch/? ", message)
    assert message.count(". ") == 1
    assert len(site.read(GOOD).files) == 20  # and nothing of it was kept


def test_a_redirect_is_followed_and_links_are_relative_to_its_end(site: Site) -> None:
    site.answers["/mirror/torch/"] = [replace(GOOD, body=GOOD.body.replace(b'"/files/', b'"../'))]
    moved = Answer(status=301, headers={"Location": "/mirror/torch/"})
    assert site.read(moved).files[0].url.startswith(f"{site.url}/mirror/torch-2.0.0%2Bcu130")


def test_a_silent_server_is_not_waited_for_for_ever(site: Site) -> None:
    site.patience = replace(site.patience, read=0.1, tries=2)
    with pytest.raises(RefreshError, match=rf"cannot be reached: Read timed out.*\..*{LATER}"):
        site.read(replace(GOOD, before=slowly(0.5)))


def test_several_pages_are_asked_for_at_once(site: Site) -> None:
    together = threading.Barrier(4)  # which breaks, as the test then does, if they come in turn
    keys = [(f"cu13{n}", "torch") for n in range(4)]
    for name, _ in keys:
        listed = page(*wheels(2, name))
        site.answers[f"/whl/{name}/torch/"] = [
            replace(listed, before=lambda: together.wait(timeout=10))
        ]
    told: list[tuple[int, int]] = []
    found = site.source().pages(keys, lambda *now: told.append(now))
    assert [len(one.files) for one in found.values() if one] == [2] * 4
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_only_on_a_terminal_it_is_told_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with shown_progress("pages") as quiet:
        assert quiet is None
    assert capfd.readouterr().err == ""
    control, terminal = os.openpty()
    with os.fdopen(control, "rb", 0) as screen, os.fdopen(terminal, "w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        with shown_progress("pages") as tell:
            assert tell
            tell(3, 88)
        shown = b""
        while not shown.endswith(b" \r"):  # cleared in the end
            shown += screen.read(100)
    assert re.fullmatch(rb"\rpages: 3 of 88 \r +\r", shown)


# --- what was read before


def test_a_page_that_shrinks_is_refused_until_it_is_accepted(site: Site) -> None:
    site.read(GOOD)
    few = page(*wheels(17))
    for _ in range(2):  # what was refused is not what the next is compared with
        with pytest.raises(ShrunkError, match=r"has 17 instead of the 20 .* --accept-shrunk\."):
            site.read(few)
    assert len(site.read(page(*wheels(18))).files) == 18
    site.read(GOOD)
    assert len(site.read(few, accept_shrunk=True).files) == 17
    assert len(site.read(few).files) == 17


def test_a_page_whose_names_change_is_one_that_shrinks(site: Site) -> None:
    site.read(GOOD)
    renamed = [name.replace("win_amd64", "windows_11_amd64") for name in wheels(20)]
    with pytest.raises(ShrunkError, match="has 0 instead of the 20"):
        site.read(page(*renamed))


def test_a_page_that_is_gone_is_refused_until_it_is_accepted(site: Site) -> None:
    site.answers["/whl/cpu/torch/"] = [page(*wheels(3, "cpu"))]
    site.read(GOOD)
    del site.answers["/whl/cu130/torch/"]
    with pytest.raises(ShrunkError, match="torch/ is gone, with the 20 wheels"):
        site.read()
    key = ("cu130", "torch")
    assert site.source(accept_shrunk=True).pages([key]) == {key: None}
    assert site.source().pages([key]) == {key: None}


def test_a_page_that_has_not_changed_is_not_sent_again(site: Site) -> None:
    tagged = replace(GOOD, headers={"ETag": '"7"', "Last-Modified": DAY})
    before = site.read(tagged)
    assert site.read(tagged) == before
    assert [status for _, status, _ in site.seen] == [200, 304]
    assert site.seen[1][2]["If-Modified-Since"] == DAY
    changed = replace(page(*wheels(21)), headers={"ETag": '"8"'})
    assert len(site.read(changed).files) == 21


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "half": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "flipped": lambda content: content[:99] + bytes(8) + content[107:],
    "foreign": lambda _: gzip.compress(b'{"key": 1}'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_of_the_cache_is_as_none(
    site: Site, damage: Callable[[bytes], bytes]
) -> None:
    tagged = replace(GOOD, headers={"ETag": '"7"'})
    before = site.read(tagged)
    for path in site.cache.iterdir():
        path.write_bytes(damage(path.read_bytes()))
    assert site.read(tagged) == before
    assert [status for _, status, _ in site.seen] == [200, 200]


def test_a_cache_that_cannot_be_written_is_said(site: Site) -> None:
    site.cache.write_text("a file\n", encoding="utf-8")
    with pytest.raises(RefreshError, match=r"cannot be written: .+\. Name another one with --cac"):
        site.read(GOOD)


# --- the way there


def test_a_login_in_the_address_is_used_and_not_shown(site: Site) -> None:
    with_login = site.url.replace("//", "//me:secret@")
    site.read(GOOD, url=with_login)
    assert site.seen[0][2]["Authorization"].startswith("Basic ")
    with pytest.raises(RefreshError) as caught:
        site.read(BAD_LUCK, url=with_login)
    assert "secret" not in str(caught.value)


def test_nobody_there_is_said(site: Site) -> None:
    site.close()
    with pytest.raises(RefreshError, match=rf"cannot be reached: .*{LATER}"):
        site.read()
    with pytest.raises(RefreshError, match=r"cannot be reached: .* it begins with https://\."):
        site.read(url="download.pytorch.org")


def test_a_network_s_own_certificates_are_taken_from_ssl_cert_file(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    authority, server = make_certificate(tmp_path)
    site.answers["/whl/cu130/torch/"] = [GOOD]
    with inspecting_proxy(site.url, server) as url:
        with pytest.raises(RefreshError, match=r"Name the certificates .* in SSL_CERT_FILE"):
            site.read(url=url)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        assert len(site.read(url=url).files) == 20
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
        with pytest.raises(RefreshError, match=r"none\.pem.* Look at .*SSL_CERT_FILE"):
            site.read(url=url)


def test_the_way_leads_through_a_proxy_that_is_set(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    site.answers["/whl/cu130/torch/"] = [GOOD]
    with login_proxy() as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy}")
        with pytest.raises(RefreshError, match=r"answered 407 Proxy Auth.*\. Log"):
            site.read()
        monkeypatch.setenv("http_proxy", f"http://me:secret@{proxy}")
        assert len(site.read().files) == 20
