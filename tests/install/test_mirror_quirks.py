"""What docs/mirrors.md says beside how to name one: PyPI's, cool-downs, a folder, and addresses."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

import commands
from install.begun import begun
from install.checkouts import BOOTSTRAPS, MANAGERS, installed
from install.managers import Tools
from install.mirrors import LAYOUTS, Mirror, folder
from install.shapes import uv_project
from install.test_mirrors import (
    LOCKS,
    bootstrap,
    leaks,
    netrc_login,
    project_of,
    versions_and_hashes,
)
from render.projects import ROOT, render

pytestmark = [*BOOTSTRAPS, pytest.mark.slow]
PAGE = (ROOT / "docs" / "mirrors.md").read_text(encoding="utf-8")
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


def wget_command(index: str) -> str:
    """The page's command, for this Python and the index on loopback."""
    [command] = re.findall(r"<!-- wget -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    assert "https://download.pytorch.org/whl/cpu/torch/ " in command
    command = command.replace("https://download.pytorch.org/whl", index)
    return str(command.replace("-cp312-", f"-cp3{sys.version_info.minor}-"))


@pytest.mark.skipif(not shutil.which("wget"), reason="runs wget")
@pytest.mark.some(1)
@pytest.mark.parametrize("manager", MANAGERS)
def test_a_folder_made_by_wget_does_as_well(tools: Tools, tmp_path: Path, manager: str) -> None:
    """With two cures: of pages that promise files of metadata, and of links back to where it is."""
    copied = tmp_path / "copied"
    copied.mkdir()
    fetch, _, cure = wget_command(tools.index.pytorch_url).partition("sed ")
    known = {**tools.environment, "no_proxy": "127.0.0.1"}
    commands.run(fetch, copied, known)
    with folder(copied) as url:
        answers = {"package_manager": manager, "pytorch_index_url": f"{url}/whl"}
        project = render(tmp_path / "demo", **answers)
        if manager == "pip":
            begun(project)
        if manager != "poetry":  # which also takes a wheel that is still elsewhere
            done = bootstrap(tools, project, tmp_path)
            assert done.returncode == 5
            assert done.stderr.startswith(f"bootstrap: {url}/whl/cpu did not give {manager} all")

        assert commands.run(f"sed {cure}", copied, known).returncode == 0
        with tools.index.recorded() as at_home:
            done = bootstrap(tools, project, tmp_path / "cured")
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed(tools, project)["torch"].endswith("+cpu")
    assert not [one.path for one in at_home if one.path.startswith("/whl/")]
    if manager != "pip":  # no file of another host, and all with their hashes
        lock = (project / LOCKS[manager]).read_text(encoding="utf-8")
        assert f"{tools.index.files_url}/whl/" not in lock
        assert any("+cpu" in line for line in versions_and_hashes(project, manager))


@pytest.mark.some(0)
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


@pytest.mark.some(0)
def test_a_cool_down_on_a_mirror_without_times_of_uploads_holds_nothing_back(
    tools: Tools, tmp_path: Path
) -> None:
    env = {"UV_EXCLUDE_NEWER": "2099-01-01T00:00:00Z"}
    with Mirror(tools.index, LAYOUTS["nexus"]) as mirror:
        project = project_of(mirror, tmp_path, "uv")
        done = bootstrap(tools, project, tmp_path, **env)
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_repository_for_all_compute_platforms_brings_any_of_them(
    tools: Tools, tmp_path: Path
) -> None:
    """So there has to be one for each: versions alone do not tell them apart."""
    project = uv_project(tmp_path, tools.index.pytorch_url, ["torch==2.14.1"])
    locked = {package["name"]: package for package in tools.uv_lock(project)["package"]}
    assert not locked["torch"]["version"].endswith("+cpu")


@pytest.mark.some(0)
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
