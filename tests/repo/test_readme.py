"""README.md repeats facts that are kept elsewhere: they agree."""

import importlib
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
import yaml

import matrix_docs
from render.projects import ROOT
from torch_template.build import Asked
from torch_template.matrix.loading import load_matrix
from torch_template.menus import compute_platform_choices

README = (ROOT / "README.md").read_text(encoding="utf-8")
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


def command(marker: str) -> str:
    """The one command of the code block behind a marker."""
    block = re.search(rf"<!-- {marker} -->\n```\w+\n(.+)\n```\n", README)
    assert block, f"README.md has no one-line code block behind <!-- {marker} -->"
    return block[1]


def on_windows(posix: str) -> str:
    return (
        posix.replace("python3 -m venv", "py -m venv")
        .replace(".venv/bin/", ".venv\\Scripts\\")
        .replace('"$PWD"', '"%CD%"')
        .replace("../my-torch-project", "..\\my-torch-project")
        .replace("/bootstrap.sh", "\\bootstrap.cmd")
    )


def test_a_lost_marker_is_noticed() -> None:
    with pytest.raises(ValueError, match="end table: questions"):
        matrix_docs.refreshed(README.replace("<!-- end table: questions -->", ""))


def test_every_question_is_in_the_table_with_its_help() -> None:
    questions = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    asked = [name for name in questions if not name.startswith("_")]
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", README, re.MULTILINE)
    shown = [(name, text) for name, text in rows if name in asked]
    helps = {name: matrix_docs.help_text(questions[name]["help"]) for name in asked}
    assert "{{" not in "".join(helps.values())
    assert shown == list(helps.items())


def test_ci_runs_the_test_command() -> None:
    """The way .ci/run finds it, run by the real sed."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    reader = re.search(r"command=\$\((sed .+)\)", script)
    assert reader
    if sys.platform == "win32":
        pytest.skip("no POSIX shell")
    found = subprocess.run(
        ["sh", "-c", reader[1]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == command("test command")
    assert 'eval "$command"' in script


def test_ci_runs_the_slow_rest_with_the_documented_command() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    rest = re.search(r'rest="(.+)"\n', script)
    assert rest
    assert f"`{rest[1]}`" in README
    assert rest[1] in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_windows_commands_are_the_same_commands() -> None:
    assert command("test command, Windows") == on_windows(command("test command"))
    for name in ("new project", "new project, with questions"):
        assert command(f"{name}, Windows") == on_windows(command(name))


def test_the_command_without_questions_is_the_other_one_with_all_defaults() -> None:
    with_questions = command("new project, with questions")
    assert command("new project") == with_questions.replace("--trust", "--trust --defaults")


def test_the_workflow_runs_the_test_command() -> None:
    steps = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["test"]["steps"]
    runs = [step["run"] for step in steps if "run" in step]
    # A runner's own Python is on PATH, and the launcher would take another one.
    windows = command("test command, Windows").replace("py -m venv", "python -m venv")
    assert runs == ["bash .ci/run", windows, r".venv\Scripts\python -m pytest -m slow"]


@pytest.mark.parametrize("name", ["questions", "smoke-test", "matrix"])
def test_every_picture_is_shown(name: str) -> None:
    assert f"](docs/{name}.svg)" in README
    assert (ROOT / "docs" / f"{name}.svg").is_file()


def missing_lines(picture: str) -> list[str]:
    """The lines of the menu of compute platforms that a picture for Python 3.13 does not show."""
    choices = compute_platform_choices(load_matrix(), Asked("uv", "3.13", "cpu"))
    assert any(choice.why_not for choice in choices)
    lines = [f"- {c.label} ({c.why_not})" if c.why_not else c.label for c in choices]
    return [line for line in lines if line[:100] not in unescape(picture)]


def test_the_picture_of_the_questions_shows_todays_menu() -> None:
    """`python tools/screenshots.py questions` draws it anew."""
    assert missing_lines((ROOT / "docs" / "questions.svg").read_text(encoding="utf-8")) == []


def test_the_questions_can_be_answered_by_keyboard(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="Windows has no pseudo-terminals")
    screenshots = importlib.import_module("screenshots")
    assert missing_lines(screenshots.questions(tmp_path)) == []


def test_links_to_files_lead_somewhere() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in ROOT.glob("*.md")}
    for folder in ("benchmarks", "docs"):
        texts |= {path: path.read_text("utf-8") for path in (ROOT / folder).glob("*.md")}
    broken = [
        f"{path.name}: {link}"
        for path, text in texts.items()
        for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", text)
        if not (path.parent / link).exists()
    ]
    assert broken == []
