"""Where the index of a build, or of its lock file, cannot be reached: each manager, on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomlkit

from install.begun import begun
from install.checkouts import (
    BOOTSTRAPS,
    MANAGERS,
    build_check,
    changes,
    committed,
    installed,
    started,
)
from install.managers import ToolFailedError, Tools, own_caches

pytestmark = BOOTSTRAPS


@pytest.mark.some(2)
@pytest.mark.slow
@pytest.mark.parametrize("manager", MANAGERS)
def test_pypi_s_wheels_stand_in_for_a_blocked_index_and_go_when_it_answers(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    project = started(tools, tmp_path, manager)
    if manager != "uv":
        begun(project, "pypi")
    with tools.index.failing("/whl/", 403):
        said = tools.bootstrap(project, "--fallback", "pypi")
        assert "PyPI's own wheels stand in for CPU, on this machine alone." in said
        have = installed(tools, project)
        again = tools.bootstrap(project, "--fallback", "pypi")
        judged = build_check(tools, project)
    torch = have["torch"]
    assert "+" not in torch
    assert {"numpy", "pytest", "ruff", "mypy", "my-torch-project", "torchvision"} <= have.keys()
    assert any(name.startswith("nvidia-") for name in have)  # as PyPI's wheel for Linux asks for
    assert "Nothing to do" in again
    assert changes(project) == ""
    assert not list(project.glob("*.lock"))
    assert "PyPI's own wheels stand in for the project's own build, cpu" in judged
    assert "/whl/cpu answered 403 Forbidden" in judged

    back = tools.bootstrap(project, "--fallback", "pypi")
    assert "removing .venv: it was made for pypi, the project's own is cpu" in back
    assert installed(tools, project)["torch"] == f"{torch}+cpu"
    assert "Nothing to do" in tools.bootstrap(project)


@pytest.mark.some(1)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("blocked", "manager"), [("torch-", "uv"), ("torch-", "pip"), ("torchvision/", "poetry")]
)
def test_an_index_of_which_a_page_or_the_files_are_blocked_is_blocked(
    tools: Tools, tmp_path: Path, manager: str, blocked: str
) -> None:
    project = started(tools, tmp_path, manager)
    if manager == "pip":
        begun(project)
    env = own_caches(tmp_path)
    with tools.index.failing(f"/whl/cpu/{blocked}", 403):
        with pytest.raises(ToolFailedError) as stopped:
            tools.bootstrap(project, **env)
        assert "  sh bootstrap.sh --fallback pypi\n" in str(stopped.value)
        assert "unset" not in str(stopped.value)
        said = tools.bootstrap(project, "--fallback", "pypi", **env)
    assert "PyPI's own wheels stand in for CPU, on this machine alone." in said
    assert "+" not in installed(tools, project)["torch"]


@pytest.mark.slow
def test_another_index_that_this_machine_has_set_does_not_mix_with_pypi_s_wheels(
    tools: Tools, tmp_path: Path
) -> None:
    project = begun(started(tools, tmp_path, "pip"), "pypi")
    env = {"PIP_EXTRA_INDEX_URL": f"{tools.index.pytorch_url}/cu130"}
    with tools.index.failing("/whl/cpu", 403):
        tools.bootstrap(project, "--fallback", "pypi", **env)
    assert "+" not in installed(tools, project)["torch"]


@pytest.mark.slow
def test_a_primary_mirror_of_poetry_keeps_its_login(tools: Tools, tmp_path: Path) -> None:
    project = begun(started(tools, tmp_path, "poetry"), "pypi")
    source = f'\n[[tool.poetry.source]]\nname = "corp"\nurl = "{tools.index.simple_url}"\n'
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(f'{source}priority = "primary"\n')
    login = {"POETRY_HTTP_BASIC_CORP_USERNAME": "me", "POETRY_HTTP_BASIC_CORP_PASSWORD": "s3cret"}
    with (
        tools.index.login_required("me", "s3cret", "/simple/"),
        tools.index.failing("/whl/", 403),
    ):
        tools.bootstrap(project, "--fallback", "pypi", **login)
    assert "+" not in installed(tools, project)["torch"]
    written = [path.read_text(errors="replace") for path in (project / ".tools").glob("*.*")]
    assert [text for text in written if "s3cret" in text] == []


@pytest.mark.slow
@pytest.mark.parametrize("manager", ["uv", "poetry"])
def test_the_locked_versions_are_used_beside_pypi_s_wheels(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    project = committed(tools, tmp_path, manager, "cpu")
    if manager == "poetry":
        begun(project, "pypi")
    lock = project / f"{manager}.lock"
    before = lock.read_bytes()
    with tools.index.failing("/whl/", 403):
        said = tools.bootstrap(project, "--fallback", "pypi")
    have = installed(tools, project)
    assert "resolved for this machine" not in said
    assert "+" not in have["torch"]
    for name in ("numpy", "pytest", "ruff", "mypy"):
        assert f'name = "{name}"\nversion = "{have[name]}"' in lock.read_text(encoding="utf-8")
    assert lock.read_bytes() == before
    assert changes(project) == ""


@pytest.mark.slow
@pytest.mark.parametrize("manager", MANAGERS)
def test_another_build_is_installed_where_the_project_s_own_cannot_be_locked(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    project = started(tools, tmp_path, manager, "cu130")
    if manager != "uv":
        begun(project, "cpu")
    with tools.index.failing("/whl/cu130", 403):
        said = tools.bootstrap(project, "--compute-platform", "cpu")
        assert "Nothing to do" in tools.bootstrap(project, "--compute-platform", "cpu")
    have = installed(tools, project)
    assert have["torch"].endswith("+cpu")
    assert {"numpy", "pytest", "ruff", "mypy", "my-torch-project"} <= have.keys()
    if manager != "pip":  # which locks nothing
        missing = f"{manager}.lock is missing and cannot be made here: what it lacks is resolved"
        assert f"{missing} for this machine, in .tools" in said
    assert changes(project) == ""


@pytest.mark.slow
@pytest.mark.parametrize("manager", ["uv", "poetry"])
def test_of_a_lock_file_that_is_out_of_date_what_fits_is_used(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    project = committed(tools, tmp_path, manager, "cu130")
    if manager == "poetry":
        begun(project, "cpu")
    lock = project / f"{manager}.lock"
    old = tomlkit.parse(lock.read_text(encoding="utf-8")).unwrap()["package"]
    ours = {one["name"]: one["version"] for one in old if "version" in one}
    file = project / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"numpy",', '"numpy",\n    "requests",'), encoding="utf-8")
    before = lock.read_bytes()
    with tools.index.failing("/whl/cu130", 403):
        said = tools.bootstrap(project, "--compute-platform", "cpu")
    have = installed(tools, project)
    state = f"{manager}.lock does not fit pyproject.toml and cannot be made here"
    assert state in said
    assert have["torch"].endswith("+cpu")
    assert "requests" in have
    assert have["numpy"] == ours["numpy"]
    assert have["ruff"] == ours["ruff"]
    assert lock.read_bytes() == before


@pytest.mark.slow
def test_a_package_with_a_place_of_its_own_is_taken_from_there_alone(
    tools: Tools, tmp_path: Path
) -> None:
    """On the usual index somebody else may have put one of that name."""
    project = started(tools, tmp_path, "uv", "cu130")
    near = tmp_path / "near"
    (near / "src/near").mkdir(parents=True)
    (near / "src/near/__init__.py").touch()
    (near / "pyproject.toml").write_text(
        '[project]\nname = "near"\nversion = "7.0"\n\n[build-system]\n'
        'requires = ["hatchling>=1.27"]\nbuild-backend = "hatchling.build"\n',
        encoding="utf-8",
    )
    file = project / "pyproject.toml"
    text = file.read_text(encoding="utf-8").replace('"numpy",', '"numpy",\n    "near",')
    source = text.replace("[tool.uv.sources]\n", '[tool.uv.sources]\nnear = { path = "../near" }\n')
    file.write_text(source, encoding="utf-8")
    with tools.index.failing("/whl/cu130", 403):
        tools.bootstrap(project, "--compute-platform", "cpu")
    assert installed(tools, project)["near"] == "7.0"

    elsewhere = '[[tool.uv.index]]\nname = "corp"\nurl = "https://corp.example/simple"\n'
    row = text.replace("[tool.uv.sources]\n", '[tool.uv.sources]\nnear = { index = "corp" }\n')
    file.write_text(f"{row}\n{elsewhere}explicit = true\n", encoding="utf-8")
    with tools.index.failing("/whl/cu130", 403), pytest.raises(ToolFailedError) as stopped:
        tools.bootstrap(project, "--compute-platform", "cpu", "--recreate")
    said = str(stopped.value)
    assert "uv.lock cannot be made here, and near comes from a place of its own." in said
    assert "Type `uv lock` where " in said
