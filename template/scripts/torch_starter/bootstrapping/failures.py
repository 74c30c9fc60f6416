"""What a failure of a child means, and what to do about it."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from surroundings.knowledge import advice, code, named, table
from surroundings.place import here
from surroundings.versions import canonical

from .choice import why_no_fallback
from .conflicts import conflict, name_in
from .downloads import spoilt, spoilt_advice
from .fit import NO_WHEEL, no_wheel
from .index import DENIED, LOGIN, LOGINS, PROXY, UNTRUSTED, Trouble, index_trouble, trouble_behind
from .places import LOG, ROOT, TYPED, WINDOWS, StopError
from .project import FALLBACK, Project
from .said import failed_build, last_error, own_words, signal_of_build
from .settings import holding_back, settings_advice
from .system import get_python
from .system_errors import forbidden_connections, refusal_in, told

# What the managers say of an index that does not answer, or with something else than its pages.
UNREACHABLE = re.compile(
    r"Failed to fetch|error sending request|Max retries|[Cc]onnection (broken|refused|reset)|"
    r"ConnectionError|timed out|[Nn]ame resolution|dns error|getaddrinfo|HTTP (error|status)|"
    r"Network is unreachable|All attempts to connect|(Server|Client) Error|Authorization error|"
    r"returned a \d+|could not be queried|from versions: none"
)
# What they say of a version that they did not see. Only asking the index tells the reason.
UNSEEN = re.compile(
    r"no version of|doesn't match any versions|no matching distributions|UnicodeDecodeError|"
    r"No matching distribution found|conflicting dependencies|No solution found|"
    r"When restricting platform|Could not open requirements file|No module named 'hatchling|"
    r"version solving failed|requested \(constraint\)|ResolutionImpossible|require-hashes mode|"
    r"requiring hashes|Can't verify hashes|does not provide upload-time metadata"
)
UNTIMED = re.compile(r"Index (\S+) does not provide upload-time metadata")  # says pip
# What Poetry says of a page of PyPI's JSON interface that is not there.
NO_JSON = re.compile(r"^\s*Package (\S+ \(\S+\)|\[\S+\]) not found\.?$", re.MULTILINE)
FORBIDDEN = re.compile(r" cannot be reached \((?:Operation not permitted|Permission denied)")
CHECK = "Check the network and the proxy, certificate and index settings, then run this again."
AGAIN = "Mend what is said above, then run this again."
TRUST = {  # where each manager looks for certificates
    "uv": "SSL_CERT_FILE={}\nor, where the system trusts it already: UV_SYSTEM_CERTS=1 (an older "
    "uv: UV_NATIVE_TLS=1)",
    "pip": "PIP_CERT={}",
    "poetry": "REQUESTS_CA_BUNDLE={}",
}
CRASHES = ("SIGILL", "SIGTRAP", "SIGABRT", "SIGFPE", "SIGSEGV", "SIGSYS")
UV_PYTHONS = "python-build-standalone"  # where uv gets a Python from
# Of what a manager says, enough where the index is known to be the reason.
GIST = re.compile(r"\s*(error|cause|hint|Because)\b", re.IGNORECASE)
NOISE = re.compile(
    r"\s*(Collecting |Processing |Downloading |Downloaded |Requirement already|Using cached|$)"
)


class IndexStopError(StopError):
    """The end of a run whose index does not give what was asked for; PyPI's wheels might do."""

    def __init__(self, trouble: Trouble, what: str, todo: str) -> None:
        super().__init__(5, what, todo)
        self.trouble = trouble


class Failed(NamedTuple):
    """A child that failed: what it was for, its exit status, the end of what it said."""

    title: str
    status: int
    tail: list[str]
    tool: str  # uv, poetry or pip
    code: int  # the exit code that this run then has


def failure(
    failed: Failed,
    project: Project,
    platform: str,
    env: Mapping[str, str],
    known: tuple[str, str] | None = None,
    asks_index: bool = True,
) -> StopError:
    """Show the end of a failed child's output, and say what it means.

    `known`: what to say if it is nothing else. `asks_index`: whether an index may be the reason.
    """
    title, tool, own = failed.title, failed.tool, own_words(failed.tail)
    what, todo, text = unknown_advice(failed), AGAIN, "\n".join(own)
    shown, trouble = failed.tail[-15:], None
    if number := signal_in(failed.status):
        what, todo = killed_advice(number, title, tool)
    elif of_system := refusal_in(last_error(failed.tail), title):
        what, todo = of_system
    elif package := failed_build(failed.tail):
        what, todo = build_advice(package, failed, project, env)
    elif asks_index and UNREACHABLE.search(text) and any(forbidden_connections(own)):
        what, todo = told("install-network-forbidden", f"{title} failed")
    elif UNTRUSTED.search(text):
        what, todo = certificate_advice(title, tool)
        found = index_trouble(project.build, platform, tool, env) if asks_index else None
        trouble = found if found and UNTRUSTED.search(found.what) else None
    elif known:
        what, todo = known
    elif asks_index and spoilt(failed.tail):
        what, todo = spoilt_advice(failed.tail, title, tool, project.lock.name)
    elif clash := conflict(project, platform, text, title, env):
        what, todo = beside_settings(*clash, project, platform, env, tool, certain=True)
    elif asks_index and tool == "poetry" and NO_JSON.search(text):
        what, todo = no_json_advice(title)
    elif asks_index and any(one.search(text) for one in (UNREACHABLE, UNSEEN, NO_WHEEL)):
        if tool == "poetry" and UNSEEN.search(text):
            todo += " Poetry says the same where PyPI did not answer: if the version exists, check "
            todo += "the network."
        trouble = index_at_fault(project, platform, env, tool, text)
        if not trouble and (unfit := no_wheel(project, platform, text, title)):
            what, todo = unfit
        elif trouble or UNREACHABLE.search(text):
            what, todo = index_advice(project, platform, trouble, f"{title} failed", tool, text)
        if "Traceback" in text:  # of the manager: pip cannot read a page, say
            shown = [line for line in failed.tail if GIST.match(line)][-5:]
        if untimed := UNTIMED.search(text):
            what = f"A cool-down needs upload times, and {untimed[1]} has none: {title} failed."
        if not trouble:
            what, todo = beside_settings(what, todo, project, platform, env, tool)
    print("\n".join(f"    {line}" for line in shown), flush=True)
    todo = f"{todo}\nThe whole output is in {LOG}."
    return IndexStopError(trouble, what, todo) if trouble else StopError(failed.code, what, todo)


def unknown_advice(failed: Failed) -> str:
    """What to say where only the exit code is known; Windows has words for one of a crash."""
    name, words, _ = code("windows", failed.status)
    if WINDOWS and failed.status > 0xFFFF and words:
        return f"This was ended by {name}, {words}: {failed.title}."
    return f"This failed with exit code {failed.status}: {failed.title}."


def signal_in(status: int) -> int:
    """The signal that has ended a child; 0 for none. A shell puts it above 128."""
    number = -status if status < 0 else status - 128
    return number if not WINDOWS and number in {*signal.valid_signals()} else 0


def killed_advice(number: int, victim: str, tool: str) -> tuple[str, str]:
    """What to say where a signal has ended something."""
    try:
        name = signal.Signals(number).name
        cause = named("signal", name)[1].cause
    except (KeyError, ValueError):  # one for real time
        name, cause = "", ""
    program = "Python" if tool == "pip" else tool
    how = f"{victim} was killed by signal {number}{f' ({name})' if name else ''}."
    if not cause:
        again = "Run this again"
        if name in CRASHES:
            again += f"; if it ends the same way, take another version of {program}"
        return f"{how[0].upper()}{how[1:]}", f"{again}."
    own = f"install-{cause}"
    section = own if own in table("causes") else cause
    found = advice(section, here(), program=program, proof="")
    again = "" if found.do.startswith("Run it again") else "\nThen run this again."
    return f"{found.says.rstrip('.')}: {how}", f"{found.do}{again}"


def build_advice(
    package: str, failed: Failed, project: Project, env: Mapping[str, str]
) -> tuple[str, str]:
    """What to say where a package could not be built: its own words tell why, not the manager's."""
    name = package.rstrip("/").rpartition("/")[2]
    own = package == ROOT.as_uri() or canonical(name) == canonical(name_in(ROOT))
    name = "this project" if own else name
    if number := signal_of_build(failed.tail):
        return killed_advice(number, f"the build of {name}", "the compiler")
    what = f"The build of {name} has failed, for the reason that it says above: {failed.title} "
    todo = "Mend what it says"
    if not own:
        todo += ", or take another version of it: one with a wheel needs no build"
    held = [one for one in holding_back(failed.tool, env) if "isolation" in one.name.lower()]
    if held and "No module named" in "\n".join(failed.tail):
        todo = f"{held[0]} lets it lack what it is built with: take that away"
    return f"{what}failed.", f"{todo}.\nThen run this again."


def index_at_fault(
    project: Project, platform: str, env: Mapping[str, str], tool: str, text: str
) -> Trouble | None:
    """What is wrong with the index of the build, if that is what a manager stumbled over."""
    trouble = index_trouble(project.build, platform, tool, env)
    if trouble and "cannot be reached" in trouble.what and not UNREACHABLE.search(text):
        # It knew enough without it; but pip goes on without a page.
        return trouble if tool == "pip" and re.search(r"\btorch\w*==", text) else None
    if trouble:
        return trouble
    said = [line for line in text.splitlines() if UNREACHABLE.search(line)]
    return trouble_behind(project.build, platform, tool, env, said)


def index_advice(
    project: Project,
    platform: str,
    trouble: Trouble | None,
    failed: str,
    tool: str,
    text: str = "",
) -> tuple[str, str]:
    """What to say where an index did not give what was asked for, and the machine is to blame."""
    what = trouble.what if trouble else "A package index could not be reached, or lacks a package"
    if FORBIDDEN.search(what):
        return told("install-network-forbidden", failed)
    if LOGIN.search(what) or LOGIN.search(text):
        return proxy_advice(failed)
    if UNTRUSTED.search(what):
        return certificate_advice(failed, tool)
    what = f"{what}: {failed}."
    if DENIED.search(what):
        return what, login_advice(tool, str(project.build["index_url"]))
    if PROXY.search(what):
        word = "set HTTPS_PROXY=" if WINDOWS else "unset HTTPS_PROXY"
        return what, f"Mend the proxy setting, or take it away (`{word}`), then run this again."
    if not project.build["index_url"] or not trouble:
        return what, CHECK
    mirror = project.update("--data pytorch_index_url=https://mirror.example/whl")
    whole = f"For the whole project, name a mirror of it:\n  {mirror}"
    if why := why_no_fallback(project, platform):
        what = f"{trouble.what}, and PyPI's own wheels would not do: {why}."
        return what, f"{whole}\nOr: {CHECK}"
    alone = f"To go on with PyPI's own wheels, on this machine alone:\n  {TYPED} --fallback pypi"
    if FALLBACK in project.moves:
        whole += f"\nor move it to PyPI's own wheels:\n  {project.move(FALLBACK)}"
    return what, f"{alone}\n{whole}\nOr: {CHECK}"


def beside_settings(
    what: str,
    todo: str,
    project: Project,
    platform: str,
    env: Mapping[str, str],
    tool: str,
    certain: bool = False,
) -> tuple[str, str]:
    """What to say, with the settings of this machine that can be the reason as well.

    `certain`: only if one of them is the reason for sure.
    """
    packages = project.build["platforms"].get(platform, {}).get("packages", {})
    why, advice = settings_advice(tool, env, packages) or ("", "")
    if why:
        return f"{why}.", advice
    return (what, f"{todo}\n{advice}") if advice and not certain else (what, todo)


def no_json_advice(title: str) -> tuple[str, str]:
    """What to say where the mirror in PyPI's place has pages for pip and uv only."""
    what = f"What answers as PyPI here has no JSON interface, which Poetry asks: {title} failed."
    todo = "Name the mirror to Poetry by its address, then run this again:\n"
    todo += "  poetry source add --priority=primary mirror https://mirror.example/simple/"
    pypi = 'source = "PyPI"'
    if f"{pypi}," in (ROOT / "pyproject.toml").read_text(encoding="utf-8"):
        # Otherwise Poetry takes from PyPI whatever its cache has, and cannot install it.
        todo += "\n  poetry source remove PyPI"
        todo += f'\nand in pyproject.toml let `{pypi}` of torch be `source = "mirror"`.'
    return what, todo


def no_download(project: Project, title: str) -> tuple[str, str]:
    """What to say where uv was to get a Python, and could not."""
    todo = get_python(project.python, project.pythons, project.update)
    todo += "\nOr name a mirror of uv's Pythons: UV_PYTHON_INSTALL_MIRROR"
    return f"uv could not download Python {project.python}: {title} failed.", todo


def certificate_advice(failed: str, tool: str) -> tuple[str, str]:
    """What to say where the certificate of an index is not trusted."""
    what = f"The certificate of a package index is not trusted: {failed}."
    setting = TRUST[tool].format(r"C:\path\to\ca.pem" if WINDOWS else "/path/to/ca.pem")
    setting = re.sub(r"\b(\w+=)", r"set \1" if WINDOWS else r"export \1", setting)
    todo = "If this network inspects TLS, name its certificate (a .pem file), then run this again:"
    return what, f"{todo}\n  {setting}"


def login_advice(tool: str, url: str) -> str:
    """What to type where an index wants to know who asks, in the manager's own way."""
    again = "then run this again:"
    if own := LOGINS.get(tool):
        word = "set" if WINDOWS else "export"
        lines = [f"  {word} {own}USERNAME=NAME", f"  {word} {own}PASSWORD=WORD"]
        return "\n".join([f"Give it a login that may read there, {again}", *lines])
    line = f"  machine {urlsplit(url).hostname} login NAME password WORD"
    return f"Write a login that may read there into ~/.netrc, {again}\n{line}"


def proxy_advice(failed: str) -> tuple[str, str]:
    """What to say where a proxy wants to know who asks."""
    word = "set" if WINDOWS else "export"
    todo = "Give it your name and password, then run this again:"
    setting = f"{word} HTTPS_PROXY=http://user:password@proxy.example:8080"
    more = "A plain http:// index is asked through HTTP_PROXY in the same way."
    return f"The proxy asks for a login: {failed}.", f"{todo}\n  {setting}\n{more}"
