"""Runs the children, one bootstrap at a time, and says what a failure of theirs means."""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from .places import (
    GUARD,
    LOG,
    ROOT,
    TOOLS,
    UNFINISHED,
    VENV,
    WINDOWS,
    StopError,
    display,
    say,
    step,
    update_command,
    venv_python,
)
from .project import Project, offline_settings, what_it_lacks
from .system import PROBE, Python, get_python

# What the managers say of an index that does not answer, or with something else than its pages.
UNREACHABLE = re.compile(
    r"Failed to fetch|error sending request|Max retries|[Cc]onnection (broken|refused|reset)|"
    r"ConnectionError|timed out|[Nn]ame resolution|dns error|getaddrinfo|HTTP (error|status)|"
    r"Network is unreachable|All attempts to connect|Server Error|Authorization error|"
    r"returned a \d+|could not be queried|from versions: none"
)
# What they say of a version that they did not see. Only asking the index tells the reason.
UNSEEN = re.compile(
    r"no version of|doesn't match any versions|no matching distributions|UnicodeDecodeError|"
    r"No matching distribution found|conflicting dependencies"
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
UV_PYTHONS = "python-build-standalone"  # where uv gets a Python from
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


def no_download(minor: str, title: str) -> tuple[str, str]:
    """What to say where uv was to get a Python, and could not."""
    todo = f"{get_python(minor)}\nOr a mirror of uv's Pythons: UV_PYTHON_INSTALL_MIRROR"
    return f"uv could not download Python {minor}: {title} failed.", todo


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
        # Then it is not what the manager stumbled over; but pip goes on without a page.
        if reached and not (tool == "pip" and re.search(r"\btorch\w*==", text)):
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


# --- The children, and the log of what they print

# These send packages elsewhere, or make a Python load another one's modules. Index settings stay.
REDIRECTIONS = (
    "PIP_TARGET PIP_PREFIX PIP_ROOT PYTHONHOME PYTHONPATH __PYVENV_LAUNCHER__ VIRTUAL_ENV "
    "CONDA_PREFIX UV_PROJECT UV_PROJECT_ENVIRONMENT UV_TORCH_BACKEND UV_WORKING_DIR"
)
SETTINGS = {
    "PIP_USER": "0",  # stronger than `user = true` in a pip.conf
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "POETRY_VIRTUALENVS_CREATE": "true",
    "POETRY_VIRTUALENVS_IN_PROJECT": "true",
    "PYTHONUTF8": "1",
}


class Runner:
    """Runs the children: a line each on the terminal, everything in the log."""

    def __init__(self, project: Project, options: argparse.Namespace) -> None:
        self.project, self.options = project, options
        self.platform = ""  # of wheels, e.g. linux-x86_64
        self.log: TextIO | None = None
        self.env = {k: v for k, v in os.environ.items() if k not in REDIRECTIONS.split()}
        self.env.update(SETTINGS)
        if options.offline:
            self.env.update(offline_settings(self.env, options.wheelhouse))
        # An activated .venv must not supply the tools that make it.
        own = Path(venv_python(VENV)).parent
        folders = self.env.get("PATH", "").split(os.pathsep)
        self.env["PATH"] = os.pathsep.join(name for name in folders if Path(name) != own)
        self.common: dict[str, Any] = {"cwd": ROOT, "env": self.env, "stdin": subprocess.DEVNULL}

    def which(self, name: str) -> str:
        """Where a program is on PATH; empty if it is not."""
        return shutil.which(name, path=self.env["PATH"]) or ""

    def ask(self, command: list[str]) -> str | None:
        """The output of a command that changes nothing; None if it does not work."""
        try:
            done = subprocess.run(
                command, capture_output=True, check=False, timeout=60, **self.common
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return None if done.returncode else done.stdout.decode("utf-8", "replace").strip()

    def probe(self, command: list[str]) -> Python | None:
        """Ask a Python about itself; None if it does not run."""
        answer = self.ask([*command, "-I", "-c", PROBE]) or ""
        try:
            return Python(*json.loads(answer.splitlines()[-1]))
        except (ValueError, TypeError, IndexError):
            return None

    def run(self, title: str, command: list[str], code: int = 5, venv: bool = False) -> None:
        """Run a command; Stop with this code if it fails.

        `venv`: it changes .venv, so a later run must know if it was interrupted.
        """
        if self.options.dry_run:
            print(f"  would run: {display(command)}")
            return
        if venv:
            UNFINISHED.touch()
        status, tail = self.follow(title, command)
        if venv and (status == 0 or (status > 0 and code == 5)):  # an installer's error is clean
            UNFINISHED.unlink()
        if status:
            tool = "pip" if command[1:3] == ["-m", "pip"] else self.project.manager
            text, known = "\n".join(tail), None
            if self.options.offline:
                known = what_it_lacks(self.project, self.options.wheelhouse, title, text)
            elif code == 4 and UV_PYTHONS in text:
                known = no_download(self.project.python, title)
            # What makes .venv asks no index.
            build = None if self.options.offline or code == 4 else self.project.build
            raise failure(build, title, status, tail, code, tool, known)

    def follow(self, title: str, command: list[str]) -> tuple[int, list[str]]:
        """Run a command; its exit status and the end of what it printed."""
        self.log = self.log or LOG.open("w", encoding="utf-8")
        print(f"$ {display(command)}", file=self.log, flush=True)
        tail = deque[str](maxlen=200)
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        pipes.update(encoding="utf-8", errors="replace", **self.common)
        with step(title), subprocess.Popen(command, **pipes) as child:
            for line in child.stdout or ():
                tail.append(line.rstrip())
                print(tail[-1], file=self.log, flush=True)
                if self.options.verbose:
                    print("   ", tail[-1], flush=True)
        return child.returncode, [line for line in tail if not NOISE.match(line)]

    def remove(self, folder: Path, why: str) -> None:
        """Remove an environment that this script made."""
        if not os.path.lexists(folder):
            return
        say(f"  removing {folder.name}: {why}")
        if self.options.dry_run:
            return
        if folder.is_symlink():
            folder.unlink()
            return
        # A rename shows whether a program still uses it, before anything is lost.
        old = TOOLS / "removing"
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def guarded(runner: Runner) -> Iterator[None]:
    """Let only one run at a time change anything.

    The system's own lock: it ends with the process, however that ends. On POSIX the children hold
    it too, so that what a killed run left behind is waited for.
    """
    if runner.options.dry_run:
        yield
        return
    TOOLS.mkdir(exist_ok=True)
    with GUARD.open("a+", encoding="utf-8") as file:
        if not hold(file.fileno()):
            file.seek(0)
            owner = file.read().strip() or "unknown"
            todo = "Wait until it has ended, then run this again."
            raise StopError(2, f"Another bootstrap (process {owner}) works on this project.", todo)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        if not WINDOWS:
            runner.common["pass_fds"] = [file.fileno()]
        try:
            yield
        finally:
            runner.common.pop("pass_fds", None)


def hold(file: int) -> bool:
    """Lock an open file; False if another process has it. Not every file system can."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(file, 1 << 20, os.SEEK_SET)  # far behind the text, which stays readable
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        without = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
        return error.errno in without  # Wine says nothing, 0, of a file that another has
    return True
