"""A project that answers `container` later: files of the same names that it has are not lost."""

from __future__ import annotations

from pathlib import Path

from render.projects import commit, copier_here, files, git, start, update

OWN = "FROM scratch\nCOPY weights /\n"


def test_a_project_that_does_not_ask_for_it_keeps_its_own_dockerfile(
    history: Path, tmp_path: Path
) -> None:
    project = start(history, tmp_path / "project", "v1.3.0")
    (project / "Dockerfile").write_text(OWN, encoding="utf-8")
    commit(project)
    update(project)
    assert (project / "Dockerfile").read_text(encoding="utf-8") == OWN
    assert not [name for name in files(project) if "container" in name or "compose" in name]


def test_whoever_has_a_dockerfile_and_asks_for_one_gets_both_in_a_conflict(
    history: Path, tmp_path: Path
) -> None:
    project = start(history, tmp_path / "project", "v2.0.0")
    (project / "Dockerfile").write_text(OWN, encoding="utf-8")
    commit(project)
    update(project, container=True)
    text = (project / "Dockerfile").read_text(encoding="utf-8")
    assert "COPY weights /" in text
    assert "USER 1000" in text
    assert "UU Dockerfile" in git(project, "status", "--short")
    assert (project / "containers/install.sh").exists()


def test_whoever_asks_for_no_container_any_more_is_told_what_went(
    history: Path, tmp_path: Path
) -> None:
    project = start(history, tmp_path / "project", "v2.0.0", container=True, starter="package")
    with (project / "Dockerfile").open("a", encoding="utf-8") as file:
        file.write("# Ours.\n")
    commit(project)
    options = ("--trust", "--defaults", "--vcs-ref", ":current:", "--data", "container=false")
    done = copier_here("update", *options, project)
    assert done.returncode == 0, done.stderr
    assert not (project / "Dockerfile").exists()
    said = " ".join(done.stderr.split())
    assert "Dockerfile, .dockerignore, " in said
    assert "removed, since the answers ask for them no more." in said
    assert "`git checkout HEAD -- Dockerfile .dockerignore compose.yaml " in said
