"""What docs/mirrors.md says of mirrors beside how to name one: PyPI's, cool-downs, one page for all."""

from __future__ import annotations

from pathlib import Path

import pytest

from install.begun import begun
from install.checkouts import BOOTSTRAPS, MANAGERS, installed
from install.managers import Tools
from install.mirrors import LAYOUTS, Mirror
from install.shapes import uv_project
from install.test_mirrors import bootstrap, leaks, netrc_login, project_of
from render.projects import render

pytestmark = [*BOOTSTRAPS, pytest.mark.slow]
TO_POETRY = "poetry source add --priority=primary mirror {} && poetry source remove PyPI"


@pytest.mark.some(1)
@pytest.mark.parametrize("manager", MANAGERS)
def test_a_mirror_of_pypi_with_a_login_needs_no_question(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    answers = {"package_manager": manager, "pytorch_index_url": tools.index.pytorch_url}
    project = render(tmp_path / "demo", **answers)
    mirror, env = tools.index.simple_url, {}
    if manager == "uv":
        env = {"UV_DEFAULT_INDEX": f"mirror={mirror}"}
        env |= {"UV_INDEX_MIRROR_USERNAME": "me", "UV_INDEX_MIRROR_PASSWORD": "s3cret"}
    elif manager == "poetry":
        tools.run("sh", "-c", TO_POETRY.format(mirror), cwd=project)
        file = project / "pyproject.toml"
        text = file.read_text(encoding="utf-8").replace('source = "PyPI"', 'source = "mirror"')
        file.write_text(text, encoding="utf-8")
        names = ("POETRY_HTTP_BASIC_MIRROR_USERNAME", "POETRY_HTTP_BASIC_MIRROR_PASSWORD")
        env = dict(zip(names, ("me", "s3cret"), strict=True))
    else:
        begun(project)
        env = {"PIP_INDEX_URL": mirror, **netrc_login(tmp_path, "me", "s3cret")}
    with (
        tools.index.login_required("me", "s3cret", "/simple/"),
        tools.index.failing("/pypi/", 404),  # Poetry's way to PyPI itself
    ):
        done = bootstrap(tools, project, tmp_path, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed(tools, project)["torch"].endswith("+cpu")
    assert leaks(project, done) == []


def test_another_mirror_of_pypi_later_moves_addresses_alone(tools: Tools, tmp_path: Path) -> None:
    answers = {"package_manager": "uv", "pytorch_index_url": tools.index.pytorch_url}
    project = render(tmp_path / "demo", **answers)
    assert bootstrap(tools, project, tmp_path).returncode == 0
    lock, here = project / "uv.lock", tools.index.url
    before = lock.read_text(encoding="utf-8")
    there = here.replace("127.0.0.1", "localhost")
    env = {"UV_DEFAULT_INDEX": f"{there}/simple/"}
    done = bootstrap(tools, project, tmp_path, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    after = lock.read_text(encoding="utf-8")
    assert after != before
    assert after.replace(f"{there}/simple", f"{here}/simple") == before


def test_a_cool_down_on_a_mirror_without_times_of_uploads_is_named(
    tools: Tools, tmp_path: Path
) -> None:
    env = {"UV_EXCLUDE_NEWER": "2099-01-01T00:00:00Z"}
    with Mirror(tools.index, LAYOUTS["nexus"]) as mirror:
        project = project_of(mirror, tmp_path, "uv")
        done = bootstrap(tools, project, tmp_path, **env)
        assert done.returncode == 5
        assert "UV_EXCLUDE_NEWER" in done.stderr
        file = project / "pyproject.toml"
        text = file.read_text(encoding="utf-8")
        own = "\nexclude-newer-package = { torch = false, torchvision = false }\n"
        file.write_text(text.replace("[tool.uv]\n", f"[tool.uv]{own}", 1), encoding="utf-8")
        done = bootstrap(tools, project, tmp_path, **env)
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_repository_for_all_compute_platforms_brings_any_of_them(
    tools: Tools, tmp_path: Path
) -> None:
    """So there has to be one for each: versions alone do not tell them apart."""
    project = uv_project(tmp_path, tools.index.pytorch_url, ["torch==2.14.1"])
    locked = {package["name"]: package for package in tools.uv_lock(project)["package"]}
    assert not locked["torch"]["version"].endswith("+cpu")


def test_locking_reads_the_ends_of_wheels_where_there_are_no_files_of_metadata(
    tools: Tools, tmp_path: Path
) -> None:
    with Mirror(tools.index, LAYOUTS["nexus"]) as mirror:
        project = project_of(mirror, tmp_path, "uv")
        assert bootstrap(tools, project, tmp_path).returncode == 0
        read = {one.path.rpartition("/")[2] for one in mirror.requests if one.status == 206}
        asked = [one.path for one in mirror.requests if one.path.endswith(".metadata")]
        pages = [one.path for one in mirror.requests if "/simple/" in one.path]
    assert any(name.startswith("torch-") for name in read)
    assert asked == []
    # Without the last slash Artifactory leads to http://, which many a network has closed.
    assert pages
    assert all(path.endswith("/") for path in pages)
