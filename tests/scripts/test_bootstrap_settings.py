"""Constraints of a machine that rule a build out: only where that is sure."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.bootstrap_helpers import module

settings = module("settings")
HAVE = {"torch": "2.14.1+cu130", "torchvision": "0.29.1+cu130"}


@pytest.mark.parametrize(
    ("line", "excludes"),
    [
        ("torch<=2.14.0", True),
        ("Torch_Vision<0.29", False),  # another name
        ("torchvision[extra]<0.29", True),
        ("torch==2.14.1", False),
        ("torch===2.14.1+cu130", False),
        ("torch==2.14.1+cpu", True),
        ("torch==2.13.*", True),
        ("torch~=2.14.0", False),
        ("torch~=2.13.0", True),
        ("torch>=2.13,<2.14  # since", True),
        ("torch<2 ; sys_platform == 'win32'", False),  # it may be for another machine
        ("torch @ https://mirror.example/torch.whl", False),
        ("torch<2.a", False),
        ("numpy<1", False),
    ],
)
def test_a_constraint_excludes_a_version(line: str, excludes: bool) -> None:
    assert bool(settings.excluding([line], HAVE)) is excludes


def test_files_that_name_each_other_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt\ntorch \\\n  <2\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("-c a.txt\n--constraint=gone.txt\n", encoding="utf-8")
    lines = list(settings.constraints_in(str(tmp_path / "a.txt")))
    assert any(" <2" in line for line in lines)
    assert settings.excluding(lines, HAVE)


def test_a_list_of_uv_and_a_path_with_a_blank_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a file.txt"
    file.write_text("torch<2\n", encoding="utf-8")
    for value in ('["numpy", "torch<2"]', '["torch >=1, <2"]', str(file)):
        one = settings.Setting("constraint-dependencies", value, "uv.toml")
        assert settings.excluded(one, HAVE), value
    build = settings.Setting("PIP_BUILD_CONSTRAINT", str(file), "the environment")
    assert not settings.excluded(build, HAVE)  # which is for what is compiled
