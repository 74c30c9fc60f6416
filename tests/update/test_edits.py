"""What the owner of a project changed survives an update, whatever kind of change it is."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from render.projects import commit, files, git, start, update
from update.versions import CONFLICTS, assert_clean

# The text before which a test writes, what it writes, and for which managers the text is there.
EVERY = ("uv", "poetry", "pip")
INSERTED: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "a dependency at the end of the list": (
        "pyproject.toml",
        "]\n\n[dependency-groups]\n",
        '    "lightning>=2.5",\n',
        EVERY,
    ),
    "a dependency at the start of their own": (
        "pyproject.toml",
        '    "numpy",\n',
        '    "einops",\n    "h5py",\n',
        EVERY,
    ),
    "a development tool": ("pyproject.toml", '    "ruff>=0.9",\n', '    "pytest-cov",\n', EVERY),
    "a dependency group": (
        "pyproject.toml",
        "[build-system]\n",
        'docs = [\n    "mkdocs",\n]\n\n',
        EVERY,
    ),
    "an extra and an entry point": (
        "pyproject.toml",
        "[dependency-groups]\n",
        '[project.optional-dependencies]\nplots = ["matplotlib"]\n\n'
        '[project.scripts]\ntrain = "my_torch_project.train:main"\n\n',
        EVERY,
    ),
    "keywords": ("pyproject.toml", 'readme = "README.md"\n', 'keywords = ["vision"]\n', EVERY),
    "a rule of ruff": ("pyproject.toml", 'src = ["src", "tests"]\n', "preview = true\n", EVERY),
    "an index and a source": (
        "pyproject.toml",
        "[[tool.uv.index]]\n",
        'mine = { index = "company" }\n\n[[tool.uv.index]]\nname = "company"\n'
        'url = "https://packages.example/simple"\nexplicit = true\n\n',
        ("uv",),
    ),
    "a source of Poetry": (
        "pyproject.toml",
        "[tool.mypy]\n",
        '[[tool.poetry.source]]\nname = "company"\nurl = "https://packages.example/simple"\n'
        'priority = "explicit"\n\n',
        ("poetry",),
    ),
    "a section of the README": ("README.md", "## Run\n", "## Data\n\nAsk Jane.\n\n", EVERY),
    "the end of the README": ("README.md", "## License\n", "## Thanks\n\nTo Jane.\n\n", EVERY),
    "a step of the workflow": (
        ".github/workflows/ci.yml",
        "      - name: Test\n",
        "      - name: Fetch data\n        run: make data\n",
        EVERY,
    ),
    "a trigger of the workflow": (
        ".github/workflows/ci.yml",
        "permissions: {}\n",
        "  workflow_dispatch:\n\n",
        EVERY,
    ),
    "an ignored folder": (".gitignore", "build/\n", "data/\n", EVERY),
    "large files": (".gitattributes", "*.lock", "*.ckpt filter=lfs diff=lfs -text\n", EVERY),
    "a test": ("tests/test_device.py", "def test_", "EPSILON = 1e-6\n\n\n", EVERY),
    "a line of bootstrap": ("bootstrap.sh", "set -", "export HF_HOME=/data/hf\n", EVERY),
}


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory, history: Path) -> dict[str, Path]:
    """A project of torch 2.11 for each manager."""
    folder = tmp_path_factory.mktemp("untouched")
    return {m: start(history, folder / m, "v1.1.0", package_manager=m) for m in EVERY}


def project_of(untouched: dict[str, Path], manager: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(untouched[manager], tmp_path / "project"))


@pytest.mark.some(12)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("manager", "kind"),
    [(manager, kind) for kind, (*_, managers) in INSERTED.items() for manager in managers],
)
def test_lines_that_the_owner_wrote_are_kept_and_nothing_else_differs(
    untouched: dict[str, Path], tmp_path: Path, manager: str, kind: str
) -> None:
    file, before, text, _ = INSERTED[kind]
    project = project_of(untouched, manager, tmp_path)
    path = project / file
    content = path.read_text(encoding="utf-8")
    assert before in content
    path.write_text(content.replace(before, text + before, 1), encoding="utf-8")
    commit(project)
    update(project)
    assert_clean(project)
    plain = Path(shutil.copytree(untouched[manager], tmp_path / "plain"))
    update(plain)
    after = path.read_text(encoding="utf-8")
    assert text in after
    expected = files(plain)
    assert after.replace(text, "", 1) == expected.pop(file).decode()
    assert {name: content for name, content in files(project).items() if name != file} == expected


def renamed_package(project: Path) -> None:
    git(project, "mv", "src/my_torch_project", "src/vision")


def deleted_files(project: Path) -> None:
    git(project, "rm", "--quiet", "bootstrap.ps1", ".editorconfig", "tests/test_device.py")


def own_files(project: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    (project / "uv.lock").write_text("version = 1\n", encoding="utf-8")


def other_version(project: Path) -> None:
    path = project / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('version = "0.1.0"', 'version = "1.2.3"'), encoding="utf-8")


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (renamed_package, {"src/vision/device.py": True, "src/my_torch_project": False}),
        (
            deleted_files,
            {"bootstrap.ps1": False, ".editorconfig": False, "tests/test_device.py": False},
        ),
        (own_files, {"Dockerfile": "FROM scratch\n", "uv.lock": "version = 1\n"}),
        (other_version, {"pyproject.toml": True}),
    ],
)
def test_files_that_the_owner_moved_deleted_or_wrote_stay_so(
    untouched: dict[str, Path],
    tmp_path: Path,
    change: Callable[[Path], None],
    expected: dict[str, bool | str],
) -> None:
    project = project_of(untouched, "uv", tmp_path)
    change(project)
    commit(project)
    update(project)
    assert_clean(project)
    for name, state in expected.items():
        path = project / name
        if isinstance(state, str):
            assert path.read_text(encoding="utf-8") == state
        else:
            assert path.exists() is state, name
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    assert '"torch == 2.14.1"' in text
    assert ('version = "1.2.3"' in text) is (change is other_version)


def regions(text: str) -> str:
    """What stands between the markers of conflicts."""
    return "".join(re.findall(r"<<<<<<< .*?>>>>>>> [^\n]*\n", text, re.DOTALL))


@pytest.mark.slow
def test_markers_appear_only_where_both_sides_changed_the_same_lines(
    untouched: dict[str, Path], tmp_path: Path
) -> None:
    project = project_of(untouched, "uv", tmp_path)
    path = project / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"torch == 2.11.0"', '"torch>=2.11"'), encoding="utf-8")
    commit(project)
    update(project)
    conflict = regions(path.read_text(encoding="utf-8"))
    assert '"torch>=2.11"' in conflict
    assert '"torch == 2.14.1"' in conflict
    assert not re.search("numpy|pytest|build-system", conflict)
    others = {name: content for name, content in files(project).items() if name != path.name}
    assert not any(mark in content for content in others.values() for mark in CONFLICTS)
