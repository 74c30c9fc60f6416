"""No network: what the managers are told, what they then lack, how to fill a wheelhouse."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from surroundings.versions import canonical

from .downloads import named, spoilt
from .places import ROOT, VENV, StopError, display, read, venv_python
from .project import MANAGERS, Project, extra_packages

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
        locked = project.pylock_name(project.wanted)
        lock = locked if project.wanted in project.locked else project.lock.name
        what = f"{place} has another {package} than {lock}: its hash differs"
    elif lacks:
        package = "".join(part for part in lacks.groups() if part).replace("===", "==")
        what = f"{place} lacks {package}"
        name = re.split(r"[^\w.-]", package)[0]
        others = versions(wheelhouse, name) if wheelhouse else []
        what += f" (it has {name} {', '.join(others)})" if others else ""
    elif spoilt(text.splitlines()):
        what = f"{place} has a spoilt file, {named(text.splitlines())}"
    else:
        return None
    steps = "\n".join(f"  {line}" for line in fill_commands(project))
    todo = f"Fill a wheelhouse on such a machine with a network, in this project:\n{steps}\n"
    return f"{what}: {title} failed.", f"{todo}Then run this again with --wheelhouse wheelhouse."


def versions(folder: Path, package: str) -> list[str]:
    """The versions of a package that a folder has wheels of, as their file names say."""
    names = [wheel.name.split("-") for wheel in folder.glob("*.whl")]
    return sorted({parts[1] for parts in names if canonical(parts[0]) == canonical(package)})


def fill_commands(project: Project) -> list[str]:
    """What fills a wheelhouse, on a machine of this kind that has a network.

    Except for uv's own build, whose lock file says enough, the bootstrap has run there.
    """
    into, own = ["download", "--dest", "wheelhouse"], not project.machine_build
    python = str(Path(venv_python(VENV)).relative_to(ROOT))
    uv = project.manager == "uv"  # which puts no pip into .venv
    pip = ["uvx", "--python", project.python, "pip"] if uv else [python, "-m", "pip"]
    if project.manager == "pip" and own and project.wanted not in project.locked:
        pins = project.lock.relative_to(ROOT).as_posix()
        group = ["--group", "dev"] if project.dev else []
        more = [*group, ".", "pip>=25.1", *build_requirements()]
        return [display([*pip, *into, "-c", pins, *more])]
    freeze = [*(["uv", "pip"] if uv else pip), "freeze", "--exclude-editable"]
    locked = f"{display(freeze + ([] if uv else ['--all', '--exclude', 'pip']))} > locked.txt"
    if uv and own:
        # With hashes, pip wants one for each package, and not every index has them; those that
        # uv.lock has are compared when uv installs.
        export = ["uv", "export", "--frozen", "--no-emit-project", "--no-hashes", "--quiet"]
        export += project.without
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
    pages = [*names, *extra_packages(project.build)] if url else []
    return [word for page in pages for word in ("--find-links", f"{url}/{page}/")]


def build_requirements() -> list[str]:
    """What pyproject.toml asks for to build the project itself."""
    text = read(ROOT / "pyproject.toml")
    table = re.search(r"^\[build-system\]$(.*?)^(?:\[|\Z)", text, re.MULTILINE | re.DOTALL)
    listed = re.search(r"^requires\s*=\s*\[([^\]]*)\]", table[1] if table else "", re.MULTILINE)
    found = re.findall(r"[\"']([^\"']+)[\"']", listed[1]) if listed else []
    # What hatchling asks for as soon as the project is to be installed editable.
    return found + ["editables~=0.3"] * any(one.startswith("hatchling") for one in found)
