"""What the real Copier makes: exact files, the same text as the shortcut, and legal everywhere."""

from __future__ import annotations

import json
import os
import posixpath
import random
import re
import stat
from functools import cache
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from matrix.doctored import MANAGERS, frozen, offered
from render.projects import ROOT, copy, files, git, recorded, working_tree
from render.shortcut import ANSWERS, answers_for, shortcut
from torch_template.build import Asked
from torch_template.matrix.facts import is_usable
from torch_template.matrix.model import Matrix

SAMPLE = 60
LICENSES = ("MIT", "Apache-2.0", "BSD-3-Clause", "Proprietary")
CIS = ("github", "gitlab", "none")
LONG = {"project_name": "p" * 50, "package_name": "p" * 50}

ALWAYS = """
.copier-answers.yml .editorconfig .gitattributes .gitignore .python-version LICENSE README.md
bootstrap.cmd bootstrap.ps1 bootstrap.sh docs/pytorch-build.md pyproject.toml
scripts/gpu_smoke_test.py scripts/torch_builds.json
scripts/torch_starter/README.md scripts/torch_starter/bootstrap.py
scripts/torch_starter/bootstrapping/__init__.py scripts/torch_starter/bootstrapping/choice.py
scripts/torch_starter/bootstrapping/command.py scripts/torch_starter/bootstrapping/conflicts.py
scripts/torch_starter/bootstrapping/contents.py scripts/torch_starter/bootstrapping/downloads.py
scripts/torch_starter/bootstrapping/environment.py scripts/torch_starter/bootstrapping/failures.py
scripts/torch_starter/bootstrapping/fallback.py scripts/torch_starter/bootstrapping/fit.py
scripts/torch_starter/bootstrapping/index.py scripts/torch_starter/bootstrapping/installation.py
scripts/torch_starter/bootstrapping/lock_project.py
scripts/torch_starter/bootstrapping/locking.py scripts/torch_starter/bootstrapping/machine_build.py
scripts/torch_starter/bootstrapping/managers.py scripts/torch_starter/bootstrapping/pylocks.py
scripts/torch_starter/bootstrapping/pylock_check.py
scripts/torch_starter/bootstrapping/pylock_install.py
scripts/torch_starter/bootstrapping/places.py scripts/torch_starter/bootstrapping/project.py
scripts/torch_starter/bootstrapping/requirements.py scripts/torch_starter/bootstrapping/runner.py
scripts/torch_starter/bootstrapping/said.py scripts/torch_starter/bootstrapping/settings.py
scripts/torch_starter/bootstrapping/system.py scripts/torch_starter/bootstrapping/system_errors.py
scripts/torch_starter/bootstrapping/wheelhouse.py scripts/torch_starter/gpu_smoke/__init__.py
scripts/torch_starter/gpu_smoke/blame.py scripts/torch_starter/gpu_smoke/bug_report.py
scripts/torch_starter/gpu_smoke/builds.py scripts/torch_starter/gpu_smoke/cards.py
scripts/torch_starter/gpu_smoke/catalogue.py scripts/torch_starter/gpu_smoke/check.py
scripts/torch_starter/gpu_smoke/command.py scripts/torch_starter/gpu_smoke/companion_checks.py
scripts/torch_starter/gpu_smoke/compile_checks.py scripts/torch_starter/gpu_smoke/device_checks.py
scripts/torch_starter/gpu_smoke/dlls.py scripts/torch_starter/gpu_smoke/driver_checks.py
scripts/torch_starter/gpu_smoke/driver_facts.py scripts/torch_starter/gpu_smoke/elf.py
scripts/torch_starter/gpu_smoke/environment_checks.py scripts/torch_starter/gpu_smoke/full_checks.py
scripts/torch_starter/gpu_smoke/loading.py scripts/torch_starter/gpu_smoke/machine.py
scripts/torch_starter/gpu_smoke/metadata.py scripts/torch_starter/gpu_smoke/origins.py
scripts/torch_starter/gpu_smoke/package_checks.py scripts/torch_starter/gpu_smoke/redaction.py
scripts/torch_starter/gpu_smoke/report.py scripts/torch_starter/gpu_smoke/report.schema.json
scripts/torch_starter/gpu_smoke/requirements.py scripts/torch_starter/gpu_smoke/speed_checks.py
scripts/torch_starter/gpu_smoke/torch_checks.py scripts/torch_starter/in_venv.py
scripts/torch_starter/ruff.toml
scripts/torch_starter/surroundings/__init__.py scripts/torch_starter/surroundings/codes.ini
scripts/torch_starter/surroundings/knowledge.py scripts/torch_starter/surroundings/linux.py
scripts/torch_starter/surroundings/packages.ini scripts/torch_starter/surroundings/place.py
scripts/torch_starter/surroundings/processes.py scripts/torch_starter/surroundings/symptoms.ini
scripts/torch_starter/surroundings/system.py scripts/torch_starter/surroundings/versions.py
scripts/torch_starter/template_publish.py scripts/torch_starter/template_update.py
src/my_torch_project/__init__.py src/my_torch_project/device.py src/my_torch_project/py.typed
tests/test_device.py
"""
# A file for each kind of cause.
CAUSES = [
    path.relative_to(ROOT / "template").as_posix()
    for path in (ROOT / "template/scripts/torch_starter/surroundings/causes").iterdir()
]
OF_MANAGER = {
    "uv": [],
    "poetry": ["poetry.toml"],
    "pip": ["requirements/torch-cpu.txt"],
}
OF_EXTRAS = {
    "agents": ["AGENTS.md"],
    "pre-commit": [".pre-commit-config.yaml"],
    "vscode": [".vscode/extensions.json", ".vscode/settings.json", ".vscode/tasks.json"],
}
OF_CI = {
    "github": [
        ".github/workflows/ci.yml",
        ".github/workflows/template-update.yml",
        "renovate.json",
    ],
    "gitlab": [".gitlab-ci.yml", "renovate.json"],
    "none": [],
}


@cache
def sample() -> list[Asked]:
    """Combinations that together have as many pairs of answers as so few can; always the same."""
    matrix = frozen()
    menu = matrix.policy
    every = [
        asked
        for manager in MANAGERS
        for python in menu.python.listed(None)
        for name in menu.compute_platforms.listed(None)
        for asked in offered(matrix, manager, python, name)
    ]
    chance = random.Random(0)
    covered: set[tuple[Any, ...]] = set()
    chosen = []
    for _ in range(SAMPLE):
        best = max(chance.sample(every, 200), key=lambda asked: len(pairs(asked) - covered))
        covered |= pairs(best)
        chosen.append(best)
    return chosen


def pairs(asked: Asked) -> set[tuple[Any, ...]]:
    return set(combinations(enumerate(vars(asked).values()), 2))


def test_the_sample_has_every_manager_python_and_compute_platform() -> None:
    menu = frozen().policy
    chosen = sample()
    assert {asked.manager for asked in chosen} == set(MANAGERS)
    assert {asked.python for asked in chosen} == set(menu.python.listed(None))
    blocked = {n for n, row in frozen().compute_platforms.items() if row.blocked}
    wanted = set(menu.compute_platforms.listed(None)) - blocked
    assert {asked.compute_platform for asked in chosen} == wanted


@pytest.mark.some(30)
@pytest.mark.few(4)
@pytest.mark.parametrize("number", range(SAMPLE))
def test_copier_renders_what_the_shortcut_renders(
    template: Path, tmp_path: Path, number: int
) -> None:
    asked = sample()[number]
    answers = answers_for(asked, license=LICENSES[number % 4], ci=CIS[number % 3])
    copied = files(copy(template, tmp_path / "project", **answers))
    rendered = shortcut(template).render(answers)
    # Copier adds where the project came from to what it records.
    remembered = yaml.safe_load(rendered.pop(".copier-answers.yml"))
    assert recorded(tmp_path / "project") == {"_src_path": str(template), **remembered}
    for name, text in rendered.items():
        assert copied[name].decode() == text, name


@pytest.mark.parametrize("ci", CIS)
@pytest.mark.parametrize("manager", MANAGERS)
def test_a_project_has_exactly_these_files(
    template: Path, tmp_path: Path, manager: str, ci: str
) -> None:
    project = copy(template, tmp_path / "project", package_manager=manager, ci=ci)
    extras = [name for names in OF_EXTRAS.values() for name in names]
    expected = [*ALWAYS.split(), *CAUSES, *OF_MANAGER[manager], *OF_CI[ci], *extras]
    assert sorted(files(project)) == sorted(expected)


@pytest.mark.parametrize("manager", MANAGERS)
def test_no_file_of_a_project_has_jinja_left_in_it(
    template: Path, tmp_path: Path, manager: str
) -> None:
    for name, content in files(copy(template, tmp_path / "p", package_manager=manager)).items():
        text = content.decode().replace("${{", "")  # GitHub's own expressions
        assert not re.search(r"\{\{|\{%|\{#", text), name
        assert "{" not in name


@pytest.mark.parametrize("ci", CIS)
@pytest.mark.parametrize("manager", MANAGERS)
def test_what_the_pages_of_a_project_link_and_name_is_there(
    template: Path, tmp_path: Path, manager: str, ci: str
) -> None:
    made = files(copy(template, tmp_path / "project", package_manager=manager, ci=ci))
    pages = {name: made[name].decode() for name in ("README.md", "docs/pytorch-build.md")}
    for page, text in pages.items():
        for link in re.findall(r"\]\(([^)]+)\)", text):
            name, _, heading = link.partition("#")
            target = posixpath.join(posixpath.dirname(page), name) if name else page
            assert target in made, link
            title = f"# {heading.replace('-', ' ')}\n"
            assert not heading or title in made[target].decode().lower(), link
        named = re.findall(r"(?<![\w/.])(?:scripts|requirements|\.github)/[\w./-]*\w", text)
        locked = {"locks/pylock.cpu.toml"}  # which the bootstrap makes
        assert set(named) - locked <= set(made), page
        assert named, page


@pytest.mark.few(6)
@pytest.mark.parametrize("series", ["latest", "2.13", "2.8", "2.5", "2.4"])
@pytest.mark.parametrize("manager", MANAGERS)
def test_the_documented_way_to_another_platform_works(
    template: Path, tmp_path: Path, manager: str, series: str
) -> None:
    answers = {"package_manager": manager, "torch_version": series, "python_version": "3.11"}
    page = files(copy(template, tmp_path / "cpu", **answers))["docs/pytorch-build.md"].decode()
    named = re.search(r"--data compute_platform=(\S+)", page)
    assert named
    assert named[1] != "cpu"
    copy(template, tmp_path / "other", **answers, compute_platform=named[1])


def test_the_defaults_are_a_cpu_build_with_uv(template: Path, tmp_path: Path) -> None:
    answers = recorded(copy(template, tmp_path / "project"))
    del answers["_src_path"]
    assert answers == {
        **ANSWERS,
        "package_manager": "uv",
        "python_version": "3.12",
        "compute_platform": "cpu",
        "torch_version": "latest",
        "torch_packages": ["torchvision"],
        "extra_compute_platforms": [],
        "extra_files": ["agents", "pre-commit", "vscode"],
    }


@pytest.fixture(scope="module")
def from_git(tmp_path_factory: pytest.TempPathFactory, git_template: Path) -> Path:
    """A project with the longest names, made from a git clone, as people make theirs."""
    return copy(git_template, tmp_path_factory.mktemp("git") / "project", **LONG, ci="github")


def test_line_endings_are_unix_but_for_the_windows_scripts(from_git: Path) -> None:
    for name, content in files(from_git).items():
        windows = name.endswith((".cmd", ".ps1"))
        lines, carriage_returns = content.count(b"\n"), content.count(b"\r")
        assert carriage_returns == (lines if windows else 0), name
        assert content.count(b"\r\n") == carriage_returns, name


@pytest.mark.skipif(os.name == "nt", reason="Windows has no executable bit")
def test_the_scripts_with_a_shebang_are_executable_and_nothing_else_is(from_git: Path) -> None:
    scripts = [name for name, content in files(from_git).items() if content.startswith(b"#!")]
    executable = [
        name for name in files(from_git) if (from_git / name).stat().st_mode & stat.S_IXUSR
    ]
    assert executable == scripts
    assert "bootstrap.sh" in scripts


def test_the_executable_bit_survives_the_first_commit(from_git: Path) -> None:
    git(from_git, "init", "--quiet")
    git(from_git, "add", "--all")
    assert git(from_git, "ls-files", "--stage", "bootstrap.sh").startswith("100755 ")


def illegal(path: PurePosixPath) -> bool:
    """Whether Windows cannot have a file of that name."""
    device = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?$")
    return any(
        re.search(r'[<>:"|?*\\\x00-\x1f]', part) or part[-1] in ". " or device.match(part)
        for part in path.parts
    )


def test_windows_can_have_every_file_of_a_project(from_git: Path) -> None:
    paths = [PurePosixPath(name) for name in files(from_git)]
    assert [path for path in paths if illegal(path)] == []
    assert max(len(str(path)) for path in paths) <= 120


def test_windows_can_have_every_file_of_this_repository() -> None:
    paths = [PurePosixPath(path.as_posix()) for path in working_tree()]
    assert len(paths) > 30
    assert [path for path in paths if illegal(path)] == []
    assert [path for path in paths if len(str(path)) > 120] == []


def test_no_two_files_of_this_repository_differ_only_in_case() -> None:
    names = [path.as_posix().lower() for path in working_tree()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("manager", MANAGERS)
def test_text_files_are_as_an_editor_would_save_them(
    template: Path, tmp_path: Path, manager: str
) -> None:
    project = copy(template, tmp_path / "project", package_manager=manager, ci="gitlab")
    for name, content in files(project).items():
        lines = content.decode().replace("\r\n", "\n").split("\n")
        assert lines[-1] == "", name
        assert len(lines) == 1 or lines[-2] or name == ".copier-answers.yml", name
        assert [line for line in lines if line != line.rstrip()] == [], name


def test_the_answers_file_does_not_end_with_an_empty_line(template: Path, tmp_path: Path) -> None:
    project = copy(template, tmp_path / "project")
    assert not (project / ".copier-answers.yml").read_text(encoding="utf-8").endswith("\n\n")


@pytest.mark.parametrize("platform", ["pypi", "cu128"])
def test_the_data_file_names_the_pythons_that_keep_the_torch(
    template: Path, tmp_path: Path, matrix: Matrix, platform: str
) -> None:
    def data(**answers: str) -> dict[str, Any]:
        folder = copy(template, tmp_path / str(answers), compute_platform=platform, **answers)
        return dict(json.loads((folder / "scripts/torch_builds.json").read_text(encoding="utf-8")))

    project = data()
    release = project["release"]
    kept = [
        minor
        for minor in matrix.policy.python.listed(None)
        if is_usable(matrix, release, platform, minor)
        and data(python_version=minor)["release"] == release
    ]
    assert project["pythons"] == kept
    assert ("3.10" in kept) == (platform != "pypi")
