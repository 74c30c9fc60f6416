"""Nothing that this machine or its user has set changes what the tests find.

`shield` is called before anything else, in tests/conftest.py. It gives the test process, and with
it every process that a test starts, an empty HOME and none of the variables that pip, uv, Poetry,
git, Copier and Python listen to. One thing must survive, the way to the package registry:
certificates, and, only where the registry cannot be reached without them, a mirror and pip's proxy.
"""

from __future__ import annotations

import ast
import atexit
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Where a shielded process, and each that it starts, finds what was there before.
BEFORE = "TORCH_STARTER_TESTS_BEFORE"
PERSONAL = re.compile(
    r"(PIP|UV|POETRY|COPIER|PYTHON|GIT|XDG|VIRTUAL_ENV|CONDA|TORCH_STARTER|PIPENV|PIPX|HATCH)(_.*)?"
    r"|PYTHON.*|_CONDA_.*|_CE_.*|_OLD_VIRTUAL_.*|PYENV_(VERSION|VIRTUAL_ENV|DIR)"
    r"|HOME|USERPROFILE|APPDATA|LOCALAPPDATA|NETRC|SSL_CERT_(FILE|DIR)|(REQUESTS_CA|CURL_CA)_BUNDLE"
    r"|NO_COLOR|FORCE_COLOR|CLICOLOR(_FORCE)?|COLUMNS|LINES|BASH_ENV|ENV|SOURCE_DATE_EPOCH"
)
# Of these, what cannot change a result: the display of a desktop, the way to a server of git, a
# prepared Wine.
HARMLESS = re.compile(r"XDG_(RUNTIME_DIR|SESSION_.*)|GIT_SSL_.*|TORCH_STARTER_WINE")
CERTIFICATES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
SYSTEM_STORE = ("UV_SYSTEM_CERTS", "UV_NATIVE_TLS")
GIT_SETTINGS = """\
[user]
name = Tests
email = tests@example.com
[commit]
gpgsign = false
[init]
defaultBranch = main
[core]
autocrlf = false
# What tests write need not outlast a power cut: an update takes a tenth less time.
fsync = none
[gc]
auto = 0
"""


def shield() -> None:
    """Hide the machine's settings from this process and its children."""
    before = os.environ.get(BEFORE)
    if before is None:
        before = json.dumps(_shield_first_process())
        os.environ[BEFORE] = before
        # A shell lets what it starts in the background, and all below, ignore Ctrl-C.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    # Also in a worker of pytest-xdist, which is given the first process's module path.
    hidden = {os.path.realpath(path) for path in json.loads(before)["module_path"]}
    sys.path[:] = [path for path in sys.path if os.path.realpath(path or ".") not in hidden]
    _tell_plumbum()


def environment_before() -> dict[str, str]:
    """The environment as it was: for a download that the machine knows a nearer place for."""
    if BEFORE not in os.environ:
        return dict(os.environ)
    now = {k: v for k, v in os.environ.items() if k not in json.loads(os.environ[BEFORE])["new"]}
    return {**now, **json.loads(os.environ[BEFORE])["old"]}


def simple_index() -> str:
    """The simple API of the registry that pip takes packages from."""
    from pip._internal.models.index import PyPI  # which is not known before there is a pip

    return os.environ.get("PIP_INDEX_URL") or str(PyPI.simple_url)


def _shield_first_process() -> dict[str, object]:
    """Do it where it was not done yet; what has to be known to see behind it."""
    before = dict(os.environ)
    home = Path(tempfile.mkdtemp(prefix="torch-starter-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    pip = _pip_settings(before)
    for name in filter(_is_personal, before):
        del os.environ[name]
    os.environ["PATH"] = _path_without_active_environment(before)
    os.environ["PATH"] = _path_without_shims(before)
    new = _clean_settings(home, before)
    os.environ.update(new)
    way = _way_to_the_registry(before, pip)
    os.environ.update(way)
    new |= way
    return {
        "old": {k: v for k, v in before.items() if os.environ.get(k) != v},
        "new": [name for name in (*new, BEFORE) if name not in before],
        "module_path": [path for path in before.get("PYTHONPATH", "").split(os.pathsep) if path],
    }


def _tell_plumbum() -> None:
    """Copier runs git through plumbum, which pytest-copie has imported: with a copy of them all."""
    plumbum = sys.modules.get("plumbum")
    if plumbum:
        plumbum.local.env.clear()
        plumbum.local.env.update(os.environ)


def _is_personal(name: str) -> bool:
    name = name.upper()
    return bool(PERSONAL.fullmatch(name)) and not HARMLESS.fullmatch(name)


def _path_without_active_environment(before: Mapping[str, str]) -> str:
    """PATH without what an activated environment put there, as long as a Python is left."""
    folders = before.get("PATH", os.defpath).split(os.pathsep)
    prefixes = [before[name] for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if before.get(name)]
    active = [Path(prefix) for prefix in prefixes]
    rest = [one for one in folders if not any(Path(one).is_relative_to(up) for up in active)]
    path = os.pathsep.join(rest)
    return (
        path if shutil.which("python3", path=path) or os.name == "nt" else os.pathsep.join(folders)
    )


def _path_without_shims(before: Mapping[str, str]) -> str:
    """PATH with the Pythons that are active in place of pyenv's shims, whatever a folder asks for.

    A shim starts a hundred programs, also to find that there is no such Python: a bootstrap that
    tries two of them takes twice its time.
    """
    root = Path(before.get("PYENV_ROOT") or Path(before.get("HOME", "/"), ".pyenv"))
    folders = os.environ["PATH"].split(os.pathsep)
    if os.name == "nt" or root / "shims" not in map(Path, folders):
        return os.environ["PATH"]
    command = [str(root / "bin" / "pyenv"), "prefix"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return os.environ["PATH"]
    real = [str(Path(prefix, "bin")) for prefix in done.stdout.strip().split(os.pathsep)]
    rest = [[one] if Path(one) != root / "shims" else real for one in folders]
    return os.pathsep.join(one for some in rest for one in some)


def _clean_settings(home: Path, before: Mapping[str, str]) -> dict[str, str]:
    """The settings of somebody who has set nothing."""
    system = home / "etc"
    (system / "uv").mkdir(parents=True)
    (system / "uv" / "uv.toml").touch()  # uv then does not look for /etc/uv/uv.toml
    (home / ".gitconfig").write_text(GIT_SETTINGS, encoding="utf-8")
    (home / "copier.yml").write_text("{}\n", encoding="utf-8")
    old_home = Path(before.get("HOME") or before.get("USERPROFILE") or home)
    settings = {
        "HOME": str(home),
        "XDG_CONFIG_DIRS": str(system),
        "PIP_CONFIG_FILE": os.devnull,  # pip then reads none of its files, the system's included
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "POETRY_CONFIG_DIR": str(home / "poetry"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "COPIER_SETTINGS_PATH": str(home / "copier.yml"),
        "TORCH_STARTER_DETECT": "0",  # what this machine has is no answer to a question
        **_kept_folders(old_home, before),
    }
    if os.name == "nt":
        settings |= dict.fromkeys(("USERPROFILE", "APPDATA", "LOCALAPPDATA"), str(home))
    return settings


def _kept_folders(home: Path, before: Mapping[str, str]) -> dict[str, str]:
    """Downloads that were made once, and programs, neither of which is a setting."""
    caches = Path(before.get("XDG_CACHE_HOME") or home / ".cache")
    if os.name == "nt":
        local = Path(before.get("LOCALAPPDATA") or home)
        places = {"PIP_CACHE_DIR": local / "pip/cache", "UV_CACHE_DIR": local / "uv/cache"}
    else:
        mac = sys.platform == "darwin"
        pip = home / "Library/Caches/pip" if mac else caches / "pip"
        places = {"PIP_CACHE_DIR": pip, "UV_CACHE_DIR": caches / "uv"}
    own = ROOT / ".cache"
    found = {
        name: place if place.is_dir() and os.access(place, os.W_OK) else own / name.lower()[:-10]
        for name, place in places.items()
    }
    npm = {"npm_config_userconfig": home / ".npmrc", "npm_config_cache": home / ".npm"}
    found |= {name: place for name, place in npm.items() if place.exists()}
    pyenv = Path(before.get("PYENV_ROOT") or home / ".pyenv")
    if pyenv.is_dir():  # its programs on PATH look for the Pythons there
        found["PYENV_ROOT"] = pyenv
    return {name: str(place) for name, place in found.items()}


# --- the way to the registry


def _pip_settings(before: Mapping[str, str]) -> dict[str, str]:
    """What pip's files and variables set, by option: `index-url`, `cert`, ..."""
    plain = {name: value for name, value in before.items() if not _is_personal(name)}
    home = {name: before[name] for name in ("HOME", "USERPROFILE", "APPDATA") if name in before}
    files = {k: v for k, v in before.items() if k == "PIP_CONFIG_FILE" or k.startswith("XDG_CONF")}
    done = subprocess.run(
        [sys.executable, "-I", "-m", "pip", "config", "list"],
        env={**plain, **home, **files},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    found = {}
    for section in ("global", "install"):  # the latter has the last word
        for option, value in re.findall(rf"^{section}\.([\w-]+)=(.+)$", done.stdout, re.MULTILINE):
            found[option] = str(ast.literal_eval(value))
    variables = {k[4:].lower().replace("_", "-"): v for k, v in before.items() if k[:4] == "PIP_"}
    return {**found, **variables}


def _way_to_the_registry(before: Mapping[str, str], pip: Mapping[str, str]) -> dict[str, str]:
    """The fewest settings of the machine with which the registry answers."""
    certificates = _certificates(before, pip)
    for way in (certificates, {}) if certificates else ({},):
        if _answers(way):
            return way
    return {**certificates, **_mirror(before, pip)}


def _certificates(before: Mapping[str, str], pip: Mapping[str, str]) -> dict[str, str]:
    """The machine's own certificate authorities, for every tool: they change no result."""
    named = {"PIP_CERT": pip.get("cert", "")}
    named |= {name: before[name] for name in CERTIFICATES[1:] if name in before}
    found = {name: file for name, file in named.items() if _is_certificate(file)}
    if found:
        one = next(iter(found.values()))
        found = dict.fromkeys(CERTIFICATES[:3], one) | found
    if Path(before.get("SSL_CERT_DIR") or "?").is_dir():
        found["SSL_CERT_DIR"] = before["SSL_CERT_DIR"]
    return found | {
        name: before[name] for name in SYSTEM_STORE if before.get(name) in ("1", "true")
    }


def _is_certificate(file: str) -> bool:
    try:
        ssl.create_default_context(cafile=file or "?")
    except OSError:  # which SSLError is, too
        return False
    return True


def _mirror(before: Mapping[str, str], pip: Mapping[str, str]) -> dict[str, str]:
    """The mirror that pip or uv is set up for, for both, and what it takes to get there."""
    names = {
        "proxy": "PIP_PROXY",
        "trusted-host": "PIP_TRUSTED_HOST",
        "client-cert": "PIP_CLIENT_CERT",
    }
    found = {variable: pip[option] for option, variable in names.items() if pip.get(option)}
    of_uv = next((before[k] for k in ("UV_DEFAULT_INDEX", "UV_INDEX_URL") if before.get(k)), "")
    of_uv = of_uv or next(_indexes_of_uv_files(before), "")
    index = pip.get("index-url") or re.sub(r"^[\w.-]+=(?=\w+:)", "", of_uv)
    if index:
        found |= {"PIP_INDEX_URL": index, "UV_DEFAULT_INDEX": of_uv or index}
    if before.get("UV_INSECURE_HOST"):
        found["UV_INSECURE_HOST"] = before["UV_INSECURE_HOST"]
    netrc = Path(before.get("NETRC") or Path(before.get("HOME", "/"), ".netrc"))
    if netrc.is_file():  # the login
        found["NETRC"] = str(netrc)
    return found


def _indexes_of_uv_files(before: Mapping[str, str]) -> Iterator[str]:
    """The addresses that uv's own files have for PyPI."""
    config = Path(before.get("XDG_CONFIG_HOME") or Path(before.get("HOME", "/"), ".config"))
    for file in (config / "uv" / "uv.toml", Path("/etc/uv/uv.toml")):
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            yield from re.findall(r'^index-url\s*=\s*"(.+)"', text, re.MULTILINE)
            for table in text.split("[[index]]")[1:]:
                if re.search(r"^default\s*=\s*true", table, re.MULTILINE):
                    yield from re.findall(r'^url\s*=\s*"(.+)"', table, re.MULTILINE)


def _answers(way: Mapping[str, str]) -> bool:
    """Whether the registry itself, not a mirror of it, answers in time."""
    try:
        context = ssl.create_default_context(cafile=way.get("SSL_CERT_FILE"))
        request = urllib.request.Request(f"{simple_index()}/pip/", method="HEAD")
        with urllib.request.urlopen(request, timeout=5, context=context):
            return True
    except (ImportError, OSError):
        return False
