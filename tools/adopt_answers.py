"""From what was found to answers: each with the place that says so, or what the owner must say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from adopt_find import FAMILY, Fact, Found, Pin, read
from fleet_projects import RefusedError, git

INDEX_URL = "https://download.pytorch.org/whl"
# Tried in this order where a repository allows several.
PYTHONS = ("3.12", "3.13", "3.11", "3.10", "3.14")
LISTS = ("torch_packages", "extra_compute_platforms", "ci_runners", "extra_files", "own_files")
LICENSES = {  # a sentence that only this license has
    "Apache-2.0": "apache license",
    "BSD-3-Clause": "neither the name of",
    "MIT": "permission is hereby granted, free of charge",
}
UNKNOWN = " is none that the template has; yours stays"
# What the template brings for a new project only: the owner has it, or has decided against it.
NEVER = (
    "/README.md",
    "/LICENSE",
    "/.gitignore",
    "/.gitattributes",
    "/.editorconfig",
    "/renovate.json",
)
SOURCE = ("/src", "/tests/test_device.py")


@dataclass
class Proposal:
    """The answers, why each is proposed, and what has to be said before anything can be done."""

    answers: dict[str, Any] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def take(self, name: str, value: object, why: str) -> None:
        """Propose an answer, unless one was given."""
        if name not in self.answers:
            self.answers[name] = value
            self.why[name] = why


def given(words: Iterable[str]) -> dict[str, Any]:
    """The answers of --data, as Copier reads them.

    Raises:
        RefusedError: if one has no value.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise RefusedError(f"--data {word}: write --data name=value, as --data license=MIT.")
        found[name] = value
        if name in LISTS:
            try:
                found[name] = yaml.safe_load(value)
            except yaml.YAMLError:
                found[name] = None
            if not isinstance(found[name], list):
                raise RefusedError(f"--data {word}: it is a list, as in {name}=[a, b], or [].")
    return found


def propose(found: Found, top: Path, data: dict[str, Any]) -> Proposal:
    """The answers for a repository; those of `data` are taken as they are."""
    one = Proposal(dict(data), dict.fromkeys(data, "--data"))
    if found.manager:
        one.take("package_manager", found.manager.value, found.manager.where)
    python(one, found)
    compute_platform(one, found)
    torch_version(one, found)
    companions(one, found)
    names(one, found, top)
    the_license(one, top)
    automation(one, top)
    one.take("starter", "package", "nothing of the training is added to what exists")
    one.take("extra_files", [], "yours, or only for a new project")
    own_files(one, found, top)
    return one


def python(one: Proposal, found: Found) -> None:
    """The Python that is named, else one that requires-python allows."""
    if found.python:
        one.take("python_version", found.python.value, found.python.where)
    elif found.requires_python:
        try:
            allowed = SpecifierSet(found.requires_python.value)
        except InvalidSpecifier:
            return
        fits = [minor for minor in PYTHONS if any(f"{minor}.{n}" in allowed for n in range(12))]
        if fits:
            one.take("python_version", fits[0], f"one that fits {found.requires_python.where}")


def different(facts: Iterable[Fact]) -> dict[str, str]:
    """The values of facts, each with the first place that says so."""
    values: dict[str, str] = {}
    for fact in facts:
        values.setdefault(fact.value, fact.where)
    return values


def compute_platform(one: Proposal, found: Found) -> None:
    """The index or suffix, if all files agree; PyPI's wheels where torch comes without one."""
    platforms = different(found.platforms)
    if len(platforms) == 1:
        value, where = next(iter(platforms.items()))
        one.take("compute_platform", value, where)
    elif platforms and "compute_platform" not in one.answers:
        all_ = "; ".join(f"{value} by {where}" for value, where in platforms.items())
        choose = " or ".join(f"--data compute_platform={value}" for value in platforms)
        one.unknown.append(
            f"compute_platform: the files name several ({all_}), and a project has one: say which"
            f" by {choose}. A machine can have another one: `bootstrap.sh --compute-platform`."
        )
    elif any(pin.name == "torch" for pin in found.pins):
        if found.conda:
            one.unknown.append(
                f"compute_platform: {found.conda} does not say which build conda chooses: say which"
                " by --data compute_platform=NAME, such as cpu or cu126."
            )
            return
        one.take("compute_platform", "pypi", "torch is asked for with no index, so it is PyPI's")
    mirrors = different(fact for fact in found.bases if "download.pytorch.org" not in fact.value)
    if len(mirrors) == 1 and not any("download.pytorch.org" in f.value for f in found.bases):
        value, where = next(iter(mirrors.items()))
        one.take("pytorch_index_url", value, where)


def without_suffix(asks: str) -> str:
    """A specifier without `+cu126`, which none but `==` may have."""
    return re.sub(r"\+[\w.]+", "", asks)


def series_of(pin: Pin) -> str | None:
    """The series that a pin leads to; None if it lets torch go on to the newest."""
    try:
        parts = list(SpecifierSet(without_suffix(pin.asks)))
    except InvalidSpecifier:
        return None
    for part in parts:
        numbers = re.match(r"(\d+)\.(\d+)(\.\d+)?", part.version)
        if not numbers:
            continue
        major, minor, patch = int(numbers[1]), int(numbers[2]), numbers[3]
        exact = part.operator in ("==", "===") or (part.operator == "~=" and patch)
        if exact or part.operator == "<=" or (part.operator == "<" and (patch or ".0") != ".0"):
            return f"{major}.{minor}"
        if part.operator == "<" and minor:
            return f"{major}.{minor - 1}"
    return None


def torch_version(one: Proposal, found: Found) -> None:
    """The series of the pins, else of the lock file; else the newest."""
    pins = [pin for pin in found.pins if pin.name == "torch"]
    facts = [
        Fact(series, f"torch{pin.asks} in {pin.where}")
        for pin in pins
        if (series := series_of(pin))
    ]
    if not facts and found.locked:
        version = Version(found.locked.value)
        value = f"{version.major}.{version.minor}"
        facts = [Fact(value, f"torch {found.locked.value} in {found.locked.where}")]
    several = different(facts)
    if len(several) == 1:
        value, where = next(iter(several.items()))
        one.take("torch_version", value, where)
    elif several and "torch_version" not in one.answers:
        all_ = "; ".join(several.values())
        choose = " or ".join(f"--data torch_version={value}" for value in several)
        one.unknown.append(f"torch_version: the files disagree ({all_}): say which by {choose}.")


def companions(one: Proposal, found: Found) -> None:
    """Those that are asked for anywhere."""
    wanted = {pin.name: pin.where for pin in reversed(found.pins) if pin.name != "torch"}
    listed = [name for name in FAMILY if name in wanted]
    why = ", ".join(f"{name} in {wanted[name]}" for name in listed)
    if found.pins:
        one.take("torch_packages", listed, why or "no file asks for one")


def names(one: Proposal, found: Found, top: Path) -> None:
    """Names and authors, as they are."""
    project = found.pyproject.get("project", {})
    poetry = found.pyproject.get("tool", {}).get("poetry", {})
    name = found.name or Fact(re.sub(r"[^A-Za-z0-9._-]+", "-", top.name).strip("-._"), "the folder")
    one.take("project_name", name.value, name.where)
    if found.package and re.fullmatch("[a-z][a-z0-9_]*", found.package.value):
        one.take("package_name", found.package.value, f"{found.package.where}/")
    description = project.get("description") or poetry.get("description")
    if isinstance(description, str) and description.strip():
        one.take("project_description", " ".join(description.split())[:500], "pyproject.toml")
    author = next(iter(project.get("authors") or poetry.get("authors") or []), None)
    if isinstance(author, str):
        words = re.fullmatch(r"([^<]*?)\s*(?:<(.+)>)?", author)
        author = {"name": words[1], "email": words[2] or ""} if words else None
    for key in ("name", "email") if isinstance(author, dict) else ():
        if value := (author or {}).get(key):
            one.take(f"user_{key}", value, "pyproject.toml")


def the_license(one: Proposal, top: Path) -> None:
    """Which license is there; the template's own text is never brought."""
    files = sorted(path for path in top.glob("LICEN[CS]E*") if path.is_file())
    text = " ".join(read(files[0]).lower().split()) if files else ""
    known = next((name for name, words in LICENSES.items() if words in text), None)
    why = files[0].name if files else "there is no license"
    if files and not known:
        why += UNKNOWN
    one.take("license", known or "Proprietary", why)


def automation(one: Proposal, top: Path) -> None:
    """Where CI runs; none is brought where there is none."""
    if (top / ".github" / "workflows").is_dir():
        one.take("ci", "github", ".github/workflows")
    elif (top / ".gitlab-ci.yml").is_file():
        one.take("ci", "gitlab", ".gitlab-ci.yml")
    else:
        one.take("ci", "none", "there is none")


def own_files(one: Proposal, found: Found, top: Path) -> None:
    """The files of the template that are not brought, now or by an update."""
    own = [*NEVER]
    if found.package or found.name:
        own += SOURCE
    if one.answers["ci"] == "github":
        own.append("/.github/workflows/ci.yml")
    is_owners = found.name or "project" in found.pyproject or (top / "setup.py").is_file()
    if one.answers.get("package_manager", "uv") == "pip" and is_owners:
        own.append("/pyproject.toml")  # the pins are in requirements/
    tracked = set(git(top, "ls-files", "-z").split("\0"))
    more = (".gitlab-ci.yml", ".python-version", "poetry.toml", "docs/pytorch-build.md")
    own += [f"/{name}" for name in more if name in tracked]
    one.take("own_files", list(dict.fromkeys(own)), "yours, or only for a new project")
