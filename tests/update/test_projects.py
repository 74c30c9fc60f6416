"""`copier update` of a project: what was asked for stays, and so does what its owner wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import yaml
from copier import VcsRef

from render.projects import (
    PYTHON,
    ROOT,
    commit,
    copier_here,
    copy,
    files,
    git,
    recorded,
    release,
    start,
    update,
)
from render.reading import Builds, pins_in, pyproject
from update.versions import assert_clean, edit

MANAGERS = ("uv", "poetry", "pip")


def torch(project: Path) -> str:
    """The version of torch that a project asks for."""
    return pins_in(project)["torch"]


def build(project: Path) -> Builds:
    return Builds.parse((project / "scripts/torch_builds.json").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("manager", "compute_platform"),
    [
        *product(MANAGERS, ["cpu", "cu130"]),
        ("uv", "cu126"),
        ("uv", "rocm7.2"),
        ("poetry", "pypi"),
        ("pip", "xpu"),
    ],
)
def test_an_untouched_project_becomes_what_a_fresh_one_is(
    history: Path, tmp_path: Path, manager: str, compute_platform: str
) -> None:
    answers = {"package_manager": manager, "compute_platform": compute_platform}
    project = start(history, tmp_path / "project", "v1.2.0", **answers)
    assert torch(project) == "2.13.0"
    update(project)
    assert_clean(project)
    assert files(project) == files(copy(history, tmp_path / "fresh", **answers))
    assert torch(project) != "2.13.0"
    assert build(project).data["compute_platform"] == compute_platform


@pytest.mark.slow
def test_the_machinery_moves_into_its_folder_and_leaves_what_is_the_owner_s(
    repository: Path, tmp_path: Path
) -> None:
    """Versions before schema 2 had it in scripts/ itself."""
    parts = ("bootstrap.py", "bootstrapping", "gpu_smoke", "template_update.py")
    for part in parts:
        git(repository, "mv", f"template/scripts/torch_starter/{part}", f"template/scripts/{part}")
    release(repository, "v1.1.0")
    project = start(repository, tmp_path / "project", "v1.1.0")
    assert all((project / "scripts" / part).exists() for part in parts)
    for part in parts:
        git(repository, "mv", f"template/scripts/{part}", f"template/scripts/torch_starter/{part}")
    release(repository, "v2.0.0")
    own = project / "scripts/bootstrapping.md"
    own.write_text("mine\n", encoding="utf-8")
    commit(project)
    said = copier_here("update", "--trust", "--defaults", project)
    assert "in scripts/bootstrap.py, scripts/bootstrapping, scripts/gpu_smoke and" in said.stderr
    assert "it did not move along: `git diff HEAD -- scripts` shows it." in said.stderr
    assert_clean(project)
    fresh = files(copy(repository, tmp_path / "fresh"))  # of the newest version
    assert files(project) == {**fresh, "scripts/bootstrapping.md": b"mine\n"}
    commit(project)
    (repository / "template/bootstrap.ps1").write_text("exit 0\n", encoding="utf-8")
    release(repository, "v2.1.0")
    assert "move along" not in copier_here("update", "--trust", "--defaults", project).stderr


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("answers", "before", "after"),
    [
        ({"compute_platform": "cpu"}, "2.13.0", "2.14.1"),
        ({"compute_platform": "cu126", "python_version": "3.10"}, "2.13.0", "2.14.1"),
        ({"compute_platform": "cu129"}, "2.13.0", "2.13.0"),
        ({"compute_platform": "cu128"}, "2.11.0", "2.11.0"),
        ({"compute_platform": "cu118"}, "2.7.1", "2.7.1"),
        ({"compute_platform": "rocm7.1"}, "2.13.0", "2.13.0"),
        ({"compute_platform": "cu130", "torch_version": "2.13"}, "2.13.0", "2.13.0"),
        ({"compute_platform": "pypi", "python_version": "3.10"}, "2.13.0", "2.14.1"),
        ({"compute_platform": "pypi", "python_version": "3.11"}, "2.13.0", "2.15.0"),
    ],
)
def test_torch_moves_as_far_as_the_python_and_the_compute_platform_allow(
    history: Path, tmp_path: Path, answers: dict[str, str], before: str, after: str
) -> None:
    project = start(history, tmp_path / "project", "v1.2.0", **answers)
    assert torch(project) == before
    update(project)
    assert torch(project) == after
    assert {name: recorded(project)[name] for name in answers} == answers
    assert build(project).data["compute_platform"] == answers["compute_platform"]


@pytest.mark.slow
def test_a_series_gets_its_newest_patch(history: Path, tmp_path: Path) -> None:
    project = start(history, tmp_path / "project", "v1.3.0", torch_version="2.14")
    assert torch(project) == "2.14.0"
    update(project)
    assert torch(project) == "2.14.1"
    assert recorded(project)["torch_version"] == "2.14"


@pytest.mark.slow
def test_an_update_to_the_same_version_changes_nothing(history: Path, tmp_path: Path) -> None:
    project = start(history, tmp_path / "project", "v2.0.0")
    update(project)
    assert git(project, "status", "--porcelain") == ""


def add(path: Path, after: str, text: str) -> None:
    """Write a text into a file, behind another one."""
    content = path.read_text(encoding="utf-8")
    assert content.count(after) == 1
    path.write_text(content.replace(after, after + text), encoding="utf-8")


@pytest.mark.few(1)
@pytest.mark.parametrize("manager", MANAGERS)
def test_what_the_owner_wrote_survives_a_new_torch(
    history: Path, tmp_path: Path, manager: str
) -> None:
    project = start(history, tmp_path / "project", "v1.2.0", package_manager=manager)
    add(project / "pyproject.toml", '    "numpy",\n', '    "lightning>=2.5",\n')
    add(project / "pyproject.toml", '    "pytest>=8.3",\n', '    "pytest-cov",\n')
    add(project / "pyproject.toml", 'version = "0.1.0"\n', 'keywords = ["mine"]\n')
    add(project / "README.md", "# my-torch-project\n", "\nThis is about my data.\n")
    add(project / "README.md", "## Run\n", "\nFirst fetch the data.\n")
    add(project / ".gitignore", "dist/\n", "data/\n")
    own = {"src/my_torch_project/train.py": b"EPOCHS = 3\n", "notes/one.md": b"# One\n"}
    for name, content in own.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_bytes(content)
    commit(project)
    update(project)
    assert_clean(project)
    after = files(project)
    assert {name: after[name] for name in own} == own
    text = after["pyproject.toml"].decode()
    data = pyproject(text)
    assert torch(project) == "2.14.1"
    assert "lightning>=2.5" in data["project"]["dependencies"]
    assert "pytest-cov" in data["dependency-groups"]["dev"]
    assert data["project"]["keywords"] == ["mine"]
    readme = after["README.md"].decode()
    assert "This is about my data." in readme
    assert "## Run\n\nFirst fetch the data.\n" in readme
    assert "torch 2.14.1 for CPU" in readme
    assert b"data/\n" in after[".gitignore"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "commands",
    [["add lightning accelerate zarr"], ["remove numpy", "add accelerate"]],
    ids=" and ".join,
)
def test_what_uv_added_survives_a_new_torch(
    history: Path, tmp_path: Path, commands: list[str]
) -> None:
    project = start(history, tmp_path / "project", "v1.2.0", python_version=PYTHON)
    uv = str(Path(sys.executable).with_name("uv"))
    for command in commands:
        options = ["--frozen", "--offline", "--python", sys.executable]
        run = [uv, *command.split(), *options]
        subprocess.run(run, cwd=project, check=True, capture_output=True)
    commit(project)
    update(project)
    assert_clean(project)
    data = pyproject((project / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(commands[-1].split()[1:]) <= set(data["project"]["dependencies"])
    assert torch(project) == "2.14.1"


@pytest.mark.slow
def test_a_dependency_that_poetry_added_survives_a_new_torch(history: Path, tmp_path: Path) -> None:
    project = start(history, tmp_path / "project", "v1.2.0", package_manager="poetry")
    path = project / "pyproject.toml"
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    table: Any = document["project"]
    table["dependencies"].append("lightning (>=2.5,<3.0)")  # as `poetry add` does it
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
    commit(project)
    update(project)
    assert_clean(project)
    assert "lightning (>=2.5,<3.0)" in path.read_text(encoding="utf-8")
    assert torch(project) == "2.14.1"


@pytest.mark.slow
def test_a_file_that_the_owner_deleted_stays_away(history: Path, tmp_path: Path) -> None:
    project = start(history, tmp_path / "project", "v1.2.0")
    (project / "tests/test_device.py").unlink()
    commit(project)
    update(project)
    assert not (project / "tests/test_device.py").exists()


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("before", "change"),
    [
        ({"package_manager": "uv"}, {"compute_platform": "cu126"}),
        ({"package_manager": "pip"}, {"compute_platform": "cu126"}),
        ({"package_manager": "poetry"}, {"compute_platform": "cu130"}),
        ({"package_manager": "uv"}, {"package_manager": "poetry"}),
        ({"package_manager": "poetry"}, {"package_manager": "pip"}),
        ({"package_manager": "pip"}, {"package_manager": "uv"}),
        ({"compute_platform": "pypi"}, {"compute_platform": "cpu"}),
        ({"compute_platform": "cpu"}, {"compute_platform": "pypi"}),
        ({"ci": "github"}, {"ci": "gitlab"}),
        ({"python_version": "3.12"}, {"python_version": "3.14", "torch_packages": []}),
        ({"package_name": "any_name"}, {"license": "Apache-2.0"}),
    ],
    ids=str,
)
def test_other_answers_give_what_a_fresh_project_with_them_is(
    history: Path, tmp_path: Path, before: dict[str, Any], change: dict[str, Any]
) -> None:
    project = start(history, tmp_path / "project", "v2.0.0", **before)
    update(project, vcs_ref=VcsRef.CURRENT, **change)
    assert_clean(project)
    assert files(project) == files(copy(history, tmp_path / "fresh", **(before | change)))


@pytest.mark.slow
def test_the_current_version_changes_answers_only(history: Path, tmp_path: Path) -> None:
    project = start(history, tmp_path / "project", "v1.2.0")
    update(project, vcs_ref=VcsRef.CURRENT, compute_platform="cu126")
    assert recorded(project)["_commit"] == "v1.2.0"
    assert torch(project) == "2.13.0"
    assert build(project).data["compute_platform"] == "cu126"


def test_a_new_version_and_another_compute_platform_go_together(
    history: Path, tmp_path: Path
) -> None:
    project = start(history, tmp_path / "project", "v1.2.0")
    update(project, compute_platform="cu126")
    assert torch(project) == "2.14.1"
    assert recorded(project)["compute_platform"] == "cu126"
    assert_clean(project)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "answers",
    [
        {"pytorch_index_url": "https://mirror.example/whl"},
        {"license": "Proprietary", "ci": "gitlab", "user_name": "Jane", "user_email": "j@x.org"},
        {"torch_packages": []},
        {"torch_packages": ["torchvision", "torchaudio"], "torch_version": "2.11"},
        {"project_name": "Lab", "package_name": "vision_lab", "project_description": "no: {{ x }}"},
    ],
    ids=lambda answers: " ".join(answers),
)
def test_no_answer_is_replaced_by_a_default(
    history: Path, tmp_path: Path, answers: dict[str, Any]
) -> None:
    project = start(history, tmp_path / "project", "v1.2.0", **answers)
    before = recorded(project)
    update(project)
    after = recorded(project)
    assert after.pop("_commit") == "v2.0.0"
    assert before.pop("_commit") == "v1.2.0"
    assert after == before
    assert {name: after[name] for name in answers} == answers
    index = json.dumps(build(project).build["index_url"])
    assert answers.get("pytorch_index_url", "https://download.pytorch.org/whl") in index


GIVEN = "extensions/torch_template/given.py"
MIRROR = "https://mirror.example/whl"


@pytest.mark.slow
@pytest.mark.parametrize("first", ["cu130", "pypi"])
def test_a_mirror_is_kept_while_no_build_comes_from_it(
    history: Path, tmp_path: Path, first: str
) -> None:
    answers = {"pytorch_index_url": MIRROR, "compute_platform": first}
    project = start(history, tmp_path / "project", "v2.0.0", **answers)
    for platform in ("pypi", "cu130"):
        update(project, vcs_ref=VcsRef.CURRENT, compute_platform=platform)
        assert recorded(project)["pytorch_index_url"] == MIRROR
        commit(project)
    assert build(project).build["index_url"] == f"{MIRROR}/cu130"


@pytest.mark.slow
def test_an_older_project_of_pypi_that_has_no_answer_for_the_mirror_gets_one(
    repository: Path, tmp_path: Path
) -> None:
    """Copier forgets the answers of a question with a `when:` that is false."""
    ask = """  ask: "{{ check_answer('pytorch_index_url') and compute_platform != 'pypi' }}"\n"""
    edit(repository, "copier.yml", ask, """  when: "{{ compute_platform != 'pypi' }}"\n""")
    missed = "are_recorded(context) and question not in"
    edit(repository, GIVEN, missed, f"question != 'pytorch_index_url' and {missed}")
    release(repository, "v1.1.0")
    project = start(repository, tmp_path / "project", "v1.1.0", compute_platform="pypi")
    assert "pytorch_index_url" not in recorded(project)
    git(repository, "checkout", "--quiet", "v1.0.0", "--", "copier.yml", GIVEN)
    release(repository, "v2.0.0")
    update(project)
    assert recorded(project)["pytorch_index_url"] == "https://download.pytorch.org/whl"
    assert_clean(project)


def test_no_answer_hides_another_s_question() -> None:
    """Copier would forget what was recorded there."""
    questions = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    asked = {name: one for name, one in questions.items() if not name.startswith("_")}
    when = {name: one["when"] for name, one in asked.items() if "when" in one}
    assert when == {"own_files": "{{ (own_files | default([])) != [] }}"}  # but what is not given


@pytest.mark.slow
def test_versions_may_be_skipped(history: Path, tmp_path: Path) -> None:
    project = start(history, tmp_path / "project", "v1.1.0")
    update(project)
    assert_clean(project)
    assert files(project) == files(copy(history, tmp_path / "fresh"))
