"""Dependencies that ask for another torch than the project has, or for another index of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from surroundings.versions import canonical, numbers

from .places import ROOT, WINDOWS, StopError
from .project import Project
from .system import satisfies

INDEXES = re.compile(r"contain conflicting indexes for package `([^`]+)`[^\n]*\n((?:\s*- \S+\n?)+)")
# `lib==0.1 depends on torch{...}==2.9.1` by uv, `lib (0.1) @ ... depends on torch (2.9.1)` by
# Poetry, `lib 0.1 depends on torch==2.9.1` by pip.
WHO = (
    r"\b([A-Za-z][\w.-]*)(?:\[[^\]]*\])?"
    r"(?:[=<>!~]=?[^\s,]+(?:,[=<>!~]=?[^\s,]+)*| \([^)]*\)(?: @ \S+)?| \d\S*)?"
    r"\s+depends?\s+on\s+(?:one of:\s+)?"
)
WANTED = r"\([^)]*\)|[=<>!~][^\s]*"
MARK = r"(?:\{[^}]*\})?"
ASKS = re.compile(rf"{WHO}(torch\w*){MARK}\s*((?:{WANTED})(?:\s+\2{MARK}(?:{WANTED}))*)")
NEEDS = re.compile(rf"{WHO}([A-Za-z][\w-]*)")  # anything at all
OVERRIDES = re.compile(r"^override-dependencies\s*=\s*\[(.*?)\]\s*$", re.MULTILINE | re.DOTALL)
UNSCOPE = 'leave `group = "torch", ` out of [tool.uv.sources]'
NAME = re.compile(r"^name\s*=\s*[\"']([^\"']+)", re.MULTILINE)


def torch_asked_for(text: str, packages: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Of what a resolver says: a dependency, and the package of the build and version it wants."""
    nobody = {"project", "versions", canonical(name_in(ROOT))}
    found, text = [], re.sub(r"\s+", " ", text)
    # What has a way without that torch, which is barred by something else, is not at odds with it.
    others = {name for name, needed in NEEDS.findall(text) if not needed.startswith("torch")}
    for name, package, wanted in ASKS.findall(text):
        clauses = [one.strip("(),.") for one in re.split(rf"\s+{package}{MARK}", wanted)]
        clauses = [one if one[:1] in "=<>!~" else f"=={one}" for one in clauses]
        clauses = [re.sub(r"\.?(?:dev|a)0\b", "", one) for one in clauses]  # <2.10.dev0 of ~=2.9.0
        version = packages.get(package, "").partition("+")[0]
        try:
            fits = any(satisfies(numbers(version), re.sub(r"\+[\w.]+", "", one)) for one in clauses)
        except StopError:  # more than plain numbers
            continue
        clause = " or ".join(clauses)
        barred = canonical(name) in nobody or name in others
        if version and not barred and ("+" in clause or not fits):
            found.append((name, package, clause.removeprefix("==")))
    return min(found, key=lambda row: row[1] != "torch", default=None)


def conflict(
    project: Project, platform: str, text: str, title: str, env: Mapping[str, str]
) -> tuple[str, str] | None:
    """What to say where a dependency wants another torch; None if none does."""
    packages = project.build["platforms"].get(platform, {}).get("packages", {})
    own, indexes = project.build["index_url"] or "", INDEXES.search(text)
    if indexes:
        urls = [url.rstrip("/") for url in re.findall(r"- (\S+)", indexes[2])]
        other = next((url for url in urls if url != own.rstrip("/")), urls[-1])
        name = other.rpartition("/")[2]
        who = next(asking(other, env), "A dependency")
        what = f"{who} wants {indexes[1]} from {other}, and "
        ways = [
            "If that one is made from this template, `copier update` there: it then asks for no"
            " index. Else give both repositories the same compute platform."
        ]
        if own.rstrip("/") in urls:
            what += f"this project from {own}"
            ways += [f"This one, say:\n  {project.move(name)}"] if name in project.moves else []
        else:
            third = next((url for url in urls if url != other), other)
            what += f"{next(asking(third, env), 'another one')} from {third}"
    elif clash := torch_asked_for(text, packages):
        who, package, wanted = clash
        what = f"{who} wants {package} {wanted}, and this project has {packages[package]}"
        ways = [f"Take a version of {who} that goes with {package} {packages[package]}."]
        if package == "torch" and (series := re.fullmatch(r"(\d+\.\d+)(\.\d+)*", wanted)):
            move = project.update(f"--data torch_version={series[1]}")
            ways.append(f"Or give this project its torch:\n  {move}")
    else:
        return None
    if project.manager == "uv":
        pins = ", ".join(f'"{one}=={have.partition("+")[0]}"' for one, have in packages.items())
        way = (
            "Or, if it works with this project's torch, let that hold for all: in pyproject.toml\n"
        )
        ways.append(f"{way}{UNSCOPE}, and in [tool.uv]\n  override-dependencies = [{pins}]")
    return f"{what}: {title} failed.", "\n".join([*ways, "Then run this again."])


def refuse_override(project: Project) -> None:
    """Stop where uv would take PyPI's torch: what overrides a dependency is in no group."""
    text, packages = words(ROOT), next(iter(project.build["platforms"].values()))["packages"]
    overrides = OVERRIDES.search(text)
    for name in packages if overrides else ():
        scoped = re.search(rf"^{name}\s*=\s*\[?\s*" + r"\{[^}\n]*\bgroup\s*=", text, re.MULTILINE)
        if scoped and overrides and re.search(rf"[\"']{name}\b", overrides[1]):
            what = f"override-dependencies in pyproject.toml takes {name} from PyPI"
            todo = f"{UNSCOPE[0].upper()}{UNSCOPE[1:]}, then run this again."
            raise StopError(2, f"{what}, in another build.", todo)


def asking(url: str, env: Mapping[str, str]) -> Iterator[str]:
    """The dependencies with an index in their pyproject.toml, as far as these lie here.

    Those by path, and those by git of which uv has a checkout; theirs, too.
    """
    local = env.get("LOCALAPPDATA") if WINDOWS else env.get("XDG_CACHE_HOME")
    default = Path(local or Path(env.get("HOME", "/"), ".cache"), "uv", "cache" if WINDOWS else "")
    checkouts = Path(env.get("UV_CACHE_DIR") or default).glob("git-v*/checkouts/*/*")
    known = [file for one in checkouts for file in (one, *one.glob("*/")) if name_in(file)]
    left, seen = [ROOT], set[Path]()
    while left:
        folder = left.pop()
        text, name = words(folder), name_in(folder)
        if folder in seen or not name:
            continue
        if seen and re.search(rf"[\"']{re.escape(url)}/?[\"']", text):
            yield name if folder in known else f"{name} ({folder})"
        seen.add(folder)
        paths = re.findall(r"\bpath\s*=\s*[\"']([^\"']+)", text)
        paths += [one.removeprefix("//") for one in re.findall(r"@ file:([^\s\"';]+)", text)]
        left += [one for one in known if re.search(rf"\b{re.escape(name_in(one))}\b", text)]
        left += [Path(folder, path).resolve() for path in paths]  # looked at first


def name_in(folder: Path) -> str:
    """The name of the project in a folder; empty if there is none."""
    found = NAME.search(words(folder))
    return found[1] if found else ""


def words(folder: Path) -> str:
    """The text of the pyproject.toml in a folder, which may not be there."""
    try:
        return (folder / "pyproject.toml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
