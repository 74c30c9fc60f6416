"""What a manager's failure means: what to say of what it printed."""

from __future__ import annotations

import re
from typing import Any

from .places import LOG, WINDOWS, StopError, update_command

# What the managers say of an index that does not answer, or with something else than its pages.
UNREACHABLE = re.compile(
    r"Failed to fetch|error sending request|Max retries|[Cc]onnection (broken|refused|reset)|"
    r"ConnectionError|timed out|[Nn]ame resolution|dns error|getaddrinfo|HTTP (error|status)|"
    r"Network is unreachable|All attempts to connect|Server Error|Authorization error|"
    r"returned a \d+|could not be queried|No matching distribution found"
)
# What they say of a version that they did not see. Only asking the index tells the reason.
UNSEEN = re.compile(
    r"no version of|doesn't match any versions|no matching distributions|UnicodeDecodeError"
)
UNTRUSTED = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|UnknownIssuer|invalid peer certificate|certificate verify failed"
)
LOGIN = re.compile(r"(answered|failed:) 407\b|proxy auth\w+ required", re.IGNORECASE)
DISK_FULL = re.compile(r"No space left on device|os error 28\b|not enough space on the disk")
SPACE = "Free some space, or move the project to another disk, then run this again."
TRUST = {  # where each manager looks for certificates
    "uv": "SSL_CERT_FILE={}\nor, where the system trusts it already: UV_SYSTEM_CERTS=1 (an older "
    "uv: UV_NATIVE_TLS=1)",
    "pip": "PIP_CERT={}",
    "poetry": "REQUESTS_CA_BUNDLE={}",
}
INDEX_REMEDY = """
If {} is blocked here, name a mirror of it:
  {}
or take PyPI's own wheels:
  {}"""
# Of what a manager says, enough where the index is known to be the reason.
GIST = re.compile(r"\s*(error|cause|hint|Because)\b", re.IGNORECASE)
NOISE = re.compile(
    r"\s*(Collecting |Processing |Downloading |Downloaded |Requirement already|Using cached|$)"
)


def failure(
    build: dict[str, Any] | None,
    title: str,
    status: int,
    tail: list[str],
    code: int,
    tool: str,
    known: tuple[str, str] | None,
) -> StopError:
    """Show the end of a failed child's output, and say what it means.

    `build`: whose index to ask about it, if any. `known`: what to say if it is nothing else.
    """
    text = "\n".join(tail)
    what = f"This failed with exit code {status}: {title}."
    todo = "Mend what is said above, then run this again."
    shown = tail[-15:]
    if status < 0:
        what = f"This was killed by signal {-status}: {title}."
        todo = "If memory was short, close other programs, then run this again."
    elif DISK_FULL.search(text):
        what, todo = f"The disk is full: {title} failed.", SPACE
    elif UNTRUSTED.search(text):
        what, todo = certificate_advice(title, tool)
    elif known:
        what, todo = known
    elif build and (UNREACHABLE.search(text) or UNSEEN.search(text)):
        if tool == "poetry" and UNSEEN.search(text):
            todo = "Mend what is said above, then run this again. Poetry says the same where PyPI "
            todo += "did not answer: if the version exists, check the network."
        what, todo = index_advice(build, title, tool, text) or (what, todo)
        if "Traceback" in text:  # of the manager: pip cannot read a page, say
            shown = [line for line in tail if GIST.match(line)][-5:]
    print("\n".join(f"    {line}" for line in shown), flush=True)
    return StopError(code, what, f"{todo}\nThe whole output is in {LOG}.")


def certificate_advice(title: str, tool: str) -> tuple[str, str]:
    """What to say where the certificate of an index is not trusted."""
    what = f"The certificate of a package index is not trusted: {title} failed."
    setting = TRUST[tool].format(r"C:\path\to\ca.pem" if WINDOWS else "/path/to/ca.pem")
    setting = re.sub(r"\b(\w+=)", r"set \1" if WINDOWS else r"export \1", setting)
    todo = "If this network inspects TLS, name its certificate (a .pem file), then run this again:"
    return what, f"{todo}\n  {setting}"


def index_advice(build: dict[str, Any], title: str, tool: str, text: str) -> tuple[str, str] | None:
    """What to say where an index did not give what was asked for; None if that is not it."""
    reached = not UNREACHABLE.search(text)
    try:
        problem = index_problem(build)
    except OSError as error:
        if reached:  # then it is not what the manager stumbled over
            return None
        reason = getattr(error, "reason", error)
        if UNTRUSTED.search(str(reason)):
            return certificate_advice(title, tool)
        problem = f"{build['index_url']} cannot be reached ({reason})"
    if LOGIN.search(problem) or LOGIN.search(text):
        return proxy_advice(title)
    if reached and not problem:
        return None
    # No problem here: it may be another index.
    what = problem or "A package index could not be reached, or lacks a package"
    todo = "Check the network and the proxy, certificate and index settings, then run this again."
    if build["index_url"]:
        mirror = update_command("pytorch_index_url=https://mirror.example/whl")
        pypi = update_command("compute_platform=pypi")
        todo += INDEX_REMEDY.format(build["index_url"], mirror, pypi)
    return f"{what}: {title} failed.", todo


def proxy_advice(title: str) -> tuple[str, str]:
    """What to say where a proxy wants to know who asks."""
    word = "set" if WINDOWS else "export"
    todo = "Give it your name and password, then run this again:"
    setting = f"{word} HTTPS_PROXY=http://user:password@proxy.example:8080"
    more = "A plain http:// index is asked through HTTP_PROXY in the same way."
    return f"The proxy asks for a login: {title} failed.", f"{todo}\n  {setting}\n{more}"


def index_problem(build: dict[str, Any]) -> str:
    """What is wrong with the page of torch on the build's own index; empty if nothing is."""
    import http.client  # here, since these take 0.1 s, and only a failure needs them
    import urllib.error
    import urllib.parse
    import urllib.request

    url, wanted = build["index_url"], f"torch-{build['release']}"
    if not url:
        return ""
    try:
        with urllib.request.urlopen(f"{url}/torch/", timeout=20) as reply:
            page = urllib.parse.unquote(reply.read().decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        return f"{url} answered {error.code} {error.reason}"
    except (ValueError, http.client.HTTPException) as error:
        raise OSError(str(error)) from error
    return "" if wanted in page else f"{url} answered, but not with a page that lists {wanted}"
