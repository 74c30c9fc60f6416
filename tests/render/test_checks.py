"""A new project passes the checks that it brings: its first commit is green."""

from __future__ import annotations

import json
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from copier.errors import UserMessageError

from matrix.doctored import every_build
from render.projects import ROOT, copy, git
from render.reading import pyproject
from torch_template.matrix.facts import COMPANIONS

MANAGERS = ("uv", "poetry", "pip")
NAMES = {
    "short": {"project_name": "a", "package_name": "a"},
    "long": {"project_name": "z" * 50, "package_name": "z" * 50},
}


def run(folder: Path, *command: str) -> None:
    """Run a tool of this environment, which must end well."""
    tool = Path(sys.executable).with_name(command[0])
    result = subprocess.run(
        [tool, *command[1:]], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("length", NAMES)
@pytest.mark.parametrize("manager", MANAGERS)
def test_a_new_project_is_linted_and_formatted(
    template: Path, tmp_path: Path, manager: str, length: str
) -> None:
    project = copy(template, tmp_path / "project", package_manager=manager, **NAMES[length])
    run(project, "ruff", "check", "--no-cache")
    run(project, "ruff", "format", "--check", "--no-cache")


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_a_new_project_is_linted_for_its_python(
    template: Path, tmp_path: Path, python: str
) -> None:
    project = copy(template, tmp_path / "project", python_version=python)
    named = [path.as_posix() for path in (project / "scripts").rglob("*.py")]
    assert len(named) > 30
    for files in ([], named):  # those of the template, too, where a hook names them
        run(project, "ruff", "check", "--no-cache", *files)
        run(project, "ruff", "format", "--check", "--no-cache", *files)


def test_what_is_the_template_s_is_not_counted_as_the_owner_s(
    template: Path, tmp_path: Path
) -> None:
    project = copy(template, tmp_path / "project")
    git(project, "init", "--quiet")
    ours = [project / "scripts/gpu_smoke_test.py", *project.glob("bootstrap.*")]
    ours += [path for path in (project / "scripts/torch_starter").rglob("*") if path.is_file()]
    assert len(ours) > 30
    own = [*project.glob("src/*/*.py"), *project.glob("tests/*.py")]
    for paths, said in ((ours, "set"), (own, "unspecified")):
        found = git(project, "check-attr", "linguist-vendored", *map(str, paths)).splitlines()
        assert len(found) == len(paths)
        assert all(line.endswith(f": {said}") for line in found)
    tool = [str(Path(sys.executable).with_name("ruff")), "check", "--show-files"]
    listed = subprocess.run(tool, cwd=project, capture_output=True, text=True, check=True).stdout
    linted = {Path(line).relative_to(project).as_posix() for line in listed.splitlines()}
    expected = {path.relative_to(project).as_posix() for path in own}
    assert linted == {*expected, "pyproject.toml", "scripts/gpu_smoke_test.py"}
    patterns = pyproject((project / "pyproject.toml").read_text("utf-8"))["tool"]["mypy"]["files"]
    typed = {path for pattern in patterns for path in project.glob(pattern)}
    assert {project / name for name in ("src", "tests", "scripts/gpu_smoke_test.py")} == typed


@pytest.mark.slow
def test_a_package_named_like_a_file_of_the_template_is_refused_or_does_no_harm(
    template: Path, tmp_path: Path
) -> None:
    project = copy(template, tmp_path / "project")
    parts = [*project.glob("scripts/*"), *project.glob("scripts/torch_starter/*")]
    parts += project.glob("tests/*.py")
    names = {part.stem for part in parts if part.is_dir() or part.suffix == ".py"}
    refused = set()
    for name in names:
        try:
            named = copy(template, tmp_path / name, package_name=name)
        except UserMessageError:
            refused.add(name)
            continue
        tool = Path(sys.executable).with_name("mypy")
        said = subprocess.run([tool], cwd=named, capture_output=True, text=True, check=False).stdout
        assert "checked 4 source files" in said, said
    assert refused == {"gpu_smoke_test", "test_device"}
    assert {"bootstrap", "gpu_smoke", "torch_starter"} <= names


def test_the_plain_files_of_the_template_are_linted_and_formatted() -> None:
    run(ROOT, "ruff", "check", "--no-cache", "template")
    run(ROOT, "ruff", "format", "--check", "--no-cache", "template")


def test_the_github_workflow_has_no_finding_of_zizmor(template: Path, tmp_path: Path) -> None:
    project = copy(template, tmp_path / "project", ci="github")
    run(project, "zizmor", "--offline", "--no-progress", ".github")


def test_every_action_is_pinned_to_a_commit(template: Path, tmp_path: Path) -> None:
    project = copy(template, tmp_path / "project", ci="github")
    workflow = yaml.safe_load((project / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    for action in used:
        assert len(action.partition("@")[2]) == 40


def test_renovate_leaves_every_package_of_the_build_to_the_template(
    template: Path, tmp_path: Path
) -> None:
    project = copy(template, tmp_path / "project")
    settings = json.loads((project / "renovate.json").read_text(encoding="utf-8"))
    off = [rule for rule in settings["packageRules"] if rule["enabled"] is False]
    patterns = [pattern for rule in off for pattern in rule["matchPackageNames"]]
    owned = {name for build in every_build() for name in (*build.index_only, *build.nvidia_pins)}
    for name in {*owned, "torch", *COMPANIONS, "python"}:
        assert any(fnmatch(name, pattern) for pattern in patterns), name
    assert not any(fnmatch(name, pattern) for name in ("numpy", "ruff") for pattern in patterns)


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_ci_runs_the_scripts_that_the_project_has(template: Path, tmp_path: Path, ci: str) -> None:
    project = copy(template, tmp_path / "project", ci=ci)
    path = {"github": ".github/workflows/ci.yml", "gitlab": ".gitlab-ci.yml"}[ci]
    workflow = yaml.safe_load((project / path).read_text(encoding="utf-8"))
    jobs = workflow["jobs"] if ci == "github" else workflow
    job = jobs["test"] if ci == "github" else jobs[".test"]
    steps = job["steps"] if ci == "github" else [{"run": line} for line in job["script"]]
    text = "\n".join(step.get("run", "") for step in steps)
    assert "sh bootstrap.sh --no-smoke --compute-platform auto\n" in text  # no CUDA without a GPU
    assert "uv run" not in text  # which would bring the project's own build back
    assert "scripts/gpu_smoke_test.py" in text
    for word in text.split():
        if word.startswith(("./", "scripts/")):
            assert (project / word).is_file(), word


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_ci_runs_in_a_first_commit_as_git_makes_it(template: Path, tmp_path: Path, ci: str) -> None:
    """Without settings git calls the branch master, and on Windows it knows no executable files."""
    project = copy(template, tmp_path / "project", ci=ci)
    path = {"github": ".github/workflows/ci.yml", "gitlab": ".gitlab-ci.yml"}[ci]
    text = (project / path).read_text(encoding="utf-8")
    assert "./bootstrap.sh" not in text
    if ci == "github":
        triggers = yaml.safe_load(text)[True]  # YAML's `on`
        assert triggers["push"]["branches"] == ["main", "master"]


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_the_job_that_publishes_alone_has_the_token_and_runs_what_the_project_had(
    template: Path, tmp_path: Path, ci: str
) -> None:
    project = copy(template, tmp_path / "project", ci=ci)
    path = {"github": ".github/workflows/template-update.yml", "gitlab": ".gitlab-ci.yml"}[ci]
    workflow = yaml.safe_load((project / path).read_text(encoding="utf-8"))
    jobs = workflow["jobs"] if ci == "github" else workflow
    publish = jobs.pop("publish" if ci == "github" else "template-update-publish")
    tests = workflow.get(".test", {})
    if ci == "gitlab":  # which runs what a merge request brings, and never with a schedule
        jobs = {name: jobs[name] for name in jobs if name not in (".test", "test")}
    assert "TOKEN" not in str({name: job for name, job in workflow.items() if name != "jobs"})
    assert "TOKEN" not in str(jobs)
    assert "cache" not in str(jobs)
    if ci == "github":
        *fresh, last = publish["steps"]
        assert publish["environment"] == "template-update"
        assert [step["uses"].split("@")[0].split("/")[1] for step in fresh] == [
            "checkout",
            "download-artifact",
            "download-artifact",
        ]
        # By what other jobs said, each of its own artifact, not by a name that one may take.
        assert [step["with"].get("artifact-ids") for step in fresh[1:]] == [
            "${{ needs.update.outputs.report }}",
            "${{ needs.test.outputs.report }}",
        ]
        assert all("runner.temp" in step["with"]["path"] for step in fresh[1:])
        script = last["run"]
        assert "${{" not in script
        others = [str(job["steps"]) for job in jobs.values()]
    else:
        assert publish["environment"]["name"] == "template-update"
        assert publish["cache"] == []
        assert publish["inherit"]["default"] == ["tags"]
        assert publish["variables"] == {"GIT_STRATEGY": "none"}
        # What an artifact may have written over the project is not run.
        assert publish["script"][0] == 'cd "$(mktemp -d)"'
        assert " clone --quiet " in publish["script"][1]
        script = publish["script"][-1]
        assert tests["rules"][0] == {"if": '$CI_PIPELINE_SOURCE == "schedule"', "when": "never"}
        others = [str(jobs[".prepare"]), *(str(jobs[f"template-update{x}"]) for x in ("", "-test"))]
    assert "template_publish.py" in script
    assert " --unchecked " in script
    assert not any("template_publish" in job for job in others)
    assert sum("--no-check" in job for job in others) == 1
