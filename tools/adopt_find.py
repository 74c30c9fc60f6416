"""What a repository says of its Python, manager and PyTorch, with the place where it says so."""

from __future__ import annotations

import configparser
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import InvalidRequirement, Requirement

from fleet_projects import RefusedError, without_secrets

if sys.version_info >= (3, 11):
    import tomllib
else:
    try:
        import tomli as tomllib
    except ModuleNotFoundError:
        from pip._vendor import tomli as tomllib  # a Python without it has no pip either

FAMILY = ("torch", "torchvision", "torchaudio", "torchcodec")
PLATFORM = r"cpu|cu\d{2,3}|rocm\d[\d.]*\d|xpu"
INDEX = re.compile(rf"(https?://[^\s\"'#]+?)/(?:nightly/)?({PLATFORM})(?=[/\s\"'#,)]|$)")
SUFFIX = re.compile(
    rf"(?<![\w.-])(?:{'|'.join(FAMILY)})[\s\"'=~^{{a-z-]*\d[\w.]*(?:\+|%2B)({PLATFORM})\b"
)
REQUIREMENTS = ("requirements*.txt", "*requirements.txt", "requirements/*.txt")
CONDA = ("environment*.yml", "environment*.yaml", "conda.yml", "conda.yaml")
NO_PACKAGES = {"test", "tests", "docs", "doc", "scripts", "examples", "notebooks", "tools", "build"}
COMMENT = re.compile(r"^[ \t]*#.*$|[ \t]#.*$", re.MULTILINE)


@dataclass(frozen=True)
class Fact:
    """Something that is so, and where it says so."""

    value: str
    where: str


@dataclass(frozen=True)
class Pin:
    """What a file asks for of torch or a companion: `==2.6.0+cu124`, or nothing."""

    name: str
    asks: str
    where: str


@dataclass
class Found:
    """All that was found."""

    pyproject: dict[str, Any] = field(default_factory=dict)
    manager: Fact | None = None
    python: Fact | None = None
    requires_python: Fact | None = None
    platforms: list[Fact] = field(default_factory=list)
    bases: list[Fact] = field(default_factory=list)
    pins: list[Pin] = field(default_factory=list)
    locked: Fact | None = None  # the torch of a lock file
    name: Fact | None = None
    package: Fact | None = None  # the one of the repository's name, else the first
    packages: list[str] = field(default_factory=list)  # all folders: `src/name` or `name`
    conda: str = ""
    conda_pip: list[str] = field(default_factory=list)  # what pip brings there
    requirements: dict[str, list[str]] = field(default_factory=dict)  # the lines, by file


def read(path: Path) -> str:
    """The text of a file; empty if there is none.

    Raises:
        RefusedError: if it is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig") if path.is_file() else ""
    except (OSError, ValueError) as error:
        raise RefusedError(
            f"{path.name} cannot be read ({error}): save it as UTF-8, and commit."
        ) from None


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML file; a ValueError says what is wrong with it."""
    return dict(tomllib.loads(text))


def line_of(text: str, part: str) -> int:
    """The number of the line that has a part of the text; the first one if none has."""
    place = text.find(part)
    return text.count("\n", 0, max(place, 0)) + 1


def look(top: Path) -> Found:
    """Read a repository.

    Raises:
        RefusedError: if a file is damaged.
    """
    found = Found()
    text = read(top / "pyproject.toml")
    try:
        found.pyproject = parse_toml(text)
    except ValueError as error:
        raise RefusedError(f"pyproject.toml is no TOML ({error}): mend it, and commit.") from None
    of_pyproject(found, text)
    for name in ("setup.py", "setup.cfg"):
        of_setup(found, name, read(top / name))
    for file in matching(top, REQUIREMENTS):
        of_requirements(found, file.relative_to(top).as_posix(), read(file))
    for file in matching(top, CONDA):
        of_conda(found, file.name, read(file))
    of_locks(found, top)
    found.manager = manager(found, top)
    found.python = python_file(top) or found.python
    found.package = package(found, top)
    return found


def matching(top: Path, patterns: Iterable[str]) -> list[Path]:
    """The files of these names, each once."""
    return list(dict.fromkeys(path for pattern in patterns for path in sorted(top.glob(pattern))))


def evidence(found: Found, file: str, text: str) -> None:
    """The compute platforms that a text names: by an index, or by a version's suffix."""
    text = COMMENT.sub(lambda match: " " * len(match[0]), text)
    for match in INDEX.finditer(text):
        if "whl" not in match[1] and "torch" not in match[1]:
            continue
        where = f"{file}:{text.count(chr(10), 0, match.start()) + 1}"
        found.platforms.append(Fact(match[2], f"the index {without_secrets(match[0])} in {where}"))
        found.bases.append(Fact(without_secrets(match[1]), where))
    for match in SUFFIX.finditer(text):
        where = f"{file}:{text.count(chr(10), 0, match.start()) + 1}"
        found.platforms.append(Fact(match[1], f"{' '.join(match[0].split())} in {where}"))


def requirement(line: str) -> Requirement | None:
    """A line as a requirement; None if it is something else."""
    try:
        return Requirement(line.strip())
    except InvalidRequirement:
        return None


def add_pin(found: Found, line: str, where: str) -> None:
    """Note what a requirement asks for of torch and its companions."""
    one = requirement(line)
    name = one.name.lower() if one else ""
    if one and name in FAMILY:
        found.pins.append(Pin(name, str(one.specifier) or (one.url or ""), where))


# --- The files --------------------------------------------------------------------------------


def requirement_lists(data: dict[str, Any]) -> Iterator[str]:
    """All requirements of a pyproject.toml that are written as strings."""
    project = data.get("project", {})
    lists = [project.get("dependencies", []), *project.get("optional-dependencies", {}).values()]
    lists += data.get("dependency-groups", {}).values()
    lists.append(data.get("tool", {}).get("uv", {}).get("dev-dependencies", []))
    lists += data.get("tool", {}).get("pdm", {}).get("dev-dependencies", {}).values()
    yield from (entry for one in lists for entry in one if isinstance(entry, str))


def poetry_tables(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The dependencies that are written in Poetry's own words."""
    poetry = data.get("tool", {}).get("poetry", {})
    groups = poetry.get("group", {}).values()
    return [poetry.get("dependencies", {}), *(group.get("dependencies", {}) for group in groups)]


def of_pyproject(found: Found, text: str) -> None:
    """Name, Python and PyTorch of pyproject.toml."""
    data, file = found.pyproject, "pyproject.toml"
    project, poetry = data.get("project", {}), data.get("tool", {}).get("poetry", {})
    name = project.get("name") or poetry.get("name")
    if isinstance(name, str):
        found.name = Fact(name, file)
    requires = project.get("requires-python") or poetry.get("dependencies", {}).get("python")
    if isinstance(requires, str):
        where = f"{requires} in {file}:{line_of(text, requires)}"
        found.requires_python = Fact(pep440(requires), where)
    evidence(found, file, text)
    for line in requirement_lists(data):
        add_pin(found, line, f"{file}:{line_of(text, line)}")
    for table in poetry_tables(data):
        for name, entry in table.items():
            rows = entry if isinstance(entry, list) else [entry]
            for row in rows if name.lower() in FAMILY else []:
                version = row.get("version", "*") if isinstance(row, dict) else str(row)
                where = f"{file}:{line_of(text, version)}"
                found.pins.append(Pin(name.lower(), pep440(version), where))


def pep440(constraint: str) -> str:
    """A constraint of Poetry as a specifier: `^2.3.1` -> `>=2.3.1,<3`; others as they are."""
    parts = []
    for part in (one.strip() for one in constraint.split("||")[0].split(",")):
        numbers = re.fullmatch(r"([~^])?\s*(\d+)(?:\.(\d+))?(\S*)", part)
        if not numbers:
            parts += [part] if part not in ("*", "") else []
            continue
        version = part.lstrip("~^ ")
        minor = int(numbers[3] or 0)
        ends = {"^": f"<{int(numbers[2]) + 1}", "~": f"<{numbers[2]}.{minor + 1}"}
        if numbers[1]:
            parts += [f">={version}", ends[numbers[1]]]
        else:
            parts.append(f"=={version}")
    return ",".join(parts)


def of_setup(found: Found, file: str, text: str) -> None:
    """Name and PyTorch of setup.py and setup.cfg, which are read and not run."""
    evidence(found, file, text)
    form = (
        r"\bname\s*=\s*[\"']([\w.-]+)[\"']" if file == "setup.py" else r"^name\s*=\s*([\w.-]+)\s*$"
    )
    named = re.search(form, text, re.MULTILINE)
    requires = re.search(r"python_requires\s*=\s*[\"']?([<>=!~\d., *]+)", text)
    if named and not found.name:
        found.name = Fact(named[1], file)
    if requires and not found.requires_python:
        where = f"{requires[1].strip()} in {file}:{line_of(text, requires[0])}"
        found.requires_python = Fact(requires[1].strip(" ,"), where)
    if file == "setup.cfg":
        config = configparser.RawConfigParser(strict=False)
        try:
            config.read_string(text)
        except configparser.Error:
            return
        lines = config.get("options", "install_requires", fallback="").splitlines()
    else:
        lines = [match[2] for match in re.finditer(r"([\"'])(torch[^\"'\n]*)\1", text)]
    for line in lines:
        add_pin(found, line, f"{file}:{line_of(text, line)}")


def of_requirements(found: Found, file: str, text: str) -> None:
    """The lines of a requirements file."""
    evidence(found, file, text)
    lines = COMMENT.sub("", text.replace("\\\n", " ")).splitlines()
    found.requirements[file] = [line.strip() for line in lines if line.strip()]
    for line in found.requirements[file]:
        add_pin(found, re.split(r"\s--", line)[0], f"{file}:{line_of(text, line)}")


def of_conda(found: Found, file: str, text: str) -> None:
    """The packages of an environment of conda, and those that pip brings there."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RefusedError(f"{file} is no YAML ({error}): mend it, and commit.") from None
    found.conda = file
    evidence(found, file, text)
    for entry in data.get("dependencies") or [] if isinstance(data, dict) else []:
        if isinstance(entry, dict):
            for line in entry.get("pip") or []:
                add_pin(found, str(line), f"{file}:{line_of(text, str(line))}")
                found.conda_pip.append(str(line))
            continue
        where = f"{file}:{line_of(text, str(entry))}"
        words = re.match(r"(?:[\w-]+::)?([\w-]+)\s*(?:([=<>!~]+)\s*([\w.*]+))?", str(entry))
        if words:
            conda_package(found, words[1], words[2] or "", words[3] or "", where)


def conda_package(found: Found, name: str, sign: str, version: str, where: str) -> None:
    """A package of conda's own; `=2.6` is any of that series there."""
    what = f"{name}{sign}{version} in {where}"
    if name in ("pytorch-cuda", "cudatoolkit", "cuda-version"):
        digits = "".join(version.split(".")[:2])
        found.platforms += [Fact(f"cu{digits}", what)] if digits else []
    elif name in ("cpuonly", "pytorch-cpu"):
        found.platforms.append(Fact("cpu", what))
    elif name == "python" and sign in ("=", "=="):
        found.python = Fact(".".join(version.split(".")[:2]), what)
    elif name == "python" and sign:
        found.requires_python = found.requires_python or Fact(f"{sign}{version}", what)
    if name in ("pytorch", *FAMILY):
        asks = f"{'==' if sign == '=' else sign}{version}"
        asks += ".*" if sign == "=" and version.count(".") == 1 else ""
        found.pins.append(Pin("torch" if name == "pytorch" else name, asks, where))


def of_locks(found: Found, top: Path) -> None:
    """The torch that a lock file has."""
    for file in ("uv.lock", "poetry.lock", "pdm.lock"):
        text = read(top / file)
        match = re.search(r'^name = "torch"\nversion = "([^"]+)"', text, re.MULTILINE)
        if match:
            found.locked = Fact(match[1], f"{file}:{line_of(text, match[0])}")
            suffix = re.search(rf"\+({PLATFORM})$", match[1])
            if suffix:
                found.platforms.append(Fact(suffix[1], f"torch {match[1]} in {file}"))


def python_file(top: Path) -> Fact | None:
    """The Python of .python-version."""
    match = re.match(r"(?:cpython-?)?(3\.\d+)", read(top / ".python-version").strip())
    return Fact(match[1], ".python-version") if match else None


def manager(found: Found, top: Path) -> Fact | None:
    """The package manager, by its lock file, its tables, or what it reads."""
    tool = found.pyproject.get("tool", {})
    backend = str(found.pyproject.get("build-system", {}).get("build-backend", ""))
    for name, lock in (("uv", "uv.lock"), ("poetry", "poetry.lock")):
        if (top / lock).is_file():
            return Fact(name, lock)
        if name in tool or backend.startswith(f"{name}."):
            return Fact(name, f"[tool.{name}] in pyproject.toml")
    others = {"pdm": "PDM", "hatch": "Hatch", "pixi": "Pixi", "rye": "Rye"}
    for name, label in others.items():
        if name in tool or backend.startswith((name, f"{name}ling")):
            return Fact("pip", f"pyproject.toml is for {label}, and pip installs it as it is")
    for file in ("setup.py", "setup.cfg", "pyproject.toml", *found.requirements):
        if (top / file).is_file():
            return Fact("pip", file)
    return Fact("pip", found.conda) if found.conda else None


def package(found: Found, top: Path) -> Fact | None:
    """The folder of the package: below src/, else the one at the top; that of the name first."""
    for parent in (top / "src", top):
        names = sorted(path.parent.name for path in parent.glob("*/__init__.py"))
        names = [name for name in names if name not in NO_PACKAGES]
        wanted = re.sub(r"[-_.]+", "_", found.name.value).lower() if found.name else ""
        best = next((name for name in names if name.lower() == wanted), None)
        if names:
            name = best or names[0]
            begin = "" if parent == top else "src/"
            found.packages = [f"{begin}{one}" for one in names]
            return Fact(name, f"{begin}{name}")
    return None
