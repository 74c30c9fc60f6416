"""What scripts/torch_builds.json asks for, and what a machine without a network lacks of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .places import (
    BUILDS,
    ROOT,
    SHIM,
    VENV,
    WINDOWS,
    StopError,
    display,
    update_command,
    venv_python,
)
from .system import Python, locale_encoding, satisfies

# What a manager must be, and the key in pyproject.toml that may narrow it.
MANAGERS = {"uv": (">=0.8", "required-version"), "poetry": (">=2.2,<3", "requires-poetry")}

FALLBACK = "pypi"  # the build that needs no index but the usual one

# What torch_builds.json says of a build on a platform, as far as it is read here.
ROW = {"packages", "accelerator", "toolkit", "minimum_driver", "gpu_architectures", "ptx"}


class Project(NamedTuple):
    """What scripts/torch_builds.json says about this project."""

    manager: str
    python: str
    requires_python: str
    compute_platform: str
    builds: dict[str, Any]
    alternatives: dict[str, Any]
    pythons: tuple[str, ...] = ()  # for which the template would give it the same torch
    machine_build: str = ""  # what .venv is for, where it is not the project's own build
    fallback: str = ""  # why PyPI's wheels stand in for the build that was asked for

    @property
    def build(self) -> dict[str, Any]:
        """What .venv is to get."""
        return dict(self.builds[self.machine_build or self.compute_platform])

    @property
    def lock(self) -> Path:
        """The file that pins the packages."""
        pins = f"requirements/torch-{self.compute_platform}.txt"
        return ROOT / (pins if self.manager == "pip" else f"{self.manager}.lock")

    @property
    def installer(self) -> str:
        """What fills .venv: Poetry knows no build but the project's own."""
        return "pip" if self.manager == "poetry" and self.machine_build else self.manager

    def other_than(self, made_for: str) -> str:
        """Why a .venv that was made for a machine build, or for none (""), does not do."""
        if made_for == self.machine_build:
            return ""
        if not self.machine_build:
            return f"it was made for {made_for}, the project's own is {self.compute_platform}"
        return f"it was made for {made_for or self.compute_platform}"

    def fingerprint(self, python: Python) -> str:
        """A hash of everything that .venv is made from."""
        digest = hashlib.sha256(repr((python.version, python.base_prefix)).encode())
        digest.update(self.machine_build.encode())
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
    todo = "Restore it: git checkout HEAD -- scripts/torch_builds.json"
    try:
        data = json.loads(BUILDS.read_text(encoding="utf-8"))
        name = data["compute_platform"]
        answers = [data[key] for key in ("package_manager", "python", "requires_python")]
        builds, alternatives = data["builds"], data["alternatives"]
        pythons = tuple(data.get("pythons", ()))
        project = Project(answers[0], answers[1], answers[2], name, builds, alternatives, pythons)
        if data["schema"] != 1 or project.manager not in ("uv", "poetry", "pip"):
            raise ValueError("unknown schema or package_manager")
        for other, build in builds.items():
            if not {"label", "release", "index_url", "platforms"} <= build.keys():
                raise ValueError(f"the build {other} is incomplete")
            if any(not wheels.keys() >= ROW for wheels in build["platforms"].values()):
                raise ValueError(f"a platform of the build {other} is incomplete")
        if name not in builds:
            raise ValueError(f"there is no build {name}")
    except FileNotFoundError:
        raise StopError(2, f"{BUILDS} is missing.", todo) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StopError(2, f"{BUILDS} cannot be used: {error!r}.", todo) from None
    return project


def check_system(project: Project, platform: str) -> None:
    """Stop where this project can have no .venv."""
    if not WINDOWS and ":" in str(ROOT):
        raise StopError(
            4, f"No .venv can be in {ROOT}: the path has a colon.", "Rename the folder."
        )
    if not WINDOWS and not str(ROOT).isascii() and locale_encoding() != "UTF-8":
        what = f"No .venv works in {ROOT} with this locale: Python reads no UTF-8 in it."
        raise StopError(4, what, "Type: export LC_ALL=C.UTF-8\nThen run this again.")
    if platform in project.build["platforms"]:
        return
    have = ", ".join(project.build["platforms"])
    others = [k for k, other in project.alternatives.items() if platform in other["platforms"]]
    todo = "No other compute platform of this project has them: use another machine."
    if others:
        best = next((name for name in ("cpu", "pypi") if name in others), others[0])
        move = update_command(f"compute_platform={best}")
        todo = f"Here work {', '.join(others)}: {move}"
    alone = [k for k, build in project.builds.items() if platform in build["platforms"]]
    if alone and project.manager != "uv":  # whose lock file has nothing for this system
        name = "cpu" if "cpu" in alone else alone[0]
        todo += f"\nOr, for this machine alone: {SHIM} --compute-platform {name}"
    label = project.build["label"]
    raise StopError(2, f"{label} has PyTorch wheels for {have}, not for {platform}.", todo)


# --- No network: what the managers are told, what they then lack, how to fill a wheelhouse

# What pip, uv and uv's cache say of a package that they do not have.
LACKS = re.compile(
    r"No matching distribution found for ([^\s;(]+)|"
    r"The user requested \(constraint\) (\S+===\S+)|"  # as pins() writes it
    r"there (?:is|are) no versions? of ([\w.-]+)(?:\[[^]]*\])?(?:\{[^}]*\})?(==[^\s,]+)?|"
    r"Because ([\w.-]+) was not found|"
    r"Failed to (?:download|fetch|build)[^`]*`([^`]+)`\n.*connectivity is disabled"
)
DIFFERS = re.compile(r"Hash mismatch for `([^`]+)`|DO NOT MATCH THE HASHES[^\n]*\n\s*(\S+) from")


def offline_settings(environment: Mapping[str, str], wheelhouse: Path | None) -> dict[str, str]:
    """Variables that keep uv and pip from asking a network, whatever their settings say."""
    links = environment.get("PIP_FIND_LINKS", "").split()
    local = [link for link in links if "://" not in link or link.startswith("file:")]
    return {
        "UV_OFFLINE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "PIP_NO_INDEX": "1",  # which alone would still ask the pages of --find-links
        "PIP_FIND_LINKS": wheelhouse.as_uri() if wheelhouse else " ".join(local),
    }


def no_index(wheelhouse: Path | None) -> list[str]:
    """The options of pip and uv that leave them a folder of wheels, if one was named."""
    return ["--no-index", *(["--find-links", str(wheelhouse)] if wheelhouse else [])]


def pins(project: Project, lines: Iterable[str]) -> list[str]:
    """Requirements without their links to an index, and those of torch for exactly that build.

    `torch==2.14.1` would also let 2.14.1+cpu in, which a folder of wheels may hold.
    """
    platforms = project.build["platforms"].values()
    names = "|".join({name for wheels in platforms for name in wheels["packages"]})
    exactly = re.compile(rf"^((?:{names})\s*)==(?=\s*[^=*;\s]+\s*(?:;|$))")
    return [exactly.sub(r"\1===", line) for line in lines if not line.lstrip().startswith("-")]


def named_wheelhouse(name: str) -> Path:
    """The folder of --wheelhouse; Stop if it has no wheels."""
    folder = Path(name).absolute()
    if not any(folder.glob("*.whl")):
        lack = "has no wheels (*.whl)" if folder.is_dir() else "is not a folder"
        raise StopError(2, f"--wheelhouse {name} {lack}.", "Name the folder that has them.")
    return folder


def what_it_lacks(
    project: Project, wheelhouse: Path | None, title: str, text: str
) -> tuple[str, str] | None:
    """What to say where a manager did not find a package; None if that is not it."""
    lacks, differs = LACKS.search(text), DIFFERS.search(text)
    place = f"The wheelhouse {wheelhouse}" if wheelhouse else f"The cache of {project.manager}"
    if not wheelhouse and project.manager == "pip":
        place = "pip takes nothing from its cache without a network, and this machine"
    if differs:
        package = differs[1] or differs[2]
        lock = project.lock.name
        what = f"{place} has another {package} than {lock}: its hash differs"
    elif lacks:
        package = "".join(part for part in lacks.groups() if part).replace("===", "==")
        what = f"{place} lacks {package}"
        name = re.split(r"[^\w.-]", package)[0]
        others = versions(wheelhouse, name) if wheelhouse else []
        what += f" (it has {name} {', '.join(others)})" if others else ""
    else:
        return None
    steps = "\n".join(f"  {line}" for line in fill_commands(project))
    todo = f"Fill a wheelhouse on such a machine with a network, in this project:\n{steps}\n"
    return f"{what}: {title} failed.", f"{todo}Then run this again with --wheelhouse wheelhouse."


def versions(folder: Path, package: str) -> list[str]:
    """The versions of a package that a folder has wheels of, as their file names say."""
    names = [wheel.name.split("-") for wheel in folder.glob("*.whl")]
    return sorted({parts[1] for parts in names if normal(parts[0]) == normal(package)})


def normal(name: str) -> str:
    """A package's name in the one spelling that PEP 503 compares."""
    return re.sub(r"[-_.]+", "-", name).lower()


def fill_commands(project: Project) -> list[str]:
    """What fills a wheelhouse, on a machine of this kind that has a network.

    Except for uv's own build, whose lock file says enough, the bootstrap has run there.
    """
    into, own = ["download", "--dest", "wheelhouse"], not project.machine_build
    python = str(Path(venv_python(VENV)).relative_to(ROOT))
    uv = project.manager == "uv"  # which puts no pip into .venv
    pip = ["uvx", "--python", project.python, "pip"] if uv else [python, "-m", "pip"]
    if project.manager == "pip" and own:
        pins = project.lock.relative_to(ROOT).as_posix()
        more = ["--group", "dev", ".", "pip>=25.1", *build_requirements()]
        return [display([*pip, *into, "-c", pins, *more])]
    freeze = [*(["uv", "pip"] if uv else pip), "freeze", "--exclude-editable"]
    locked = f"{display(freeze + ([] if uv else ['--all', '--exclude', 'pip']))} > locked.txt"
    if uv and own:
        export = ["uv", "export", "--frozen", "--no-emit-project", "--quiet"]
        locked = "" if project.lock.exists() else "uv lock && "
        locked += display([*export, "--output-file", "locked.txt"])
    exactly = [*pip, *into, "--no-deps", "-r", "locked.txt", *torch_pages(project)]
    specifier = MANAGERS.get(project.manager, (">=25.1", ""))[0]
    tools = [*pip, *into, project.manager + specifier, *build_requirements()]
    return [locked, display(exactly), display(tools)]


def torch_pages(project: Project) -> list[str]:
    """Options of pip for some pages of the build's index: it has old copies of other packages."""
    url, platforms = project.build["index_url"], project.build["platforms"].values()
    names = dict.fromkeys(name for wheels in platforms for name in wheels["packages"])
    extra = [name for name in project.build["extra_packages"] if not name.startswith("nvidia-")]
    pages = [*names, *extra] if url else []  # NVIDIA's own packages are on PyPI
    return [word for page in pages for word in ("--find-links", f"{url}/{page}/")]


def build_requirements() -> list[str]:
    """What pyproject.toml asks for to build the project itself."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = re.search(r"^\[build-system\]$(.*?)^(?:\[|\Z)", text, re.MULTILINE | re.DOTALL)
    listed = re.search(r"^requires\s*=\s*\[([^\]]*)\]", table[1] if table else "", re.MULTILINE)
    found = re.findall(r"[\"']([^\"']+)[\"']", listed[1]) if listed else []
    # What hatchling asks for as soon as the project is to be installed editable.
    return found + ["editables~=0.3"] * any(one.startswith("hatchling") for one in found)
