"""A site on loopback that answers as a test says: pages, and what can take their place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote

import pytest

from install.index_server import QuietServer
from refresh.listing import Page, Patience, Source

HTML = "text/html; charset=utf-8"
HASTY = Patience(tries=3, backoff=0.01, connect=10, read=10)


@dataclass(frozen=True)
class Answer:
    """One answer; with an ETag among its headers, a client that has it is told so."""

    body: bytes = b""
    status: int = 200
    kind: str = HTML
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False  # hang up in the middle
    before: Callable[[], object] = int  # what happens first


def page(*names: str, end: str = "</html>\n<!--TIMESTAMP 1795262400-->\n", **more: str) -> Answer:
    """A package's page as the PyTorch index has it: links below its root, `%2B`, no hash."""
    attributes = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    lines = [f'<a href="/files/{quote(name)}"{attributes}>{name}</a><br/>\n' for name in names]
    text = f"<!DOCTYPE html>\n<html>\n<body>\n<h1>Links for torch</h1>\n{''.join(lines)}</body>\n"
    return Answer((text + end).encode())


def wheels(count: int, local: str = "cu130") -> list[str]:
    """The names of so many wheels."""
    return [f"torch-2.{n}.0+{local}-cp312-cp312-win_amd64.whl" for n in range(count)]


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        """Answer with what is next for this path."""
        queue = self.site.answers.get(self.path, [Answer(b"nothing here\n", 403)])
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        status, body = answer.status, answer.body
        if self.headers.get("If-None-Match", "?") == answer.headers.get("ETag"):
            status, body = 304, b""
        self.site.seen.append((self.path, status, self.headers))
        answer.before()
        self.send_response(status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        body = body[: len(body) // 2] if answer.cut else body
        for start in range(0, len(body), 65536):
            self.wfile.write(body[start : start + 65536])
            self.site.sent += 65536

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what was asked for is in `site.seen`."""


class Site:
    """The server. `answers` has for each path what to say, in turn; the last is said for ever."""

    def __init__(self, cache: Path) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.seen: list[tuple[str, int, Message]] = []
        self.sent = 0  # bytes of bodies, roughly
        handler = type("Handler", (_Handler,), {"site": self})
        self._server = QuietServer(("127.0.0.1", 0), handler)
        self._server.hung_up = OSError
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.cache, self.patience = cache, HASTY
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()

    def source(self, url: str = "", *, accept_shrunk: bool = False) -> Source:
        """A client of the site, or of an address that stands in its place."""
        root = url or self.url
        whl, simple = f"{root}/whl", f"{root}/simple/"
        return Source(whl, simple, self.cache, accept_shrunk=accept_shrunk, patience=self.patience)

    def read(self, *answers: Answer, url: str = "", accept_shrunk: bool = False) -> Page:
        """The page cu130/torch, when the site gives these answers to whoever asks for it."""
        if answers:
            self.answers["/whl/cu130/torch/"] = list(answers)
        source = self.source(url, accept_shrunk=accept_shrunk)
        found = source.pages([("cu130", "torch")])["cu130", "torch"]
        assert found
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site of this test's own, with nothing on it."""
    site = Site(tmp_path / "cache")
    yield site
    site.close()


def slowly(seconds: float) -> Callable[[], object]:
    """What makes an answer late."""
    return lambda: time.sleep(seconds)
