"""From an old matrix to a patch that can be merged: the tools as the daily workflow runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import changelog
import refresh_pull_request
from install.loopback_index import LoopbackIndex
from refresh.cutting import cut_back
from refresh_pull_request import HOW, MATRIX, NEW, PROJECTS, WRITTEN
from snapshot import git, snapshot

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("refresh")]
THEN = "2.14.0"


class Job:
    """A checkout of this repository, as it was then, and what a job there has."""

    def __init__(self, folder: Path, index: LoopbackIndex, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("fcntl", reason="the workflow draws its pictures on Linux")
        self.index, self.work, self.report = index, snapshot(folder / "work"), folder / "report"
        self._cache, self._job = folder / "cache", folder
        (self.work / MATRIX).write_text(cut_back(THEN), encoding="utf-8")
        git("commit", "--quiet", "--all", "--message", f"As of {THEN}", cwd=self.work)
        for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
            monkeypatch.setenv(name, str(folder / name))

    def prepare(self, index_url: str | None = None) -> int:
        """Run the command; its exit code."""
        urls = index_url or self.index.pytorch_url, self.index.simple_url
        index = [f"--index-url={urls[0]}", f"--pypi-url={urls[1]}", f"--cache={self._cache}"]
        ours = [f"--root={self.work}", f"--report={self.report}", "--no-names"]
        with self.index.root_page("nightly", "cpu_pypi_pkg"):
            return refresh_pull_request.main(["prepare", *ours, *index])

    def told(self, name: str) -> str:
        """What it told the job, which is forgotten."""
        file = self._job / name
        text = file.read_text(encoding="utf-8")
        file.unlink()
        return text


@pytest.fixture
def job(tmp_path: Path, index: LoopbackIndex, monkeypatch: pytest.MonkeyPatch) -> Job:
    return Job(tmp_path, index, monkeypatch)


def test_what_is_new_is_a_patch_of_the_matrix_of_what_is_made_from_it_and_of_the_words(
    job: Job, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert job.prepare() == 0, capfd.readouterr().err
    assert job.told("GITHUB_OUTPUT") == "changed=true\n"
    text = (job.report / "text.md").read_text(encoding="utf-8")
    assert text.strip() in job.told("GITHUB_STEP_SUMMARY")

    merged = tmp_path / "merged"
    git("clone", "--quiet", str(job.work), str(merged), cwd=tmp_path)
    refresh_pull_request.apply(merged, job.report)
    changed = {*git("diff", "--cached", "--name-only", cwd=merged).split()}
    assert {MATRIX, "CHANGELOG.md", "docs/matrix.md", "docs/questions.svg"} <= changed <= WRITTEN
    check = [sys.executable, "tools/matrix_docs.py", "--check"]
    assert subprocess.run(check, cwd=merged).returncode == 0
    told = {
        head: [line.removeprefix("- ") for line in lines.splitlines()]
        for head, lines in zip(text.split("\n\n")[::2], text.split("\n\n")[1::2], strict=True)
    }
    log = changelog.unreleased((merged / "CHANGELOG.md").read_text(encoding="utf-8"))
    groups = dict(
        zip(["Added", "Changed"], changelog.unwrapped(log).split("### ")[1:], strict=True)
    )
    assert any(line.startswith("torch 2.14.1 of 2026-09-30") for line in told[NEW])
    assert all(f"- {line}\n" in groups["Added"] + "\n" for line in told[NEW])
    assert any("from torch 2.14.0 to 2.14.1" in line for line in told[PROJECTS])
    assert all(f"- {line}\n" in groups["Changed"] + "\n" for line in told[PROJECTS])

    # The day after it was merged.
    git("commit", "--quiet", "--all", "--message", "Merged", cwd=job.work)
    job.report = tmp_path / "second"
    assert job.prepare() == 0
    assert job.told("GITHUB_OUTPUT") == "changed=false\n"
    assert not job.report.exists()
    assert git("status", "--porcelain", cwd=job.work) == ""
    summary = job.told("GITHUB_STEP_SUMMARY")
    assert all(words in summary for words in ("Nothing is proposed.", "(not known): ", HOW))


def test_an_index_that_cannot_be_read_and_a_checkout_with_changes_change_nothing(
    job: Job, capfd: pytest.CaptureFixture[str]
) -> None:
    assert job.prepare(f"{job.index.pytorch_url}/no-such-index") == 1
    assert "The refresh failed, and nothing is proposed: " in capfd.readouterr().err
    assert git("status", "--porcelain", cwd=job.work) == ""
    (job.work / "new.txt").write_text("mine\n", encoding="utf-8")
    assert job.prepare() == 1
    assert "new.txt" in capfd.readouterr().err
    assert not job.report.exists()
