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
from copier.errors import UserMessageError

from render.projects import MATRIX_YML, copy, files, git, release, start, update
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def clone(template: Path, folder: Path) -> Path:
    """What of a template is loaded, in another folder."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(template / "extensions", folder / "extensions", ignore=ignored)
    shutil.copy2(template / "copier.yml", folder)
    return folder


def test_clones_of_one_version_share_what_is_loaded(template: Path, tmp_path: Path) -> None:
    load = loader(template)
    one, other = (clone(template, tmp_path / name) for name in ("one", "other"))
    loaded = load(one)
    shutil.rmtree(one)  # as Copier removes its clones
    assert load(other) is loaded
    assert loaded.__path__ == [str(other / "extensions" / "torch_template")]
    assert list(other.rglob("__pycache__")) == []


@pytest.mark.parametrize(
    "name", [MATRIX_YML, "copier.yml", "extensions/team.json", "extensions/torch_template/own.py"]
)
def test_a_version_of_which_any_file_differs_is_another_one(
    template: Path, tmp_path: Path, name: str
) -> None:
    load = loader(template)
    one, other = (clone(template, tmp_path / folder) for folder in ("one", "other"))
    with (other / name).open("a", encoding="utf-8") as file:
        file.write("\n")
    assert load(other) is not load(one)


def loaded_packages() -> set[str]:
    return {name for name in sys.modules if name.startswith("torch_template_")}


@pytest.mark.parametrize(
    ("name", "old", "new", "error"),
    [
        ("moves.py", "from __future__", "raise LookupError\nfrom __future__", SyntaxError),
        ("matrix/version_matrix.yml", "policy:", "policy: [", UserMessageError),
    ],
)
def test_what_is_broken_is_not_taken_for_loaded_the_next_time(
    template: Path, tmp_path: Path, name: str, old: str, new: str, error: type[Exception]
) -> None:
    load, before = loader(template), loaded_packages()
    for folder in ("one", "other"):
        broken = clone(template, tmp_path / folder)
        edit(broken, f"extensions/torch_template/{name}", old, new)
        with pytest.raises(error):
            load(broken)
        shutil.rmtree(broken)
    assert loaded_packages() == before


@pytest.mark.slow
def test_a_filter_of_a_fork_s_own_renders_an_update_with_its_new_rule(
    repository: Path, tmp_path: Path
) -> None:
    """Jinja applies a filter to a constant when it compiles, and what is compiled is kept."""
    own = repository / "extensions" / "own.py"
    own.write_text(OWN, encoding="utf-8")
    last = "  - extensions/torch_starter.py:TorchStarterExtension\n"
    edit(repository, "copier.yml", last, f"{last}  - extensions/own.py:OwnExtension\n")
    with (repository / "template/README.md.jinja").open("a", encoding="utf-8") as readme:
        readme.write("{{ 'Team' | brand }}\n")
    git(repository, "add", "--all")
    release(repository, "v1.1.0")
    edit(repository, "extensions/own.py", "red", "blue")
    release(repository, "v1.2.0")
    project = start(repository, tmp_path / "project", "v1.1.0")
    assert files(project)["README.md"].endswith(b"Team red\n")
    update(project)
    assert files(project)["README.md"].endswith(b"Team blue\n")


OWN = """
from jinja2.ext import Extension


class OwnExtension(Extension):
    def __init__(self, environment):
        super().__init__(environment)
        environment.filters["brand"] = lambda text: text + " red"
"""
