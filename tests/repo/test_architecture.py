"""The modules of a project's machinery import each other one way only."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

MACHINERY = Path(__file__).parents[2] / "template" / "scripts" / "torch_starter"


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


@pytest.mark.parametrize("package", ["bootstrapping", "gpu_smoke"])
def test_no_module_of_the_machinery_imports_itself_through_others(package: str) -> None:
    files = sorted((MACHINERY / package).glob("*.py"))
    modules = {path.stem: path.read_text(encoding="utf-8") for path in files}
    assert sum(len(imports(text)) for text in modules.values()) > len(modules)
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
