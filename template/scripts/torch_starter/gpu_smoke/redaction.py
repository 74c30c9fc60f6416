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

from surroundings.knowledge import table

from .metadata import installed_packages

HIDDEN = "<hidden>"
SECRET = re.compile("TOKEN|PASS|SECRET|KEY(?!RING)|CREDENTIAL|AUTH|COOKIE|USERNAME", re.IGNORECASE)
URL = r"(?P<keep>\b[a-z][a-z0-9+.-]*://)"
TELLING = "(?:token|key|sig|secret|pass|auth)"
OPENERS = [
    # A user and a password in a URL, also if a password has an @ or a slash, and is not a port.
    re.compile(URL + r"[^\s/@\"]*(?:@[^\s/@\"]*)*(?=@)", re.IGNORECASE),
    re.compile(URL + r"[^\s/@:]+:(?!\d{1,5}(?!\w))[^\s@'\"<>]*(?=@)", re.IGNORECASE),
    # Parameters of a URL that say what they are.
    re.compile(rf"(?P<keep>[?&;][\w.-]*{TELLING}[\w.-]*=)[^\s&;'\"]+", re.IGNORECASE),
    # Tokens of GitHub, GitLab, Hugging Face and PyPI.
    re.compile(r"(?P<keep>)\b(?:gh[opsur]_|github_pat_|glpat-|hf_|pypi-)[\w-]{16,}"),
]
# The serial numbers of GPUs and of their parts, but for what tells them apart.
SERIAL = re.compile(r"\b((?:GPU|MIG)-[0-9a-f]{4})[0-9a-f]{4}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
# Hosts that only an organisation's own network knows: of one word, by number, by their end.
INSIDE = re.compile(
    r"(?P<before>://(?:[^\s/@]*@)?)"
    r"(?:(?!localhost\b)[^\W_][\w-]*(?=[:/\s'\",;)\]}]|$)"
    r"|10(?:\.\d+){3}|192\.168(?:\.\d+){2}|172\.(?:1[6-9]|2\d|3[01])(?:\.\d+){2}"
    r"|(?:[\w-]+\.)+(?:local|localdomain|internal|intranet|intern|corp|lan|home|private)\b)",
    re.IGNORECASE,
)
# Whoever's folder it is, as in a path that was copied from elsewhere.
SOMEBODY = re.compile(r"((?:/home|[/\\]Users)[/\\]+)[^/\\\s'\":;,<>]+")
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
        common = words_of_any_report()
        self.secrets = longest_first(v for k, v in env.items() if is_secret(k, v, common))
        self.rules = [(home_pattern(home), "~") for home in longest_first(homes)]
        for name in longest_first(users):
            self.rules.append((name_pattern(name, common, AS_USER), "<user>"))
        for name in longest_first(hosts):
            self.rules.append((name_pattern(name, common, AS_HOST), "<host>"))
        self.rules += [(SOMEBODY, r"\1<user>"), (SERIAL, rf"\1{HIDDEN}")]
        self.rules.append((INSIDE, r"\g<before><host>"))
        for host in hosts:  # and all others of its domain
            domain = host.partition(".")[2]
            if "." in domain:
                inside = rf"(?<![\w.-])[\w-]+(?:\.[\w-]+)*\.{re.escape(domain)}(?![\w-])"
                self.rules.append((re.compile(inside, re.IGNORECASE), "<host>"))

    def __call__(self, text: str) -> str:
        """The text without homes, users, hosts, passwords and tokens."""
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        for pattern in OPENERS:
            text = pattern.sub(rf"\g<keep>{HIDDEN}", text)
        for pattern, mark in self.rules:
            text = pattern.sub(mark, text)
        return text


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
    spelt = {r"[/\\]+".join(map(re.escape, re.split(r"[/\\]", one))) for one in (home, quote(home))}
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
