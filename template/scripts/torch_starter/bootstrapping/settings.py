"""Settings of this machine, not of the project, that decide what a manager may install."""

from __future__ import annotations

import configparser
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.request import url2pathname

from surroundings.versions import canonical, numbers

from .places import ROOT, VENV, WINDOWS, StopError
from .system import satisfies


class Setting(NamedTuple):
    """A setting, its value, and where it stands: a file, or the environment."""

    name: str
    value: str
    where: str

    def __str__(self) -> str:
        value = re.sub(r"//[^/@\s]+@", "//...@", self.value)  # a password is nobody's business
        return f"{self.name} = {value} (in {self.where})"


# What can keep a version from being seen or taken, by manager; in variables with the prefix.
HOLDS = {
    "pip": "constraint no-index index-url only-binary no-binary uploaded-prior-to require-hashes "
    "prefer-binary platform python-version target prefix root python requirement editable group "
    "build-constraint only-final abi implementation no-build-isolation ignore-requires-python "
    "require-virtualenv use-deprecated use-feature",
    "uv": "constraint override exclude exclude-newer exclude-newer-package no-index index-url "
    "default-index index extra-index-url index-strategy only-binary no-binary no-binary-package "
    "no-build no-build-package no-build-isolation offline resolution prerelease require-hashes "
    "constraint-dependencies override-dependencies exclude-dependencies build-constraint "
    "build-constraint-dependencies fork-strategy environments required-environments "
    "required-version dependency-metadata python-preference",
    "poetry": "installer-only-binary installer-no-binary solver-min-release-age",
}


# What sends packages elsewhere or leaves some out, and no variable overrules it in a file.
ASTRAY = {"pip": "target prefix root python", "uv": "target prefix no-deps exclude-dependencies"}


def pip_files(env: Mapping[str, str]) -> Iterator[Path]:
    """pip's configuration files, the strongest last; none if PIP_CONFIG_FILE is the null device."""
    named = env.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return
    home = Path(env.get("HOME") or env.get("USERPROFILE") or os.devnull)
    if sys.platform == "win32":
        name = "pip.ini"
        yield Path(env.get("PROGRAMDATA", r"C:\ProgramData"), "pip", name)
        yield from (home / "pip" / name, Path(env.get("APPDATA", home), "pip", name))
    else:
        name = "pip.conf"
        folders = env.get("XDG_CONFIG_DIRS") or "/etc/xdg"
        if sys.platform == "darwin":
            folders = "/Library/Application Support"
        yield from (Path(folder, "pip", name) for folder in folders.split(os.pathsep))
        yield Path("/etc", name)
        own = Path(env.get("XDG_CONFIG_HOME") or home / ".config", "pip", name)
        if sys.platform == "darwin" and (home / "Library/Application Support/pip").is_dir():
            own = home / "Library/Application Support/pip" / name
        yield from (home / ".pip" / name, own)
    yield VENV / name
    if named:
        yield Path(named)


def pip_settings(env: Mapping[str, str]) -> Iterator[Setting]:
    """What pip's files and variables say of an installation, the strongest last."""
    for file in pip_files(env):
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (OSError, configparser.Error, ValueError):
            continue  # of which pip itself complains
        for section in ("global", "install"):
            for name, value in parser.items(section) if parser.has_section(section) else ():
                yield Setting(name.replace("_", "-"), " ".join(value.split()), str(file))
    yield from variables("PIP_", env)


def variables(prefix: str, env: Mapping[str, str]) -> Iterator[Setting]:
    """The variables of a manager."""
    for name, value in env.items():
        if name.upper().startswith(prefix) and value:
            yield Setting(name, value, "the environment")


def pip_setting(name: str, env: Mapping[str, str]) -> str:
    """The value of one of pip's settings; empty if it has none."""
    names = (name, f"PIP_{name.replace('-', '_').upper()}")
    return next((one.value for one in reversed([*pip_settings(env)]) if one.name in names), "")


def uv_files(env: Mapping[str, str]) -> list[Path]:
    """uv's configuration files outside of the project."""
    if env.get("UV_NO_CONFIG", "0").lower() not in ("", "0", "false"):
        return []
    if env.get("UV_CONFIG_FILE"):
        return [Path(env["UV_CONFIG_FILE"])]
    if WINDOWS:
        names = ("PROGRAMDATA", "APPDATA")
        return [Path(env[name], "uv", "uv.toml") for name in names if env.get(name)]
    home = Path(env.get("HOME") or os.devnull)
    folders = (env.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    folders += ["/etc", env.get("XDG_CONFIG_HOME") or str(home / ".config")]
    return [*(Path(folder, "uv", "uv.toml") for folder in folders), ROOT / "uv.toml"]


def uv_settings(env: Mapping[str, str]) -> Iterator[Setting]:
    """What uv's files and variables say."""
    for file in uv_files(env):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        # A line, or a list over several; a table such as [[index]] counts by its url.
        for name, value in re.findall(r"^([\w-]+)\s*=\s*(\[[^\]]*\]|.*)", text, re.MULTILINE):
            yield Setting("index" if name == "url" else name, " ".join(value.split()), str(file))
    yield from variables("UV_", env)


def poetry_folder(env: Mapping[str, str]) -> Path:
    """Where Poetry keeps its own settings, and its passwords."""
    if env.get("POETRY_CONFIG_DIR"):
        return Path(env["POETRY_CONFIG_DIR"])
    if WINDOWS:
        return Path(env.get("APPDATA") or os.devnull, "pypoetry")
    home = Path(env.get("HOME") or os.devnull)
    if sys.platform == "darwin":
        return home / "Library/Application Support/pypoetry"
    return Path(env.get("XDG_CONFIG_HOME") or home / ".config", "pypoetry")


def kept_passwords(manager: str, env: Mapping[str, str]) -> Path | None:
    """Where a manager itself keeps passwords: `uv auth login`, `poetry config http-basic`."""
    if manager == "poetry":
        return poetry_folder(env) / "auth.toml"
    if manager == "uv":
        data = env.get("XDG_DATA_HOME") or Path(env.get("HOME") or os.devnull, ".local/share")
        folder = env.get("UV_CREDENTIALS_DIR") or Path(data, "uv", "credentials")
        return Path(folder, "credentials.toml")
    return None


def poetry_settings(env: Mapping[str, str]) -> Iterator[Setting]:
    """What Poetry's own file and variables say."""
    for file in (poetry_folder(env) / "config.toml", ROOT / "poetry.toml"):
        table = ""
        for line in lines_of(file):
            if head := re.fullmatch(r"\s*\[([\w.-]+)\]\s*", line):
                table = f"{head[1]}."
            elif row := re.match(r"\s*([\w-]+)\s*=\s*(.*)", line):
                yield Setting(table + row[1], row[2].strip(), str(file))
    yield from variables("POETRY_", env)


READERS: dict[str, Callable[[Mapping[str, str]], Iterator[Setting]]] = {
    "pip": pip_settings,
    "uv": uv_settings,
    "poetry": poetry_settings,
}


def holding_back(manager: str, env: Mapping[str, str]) -> list[Setting]:
    """The settings of this machine that can keep a manager from what the project asks for."""
    prefix, holds = f"{manager.upper()}_", HOLDS[manager].split()

    def key(setting: Setting) -> str:
        return re.sub(r"[_.]", "-", setting.name.removeprefix(prefix).lower())

    return [one for one in READERS[manager](env) if key(one) in holds]


def refuse_astray(manager: str, env: Mapping[str, str]) -> None:
    """Stop where pip, or `uv pip`, is told by a file not to fill .venv."""
    names = ASTRAY.get(manager, "").split()
    for one in READERS[manager](env):
        if one.name in names and one.value.lower() not in ("", "false", "0", "no", "off", "[]"):
            what = f"{manager} is told to install less, or elsewhere: {one}."
            raise StopError(2, what, f"Take that out of {one.where}, then run this again.")


def excluded(setting: Setting, packages: Mapping[str, str]) -> str:
    """The line of a file of constraints that excludes one of these exact versions; "" for none."""
    if "constraint" not in setting.name.lower() or "build" in setting.name.lower():
        return ""
    names = re.findall(r"[\"']([^\"']+)[\"']", setting.value) or setting.value.split()
    if (ROOT / setting.value).is_file():  # though there is a blank in its name
        names = [setting.value]
    for word in names:
        lines = [word] if re.search(r"[<>=!~]=?", word) else constraints_in(word)
        if line := excluding(lines, packages):
            return line
    return ""


def lines_of(file: Path) -> list[str]:
    """The lines of a file, of several that a backslash joins one; none if it cannot be read."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return []
    return text.replace("\\\n", " ").splitlines()


def constraints_in(place: str, depth: int = 5) -> Iterator[str]:
    """The lines of a file of constraints and of those that it names; nothing of one on a server."""
    file = url2pathname(place[len("file:") :].removeprefix("//")) if place[:5] == "file:" else place
    for line in lines_of(ROOT / file):
        named = re.match(r"\s*(?:-c|-r|--constraints?|--requirements?)[\s=]+(\S+)", line)
        if named and depth:
            yield from constraints_in(str((ROOT / file).parent / named[1]), depth - 1)
        else:
            yield line


def excluding(lines: Iterable[str], packages: Mapping[str, str]) -> str:
    """The first of these constraints that one of the versions does not satisfy for sure."""
    for line in lines:
        parts = re.match(r"\s*([\w.-]+)(?:\[[^]]*\])?\s*([=<>!~][^;#]*)(;?)", line)
        version = packages.get(canonical(parts[1])) if parts else None
        if not parts or version is None or parts[3]:  # it may not be for this machine
            continue
        clause, local = parts[2].split(" --")[0].strip(), version.partition("+")[2]
        try:
            plain = re.sub(r"\+[\w.]+", "", clause.replace("===", "=="))
            fits = satisfies(numbers(version.partition("+")[0]), plain)
        except (ValueError, StopError):  # more than plain numbers
            continue
        other = re.search(r"==\s*[\d.]+\+([\w.]+)", clause)
        if not fits or (other and other[1] != local):
            return line.strip()
    return ""


def without(setting: Setting) -> str:
    """How to go on without a setting; empty where it may be the only way to packages."""
    words = re.split("[-_]", setting.name.lower())
    if "index" in words and "no" not in words:
        return ""
    if setting.where == "the environment":
        return f"  {'set' if WINDOWS else 'unset'} {setting.name}{'=' if WINDOWS else ''}"
    if setting.name == "constraint":  # a stronger one, of nothing
        return f"  {'set' if WINDOWS else 'export'} PIP_CONSTRAINT={os.devnull}"
    return f"  (take it out of {setting.where})"


def settings_advice(
    manager: str, env: Mapping[str, str], packages: Mapping[str, str]
) -> tuple[str, str] | None:
    """What to say where settings of the machine can be why a manager fails; None if there are none.

    `packages`: the exact versions that it was to install.
    """
    found = holding_back(manager, env)
    sure = [(one, line) for one in found if (line := excluded(one, packages))]
    if sure:
        setting, line = sure[0]
        what = f"A setting of this machine forbids what the project asks for: {line}, by {setting}"
        found = [setting]
    elif found:
        what = ""
    else:
        return None
    lines = [] if sure else ["These settings of this machine can be the reason:"]
    for one in found:
        lines += [] if sure else [f"  {one}"]
        lines += [away] if (away := without(one)) else []
    if sure:
        lines.insert(0, "To go on without it, type this, then run this again:")
    return what, "\n".join(lines)
