"""CHANGELOG.md follows Keep a Changelog, and the tags are what Copier can compare."""

import re

from packaging.version import Version

from render.projects import ROOT
from snapshot import git

LINES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def test_the_first_section_is_unreleased_and_the_rest_are_dated_newest_first() -> None:
    first, *rest = [line for line in LINES if line.startswith("## ")]
    assert first == "## [Unreleased]"
    heading = re.compile(r"## \[(\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?)\] - (\d{4}-\d\d-\d\d)")
    found = [heading.fullmatch(line) for line in rest]
    assert all(found)
    sections = [(Version(match[1]), match[2]) for match in found if match]
    assert sections == sorted(sections, reverse=True)


def test_every_group_is_one_of_keep_a_changelog() -> None:
    groups = [line.removeprefix("### ") for line in LINES if line.startswith("### ")]
    assert groups
    assert set(groups) <= set(KINDS)


def test_every_entry_stands_in_a_group() -> None:
    heading = ""
    for line in LINES:
        if line.startswith("#"):
            heading = line
        assert not line.startswith("- ") or heading.startswith("### "), line


def test_every_tag_has_its_section() -> None:
    tags = git("tag", "--list", "v*", cwd=ROOT).split()
    released = [line for line in LINES if line.startswith("## [")]
    assert [tag for tag in tags if not any(f"[{Version(tag)}]" in line for line in released)] == []
