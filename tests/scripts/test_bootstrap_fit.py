"""Wheels that do not fit the machine: what it is, what works there."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from scripts.bootstrap_helpers import Demo, module

pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="needs a POSIX shell")


def needs_glibc(demo: Demo, version: str, **more: Any) -> None:  # noqa: ANN401
    """Let the wheels of the project need a glibc."""
    for row in demo.builds["builds"]["cpu"]["platforms"].values():
        row["glibc"] = version
    demo.builds |= more
    demo.write_builds()


@pytest.mark.skipif("sys.platform != 'linux'", reason="needs glibc")
def test_a_glibc_that_is_too_old_is_told_before_anything_is_made(demo: Demo) -> None:
    have = os.confstr("CS_GNU_LIBC_VERSION")
    if not have:
        pytest.skip("this system has another C library")
    have = have.removeprefix("glibc ")
    needs_glibc(demo, "9.9", older_glibc={"linux-x86_64": "2.6", "linux-aarch64": "2.6"})
    done = demo.run()
    assert done.returncode == 2
    what, newer, or_older, command, *_ = done.stderr.splitlines()
    has = f"bootstrap: This system is too old: it has glibc {have}, torch 2.13.0 needs 9.9"
    assert what == f"{has} or newer."
    assert newer.startswith("Take a newer system or a container")
    assert or_older == "Or make this a project with torch 2.6, which does with an older one:"
    assert command.endswith(" --data torch_version=2.6")
    assert not (demo.root / ".venv").exists()
    assert not (demo.root / ".tools").exists()

    needs_glibc(demo, "9.9", older_glibc={})
    assert "torch_version" not in demo.run().stderr
    needs_glibc(demo, have)
    assert demo.run("--dry-run").returncode == 0


def test_versions_of_glibc_are_numbers_and_no_words() -> None:
    too_old = module("fit").too_old
    assert too_old("2.9", "2.28")
    assert not too_old("2.28", "2.28")
    assert not too_old("2.31", "2.28")
    assert not too_old("", "2.28")  # another system's, or musl
    assert not too_old("2.17", "")


@pytest.mark.parametrize(
    ("platform", "said"),
    [
        ("linux-x86_64-musl", "such as python:{python}-slim"),
        ("linux-aarch64-musl", "such as python:{python}-slim"),
        ("macos-x86_64", "Apple silicon, or Linux."),
        ("windows-arm64", "winget install Python.Python.{python} --architecture x64"),
        ("windows-win32", "Take a 64-bit Python"),
        ("linux-armv7l", "PyTorch makes none for 32 bits"),
        ("linux-i686", "PyTorch makes none for 32 bits"),
        ("linux-s390x", "PyTorch's index has some"),
        ("linux-ppc64le", "PyTorch makes none for this processor"),
        ("linux-riscv64", "PyTorch makes none for this processor"),
        ("freebsd14-amd64", "Take Linux"),
        ("linux-aarch64", "No other compute platform of this project has them"),
        ("plan9-mips", "No other compute platform of this project has them"),
    ],
)
def test_a_system_without_wheels_is_told_what_works_there(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, platform: str, said: str
) -> None:
    del demo.builds["builds"]["cpu"]["platforms"]["linux-aarch64"]
    del demo.builds["builds"]["cpu"]["platforms"]["macos-x86_64"]
    demo.write_builds()
    monkeypatch.setattr(module("project"), "BUILDS", demo.root / "scripts/torch_builds.json")
    project = module("project").load_project()
    with pytest.raises(module("places").StopError) as stopped:
        module("fit").check_fit(project, platform)
    assert re.search(rf", not for {platform}\.$", stopped.value.what)
    assert said.format(python=project.python) in stopped.value.todo
    assert "{" not in stopped.value.todo


def test_a_python_that_rosetta_translates_is_told_apart_from_an_intel_mac(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    del demo.builds["builds"]["cpu"]["platforms"]["macos-x86_64"]
    demo.write_builds()
    monkeypatch.setattr(module("project"), "BUILDS", demo.root / "scripts/torch_builds.json")
    project, fit = module("project").load_project(), module("fit")
    monkeypatch.setattr(fit, "is_translated", lambda: True)
    todo = fit.elsewhere(project, "macos-x86_64")
    assert "Rosetta" in todo
    assert "BOOTSTRAP_PYTHON=/opt/homebrew/bin/python3 sh bootstrap.sh" in todo
    assert "Rosetta" not in fit.elsewhere(project, "linux-ppc64le")


@pytest.mark.parametrize(
    ("text", "package"),
    [
        (  # uv of today, and some before
            "error: Distribution `torch==2.10.0+cpu @ registry+https://m.example/whl/cpu` can't "
            "be installed because it doesn't have a source distribution or wheel for the current "
            "platform",
            "torch",
        ),
        (
            "  cause: Because torch==2.15.0 has no wheels with a matching platform tag (e.g., "
            "`manylinux_2_17_x86_64`) and your project depends on torch==2.15.0, we can",
            "torch",
        ),
        (
            "hint: You're using CPython 3.13 (`cp313t`), but `nvidia-nccl-cu12` (v2.29) only has "
            "wheels with the following Python ABI tag: `cp311`",
            "nvidia-nccl-cu12",
        ),
        ("    Unable to find installation candidates for torch (2.10.0+cpu)", "torch"),
        (
            "some packages in these conflicts have no matching distributions available for your "
            "environment:\n        numpy\n",
            "numpy",
        ),
    ],
)
def test_the_managers_words_for_a_wheel_that_does_not_fit(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, text: str, package: str
) -> None:
    needs_glibc(demo, "9.9", older_glibc={"linux-x86_64": "2.6"})
    rows = demo.builds["builds"]["cpu"]["platforms"]
    rows["linux-x86_64"]["packages"] = {"torch": "2.13.0+cpu"}
    demo.write_builds()
    monkeypatch.setattr(module("project"), "BUILDS", demo.root / "scripts/torch_builds.json")
    project, fit = module("project").load_project(), module("fit")
    monkeypatch.setattr(fit, "glibc", lambda: "2.17")
    what, todo = fit.no_wheel(project, "linux-x86_64", text, "locking")
    assert what.startswith(f"There is no wheel of {package} for this machine (Python ")
    assert what.endswith(", linux-x86_64, glibc 2.17): locking failed.")
    assert ("--data torch_version=2.6" in todo) == (package == "torch")
    assert ("Take another version of it" in todo) == (package != "torch")
    monkeypatch.setattr(fit, "glibc", lambda: "9.9")
    assert "newer system" not in fit.no_wheel(project, "linux-x86_64", text, "locking")[1]
    assert fit.no_wheel(project, "linux-x86_64", "error: no such file", "locking") is None
