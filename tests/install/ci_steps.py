"""What the test job of a project's CI runs, to be run here: on Linux, in a real shell.

Of GitHub, what an expression says is put in its place, and actions are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import yaml

import commands

ON_LINUX = {"runner.os != 'Windows'": True, "runner.os == 'Windows'": False}
# As both services start it.
SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail")


def loaded(file: Path) -> dict[str, Any]:
    """What a YAML file says."""
    said: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return said


def github(project: Path) -> tuple[list[str], dict[str, str]]:
    """The scripts of the job in their order, and their environment."""
    job = loaded(project / ".github/workflows/ci.yml")["jobs"]["test"]
    row = job["strategy"]["matrix"]["include"][0]
    known = {"github.workspace": str(project)} | {f"matrix.{key}": row[key] for key in row}

    def filled(text: str) -> str:
        return re.sub(r"\$\{\{ (\S+) \}\}", lambda found: known[found[1]], text)

    steps = [one for one in job["steps"] if "run" in one]
    scripts = [one["run"] for one in steps if "if" not in one or ON_LINUX[one["if"]]]
    return scripts, {key: filled(job["env"][key]) for key in job["env"]}


def gitlab(project: Path) -> tuple[list[str], dict[str, str]]:
    """The same of GitLab, which runs the lines of a job in one shell."""
    said = loaded(project / ".gitlab-ci.yml")
    job = {**said[said["test"]["extends"]], **said["test"]}
    variables: dict[str, str] = job["variables"]
    env = {key: text.replace("$CI_PROJECT_DIR", str(project)) for key, text in variables.items()}
    return ["\n".join([*job.get("before_script", ()), *job["script"]])], env


SERVICES = {"github": github, "gitlab": gitlab}


def run(
    project: Path, ci: str, env: Mapping[str, str], summary: Path
) -> list[CompletedProcess[str]]:
    """Run all of them, up to the first that ends badly."""
    scripts, known = SERVICES[ci](project)
    here = {"RUNNER_OS": "Linux", "GITHUB_STEP_SUMMARY": str(summary), "CI": "true"}
    done: list[CompletedProcess[str]] = []
    for script in scripts:
        file = summary.with_suffix(".sh")
        file.write_text(script, encoding="utf-8")
        done.append(commands.run([*SHELL, file], project, {**env, **known, **here}))
        if done[-1].returncode:
            break
    return done
