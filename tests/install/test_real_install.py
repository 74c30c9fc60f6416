"""A rendered project with the real torch: installed by its own bootstrap, checked, and tested."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import commands
from install import ci_steps
from install.loopback_index import LoopbackIndex
from install.real_torch import NOT_COMPILED, TORCH, cpu_wheel, needs_real_torch
from render.projects import git, render, under_git

# One process of the test run has the project and the download to itself.
pytestmark = [
    needs_real_torch,
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.xdist_group("real install"),
]


def run(*command: str | Path, cwd: Path) -> CompletedProcess[str]:
    """Run a command as a user would."""
    return commands.run(command, cwd, {**os.environ, **NOT_COMPILED})


@pytest.fixture(scope="module")
def project(index: LoopbackIndex, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bootstrapped pip project: torch from the loopback index, the rest from the registry."""
    index.add_wheels(cpu_wheel().parent, "cpu")
    project = render(
        tmp_path_factory.mktemp("real") / "my project",
        package_manager="pip",
        compute_platform="cpu",
        ci="gitlab",
        ci_runners=["gpu"],
        torch_version="2.13",
        torch_packages=[],
        pytorch_index_url=index.pytorch_url,
    )
    with index.recorded() as requests:
        done = run("sh", "bootstrap.sh", "--verbose", cwd=project)
    assert done.returncode == 0, done.stdout
    assert any(request.path.endswith(".whl") for request in requests), "torch came from elsewhere"
    assert "PASS" in done.stdout
    return project


def venv(project: Path, *arguments: str) -> CompletedProcess[str]:
    """Run the project's own Python."""
    return run(project / ".venv/bin/python", *arguments, cwd=project)


def test_its_smoke_test_passes_on_the_real_cpu_build(project: Path) -> None:
    done = venv(project, "scripts/gpu_smoke_test.py", "--json")

    report = json.loads(done.stdout)
    status = {check["id"]: check["status"] for check in report["checks"]}
    assert done.returncode == report["exit_code"] == 0
    assert status["TORCH-BUILD"] == status["NUM-MATMUL"] == status["NUM-GRAD"] == "pass"
    assert "fail" not in status.values()


def test_the_script_of_its_ci_ends_well(project: Path, tmp_path: Path) -> None:
    """Lint, types, tests and the smoke test; only scripts/ knows of other systems."""
    (done,) = ci_steps.run(project, "gitlab", {**os.environ, **NOT_COMPILED}, tmp_path / "said.md")

    assert done.returncode == 0, done.stdout
    for said in ("takes cpu", "All checks passed", "Success: no issues", "4 passed", "PASS"):
        assert said in done.stdout


def test_its_gpu_job_demands_a_gpu_and_keeps_the_report_all_the_same(project: Path) -> None:
    said = ci_steps.loaded(project / ".gitlab-ci.yml")["gpu"]

    done = run(*ci_steps.SHELL, "-c", said["script"][-1], cwd=project)

    assert done.returncode != 0
    assert "PASS" not in done.stdout
    assert said["artifacts"]["when"] == "always"
    report, summary = (project / name for name in said["artifacts"]["paths"])
    assert json.loads(report.read_text("utf-8"))["exit_code"] == done.returncode
    assert summary.read_text("utf-8").startswith("### FAIL torch ")


def test_the_steps_of_github_end_well_in_a_fresh_checkout(
    index: LoopbackIndex, tmp_path: Path
) -> None:
    """With uv; nothing but the wheels is cached, and nothing of it would be committed."""
    index.add_wheels(cpu_wheel().parent, "cpu")
    project = under_git(
        render(
            tmp_path / "my project",
            ci="github",
            torch_version="2.13",
            torch_packages=[],
            pytorch_index_url=index.pytorch_url,
        )
    )
    summary = tmp_path / "summary.md"

    steps = ci_steps.run(project, "github", {**os.environ, **NOT_COMPILED}, summary)

    assert [one.returncode for one in steps] == [0, 0, 0, 0], steps[-1].stdout
    assert "PASS" in summary.read_text("utf-8")
    assert [one.name for one in (project / ".cache").iterdir()] == ["uv"]
    kept = sum(file.stat().st_size for file in (project / ".cache").rglob("*") if file.is_file())
    assert cpu_wheel().stat().st_size < kept < 2 * 10**9
    assert git(project, "status", "--porcelain") == "?? uv.lock\n"

    # The one command for a bill of materials, as the project's page has it.
    page = (project / "docs/pytorch-build.md").read_text("utf-8")
    (command,) = re.findall(r"^uv export .*cyclonedx.*$", page, re.MULTILINE)
    assert run(sys.executable, "-m", *command.split(), cwd=project).returncode == 0
    bill = json.loads((project / "sbom.cdx.json").read_text("utf-8"))
    (torch,) = (one for one in bill["components"] if one["version"] == f"{TORCH}+cpu")
    assert torch["purl"].endswith(f"?repository_url={index.pytorch_url}/cpu")
    files = [one for one in torch["externalReferences"] if one["url"].endswith("x86_64.whl")]
    assert [one["hashes"][0]["alg"] for one in files] == ["SHA-256"]


@pytest.mark.parametrize("manager", ["uv", "poetry", "pip"])
def test_pre_commit_finds_nothing_in_a_fresh_project(
    project: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, manager: str
) -> None:
    fresh = under_git(
        render(tmp_path / "fresh project", package_manager=manager, torch_packages=[])
    )
    (fresh / ".venv").symlink_to(project / ".venv")  # whose tools are the same
    env = {
        "PRE_COMMIT_HOME": str(tmp_path_factory.getbasetemp() / "pre-commit"),
        "MYPY_CACHE_DIR": str(project / ".mypy_cache"),  # which has torch
        "SKIP": "" if manager == "pip" else "locks",  # of which a fresh project has none yet
    }
    command = [sys.executable, "-m", "pre_commit", "run", "--all-files"]

    clean = commands.run(command, fresh, {**os.environ, **env})

    assert clean.returncode == 0, clean.stdout
    assert clean.stdout.count("Passed") == (6 if manager == "pip" else 5)

    if manager == "uv":
        (fresh / "src/my_torch_project/spoilt.py").write_text("import os\nx: int = ''\n")
        (fresh / "notes.md").write_text("<<<<<<< before updating\n")
        (fresh / "weights.bin").write_bytes(bytes(2 * 1024**2))
        git(fresh, "add", "--all")
        spoilt = commands.run(command, fresh, {**os.environ, **env})
        assert spoilt.stdout.count("Failed") == 5, spoilt.stdout


def test_its_module_names_the_device_and_the_build(project: Path) -> None:
    done = venv(project, "-m", "my_torch_project.device")

    assert done.stdout.strip() == f"cpu: no GPU in use (torch {TORCH}+cpu)"


def test_an_unrelated_install_with_the_constraints_keeps_the_build(project: Path) -> None:
    eager = ("install", "--quiet", "--upgrade", "--upgrade-strategy", "eager", "einops", "torch")
    constraints = ("-c", "requirements/torch-cpu.txt")

    done = venv(project, "-m", "pip", *eager, *constraints)

    version = venv(project, "-c", "import torch; print(torch.__version__)")
    assert done.returncode == 0, done.stdout
    assert version.stdout.strip() == f"{TORCH}+cpu"


def test_the_smoke_test_fails_when_the_project_asks_for_another_build(project: Path) -> None:
    data_file = project / "scripts/torch_builds.json"
    before = data_file.read_text()
    build = json.loads(before)
    wanted = build["builds"]["cpu"]["platforms"]["linux-x86_64"]
    wanted |= {"accelerator": "cuda", "toolkit": "13.0", "packages": {"torch": f"{TORCH}+cu130"}}
    data_file.write_text(json.dumps(build))
    try:
        done = venv(project, "scripts/gpu_smoke_test.py")
    finally:
        data_file.write_text(before)

    assert done.returncode == 3, done.stdout
    assert "TORCH-BUILD" in done.stdout
    assert "bootstrap" in done.stdout
