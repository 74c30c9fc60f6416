"""The index is asked before a manager is started: what is wrong with it, told within seconds."""

from __future__ import annotations

import base64
import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from install.failing_servers import inspecting_proxy, login_proxy, make_certificate
from scripts.bootstrap_helpers import module

index = module("index")
HERE = "linux-x86_64"
NOBODY = "http://127.0.0.1:9/whl/cpu"
PAGE = "<a href='{}/torch-2.14.1%2Bcpu-cp312-cp312-manylinux_2_28_x86_64.whl'>torch-2.14.1+cpu</a>"
Answer = Callable[[BaseHTTPRequestHandler], None]
PATIENCE: float = index.TRY  # seconds


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds in place of five."""
    monkeypatch.setattr(index, "TRY", 2.0)


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server that answers every request so: the index's address, and the headers it was sent."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append({"method": self.command, "path": self.path, **dict(self.headers.items())})
            answer(self)

        do_HEAD = do_GET  # noqa: N815 - the name that http.server asks for

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/whl/cpu", seen
    finally:
        server.shutdown()
        server.server_close()


def page(text: str, status: int = 200, **headers: str) -> Answer:
    """An answer with a page, whole or cut."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Type", "text/html")
        request.send_header("Content-Length", str(len(text)))
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(text.encode())

    return answer


def stalled(request: BaseHTTPRequestHandler) -> None:
    """Headers, a few letters, and then nothing more."""
    request.send_response(200)
    request.send_header("Content-Length", "100000")
    request.end_headers()
    request.wfile.write(b"<html>")
    request.wfile.flush()
    time.sleep(20)


def only_for(user_and_word: str) -> Answer:
    """An answer for those alone who send this in the header."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.headers.get("Authorization") == f"Basic {user_and_word}":
            page(PAGE.format("."))(request)
        else:
            page("no", 401)(request)

    return answer


def build(url: str | None) -> dict[str, Any]:
    return {
        "index_url": url,
        "release": "2.14.1",
        "platforms": {HERE: {"packages": {"torch": "2.14.1+cpu"}}},
    }


def trouble(url: str | None, manager: str = "uv", **env: str) -> Any:  # noqa: ANN401
    return index.index_trouble(build(url), HERE, manager, {"HOME": "/nowhere", **env})


def test_an_index_that_answers_and_a_build_that_has_none_are_no_trouble() -> None:
    with serving(page(PAGE.format("."))) as (url, seen):
        assert trouble(url) is None
    assert [request["path"] for request in seen] == ["/whl/cpu/torch/"]
    assert not seen[0]["User-Agent"].startswith("Python-urllib")  # which some hosts turn away
    assert trouble(None) is None


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (page("no", 403), "answered 403 Forbidden"),
        (page("no", 404), "answered 404 Not Found"),
        (page("no", 500), "answered 500 Internal Server Error"),
        (page("<form>log in</form>"), "answered, but not with a page that lists torch-2.14.1+cpu"),
        (lambda _: time.sleep(20), "cannot be reached (no answer within 2 s)"),
        (stalled, "cannot be reached (no answer within 2 s)"),
    ],
)
def test_what_an_index_answers_is_told_apart_within_three_tries(answer: Answer, said: str) -> None:
    started = time.monotonic()
    with serving(answer) as (url, _):
        found = trouble(url)
    assert (found.what, found.sure) == (f"{url} {said}", True)
    assert time.monotonic() - started < 6


def test_three_tries_are_15_seconds() -> None:
    assert 3 * PATIENCE <= 15


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (NOBODY, "cannot be reached (Connection refused)"),
        ("http://no-such-host.invalid/whl/cpu", "cannot be reached ("),
    ],
)
def test_nobody_there_is_told_at_once(url: str, said: str) -> None:
    started = time.monotonic()
    found = trouble(url)
    assert found.what.startswith(f"{url} {said}")
    assert found.sure
    assert time.monotonic() - started < 6


def test_an_overloaded_index_is_asked_again() -> None:
    answers = iter([page("no", 503), page(PAGE.format("."))])
    with serving(lambda request: next(answers)(request)) as (url, seen):
        assert trouble(url) is None
    assert len(seen) == 2


def test_a_slow_page_is_no_trouble_while_it_comes() -> None:
    def slow(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(30):
            request.wfile.write(b"x" * 4096)
            time.sleep(0.25)

    with serving(slow) as (url, _):
        assert trouble(url) is None


def test_files_on_another_host_are_asked_for_as_well() -> None:
    with serving(page("")) as (files, asked):
        elsewhere = files.replace("127.0.0.1", "localhost")
        with serving(page(PAGE.format(elsewhere))) as (url, _):
            assert trouble(url) is None
    assert [request["method"] for request in asked] == ["HEAD"]
    assert asked[0]["path"].endswith("torch-2.14.1%2Bcpu-cp312-cp312-manylinux_2_28_x86_64.whl")
    with serving(page(PAGE.format("http://127.0.0.1:9"))) as (url, _):
        found = trouble(url)
    said = f"127.0.0.1, which has the files of {url}, cannot be reached (Connection refused)"
    assert found.what == said


def test_what_the_files_host_answers_is_its_own_affair() -> None:
    """Some turn away what is no package manager."""
    with serving(page("no", 403)) as (files, _), serving(page(PAGE.format(files))) as (url, _):
        assert trouble(url) is None


@pytest.mark.parametrize(
    ("manager", "env"),
    [
        ("uv", {"UV_INDEX_PYTORCH_USERNAME": "me", "UV_INDEX_PYTORCH_PASSWORD": "secret"}),
        (
            "poetry",
            {
                "POETRY_HTTP_BASIC_PYTORCH_USERNAME": "me",
                "POETRY_HTTP_BASIC_PYTORCH_PASSWORD": "secret",
            },
        ),
        ("pip", {"NETRC": "netrc"}),
        ("uv", {"NETRC": "netrc"}),
    ],
)
def test_a_private_index_is_asked_with_the_manager_s_password(
    tmp_path: Path, manager: str, env: dict[str, str]
) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login me password secret\n")
    file.chmod(0o600)
    env = {name: str(file) if value == "netrc" else value for name, value in env.items()}
    with serving(only_for("bWU6c2VjcmV0")) as (url, _):
        assert trouble(url, manager, **env) is None
        found = trouble(url, manager)
    said = f"{url} answered 401 Unauthorized, without a login"
    assert found == (said, False)  # there may be a keyring


def test_a_password_is_not_taken_for_a_part_of_an_address() -> None:
    mine = {"UV_INDEX_PYTORCH_USERNAME": "me", "UV_INDEX_PYTORCH_PASSWORD": "50%41+/"}
    with serving(only_for(base64.b64encode(b"me:50%41+/").decode())) as (url, _):
        assert trouble(url, **mine) is None


@pytest.mark.parametrize(
    ("path", "said", "sure"),
    [
        ("/+login?goto_url=/whl", "{url} answered with a page to log in, without a login", False),
        ("/simple/torch/", "{url} leads to {there}, which does not list torch-2.14.1+cpu", True),
    ],
)
def test_an_index_that_leads_elsewhere_is_told(path: str, said: str, sure: bool) -> None:
    """To a page for people, or to PyPI, which has a torch of that release, but not this build."""
    with serving(page(PAGE.format(".").replace("%2B", "-").replace("+", "-"))) as (other, _):
        there = other.removeprefix("http://").removesuffix("/whl/cpu")
        with serving(page("", 302, Location=f"http://{there}{path}")) as (url, _):
            found = trouble(url)
    assert found == (said.format(url=url, there=there), sure)


def test_a_password_in_the_address_is_used_and_not_shown() -> None:
    with serving(only_for("bWU6c2VjcmV0")) as (url, _):
        assert trouble(url.replace("http://", "http://me:secret@")) is None
    said = trouble(NOBODY.replace("http://", "http://me:secret@")).what
    assert said.startswith(f"{NOBODY} cannot be reached")


def test_a_password_is_for_its_own_host_and_port_alone() -> None:
    mine = {"UV_INDEX_PYTORCH_USERNAME": "me", "UV_INDEX_PYTORCH_PASSWORD": "secret"}
    with serving(page(PAGE.format("."))) as (other, asked):
        target = other.replace("127.0.0.1", "localhost")
        with serving(page("", 302, Location=f"{target}/torch/")) as (url, first):
            assert trouble(url, **mine) is None
        for files in (target, other):  # another name, and another port
            with serving(page(PAGE.format(files))) as (url, _):
                assert trouble(url, **mine) is None
    assert "Authorization" in first[0]
    assert [request for request in asked if "Authorization" in request] == []
    assert len(asked) == 3


def test_an_index_that_hides_from_strangers_is_left_to_a_manager_that_is_none(
    tmp_path: Path,
) -> None:
    mine = {"UV_INDEX_PYTORCH_USERNAME": "me", "UV_INDEX_PYTORCH_PASSWORD": "wrong"}
    with serving(page("no", 404)) as (url, _):
        assert not trouble(url, **mine).sure
        assert not trouble(url, UV_KEYRING_PROVIDER="subprocess").sure
        (tmp_path / "auth.toml").touch()
        (tmp_path / "credentials.toml").touch()
        assert not trouble(url, "poetry", POETRY_CONFIG_DIR=str(tmp_path)).sure
        assert not trouble(url, "uv", UV_CREDENTIALS_DIR=str(tmp_path)).sure
        assert trouble(url).sure


def test_the_proxy_s_login_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(page(PAGE.format("."))) as (url, _), login_proxy() as proxy:
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("http_proxy", f"http://{proxy}")
        assert "answered 407" in trouble(url).what
        monkeypatch.setenv("http_proxy", f"http://me:secret@{proxy}")
        assert trouble(url) is None
        monkeypatch.delenv("http_proxy")
        assert trouble(url, "pip", PIP_PROXY=f"http://me:secret@{proxy}") is None
        assert "answered 407" in trouble(url, "pip", PIP_PROXY=f"http://{proxy}").what
        monkeypatch.setenv("http_proxy", f"socks5://{proxy}")
        assert trouble(url) is None  # Python does not speak it, the managers may


def test_a_certificate_is_trusted_as_the_manager_trusts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    authority, server = make_certificate(tmp_path)
    with ExitStack() as stack:
        origin, _ = stack.enter_context(serving(page(PAGE.format("."))))
        address = stack.enter_context(inspecting_proxy(origin.removesuffix("/whl/cpu"), server))
        url = f"{address}/whl/cpu"
        # The system's certificates say no, but uv and pip have their own.
        assert not trouble(url).sure
        names = {"uv": "SSL_CERT_FILE", "pip": "PIP_CERT", "poetry": "REQUESTS_CA_BUNDLE"}
        for manager, name in names.items():
            assert trouble(url, manager, **{name: str(authority)}) is None
            other = trouble(url, manager, **{name: str(server[0])})
            assert other.sure is False  # it may also be told to trust this host whatever it shows
            assert "certificate verify failed" in other.what


@pytest.mark.slow
def test_a_name_server_that_keeps_silent_does_not_hold_it_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def silent(*_: object, **__: object) -> None:
        time.sleep(30)

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    started = time.monotonic()
    found = trouble("http://slow.invalid/whl/cpu")
    assert found.what == "http://slow.invalid/whl/cpu cannot be reached (no answer within 2 s)"
    assert time.monotonic() - started < 6


def test_a_page_that_is_packed_without_being_asked_is_read() -> None:
    def packed(request: BaseHTTPRequestHandler) -> None:
        body = gzip.compress(PAGE.format(".").encode())
        request.send_response(200)
        request.send_header("Content-Encoding", "gzip")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with serving(packed) as (url, _):
        assert trouble(url) is None


def test_a_page_without_an_end_is_left_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "ENOUGH", 1 << 20)
    sent = [0]

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        with contextlib.suppress(OSError):
            while sent[0] < 1 << 28:
                sent[0] += request.wfile.write(b"x" * (1 << 16))

    with serving(endless) as (url, _):
        assert trouble(url) is None  # an index it may be
        time.sleep(0.2)
    assert sent[0] < 1 << 26


def test_a_proxy_that_is_not_there_is_named_in_place_of_the_index(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    url = "http://index.invalid/whl/cpu"
    monkeypatch.setenv("http_proxy", " http://me:secret@127.0.0.1:9 ")
    said = "The proxy 127.0.0.1:9 cannot be reached (Connection refused)"
    assert trouble(url).what == said
    monkeypatch.delenv("http_proxy")
    (tmp_path / "uv.toml").write_text('http-proxy = "http://127.0.0.1:9"\n', encoding="utf-8")
    assert trouble(url, UV_CONFIG_FILE=str(tmp_path / "uv.toml")).what == said
    assert "Name or service" in trouble(url).what


def test_a_file_that_has_no_certificates_is_no_trouble_of_the_index(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("hello", encoding="utf-8")
    with serving(page(PAGE.format("."))) as (url, _):
        assert trouble(url, SSL_CERT_FILE=str(tmp_path / "bad.pem")) is None
