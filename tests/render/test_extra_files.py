"""Files for other tools: valid, true of the project, and there only for those who asked."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from copier.errors import UserMessageError

from render.projects import copy, files
from repo.linting import zizmor

MANAGERS = ("uv", "poetry", "pip")
EVERY = ["agents", "pre-commit", "vscode", "dependabot"]


@pytest.fixture(scope="module")
def made(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A project of each manager with all of them."""
    folder = tmp_path_factory.mktemp("extras")
    return {
        name: copy(template, folder / name, package_manager=name, extra_files=EVERY)
        for name in MANAGERS
    }


@pytest.fixture(params=MANAGERS)
def project(request: pytest.FixtureRequest, made: dict[str, Path]) -> Path:
    return made[request.param]


def test_none_is_there_unasked(template: Path, tmp_path: Path) -> None:
    names = files(copy(template, tmp_path / "project", extra_files=[]))
    told = re.compile(r"AGENTS|\.pre-commit|\.vscode|dependabot")
    assert [name for name in names if told.search(name)] == []
    assert "pre-commit" not in names["docs/pytorch-build.md"].decode()


# --- AGENTS.md


def test_agents_are_told_what_is_there_in_15_lines(project: Path) -> None:
    text = (project / "AGENTS.md").read_text("utf-8")
    assert len(text.splitlines()) <= 15
    for must in ("bootstrap.sh", "pytest", "pins", "copier update"):
        assert must in text
    named = re.findall(r"(?<![\w/.])(?:scripts|docs)/[\w./-]+\w", text)
    assert named
    for name in named:
        assert (project / name).exists(), name


# --- Dependabot


def test_dependabot_understands_its_file_and_leaves_what_renovate_leaves(
    project: Path, template: Path, tmp_path: Path
) -> None:
    file = project / ".github" / "dependabot.yml"
    tool = Path(sys.executable).with_name("check-jsonschema")
    options = ("--builtin-schema", "vendor.dependabot")
    done = subprocess.run([tool, *options, file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    zizmor(file)
    packages, actions = yaml.safe_load(file.read_text("utf-8"))["updates"]
    assert packages["package-ecosystem"] == {"uv": "uv"}.get(project.name, "pip")
    assert actions["package-ecosystem"] == "github-actions"
    other = copy(template, tmp_path / "other", extra_files=[])
    renovate = json.loads((other / "renovate.json").read_text("utf-8"))
    left = [name for rule in renovate["packageRules"] for name in rule["matchPackageNames"]]
    ignored = [rule["dependency-name"] for rule in packages["ignore"]]
    # Python is no dependency for Dependabot; all that is ignored is so in each version.
    assert [*ignored, "python"] == left
    assert {tuple(rule) for rule in packages["ignore"]} == {("dependency-name",)}


@pytest.mark.parametrize(
    ("ci", "bots"),
    [
        ("github", [".github/dependabot.yml"]),
        ("none", [".github/dependabot.yml"]),  # the code may lie there all the same
    ],
)
def test_a_project_has_one_bot(template: Path, tmp_path: Path, ci: str, bots: list[str]) -> None:
    asked = files(copy(template, tmp_path / "asked", ci=ci, extra_files=["dependabot"]))
    found = [name for name in asked if re.search("dependabot|renovate", name)]
    assert found == bots
    if ci == "none":  # nor would it find a workflow
        (only,) = yaml.safe_load(asked[".github/dependabot.yml"])["updates"]
        assert only["package-ecosystem"] == "uv"
    # It starts where its file is, so nobody gets it who did not ask.
    for other in (ci, "gitlab"):
        usual = files(copy(template, tmp_path / other, ci=other))
        assert not [name for name in usual if "dependabot" in name]
        page = usual["docs/pytorch-build.md"].decode()
        command = '"extra_files=[agents, pre-commit, vscode, dependabot]"'
        assert (command in page) == (other != "gitlab")
    with pytest.raises(UserMessageError, match="GitLab has none: leave it out"):
        copy(template, tmp_path / "neither", ci="gitlab", extra_files=["dependabot"])


def test_conflict_markers_are_found_and_headings_are_none(project: Path) -> None:
    marks = re.compile(hooks(project)["check-merge-conflict"]["entry"], re.MULTILINE)
    assert marks.search("a\n<<<<<<< before updating\n")
    assert marks.search(">>>>>>> after updating\n")
    assert not marks.search("Install\n=======\n>>> x\n")


# --- pre-commit


def hooks(project: Path) -> dict[str, dict[str, Any]]:
    said = yaml.safe_load((project / ".pre-commit-config.yaml").read_text("utf-8"))
    return {hook["id"]: hook for repo in said["repos"] for hook in repo["hooks"]}


def test_pre_commit_clones_nothing_and_starts_what_every_system_has(project: Path) -> None:
    file = project / ".pre-commit-config.yaml"
    assert {repo["repo"] for repo in yaml.safe_load(file.read_text("utf-8"))["repos"]} == {"local"}
    found = hooks(project)
    assert [*found][:4] == ["ruff-check", "ruff-format", "mypy", "locks"]
    assert found.pop("check-merge-conflict")["language"] == "pygrep"  # pre-commit's own
    for hook in found.values():
        # `python` and what is installed beside it are on PATH there, on Windows as well.
        assert hook["language"] == "python"
        first, *rest = hook["entry"].split()
        assert first == "python" or hook["additional_dependencies"]
        assert first != "python" or (project / rest[0]).is_file()
        assert all("==" in one for one in hook.get("additional_dependencies", ()))


def test_the_freshness_of_locks_is_asked_where_it_can_change(project: Path) -> None:
    hook = hooks(project)["locks"]
    assert hook["entry"].endswith("bootstrap.py --check-locks")
    wanted = re.compile(hook["files"])
    names = ("pyproject.toml", "uv.lock", "poetry.lock", "locks/pylock.cpu.toml")
    assert all(wanted.search(name) for name in (*names, "requirements/torch-cpu.txt"))
    assert not any(wanted.search(name) for name in ("README.md", "src/my/uv.lock", "src/data.py"))


def test_a_tool_of_the_venv_is_run_wherever_it_is(project: Path, tmp_path: Path) -> None:
    script = tmp_path / "scripts" / "torch_starter" / "in_venv.py"
    script.parent.mkdir(parents=True)
    script.write_bytes((project / "scripts/torch_starter/in_venv.py").read_bytes())

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(script), *words]
        return subprocess.run(command, cwd=script.parent, capture_output=True, text=True)

    none = run("ruff", "check")
    assert (none.returncode, none.stdout) == (3, "")
    assert "sh bootstrap.sh" in none.stderr
    for number, place in enumerate(("Scripts/python.exe", "bin/python")):
        python = tmp_path / ".venv" / place
        python.parent.mkdir(parents=True)
        if sys.platform == "win32":
            pytest.skip("a shell script stands in for .venv's Python")
        python.write_text(f'#!/bin/sh\npwd\necho "$@"\nexit {number}\n', encoding="utf-8")
        python.chmod(0o755)
        done = run("ruff", "check", "a file.py")
        assert done.returncode == number
        assert done.stdout == f"{tmp_path}\n-m ruff check a file.py\n"


# --- VS Code


def test_vs_code_gets_valid_files_that_name_the_venv(project: Path) -> None:
    said = {path.stem: json.loads(path.read_text("utf-8")) for path in project.glob(".vscode/*")}
    assert sorted(said) == ["extensions", "settings", "tasks"]
    assert said["settings"]["python.defaultInterpreterPath"] == "${workspaceFolder}/.venv"
    formatter = said["settings"]["[python]"]["editor.defaultFormatter"]
    assert formatter in said["extensions"]["recommendations"]


def test_the_tasks_of_vs_code_are_those_of_the_readme(project: Path) -> None:
    tasks = json.loads((project / ".vscode/tasks.json").read_text("utf-8"))["tasks"]
    by_label = {task["label"]: task for task in tasks}
    assert {"Bootstrap", "Test", "Smoke test", "Lint"} <= set(by_label)
    assert set(by_label["Lint"]["dependsOn"]) <= set(by_label)
    run = [task for task in tasks if "command" in task]
    for task in run:
        for one in (task, {"args": task["args"], **task["windows"]}):
            for word in one["args"]:
                assert "/" not in word[1:] or (project / word).is_file(), word
    pythons = {task["command"] for task in run} - {"sh"}
    assert pythons == {"${workspaceFolder}/.venv/bin/python"}
    windows = {task["windows"]["command"] for task in run} - {"cmd"}
    assert windows == {"${workspaceFolder}\\.venv\\Scripts\\python.exe"}
    assert by_label["Bootstrap"]["windows"]["args"][-1] == "bootstrap.cmd"
    assert (project / "bootstrap.cmd").is_file()
