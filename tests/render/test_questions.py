"""The questions of copier.yml, and what the copier command says to an answer that is no good."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from render.projects import MATRIX_YML, ROOT, copier, copy, git, recorded

CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
QUESTIONS = {name: row for name, row in CONFIG.items() if not name.startswith("_")}

# For each question, answers that cannot be used, and a part of the sentence that says so.
REFUSED = [
    ("project_name", "", "a project name consists of"),
    ("project_name", "my project", "a project name consists of"),
    ("project_name", "-x", "a project name consists of"),
    ("project_name", "torch", "could not install torch"),
    ("project_name", "aux.txt", "Windows keeps aux.txt for a device"),
    ("package_name", "2d", "a package name consists of"),
    ("package_name", "MyPackage", "a package name consists of"),
    ("package_name", "class", "class is a keyword of Python"),
    ("package_name", "torch", "would shadow another one"),
    ("package_name", "json", "would shadow another one"),
    ("project_description", "two\nlines", "control character U+000A"),
    ("project_description", "x" * 501, "501 characters: use at most 500"),
    ("user_name", "Doe, Jane", "leave them out"),
    ("user_email", "jane", "is no e-mail address"),
    ("license", "GPL", "choose MIT, Apache-2.0, BSD-3-Clause, Proprietary"),
    ("package_manager", "conda", "choose uv, poetry, pip"),
    ("python_version", "3.9", "choose 3.10, 3.11, 3.12, 3.13, 3.14"),
    ("python_version", "3.12.1", "'3.12.1' is not on offer"),
    ("compute_platform", "cu999", "'cu999' is not on offer: choose cpu, cu132"),
    ("compute_platform", "rocm7.14", "choose rocm7.2"),
    ("torch_version", "2.3", "'2.3' is not on offer: choose latest, "),
    ("torch_version", "2.14.1", "'2.14.1' is not on offer: choose latest, "),
    ("torch_packages", "[torchtext]", "'torchtext' is not on offer: choose torchvision"),
    ("torch_packages", "torchvision", "write torch_packages=[torchvision]"),
    ("extra_compute_platforms", "[cu999]", "'cu999' is not on offer: choose cpu, cu132"),
    ("extra_compute_platforms", "cpu", "write extra_compute_platforms=[cpu]"),
    ("extra_compute_platforms", "[cu117]", "no torch for both cpu and cu117 has"),
    ("starter", "lightning", "choose training, package"),
    ("pytorch_index_url", "ftp://mirror.example/whl", "must begin with http:// or https://"),
    ("pytorch_index_url", "https://me:secret@mirror.example/whl", "holds credentials"),
    ("pytorch_index_url", "https://mirror.example/whl?x=1", "other than those of a plain path"),
    ("pytorch_index_url", "https://mirror.example/a b", "other than those of a plain path"),
    ("pytorch_index_url", "https://mirror.example/torch-cu126/simple", "is for cu126 alone: say"),
    ("pytorch_index_url", "https://{compute_platform}.example/whl", "those of a plain path"),
    ("pytorch_index_url", "https://mirror.example/{platform}/whl", "those of a plain path"),
    ("ci", "travis", "choose github, gitlab, none"),
    ("ci_runners", "[bsd]", "choose windows, macos, gpu"),
    ("container", "maybe", "'maybe' is neither yes nor no: write true or false"),
    ("extra_files", "[emacs]", "choose agents, pre-commit, vscode, dependabot"),
    ("own_files", "README.md", "it is a list of paths: write own_files=[/README.md]"),
    ("own_files", "[README.md]", "'README.md' is no path from the top of the project"),
    ("own_files", "[null]", "None is no path from the top of the project"),
]


def refuse(template: Path, project: Path, *data: str) -> str:
    """The one sentence with which a copy is refused; nothing is made."""
    options = [part for each in data for part in ("--data", each)]
    result = copier("copy", "--trust", "--defaults", *options, template, project)
    assert "Traceback" not in result.stderr, result.stderr.splitlines()[-1]
    assert result.returncode == 1
    assert result.stdout == ""
    assert not project.exists()
    [sentence] = result.stderr.splitlines()
    return sentence


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_has_help_a_default_and_a_check(name: str) -> None:
    question = QUESTIONS[name]
    assert question["help"]
    assert "default" in question
    assert question["type"] == {"own_files": "yaml", "container": "bool"}.get(name, "str")
    assert question["ask"].startswith(f"{{{{ check_answer('{name}') ")


def test_every_question_is_among_those_whose_refusal_is_tested() -> None:
    assert {name for name, _, _ in REFUSED} == set(QUESTIONS)


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("name", "value", "says"), REFUSED, ids=lambda part: str(part)[:30].encode("ascii").decode()
)
def test_a_bad_answer_ends_with_one_sentence_and_nothing_made(
    template: Path, tmp_path: Path, name: str, value: str, says: str
) -> None:
    sentence = refuse(template, tmp_path / "project", f"{name}={value}")
    assert sentence.startswith(f"{name}: ")
    assert sentence.endswith(".")
    assert says in sentence


def test_an_old_platform_with_a_new_python_is_refused_with_the_way_out(
    template: Path, tmp_path: Path
) -> None:
    answers = ("compute_platform=cu121", "python_version=3.14")
    assert refuse(template, tmp_path / "project", *answers) == (
        "compute_platform: cu121 ends at torch 2.5.1, which has no Python 3.14 wheels:"
        " choose Python 3.13 or older, or cu126."
    )


def test_a_series_without_the_platform_is_refused_with_the_way_out(
    template: Path, tmp_path: Path
) -> None:
    answers = ("compute_platform=cu128", "torch_version=2.14")
    sentence = refuse(template, tmp_path / "project", *answers)
    assert sentence.startswith("torch_version: torch 2.14 has no cu128 build: choose torch 2.11")


def test_a_companion_that_the_platform_lacks_is_refused_with_the_ways_out(
    template: Path, tmp_path: Path
) -> None:
    answers = ("compute_platform=cu132", "torch_packages=[torchaudio]")
    assert refuse(template, tmp_path / "project", *answers) == (
        "torch_packages: no torchaudio 2.11.0 is known for cu132: choose cu130, or leave torchaudio"
        " out."
    )


@pytest.mark.few(1)
@pytest.mark.parametrize("value", ["[torchvision", "{torchvision: 1", "@torchvision"])
def test_a_list_that_is_not_yaml_is_refused_too(template: Path, tmp_path: Path, value: str) -> None:
    assert refuse(template, tmp_path / "project", f"torch_packages={value}")


def refuse_line(template: Path, folder: Path, line: str) -> str:
    """The one sentence with which a line of a data file is refused."""
    data = folder / "data.yml"
    data.write_text(line + "\n", encoding="utf-8")
    result = copier("copy", "--trust", "--defaults", "--data-file", data, template, folder / "p")
    assert "Traceback" not in result.stderr, result.stderr.splitlines()[-1]
    assert result.returncode == 1
    assert not (folder / "p").exists()
    [sentence] = result.stderr.splitlines()
    assert sentence.startswith(line.partition(":")[0])
    return sentence


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("python_version: 3.10", "write it in quotes, e.g. '3.10'"),
        ("torch_version: 2.10", "write it in quotes"),
        ("torch_packages: torchvision", "write torch_packages=[torchvision]"),
        ("torch_packages: [3.10]", "write it in quotes"),
        ("torch_packages: {torchvision: 1}", "write torch_packages=[torchvision]"),
        ("project_name: [a]", "is not text"),
        ("user_email: [me@example.com]", "is not text"),
        ("license: true", "is not text"),
        ("ci: no", "is not text"),
    ],
)
def test_an_answer_of_another_type_is_refused(
    template: Path, tmp_path: Path, line: str, says: str
) -> None:
    assert says in refuse_line(template, tmp_path, line)


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "line",
    [
        "project_name: null",
        "license: null",
        "license: [MIT]",
        "compute_platform: [cpu]",
        "torch_version: [latest]",
        "torch_packages: null",
        "project_description: 2026-01-01",
    ],
)
def test_an_answer_of_a_type_that_no_text_has_is_refused(
    template: Path, tmp_path: Path, line: str
) -> None:
    assert refuse_line(template, tmp_path, line)


def test_several_good_answers_make_the_project_that_was_asked_for(
    template: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    answers = ["compute_platform=cu126", "python_version=3.10", "torch_packages=[]", "ci=none"]
    options = [part for each in answers for part in ("--data", each)]
    result = copier("copy", "--trust", "--defaults", *options, template, project)
    assert result.returncode == 0, result.stderr
    assert "my-torch-project is ready: torch 2.14.1 for CUDA 12.6." in result.stderr
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    assert "whl/cu126" in text
    assert "torchvision" not in text


@pytest.mark.slow
def test_only_what_is_in_no_repository_is_told_to_become_one(
    template: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    assert "git init" in copier("copy", "--trust", "--defaults", template, project).stderr
    git(project, "init", "--quiet")
    again = copier("recopy", "--trust", "--defaults", "--overwrite", project)
    assert again.returncode == 0, again.stderr
    assert "my-torch-project is ready" in again.stderr
    assert "git init" not in again.stderr
    part = project / "services" / "train"
    said = copier("copy", "--trust", "--defaults", template, part).stderr
    assert "git init" not in said
    assert "larger repository: see the end of docs/pytorch-build.md." in said
    assert "larger repository" not in again.stderr
    # README.md's command makes it beside the template's own repository, from within that.
    beside = copier("copy", "--trust", "--defaults", template, "../beside", cwd=project)
    assert "git init" in beside.stderr


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file of a person who runs Copier."""
    path = tmp_path / "settings.yml"
    monkeypatch.setenv("COPIER_SETTINGS_PATH", str(path))
    return path


def test_the_name_in_a_persons_settings_is_taken(
    template: Path, tmp_path: Path, settings: Path
) -> None:
    settings.write_text("defaults: {user_name: Jane Doe, user_email: jane@example.com}\n")
    answers = recorded(copy(template, tmp_path / "project"))
    assert (answers["user_name"], answers["user_email"]) == ("Jane Doe", "jane@example.com")


def test_a_bad_name_in_a_persons_settings_is_refused(
    template: Path, tmp_path: Path, settings: Path
) -> None:
    settings.write_text("defaults: {user_name: 'Doe, Jane'}\n")
    assert "leave them out" in refuse(template, tmp_path / "project")


@pytest.mark.slow
def test_a_fork_changes_the_menu_and_the_defaults_in_the_policy(
    template: Path, tmp_path: Path, settings: Path
) -> None:
    settings.write_text("defaults: {}\n")
    fork = shutil.copytree(template, tmp_path / "fork")
    matrix = fork / MATRIX_YML
    facts = yaml.safe_load(matrix.read_text(encoding="utf-8"))
    facts["policy"] = {
        "compute_platforms": {"offered": ["cu126", "cpu"], "default": "cu126", "retired": {}},
        "python": {"offered": ["3.11", "3.13"], "default": "3.13", "retired": {"3.11": "3.13"}},
    }
    matrix.write_text(yaml.safe_dump(facts), encoding="utf-8")
    answers = recorded(copy(fork, tmp_path / "project"))
    assert (answers["compute_platform"], answers["python_version"]) == ("cu126", "3.13")
    assert refuse(fork, tmp_path / "other", "compute_platform=cu130") == (
        "compute_platform: 'cu130' is not on offer: choose cu126, cpu."
    )
    old = copy(fork, tmp_path / "old", python_version="3.11")  # retired: by name only
    assert recorded(old)["python_version"] == "3.11"
    settings.write_text("defaults: {python_version: '3.11'}\n")
    assert refuse(fork, tmp_path / "own") == (
        "python_version in your settings.yml: 3.11 is retired: choose 3.13."
    )


@pytest.mark.slow
@pytest.mark.parametrize("manager", ["uv", "poetry", "pip"])
def test_a_fork_lets_releases_cool_down_but_for_what_the_template_chooses(
    template: Path, tmp_path: Path, manager: str
) -> None:
    fork = shutil.copytree(template, tmp_path / "fork")
    matrix = fork / MATRIX_YML
    text = matrix.read_text(encoding="utf-8")
    matrix.write_text(text.replace("\npolicy:\n", "\npolicy:\n  cool_down: 7\n"), encoding="utf-8")
    answers = {"package_manager": manager, "compute_platform": "cu130"}
    project = copy(fork, tmp_path / "project", **answers)
    file = {"uv": "pyproject.toml", "poetry": "poetry.toml", "pip": "scripts/torch_builds.json"}
    said = (project / file[manager]).read_text(encoding="utf-8")
    setting = {
        "uv": '\nexclude-newer = "7 days"\n',
        "poetry": "\nmin-release-age = 7\n",
        "pip": '\n  "cool_down": 7,\n',
    }
    assert setting[manager] in said
    if manager == "uv":
        assert "{ torch = false, torchvision = false, triton = false }" in said
    if manager == "poetry":
        assert '\nmin-release-age-exclude = ["torch", "torchvision", ' in said
        assert '"triton"]\nmin-release-age-exclude-source = ["pytorch"]\n' in said


def test_a_broken_matrix_stops_the_copier_command_in_one_sentence(
    template: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(template, tmp_path / "broken")
    matrix = broken / MATRIX_YML
    text = matrix.read_text(encoding="utf-8")
    matrix.write_text(text.replace("default: cpu", "default: cu999"), encoding="utf-8")
    sentence = refuse(broken, tmp_path / "project")
    assert sentence.startswith("version_matrix.yml: ")
    assert "'cu999'" in sentence


def test_without_trust_copier_says_which_option_to_add(template: Path, tmp_path: Path) -> None:
    result = copier("copy", "--defaults", template, tmp_path / "project")
    assert result.returncode == 4
    assert "--trust" in result.stderr
    assert not (tmp_path / "project").exists()
