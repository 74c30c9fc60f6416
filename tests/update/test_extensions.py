"""An update loads the old and the new extensions in one process: each renders with its own.

A stale module would show: the old version rendered with new rules takes the difference for the
owner's own work and undoes the update, or leaves conflicts; the new version rendered with old
rules differs from a fresh copy.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from render.projects import MATRIX_YML, copy, files, release, start, update
from update.versions import assert_clean, edit, release_with

# One rule of some modules of the package, and what of a rendered project it changes.
RULES = {
    "matrix/model.py": (
        "shown = [value for value in self.offered",
        "shown = [value for value in reversed(self.offered)",
    ),
    "resolving.py": (
        "torch_version=torch + runtime",
        'torch_version=torch + runtime + ".new"',
    ),
    "managers/lines.py": (
        "NOT_MACOS = \"sys_platform != 'darwin'\"",
        "NOT_MACOS = \"sys_platform != 'darwin' and sys_platform != 'ios'\"",
    ),
    "answers.py": (
        "return json.dumps(text, ensure_ascii=False)",
        'return json.dumps(text + " (new)", ensure_ascii=False)',
    ),
}


def change_rule(repository: Path, name: str) -> None:
    edit(repository, f"extensions/torch_template/{name}", *RULES[name])


@pytest.fixture
def everything_changed(repository: Path) -> Path:
    """A second version, with other rules in each of these modules and another matrix."""
    for name in RULES:
        change_rule(repository, name)
    edit(repository, MATRIX_YML, "cpu: {name: CPU,", "cpu: {name: Central processor,")
    release(repository, "v1.1.0")
    return repository


@pytest.mark.few(1)
@pytest.mark.parametrize("manager", ["uv", "poetry", "pip"])
def test_the_new_rules_and_the_new_matrix_render_the_update(
    everything_changed: Path, tmp_path: Path, manager: str
) -> None:
    project = start(everything_changed, tmp_path / "project", package_manager=manager)
    old = files(project)
    update(project)
    assert_clean(project)
    new = files(project)
    assert new == files(copy(everything_changed, tmp_path / "fresh", package_manager=manager))
    assert b"CPU" in old["README.md"]
    assert b"Central processor" in new["README.md"]
    assert b'cpu.new"' in new["scripts/torch_builds.json"]
    assert b'"A PyTorch project (new)"' in new["pyproject.toml"]
    marked = new["requirements/torch-cpu.txt" if manager == "pip" else "pyproject.toml"]
    assert b"'ios'" in marked


@pytest.mark.few(1)
@pytest.mark.parametrize("name", [*RULES, "version_matrix.yml"])
def test_a_rule_that_one_file_changes_is_the_only_change(
    repository: Path, tmp_path: Path, name: str
) -> None:
    if name in RULES:
        change_rule(repository, name)
    else:
        edit(repository, MATRIX_YML, "cpu: {name: CPU,", "cpu: {name: Central processor,")
    release(repository, "v1.1.0")
    project = start(repository, tmp_path / "project")
    old = files(project)
    update(project)
    assert_clean(project)
    fresh = files(copy(repository, tmp_path / "fresh"))
    assert files(project) == fresh
    changed = {file for file in fresh if old.get(file) != fresh[file]}
    assert changed > {".copier-answers.yml"}


@pytest.mark.slow
def test_the_old_rules_still_render_an_old_version_afterwards(
    everything_changed: Path, tmp_path: Path
) -> None:
    before = files(start(everything_changed, tmp_path / "before", "v1.0.0"))
    update(start(everything_changed, tmp_path / "project"))
    assert files(start(everything_changed, tmp_path / "after", "v1.0.0")) == before


@pytest.mark.slow
def test_a_new_version_may_need_what_only_its_own_model_knows(
    repository: Path, tmp_path: Path
) -> None:
    """The new YAML has a key that the old model refuses, and the old YAML lacks one it needs."""
    edit(
        repository,
        "extensions/torch_template/matrix/model.py",
        "class ComputePlatform(_Strict):\n",
        "class ComputePlatform(_Strict):\n    since: str\n",
    )
    release_with(repository, "v1.1.0", add_the_key)
    project = start(repository, tmp_path / "project")
    update(project)
    assert files(project) == files(copy(repository, tmp_path / "fresh"))


def add_the_key(facts: dict[str, Any]) -> None:
    for row in facts["compute_platforms"].values():
        row["since"] = "2026"


def loader(template: Path) -> Callable[[Path], ModuleType]:
    """The function of a template's one extension that loads its package."""
    spec = spec_from_file_location("of_this_test", template / "extensions" / "torch_starter.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    load: Callable[[Path], ModuleType] = module.load
    return load


def test_clones_of_one_version_share_what_is_loaded(template: Path, tmp_path: Path) -> None:
    load = loader(template)
    one, other = (
        Path(shutil.copytree(template / "extensions", tmp_path / name)) / "torch_template"
        for name in ("one", "other")
    )
    loaded = load(one)
    shutil.rmtree(one)  # as Copier removes its clones
    assert load(other) is loaded
    assert list(other.rglob("__pycache__")) == []
    edit(other, "matrix/version_matrix.yml", "cpu: {name: CPU,", "cpu: {name: Processor,")
    assert load(other) is not loaded


def test_a_broken_module_is_not_taken_for_loaded_the_next_time(
    template: Path, tmp_path: Path
) -> None:
    load = loader(template)
    package = Path(shutil.copytree(template / "extensions", tmp_path / "copy")) / "torch_template"
    edit(package, "moves.py", "from __future__", "raise LookupError\nfrom __future__")
    before = {*sys.modules}
    for _ in range(2):
        with pytest.raises(SyntaxError):
            load(package)
    assert {name for name in {*sys.modules} - before if "torch_template" in name} == set()
