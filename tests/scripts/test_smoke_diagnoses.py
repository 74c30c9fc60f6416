"""The smoke test names each fault by its own id, with its remedy, and blames nothing else."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.faults import FAULTS
from scripts.injections import Injection, before_torch
from scripts.smoke_helpers import Project, fake_driver, needs_namespaces
from scripts.torch_helpers import doctor, patch_torch, real_project

VERSION_LINES = {  # of torch/version.py
    "cu126": {"cuda": "12.6"},
    "cu130": {"cuda": "13.0"},
    "rocm7.2": {"hip": "7.2.53211", "cuda": ""},
    "xpu": {"xpu": "20250301"},
}
MARKS = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif("sys.platform != 'linux'", reason="needs the Linux wheel of torch"),
]


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fake NVIDIA driver."""
    return fake_driver(tmp_path_factory.mktemp("driver"))


def broken(fault: Injection, root: Path, torch_venv: Callable[[], Path]) -> Project:
    """A project with this fault, and no other."""
    if fault.torch == "real":
        project = real_project(root, torch_venv(), fault.build)
        if lines := VERSION_LINES.get(fault.build):
            doctor(project, torch_venv(), **lines)
    else:
        project = Project(root / "project", fault.build)
        lines = VERSION_LINES.get(fault.build, {})
        if fault.installed.endswith("+cpu"):
            lines = {"cuda": ""}
        project.add_stub_torch(fault.torch, fault.installed, **lines)
    if fault.patch:
        patch_torch(project, fault.patch)
    fault.change(project)
    project.before = fault.before
    return project


def cases() -> Iterator[object]:
    """Every fault, with its marks.

    The first two of each check are in README.md's test command, the others are slow.
    """
    seen: Counter[str] = Counter()
    for one in FAULTS:
        marks = MARKS if one.torch == "real" else [pytest.mark.slow] * (seen[one.id] >= 2)
        seen[one.id] += one.torch != "real"
        yield pytest.param(one, marks=marks, id=one.what)


@pytest.mark.parametrize("fault", [*cases()])
def test_a_fault_is_named_with_its_remedy_and_nothing_else_is(
    fault: Injection, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if fault.before:
        needs_namespaces()
    project = broken(fault, tmp_path, lambda: request.getfixturevalue("torch_venv"))
    if fault.driver:
        project.env["LD_LIBRARY_PATH"] = str(request.getfixturevalue("driver"))
    arguments = [*fault.arguments, *([] if fault.torch else before_torch())]
    outcome = project.run(*arguments, **fault.env)
    wrong = [one for one in outcome.document["checks"] if one["status"] in ("warn", "fail")]
    # How much /dev/shm there is, is for this machine to say, unless that is the fault.
    named = [one["id"] for one in wrong if one["id"] != "SYS-SHM" or fault.id == "SYS-SHM"]
    assert sorted(named) == sorted([fault.id, *fault.also])
    assert outcome.code == fault.code
    assert outcome.text.startswith(fault.verdict)
    found = outcome[fault.id]
    assert found["status"] == ("fail" if fault.code else "warn")
    assert fault.said in found["message"]
    assert fault.remedy in found["remedy"]
    for one in wrong:
        assert not [words for words in fault.never if words in one["remedy"]], one
    for name in fault.also:
        if name == "DEV-OPEN":
            assert outcome[name]["remedy"] == f"This follows from {fault.id}."
    # The last words are the remedy.
    last = re.findall(r"^  (?:FAIL|WARN)  (\S+)", outcome.text, re.MULTILINE)[-1]
    assert last == fault.id or not fault.code
    request.node.user_properties.append(("diagnosis", f"{fault.what:<72} -> {fault.id}"))
