"""Takes out of a text who wrote it, on which host, and what opens doors."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from surroundings import linux
from surroundings.knowledge import table

from .metadata import installed_packages

HIDDEN = "<hidden>"
SECRET = re.compile("TOKEN|PASS|SECRET|KEY(?!RING)|CREDENTIAL|AUTH|COOKIE|USERNAME", re.IGNORECASE)
WIDEST = 4_000  # letters of a line that are shown; no pattern is to see more
URL = r"(?P<keep>\b[a-z][a-z0-9+.-]{0,30}://)"
TELLING = "(?:token|key|sig|secret|pass|pwd|pw|auth|cred|session|jwt)"
DOMAIN = r"(?:[\w-]{1,63}\.){1,9}[a-z]{2,}\b"
OPENERS = [
    # A user and a password in a URL, also if a password has an @ or a slash, and is not a port.
    re.compile(URL + r"[^\s/@\"]*(?:@[^\s/@\"]*)*(?=@)", re.IGNORECASE),
    re.compile(URL + r"[^\s/@:]+:(?!\d{1,5}(?!\w))[^\s@'\"<>]*(?=@)", re.IGNORECASE),
    # Or if it has quotes or spaces, or looks like a port with a path: then a host is to follow.
    re.compile(URL + r"[^\s/@:]+:[^\n@]{1,100}(?=@" + DOMAIN + ")", re.IGNORECASE),
    # Parameters that say what they are, of a URL and of a connection; headers of HTTP.
    re.compile(
        r"(?P<keep>[?&;][\w.-]{0,40}?" + TELLING + r"[\w.-]{0,40}=)[^\s&;'\"]+", re.IGNORECASE
    ),
    re.compile(r"(?P<keep>\b(?:password|passwd|pwd|secret|api_?key)=)[^\s&;'\"]+", re.IGNORECASE),
    re.compile(r"(?P<keep>\b(?:Bearer|Basic) )[\w.~+/=-]{8,}"),
    # Tokens of GitHub, GitLab, Hugging Face, PyPI, NVIDIA, Amazon, OpenAI and others, by how they
    # begin; and any that is JSON, signed.
    re.compile(
        r"(?P<keep>)\b(?:gh[opsur]_|github_pat_|gl(?:pat|ptt|dt|rt|cbt|ft|imt|agent|soat|ffct)-"
        r"|hf_|api_org_|pypi-|nvapi-|sk-|dckr_[op]at_|npm_|xox[a-z]-|ya29\.|AIza|eyJ)[\w.-]{16,}"
    ),
    re.compile(r"(?P<keep>)\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
]
# The serial numbers of GPUs and of their parts, but for what tells them apart.
SERIAL = re.compile(r"\b((?:GPU|MIG)-[0-9a-f]{4})[0-9a-f]{4}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
# Hosts that everybody knows; all others in a URL may be an organisation's own.
PUBLIC = (
    r"(?:(?:[\w-]{1,63}\.){0,9}(?:pytorch\.org|nvidia\.com|github\.com|githubusercontent\.com"
    r"|gitlab\.com|huggingface\.co|python\.org|anaconda\.(?:org|com)|microsoft\.com|intel\.com"
    r"|amd\.com|numpy\.org|aka\.ms)|localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\])(?!\.?[\w-])"
)
# Addresses that only an organisation's own network knows, and are no version of a library.
OCTET = r"(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d))"
PRIVATE = re.compile(
    rf"(?<![\w./\\~-])(?:10{OCTET}{OCTET}{OCTET}"
    r"|(?:192\.168|169\.254|172\.(?:1[6-9]|2\d|3[01])|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7]))"
    rf"{OCTET}{OCTET})"
    r"(?!\.?\w)"
    r"|(?<![\w.:])\[?(?:f[cd][0-9a-f]{2}|fe[89ab][0-9a-f])(?=:[0-9a-f:]*:)"
    r"(?:(?=[0-9a-f:]*::)|(?=(?::[0-9a-f]{1,4}){3}))[0-9a-f:]+(?:%\w+)?\]?",
    re.IGNORECASE,
)
OF_A_LIBRARY = re.compile(
    r"cu(rand|fft|blas|solver|sparse|dnn)|nvidia[-_]\w|([=!~]=|[<>]=?)\s*$", re.I
)
HOSTS = [
    re.compile(
        r"((?!file:)\b[a-z][a-z0-9+.-]{0,30}://(?:[^\s/@]*@)?)(?!" + PUBLIC + r"|[<$%{])"
        r"(?:\[[0-9a-f:.%]+\]|[^\W_][\w.-]*)",
        re.IGNORECASE,
    ),
    # A share of Windows, but no path's own prefix; its name with slashes; where Unix mounts them.
    re.compile(
        r"(?<![^\s'\"=;,(\[`])((?:\\{2}|\\{4})(?!wsl[.$]))[\w-][\w.$-]*(?=\\)", re.IGNORECASE
    ),
    re.compile(r"(?<![^\s'\"=;,(\[`])(//)[\w-][\w.-]*(?=/)"),
    re.compile(r"(?<![\w.-])(/(?:net|afs)/)[\w-][\w.-]*", re.IGNORECASE),
    # As git and scp write it, without a scheme.
    re.compile(
        rf"(?m)(^_src_path: ['\"]?(?:[^\s/@:]+@)?)(?!{PUBLIC})[\w-][\w.-]+(?=:(?!//))"
        r"(?<!: gh)(?<!: gl)"
    ),
]
# Whoever has an account or a mailbox at a host.
AT_HOST = re.compile(
    r"(?<![\w./@:+-])(?!git@)[\w.+-]{1,64}@(?:(?!" + PUBLIC + ")" + DOMAIN + r"|[\w-]+(?=:[^\s:]))",
    re.IGNORECASE,
)
# Whoever's folder it is, as in a path that was copied from elsewhere; of Windows also with spaces.
PART = r"[^/\\\s'\":;,<>]+"
SOMEBODY = [
    re.compile(
        r"([/\\]Users\\+)"
        + PART
        + "(?:(?: "
        + PART
        + r"){1,3}(?=\\)|(?: (?![a-z])"
        + PART
        + "){0,3})"
    ),
    re.compile(rf"((?:[/\\](?:home|users?|people)|(?<![\w.-])/u)[/\\]+(?:[a-z0-9]/)?){PART}", re.I),
]
# Accounts and hosts that are no person's.
NOBODY = {"root", "admin", "administrator", "user", "runner", "ubuntu", "debian", "localhost"}
LETTER = r"[^\W_]"


class Redactor:
    """Knows who runs this, and takes it out of texts."""

    def __init__(self, env: Mapping[str, str]) -> None:
        """Look at these variables, and at the account if it has an entry."""
        homes = [env.get("HOME", ""), env.get("USERPROFILE", "")]
        users = [env.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")]
        if sys.platform != "win32":
            import pwd

            with suppress(KeyError):  # many a container has no entry
                account = pwd.getpwuid(os.getuid())
                users.append(account.pw_name)
                homes.append(account.pw_dir)
        hosts = [socket.gethostname(), env.get("HOSTNAME", ""), env.get("COMPUTERNAME", "")]
        hosts += [host.partition(".")[0] for host in hosts]
        homes = [home for home in homes if Path(home).is_absolute() and len(Path(home).parts) > 1]
        homes += [os.path.realpath(home) for home in homes]
        try:
            common = words_of_any_report()
        except Exception:  # a package with metadata that nobody can read: then hide rather more
            common = set()
        self.secrets = longest_first(v for k, v in env.items() if is_secret(k, v, common))
        self.rules = [(home_pattern(home), "~") for home in longest_first(homes)]
        for name in longest_first(users):
            self.rules.append((name_pattern(name, common, AS_USER), "<user>"))
        for name in longest_first(hosts):
            self.rules.append((host_pattern(name, common), "<host>"))
        self.rules += [(one, r"\1<user>") for one in SOMEBODY]
        self.rules += [(AT_HOST, "<user>@<host>"), (SERIAL, rf"\1{HIDDEN}")]
        self.rules += [(one, r"\1<host>") for one in HOSTS]
        for domain in {host.partition(".")[2] for host in hosts} | domains():  # all others there
            if "." in domain:
                inside = r"(?<![\w.-])(?:[\w-]{1,63}\.){1,9}" + re.escape(domain) + r"(?![\w-])"
                self.rules.append((re.compile(inside, re.IGNORECASE), "<host>"))

    def __call__(self, text: str) -> str:
        """The text without homes, users, hosts, passwords and tokens."""
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        text = "\n".join(map(without_end, text.split("\n")))
        for pattern in OPENERS:
            text = pattern.sub(rf"\g<keep>{HIDDEN}", text)
        for pattern, mark in self.rules:
            text = pattern.sub(mark, text)
        return PRIVATE.sub(as_host, text)


def without_end(line: str) -> str:
    """A line that is not too long: not cut in a word, as that may be a password before its @."""
    if len(line) <= WIDEST:
        return line
    head = line[:WIDEST]
    return f"{head[: max(WIDEST - 500, head.rfind(' ') + 1)]}... (cut)"


def as_host(parts: re.Match[str]) -> str:
    """A private address, hidden unless what stands before it says that it is a version."""
    line = parts.string[max(0, parts.start() - 80) : parts.start()].rpartition("\n")[2]
    return parts[0] if OF_A_LIBRARY.search(line) else "<host>"


def domains() -> set[str]:
    """The domains in which this machine looks for others."""
    rows = re.findall(r"^\s*(?:search|domain)\s+(.*)", linux.text_of("/etc/resolv.conf"), re.M)
    return {one.strip(".") for row in rows for one in row.split()}


def longest_first(texts: Iterable[str]) -> list[str]:
    """Each once, without those that are empty or nobody's."""
    return sorted({one for one in texts if one.lower() not in {"", *NOBODY}}, key=len, reverse=True)


def words_of_any_report() -> set[str]:
    """Words that a report cannot do without, even where somebody is called so."""
    packages = [one.name for one in installed_packages()]
    texts = [*packages, *sys.stdlib_module_names, "python pytorch linux windows darwin macos"]
    for name in ("symptoms.ini", "causes", "codes.ini"):
        texts += [text for row in table(name).values() for text in (row.name, *row.values())]
    return set(re.findall(f"{LETTER}+", " ".join(texts).lower()))


def is_secret(name: str, value: str, common: set[str]) -> bool:
    """Whether a variable's value is to be found nowhere in a report."""
    if not SECRET.search(name) or name == "USERNAME":  # which is a user like others
        return False
    return len(value) >= 8 and not Path(value).is_absolute() and value.lower() not in common


def home_pattern(home: str) -> re.Pattern[str]:
    """A home as a folder or the begin of a path: with any slashes, in JSON, in a file:// URL."""
    both = (home, quote(os.fsencode(home)))
    spelt = {r"[/\\]+".join(map(re.escape, re.split(r"[/\\]", one))) for one in both}
    return re.compile(rf"(?<![\w.-])(?:{'|'.join(sorted(spelt))})(?![\w-])", re.IGNORECASE)


# Where a word must be a user, or a host: `user@`; a folder, but not that of a package.
AS_USER = r"{0}(?=@)|(?<=[/\\])(?<!-packages[/\\]){0}(?![^/\\\s:'\",;)\]}}])"
AS_HOST = r"(?<=@){0}"


def name_pattern(name: str, common: set[str], certain: str) -> re.Pattern[str]:
    """A name as a word; only where it must be one, if it is a letter or a word of any report."""
    pattern = re.escape(name)
    if len(name) < 3 or name.lower() in common:
        pattern = f"(?:{certain.format(pattern)})"
    return re.compile(rf"(?<!{LETTER}){pattern}(?!{LETTER})", re.IGNORECASE)


def host_pattern(name: str, common: set[str]) -> re.Pattern[str]:
    """The same for a host: with its domain, and with those that differ by a number: node17."""
    if len(name) < 3 or name.lower() in common:
        return name_pattern(name, common, AS_HOST)
    words = re.findall(f"{LETTER}+", name.lower())
    one_of_many = len(words) > 1 or not set(words) <= common
    parts = re.split(r"\d+", name) if one_of_many else [name]
    pattern = r"\d+".join(map(re.escape, parts))
    rest = r"(?:\.[a-z][\w-]*)*"
    return re.compile(rf"(?<!{LETTER}){pattern}(?!{LETTER}){rest}", re.IGNORECASE)
