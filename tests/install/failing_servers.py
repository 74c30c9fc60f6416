"""What a network can put in an index's place: a login page, a proxy that inspects TLS."""

from __future__ import annotations

import base64
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from install.index_server import QuietServer


class _Server(QuietServer):
    hung_up = OSError  # as one does that does not trust the certificate


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
    server = _Server(("127.0.0.1", 0), handler)
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
    own, key = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    usages = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment"]
    usages += ["key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    sign = x509.KeyUsage(**{usage: usage == "key_cert_sign" for usage in usages})
    here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    authority = _certificate("Inspection", own.public_key(), "Inspection", own, True, sign)
    server = _certificate("127.0.0.1", key.public_key(), "Inspection", own, False, here)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    parts = {"authority.pem": authority, "server.pem": server, "server.key": secret}
    paths = {name: folder / name for name in parts}
    for name, content in parts.items():
        paths[name].write_bytes(content)
    return paths["authority.pem"], (paths["server.pem"], paths["server.key"])


def _certificate(
    name: str,
    key: rsa.RSAPublicKey,
    issuer: str,
    signer: rsa.RSAPrivateKey,
    authority: bool,
    extension: x509.KeyUsage | x509.SubjectAlternativeName,
) -> bytes:
    """A certificate for two days, as OpenSSL's command would make it."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, issuer)]
    now, public = datetime.now(timezone.utc), signer.public_key()
    builder = (
        x509.CertificateBuilder(names[1], names[0], key, x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(extension, critical=authority)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    made = builder.sign(signer, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)
