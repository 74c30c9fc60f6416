"""Modules of the template's logic and of a project's machinery import each other one way only."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MACHINERY = ROOT / "template" / "scripts" / "torch_starter"
LOGIC = ROOT / "extensions" / "torch_template"


def imports(source: str) -> set[str]:
    """The modules of its own package that a module imports anywhere, even for its types alone."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    inside = [node for node in nodes if node.level == 1]
    return {name for node in inside for name in [node.module or "", *names(node)] if name}


def names(node: ast.ImportFrom) -> list[str]:
    """The modules that `from . import a, b` names."""
    return [] if node.module else [alias.name for alias in node.names]


def circle(modules: dict[str, str]) -> list[str]:
    """The modules of a circle, by name, or none; given their texts."""
    arrows = {name: imports(text) for name, text in modules.items()}
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("package", ["bootstrapping", "gpu_smoke", "surroundings"])
def test_no_module_of_the_machinery_imports_itself_through_others(package: str) -> None:
    files = sorted((MACHINERY / package).glob("*.py"))
    modules = {path.stem: path.read_text(encoding="utf-8") for path in files}
    assert sum(len(imports(text)) for text in modules.values()) >= len(modules) // 3
    assert circle(modules) == []


def test_the_bootstrap_s_modules_use_only_those_below_them() -> None:
    package = MACHINERY / "bootstrapping"
    listed = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8")))
    order = [line.split()[0] for line in str(listed).splitlines() if line.startswith("    ")]
    assert sorted(order) == sorted(path.stem for path in package.glob("[a-z]*.py"))
    for name in order:
        above = order[: order.index(name) + 1]
        used = imports((package / f"{name}.py").read_text(encoding="utf-8"))
        assert used.isdisjoint(above), name


def test_an_import_for_types_alone_makes_a_circle_too() -> None:
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .one import One\n"
    assert set(circle({"one": "from . import two\n", "two": typed})) == {"one", "two"}
    assert circle({"one": "from .two import Two\n", "two": "import one\n"}) == []


def rooms_used(path: Path) -> set[str]:
    """The rooms of the template's logic (modules and folders) that a module imports."""
    depth = len(path.relative_to(LOGIC).parts)
    nodes = [
        n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.ImportFrom)
    ]
    outside = [node for node in nodes if node.level == depth]
    return {name for n in outside for name in [(n.module or "").split(".")[0], *names(n)] if name}


def test_the_template_s_logic_uses_only_the_rooms_above_in_its_list() -> None:
    listed = ast.get_docstring(ast.parse((LOGIC / "__init__.py").read_text(encoding="utf-8")))
    lines = [line for line in str(listed).splitlines() if line.startswith("    ")]
    floors = [re.split(r",\s*", line.split("  ")[2].strip()) for line in lines]
    rooms = [room.rstrip("/") for floor in floors for room in floor]
    there = {path.relative_to(LOGIC).parts[0].removesuffix(".py") for path in LOGIC.rglob("*.py")}
    assert sorted(rooms) == sorted(there - {"__init__"})
    allowed: set[str] = set()
    for floor in floors:
        for room in (one.rstrip("/") for one in floor):
            for path in [*LOGIC.glob(f"{room}.py"), *LOGIC.glob(f"{room}/*.py")]:
                assert rooms_used(path) <= allowed, path
        allowed |= {one.rstrip("/") for one in floor}


def test_the_files_on_the_way_of_an_answer_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    way = text.partition("## The way of one answer")[2].partition("\n## ")[0]
    picture = (ROOT / "docs" / "way-of-an-answer.svg").read_text(encoding="utf-8")
    steps = re.findall(r"^(\d+)\. `(\S+)`", way, re.MULTILINE)
    drawn = re.findall(r">(\d+)</text>\n<text[^>]*>([^<,]+)", picture)
    assert [number for number, _ in steps] == [str(n) for n in range(1, 11)]
    for (number, path), (also, name) in zip(steps, drawn, strict=True):
        assert (ROOT / path).is_file(), path
        assert number == also
        assert path == name or path.endswith(f"/{name}"), name
