"""The owner's pyproject.toml with the template's lines for PyTorch, and with all that it had."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from adopt_find import FAMILY, INDEX, parse_toml
from adopt_toml import TOKEN, Document, Table, comments, key_of, plain_key
from fleet_projects import RefusedError

LISTS = ("project.optional-dependencies", "dependency-groups")
OF_UV = ("required-version", "exclude-newer-package", "environments", "required-environments")
GROUP = "tool.poetry.group.torch.dependencies"
MANY = 3  # entries of a list that a message names


def merged(owner: str, template: str, manager: str) -> str:
    """The owner's text with what makes the build; nothing else of it changes.

    Raises:
        RefusedError: if it is written in a way that this cannot take apart, with what to do.
    """
    crlf = "\r\n" in owner
    own = Document(owner.replace("\r\n", "\n"))
    new = Document(template)
    one_python(own, new)
    rewrite_requirements(own)
    add_dependencies(own, new)
    add_group(own, new)
    if manager == "uv":
        merge_uv(own, new)
    else:
        merge_poetry(own, new)
    text = own.text()
    prove(owner, text, template)
    return text.replace("\n", "\r\n") if crlf else text


def prove(owner: str, text: str, template: str) -> None:
    """Make sure that all of the owner's is there, and all of the template's that is needed."""
    todo = (
        "bring its tables into the usual form, each with a header of its own, commit, and run this"
        " again; or give --data package_manager=pip, which leaves the file as it is"
    )
    try:
        had, has, brings = (parse_toml(one) for one in (owner, text, template))
    except ValueError as error:
        raise RefusedError(
            f"pyproject.toml cannot be merged, as it would be no TOML ({error}): {todo}."
        ) from None
    lost = differing(without_torch(had), without_torch(has))
    group = brings["dependency-groups"]["torch"]
    if lost or has.get("dependency-groups", {}).get("torch") != group:
        where = ", ".join(lost[:MANY]) or "dependency-groups.torch"
        raise RefusedError(f"pyproject.toml cannot be merged: {where} would change: {todo}.")


def differing(one: Any, other: Any, name: str = "") -> list[str]:  # noqa: ANN401
    """The dotted names of what is not the same."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [*one, *(key for key in other if key not in one)]
        parts = (differing(one.get(k), other.get(k), f"{name}.{k}".strip(".")) for k in keys)
        return [found for part in parts for found in part]
    return [] if one == other else [name]


def without_torch(data: dict[str, Any]) -> dict[str, Any]:
    """What a merge must not change."""
    left = copy.deepcopy(data)
    project, tool = left.setdefault("project", {}), left.setdefault("tool", {})
    groups, uv = left.setdefault("dependency-groups", {}), tool.setdefault("uv", {})
    poetry = tool.setdefault("poetry", {})
    project.pop("requires-python", None)
    groups.pop("torch", None)
    for key in (*OF_UV, "index"):
        uv.pop(key, None)
    for key in ("requires-poetry", "source"):
        poetry.pop(key, None)
    poetry.setdefault("group", {}).pop("torch", None)
    poetry.setdefault("dependencies", {}).pop("python", None)
    uv.setdefault("sources", {})
    tables = [uv["sources"], poetry["dependencies"]]
    tables += [group.get("dependencies", {}) for group in poetry["group"].values()]
    for table in tables:
        for name in [*table]:
            if name.lower() in FAMILY or name.startswith("pytorch-triton"):
                del table[name]
    extras = project.setdefault("optional-dependencies", {})
    lists = [(project, "dependencies"), *((extras, key) for key in extras)]
    for one, key in [*lists, *((groups, key) for key in groups)]:
        entries = one.get(key, [])
        one[key] = [entry for entry in entries if not (isinstance(entry, str) and family(entry))]
    return left


def family(line: str) -> str:
    """The name of the package, if a requirement asks for torch or a companion."""
    try:
        name = Requirement(line).name.lower()
    except InvalidRequirement:
        return ""
    return name if name in FAMILY else ""


# --- What all managers share ------------------------------------------------------------------


def one_python(own: Document, new: Document) -> None:
    """The template's Python: a build is for one, and the lock file with it.

    An update can change that line where the lines beside it are those of the template.
    """
    wanted = new.tables[1].entry("requires-python")
    project, poetry = own.find("project"), own.find("tool.poetry.dependencies")
    place = new.tables[1].pieces.index(wanted)
    block = "".join(new.tables[1].pieces[place - 1 : place + 2])
    if project and project.entry("requires-python"):
        project.set("requires-python", block)
    elif project:
        project.add_last([block])
    if poetry and poetry.entry("python"):
        poetry.set("python", wanted.replace("requires-python", "python"))


def public(line: str) -> str:
    """A requirement of the family for any machine: the exact version is in the group `torch`.

    A companion says itself which torch it is for.
    """
    one = Requirement(line)
    extras = f"[{','.join(sorted(one.extras))}]" if one.extras else ""
    marker = f" ; {one.marker}" if one.marker else ""
    exact = [part for part in one.specifier if part.operator in ("==", "===", "~=")]
    if not exact and not one.url:
        return line
    numbers = re.match(r"\d+\.\d+", exact[0].version) if exact else None
    asks = f">={numbers[0]}" if numbers and one.name.lower() == "torch" else ""
    return f"{one.name}{extras}{asks}{marker}"


def rewrite_requirements(own: Document) -> None:
    """Exact versions and suffixes of the family leave the lists of requirements."""
    for table in own.tables:
        for piece in [*table.pieces]:
            key = key_of(piece)
            if table.name in LISTS or (table.name == "project" and key == "dependencies"):
                table.set(key, TOKEN.sub(public_token, piece)) if key else None


def public_token(match: re.Match[str]) -> str:
    """A string of a list; what is no requirement of the family stays."""
    token = match[0]
    if token[0] not in "\"'" or len(token) < 3 or not family(token[1:-1]):
        return token
    quote = '"' if "'" in public(token[1:-1]) else token[0]
    return f"{quote}{public(token[1:-1]).replace(chr(34), chr(39))}{quote}"


def requirements(piece: str) -> list[str]:
    """The strings of a list."""
    tokens = (match[0] for match in TOKEN.finditer(piece))
    return [token[1:-1] for token in tokens if token[0] in "\"'"]


def add_dependencies(own: Document, new: Document) -> None:
    """torch and what the build has of its companions, where the package does not ask for them."""
    project = own.find("project")
    if project:
        wanted = requirements(new.tables[1].entry("dependencies"))
        has = {family(line) for line in requirements(project.entry("dependencies"))}
        lines = [line for line in wanted if (name := family(line)) and name not in has]
        add_to_list(project, "dependencies", lines)


def add_to_list(table: Table, key: str, lines: list[str]) -> None:
    """Put requirements first into a list, which is made if there is none."""
    piece = table.entry(key)
    more = "".join(f"    {json.dumps(line)},\n" for line in lines)
    if not piece:
        table.add_last([f"{key} = [\n{more}]\n" if more else f"{key} = []\n"])
    elif lines:
        start, bracket, rest = piece.partition("[")
        rest = rest.lstrip(" ")
        if not rest.startswith("\n"):
            rest = f"\n{rest}" if rest.startswith("]") else f"\n    {rest}"
        table.set(key, f"{start}{bracket}\n{more}{rest[1:]}")


def add_group(own: Document, new: Document) -> None:
    """The group `torch`, letter for letter, so that updates of the template can change it."""
    table = new.find("dependency-groups")
    group = table.described("torch") if table else []
    own_groups = own.find("dependency-groups")
    if own_groups and own_groups.entry("torch"):
        raise RefusedError(
            "pyproject.toml has a group `torch`, which is what the template's is called: rename"
            " yours, commit, and run this again."
        )
    if own_groups:
        own_groups.add_first([*group, "\n"])
    else:
        own.add(
            Table("dependency-groups", ["[dependency-groups]\n", *group]), "project", first=True
        )


# --- uv ---------------------------------------------------------------------------------------


def merge_uv(own: Document, new: Document) -> None:
    """The platforms, the sources and the index."""
    brought, table = new.find("tool.uv"), own.find("tool.uv")
    if brought and table:
        # Those of the template are no others than its environments, so both or none.
        keys = [key for key in OF_UV if not table.entry(key)]
        keys = keys if "environments" in keys else [key for key in keys if key in OF_UV[:2]]
        table.add_first([piece for key in keys for piece in brought.described(key)])
    elif brought:
        own.add(Table("tool.uv", [*brought.pieces]), "tool.uv")
    sources = own.find("tool.uv.sources")
    for name in FAMILY if sources else ():
        sources.drop(name) if sources else None
    index = new.find("tool.uv.index")
    drop_indexes(own, "tool.uv.index", used_by_uv(sources))
    if index is None:
        return
    rows = new.find("tool.uv.sources")
    if sources and rows:
        sources.add_first([piece for piece in rows.pieces[1:] if piece.strip()])
    elif rows:
        own.add(Table("tool.uv.sources", [*rows.pieces]), "tool.uv")
    own.add(Table("tool.uv.index", without_blank_end(index)), "tool.uv")


def without_blank_end(table: Table) -> list[str]:
    """Its pieces up to the last that is not blank."""
    own = [*table.pieces]
    while own and not own[-1].strip():
        own.pop()
    return own


def used_by_uv(sources: Table | None) -> set[str]:
    """The names of the indexes that other packages come from."""
    text = "".join(sources.pieces) if sources else ""
    return {
        name
        for pair in re.findall(r"index\s*=\s*(?:\"([^\"]+)\"|'([^']+)')", text)
        for name in pair
    }


def drop_indexes(own: Document, name: str, used: set[str]) -> None:
    """Take PyTorch's own indexes out, where nothing else comes from them.

    Raises:
        RefusedError: if one that stays has the template's name.
    """
    for table in [table for table in own.tables if table.name == name]:
        label = re.sub(r"[\"'\s]", "", table.entry("name").partition("=")[2])
        if INDEX.search(table.entry("url")) and label not in used:
            tail = [piece for piece in table.pieces[1:] if not key_of(piece)]
            before = own.tables[own.tables.index(table) - 1]
            before.pieces += [piece for piece in tail if piece.strip()]
            own.tables.remove(table)
        elif label.lower() == "pytorch":
            raise RefusedError(
                "pyproject.toml has an index `pytorch` for other packages, which is what the"
                " template's is called: rename yours, commit, and run this again."
            )


# --- Poetry -----------------------------------------------------------------------------------


def merge_poetry(own: Document, new: Document) -> None:
    """The group's sources, and the index."""
    of_project = own.find("project")
    in_project = (
        {family(line) for line in requirements(of_project.entry("dependencies"))}
        if of_project
        else set()
    )
    used = set()
    for table in own.tables:
        if re.fullmatch(r"tool\.poetry(\.group\.[^.]+)?\.dependencies", table.name):
            for piece in [*table.pieces]:
                if key_of(piece).lower() not in FAMILY:
                    used |= {
                        b or c
                        for b, c in re.findall(r"source\s*=\s*(?:\"([^\"]+)\"|'([^']+)')", piece)
                    }
                elif table.name == "tool.poetry.dependencies" and key_of(piece) in in_project:
                    table.drop(key_of(piece))
                else:
                    table.set(key_of(piece), poetry_range(piece))
    poetry, brought = own.find("tool.poetry"), new.find("tool.poetry")
    if poetry and brought and not poetry.entry("requires-poetry"):
        poetry.add_last(brought.described("requires-poetry"))
    elif brought and not poetry:
        own.add(
            Table("tool.poetry", ["[tool.poetry]\n", *brought.described("requires-poetry")]), "tool"
        )
    drop_indexes(own, "tool.poetry.source", used)
    for table in new.tables:
        if table.name == GROUP:
            own.add(Table(table.name, [*table.pieces]), "tool.poetry")
        elif table.name == "tool.poetry.source" and not has_source(own, table):
            own.add(Table(table.name, without_blank_end(table)), "tool.poetry")


def has_source(own: Document, source: Table) -> bool:
    """Whether the owner names PyPI already, as the template does."""
    name = source.entry("name").partition("=")[2].strip().lower()
    return any(
        table.entry("name").partition("=")[2].strip().lower() == name
        for table in own.tables
        if table.name == source.name
    )


def poetry_range(piece: str) -> str:
    """An entry of the family without its source; the exact version is in the group `torch`."""
    key, _, value = piece.partition("=")
    versions = re.findall(r"[\"']([\^~<>=! ]*\d[^\"']*)[\"']", value)
    version = re.sub(r"\+[\w.]+", "", versions[0]) if versions else "*"
    numbers = re.match(r"(?:==|~)?\s*(\d+\.\d+)", version)
    if numbers:
        version = f">={numbers[1]}"
    if plain_key(key).lower() != "torch":
        version = "*"
    return f'{key.rstrip()} = "{version}"  {"".join(comments(piece))}'.rstrip() + "\n"
