"""HTTP with patience: a fault of the network is tried again, and what remains is one sentence."""

from __future__ import annotations

import os
import re
import ssl
import time
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
import truststore
import urllib3.exceptions
from remotezip import RangeNotSupported, RemoteIOError, RemoteZip, RemoteZipError
from requests import exceptions
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from refresh.cache import Kept
from refresh.errors import RefreshError

Result = TypeVar("Result")
PASSING = (429, 500, 502, 503, 504)  # what a server says that may do it next time
# requests looks at the first two by itself, and not at what OpenSSL and pip look at.
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT", "SSL_CERT_DIR")

OBJECT = re.compile(r"^<?\w+\(.*?\)>?: ")  # as urllib3 begins: HTTPConnection(host='...', port=80):
WAYS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((exceptions.SSLError,), "Name the certificates of your network in SSL_CERT_FILE."),
    ((exceptions.ProxyError,), "Look at the proxy in HTTPS_PROXY and HTTP_PROXY."),
    ((exceptions.TooManyRedirects,), "Log in to this network, or name another index."),
    (
        (exceptions.InvalidURL, exceptions.MissingSchema, exceptions.InvalidSchema),
        "Look at the address of the index: it begins with https://.",
    ),
    (
        (exceptions.RequestException,),
        "Look at the connection, and at the proxy in HTTPS_PROXY, or run this again later.",
    ),
    ((BaseException,), f"Look at {', '.join(CERTIFICATES)}."),
)


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, and how often it is asked. Times are in seconds."""

    tries: int = 5
    backoff: float = 0.5  # before the second retry; doubled each time
    connect: float = 10
    read: float = 30  # without a single byte
    asked_for: int = 120  # the longest Retry-After that is waited for


class _BrokenOffError(Exception):
    """The server hung up, or fell silent, in the middle of its answer."""


class _Adapter(HTTPAdapter):
    """Connections that also trust whom the operating system trusts, as pip's do."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - as in requests
        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        super().init_poolmanager(*args, ssl_context=context, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:  # noqa: ANN401
        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return super().proxy_manager_for(proxy, ssl_context=context, **options)


class Client:
    """A session with retries, for several threads."""

    def __init__(self, patience: Patience, threads: int) -> None:
        self._patience = patience
        self._timeout = (patience.connect, patience.read)
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "torch-starter refresh_matrix"
        self._session.verify = next(filter(None, map(os.environ.get, CERTIFICATES)), True)
        again = patience.tries - 1
        retry = Retry(
            total=again,
            other=0,  # a certificate that is not trusted now will not be trusted then
            backoff_factor=patience.backoff,
            retry_after_max=patience.asked_for,
            status_forcelist=PASSING,
            raise_on_status=False,
        )
        adapter = _Adapter(max_retries=retry, pool_connections=threads, pool_maxsize=threads)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def get(
        self,
        url: str,
        *,
        accept: str = "*/*",
        known: Kept | None = None,
        missing: Collection[int] = (404,),
    ) -> Kept | None:
        """What is at an address: `known` itself if that is still it, None if nothing is there.

        `missing` are the statuses that mean the latter; any other but 200 is a RefreshError.
        """
        headers = {"Accept": accept}
        if known and known.etag:
            headers["If-None-Match"] = known.etag
        if known and known.last_modified:
            headers["If-Modified-Since"] = known.last_modified
        reply = self._patiently(url, lambda: self._get(url, headers))
        if reply.status_code == HTTPStatus.NOT_MODIFIED and known:
            return known
        if reply.status_code in missing:
            return None
        if reply.status_code != HTTPStatus.OK:
            raise RefreshError(_refused(url, reply.status_code))
        return Kept(
            key=url,
            url=reply.url,
            content_type=reply.headers.get("Content-Type", "").lower(),
            body=reply.content,
            etag=reply.headers.get("ETag"),
            last_modified=reply.headers.get("Last-Modified"),
        )

    def members(self, url: str, wanted: Mapping[str, re.Pattern[str]]) -> dict[str, bytes]:
        """Files inside a wheel, by the patterns of their names; empty where there is none.

        Of the wheel, only its list of files and the parts around these are fetched.
        """
        try:
            return self._patiently(url, lambda: self._members(url, wanted))
        except RangeNotSupported as error:
            raise RefreshError(
                f"{shown(url)} can only be had whole: its server has no byte ranges, without which"
                " hundreds of megabytes would be read for one number. Use an index that has them."
            ) from error
        except RemoteIOError as error:  # which stands for one of requests
            raise RefreshError(_unreachable(url, error.__context__ or error)) from error
        except (RemoteZipError, zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
            raise RefreshError(
                f"{shown(url)} cannot be read as a wheel: {_first_line(error)}."
                " Run this again later; if it stays so, the file is damaged there."
            ) from error

    def _get(self, url: str, headers: dict[str, str]) -> requests.Response:
        try:
            return self._session.get(url, headers=headers, timeout=self._timeout)
        except (exceptions.ChunkedEncodingError, exceptions.ContentDecodingError) as error:
            raise _BrokenOffError from error
        except exceptions.ConnectionError as error:
            if isinstance(error.args[0], urllib3.exceptions.ReadTimeoutError):
                raise _BrokenOffError from error
            raise

    def _members(self, url: str, wanted: Mapping[str, re.Pattern[str]]) -> dict[str, bytes]:
        identity = {"Accept-Encoding": "identity"}
        try:
            with RemoteZip(
                url, session=self._session, headers=identity, timeout=self._timeout
            ) as wheel:
                names = {
                    key: next(filter(pattern.fullmatch, wheel.namelist()), None)
                    for key, pattern in wanted.items()
                }
                return {key: wheel.read(name) if name else b"" for key, name in names.items()}
        except urllib3.exceptions.HTTPError as error:
            raise _BrokenOffError from error

    def _patiently(self, url: str, ask: Callable[[], Result]) -> Result:
        """The answer; if it breaks off in the middle, which urllib3 does not retry, another one."""
        for number in range(self._patience.tries):
            time.sleep(self._patience.backoff * 2**number if number else 0)
            with suppress(_BrokenOffError):
                return _or_refuse(url, ask)
        raise RefreshError(
            f"The answer of {shown(url)} broke off in the middle, {self._patience.tries} times."
            " Run this again later."
        )


def _or_refuse(url: str, ask: Callable[[], Result]) -> Result:
    try:
        return ask()
    except OSError as error:  # which all errors of requests are
        raise RefreshError(_unreachable(url, error)) from error


def shown(url: str) -> str:
    """An address without the login in it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _refused(url: str, status: int) -> str:
    known = {one.value: f" {one.phrase}" for one in HTTPStatus}
    what = f"{shown(url)} answered {status}{known.get(status, '')}."
    if status in PASSING:
        return f"{what} Run this again later: its server has a problem."
    if status in (401, 403, 407):
        return f"{what} Log in to this network, its proxy or the mirror, or name another index."
    return f"{what} Look whether that is the address of an index."


def _unreachable(url: str, error: BaseException) -> str:
    reply = getattr(error, "response", None)
    if isinstance(error, exceptions.HTTPError) and reply is not None:
        return _refused(url, reply.status_code)
    reason: object = error.args[0] if error.args else error
    reason = getattr(reason, "reason", reason)
    why = _first_line(reason) if isinstance(reason, BaseException) else str(reason).rstrip(".")
    what = f"{shown(url)} cannot be reached: {re.sub(OBJECT, '', why)}."
    return f"{what} {next(way for kinds, way in WAYS if isinstance(error, kinds))}"
