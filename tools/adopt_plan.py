"""What an adoption would write: the template's files beside the owner's, which all stay."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from adopt_answers import UNKNOWN, Proposal, without_suffix
from adopt_find import FAMILY, Found, parse_toml, read, requirement
from adopt_merge import add_to_list, family, merged, requirements
from adopt_toml import Document, Table
from fleet_projects import ANSWERS, RefusedError

PYPROJECT = "pyproject.toml"
DEV_FILES = re.compile(r"(?i)(^|[-_/.])(dev|develop|development|test|tests)([-_.]|$)")
# Of a new project's pyproject.toml, what says how its code is to be checked.
STYLE = ("tool.mypy", "tool.pytest", "tool.ruff")
BACKEND = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
"""
IGNORED = (".venv", ".tools", "wheelhouse/", "locked.txt", "__pycache__/", "*.egg-info/")
ATTRIBUTES = """\
/bootstrap.* linguist-vendored
/bootstrap.sh text eol=lf
/bootstrap.cmd text eol=crlf
/bootstrap.ps1 text eol=crlf
/scripts/gpu_smoke_test.py linguist-vendored
/scripts/torch_builds.json linguist-generated
/scripts/torch_starter/** text=auto eol=lf linguist-vendored
"""
BOTS = {
    "Renovate": (
        *("renovate.json", "renovate.json5", ".renovaterc", ".renovaterc.json"),
        *(".github/renovate.json", ".github/renovate.json5"),
    ),
    "Dependabot": (".github/dependabot.yml", ".github/dependabot.yaml"),
}
TO_BOTS = {
    "Renovate": "leave it to the template, as the renovate.json of a new project does",
    "Dependabot": "leave it to the template, as extra_files=[dependabot] of a new project does",
}
FROM = "# torch-starter\n"


@dataclass
class Plan:
    """The files to write, and what there is to say of them."""

    texts: dict[str, bytes] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)
    recorded: dict[str, Any] = field(default_factory=dict)  # all answers, with the defaults
    release: str = ""
    versions: dict[str, str] = field(default_factory=dict)  # of the build, on its first platform

    def put(self, top: Path, name: str, content: bytes) -> None:
        """Write a file, which is new or a change of the owner's."""
        there = top / name
        if there.is_symlink():
            raise RefusedError(
                f"{name} is a link, which would be replaced: put the file itself there, commit, and"
                " run this again."
            )
        if there.is_file() and there.read_bytes() == content:
            return
        (self.changed if there.is_file() else self.added).append(name)
        self.texts[name] = content


def plan(top: Path, rendered: Path, found: Found, proposal: Proposal) -> Plan:
    """What to write, from what the template has rendered in another folder.

    Raises:
        RefusedError: if a file is in the way of another, or cannot be merged.
    """
    one = Plan()
    of_build(one, rendered)
    for path in sorted(rendered.rglob("*")):
        name = path.relative_to(rendered).as_posix()
        if path.is_file() and name != PYPROJECT:
            bring(one, top, name, path.read_bytes())
    pyproject(one, top, rendered, found, proposal)
    for name, lines in ((".gitignore", IGNORED), (".gitattributes", ATTRIBUTES.splitlines())):
        append(one, top, name, lines)
    left_to_do(one, top, found, proposal)
    return one


def of_build(one: Plan, rendered: Path) -> None:
    """The release and its versions, as the template's scripts will read them."""
    data = json.loads((rendered / "scripts/torch_builds.json").read_text(encoding="utf-8"))
    build = data["builds"][data["compute_platform"]]
    one.recorded = yaml.safe_load((rendered / ANSWERS).read_text(encoding="utf-8"))
    one.release = data["release"]
    one.versions = {**build, **next(iter(build["platforms"].values()))}["packages"]


def bring(one: Plan, top: Path, name: str, content: bytes) -> None:
    """A file of the template, which the owner has none of."""
    parents = [top / parent for parent in Path(name).parents if parent.parts]
    in_the_way = next((path for path in parents if path.is_file()), None)
    if in_the_way or (top / name).is_dir():
        there = (in_the_way or top / name).relative_to(top).as_posix()
        raise RefusedError(
            f"{there} is in the way of the template's {name}: rename it, commit, and run this"
            " again."
        )
    if (top / name).exists():
        raise RefusedError(
            f"{name} is there and git ignores it, so it would be lost: move it elsewhere and run"
            " this again."
        )
    if name.endswith((".cmd", ".ps1")):  # as git keeps them; .gitattributes says what they become
        content = content.replace(b"\r\n", b"\n")
    one.put(top, name, content)


def append(one: Plan, top: Path, name: str, lines: Iterable[str]) -> None:
    """Add lines to a file that it does not have, below its own."""
    text = read(top / name)
    has = {line.strip().strip("/") for line in text.splitlines()}
    new = [line for line in lines if line.strip("/") not in has]
    if new:
        end = "" if not text or text.endswith("\n") else "\n"
        gap = f"{end}\n" if text else ""
        raw = (top / name).read_bytes() if text else b""
        more = gap + FROM + "\n".join(new) + "\n"
        more = more.replace("\n", "\r\n") if b"\r\n" in raw else more
        one.put(top, name, raw + more.encode())


# --- pyproject.toml ---------------------------------------------------------------------------


def pyproject(one: Plan, top: Path, rendered: Path, found: Found, proposal: Proposal) -> None:
    """The owner's with the build, the owner's with a group of tools, or a new one."""
    raw = (top / PYPROJECT).read_bytes() if (top / PYPROJECT).is_file() else b""
    owner = raw.decode("utf-8-sig")
    manager = proposal.answers.get("package_manager", "uv")
    brought = rendered / PYPROJECT
    if not brought.exists():
        one.put(top, PYPROJECT, for_pip(owner, found, [*one.versions]).encode())
        return
    template = brought.read_text(encoding="utf-8")
    poetry = found.pyproject.get("tool", {}).get("poetry", {})
    if "project" in found.pyproject or "name" in poetry:
        one.put(top, PYPROJECT, merged(owner, template, manager).encode())
    elif (top / "setup.py").is_file():
        raise RefusedError(
            f"{manager} reads no setup.py for what a project asks for: give --data"
            " package_manager=pip, or write a [project] table into pyproject.toml first."
        )
    else:
        text = a_new_one(template, top, found)
        if proposal.why["license"].endswith(UNKNOWN):
            text = re.sub(r"(?m)^license = .*\n", "", text)
        one.put(top, PYPROJECT, (text + (f"\n{owner}" if owner.strip() else "")).encode())


def for_pip(owner: str, found: Found, build: list[str]) -> str:
    """The owner's file with a group `dev`, which the bootstrap installs; with a backend if new.

    What the package does not ask for itself of the build is in that group, too.
    """
    crlf = "\r\n" in owner
    own = Document(owner.replace("\r\n", "\n") or BACKEND)
    groups, project = own.find("dependency-groups"), own.find("project")
    asked = requirements(project.entry("dependencies")) if project else []
    asked += requirements(groups.entry("dev")) if groups else []
    lines = [name for name in build if name not in {*map(family, asked)}]
    if groups is None:
        why = "# What `sh bootstrap.sh` installs beside the package.\n"
        groups = Table("dependency-groups", ["[dependency-groups]\n"])
        add_to_list(groups, "dev", [*lines, *of_files(found, dev=True)])
        groups.add_first([why])
        own.add(groups, "project")
    else:
        add_to_list(groups, "dev", lines)
    text = own.text()
    check(owner, text)
    return text.replace("\n", "\r\n") if crlf else text


def check(owner: str, text: str) -> None:
    """Make sure that the owner's tables are as they were.

    Raises:
        RefusedError: if they would not be.
    """
    try:
        had, has = parse_toml(owner), parse_toml(text)
    except ValueError as error:
        has, had, why = {}, {"": ""}, f" ({error})"
    else:
        why = ""
    groups = {**has.pop("dependency-groups", {})}, {**had.pop("dependency-groups", {})}
    for one in groups:
        one.pop("dev", None)
    if groups[0] != groups[1] or {**has, **had} != has:
        raise RefusedError(
            f"pyproject.toml cannot take a group `dev`{why}: write `[dependency-groups]` with"
            " `dev = []` into it, commit, and run this again."
        )


def of_files(found: Found, dev: bool) -> list[str]:
    """The requirements that the files for development have, or the other files; each once."""
    lines = [
        line
        for file, entries in found.requirements.items()
        if bool(DEV_FILES.search(file.removesuffix(".txt") + "-")) == dev
        for line in entries
    ]
    kept = []
    for line in dict.fromkeys(lines if dev else [*lines, *found.conda_pip]):
        known = requirement(line)
        if known and not known.url and known.name.lower() not in FAMILY:
            kept.append(line)
    return kept


def a_new_one(template: str, top: Path, found: Found) -> str:
    """The template's, with what the requirements files ask for, and without a style."""
    new = Document(template)
    new.tables = [one for one in new.tables if not one.name.startswith(STYLE)]
    project, groups = new.find("project"), new.find("dependency-groups")
    for table, key, dev in ((project, "dependencies", False), (groups, "dev", True)):
        lines = "".join(f"    {json.dumps(line)},\n" for line in of_files(found, dev))
        piece = table.entry(key) if table else ""
        if table and piece and lines:
            table.set(key, piece.replace('    "numpy",\n', "") if "numpy" in lines else piece)
            table.set(key, f"{table.entry(key).rstrip()[:-1]}{lines}]\n")
    if project and not (top / "LICENSE").is_file():
        project.drop("license-files")
        project.drop("license")
    if project and not (top / "README.md").is_file():
        project.drop("readme")
    wheel = new.find("tool.hatch.build.targets.wheel")
    if wheel and found.packages:
        wheel.set("packages", f"packages = {json.dumps(found.packages)}\n")
    return new.text().rstrip() + "\n"


# --- What is said -----------------------------------------------------------------------------


def left_to_do(one: Plan, top: Path, found: Found, proposal: Proposal) -> None:
    """What only the owner can decide."""
    answers = proposal.answers
    for pin in found.pins:
        has = one.versions.get(pin.name, "")
        if pin.asks and not fits(pin.asks, has):
            build = f"has {pin.name} {has}" if has else f"has no {pin.name}"
            one.by_hand.append(f"{pin.where} asks for {pin.name}{pin.asks}, and the build {build}.")
    stays(one, found, answers)
    locked = found.locked
    if locked and without_suffix(locked.value) != one.release:
        one.by_hand.append(
            f"{locked.where} has torch {locked.value}, and the build has {one.versions['torch']}."
        )
    wanted = str(answers.get("python_version", ""))
    pinned = read(top / ".python-version").strip()
    if pinned and wanted and found.python and found.python.value != wanted:
        one.by_hand.append(f"Write {wanted} into .python-version, which says {pinned}.")
    by_files(one, found, answers)
    for bot, files in BOTS.items():
        file = next((file for file in files if (top / file).is_file()), None)
        if file:
            one.by_hand.append(f"{file} lets {bot} move PyTorch, too: {TO_BOTS[bot]}.")
    if any("/nightly/" in fact.where for fact in found.platforms):
        one.by_hand.append("A nightly index is named, and the build is of a release.")
    if found.conda:
        one.by_hand.append(
            f"{found.conda} stays, and nothing of the template reads it: take PyTorch and CUDA out"
            " of it, or keep it for what pip cannot install."
        )


def stays(one: Plan, found: Found, answers: dict[str, Any]) -> None:
    """What holds now and may not later: exact versions elsewhere, and the one Python."""
    merged_here = "/pyproject.toml" not in answers["own_files"]
    places = [pin.where for pin in found.pins if "==" in pin.asks]
    files = (PYPROJECT if merged_here else "", found.conda)  # of which more is said
    exact = [place for place in places if place.partition(":")[0] not in files]
    if exact:
        one.by_hand.append(
            f"Exact versions of PyTorch stay in {', '.join(exact)}: no update changes them, so"
            " write ranges there, such as torch>=2.6."
        )
    requires = found.requires_python
    if merged_here and requires and requires.where.partition(" in ")[2].startswith(PYPROJECT):
        one.by_hand.append(
            f"requires-python was {requires.value}, and is now the Python of the build alone. A"
            " library that others install keeps its own with --data package_manager=pip."
        )


def fits(asks: str, version: str) -> bool:
    """Whether a build's version is what a file asks for."""
    if not version:
        return False
    try:
        wanted = SpecifierSet(asks if "==" in asks else without_suffix(asks))
        return wanted.contains(version, prereleases=True)
    except InvalidSpecifier:
        return False


def by_files(one: Plan, found: Found, answers: dict[str, Any]) -> None:
    """Requirements files that the project does not install by itself."""
    odd = {}
    for file, lines in found.requirements.items():
        rest = [line for line in lines if not requirement(line) and not line.startswith("-")]
        rest += [line for line in lines if line.startswith(("-e", "--editable", "git+"))]
        if rest:
            odd[file] = rest[0]
    if PYPROJECT in one.added and "/pyproject.toml" not in answers["own_files"]:
        one.by_hand += [
            f"{file} has {line!r}, which pyproject.toml does not have: add it there, or install it"
            " by hand."
            for file, line in odd.items()
        ]
    elif answers.get("package_manager") == "pip":
        files = [file for file in found.requirements if of_files_has(found, file)]
        if files:
            pins = f"requirements/torch-{answers.get('compute_platform', 'cpu')}.txt"
            words = " ".join(f"-r {file}" for file in files)
            one.by_hand.append(
                "The bootstrap installs the package and its group `dev`. If that is not all, behind"
                f" it: .venv/bin/python -m pip install -c {pins} {words}"
            )


def of_files_has(found: Found, file: str) -> bool:
    """Whether a requirements file has something beside PyTorch that is not in the group `dev`."""
    lines = [known for line in found.requirements[file] if (known := requirement(line))]
    is_dev = DEV_FILES.search(file.removesuffix(".txt") + "-")
    return not is_dev and any(line.name.lower() not in FAMILY for line in lines)


def shown(top: Path, one: Plan) -> str:
    """The changes of the owner's files, as a diff, with a new pyproject.toml."""
    parts: list[str] = []
    new_ones = [name for name in one.added if name == PYPROJECT]
    for name in [*one.changed, *new_ones]:
        old, new = read(top / name), one.texts[name].decode()
        lines = difflib.unified_diff(
            old.splitlines(), new.splitlines(), f"a/{name}", f"b/{name}", lineterm=""
        )
        parts += lines
    return "\n".join(parts)
