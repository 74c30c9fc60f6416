"""The report for people: in a terminal or a log, and as Markdown."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from surroundings.place import here

from .catalogue import CATALOGUE
from .check import COLOURS, Check, Result, one_line, run_child, tell
from .driver_checks import amd_facts, nvidia_facts
from .machine import ANSWERS, ROOT, WINDOWS, Machine

BOLD = 1
WIDEST, NARROWEST = 100, 60  # columns; below the second, texts have lines of their own
MORE = "`--explain ID` says more about an id, `--report FILE` writes all that a bug report needs."


def wants_colours() -> bool:
    """Whether to colour what goes to stdout; in the order in which Python itself decides."""
    if os.environ.get("NO_COLOR") or os.environ.get("FORCE_COLOR"):
        return not os.environ.get("NO_COLOR")
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def printable(text: str) -> str:
    """A text from who knows where, without what would command the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def wrap(text: str, width: int, then: str = "") -> list[str]:
    """Lines of that width, but never broken inside `a command`, which is to be copied."""
    text = re.sub("`[^`]*`", lambda command: command[0].replace(" ", "\0"), printable(text))
    wrapper = textwrap.TextWrapper(width, subsequent_indent=then)
    wrapper.break_long_words = wrapper.break_on_hyphens = False
    rows = wrapper.wrap(text)
    return [row.replace("\0", " ") for row in rows]


def with_status(checks: list[Check], *statuses: str) -> list[Check]:
    """The checks that ended so, in the order of these statuses."""
    return [one for status in statuses for one in checks if one.status == status]


def report(result: Result, colours: bool, columns: int = 0) -> str:
    """The verdict, and then a list of all checks, by gravity."""
    if colours and WINDOWS:
        os.system("")  # makes an old console understand colours
    columns = min(columns or shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
    rows = with_status(result.checks, "pass", "skip", "warn")
    # The first cause of failure comes last: it is what stays before people's eyes.
    rows = merged([*rows, *reversed(with_status(result.checks, "fail"))])
    trouble = next((one for one in rows if one.status in ("warn", "fail")), None)
    longest = max(len(one.id) for one in rows)
    indent = 10 + max(longest, 13) if columns >= NARROWEST else 4
    width = max(columns - indent, 20)

    def paint(code: int | str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if colours else text

    top = result.verdict()
    dim, colour = COLOURS["skip"], COLOURS[top[:4].lower()]
    verdict = wrap(top, columns, "      ") if colours else [printable(top)]
    lines = [paint(f"1;{colour}", row) for row in verdict]
    lines[-1] += f"  {paint(dim, result.cost())}"
    if top.startswith("FAIL"):
        lines += [paint(dim, row) for row in wrap(MORE, columns)]
    if trouble and elsewhere() and columns >= NARROWEST:
        lines += wrap(f"Its commands are for the folder {ROOT}", columns)
    lines.append("")
    for one in rows:
        if one is trouble and one is not rows[0]:
            lines.append("")
        status = one.status.upper() if one.status in ("warn", "fail") else one.status
        head, text = f"  {paint(COLOURS[one.status], status)}  {one.id}", wrap(one.message, width)
        if columns >= NARROWEST:
            head += " " * (indent - 8 - len(one.id)) + text.pop(0)
        todo = wrap(one.remedy and f"-> {one.remedy}", width)
        if one.status == "fail":
            todo = [paint(BOLD, row) for row in todo]
        lines += [head, *(" " * indent + row for row in [*text, *todo])]
    return "\n".join(lines)


def elsewhere() -> bool:
    """Whether this runs in another folder than the project's, or in one that is gone."""
    try:
        return Path.cwd() != ROOT
    except FileNotFoundError:
        return True


def merged(checks: list[Check]) -> list[Check]:
    """One row for all that were skipped for one reason."""
    rows = []
    for reason, group in groupby(checks, lambda one: one.status == "skip" and one.message):
        same = list(group)
        if reason and len(same) > 1:
            ids = ", ".join(one.id for one in same)
            same = [Check("skip", f"{reason}: {ids}", id=f"{len(same)} checks")]
        rows += same
    return rows


def escape(text: str) -> str:
    """A text as Markdown, in one line and for a cell of a table; `commands` stay code."""
    parts = re.split("`([^`]+)`", text) if text.count("`") % 2 == 0 else [text]
    for index, part in enumerate(parts):
        part = printable(part)
        if index % 2 and "|" not in part:  # which ends a cell, even in code
            parts[index] = f"`{part}`"
            continue
        part = re.sub(r"([\\`*_\[\]#~!])", r"\\\1", part)
        for character in "&<|":
            part = part.replace(character, f"&#{ord(character)};")
        parts[index] = f"<code>{part}</code>" if index % 2 else part
    return " ".join("".join(parts).split())


def markdown(result: Result) -> str:
    """For the summary of a CI job: the verdict, and a table with what is wrong on top."""
    head = f"### {escape(result.verdict())} {result.cost()}"
    lines = [head, "", "| | check | found | what to do |", "|---|---|---|---|"]
    for one in merged(with_status(result.checks, "fail", "warn", "skip", "pass")):
        status = f"**{one.status.upper()}**" if one.status in ("warn", "fail") else one.status
        cells = [status, f"`{one.id}`", escape(one.message), escape(one.remedy)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


# --- --report: all that a bug report needs, in one text to paste

LIMIT = 60  # seconds for what torch and the driver say of themselves
NOTE = """Home folders, users, hosts, passwords and tokens have been taken out. Read it through
before you post it: nobody can know all that you would not show."""
# Variables that make a difference to Python, to an installer, to torch or to a driver.
VARIABLES = re.compile(
    r"PATH|LD_|DYLD_|PYTHON|VIRTUAL_ENV|CONDA_|PIP_|UV_|POETRY_|TORCH|PYTORCH|CUDA|CUDNN|CUBLAS"
    r"|NVIDIA_|NCCL_|GLOO_|TRITON_|OMP_|KMP_|MKL_|OPENBLAS_|HSA_|HIP_|ROCR_|ROCM_|MIOPEN_|ONEAPI_"
    r"|ZE_|SYCL_|MASTER_|RANK$|LOCAL_RANK$|WORLD_SIZE$|(ALL|NO|HTTPS?)_PROXY$|SSL_CERT_|LANG$|LC_"
    r"|REQUESTS_CA_BUNDLE$|CURL_CA_BUNDLE$|CI$|WSL_|NO_COLOR$|FORCE_COLOR$|TERM$",
    re.IGNORECASE,
)


def bug_report(result: Result, limit: float) -> str:
    """The report, as Markdown; `limit`: seconds for torch and the driver."""
    redact = Redactor(os.environ)
    parts: dict[str, Callable[[], str]] = {
        "Checks, with data": lambda: json.dumps(result.document(), indent=2, ensure_ascii=False),
        "System and Python": lambda: "\n".join(system()),
        "Project": lambda: "\n".join(project(result.machine)),
        "Packages": lambda: "\n".join(sorted(packages(), key=str.lower)),
        "Variables": lambda: "\n".join(variables(os.environ)),
        "Devices": lambda: "\n".join(devices(result)),
        "torch.utils.collect_env and nvidia-smi": lambda: others(min(limit, LIMIT)),
    }
    blocks = [f"# Smoke test: {result.verdict()}", NOTE, fenced(report(result, False, 100))]
    for title, part in parts.items():
        try:
            text = part()
        except Exception as error:  # one part less, not none
            text = f"It ended in {one_line(error)}."
        blocks.append(f"<details><summary>{title}</summary>\n\n{fenced(text)}\n\n</details>")
    return redact("\n\n".join(blocks))


def fenced(text: str) -> str:
    """A text as a code block that nothing in it can end."""
    ticks = max([2, *(len(run) for run in re.findall("`+", text))]) + 1
    return f"{'`' * ticks}text\n{text}\n{'`' * ticks}"


def system() -> Iterator[str]:
    """What runs this."""
    yield f"system: {platform.platform()} on {platform.machine()}"
    with suppress(OSError):  # not Linux
        yield f"distribution: {platform.freedesktop_os_release().get('PRETTY_NAME')}"
        yield f"libc: {' '.join(platform.libc_ver())}"
    for kind, signs in here().signs.items():
        yield f"place: {kind}, by {', '.join(signs)}"
    yield f"CPUs: {os.cpu_count()}"
    if sys.platform != "win32":
        with suppress(ValueError, OSError):
            size = os.sysconf("SC_PAGE_SIZE")
            yield f"memory: {os.sysconf('SC_PHYS_PAGES') * size / 2**30:.1f} GiB"
    for folder in (ROOT, Path("/dev/shm")):
        with suppress(OSError):  # not Linux
            usage = shutil.disk_usage(folder)
            yield f"{folder}: {usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB free"
    yield f"Python: {' '.join(sys.version.split())}"
    for name in ("executable", "prefix", "base_prefix"):
        yield f"sys.{name}: {getattr(sys, name)}"
    yield f"sys.flags: {sys.flags}"
    yield from (f"sys.path: {entry}" for entry in sys.path)


def project(machine: Machine) -> Iterator[str]:
    """What the project asks for on this system, and which template it is from."""
    yield f"build: {machine.label}, torch {machine.release}, Python {machine.python}"
    if machine.stands_in:
        yield f"in place of: {machine.own}, since {machine.stands_in}"
    yield f"tested for: {machine.accelerator}{', or the CPU' * machine.auto}"
    yield f"wheels: {json.dumps(machine.wheels, indent=2)}"
    with suppress(OSError):  # the rest of the answers is the owner's
        answers = (ROOT / ANSWERS).read_text(encoding="utf-8").splitlines()
        yield from (line for line in answers if line.startswith("_"))
    files = ("uv.lock", "poetry.lock", "poetry.toml", "requirements", ".venv")
    there = [name for name in files if (ROOT / name).exists()]
    yield f"there are: {', '.join(there) or 'no lock file and no .venv'}"


def packages() -> Iterator[str]:
    """Every installed package, by whom and, if not from an index, from where."""
    for one in importlib.metadata.distributions():
        installer = (one.read_text("INSTALLER") or "").strip()
        origin = json.loads(one.read_text("direct_url.json") or "{}").get("url", "")
        notes = ", ".join(filter(None, (installer, origin)))
        yield f"{one.metadata['Name']}=={one.version}" + (f" ({notes})" if notes else "")


def variables(env: Mapping[str, str]) -> Iterator[str]:
    """The variables that may matter; of those that look like a secret only that they are set."""
    for name, value in sorted(env.items()):
        if VARIABLES.match(name):
            if name.upper().endswith("_PROXY"):  # often without the http:// that shows a password
                value = re.sub(r"^(\w+://)?[^/\s]+@", rf"\1{HIDDEN}@", value)
            yield f"{name}={HIDDEN if SECRET.search(name) and value else value}"


def devices(result: Result) -> Iterator[str]:
    """What the machine shows of its GPUs, also where the project does not ask for one."""
    driver = result.machine.driver
    nvidia = driver if "card" in driver else nvidia_facts(LIMIT / 2)
    yield f"NVIDIA: {json.dumps(nvidia, indent=2)}"
    yield f"AMD: {json.dumps(amd_facts(), indent=2)}"
    with suppress(OSError):
        yield Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").strip()


def others(limit: float) -> str:
    """What torch and nvidia-smi say, as far as they get: a child asks them, since they can hang."""
    rows, ended = run_child("others", {}, limit)
    texts = [*(row["text"] for row in rows), *([f"It {ended}."] if ended else [])]
    return "\n\n".join(text.strip() for text in texts)


def tell_others() -> None:
    """The child's work."""
    try:
        from torch.utils import collect_env

        tell({"text": collect_env.get_pretty_env_info()})
    except Exception as error:
        tell({"text": f"torch.utils.collect_env ended in {one_line(error)}."})
    if not (tool := shutil.which("nvidia-smi")):
        tell({"text": "There is no nvidia-smi."})
        return
    done = subprocess.run([tool], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    tell({"text": (done.stdout + done.stderr).decode("utf-8", "replace")})


# --- Without who wrote it, on which host, and what opens doors

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
        self.rules.append((SOMEBODY, r"\1<user>"))

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
    packages = [str(one.metadata["Name"]) for one in importlib.metadata.distributions()]
    texts = [*packages, *sys.stdlib_module_names, "python pytorch linux windows darwin macos"]
    texts += [text for name, row in CATALOGUE.items() for text in (name, *row)]
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
