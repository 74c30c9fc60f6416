"""An update brings no file to a project that is older than the question for it."""

from __future__ import annotations

import re
from pathlib import Path

from render.projects import commit, files, git, recorded, release, start, update
from update.versions import assert_clean

YOUNG = ("extra_compute_platforms", "ci_runners", "container", "extra_files")
UNASKED = "\\1  type: yaml\n  default: []\n  when: false\n\n"  # so it is not recorded


def test_a_project_that_is_older_gets_nothing_and_may_have_files_of_these_names(
    repository: Path, tmp_path: Path
) -> None:
    git(repository, "checkout", "--quiet", "-b", "old")
    path = repository / "copier.yml"
    text = path.read_text(encoding="utf-8")
    for question in YOUNG:
        text, count = re.subn(rf"(?ms)^({question}:\n).*?\n\n", UNASKED, text)
        assert count == 1
    path.write_text(text, encoding="utf-8")
    release(repository, "v0.9.0")
    project = start(repository, tmp_path / "project", "v0.9.0")
    assert not set(YOUNG) & set(recorded(project))
    for name in ("AGENTS.md", ".pre-commit-config.yaml"):
        (project / name).write_text("# Ours.\n", encoding="utf-8")
    commit(project)
    before = files(project)

    update(project, "v1.0.0")

    assert_clean(project)
    assert [recorded(project)[name] for name in YOUNG] == [[], [], False, []]
    after = files(project)
    assert after.keys() == before.keys()
    assert {name for name in after if before[name] != after[name]} == {".copier-answers.yml"}
