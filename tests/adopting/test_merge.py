"""What is read of single lines, and a pyproject.toml in which all lines but a few stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from adopt_answers import Proposal, given, propose, series_of
from adopt_find import Pin, look, pep440
from adopt_merge import merged, poetry_range, public
from adopt_toml import Document
from adopting.repositories import NAMES, Layout, layout, made
from fleet_projects import RefusedError
from render.projects import render

AWKWARD = '''\
# the top
[project]
name = "demo"  # [not a table]
description = """
[project]
torch = "in a text" """
keywords = [ "]", '[', # a comment ] here
    "#no comment",
]
[ tool . uv ]
sources.torch = { index = "x" }
[[tool.uv.index]]
name = 'x'

# about the last
[tool.last]
a = 1'''


@pytest.mark.parametrize("name", ["awkward", *NAMES])
def test_a_file_that_is_taken_apart_is_the_same_again(name: str) -> None:
    text = AWKWARD if name == "awkward" else layout(name).files.get("pyproject.toml", "")
    assert Document(text).text() == text


def test_no_text_or_comment_is_taken_for_a_table_or_a_key() -> None:
    document = Document(AWKWARD)
    names = ["", "project", "tool.uv", "tool.uv.index", "tool.last"]
    assert [table.name for table in document.tables] == names
    assert document.tables[1].entry("torch") == ""
    assert document.tables[1].entry("keywords").endswith("]\n")
    assert document.tables[2].entry("sources.torch")


# What a file asks for, and the series that it stays in.
SERIES = {
    "==2.6.0+cu124": "2.6",
    "==2.6.*": "2.6",
    "~=2.6.1": "2.6",
    "~=2.6": None,
    ">=2.4,<2.7": "2.6",
    "<2.7.1": "2.7",
    "<=2.5.1": "2.5",
    ">=2.4": None,
    "<3": None,
    "": None,
    pep440("^2.3.1+cu121"): None,
    pep440("~2.3.1"): "2.3",
    pep440("2.2.1+cu121"): "2.2",
    pep440("*"): None,
}


@pytest.mark.parametrize("asks", SERIES)
def test_a_version_says_which_series_the_project_stays_in(asks: str) -> None:
    assert series_of(Pin("torch", asks, "")) == SERIES[asks]


def test_an_exact_version_leaves_what_others_read_and_a_range_stays() -> None:
    assert public("torch==2.6.0+cu124 ; sys_platform == 'linux'") == (
        'torch>=2.6 ; sys_platform == "linux"'
    )
    assert public("torchvision==0.21.0") == "torchvision"
    assert public("torch (>=2.5,<3)") == "torch (>=2.5,<3)"
    entry = 'torch = {version = "^2.4.0+cu124", source = "x"}  # why\n'
    assert poetry_range(entry) == 'torch = "^2.4.0"  # why\n'
    assert poetry_range('torch = "2.4.0"\n') == 'torch = ">=2.4"\n'


# What a repository says, and an answer that follows from it, with its place.
FOUND = {
    "--extra-index-url https://me:secret@mirror.example/pytorch/cu126\ntorch\n": (
        "pytorch_index_url",
        "https://mirror.example/pytorch",
        "requirements.txt:1",
    ),
    "# torch==2.5.0+cu118\n\ntorch @ https://download.pytorch.org/whl/cu121/torch-2.5.1.whl\n": (
        "compute_platform",
        "cu121",
        "the index https://download.pytorch.org/whl/cu121 in requirements.txt:3",
    ),
    "numpy\ntorch>=2.5\n": (
        "compute_platform",
        "pypi",
        "torch is asked for with no index, so it is PyPI's",
    ),
    "torchmetrics\npytorch-lightning\n": ("torch_packages", None, ""),
}


@pytest.mark.parametrize("requirements", FOUND)
def test_what_a_requirements_file_says_is_an_answer(tmp_path: Path, requirements: str) -> None:
    name, value, why = FOUND[requirements]
    top = made(Layout("", "", {"requirements.txt": requirements}, {}), tmp_path / "demo")
    one = proposed(top)
    assert one.answers.get(name) == value
    assert one.why.get(name, "") == why
    assert "secret" not in str(one)


def proposed(top: Path) -> Proposal:
    return propose(look(top), top, {})


def test_a_lock_file_says_which_torch_the_repository_has(tmp_path: Path) -> None:
    lock = 'version = 1\n\n[[package]]\nname = "torch"\nversion = "2.9.1+cu128"\n'
    project = '[project]\nname = "demo"\ndependencies = ["torch"]\n'
    files = {"uv.lock": lock, "pyproject.toml": project}
    one = proposed(made(Layout("", "", files, {}), tmp_path / "demo"))
    wanted = {"package_manager": "uv", "compute_platform": "cu128", "torch_version": "2.9"}
    assert {name: one.answers[name] for name in wanted} == wanted
    assert one.why["torch_version"] == "torch 2.9.1+cu128 in uv.lock:4"


# A pyproject.toml that takes the template's names, and what is said of it.
TAKEN = {
    '[dependency-groups]\ntorch = ["numpy"]\n': "has a group `torch`, which is what the template's",
    '[[tool.uv.index]]\nname = "pytorch"\nurl = "https://example.com/simple"\n': (
        "has an index `pytorch` for other packages"
    ),
}


@pytest.fixture(scope="module")
def template_s(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The pyproject.toml of a new project."""
    folder = tmp_path_factory.mktemp("new") / "project"
    own = {"own_files": ["/LICENSE"], "starter": "package"}
    return (render(folder, **own) / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("taken", TAKEN)
def test_a_name_that_is_taken_is_refused(template_s: str, taken: str) -> None:
    with pytest.raises(RefusedError) as refused:
        merged(f'[project]\nname = "demo"\n{taken}', template_s, "uv")
    assert TAKEN[taken] in str(refused.value)
    assert "rename yours, commit, and run this again." in str(refused.value)


@pytest.mark.parametrize("word", ["license", "own_files=/README.md", "torch_packages=[a"])
def test_data_that_is_no_answer_is_refused_with_its_form(word: str) -> None:
    with pytest.raises(RefusedError, match=r"^--data .+: (write --data name=value|it is a list)"):
        given([word])
