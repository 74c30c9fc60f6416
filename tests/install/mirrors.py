"""Mirrors of the PyTorch index on loopback, each with the answers of a product that companies run.

    with Mirror(index, LAYOUTS["nexus"]) as mirror:
        mirror.base      # what a project has as pytorch_index_url
        mirror.requests  # what was asked for, and how it was answered

What is served is what `LoopbackIndex` has; how, is a row of LAYOUTS. Where each row is from:

* artifactory: the paths of https://github.com/astral-sh/uv/issues/1393; a repository for each
  compute platform, by its suffix `whl/cu126`, of JFrog's "How to configure PyTorch remote repo";
  401, 403 or 404 of its "Hide existence of unauthorized resources"; a redirect without the last
  slash: https://github.com/renovatebot/renovate/issues/8817; times of uploads since 7.132.
* nexus: https://github.com/sonatype-nexus-community/pytorch-pypi and its issue 21;
  https://github.com/sonatype/nexus-public/issues/998 for the times of uploads.
* devpi: seen at devpi-server 6.20.3 with `mirror_url` at the index of these tests; no file of
  metadata: https://github.com/devpi/devpi/issues/1018; a page in place of a 401: devpi-lockdown.
* cloudsmith: https://docs.cloudsmith.com/formats/python-repository; links as its pages have them.
* gitlab: lib/api/pypi_packages.rb and app/presenters/packages/pypi of GitLab's source; a signed
  address elsewhere for the file, where its packages lie in an object storage.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit

from packaging.utils import canonicalize_name, parse_wheel_filename
from typing_extensions import Self

from install.catalog import PYPI, catalog
from install.index_server import Handler, QuietServer, Reply, Request
from install.loopback_index import HTML, PEP691, LoopbackIndex
from install.wheels import Distribution

PLACE = "{compute_platform}"


@dataclass(frozen=True)
class Layout:
    """How a product answers. `link` is a wheel's, as its pages have it."""

    base: str
    link: str
    user: str = "me"
    json: str = ""  # the version of the answer in JSON, where there is one
    metadata: bool = False  # has PEP 658's files
    times: bool = False  # of uploads
    forwards: bool = False  # to PyPI, what it does not have
    stranger: int = 401  # what somebody without a login gets; 302: a page to log in
    denied: int = 401  # and with a wrong one
    stored_elsewhere: bool = False  # a file's address leads to a signed one


LAYOUTS = {
    "artifactory": Layout(
        "/artifactory/api/pypi/pytorch-{compute_platform}-remote/simple",
        "../../packages/whl/{platform}/{quoted}",
    ),
    "artifactory, hidden": Layout(
        "/artifactory/api/pypi/pytorch-{compute_platform}-remote/simple",
        "../../packages/whl/{platform}/{quoted}",
        json="1.1",
        metadata=True,
        times=True,
        denied=404,
    ),
    "nexus": Layout(
        "/repository/pytorch-{compute_platform}/simple",
        "../../packages/{name}/{version}/{quoted}",
    ),
    "devpi": Layout(
        "/root/pytorch-{compute_platform}/+simple",
        "../../+f/{start}/{digits}/{file}",
        json="1.0",
        stranger=302,
        denied=302,
    ),
    "cloudsmith": Layout(
        "/basic/acme/pytorch-{compute_platform}/python/simple",
        "{host}/basic/acme/pytorch-{platform}/python/{quoted}",
        user="token",
    ),
    "gitlab": Layout(
        "/api/v4/projects/ml%2Fpytorch-{compute_platform}/packages/pypi/simple",
        "{host}/api/v4/projects/{number}/packages/pypi/files/{sha256}/{file}",
        user="__token__",
        forwards=True,
        denied=404,
        stored_elsewhere=True,
    ),
}


class Mirror:
    """A server with a product's layout, and a second one for files that it stores elsewhere."""

    def __init__(self, index: LoopbackIndex, layout: Layout) -> None:
        self.index, self.layout = index, layout
        self.requests: list[Request] = []
        self._token = ""
        self._files: dict[str, Distribution] = {}
        self._without: set[str] = set()
        self._servers = {name: self._start(name) for name in ("index", "files")}
        ports = [one.server_address[1] for one in self._servers.values()]
        # Another name: a login in a netrc file is for all ports of a host.
        self.url, self._storage = f"http://127.0.0.1:{ports[0]}", f"http://localhost:{ports[1]}"
        self.base = self.url + layout.base

    def _start(self, host: str) -> ThreadingHTTPServer:
        handler = type("Handler", (Handler,), {"index": self, "host": host})
        server = QuietServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    @contextmanager
    def login_required(self, password: str) -> Iterator[None]:
        """Let nobody in but the layout's user, with this password."""
        self._token = base64.b64encode(f"{self.layout.user}:{password}".encode()).decode()
        try:
            yield
        finally:
            self._token = ""

    @contextmanager
    def without(self, project: str) -> Iterator[None]:
        """Lack a project, such as one that nobody has uploaded yet."""
        self._without.add(project)
        try:
            yield
        finally:
            self._without.remove(project)

    # --- answers

    def answer(self, host: str, path: str, accept: str, authorization: str) -> Reply:
        """Answer one request."""
        if host == "files":  # an address that is signed, and takes no second login
            given = Reply(400, b"Only one auth mechanism allowed\n")
            return (
                given
                if authorization
                else Reply(200, file=self._files[unquote(urlsplit(path).path)])
            )
        if path.startswith("/+login"):
            return Reply(200, b"<html><form>Log in</form></html>", HTML)
        if self._token and authorization != f"Basic {self._token}":
            return self._refusal(self.layout.denied if authorization else self.layout.stranger)
        pattern = re.escape(self.layout.base).replace(re.escape(PLACE), r"(?P<platform>[^/]+?)")
        if page := re.fullmatch(rf"{pattern}/(?P<project>[^/]+)(?P<slash>/?)", path):
            if not page["slash"]:
                return Reply(302, headers=(("Location", f"{self.url}{path}/"),))
            return self._page(page["platform"], canonicalize_name(page["project"]), path, accept)
        return self._file(unquote(path))

    def _refusal(self, status: int) -> Reply:
        challenge = ("WWW-Authenticate", 'Basic realm="mirror"')
        away = ("Location", f"{self.url}/+login?goto_url=/")
        return Reply(status, b"no\n", headers=(away if status == 302 else challenge,))

    def _page(self, platform: str, project: str, path: str, accept: str) -> Reply:
        known = platform in catalog().indexes and project not in self._without
        wheels = self.index.distributions(platform, project) if known else []
        if not wheels and self.layout.forwards:
            there = f"{self.index.simple_url}{project}/"
            return Reply(302, headers=(("Location", there),))
        if not wheels:
            return Reply(404, b"no such project\n")
        links = {wheel: self._link(platform, project, wheel) for wheel in wheels}
        for wheel, link in links.items():
            address = urljoin(f"{self.url}{path}", link)
            self._files[unquote(urlsplit(address).path)] = wheel
        if self.layout.json and PEP691 in accept:
            return Reply(200, self._json(project, links), PEP691)
        return Reply(200, self._html(project, links), HTML)

    def _link(self, platform: str, project: str, wheel: Distribution) -> str:
        name, version, *_ = parse_wheel_filename(wheel.filename)
        digest = wheel.sha256
        return self.layout.link.format(
            host=self.url,
            platform=platform,
            number=100 + catalog().indexes.index(platform),
            name=name,
            version=quote(str(version)),
            file=wheel.filename,
            quoted=quote(wheel.filename),
            sha256=digest,
            start=digest[:3],
            digits=digest[3:16],
        )

    def _html(self, project: str, links: dict[Distribution, str]) -> bytes:
        rows = []
        for wheel, link in links.items():
            extra = f' data-requires-python="{escape(wheel.requires_python or "")}"'
            if self.layout.metadata:
                extra += f' data-core-metadata="sha256={digest_of(wheel.metadata)}"'
            name = wheel.filename
            rows.append(f'<a href="{link}#sha256={wheel.sha256}"{extra}>{name}</a><br/>')
        page = f"<!DOCTYPE html><html><body><h1>Links for {project}</h1>\n"
        return (page + "\n".join(rows) + "\n</body></html>\n").encode()

    def _json(self, project: str, links: dict[Distribution, str]) -> bytes:
        rows = []
        for wheel, link in links.items():
            row = {"filename": wheel.filename, "url": link, "hashes": {"sha256": wheel.sha256}}
            if self.layout.metadata:
                row["core-metadata"] = {"sha256": digest_of(wheel.metadata)}
            if self.layout.times:
                row |= {"upload-time": f"{wheel.uploaded}T12:00:00Z", "size": wheel.size}  # type: ignore[dict-item]
            rows.append(row)
        versions = sorted({row["filename"].split("-")[1] for row in rows})  # type: ignore[attr-defined]
        meta = {"api-version": self.layout.json}
        return json.dumps(
            {"meta": meta, "name": project, "files": rows, "versions": versions}
        ).encode()

    def _file(self, path: str) -> Reply:
        name = path.removesuffix(".metadata")
        if name not in self._files:  # a lock has its address: no page was asked for
            for platform in catalog().indexes:
                for project in catalog().projects(platform) if platform != PYPI else ():
                    page = self.layout.base.replace(PLACE, platform)
                    self._page(platform, project, f"{page}/{project}/", "")
        wheel = self._files.get(name)
        if wheel is None or (name != path and not self.layout.metadata):
            return Reply(404, b"no such file\n")
        if name != path:
            return Reply(200, wheel.metadata, "binary/octet-stream")
        if self.layout.stored_elsewhere:
            there = f"{self._storage}{quote(path)}?X-Amz-Signature=1"
            return Reply(302, headers=(("Location", there),))
        return Reply(200, content_type="binary/octet-stream", file=wheel)


def digest_of(content: bytes) -> str:
    """The SHA-256 of some content."""
    return hashlib.sha256(content).hexdigest()


@contextmanager
def folder(path: Path) -> Iterator[str]:
    """Serve a folder, as any server of files does."""

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, directory=str(path), **options)  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = QuietServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
