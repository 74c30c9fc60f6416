#!/usr/bin/env python3
"""Set this project up: find its Python, make .venv, install, run the smoke test.

Run it through ``sh bootstrap.sh`` or ``bootstrap.cmd``, as often as you like: what is done is not
done again. It writes only to .venv, .tools and the lock file.

Exit codes: 0 done; 2 it cannot be done as asked (options, torch_builds.json, no wheels for this
system, another run at work) and nothing was changed; 3 no fitting Python; 4 .venv could not be
made; 5 locking or installing failed; 6 the smoke test failed.
"""

import argparse
import contextlib
import errno
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

# 3.6 to 3.9 can read this file, and get this far.
if sys.version_info < (3, 10):  # noqa: UP036
    sys.stderr.write("bootstrap: this needs Python 3.10 or newer.\nRun sh bootstrap.sh instead.\n")
    sys.exit(3)

ROOT = Path(os.path.abspath(__file__)).parent.parent  # a mapped drive stays one
VENV = ROOT / ".venv"
STAMP = VENV / "bootstrap-stamp.json"  # written last: what .venv was made from
TOOLS = ROOT / ".tools"
UNFINISHED = TOOLS / "bootstrap.unfinished"  # exists while .venv is being changed
LOCK_BEFORE = TOOLS / "lock.before"  # exists while a manager writes its lock file
GUARD = TOOLS / "bootstrap.lock"  # held by the one run that may change anything
LOG = TOOLS / "bootstrap.log"
BUILDS = ROOT / "scripts" / "torch_builds.json"
SMOKE_TEST = ROOT / "scripts" / "gpu_smoke_test.py"
WINDOWS = os.name == "nt"

# What a manager must be, and the key in pyproject.toml that may narrow it.
MANAGERS = {"uv": (">=0.8", "required-version"), "poetry": (">=2.2,<3", "requires-poetry")}
# These send packages elsewhere, or make a Python load another one's modules. Index settings stay.
REDIRECTIONS = (
    "PIP_TARGET PIP_PREFIX PIP_ROOT PYTHONHOME PYTHONPATH __PYVENV_LAUNCHER__ VIRTUAL_ENV "
    "CONDA_PREFIX UV_PROJECT UV_PROJECT_ENVIRONMENT UV_WORKING_DIR"
)
SETTINGS = {
    "PIP_USER": "0",  # stronger than `user = true` in a pip.conf
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "POETRY_VIRTUALENVS_CREATE": "true",
    "POETRY_VIRTUALENVS_IN_PROJECT": "true",
    "PYTHONUTF8": "1",
}
# Run by every candidate. `odd`: why no wheel of PyTorch fits it.
PROBE = """
import json, os, sys, sysconfig
try:
    import ensurepip, venv
    can_venv = bool(ensurepip.version())
except Exception:
    can_venv = False
system = {"win32": "windows", "darwin": "macos"}.get(sys.platform, sys.platform)
machine = sysconfig.get_platform().split("-")[-1] if os.name == "nt" else os.uname()[4]
libc = "-musl" if "musl" in (sysconfig.get_config_var("SOABI") or "") else ""
odd = "is a 32-bit Python" if sys.maxsize <= 2**32 else ""
odd = "is a free-threaded Python" if sysconfig.get_config_var("Py_GIL_DISABLED") else odd
odd = "is not CPython" if sys.implementation.name != "cpython" else odd
base = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps([base, sys.version_info[:3], system + "-" + machine + libc, sys.base_prefix,
                  can_venv, odd]))
"""
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


class StopError(Exception):
    """The end of a run: exit code, one sentence what is wrong, one what to do."""

    def __init__(self, code: int, what: str, todo: str) -> None:
        super().__init__(what)
        self.code, self.what, self.todo = code, what, todo


class Python(NamedTuple):
    """What a Python says about itself: the answer to PROBE."""

    executable: str
    version: list[int]
    platform: str
    base_prefix: str
    can_venv: bool
    odd: str

    @property
    def name(self) -> str:
        """Python 3.12.1, say."""
        return f"Python {'.'.join(map(str, self.version))}"


class Project(NamedTuple):
    """What scripts/torch_builds.json says about this project."""

    manager: str
    python: str
    requires_python: str
    compute_platform: str
    build: dict[str, Any]
    alternatives: dict[str, Any]

    @property
    def lock(self) -> Path:
        """The file that pins the packages."""
        pins = f"requirements/torch-{self.compute_platform}.txt"
        return ROOT / (pins if self.manager == "pip" else f"{self.manager}.lock")

    def fingerprint(self, python: Python) -> str:
        """A hash of everything that .venv is made from."""
        digest = hashlib.sha256(repr((python.version, python.base_prefix)).encode())
        for path in (ROOT / "pyproject.toml", self.lock, BUILDS):
            digest.update(hashlib.sha256(path.read_bytes() if path.exists() else b"").digest())
        return digest.hexdigest()

    def misfit(self, python: Python) -> str:
        """Why the project cannot use this Python; empty if it can."""
        if not satisfies(python.version, self.requires_python):
            return f"is {python.name}, not {self.requires_python}"
        if python.platform not in self.build["platforms"]:
            return f"is for {python.platform}"
        return python.odd


def load_project() -> Project:
    """Read scripts/torch_builds.json."""
    todo = "Restore it: git checkout scripts/torch_builds.json"
    try:
        data = json.loads(BUILDS.read_text(encoding="utf-8"))
        name = data["compute_platform"]
        answers = [data[key] for key in ("package_manager", "python", "requires_python")]
        build, alternatives = data["builds"][name], data["alternatives"]
        project = Project(answers[0], answers[1], answers[2], name, build, alternatives)
        if data["schema"] != 1 or project.manager not in ("uv", "poetry", "pip"):
            raise ValueError("unknown schema or package_manager")
        if not {"label", "release", "index_url", "platforms"} <= project.build.keys():
            raise ValueError(f"the build {name} is incomplete")
    except FileNotFoundError:
        raise StopError(2, f"{BUILDS} is missing.", todo) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StopError(2, f"{BUILDS} cannot be used: {error!r}.", todo) from None
    return project


def satisfies(version: list[int], specifier: str) -> bool:
    """Whether a version fits a PEP 440 specifier of plain numbers."""
    for clause in specifier.split(","):
        match = re.fullmatch(r"\s*(==|!=|>=|<=|>|<)\s*(\d+(?:\.\d+)*)(\.\*)?\s*", clause)
        if not match:
            raise StopError(
                2, f"The version specifier {specifier!r} is not understood.", "Simplify it."
            )
        bound = [int(part) for part in match[2].split(".")]
        have = version[: len(bound)] if match[3] else version
        bound += [0] * (len(have) - len(bound))
        true = ("==", "<=", ">=") if have == bound else ("!=", "<", "<=")
        if match[1] not in (true if have <= bound else ("!=", ">", ">=")):
            return False
    return True


def display(command: list[str]) -> str:
    """A command as one would type it."""
    if WINDOWS:
        return " ".join(
            f'"{word}"' if re.search(r"[^\w\\/:.=-]", word) else word for word in command
        )
    return shlex.join(command)


def update_command(answer: str) -> str:
    """How to change an answer of the template: Copier wants the project to be under git."""
    tracked = any((folder / ".git").exists() for folder in (ROOT, *ROOT.parents))
    first = "" if tracked else "git init && git add --all && git commit -m Start && "
    return f"{first}copier update --defaults --trust -d {answer}"


def venv_python(folder: Path) -> str:
    """The interpreter of a virtual environment."""
    return str(folder / ("Scripts/python.exe" if WINDOWS else "bin/python"))


class Runner:
    """Runs the children: a line each on the terminal, everything in the log."""

    def __init__(self, project: Project, options: argparse.Namespace) -> None:
        self.project, self.options = project, options
        self.log: TextIO | None = None
        self.env = {k: v for k, v in os.environ.items() if k not in REDIRECTIONS.split()}
        self.env.update(SETTINGS)
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
            tool = "pip" if "pip" in command else self.project.manager
            raise self.failure(title, status, tail, code, tool)

    def follow(self, title: str, command: list[str]) -> tuple[int, list[str]]:
        """Run a command; its exit status and the end of what it printed."""
        self.log = self.log or LOG.open("w", encoding="utf-8")
        print(f"$ {display(command)}", file=self.log, flush=True)
        print(f"  {title} ...", end="\n" if self.options.verbose else "", flush=True)
        started, tail = time.monotonic(), deque[str](maxlen=200)
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        pipes.update(encoding="utf-8", errors="replace", **self.common)
        with subprocess.Popen(command, **pipes) as child:
            for line in child.stdout or ():
                tail.append(line.rstrip())
                print(tail[-1], file=self.log, flush=True)
                if self.options.verbose:
                    print("   ", tail[-1], flush=True)
        again = f"  {title} ..." if self.options.verbose else ""
        print(again, f"{time.monotonic() - started:.1f} s", flush=True)
        return child.returncode, [line for line in tail if not NOISE.match(line)]

    def failure(self, title: str, status: int, tail: list[str], code: int, tool: str) -> StopError:
        """Show the end of a failed child's output, and say what it means."""
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
        elif UNREACHABLE.search(text) or UNSEEN.search(text):
            if tool == "poetry" and UNSEEN.search(text):
                todo = (
                    "Mend what is said above, then run this again. Poetry says the same where PyPI "
                )
                todo += "did not answer: if the version exists, check the network."
            what, todo = index_advice(self.project.build, title, tool, text) or (what, todo)
            if "Traceback" in text:  # of the manager: pip cannot read a page, say
                shown = [line for line in tail if GIST.match(line)][-5:]
        print("\n".join(f"    {line}" for line in shown), flush=True)
        return StopError(code, what, f"{todo}\nThe whole output is in {LOG}.")

    def remove(self, folder: Path, why: str) -> None:
        """Remove an environment that this script made."""
        if not os.path.lexists(folder):
            return
        print(f"  removing {folder.name}: {why}")
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


def check_system(project: Project, platform: str) -> None:
    """Stop where this project can have no .venv."""
    if not WINDOWS and ":" in str(ROOT):
        raise StopError(
            4, f"No .venv can be in {ROOT}: the path has a colon.", "Rename the folder."
        )
    if platform in project.build["platforms"]:
        return
    have = ", ".join(project.build["platforms"])
    others = [k for k, other in project.alternatives.items() if platform in other["platforms"]]
    todo = "No other compute platform of this project has them: use another machine."
    if others:
        best = next((name for name in ("cpu", "pypi") if name in others), others[0])
        move = update_command(f"compute_platform={best}")
        todo = f"Here work {', '.join(others)}: {move}"
    label = project.build["label"]
    raise StopError(2, f"{label} has PyTorch wheels for {have}, not for {platform}.", todo)


def find_python(runner: Runner, running: Python, uv: list[str]) -> Python | None:
    """A Python for .venv: the running one, else from PATH, else pyenv's or uv's."""
    minor = runner.project.python
    if not runner.project.misfit(running):
        return running
    commands = [["py", f"-{minor}"]] if WINDOWS else []
    commands += [[runner.which(name)] for name in (f"python{minor}", "python3", "python")]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    for folder in sorted(pyenv.glob(f"{minor}.*")):
        commands.append([str(folder / ("python.exe" if WINDOWS else "bin/python"))])
    if uv:
        wanted = runner.project.requires_python
        commands.append([runner.ask([*uv, "python", "find", "--no-project", wanted]) or ""])
    found = (python for python in map(runner.probe, commands) if python)
    return next((python for python in found if not runner.project.misfit(python)), None)


def named_python(runner: Runner, name: str) -> Python:
    """The Python of --python."""
    path = Path(name)
    python = runner.probe([str(path.absolute()) if path.exists() else runner.which(name)])
    misfit = runner.project.misfit(python) if python else "does not run"
    if not python or misfit:
        todo = "Give the path of another one, or leave it out."
        raise StopError(3, f"--python {name} {misfit}.", todo)
    return python


def warn_of_surroundings(python: Python | None) -> None:
    """Say what is active here, and may mislead: it is not what the project uses."""
    active = os.environ.get("VIRTUAL_ENV", "")
    if active and Path(active).resolve() != VENV.resolve():
        print(f"  note: the active environment {active} is left alone, .venv is used")
    if python and Path(python.base_prefix, "conda-meta").is_dir():
        print(f"  warning: {python.executable} is conda's, whose libraries can get in torch's way")
        print("  If torch does not load, name another: --python PATH --recreate", flush=True)


def venv_command(python: Python, folder: Path) -> list[str]:
    """How this Python makes a virtual environment with pip in it."""
    if not python.can_venv:  # venv would fail and leave half an environment
        package = "python{}.{}-venv".format(*python.version)
        todo = f"Install it (Debian, Ubuntu: sudo apt install {package}), or use --python."
        raise StopError(
            4, f"{python.executable} has no ensurepip, so it cannot make a .venv.", todo
        )
    return [python.executable, "-m", "venv", str(folder)]


def find_manager(runner: Runner, base: Python) -> list[str]:
    """The command of uv or Poetry: from PATH, else from its own environment in .tools."""
    name = runner.project.manager
    specifier, key = MANAGERS[name]
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    narrower = re.search(rf'^{key}\s*=\s*"([^"]+)"', text, re.MULTILINE)
    specifier += f",{narrower[1]}" if narrower else ""
    home = TOOLS / name
    own = [venv_python(home), "-m", name]
    if name == "uv":  # not by -m, which would show uv its own environment as the active one
        own = [str(Path(own[0]).with_name("uv.exe" if WINDOWS else "uv"))]
    for command in ([runner.which(name)], own):
        version = re.search(r"(\d+)\.(\d+)\.(\d+)", runner.ask([*command, "--version"]) or "")
        if version and satisfies([int(part) for part in version.groups()], specifier):
            print(f"  {name} {version[0]} ({command[0]})", flush=True)
            return command
    make = venv_command(base, home)
    runner.remove(home, f"it has no working {name} {specifier}")
    runner.run(f"making .tools/{name}", make, 4)
    pip = [venv_python(home), "-m", "pip", "install"]
    runner.run(f"installing {name} into it", [*pip, name + specifier])
    return own


def environment_command(
    runner: Runner, manager: list[str], uv: list[str], python: Python | None
) -> list[str]:
    """How to make an empty .venv with this Python, or else with one that uv downloads."""
    kind, minor = runner.project.manager, runner.project.python
    if uv and (kind == "uv" or not python or not python.can_venv):
        runner.env["UV_PYTHON_INSTALL_DIR"] = str(TOOLS / "python")
        request = python.executable if python else runner.project.requires_python
        seed = ["--seed"] if kind == "pip" else []
        return [*uv, "venv", "--no-project", *seed, "--python", request, str(VENV)]
    if not python:
        todo = f"Install Python {minor} or uv, or name one: --python /path/to/python{minor}"
        raise StopError(3, f"No Python {runner.project.requires_python} was found.", todo)
    if kind == "poetry":
        return [*manager, "env", "use", "--no-interaction", python.executable]
    return venv_command(python, VENV)


def install(runner: Runner, manager: list[str]) -> None:
    """Install what the lock file, or for pip the requirements file, says."""
    project, lock = runner.project, runner.project.lock
    title = "installing (the first time can take long)"
    before = lock.read_bytes() if lock.exists() else b""
    if project.manager == "pip":
        pip = [venv_python(VENV), "-m", "pip", "install"]
        runner.run("updating pip", [*pip, "pip>=25.1"], venv=True)  # the first with --group
        pins = str(lock.relative_to(ROOT))
        runner.run(title, [*pip, "-c", pins, "--group", "dev", "-e", "."], venv=True)
    elif project.manager == "uv":
        lock_packages(runner, [*manager, "lock", "--python", project.python])  # only if it must
        runner.run(title, [*manager, "sync", "--python", project.python], venv=True)
    else:
        if not before or runner.ask([*manager, "check", "--lock", "--no-interaction"]) is None:
            lock_packages(runner, [*manager, "lock", "--no-interaction"])
        runner.run(title, [*manager, "sync", "--no-interaction"], venv=True)
    if lock.exists() and lock.read_bytes() != before:
        news = "was out of date and has been made again" if before else "is new"
        print(f"  {lock.name} {news}: commit it")


def lock_packages(runner: Runner, command: list[str]) -> None:
    """Run a manager's lock command, so that the lock file is whole afterwards or as before."""
    if not runner.options.dry_run:
        keep_lock(runner.project.lock)
    try:
        runner.run("locking", command)
    except BaseException:  # whatever it was: the lock file was not finished
        restore_lock(runner.project.lock)
        raise
    LOCK_BEFORE.unlink(missing_ok=True)


def read_stamp() -> dict[str, Any]:
    """What .venv was made from; empty if this script did not complete it."""
    try:
        return dict(json.loads(STAMP.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def why_rebuild(runner: Runner, current: Python | None, named: Python | None) -> str:
    """Why .venv cannot be kept as it is; empty if it can, or if there is none."""
    if not os.path.lexists(VENV):
        return ""
    if UNFINISHED.exists():
        return "an earlier run was interrupted"
    foreign = VENV.exists() and not (VENV / "pyvenv.cfg").exists()
    if foreign and (not VENV.is_dir() or any(VENV.iterdir())):
        todo = "Move it away and run this again."
        raise StopError(4, f"{VENV} is there, but is not a virtual environment.", todo)
    if runner.options.recreate:
        return "--recreate"
    if current is None:
        return "its Python does not run"
    if read_stamp().get("root", str(ROOT.resolve())) != str(ROOT.resolve()):
        return "the folder of the project was moved"
    if named and not Path(named.base_prefix).samefile(current.base_prefix):
        return f"it is from another Python than {named.executable}"
    return runner.project.misfit(current).replace("is", "it is", 1)


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
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True


def keep_lock(lock: Path) -> None:
    """Put a copy of the lock file aside, since a killed manager may leave half of one."""
    aside = LOCK_BEFORE.with_suffix(".new")
    aside.write_bytes(lock.read_bytes() if lock.exists() else b"")
    aside.replace(LOCK_BEFORE)


def restore_lock(lock: Path) -> None:
    """Bring the lock file back to what it was before an interrupted locking."""
    if not LOCK_BEFORE.exists():
        return
    print(f"  {lock.name} is as it was before the interrupted run", flush=True)
    if LOCK_BEFORE.stat().st_size:
        LOCK_BEFORE.replace(lock)
    else:
        lock.unlink(missing_ok=True)
        LOCK_BEFORE.unlink()


def set_up(runner: Runner, running: Python, named: Python | None, rebuild: str) -> None:
    """Bring .venv to what the project asks for, and stamp it."""
    kind, dry_run = runner.project.manager, runner.options.dry_run
    if not dry_run:
        shutil.rmtree(TOOLS / "removing", ignore_errors=True)
        restore_lock(runner.project.lock)
        STAMP.unlink(missing_ok=True)
    manager = find_manager(runner, named or running) if kind != "pip" else []
    if kind == "pip" and not rebuild and not runner.ask([venv_python(VENV), "-m", "pip", "-V"]):
        rebuild = "it has no pip"
    if rebuild or not os.path.lexists(VENV):
        uv = manager if kind == "uv" else [path for path in [runner.which("uv")] if path]
        python = named or find_python(runner, running, uv)
        make = environment_command(runner, manager, uv, python)
        news = f"{python.name} ({python.executable})" if python else "uv gets the Python"
        print(f"  {news}", flush=True)
        warn_of_surroundings(python)
        runner.remove(VENV, rebuild)
        runner.run("making .venv", make, 4, venv=True)
    install(runner, manager)
    made = None if dry_run else runner.probe([venv_python(VENV)])
    if made:
        stamp = {"root": str(ROOT.resolve()), "inputs": runner.project.fingerprint(made)}
        STAMP.write_text(json.dumps(stamp), encoding="utf-8")


def up_to_date(runner: Runner, named: Python | None) -> bool:
    """Whether .venv is what the project asks for."""
    current = runner.probe([venv_python(VENV)])
    if not current or why_rebuild(runner, current, named):
        return False
    return bool(read_stamp().get("inputs") == runner.project.fingerprint(current))


def smoke_test(runner: Runner) -> None:
    """Run the smoke test; Stop if it fails, else remember that it passed."""
    command = [venv_python(VENV), str(SMOKE_TEST)]
    if runner.options.dry_run:
        print(f"  would run: {display(command)}")
        return
    print("Smoke test:", flush=True)
    code = subprocess.run(command, check=False, **runner.common).returncode
    if code:
        todo = f"Do what it says above, then run this again, or only: {display(command)}"
        raise StopError(6, f"The smoke test failed with exit code {code}.", todo)
    STAMP.write_text(json.dumps({**read_stamp(), "smoke_test": "passed"}), encoding="utf-8")


def print_next_steps() -> None:
    """How to go on, in the shell in use."""
    shell = Path(os.environ.get("SHELL", "sh")).name
    suffix = {"fish": ".fish", "csh": ".csh", "tcsh": ".csh"}.get(shell)
    activate = f"source .venv/bin/activate{suffix}" if suffix else ". .venv/bin/activate"
    if WINDOWS:
        activate = r".venv\Scripts\activate.bat (PowerShell: .venv\Scripts\Activate.ps1)"
    print("Done. Next steps:")
    if Path.cwd() != ROOT:
        print(f"  {display(['cd', str(ROOT)])}")
    python = Path(venv_python(VENV)).relative_to(ROOT)
    print(f"  {activate}\n  or, without activating: {python} -m pytest", flush=True)


def parse_options(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bootstrap.cmd" if WINDOWS else "bootstrap.sh",
        description=(__doc__ or "").strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--python", metavar="PATH", help="make .venv with this Python")
    parser.add_argument("--recreate", action="store_true", help="make .venv anew")
    parser.add_argument("--no-smoke", action="store_true", help="do not run the smoke test")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, change nothing")
    parser.add_argument("--verbose", action="store_true", help="show what the commands print")
    return parser.parse_args(arguments)


def bootstrap(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    project = load_project()
    build = project.build
    print(f"PyTorch {build['release']}, {build['label']}, by {project.manager}", flush=True)
    runner = Runner(project, options)
    running = runner.probe([sys.executable])
    if not running:
        raise StopError(
            3, f"{sys.executable} cannot start itself.", "Set BOOTSTRAP_PYTHON to another."
        )
    check_system(project, running.platform)
    named = named_python(runner, options.python) if options.python else None
    if up_to_date(runner, named):
        print("Nothing to do: .venv is up to date.", flush=True)
    else:
        with guarded(runner):  # look again: another run may just have ended
            current = runner.probe([venv_python(VENV)])
            set_up(runner, running, named, why_rebuild(runner, current, named))
    if not options.no_smoke and read_stamp().get("smoke_test") != "passed":
        smoke_test(runner)
    if not options.dry_run:
        print_next_steps()


def main() -> int:
    """Run, and turn what stops it into an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a pipe on Windows may not know a path's letters
            stream.reconfigure(errors="backslashreplace")
    try:
        bootstrap(parse_options(sys.argv[1:]))
    except StopError as stop:
        code, what, todo = stop.code, stop.what, stop.todo
    except OSError as error:
        code, what = 4, f"{error}."
        todo = "Close what uses this file, see that it may be written, then run this again."
        if error.errno == errno.ENOSPC:
            what, todo = f"The disk is full: {error}.", SPACE
    except KeyboardInterrupt:
        code, what, todo = 130, "Interrupted.", "Run this again to go on."
    else:
        return 0
    sys.stdout.flush()
    print(f"bootstrap: {what}\n{todo}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
