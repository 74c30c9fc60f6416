"""--compute-platform gives one machine another build, with each manager, on loopback."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from install.checkouts import build_check, changes, committed, installed, wheels
from install.managers import ToolFailedError, Tools
from render.reading import Builds

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="runs bootstrap.sh"),
]

OF_CUDA = re.compile(r"nvidia|cuda|triton|cu\d\d\d")


def bootstrap(tools: Tools, project: Path, *arguments: str) -> str:
    # As the README of a pip project says; no other manager looks at it.
    pins = {"PIP_CONSTRAINT": "requirements/torch-cu130.txt"}
    env = pins if (project / pins["PIP_CONSTRAINT"]).exists() else {}
    return tools.bootstrap(project, *arguments, **env)


@pytest.mark.some(2)
@pytest.mark.usefixtures("real_pip", "cold_caches")
@pytest.mark.network
@pytest.mark.parametrize("manager", ["uv", "poetry", "pip"])
def test_a_cuda_project_has_the_cpu_build_on_one_machine_and_its_own_on_others(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    project = committed(tools, tmp_path, manager, "cu130")
    text = (project / "scripts/torch_builds.json").read_text(encoding="utf-8")
    data = Builds.parse(text).data
    wanted = data["builds"]["cpu"]["platforms"]["linux-x86_64"]["packages"]

    with tools.index.recorded() as requests:
        first = bootstrap(tools, project, "--compute-platform", "cpu")

    release = data["release"]
    assert first.startswith(
        f"PyTorch {release}, CPU, by {manager} (for this machine alone; the project's own is CUDA"
    )
    assert [name for name in wheels(requests) if OF_CUDA.search(name)] == []
    assert any(name.startswith(f"torch-{release}+cpu-") for name in wheels(requests))
    have = installed(tools, project)
    assert {name: have[name] for name in wanted} == wanted
    assert {"numpy", "pytest", "ruff", "my-torch-project"} <= have.keys()
    assert [name for name in have if OF_CUDA.search(name)] == []
    assert changes(project) == ""
    if manager != "pip":  # the versions that everybody has
        lock = (project / f"{manager}.lock").read_text(encoding="utf-8")
        for name in ("numpy", "pytest", "ruff", "mypy"):
            assert f'name = "{name}"\nversion = "{have[name]}"' in lock
    said = build_check(tools, project)
    assert "this machine uses CPU; the project's own is cu130" in said

    started = time.monotonic()
    with tools.index.recorded() as requests:
        again = bootstrap(tools, project, "--compute-platform", "cpu")
    assert "Nothing to do: .venv is up to date." in again
    assert time.monotonic() - started < 5  # 0.4 s on an idle machine
    assert requests == []

    if manager != "uv":  # whose way back is the usual installation, and slower
        assert "Nothing to do" in bootstrap(tools, project)
        back = bootstrap(tools, project, "--compute-platform", "cu130", "--dry-run")
        assert "removing .venv: it was made for cpu, the project's own is cu130" in back
        return
    tools.uv("sync", "--python", data["python"], cwd=project)  # as `uv run` does
    assert "torch 2" in build_check(tools, project)
    assert "but this .venv was made for" in build_check(tools, project)
    assert "`sh bootstrap.sh --compute-platform cpu --recreate`" in build_check(tools, project)
    mended = bootstrap(tools, project)  # what was chosen for this machine stays chosen
    assert "removing .venv: another torch has been put into it" in mended
    assert {name: installed(tools, project)[name] for name in wanted} == wanted

    back = bootstrap(tools, project, "--compute-platform", "cu130")
    assert "removing .venv: it was made for cpu, the project's own is cu130" in back
    assert installed(tools, project)["torch"] == f"{release}+cu130"
    assert "the project's build for CUDA 13.0" in build_check(tools, project)
    assert "Nothing to do" in bootstrap(tools, project)
    assert changes(project) == ""


@pytest.mark.usefixtures("cold_caches")
@pytest.mark.parametrize(("own", "other"), [("rocm7.2", "cpu"), ("cpu", "rocm7.2")])
def test_what_only_one_build_asks_for_comes_and_goes_with_it(
    tools: Tools, tmp_path: Path, own: str, other: str
) -> None:
    project = committed(tools, tmp_path, "uv", own)
    with tools.index.recorded() as requests:
        bootstrap(tools, project, "--compute-platform", other)
    have = installed(tools, project)
    assert have["torch"].endswith(f"+{other}")
    assert ("triton-rocm" in have) == (other == "rocm7.2")
    asked = [name.partition("-")[0] for name in wheels(requests) if "triton" in name]
    assert asked == (["triton_rocm"] if other == "rocm7.2" else [])
    assert changes(project) == ""


def test_half_a_machine_build_is_not_taken_for_the_project_s_own(
    tools: Tools, tmp_path: Path
) -> None:
    project = committed(tools, tmp_path, "uv", "cu130")
    # The index answers, but one of its files does not come.
    with tools.index.failing("/whl/cpu/torch-", 500), pytest.raises(ToolFailedError) as failed:
        bootstrap(tools, project, "--compute-platform", "cpu")
    assert "/whl/cpu did not give uv all that it asked for: installing" in str(failed.value)
    assert "removing" not in bootstrap(tools, project, "--compute-platform", "cpu", "--dry-run")
    back = bootstrap(tools, project, "--compute-platform", "cu130")
    assert "removing .venv: it was made for cpu, the project's own is cu130" in back
    assert installed(tools, project)["torch"].endswith("+cu130")


@pytest.mark.parametrize("manager", ["uv", "poetry"])
def test_packages_of_a_second_index_are_not_guessed_at(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    """A package of the same name may lie on the first, put there by somebody else."""
    project = committed(tools, tmp_path, manager, "cu130")
    corp = tools.index.simple_url.replace("127.0.0.1", "localhost")
    if manager == "uv":
        source = '\n[[tool.uv.index]]\nname = "corp"\nurl = "{}"\nexplicit = true\n'
        row = '[tool.uv.sources]\nnumpy = { index = "corp" }\n'
    else:
        source = '\n[[tool.poetry.source]]\nname = "corp"\nurl = "{}"\npriority = "explicit"\n'
        row = '[tool.poetry.dependencies]\nnumpy = { source = "corp" }\n'
    file = project / "pyproject.toml"
    table = row.partition("\n")[0] + "\n"
    text = file.read_text(encoding="utf-8")
    text = text.replace(table, row) if table in text else f"{text}\n{row}"
    file.write_text(text + source.format(corp), encoding="utf-8")
    lock = tools.uv_lock if manager == "uv" else tools.poetry_lock
    lock(project)

    with pytest.raises(ToolFailedError) as stopped:
        bootstrap(tools, project, "--compute-platform", "cpu")

    assert f"bootstrap: {manager}.lock has packages from " in str(stopped.value)
    assert corp.rstrip("/") in str(stopped.value)
    assert (
        "copier update --trust --defaults --vcs-ref=:current: --data compute_platform=cpu"
        in str(stopped.value)
    )
    assert not (project / ".venv").exists()
