"""A package index on loopback: the PyTorch index under /whl/, and one like PyPI beside it.

    with LoopbackIndex() as index:
        index.pytorch_url   # http://127.0.0.1:40001/whl, in place of https://download.pytorch.org/whl
        index.simple_url    # http://127.0.0.1:40001/simple/
        index.requests      # what was asked for, and how it was answered

The quirks of the real index are there on purpose: HTML only, `%2B` in links, files on another host,
403 for a missing project, no `.metadata` for the ROCm wheels, no hash for the files of rocm7.14.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version
from typing_extensions import Self

from install.catalog import PYPI, catalog
from install.index_server import Handler, QuietServer, Reply, Request
from install.wheels import Distribution, RealWheel, fits_here, stubs

HTML = "text/html; charset=utf-8"
PEP691 = "application/vnd.pypi.simple.v1+json"


def version_of(filename: str) -> str:
    """Return the version in a file name, as written there."""
    if filename.endswith(".whl"):
        parse_wheel_filename(filename)
        return filename.split("-")[1]
    return str(parse_sdist_filename(filename)[1])


class LoopbackIndex:
    """Two servers on 127.0.0.1: the index, and the host that its links point to."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._real: dict[str, dict[str, RealWheel]] = {}
        self._logins: dict[str, str] = {}
        self._failures: dict[str, int] = {}
        self._mishap: Callable[[], str] = str
        self._spoil: Callable[[str, Reply], Reply] = lambda _, reply: reply
        self._pages: dict[tuple[str, str, bool], Reply] = {}
        self._plain, self._timed = False, True
        self._root: tuple[str, ...] = ()
        self._servers = {"index": self._start("index"), "files": self._start("files")}
        self.url = self._url("index")
        self.files_url = self._url("files")
        self.pytorch_url = f"{self.url}/whl"
        self.simple_url = f"{self.url}/simple/"

    def _start(self, host: str) -> ThreadingHTTPServer:
        handler = type("Handler", (Handler,), {"index": self, "host": host})
        server = QuietServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def _url(self, host: str) -> str:
        return f"http://127.0.0.1:{self._servers[host].server_address[1]}"

    def close(self) -> None:
        """Stop both servers."""
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what a test may change

    def add_wheels(self, folder: Path, index: str = "cpu") -> list[str]:
        """Serve a folder's real wheels from an index (`cpu`, `pypi`, ...); return their names."""
        names = []
        for path in sorted(folder.glob("*.whl")):
            project = str(parse_wheel_filename(path.name)[0])
            self._real.setdefault(f"{index}/{project}", {})[path.name] = RealWheel(path)
            names.append(path.name)
        self._pages.clear()
        return names

    @contextmanager
    def recorded(self) -> Iterator[list[Request]]:
        """Collect the requests made inside the block."""
        start = len(self.requests)
        seen: list[Request] = []
        try:
            yield seen
        finally:
            seen += self.requests[start:]

    @contextmanager
    def plain(self) -> Iterator[None]:
        """Serve the PyTorch index as a server of files does: names and links, and no hashes."""
        self._plain = True
        self._pages.clear()
        try:
            yield
        finally:
            self._plain = False
            self._pages.clear()

    @contextmanager
    def without_upload_times(self) -> Iterator[None]:
        """Serve the PyTorch index as it is for most files of torch before 2.12."""
        self._timed = False
        self._pages.clear()
        try:
            yield
        finally:
            self._timed = True
            self._pages.clear()

    @contextmanager
    def root_page(self, *more: str) -> Iterator[None]:
        """Have a page at /whl/ that lists the folders, and some more names."""
        self._root = (*(name for name in catalog().indexes if name != PYPI), *more)
        try:
            yield
        finally:
            self._root = ()

    @contextmanager
    def login_required(self, user: str, password: str, prefix: str = "/whl/") -> Iterator[None]:
        """Answer 401 below a path of the index, unless the request has these credentials."""
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._logins[prefix] = f"Basic {token}"
        try:
            yield
        finally:
            del self._logins[prefix]

    @contextmanager
    def failing(self, prefix: str, status: int) -> Iterator[None]:
        """Answer every request below a path, on both hosts, with a status."""
        self._failures[prefix] = status
        try:
            yield
        finally:
            del self._failures[prefix]

    @contextmanager
    def failing_at_random(self, seed: int, share: float) -> Iterator[Counter[str]]:
        """Let this share of all requests, on both hosts, go wrong; count how."""
        chance, counted = random.Random(seed), Counter[str]()

        def mishap() -> str:
            if chance.random() >= share:
                return ""
            kind = chance.choice(["403", "500", "garbage", "cut"])
            counted[kind] += 1
            return kind

        self._mishap = mishap
        try:
            yield counted
        finally:
            self._mishap = str

    @contextmanager
    def spoiling(self, wheel: str, how: str, times: int) -> Iterator[None]:
        """Send the wheels of a name spoilt the first times, as a proxy does.

        `half`: zeros for its second half; `page`: a page in its place; `cut`: hang up in between.
        """
        start = len(self.requests)

        def spoil(path: str, reply: Reply) -> Reply:
            sent = [one for one in self.requests[start:] if one.path == path]
            often = sum(one.method == "GET" for one in sent)
            if not reply.file or wheel not in path or often >= times:
                return reply
            if how == "cut":
                return replace(reply, cut=True)
            with reply.file.open() as file:
                content = file.read(reply.file.size // 2)
            spoilt = content + bytes(reply.file.size - len(content))
            body = spoilt if how == "half" else b"<p>Log in</p>"
            keep = (("Cache-Control", "max-age=3600"),)  # which pip does
            return replace(reply, file=None, body=body, headers=keep)

        self._spoil = spoil
        try:
            yield
        finally:
            self._spoil = lambda _, reply: reply

    # --- answers

    def answer(self, host: str, path: str, accept: str, authorization: str) -> Reply:
        """Answer one request, or let it go wrong."""
        match self._mishap():
            case "":
                return self._spoil(path, self.reply(host, path, accept, authorization))
            case "garbage":
                return Reply(200, b"\x00\xff<a href='log in' & \xc3(" * 40, HTML)
            case "cut":
                return replace(self.reply(host, path, accept, authorization), cut=True)
            case status:
                return Reply(int(status), b"bad luck\n")

    def reply(self, host: str, path: str, accept: str, authorization: str) -> Reply:
        """Answer one request."""
        for prefix, status in self._failures.items():
            if path.startswith(prefix):
                return Reply(status, b"as asked for by the test\n")
        for prefix, wanted in self._logins.items():
            if host == "index" and path.startswith(prefix) and authorization != wanted:
                challenge = ("WWW-Authenticate", 'Basic realm="index"')
                return Reply(401, b"log in\n", headers=(challenge,))
        parts = [unquote(part) for part in path.strip("/").split("/")]
        match parts:
            case ["whl", index, filename] if filename.endswith((".whl", ".gz", ".metadata")):
                return self._file(index, filename)
            case ["packages", filename] if host == "files":
                return self._file(PYPI, filename)
            case ["whl"] if self._root:
                links = [f'<a href="{name}/">{name}</a><br/>' for name in self._root]
                return Reply(200, f"<html><body>{''.join(links)}</body></html>".encode(), HTML)
            case ["whl", index, project] if host == "index":
                return self._page(index, project, as_json=False)
            case ["whl", project] if host == "index":
                return self._every_folder(project)
            case ["simple", project] if host == "index":
                return self._page(PYPI, project, as_json=PEP691 in accept)
            case ["pypi", project, "json"] if host == "index":
                return self._release(project, None)
            case ["pypi", project, version, "json"] if host == "index":
                return self._release(project, version)
        return Reply(403 if parts[0] == "whl" else 404, b"no such page\n")

    def distributions(self, index: str, project: str) -> list[Distribution]:
        """Return the files of a project on an index, real ones in place of stubs."""
        real = self._real.get(f"{index}/{project}", {})
        found: dict[str, Distribution] = {stub.filename: stub for stub in stubs(index, project)}
        if real:
            versions = {parse_wheel_filename(name)[1] for name in real}
            found = {k: v for k, v in found.items() if not fits_here(k, versions)}
        return [file for _, file in sorted({**found, **real}.items())]

    def _file(self, index: str, filename: str) -> Reply:
        name = filename.removesuffix(".metadata")
        sdist = not name.endswith(".whl")
        project = str((parse_sdist_filename if sdist else parse_wheel_filename)(name)[0])
        for file in self.distributions(index, project):
            if file.filename != name:
                continue
            if name == filename:
                return Reply(200, content_type="binary/octet-stream", file=file)
            if has_metadata_file(index, name):
                return Reply(200, file.metadata, "binary/octet-stream")
        return Reply(404 if index == PYPI else 403, b"no such file\n")

    def _link(self, index: str, filename: str) -> str:
        folder = "packages" if index == PYPI else f"whl/{index}"
        return f"{self.files_url}/{folder}/{quote(filename)}"

    def _page(self, index: str, project: str, *, as_json: bool) -> Reply:
        key = (index, canonicalize_name(project), as_json)
        if key not in self._pages:
            files = self.distributions(*key[:2])
            if not files:
                return Reply(404 if index == PYPI else 403, b"no such project\n")
            self._pages[key] = (self._json if as_json else self._html)(index, key[1], files)
        return self._pages[key]

    def _every_folder(self, project: str) -> Reply:
        """Answer /whl/torch/, which lists the wheels of all compute platforms."""
        pages = [
            self._page(name, project, as_json=False) for name in catalog().indexes if name != PYPI
        ]
        lines = [line for page in pages for line in page.body.splitlines() if b"<a " in line]
        body = b"\n".join([f"<h1>Links for {project}</h1>".encode(), *lines])
        return Reply(200, body, HTML) if lines else Reply(403, b"no such project\n")

    def _html(self, index: str, project: str, files: list[Distribution]) -> Reply:
        lines = []
        for file in files:
            link = self._link(index, file.filename)
            if self._plain and index != PYPI:
                lines.append(f'    <a href="{link}">{file.filename}</a><br/>\n')
                continue
            attributes = [f'href="{link}#sha256={file.sha256}"']
            if index == "rocm7.14" and file.filename.startswith("rocm"):
                attributes = [f'href="{link}"']
            if has_metadata_file(index, file.filename):
                value = f"sha256={hashlib.sha256(file.metadata).hexdigest()}"
                names = ("data-dist-info-metadata", "data-core-metadata")
                attributes += [f'{name}="{value}"' for name in names]
            if index == PYPI and file.requires_python:
                attributes.append(f'data-requires-python="{html.escape(file.requires_python)}"')
            if index != PYPI and self._timed:
                attributes.append(f'data-upload-time="{file.uploaded}T12:00:00Z"')
            lines.append(f"    <a {' '.join(attributes)}>{file.filename}</a><br/>\n")
        page = (
            f"<!DOCTYPE html>\n<html>\n  <body>\n    <h1>Links for {project}</h1>\n"
            f"{''.join(lines)}  </body>\n</html>\n<!--TIMESTAMP 1795262400-->\n"
        )
        return Reply(200, page.encode(), HTML, (("Cache-Control", "no-cache,no-store"),))

    def _json(self, index: str, project: str, files: list[Distribution]) -> Reply:
        rows = [
            {
                "filename": file.filename,
                "url": self._link(index, file.filename),
                "hashes": {"sha256": file.sha256},
                "requires-python": file.requires_python,
                "core-metadata": {"sha256": hashlib.sha256(file.metadata).hexdigest()},
                "size": file.size,
                "upload-time": f"{file.uploaded}T12:00:00Z",
                "yanked": False,
            }
            for file in files
        ]
        versions = sorted({version_of(file.filename) for file in files}, key=Version)
        data = {"meta": {"api-version": "1.1"}, "name": project, "files": rows}
        return Reply(200, json.dumps({**data, "versions": versions}).encode(), PEP691)

    def _release(self, project: str, version: str | None) -> Reply:
        """Answer PyPI's JSON API, which Poetry asks."""
        by_version: dict[Version, list[Distribution]] = {}
        for file in self.distributions(PYPI, canonicalize_name(project)):
            by_version.setdefault(Version(version_of(file.filename)), []).append(file)
        wanted = max(by_version) if by_version and version is None else Version(version or "0")
        if wanted not in by_version:
            return Reply(404, b'{"message": "Not Found"}', "application/json")
        files = by_version[wanted]
        # PyPI shows one file's METADATA for the release; of torch a Linux wheel's.
        shown = next((file for file in files if "linux" in file.filename), files[0])
        fields = parse_metadata(shown.metadata)
        info = {"name": project, "version": str(wanted), "yanked": False, **fields}
        urls = [self._release_file(file) for file in files]
        data: dict[str, Any] = {"info": info, "urls": urls}
        if version is None:
            data["releases"] = {
                str(v): [self._release_file(f) for f in by_version[v]] for v in by_version
            }
        return Reply(200, json.dumps(data).encode(), "application/json")

    def _release_file(self, file: Distribution) -> dict[str, Any]:
        return {
            "filename": file.filename,
            "url": self._link(PYPI, file.filename),
            "packagetype": "bdist_wheel",
            "digests": {"sha256": file.sha256},
            "requires_python": file.requires_python,
            "size": file.size,
            "upload_time_iso_8601": f"{file.uploaded}T12:00:00.000000Z",
            "yanked": False,
        }


def parse_metadata(metadata: bytes) -> dict[str, Any]:
    """Return the fields of a METADATA file that PyPI's JSON API shows."""
    fields = [line.partition(": ") for line in metadata.decode().split("\n\n")[0].splitlines()]
    python = next((value for name, _, value in fields if name == "Requires-Python"), None)
    return {
        "summary": "",
        "requires_python": python,
        "requires_dist": [value for name, _, value in fields if name == "Requires-Dist"],
    }


@cache
def has_metadata_file(index: str, filename: str) -> bool:
    """Say whether the index serves `<wheel>.metadata` (for the ROCm builds it does not)."""
    return filename.endswith(".whl") and not index.startswith("rocm")
