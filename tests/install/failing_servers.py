"""What a network can put in an index's place: a login page, a proxy that inspects TLS."""

from __future__ import annotations

import base64
import shutil
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that hung up, as one does that does not trust the certificate."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Garbage(BaseHTTPRequestHandler):
    body = b"\x00\xff<a href='log in' & \xc3(" * 40

    def do_GET(self) -> None:
        """Answer 200 with bytes that are no page."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.body)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server asks for

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def forwarding(origin: str) -> type[BaseHTTPRequestHandler]:
    """A handler that answers what the origin answers."""
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    class Forward(_Garbage):
        def do_GET(self) -> None:
            """Fetch it from the origin."""
            headers = {"Accept": self.headers.get("Accept", "*/*")}
            request = urllib.request.Request(origin + self.path, headers=headers)
            try:
                with directly.open(request) as reply:
                    status, body, kind = reply.status, reply.read(), reply.headers["Content-Type"]
            except urllib.error.HTTPError as error:
                status, body, kind = error.code, b"", "text/plain"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

    return Forward


class _LoginProxy(_Garbage):
    """A proxy that only serves those who say who they are."""

    login = "Basic " + base64.b64encode(b"me:secret").decode()

    def do_GET(self) -> None:
        """Answer 407, or fetch what is asked for."""
        if self.headers.get("Proxy-Authorization") != self.login:
            self.send_response(407)
            self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:  # what is asked for is a whole address
            forwarding("").do_GET(self)  # type: ignore[attr-defined]

    do_HEAD = do_CONNECT = do_GET  # noqa: N815


@contextmanager
def login_proxy() -> Iterator[str]:
    """Where an HTTP proxy listens that wants `me:secret`."""
    with _serving(_LoginProxy, None) as port:
        yield f"127.0.0.1:{port}"


@contextmanager
def _serving(
    handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None
) -> Iterator[int]:
    server = _Quiet(("127.0.0.1", 0), handler)
    if context:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def garbage() -> Iterator[str]:
    """The address of a server that answers everything with 200 and nonsense."""
    with _serving(_Garbage, None) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def inspecting_proxy(origin: str, certificate: tuple[Path, Path]) -> Iterator[str]:
    """The address of an HTTPS server with a certificate of nobody's, in front of the origin."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with _serving(forwarding(origin), context) as port:
        yield f"https://127.0.0.1:{port}"


def make_certificate(folder: Path) -> tuple[Path, tuple[Path, Path]]:
    """An authority's certificate, and a server's certificate and key that it signed."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed: no certificate to be inspected with")
    authority, server = folder / "authority", folder / "server"
    new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-x509", "-days", "2"]
    signed = ["-CA", f"{authority}.pem", "-CAkey", f"{authority}.key"]
    extensions = ["subjectAltName=IP:127.0.0.1", "basicConstraints=critical,CA:FALSE"]
    added = [word for text in extensions for word in ("-addext", text)]
    commands = [
        [*new, "-subj", "/CN=Inspection", "-addext", "keyUsage=critical,keyCertSign"],
        [*new, "-subj", "/CN=127.0.0.1", *added, *signed],
    ]
    for command, name in zip(commands, (authority, server), strict=True):
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
        done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return Path(f"{authority}.pem"), (Path(f"{server}.pem"), Path(f"{server}.key"))
