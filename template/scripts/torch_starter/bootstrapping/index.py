"""The index of a build: whether it answers, asked before a manager is, which has more patience."""

from __future__ import annotations

import contextlib
import html
import netrc
import os
import queue
import re
import socket
import threading
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote, unquote, urljoin, urlsplit

from .settings import kept_passwords, pip_setting, uv_settings

if TYPE_CHECKING:  # they take 0.1 s to load, and only a run that installs needs them
    import ssl
    import urllib.request

T = TypeVar("T")
Reply = Any  # of urllib
TRY = 5.0  # seconds for an answer, twice: what a person waits without a doubt
STALLED = 8192  # bytes: fewer of a page within a try are no answer
ENOUGH = 1 << 24  # bytes: PyTorch's longest page has less than a tenth
UNTRUSTED = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|UnknownIssuer|invalid peer certificate|certificate verify failed"
)
PROXY = re.compile(r"^The proxy \S+ cannot be reached")
LOGIN = re.compile(r"(answered|failed:) 407\b|proxy auth\w+ required", re.IGNORECASE)
DENIED = re.compile(r"answered (40[134] |with a page to log in).* login\b")
LOG_IN = re.compile(r"log-?in|sign-?in|\bauth|\bsso\b", re.IGNORECASE)  # in an address
# The variables with the login for the index that a project calls pytorch; pip has none.
LOGINS = {"uv": "UV_INDEX_PYTORCH_", "poetry": "POETRY_HTTP_BASIC_PYTORCH_"}
# Where each manager looks for certificates that the system does not have.
BUNDLES = {
    "uv": ("SSL_CERT_FILE",),
    "pip": ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    "poetry": ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
}


class Trouble(NamedTuple):
    """What is wrong with an index: the first half of a sentence.

    `sure`: no manager gets further. Else it may: it has passwords and certificates of its own.
    """

    what: str
    sure: bool = True


class Page(NamedTuple):
    """What an index answered; `whole`: all of it came in time, and there was an end to it."""

    text: str
    whole: bool
    url: str  # where it was, in the end


def index_trouble(
    build: Mapping[str, Any], platform: str, manager: str, env: Mapping[str, str]
) -> Trouble | None:
    """What is wrong with the index of a build; None if nothing is, or if it has none.

    Takes 10 s at most for each package of the build, and 5 more where the files lie on another
    host than their list.
    """
    if not build["index_url"]:
        return None
    visit = Visit(str(build["index_url"]), manager, env)
    if visit.proxy().startswith("socks"):  # which Python does not speak
        return None
    packages = build["platforms"].get(platform, {"packages": {}})["packages"]
    own = packages.get("torch", build["release"])
    # On macOS the wheels are PyPI's, but what is locked is for all.
    others = {} if platform.startswith("macos") else packages
    wanted = {"torch": own if others else build["release"], **others}
    pages = []
    for name, version in wanted.items():
        try:
            page = visit.page(f"/{name}/")
        except Exception as error:
            return visit.trouble(error, name)
        if page.whole and f"{name}-{version}" not in page.text:
            return visit.lacking(page, name, version)
        pages.append(page)
    return visit.files(pages[0].text, f"torch-{own}-")


def trouble_behind(
    build: Mapping[str, Any], platform: str, manager: str, env: Mapping[str, str], said: list[str]
) -> Trouble | None:
    """What is wrong with the other pages and the files of an index, after a manager has failed.

    `said`: those of its lines that tell of an address that did not answer as it should.
    """
    if not build["index_url"]:
        return None
    visit = Visit(str(build["index_url"]), manager, env)
    packages = build["platforms"].get(platform, {"packages": {}})["packages"]
    places = [f"{visit.url}/"]
    for name, version in packages.items():
        try:
            page = visit.page(f"/{name}/")
        except Exception as error:
            return visit.trouble(error, name)
        if link := visit.link(page.text, f"{name}-{version}-"):
            places.append(link.rpartition("/")[0] + "/")
    if any(place in line for place in places for line in said):
        return Trouble(f"{visit.url} did not give {manager} all that it asked for")
    return None


class Visit:
    """Asks one index, through the proxy and with the certificates and passwords of a manager."""

    def __init__(self, url: str, manager: str, env: Mapping[str, str]) -> None:
        self.manager, self.env = manager, env
        self.parts = urlsplit(url)
        host = self.parts.netloc.rpartition("@")[2]
        self.url = self.parts._replace(netloc=host).geturl()

    def page(self, path: str) -> Page:
        """A page of the index.

        A silent server is asked a second time, over IPv4: many a network has an IPv6 that leads
        nowhere, which the managers get around.
        """
        try:
            return self.read(self.url + path, ipv4=False)
        except Exception as error:
            if not may_pass(error):
                raise
            first = error
        try:
            return self.read(self.url + path, ipv4=True)
        except Exception:
            raise first from None

    def read(self, url: str, ipv4: bool) -> Page:
        """Fetch a page, in a thread: a name server that keeps silent knows no time limit."""
        pieces: list[bytes] = []
        late = threading.Event()
        headers: dict[str, str] = {}
        found = [url]

        def fetch() -> bool:
            with self.open(url, ipv4) as reply:
                headers.update(reply.headers)
                found.append(reply.geturl())
                while piece := reply.read1(1 << 16):
                    pieces.append(piece)
                    if late.is_set() or sum(map(len, pieces)) > ENOUGH:
                        return False
            return True

        try:
            whole = within(TRY, fetch)
        except TimeoutError:
            if sum(map(len, pieces)) < STALLED:
                raise
            whole = False
        finally:
            late.set()
        content = b"".join(pieces[:])
        if headers.get("Content-Encoding") == "gzip":  # though nobody asked for it
            content = zlib.decompressobj(wbits=31).decompress(content, ENOUGH)
        text = html.unescape(unquote(content.decode("utf-8", "replace")))
        return Page(text, whole, found[-1])

    def open(self, url: str, ipv4: bool = False, method: str = "GET") -> Reply:
        """Ask for a page; its reply, or an exception of urllib's."""
        import urllib.request

        # Some hosts turn away the name by which urllib goes.
        headers = {"User-Agent": f"{self.manager}/bootstrap", "Accept": "text/html, */*;q=0.1"}
        request = urllib.request.Request(url, headers=headers, method=method)
        there = urlsplit(url)
        same = (there.scheme, there.hostname, there.port) == self.place()
        if same and (login := self.login()):
            request.add_unredirected_header("Authorization", login)  # it is for this host alone
        return self.opener(ipv4).open(request, timeout=TRY)

    def place(self) -> tuple[str, str | None, int | None]:
        """Whom the password is for."""
        return self.parts.scheme, self.parts.hostname, self.parts.port

    def opener(self, ipv4: bool) -> urllib.request.OpenerDirector:
        """What connects as the manager would."""
        import functools
        import http.client
        import urllib.request

        context = self.certificates()
        source = ("0.0.0.0", 0) if ipv4 else None  # this end alone

        class Plain(urllib.request.HTTPHandler):
            def http_open(self, request: urllib.request.Request) -> Reply:
                kind = functools.partial(http.client.HTTPConnection, source_address=source)
                return self.do_open(kind, request)

        class Secure(urllib.request.HTTPSHandler):
            def https_open(self, request: urllib.request.Request) -> Reply:
                kind = functools.partial(http.client.HTTPSConnection, source_address=source)
                return self.do_open(kind, request, context=context)

        proxies = urllib.request.ProxyHandler(self.proxies())
        return urllib.request.build_opener(proxies, Plain, Secure(context=context))

    def proxies(self) -> dict[str, str]:
        """The proxies of the manager, by scheme."""
        import urllib.request

        own = pip_setting("proxy", self.env) if self.manager == "pip" else ""
        if own:
            return {"http": own, "https": own}
        found = {scheme: url.strip() for scheme, url in urllib.request.getproxies().items()}
        every = found.get("all", "")
        found = {"http": every, "https": every, **found} if every else found
        return found if self.manager != "uv" else {**uv_proxies(self.env), **found}

    def proxy(self) -> str:
        """The proxy for this index; empty if it is asked directly."""
        import urllib.request

        if urllib.request.proxy_bypass(self.parts.hostname or ""):
            return ""
        return self.proxies().get(self.parts.scheme, "")

    def bundle(self) -> str:
        """The file of certificates that the manager was told to trust, and nothing else."""
        named = [self.env.get(name, "") for name in BUNDLES[self.manager]]
        named += [pip_setting("cert", self.env)] if self.manager == "pip" else []
        found = next(filter(None, named), "")
        return found if Path(found).is_file() else ""

    def certificates(self) -> ssl.SSLContext:
        """What to trust; the system's own where the manager was told nothing."""
        import ssl

        with contextlib.suppress(OSError):  # no certificates: the manager says so itself
            return ssl.create_default_context(cafile=self.bundle() or None)
        return ssl.create_default_context()

    def credentials(self) -> tuple[str, str, str]:
        """Name, password and where they stand, of the places that the managers share."""
        own = LOGINS.get(self.manager, "")
        if own and self.env.get(f"{own}USERNAME"):
            return self.env[f"{own}USERNAME"], self.env.get(f"{own}PASSWORD", ""), f"{own}USERNAME"
        if self.parts.username:
            name, word = unquote(self.parts.username), unquote(self.parts.password or "")
            return name, word, "its address"
        entry, file = None, self.env.get("NETRC")
        with contextlib.suppress(OSError, netrc.NetrcParseError, ValueError, KeyError):
            entry = netrc.netrc(file).authenticators(self.parts.hostname or "")
        return (entry[0], entry[2] or "", file or "~/.netrc") if entry else ("", "", "")

    def login(self) -> str:
        """The header for a private index; empty without a login."""
        import base64

        name, word, _ = self.credentials()
        return "Basic " + base64.b64encode(f"{name}:{word}".encode()).decode() if name else ""

    def asked_as(self) -> str:
        """With which login the index was asked."""
        if where := self.credentials()[2]:
            return f" to the login in {where}"
        return ", whatever login a keyring has" if self.may_log_in() else ", without a login"

    def may_log_in(self) -> bool:
        """Whether the manager may have a password for this index."""
        named = [self.env.get(name, "") for name in ("UV_KEYRING_PROVIDER", "PIP_KEYRING_PROVIDER")]
        keyring = any(name in ("subprocess", "import") for name in named)
        kept = kept_passwords(self.manager, self.env)
        return bool(self.login()) or keyring or bool(kept and os.access(kept, os.F_OK))

    def lacking(self, page: Page, name: str, version: str) -> Trouble:
        """What to say of a page that does not list a package's version."""
        what = f"{self.url} answered, but not with a page that lists {name}-{version}"
        there = urlsplit(page.url)
        if page.url != f"{self.url}/{name}/" and LOG_IN.search(there.path):
            what = f"{self.url} answered with a page to log in{self.asked_as()}"
            return Trouble(what, sure=False)
        if there.netloc != self.parts.netloc.rpartition("@")[2]:
            what = f"{self.url} leads to {there.netloc}, which does not list {name}-{version}"
        return Trouble(what, sure=not self.may_log_in())

    def trouble(self, error: Exception, name: str = "torch") -> Trouble | None:
        """What an exception of urllib's says of the index; None if it says nothing.

        `name`: the package that it was asked for.
        """
        import urllib.error

        if isinstance(error, urllib.error.HTTPError):
            what = f"{self.url} answered {error.code} {error.reason}"
            what += f" for {name}" if name != "torch" else ""
            denied = error.code in (401, 403, 404) and (error.code == 401 or self.may_log_in())
            if denied:  # a name may be a token, so only its place is told
                what += self.asked_as()
            return Trouble(what, sure=not denied)
        reason = getattr(error, "reason", error)
        what = f"{self.url} cannot be reached ({words_of(reason)})"
        if UNTRUSTED.search(str(reason)):  # a manager may be told to trust more, or everything
            return Trouble(what, sure=False)
        if self.proxy() and isinstance(reason, ConnectionRefusedError | socket.gaierror):
            host = urlsplit(self.proxy()).netloc.rpartition("@")[2] or self.proxy()
            return Trouble(f"The proxy {host} cannot be reached ({words_of(reason)})")
        return Trouble(what, sure=isinstance(error, OSError))

    def link(self, page: str, wheel: str) -> str:
        """The address of a wheel, by the beginning of its name; empty if the page has none."""
        pattern = rf"href=[\"']([^\"']*{re.escape(wheel)}[^\"'#]*)"
        found = re.search(pattern, page)
        return urljoin(f"{self.url}/torch/", found[1]) if found else ""

    def files(self, page: str, wheel: str) -> Trouble | None:
        """What is wrong with the host of the files, where it is another one than that of the list.

        Only whether it can be reached: it may answer what it likes to a question without purpose.
        """
        import urllib.error

        target = urlsplit(self.link(page, wheel))
        if not target.netloc or target.netloc == self.parts.netloc:
            return None
        try:
            within(TRY, lambda: self.open(quote(target.geturl(), ":/%#?=&"), method="HEAD").close())
        except urllib.error.HTTPError:
            return None
        except urllib.error.URLError as error:
            if UNTRUSTED.search(str(error.reason)):
                return None
            host = f"{target.hostname}, which has the files of {self.url},"
            return Trouble(f"{host} cannot be reached ({words_of(error.reason)})")
        except Exception:  # it was reached, and is slow
            return None
        return None


def uv_proxies(env: Mapping[str, str]) -> dict[str, str]:
    """The proxies in uv's own files, by scheme."""
    found = {one.name: one.value.strip("\"'") for one in uv_settings(env)}
    schemes = (("http", "http-proxy"), ("https", "https-proxy"))
    return {scheme: found[name] for scheme, name in schemes if name in found}


def within(seconds: float, work: Callable[[], T]) -> T:
    """What a function returns or raises; TimeoutError if it takes longer."""
    box: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            box.put((work(), None))
        except Exception as error:
            box.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = box.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error:
        raise error
    return value  # type: ignore[return-value]


def may_pass(error: Exception) -> bool:
    """Whether a second try may end better: a silent or overloaded server, a connection cut off."""
    if (code := getattr(error, "code", 0)) and isinstance(code, int):
        return code >= 500
    reason = getattr(error, "reason", error)
    return isinstance(reason, TimeoutError | ConnectionResetError | ConnectionAbortedError)


def words_of(reason: object) -> str:
    """The reason of an OSError without its number."""
    if isinstance(reason, TimeoutError) and not str(reason).startswith("no answer"):
        return f"no answer within {TRY:g} s"
    text = str(getattr(reason, "strerror", None) or reason).strip() or type(reason).__name__
    return re.sub(r"^\[[^]]*\]\s*", "", text)
