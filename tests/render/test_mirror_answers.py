"""The address of a mirror reaches every place where an index is named, once each."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from render.projects import copy, files, recorded

MIRROR = "https://wheels.corp.example/repository/pytorch-{compute_platform}/simple/"
CU126 = "https://wheels.corp.example/repository/pytorch-cu126/simple"
OWN = {"uv": ["pyproject.toml"], "poetry": ["pyproject.toml"], "pip": []}


@pytest.mark.parametrize("manager", OWN)
def test_a_mirror_is_named_once_in_each_place_and_pytorch_s_own_host_nowhere(
    template: Path, tmp_path: Path, manager: str
) -> None:
    answers = {"package_manager": manager, "compute_platform": "cu126", "ci": "github"}
    project = copy(template, tmp_path / "p", pytorch_index_url=MIRROR, **answers)
    texts = {name: text.decode() for name, text in files(project).items() if b"\0" not in text}
    named = Counter({name: text.count("wheels.corp.example") for name, text in texts.items()})
    builds = json.loads(texts["scripts/torch_builds.json"])["builds"]

    assert recorded(project)["pytorch_index_url"] == MIRROR
    assert [name for name, text in texts.items() if "download.pytorch.org" in text] == []
    assert builds["cu126"]["index_url"] == CU126
    from_index = [build["index_url"] for build in builds.values() if "index_url" in build]
    assert len({*from_index}) == len(from_index) == named.pop("scripts/torch_builds.json")
    assert named.pop(".copier-answers.yml") == 1
    assert named.pop("docs/pytorch-build.md") >= 1
    for name in OWN[manager]:
        assert f'"{CU126}"' in texts[name]
        assert named.pop(name) == 1
    if manager == "pip":  # a page for each package
        lines = [f"--find-links {CU126}/{package}/" for package in ("torch", "torchvision")]
        assert named.pop("requirements/torch-cu126.txt") == 2
        assert all(line in texts["requirements/torch-cu126.txt"].splitlines() for line in lines)
    assert +named == Counter()
