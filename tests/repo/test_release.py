"""tools/release.py on real repositories: what is refused, what is tagged, what is published."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime, timezone
from pathlib import Path

import pytest

import changelog
import release
from publishing import StopError
from render.projects import ROOT, git
from repo.publishing_helpers import GitHub, hosted, with_gh

CHANGELOG = """\
# Changelog

What owners notice.

## [Unreleased]

### Added

- A release of torch, which
  is told in two lines.

### Fixed

- A fault.
"""
RELEASED = """
## [1.0.0] - 2026-01-02

### Added

- All.
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitHub:
    return hosted(tmp_path, monkeypatch, {"CHANGELOG.md": CHANGELOG + RELEASED, "a.txt": "a\n"})


@pytest.fixture
def github(host: GitHub) -> GitHub:
    return with_gh(host)


@pytest.fixture
def work(host: GitHub) -> Path:
    """The clone, in which v1.0.0 is tagged."""
    work = host.remote.with_name("work")
    git(work, "tag", "v1.0.0")
    return work


def run(work: Path, *words: str) -> int:
    return release.main([f"--root={work}", *words])


def refused(work: Path, capsys: pytest.CaptureFixture[str], version: str) -> str:
    """The words with which check and tag refuse it; nothing has changed."""
    before = git(work, "for-each-ref"), git(work, "status", "--porcelain"), git(work, "diff")
    notes = work.with_name("refused.md")
    assert run(work, "check", version) == 1
    said = capsys.readouterr().err
    assert run(work, "tag", version, f"--notes={notes}") == 1
    assert capsys.readouterr().err == said
    assert not notes.exists()
    assert before == (
        git(work, "for-each-ref"),
        git(work, "status", "--porcelain"),
        git(work, "diff"),
    )
    return said


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("next", "is no version of PEP 440"),
        ("1.1.0; date", "is no version of PEP 440"),
        ("v1.1.0", "is written 1.1.0"),
        ("1.1.0-rc.1", "is written 1.1.0rc1"),
        ("1.1", "is not of the form"),
        ("1.1.0.dev1", "is not of the form"),
        ("1.1.0+local", "is not of the form"),
        ("1!1.1.0", "is not of the form"),
        ("1.0.0", "is not newer than the tag v1.0.0"),
        ("1.0.0rc1", "is not newer than the tag v1.0.0"),
        ("0.9.9", "is not newer than the tag v1.0.0"),
    ],
)
def test_a_version_that_may_not_be_is_refused(
    work: Path, capsys: pytest.CaptureFixture[str], version: str, why: str
) -> None:
    assert why in refused(work, capsys, version)


def test_what_is_not_ready_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "a.txt").write_text("b\n", encoding="utf-8")
    assert "a.txt" in refused(work, capsys, "1.1.0")
    git(work, "checkout", "--quiet", "a.txt")
    (work / "new.txt").write_text("b\n", encoding="utf-8")
    assert "new.txt" in refused(work, capsys, "1.1.0")
    (work / "new.txt").unlink()
    git(work, "checkout", "--quiet", "-b", "other")
    assert "This is other, and versions are made of main." in refused(work, capsys, "1.1.0")


@pytest.mark.parametrize("text", ["## [Unreleased]\n\n### Added\n", "## [Unreleased]\n", "# Log\n"])
def test_nothing_to_tell_is_refused(
    work: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (work / "CHANGELOG.md").write_text(text + RELEASED, encoding="utf-8")
    git(work, "commit", "--quiet", "--all", "--message", "Nothing")
    assert "CHANGELOG.md has no " in refused(work, capsys, "1.1.0")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("## [Unreleased]\n\n## 1.0.0 - 2026-01-01\n\n- Old\n", "'## 1.0.0 - 2026-01-01'"),
        ("## [Unreleased]\n\n- A\n\n## [Unreleased]\n\n- B\n", "two sections Unreleased"),
    ],
)
def test_headings_that_are_not_understood_are_refused(text: str, why: str) -> None:
    with pytest.raises(StopError, match=why):
        changelog.released(text, "1.1.0", date(2026, 1, 2))


def test_other_links_and_code_stay() -> None:
    text = f"{CHANGELOG}\n```\n## [0.9.0]\n```\n\n[guide]: https://example.com/guide\n"
    moved = changelog.released(text, "1.1.0", date(2026, 1, 2), "https://example.com/r")
    assert "[guide]: https://example.com/guide\n" in moved
    assert [*changelog.sections(moved)] == ["Unreleased", "1.1.0"]


def test_a_section_that_is_there_and_a_clone_without_its_tags_are_refused(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(work, "tag", "--delete", "v1.0.0")
    assert "has a section 1.0.0 already" in refused(work, capsys, "1.0.0")
    git(work, "commit", "--quiet", "--allow-empty", "--message", "More")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=1", work.as_uri(), str(shallow))
    assert "git fetch --unshallow --tags" in refused(shallow, capsys, "1.1.0")


def test_a_version_is_one_commit_of_the_changelog_with_an_annotated_tag(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for tag in ("v1.0.1", "v1.0.2rc1", "nightly"):
        git(work, "tag", tag)
    assert run(work, "check", "1.1.0") == 0
    assert capsys.readouterr().out == "1.1.0 follows v1.0.2rc1.\n"
    parent = git(work, "rev-parse", "HEAD")
    assert run(work, "tag", "1.1.0", f"--notes={tmp_path / 'notes.md'}") == 0
    assert git(work, "rev-parse", "HEAD^") == parent
    assert git(work, "cat-file", "-t", "v1.1.0") == "tag\n"
    assert git(work, "rev-parse", "v1.1.0^{commit}") == git(work, "rev-parse", "HEAD")
    assert git(work, "diff", "--name-only", "HEAD^", "HEAD") == "CHANGELOG.md\n"
    assert git(work, "status", "--porcelain") == ""
    text = (work / "CHANGELOG.md").read_text(encoding="utf-8")
    today = datetime.now(timezone.utc).date()
    assert f"\n## [Unreleased]\n\n## [1.1.0] - {today}\n\n### Added\n" in text
    assert [*changelog.sections(text)] == ["Unreleased", "1.1.0", "1.0.0"]
    notes = (tmp_path / "notes.md").read_text(encoding="utf-8")
    assert notes.startswith(
        "### Added\n\n- A release of torch, which is told in two lines.\n\n### "
    )
    capsys.readouterr()
    assert run(work, "notes", "1.1.0") == 0
    assert capsys.readouterr().out == notes
    assert "has no entry under Unreleased" in refused(work, capsys, "1.2.0")


def test_the_first_version_needs_no_tag(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(work, "tag", "--delete", "v1.0.0")
    (work / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    git(work, "commit", "--quiet", "--all", "--message", "Only what is unreleased")
    assert run(work, "check", "1.0.0") == 0
    assert capsys.readouterr().out == "1.0.0 is the first version.\n"
    assert run(work, "tag", "1.0.0", f"--notes={tmp_path / 'notes.md'}") == 0
    assert git(work, "tag", "--list") == "v1.0.0\n"


def test_a_tag_that_cannot_be_made_leaves_no_commit(work: Path, tmp_path: Path) -> None:
    before = git(work, "rev-parse", "HEAD")
    git(work, "tag", "v1.1.0/taken")  # git can have no tag v1.1.0 beside it
    assert run(work, "tag", "1.1.0", f"--notes={tmp_path / 'notes.md'}") == 1
    assert git(work, "rev-parse", "HEAD") == before
    assert git(work, "status", "--porcelain") == ""


@pytest.mark.parametrize(("version", "kind"), [("1.1.0", "--latest"), ("2.0.0rc1", "--prerelease")])
def test_branch_and_tag_are_pushed_and_released_with_the_notes(
    github: GitHub, work: Path, tmp_path: Path, version: str, kind: str
) -> None:
    notes = tmp_path / "notes.md"
    assert run(work, "tag", version, f"--notes={notes}") == 0
    assert run(work, "publish", version, f"--notes={notes}") == 0
    head = git(work, "rev-parse", "HEAD").strip()
    assert github.refs()["main"] == head
    assert git(github.remote, "rev-parse", f"v{version}^{{commit}}").strip() == head
    ((*words,),) = github["asked"]
    assert words[:3] == ["release", "create", f"v{version}"]
    assert {"--verify-tag", kind} <= {*words}
    assert github["text"] == notes.read_text(encoding="utf-8")


def test_where_main_has_moved_on_nothing_is_published(
    github: GitHub, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    git(tmp_path, "clone", "--quiet", str(github.remote), str(other))
    git(other, "commit", "--quiet", "--allow-empty", "--message", "Meanwhile")
    git(other, "push", "--quiet", "origin", "main")
    before = github.refs()
    notes = tmp_path / "notes.md"
    assert run(work, "tag", "1.1.0", f"--notes={notes}") == 0
    assert run(work, "publish", "1.1.0", f"--notes={notes}") == 1
    assert "Nothing is published. If main has moved on" in capsys.readouterr().err
    assert (github.refs(), github["asked"]) == (before, [])


def test_a_release_that_github_refuses_is_told_with_the_command_for_it(
    github: GitHub, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    github.set(fails="release")
    notes = tmp_path / "notes.md"
    assert run(work, "tag", "1.1.0", f"--notes={notes}") == 0
    assert run(work, "publish", "1.1.0", f"--notes={notes}") == 1
    said = capsys.readouterr().err
    assert "HTTP 403" in said
    assert "gh release create v1.1.0 --verify-tag" in said
    assert "v1.1.0" in github.refs()


def test_the_command_refuses_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "release.py"), "check", "--", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "'--help' is no version of PEP 440. Write it as 1.4.0.\n"


# --- the changelog -----------------------------------------------------------------------------


def test_each_heading_links_to_what_changed() -> None:
    there, day = "https://github.com/one/starter", date(2026, 3, 4)
    first = changelog.released(CHANGELOG, "1.0.0", day, there)
    assert first.endswith(
        f"- A fault.\n\n[Unreleased]: {there}/compare/v1.0.0...HEAD\n"
        f"[1.0.0]: {there}/releases/tag/v1.0.0\n"
    )
    more = changelog.with_entries(first, "Added", ["Something."])
    second = changelog.released(more, "1.1.0", day, there)
    assert second.endswith(
        f"- A fault.\n\n[Unreleased]: {there}/compare/v1.1.0...HEAD\n"
        f"[1.1.0]: {there}/compare/v1.0.0...v1.1.0\n[1.0.0]: {there}/releases/tag/v1.0.0\n"
    )
    assert changelog.sections(second) == {
        "Unreleased": "",
        "1.1.0": "### Added\n\n- Something.",
        "1.0.0": changelog.unreleased(CHANGELOG),
    }


@pytest.mark.parametrize(
    "origin", ["https://github.com/one/starter", "git@github.com:one/starter.git"]
)
def test_the_address_is_that_of_the_job_or_of_origin(
    work: Path, monkeypatch: pytest.MonkeyPatch, origin: str
) -> None:
    assert release.address(work) is None  # a folder
    git(work, "remote", "set-url", "origin", origin)
    assert release.address(work) == "https://github.com/one/starter"
    monkeypatch.setenv("GITHUB_REPOSITORY", "two/starter")
    assert release.address(work) == "https://github.example/two/starter"


def test_entries_come_into_their_group_and_groups_into_their_order() -> None:
    text = changelog.with_entries(CHANGELOG + RELEASED, "Changed", ["word " * 40])
    text = changelog.with_entries(text, "Added", ["Last."])
    assert text.endswith("- A fault.\n" + RELEASED)
    said = changelog.unreleased(text)
    assert [line for line in said.splitlines() if line.startswith("#")] == [
        "### Added",
        "### Changed",
        "### Fixed",
    ]
    assert "is told in two lines.\n- Last.\n\n### Changed\n\n- word word" in said
    assert max(map(len, text.splitlines())) <= changelog.WIDTH
    assert changelog.with_entries(text, "Added", []) == text


def test_this_repository_s_changelog_can_be_released() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert changelog.with_entries(text, "Added", ["One."]).replace("- One.\n", "", 1) == text
    for name, said in changelog.sections(text).items():
        notes = changelog.unwrapped(said)
        assert notes.split() == said.split(), name
        entries = [line for line in notes.splitlines() if line.strip() and line[0] != "#"]
        assert all(line.startswith("- ") for line in entries), name
    try:
        after = changelog.released(text, "99.0.0", date(2026, 3, 4))
    except StopError as error:
        pytest.skip(f"it was released just now: {error}")
    assert changelog.sections(after)["99.0.0"] == changelog.unreleased(text)
