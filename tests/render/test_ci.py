"""What the CI of a project runs, where, and for whom."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from render.projects import copy

MANAGERS = ("uv", "poetry", "pip")
ALL = ["windows", "macos", "gpu"]
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
Job = dict[str, Any]


def rendered(template: Path, folder: Path, ci: str, **answers: Any) -> dict[str, Any]:  # noqa: ANN401
    """What the CI files of a project say, by their names."""
    project = copy(template, folder / "project", ci=ci, **answers)
    found = [*(project / ".github/workflows").glob("*"), *project.glob(".gitlab-ci.yml")]
    return {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in found}


def jobs_of(gitlab: dict[str, Any]) -> dict[str, Job]:
    """The jobs that GitLab makes, each with what it extends."""
    jobs = {name: {**gitlab.get(job.get("extends"), {}), **job} for name, job in gitlab.items()}
    return {name: job for name, job in jobs.items() if not name.startswith(".")}


def with_rules(gitlab: dict[str, Any], **variables: str) -> list[str]:
    """The jobs of a pipeline with these variables: the first rule that is true counts."""

    def true(condition: str) -> bool:
        left, right = re.sub(
            r"\$(\w+)", lambda found: repr(variables.get(found[1])), condition
        ).split(" == ")
        return left.strip("\"'") == right.strip("\"'")

    def runs(job: Job) -> bool:
        fits = [rule for rule in job["rules"] if true(rule["if"])]
        return bool(fits) and fits[0].get("when") != "never"

    return [name for name, job in jobs_of(gitlab).items() if runs(job)]


def triggers(workflow: dict[Any, Any]) -> dict[str, Any]:
    """YAML takes the key `on` for a truth."""
    said: dict[str, Any] = workflow[True]
    return said


@pytest.mark.parametrize("runners", [[], ["macos"], ["windows", "gpu"], ALL], ids=str)
def test_github_tests_on_what_was_asked_for(
    template: Path, tmp_path: Path, runners: list[str]
) -> None:
    found = rendered(template, tmp_path, "github", ci_runners=runners)
    job = found["ci"]["jobs"]["test"]
    rows = {row["name"]: row for row in job["strategy"]["matrix"]["include"]}
    # Rules of a branch know the one on Linux as `test`.
    assert [*rows] == ["test", *(f"test-{one}" for one in ("windows", "macos") if one in runners)]
    assert all(row["runner"].endswith("-latest") for row in rows.values())
    starts = [step["run"] for step in job["steps"] if "--compute-platform auto" in str(step)]
    assert [start.split()[0] for start in starts] == [
        "sh",
        *["./bootstrap.cmd"] * ("windows" in runners),
    ]
    assert sorted(found) == ["ci", *["gpu"] * ("gpu" in runners), "template-update"]


@pytest.mark.parametrize("runners", [[], ["macos"], ALL], ids=str)
def test_gitlab_tests_on_what_was_asked_for(
    template: Path, tmp_path: Path, runners: list[str]
) -> None:
    gitlab = rendered(template, tmp_path, "gitlab", ci_runners=runners)[".gitlab-ci"]
    tests = {name: job for name, job in jobs_of(gitlab).items() if "template" not in name}
    assert sorted(tests) == sorted(
        ["test", *("gpu" if one == "gpu" else f"test-{one}" for one in runners)]
    )
    # Their names in GitLab's documentation; the one on Linux takes what has no tag.
    wanted = {"macos": "saas-macos-medium-m1", "windows": "saas-windows-medium-amd64"}
    tags = {name: job["tags"] for name, job in tests.items() if "tags" in job}
    assert tags == {
        ("gpu" if one == "gpu" else f"test-{one}"): [wanted.get(one, "gpu")] for one in runners
    }
    if "windows" in runners:
        assert "image" not in tests["test-windows"]  # its machines run no containers
        assert (
            ".\\bootstrap.cmd --no-smoke --compute-platform auto" in tests["test-windows"]["script"]
        )


def test_a_strangers_change_never_gets_onto_the_gpu_runner(template: Path, tmp_path: Path) -> None:
    gpu = rendered(template, tmp_path / "hub", "github", ci_runners=["gpu"])["gpu"]
    # Only who may write can push to these branches, or start it by hand.
    assert triggers(gpu) == {"push": {"branches": ["main", "master"]}, "workflow_dispatch": None}
    gitlab = rendered(template, tmp_path / "lab", "gitlab", ci_runners=["gpu"])[".gitlab-ci"]
    here = {"CI_DEFAULT_BRANCH": "main"}
    fork = {"CI_PIPELINE_SOURCE": "merge_request_event"}
    assert with_rules(gitlab, **here, **fork) == ["test"]
    push = {"CI_PIPELINE_SOURCE": "push"}
    assert with_rules(gitlab, **here, **push, CI_COMMIT_BRANCH="main") == ["test", "gpu"]
    assert with_rules(gitlab, **here, **push, CI_COMMIT_BRANCH="feature") == []
    weekly = {"CI_PIPELINE_SOURCE": "schedule", "CI_COMMIT_BRANCH": "main"}
    assert all("template-update" in name for name in with_rules(gitlab, **here, **weekly))


@pytest.mark.parametrize(
    ("platform", "device"), [("cu130", "cuda"), ("pypi", "cuda"), ("xpu", "xpu"), ("cpu", "cuda")]
)
@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_the_gpu_job_demands_a_gpu_and_keeps_what_it_found(
    template: Path, tmp_path: Path, ci: str, platform: str, device: str
) -> None:
    said = rendered(template, tmp_path, ci, ci_runners=["gpu"], compute_platform=platform)
    job = said["gpu"]["jobs"]["smoke-test"] if ci == "github" else said[".gitlab-ci"]["gpu"]
    assert (job.get("runs-on") or job["tags"])[-1] == "gpu"
    lines = [step.get("run", "") for step in job["steps"]] if ci == "github" else job["script"]
    install, smoke = (line for line in lines if line)
    # The project's own build; one for the CPU alone has nothing to try there.
    assert ("--compute-platform auto" in install) == (platform == "cpu")
    assert f" --device {device} " in smoke
    assert "--json smoke-test.json" in smoke
    assert "--markdown" in smoke
    kept = job["steps"][-1] if ci == "github" else job["artifacts"]
    assert (kept.get("if") or kept["when"]) in ("!cancelled()", "always")
    assert "smoke-test.json" in str(kept)


@pytest.mark.parametrize("manager", MANAGERS)
def test_no_cache_is_served_to_another_manager_system_or_lock(
    template: Path, tmp_path: Path, manager: str
) -> None:
    job = rendered(template, tmp_path / "hub", "github", package_manager=manager)["ci"]["jobs"][
        "test"
    ]
    restore, save = (step for step in job["steps"] if "cache" in step.get("uses", ""))
    key = restore["with"]["key"]
    assert key.startswith(f"{manager}-${{{{ runner.os }}}}-${{{{ runner.arch }}}}-${{{{ hashFiles(")
    lock = {"uv": "'*.lock'", "poetry": "'*.lock'"}.get(manager, "'requirements/*'")
    assert lock in key
    assert "'locks/*'" in key
    assert "restore-keys" not in restore["with"]  # an old cache would be kept and grow
    assert save["with"] == {
        "path": ".cache",
        "key": "${{ steps.wheels.outputs.cache-primary-key }}",
    }
    # Nothing that a pull request has made is kept.
    assert save["if"].startswith("github.event_name == 'push' && ")

    test = rendered(template, tmp_path / "lab", "gitlab", package_manager=manager)[".gitlab-ci"][
        ".test"
    ]
    assert test["cache"]["key"]["prefix"] == f"{manager}-$CI_JOB_NAME"
    files = test["cache"]["key"]["files"]
    assert files[0] == "pyproject.toml"
    assert files[1] in ("uv.lock", "poetry.lock", "requirements/torch-cpu.txt")
    assert len(files) <= 2  # GitLab takes no more
    ignored = (tmp_path / "lab/project/.gitignore").read_text("utf-8").splitlines()
    assert [f"{path}/" in ignored for path in test["cache"]["paths"]] == [True]
    for env in (job["env"], test["variables"]):
        assert {name for name in env if name.endswith("_CACHE_DIR")} == {
            f"{one.upper()}_CACHE_DIR" for one in MANAGERS
        }


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_gigabytes_of_cuda_are_not_kept(template: Path, tmp_path: Path, ci: str) -> None:
    """PyPI has no other wheels for Linux."""
    said = rendered(template, tmp_path, ci, compute_platform="pypi")
    assert "cache/" not in str(said["ci"]["jobs"]["test"]["steps"] if ci == "github" else "")
    assert ci == "github" or "cache" not in said[".gitlab-ci"][".test"]


def test_gitlab_understands_its_file(template: Path, tmp_path: Path) -> None:
    rendered(template, tmp_path, "gitlab", ci_runners=ALL, torch_packages=["torchcodec"])
    tool = Path(sys.executable).with_name("check-jsonschema")
    options = ("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci")
    file = tmp_path / "project" / ".gitlab-ci.yml"
    done = subprocess.run([tool, *options, file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_the_shell_of_ci_has_no_finding_of_shellcheck(
    template: Path, tmp_path: Path, ci: str
) -> None:
    answers = {"ci_runners": ALL, "torch_packages": ["torchcodec"]}
    said = rendered(template, tmp_path, ci, **answers)
    if ci == "github":
        jobs = [job for one in said.values() for job in one["jobs"].values()]
        scripts = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    else:
        jobs = [job for name, job in jobs_of(said[".gitlab-ci"]).items() if "windows" not in name]
        scripts = ["\n".join([*job.get("before_script", ()), *job["script"]]) for job in jobs]
    assert len(scripts) >= 6
    # OPTIONS of a job are words.
    options = ["--shell=bash", "--exclude=SC2086" if ci == "gitlab" else "--norc", "-"]
    for script in scripts:
        done = subprocess.run(
            [SHELLCHECK, *options], input=f"set -e\n{script}", capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout
