"""Two repositories of one organisation: what a dependency wants of torch, and the ways out."""

from __future__ import annotations

from pathlib import Path

import pytest

from install.checkouts import BOOTSTRAPS, MANAGERS, edit, installed, repository
from install.managers import Tools
from render.projects import commit

pytestmark = BOOTSTRAPS


def depend(project: Path, library: Path, how: str = "path") -> None:
    """Let a project depend on another one, in the words of its manager."""
    line = f"{library.name} @ git+{library.as_uri()}" if how == "git" else f"{library.name}"
    if how == "url":
        line += f" @ {library.as_uri()}"
    edit(project, '    "numpy",\n', f'    "numpy",\n    "{line}",\n')
    if how == "path":
        source = f'{library.name} = {{ path = "../{library.name}", editable = true }}\n'
        edit(project, "[tool.uv.sources]\n", f"[tool.uv.sources]\n{source}")


def override(tools: Tools, project: Path, ways: list[str]) -> None:
    """Go the way that the bootstrap has shown, first half of it alone, as older projects have."""
    line = next(way.strip() for way in ways if "override-dependencies" in way)
    edit(project, "[tool.uv]\n", f"[tool.uv]\n{line}\n")
    done = tools.try_bootstrap(project)
    assert done.returncode == 2
    what, way = done.stderr.splitlines()
    assert what.endswith("pyproject.toml takes torch from PyPI, in another build.")
    assert way == 'Leave `group = "torch", ` out of [tool.uv.sources], then run this again.'
    edit(project, 'group = "torch", ', "")
    tools.bootstrap(project)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["path", "git"])
def test_uv_s_conflicting_indexes_are_told_with_the_dependency_and_the_way_out_works(
    tools: Tools, tmp_path: Path, how: str
) -> None:
    library = repository(tools, tmp_path, "uv", "library", "cu128")
    edit(
        library, 'group = "torch", ', ""
    )  # as projects of older templates, and many others, have it
    commit(library)
    project = repository(tools, tmp_path, "uv", "project", "cu130")
    depend(project, library, how)

    done = tools.try_bootstrap(project)

    assert done.returncode == 5
    base = tools.index.pytorch_url
    where = f" ({library})" if how == "path" else ""
    what, *ways = done.stderr.splitlines()
    assert what == (
        f"bootstrap: library{where} wants torch from {base}/cu128, and this project from "
        f"{base}/cu130: locking failed."
    )
    assert ways[0] == (
        "If that one is made from this template, `copier update` there: it then asks for no index."
        " Else give both repositories the same compute platform."
    )
    assert ways[2].startswith("  ")
    assert "--data compute_platform=cu128" in ways[2]
    override(tools, project, ways)
    have = installed(tools, project)
    assert (have["torch"], have["library"]) == ("2.10.0+cu130", "0.1.0")
    # One machine's own build goes with it, too.
    tools.bootstrap(project, "--compute-platform", "cpu")
    assert installed(tools, project)["torch"] == "2.10.0+cpu"


@pytest.mark.slow
@pytest.mark.parametrize("manager", MANAGERS)
def test_a_dependency_that_wants_another_torch_is_named(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    library = repository(tools, tmp_path, manager, "library", "cu130")
    edit(
        library, '"torch>=2.4",\n    "torchvision",', '"torch==2.9.1",\n    "torchvision==0.24.1",'
    )
    project = repository(tools, tmp_path, manager, "project", "cu130")
    depend(project, library, "path" if manager == "uv" else "url")

    done = tools.try_bootstrap(project)

    assert done.returncode == 5, done.stdout + done.stderr
    what, way, *more = done.stderr.splitlines()
    wants = {"torch 2.9.1": "2.10.0+cu130", "torchvision 0.24.1": "0.25.0+cu130"}
    wanted = next((one for one in wants if f"library wants {one}" in what), "")
    assert wanted, what
    assert f", and this project has {wants[wanted]}: " in what
    assert way.startswith("Take a version of library that goes with torch")
    if wanted.startswith("torch "):
        assert any("--data torch_version=2.9" in one for one in more)
    if manager == "uv":
        override(tools, project, more)
        assert installed(tools, project)["torch"] == "2.10.0+cu130"
