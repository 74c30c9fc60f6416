"""Settings and mirrors of a machine that keep a build from being installed are named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from install.begun import begun
from install.checkouts import BOOTSTRAPS, MANAGERS, installed, started
from install.managers import ToolFailedError, Tools

pytestmark = BOOTSTRAPS


@pytest.mark.some(1)
@pytest.mark.slow
@pytest.mark.parametrize("manager", MANAGERS)
def test_a_setting_that_forbids_the_build_is_named_with_its_file_and_value(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    project = started(tools, tmp_path, manager)
    if manager != "uv":
        begun(project, "cu130")
    limits = tmp_path / "limits.txt"
    limits.write_text("torch<=2.4\n", encoding="utf-8")
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nconstraint = {limits}\n", encoding="utf-8")
    env = {"pip": {"PIP_CONFIG_FILE": str(config)}, "uv": {"UV_CONSTRAINT": str(limits)}}
    options = ("--compute-platform", "cu130")  # by pip, also for Poetry, and by `uv pip`
    settings = env.get(manager, env["pip"])
    with pytest.raises(ToolFailedError) as stopped:
        tools.bootstrap(project, *options, **settings)
    said = str(stopped.value)
    assert (
        "bootstrap: A setting of this machine forbids what the project asks for: torch<=2.4" in said
    )
    where = "the environment" if manager == "uv" else str(config)
    assert f"= {limits} (in {where})" in said
    away = {"PIP_CONSTRAINT": os.devnull} if manager != "uv" else {"UV_CONSTRAINT": ""}
    assert ("unset UV_CONSTRAINT" if manager == "uv" else "PIP_CONSTRAINT=/dev/null") in said
    tools.bootstrap(project, *options, **{**settings, **away})
    assert installed(tools, project)["torch"].endswith("+cu130")


@pytest.mark.some(5)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("manager", "text", "variables", "named"),
    [
        ("pip", "[install]\nno-index = true\n", {}, "no-index = true (in {file})"),
        ("pip", "[global]\nno-binary = :all:\n", {}, "no-binary = :all: (in {file})"),
        ("pip", "", {"PIP_REQUIRE_HASHES": "1"}, "PIP_REQUIRE_HASHES = 1 (in the environment)"),
        (
            "pip",
            "[global]\nindex-url = http://me:secret@127.0.0.1:9/simple\nretries = 0\n",
            {"PIP_INDEX_URL": ""},
            "index-url = http://...@127.0.0.1:9/simple (in {file})",
        ),
        ("uv", "", {"UV_OFFLINE": "1"}, "UV_OFFLINE = 1 (in the environment)"),
        (
            "uv",
            "",
            {"UV_EXCLUDE_NEWER": "2001-01-01T00:00:00Z"},
            "UV_EXCLUDE_NEWER = 2001-01-01T00:00:00Z (in the environment)",
        ),
        ("uv", "no-index = true\n", {}, "no-index = true (in {file})"),
        ("uv", "", {"UV_NO_BINARY_PACKAGE": "torch"}, "UV_NO_BINARY_PACKAGE = torch (in the env"),
        (
            "pip",
            "[install]\nrequirement = /nowhere/more.txt\n",
            {},
            "requirement = /nowhere/more.txt (in {file})",
        ),
        ("pip", "", {"PIP_IMPLEMENTATION": "pp"}, "PIP_IMPLEMENTATION = pp (in the environment)"),
    ],
)
def test_a_setting_that_may_be_the_reason_is_named_with_its_place(
    tools: Tools, tmp_path: Path, manager: str, text: str, variables: dict[str, str], named: str
) -> None:
    project = started(tools, tmp_path, manager)
    if manager == "pip" and text.startswith("[global]"):  # the others keep pip from its own update
        begun(project)
    file = tmp_path / "settings"
    file.write_text(text, encoding="utf-8")
    where = {"pip": "PIP_CONFIG_FILE", "uv": "UV_CONFIG_FILE"}[manager]
    env = {**variables, **({where: str(file)} if text else {})}
    with pytest.raises(ToolFailedError) as stopped:
        tools.bootstrap(project, **env)
    said = str(stopped.value)
    assert "These settings of this machine can be the reason:" in said
    assert named.format(file=file) in said
    assert "secret" not in said.partition("bootstrap: ")[2]


@pytest.mark.some(3)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("{folder}/fine.txt {folder}/limits.txt", "torch<=2.4"),
        ("{folder}/names.txt", "torch<=2.4"),  # which is in the file that it names
        ("file://{folder}/limits.txt", "torch<=2.4"),
        ("{folder}/build.txt", "torch==2.14.1+cu130"),
        ("{folder}/series.txt", "torch~=2.4.0"),
    ],
)
def test_constraints_of_pip_are_read_wherever_they_stand(
    tools: Tools, tmp_path: Path, value: str, line: str
) -> None:
    texts = {"limits": "torch<=2.4", "fine": "numpy>=1", "names": "# all\n-c limits.txt"}
    texts |= {"build": "torch==2.14.1+cu130", "series": "torch~=2.4.0"}
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(f"{text}\n", encoding="utf-8")
    project = started(tools, tmp_path, "pip")
    value = value.format(folder=tmp_path)
    with pytest.raises(ToolFailedError) as stopped:
        tools.bootstrap(project, PIP_CONSTRAINT=value)
    said = str(stopped.value)
    assert f"forbids what the project asks for: {line}, by PIP_CONSTRAINT = {value} (in the" in said
    assert "\n  unset PIP_CONSTRAINT\n" in said


@pytest.mark.slow
@pytest.mark.parametrize("compute_platform", ["pypi", "cpu"])
def test_a_mirror_without_pypi_s_json_is_told_to_poetry_users(
    tools: Tools, tmp_path: Path, compute_platform: str
) -> None:
    project = started(tools, tmp_path, "poetry", compute_platform)
    # What Poetry has kept of PyPI must not come back once the mirror is named.
    tools.poetry("lock", cwd=project)
    (project / "poetry.lock").unlink()
    with tools.index.failing("/pypi/", 404):
        with pytest.raises(ToolFailedError) as stopped:
            tools.bootstrap(project, POETRY_CACHE_DIR=str(tmp_path / "empty cache"))
        said = str(stopped.value)
        assert (
            "bootstrap: What answers as PyPI here has no JSON interface, which Poetry asks" in said
        )
        add = "poetry source add --priority=primary mirror https://mirror.example/simple/"
        assert add in said
        tools.poetry(*add.split()[1:-1], tools.index.simple_url, cwd=project)
        assert ("poetry source remove PyPI" in said) == (compute_platform == "cpu")
        edit = 'let `source = "PyPI"` of torch be `source = "mirror"`'
        assert (edit in said) == (compute_platform == "cpu")
        if compute_platform == "cpu":
            tools.poetry("source", "remove", "PyPI", cwd=project)
            file = project / "pyproject.toml"
            text = file.read_text(encoding="utf-8")
            file.write_text(
                text.replace('source = "PyPI",', 'source = "mirror",'), encoding="utf-8"
            )
        tools.bootstrap(project)
    assert installed(tools, project)["torch"].endswith("+cpu") == (compute_platform == "cpu")


COOL_DOWNS = {
    "uv": {"UV_EXCLUDE_NEWER": "2026-10-01T00:00:00Z"},
    "poetry": {"POETRY_SOLVER_MIN_RELEASE_AGE": "7"},
    "pip": {"PIP_UPLOADED_PRIOR_TO": "P7D"},
}


@pytest.mark.some(2)
@pytest.mark.slow
@pytest.mark.parametrize("manager", COOL_DOWNS)
def test_a_cool_down_holds_no_pin_of_the_template_back_or_is_told(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    """As the PyTorch index is for most of what is older than torch 2.12: without upload times."""
    project = started(tools, tmp_path, manager, "cu126")
    with tools.index.without_upload_times():
        done = tools.try_bootstrap(project, env=COOL_DOWNS[manager])
        if manager == "pip":  # which has no exceptions
            page = f"{tools.index.pytorch_url}/cu126/torch/"
            assert f"A cool-down needs upload times, and {page} has none: instal" in done.stderr
            assert "PIP_UPLOADED_PRIOR_TO = P7D (in the environment)" in done.stderr
            assert "\n  unset PIP_UPLOADED_PRIOR_TO\n" in done.stderr
            done = tools.try_bootstrap(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed(tools, project)["torch"].endswith("+cu126")
