"""A project's own names: another package name moves no file, and loses none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from copier import VcsRef
from copier.errors import UserMessageError

from render.projects import (
    commit,
    copier,
    copier_here,
    copy,
    files,
    git,
    recorded,
    release,
    start,
    update,
)
from update.versions import assert_clean

OLD, NEW = "my_torch_project", "vision"
OWN = {
    f"src/{OLD}/__init__.py": f"from {OLD}.model import SIZE\n\n__all__ = ['SIZE']\n",
    f"src/{OLD}/model.py": "SIZE = 3\n",
    f"src/{OLD}/data/words.txt": "cat\n",
    "tests/test_model.py": (
        f"import {OLD}\nfrom {OLD}.model import SIZE\n\n\n"
        f"def test_the_size() -> None:\n    assert SIZE == {OLD}.SIZE == 3\n"
    ),
}


@pytest.fixture
def project(history: Path, tmp_path: Path) -> Path:
    """A project with an edited `__init__.py`, a module, data and a test of its owner's."""
    project = start(history, tmp_path / "project", "v1.2.0")
    for name, text in OWN.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    commit(project)
    return project


def refused(project: Path, command: str = "update") -> str:
    """The sentence with which another package name is refused; nothing has changed."""
    before = files(project)
    data = ("--data", f"package_name={NEW}")
    more = ["--overwrite"] if command == "recopy" else []
    result = copier(command, "--trust", "--defaults", *more, *data, project)
    assert result.returncode == 1, result.stderr
    assert "is up to date" not in result.stderr
    assert files(project) == before
    assert git(project, "status", "--porcelain") == ""
    return result.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "also", [("src", "tests"), (":!.copier-answers.yml",), (".",)], ids=["own", "most", "all"]
)
def test_the_commands_of_the_refusal_rename_the_package_and_lose_nothing(
    project: Path, also: tuple[str, ...]
) -> None:
    sentence = refused(project)
    assert sentence.startswith(f"package_name: the package is in src/{OLD}, which Copier does not")
    move, find = re.findall(r"`git (.+?)`", sentence)

    git(project, *move.split())
    for name in git(project, *find.split(), "--", *also).splitlines():
        text = (project / name).read_text(encoding="utf-8")
        (project / name).write_text(re.sub(rf"\b{OLD}\b", NEW, text), encoding="utf-8", newline="")
    commit(project)
    data = ("--data", f"package_name={NEW}")
    result = copier_here("update", "--trust", "--defaults", *data, project)

    assert result.returncode == 0, result.stderr
    assert_clean(project)
    assert recorded(project)["package_name"] == NEW
    assert not (project / f"src/{OLD}").exists()
    for name, text in OWN.items():
        assert (project / name.replace(OLD, NEW)).read_text() == text.replace(OLD, NEW)
    left = [name for name, text in files(project).items() if OLD.encode() in text]
    assert left == []
    environment = {**os.environ, "PYTHONPATH": "src"}
    command = [sys.executable, "-m", "pytest", "-q", "tests/test_model.py"]
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_recopy_is_refused_too(project: Path) -> None:
    assert "git mv" in refused(project, "recopy")


@pytest.mark.slow
def test_a_folder_of_the_new_name_is_not_moved_into(project: Path) -> None:
    (project / f"src/{NEW}").mkdir()
    (project / f"src/{NEW}/own.py").write_text("ONE = 1\n", encoding="utf-8")
    commit(project)
    sentence = refused(project)
    assert f"put what is in src/{OLD} into src/{NEW}, which is there already" in sentence
    assert "git mv" not in sentence


@pytest.mark.slow
def test_bytecode_alone_is_no_package_to_move(project: Path) -> None:
    git(project, "mv", f"src/{OLD}", f"src/{NEW}")
    commit(project)
    cache = project / f"src/{OLD}/__pycache__"
    cache.mkdir(parents=True)
    (cache / "model.cpython-312.pyc").write_bytes(b"")
    data = ("--data", f"package_name={NEW}")
    result = copier_here("update", "--trust", "--defaults", *data, project)
    assert result.returncode == 0, result.stderr
    assert (project / f"src/{NEW}/model.py").exists()


def test_another_project_name_leaves_the_package_where_it_is(project: Path) -> None:
    data = ("--data", "project_name=Vision")
    result = copier_here("update", "--trust", "--defaults", *data, project)
    assert result.returncode == 0, result.stderr
    assert_clean(project)
    assert recorded(project)["package_name"] == OLD
    for name, text in OWN.items():
        assert (project / name).read_text(encoding="utf-8") == text
    assert 'name = "Vision"' in (project / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("question", ["project_name", "package_name"])
def test_a_name_that_a_newer_version_refuses_stays_with_the_project_that_has_it(
    repository: Path, tmp_path: Path, question: str
) -> None:
    project = start(repository, tmp_path / "project", **{question: NEW})
    path = repository / "extensions/torch_template/dependencies.json"
    path.write_text(json.dumps({"distributions": [NEW], "modules": [NEW]}), encoding="utf-8")
    release(repository, "v1.1.0")
    for version in (None, VcsRef.CURRENT):
        update(project, vcs_ref=version)
        assert recorded(project)[question] == NEW
        assert recorded(project)["_commit"] == "v1.1.0"
        commit(project)
    with pytest.raises(UserMessageError, match=f"{question}: a p.* named {NEW} "):
        copy(repository, tmp_path / "fresh", **{question: NEW})
