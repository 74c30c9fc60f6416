"""Every move that the plain scripts can print is one that the template accepts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from matrix.moving import follow, projects, refusals, with_policy
from scripts.bootstrap_helpers import module
from scripts.smoke_helpers import load_package
from torch_template.resolving import alternatives, older_glibc, same_pythons, same_release
from torch_template.torch_builds import torch_builds

BASE = "https://download.pytorch.org/whl"
COMMAND = re.compile(r"copier update --trust --defaults --vcs-ref=:current: [^`\n]*--data [^`\n]+")
# Of the projects one in so many: all of them would take minutes.
EVERY = {"as shipped": 73, "without cpu": 37, "with retirements": 73}
SYSTEMS = {
    "linux-x86_64": ("Linux", "x86_64"),
    "linux-aarch64": ("Linux", "aarch64"),
    "windows-amd64": ("Windows", "AMD64"),
    "macos-arm64": ("Darwin", "arm64"),
}


LOCK = """
[[package]]
name = "one"
[package.source]
type = "legacy"
url = "https://one.example/simple"
[[package]]
name = "two"
"""


def bootstrap_says(system: str, names: list[str]) -> Iterator[str]:
    """What the bootstrap says on a system, where each of these platforms is asked for."""
    project, places = module("project").load_project(), module("places")
    yield from (module("choice").refusal(project, name, system).todo for name in names)
    yield from (project.update(f"--data python_version={minor}") for minor in project.pythons)
    trouble = module("index").Trouble("the index cannot be reached")
    advise = module("failures").index_advice
    yield advise(project, system, trouble, "locking failed", project.manager)[1]
    yield module("fit").newer_glibc(project, system)
    if system not in project.build["platforms"]:
        with pytest.raises(places.StopError) as stopped:
            module("fit").check_fit(project, system)
        yield stopped.value.todo
    for name in project.builds:
        mixed = project._replace(manager="poetry", machine_build=name)
        with pytest.raises(places.StopError) as stopped:
            module("requirements").one_index(mixed)
        yield stopped.value.todo


def smoke_test_says(file: Path) -> Iterator[str]:
    """What the smoke test says of each other build."""
    machine = load_package("builds").read_machine(file)
    yield from (machine.command_for(name) for name in machine.alternatives)


@pytest.mark.slow
@pytest.mark.parametrize("policy", EVERY)
def test_every_move_that_a_script_prints_is_accepted(
    policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix, printed = with_policy(policy), 0
    file = tmp_path / "torch_builds.json"
    (tmp_path / "poetry.lock").write_text(LOCK, encoding="utf-8")
    for name in ("ROOT", "BUILDS"):
        monkeypatch.setattr(module("project"), name, tmp_path if name == "ROOT" else file)
    for build in projects(matrix, EVERY[policy]):
        others = alternatives(matrix, build.asked)
        same, pythons = same_release(matrix, build), same_pythons(matrix, build)
        file.write_text(
            torch_builds(build, same, others, pythons, older_glibc(matrix, build), BASE),
            encoding="utf-8",
        )
        names = [*matrix.compute_platforms, "cu999"]
        texts: list[str] = []
        for system, (kernel, processor) in SYSTEMS.items():
            texts += bootstrap_says(system, names)
            monkeypatch.setattr("platform.system", lambda kernel=kernel: kernel)
            monkeypatch.setattr("platform.machine", lambda processor=processor: processor)
            texts += smoke_test_says(file)
        for command in {one for text in texts for one in COMMAND.findall(text)}:
            if "pytorch_index_url" in command:  # which is checked as any answer
                continue
            new = follow(build.asked, command)
            assert refusals(matrix, build.asked, new) == [], (build.asked, command)
            printed += 1
    assert printed > 30


def test_without_a_move_none_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = with_policy("without cpu")
    build = next(one for one in projects(matrix) if one.asked.compute_platform == "cu130")
    file = tmp_path / "torch_builds.json"
    others = alternatives(matrix, build.asked)
    text = torch_builds(build, same_release(matrix, build), others, (), {}, BASE)
    file.write_text(text, encoding="utf-8")
    monkeypatch.setattr(module("project"), "BUILDS", file)
    project = module("project").load_project()
    assert "cpu" in project.builds  # for one machine alone, though not on offer
    assert "cpu" not in {**project.moves, **project.alternatives}
    assert load_package("builds").read_machine(file).command_for("cpu") == (
        "type `sh bootstrap.sh --compute-platform cpu`"
    )
