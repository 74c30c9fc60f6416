"""Repositories of many layouts take over the template, and lose nothing by it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import adopt
from adopt_find import parse_toml
from adopt_git import BRANCH
from adopting.repositories import NAMES, Layout, layout, made, options, run
from render.projects import ROOT, commit, files, git, recorded

# What an adoption may change of an owner's files.
MERGED = {"pyproject.toml", ".gitignore", ".gitattributes"}


def state(repository: Path) -> tuple[dict[str, bytes], str, str, str]:
    """All that somebody sees of a repository."""
    return (
        files(repository),
        git(repository, "status", "--porcelain", "--ignored"),
        git(repository, "for-each-ref"),
        git(repository, "worktree", "list"),
    )


def owner_s_lines(one: Layout) -> list[str]:
    """The lines of a pyproject.toml that are about nothing that the template has."""
    about = ("torch", "python", "]", "[[tool", "name =", "url =", "explicit", "priority")
    text = one.files.get("pyproject.toml", "")
    return [line for line in text.splitlines() if not any(word in line for word in about)]


@pytest.mark.few(2)
@pytest.mark.some(6)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_found_is_proposed_and_nothing_of_the_owner_s_is_lost(
    git_template: Path, tmp_path: Path, name: str
) -> None:
    one = layout(name)
    repository = made(one, tmp_path / name)
    before = state(repository)

    shown = run(git_template, repository, *options(one))
    assert shown.returncode == 0, shown.stderr
    assert state(repository) == before
    assert "Nothing is written." in shown.stdout
    said = " ".join(shown.stdout.split())
    assert [words for words in one.by_hand if words not in said] == []

    written = run(git_template, repository, *options(one), "--write")
    assert written.returncode == 0, written.stderr
    assert written.stdout.splitlines()[:20] == shown.stdout.splitlines()[:20]
    after = files(repository)
    assert {name for name in before[0] if after.get(name) != before[0][name]} <= MERGED
    text = after["pyproject.toml"]
    assert text.count(b"\r\n") == (text.count(b"\n") if one.crlf else 0)
    rest = iter(text.decode().splitlines())  # in their order, with their comments
    assert [line for line in owner_s_lines(one) if line.strip() and line not in rest] == []
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "rev-list", "--count", "main..HEAD").strip() == "1"
    answers = recorded(repository)
    for question, value in one.answers.items():
        assert f"  {question} " in shown.stdout
        if value is not None:
            assert answers[question] == value
    assert answers["_commit"] == "v1.0.0"
    git(repository, "switch", "--quiet", "-")
    assert files(repository) == before[0]


def test_what_only_the_owner_knows_is_asked_for(git_template: Path, tmp_path: Path) -> None:
    one = layout("uv-extras")
    repository = made(one, tmp_path / "two platforms")
    before = state(repository)
    done = run(git_template, repository, "--write")
    assert done.returncode == 1
    assert one.refused in done.stderr
    assert "say which by --data compute_platform=cpu or --data compute_platform=cu126" in (
        done.stderr
    )
    assert state(repository) == before


# Requirements that say what cannot be had, and the sentences about it.
UNFIT = {
    "torch==2.6.0+cu126\n--extra-index-url https://download.pytorch.org/whl/cu118\n": (
        "compute_platform: the files name several (cu118 by the index"
        " https://download.pytorch.org/whl/cu118 in requirements.txt:2; cu126 by torch==2.6.0+cu126"
        " in requirements.txt:1)"
    ),
    "torch==1.13.1+cu117\n": (
        "torch_version: '1.13' is not on offer: choose",
        "(proposed by torch==1.13.1+cu117 in requirements.txt:1; --data torch_version=... gives",
    ),
    "torch==2.5.1+cu999\n": (
        "compute_platform: 'cu999' is not on offer: choose",
        "(proposed by torch==2.5.1+cu999 in requirements.txt:1; --data compute_platform=... gives",
    ),
    "torch==2.4.1+cpu\ntorchcodec\n": (
        "torch_packages: ",
        "torchcodec",
        "(proposed by torchcodec in requirements.txt:2;",
    ),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("requirements", UNFIT)
def test_what_does_not_fit_is_named_with_its_place_and_the_way_out(
    git_template: Path, tmp_path: Path, requirements: str
) -> None:
    one = Layout("", "", {"requirements.txt": requirements}, {})
    repository = made(one, tmp_path / "unfit")
    done = run(git_template, repository, "--data", "python_version=3.11")
    assert done.returncode == 1
    wanted = UNFIT[requirements]
    for words in (wanted,) if isinstance(wanted, str) else wanted:
        assert words in done.stderr


def dirty(repository: Path) -> None:
    (repository / "README.md").write_text("# More\n", encoding="utf-8")


def rebasing(repository: Path) -> None:
    git(repository, "switch", "--quiet", "--create", "other")
    (repository / "README.md").write_text("# Other\n", encoding="utf-8")
    commit(repository)
    git(repository, "switch", "--quiet", "main")
    (repository / "README.md").write_text("# Main\n", encoding="utf-8")
    commit(repository)
    subprocess.run(["git", "rebase", "other"], cwd=repository, capture_output=True)
    git(repository, "checkout", "--quiet", "--force", "HEAD")


def answered(repository: Path) -> None:
    (repository / ".copier-answers.yml").write_text("_commit: v1\n", encoding="utf-8")
    commit(repository)


def sparse(repository: Path) -> None:
    git(repository, "sparse-checkout", "set", "Notebooks/Chap02")


def having(**texts: str) -> Callable[[Path], None]:
    """What commits files; `__` stands for a dot in a name."""

    def write(repository: Path) -> None:
        for name, text in texts.items():
            (repository / name.replace("__", ".")).write_text(text, encoding="utf-8")
        commit(repository)

    return write


def ignored(repository: Path) -> None:
    having(__gitignore="bootstrap.sh\n")(repository)
    (repository / "bootstrap.sh").write_text("mine\n", encoding="utf-8")


INLINE = '[project]\nname = "demo"\n[tool]\nuv = {sources = {torch = {index = "mine"}}}\n'
# How a repository is made unfit, and what is said of it.
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "dirty": (dirty, "Work is not committed (README.md): commit it or stash it."),
    "untracked": (
        lambda p: (p / "new.py").touch(),
        "Work is not committed (new.py): commit it or stash it.",
    ),
    "rebase": (rebasing, "A rebase is under way there: finish it, or `git rebase --abort`."),
    "adopted": (answered, ".copier-answers.yml, so it comes from a template already: `copier upd"),
    "sparse": (
        sparse,
        "has a sparse checkout, in which files are missing: `git sparse-checkout dis",
    ),
    "branch": (lambda p: git(p, "branch", BRANCH), f"It has a branch {BRANCH} already: check"),
    "no-toml": (having(pyproject__toml="[project\n"), "pyproject.toml is no TOML ("),
    "inline": (
        having(pyproject__toml=INLINE),
        "bring its tables into the usual form, each with a header of its own, commit, and run",
    ),
    "in-the-way": (
        having(docs="a file\n"),
        "docs is in the way of the template's docs/pytorch-build.md: rename it, commit, and run",
    ),
    "ignored": (
        ignored,
        "bootstrap.sh is there and git ignores it, so it would be lost: move it elsewhere and run",
    ),
}


@pytest.mark.few(6)
@pytest.mark.parametrize("name", REFUSED)
def test_a_repository_in_which_something_could_be_lost_is_refused(
    git_template: Path, tmp_path: Path, name: str
) -> None:
    repository = made(layout("notebooks"), tmp_path / "repository")
    spoil, words = REFUSED[name]
    spoil(repository)
    before = state(repository)
    done = run(git_template, repository, "--write")
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert state(repository) == before


def test_a_folder_that_is_no_repository_of_its_own_is_refused(
    git_template: Path, tmp_path: Path
) -> None:
    repository = made(layout("notebooks"), tmp_path / "repository")
    (tmp_path / "plain").mkdir()
    places = {
        tmp_path / "nowhere": "is no folder: name a clone of the repository.",
        tmp_path / "plain": "It is in no git repository: commit it to one.",
        repository / "Notebooks": "name that one; a part of a repository cannot be adopted.",
    }
    for place, words in places.items():
        assert words in run(git_template, place).stderr


@pytest.mark.slow
def test_a_file_of_the_owner_s_with_a_name_of_the_template_s_stays(
    git_template: Path, tmp_path: Path
) -> None:
    repository = made(layout("notebooks"), tmp_path / "repository")
    for name in ("bootstrap.sh", "docs/pytorch-build.md", ".editorconfig", "tests/test_device.py"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text("mine\n", encoding="utf-8")
    commit(repository)
    before = files(repository)
    assert run(git_template, repository, "--write").returncode == 0
    after = files(repository)
    assert {name: after[name] for name in before} == before
    assert "/bootstrap.sh" in recorded(repository)["own_files"]


def test_a_template_without_versions_is_refused(template: Path, tmp_path: Path) -> None:
    done = run(template, made(layout("notebooks"), tmp_path / "repository"))
    assert done.returncode == 1
    assert "is no git repository, so there would be no updates: clone the template" in done.stderr


@pytest.mark.slow
def test_the_command_says_in_one_sentence_that_it_needs_trust(
    git_template: Path, tmp_path: Path
) -> None:
    repository = made(layout("notebooks"), tmp_path / "repository")
    tool = [sys.executable, str(ROOT / "tools" / "adopt.py"), "--template", str(git_template)]
    done = subprocess.run([*tool, str(repository)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "give --trust" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_documented_commands_are_the_tool_s() -> None:
    page = (ROOT / "docs" / "adopt.md").read_text(encoding="utf-8")
    block = page.partition("<!-- adopt -->\n```sh\n")[2].partition("```")[0]
    lines = [line.partition("#")[0].split()[2:] for line in block.splitlines()]
    parsed = [adopt.parse(words) for words in lines]
    assert [(one.trust, one.write) for one in parsed] == [(True, False), (True, True)]
    questions = {"package_manager", "python_version", "compute_platform", "torch_version"}
    assert all(f"| `{name}` |" in page for name in questions)


@pytest.mark.slow
def test_a_new_pyproject_has_what_the_files_ask_for_and_every_package(
    git_template: Path, tmp_path: Path
) -> None:
    repository = made(layout("requirements-split"), tmp_path / "split")
    assert run(git_template, repository, "--write").returncode == 0
    data = parse_toml((repository / "pyproject.toml").read_text(encoding="utf-8"))
    assert "tqdm" in data["project"]["dependencies"]
    assert "pyyaml" in data["dependency-groups"]["dev"]
    assert data["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["flatdet", "flatutil"]
    assert not {"mypy", "ruff", "pytest"} & {*data["tool"]}
