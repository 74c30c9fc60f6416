"""HTTP for the package index on loopback: whole files and parts of them, over kept connections."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

from install.wheels import Distribution


@dataclass(frozen=True)
class Request:
    """One request that the index answered: `host` is "index" or "files"."""

    host: str
    method: str
    path: str
    status: int
    size: int  # of the answer's body, in bytes


@dataclass(frozen=True)
class Reply:
    """An answer: a status, and a page or a file."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()
    file: Distribution | None = None
    cut: bool = False  # hang up in the middle


class Index(Protocol):
    """What gives the answers."""

    requests: list[Request]

    def answer(self, host: str, path: str, accept: str, authorization: str) -> Reply: ...


class QuietServer(ThreadingHTTPServer):
    """A server that says nothing of a client that hung up."""

    daemon_threads = True
    hung_up: type[OSError] = ConnectionError

    def handle_error(self, request: object, client_address: object) -> None:
        """Show a fault of the server itself."""
        if not isinstance(sys.exc_info()[1], self.hung_up):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    """Answers what the index says."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    index: Index
    host: str

    def do_GET(self) -> None:
        """Answer with headers and body."""
        accept = self.headers.get("Accept", "")
        reply = self.index.answer(
            self.host, self.path, accept, self.headers.get("Authorization", "")
        )
        size = reply.file.size if reply.file else len(reply.body)
        status, headers, span = reply.status, list(reply.headers), range(size)
        if reply.file:
            headers.append(("Accept-Ranges", "bytes"))
            if asked := self._asked_range(size):
                status, span = 206, asked
                headers.append(("Content-Range", f"bytes {span[0]}-{span[-1]}/{size}"))
        self.index.requests.append(Request(self.host, self.command, self.path, status, len(span)))
        self.send_response(status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(span)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if reply.cut:
            self.close_connection = True
            span = span[: len(span) // 2]
        if reply.file:
            self._send_file(reply.file, span)
        else:
            self.wfile.write(reply.body[: len(span)])

    def _send_file(self, distribution: Distribution, span: range) -> None:
        left = len(span)
        with distribution.open() as file:
            file.seek(span.start)
            while left and (block := file.read(min(left, 1 << 20))):
                self.wfile.write(block)
                left -= len(block)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server asks for

    def _asked_range(self, size: int) -> range | None:
        """Return the single byte range that the client asked for, if it lies in the file."""
        unit, _, span = self.headers.get("Range", "").partition("=")
        first, _, last = span.partition("-")
        if unit != "bytes" or "," in span or not (first or last):
            return None
        start = int(first) if first else max(size - int(last), 0)
        end = min(int(last), size - 1) if first and last else size - 1
        return range(start, end + 1) or None

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the requests are in `index.requests`."""
