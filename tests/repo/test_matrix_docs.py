"""docs/matrix.md, .json and .svg say what the matrix says, to people and to programs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

import matrix_docs
from matrix.doctored import data, every_build, frozen, grown
from matrix_data import document
from matrix_page import EXAMPLE, page
from matrix_picture import picture
from render.projects import ROOT
from torch_template.build import Asked, Build
from torch_template.matrix.facts import COMPANIONS, PYPI, all_series, releases_of, series
from torch_template.matrix.loading import load_matrix
from torch_template.matrix.model import Matrix
from torch_template.reasons import resolve

DOCS = ROOT / "docs"
SCHEMA = json.loads((DOCS / "matrix.schema.json").read_text(encoding="utf-8"))
SVG = "{http://www.w3.org/2000/svg}"
Row = dict[str, Any]
valid = fastjsonschema.compile(SCHEMA)


@pytest.fixture
def facts() -> Row:
    """What docs/matrix.json says."""
    found: Row = json.loads((DOCS / "matrix.json").read_text(encoding="utf-8"))
    return found


def unknown() -> Matrix:
    """The matrix with a newest release without a known index, GPUs or torchcodec."""
    changed = data()
    newest = frozen().newest_first[0]
    changed["releases"][newest]["index"] = {}
    changed["gpu_architectures"] = {}
    changed["companions"]["torchcodec"] = {}
    return Matrix.model_validate(changed)


def test_the_files_are_what_the_matrix_makes() -> None:
    stale = [path.name for path in matrix_docs.stale()]
    assert stale == [], "run `python tools/matrix_docs.py`"


@pytest.mark.slow
def test_a_stale_file_is_told_and_written_anew(tmp_path: Path) -> None:
    for name in ("tools", "docs", "extensions"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("README.md", "copier.yml"):
        shutil.copy(ROOT / name, tmp_path)
    command = [sys.executable, str(tmp_path / "tools" / "matrix_docs.py")]
    for name in ("README.md", "docs/matrix.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("| --- |", "| ---- |", 1), encoding="utf-8")
    (tmp_path / "docs" / "matrix.svg").unlink()
    told = subprocess.run([*command, "--check"], capture_output=True, text=True)
    assert told.returncode == 1
    assert told.stderr.startswith("README.md, docs/matrix.md, docs/matrix.svg: stale. Run ")
    assert not (tmp_path / "docs" / "matrix.svg").exists()
    subprocess.run(command, check=True)
    assert subprocess.run([*command, "--check"]).returncode == 0
    assert (tmp_path / "README.md").read_bytes() == (ROOT / "README.md").read_bytes()


# --- For programs -----------------------------------------------------------------------------


def test_the_schema_takes_the_file(facts: Row) -> None:
    valid(facts)
    facts["new"] = facts["builds"][0]["new"] = 1
    valid(facts)


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.update(schema="matrix/2"),
        lambda facts: facts.pop("reviewed"),
        lambda facts: facts["builds"].clear(),
        lambda facts: facts["builds"][0].update(confidence="no"),
        lambda facts: facts["builds"][0].update(system="L"),
        lambda facts: facts["builds"][0].update(pythons=[]),
        lambda facts: facts["builds"][0]["companions"][0].pop("version"),
        lambda facts: facts["releases"][0].update(index=None),
        lambda facts: facts["pythons"][0].update(python="3"),
    ],
)
def test_what_is_no_matrix_is_refused(facts: Row, change: Callable[[Row], object]) -> None:
    change(facts)
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        valid(facts)


def wheels(builds: list[Build]) -> dict[tuple[str, str, str, str], Row]:
    """What projects get, by release, compute platform, system and Python; macOS as docs have it."""
    return {
        (build.torch, build.asked.compute_platform, system, build.asked.python): {
            "version": one.packages["torch"],
            "torch_version": one.torch_version,
            "accelerator": one.accelerator,
            "toolkit": one.toolkit,
            "nvidia_driver": one.minimum_driver,
            "gpu_architectures": one.gpu_architectures,
            "gpu_ptx": one.ptx,
        }
        for build in builds
        for system, one in build.wheels.items()
        if system != "macos-arm64" or build.asked.compute_platform in ("cpu", PYPI)
    }


def test_its_builds_are_those_that_projects_get(facts: Row) -> None:
    """Of each series the release that a project would get, for every Python on offer."""
    matrix = load_matrix()
    got = wheels([build for build in every_build() if build.asked.manager == "uv"])
    newest = {
        (name, releases_of(matrix, name, one)[0])
        for name in matrix.compute_platforms
        for one in all_series(matrix)
        if releases_of(matrix, name, one)
    }
    said = {
        (row["torch"], row["compute_platform"], row["system"], python): row
        for row in facts["builds"]
        for python in row["pythons"]
        if python in matrix.policy.python.offered
    }
    assert got
    assert got.keys() <= said.keys()
    assert {key for key in said if (key[1], key[0]) in newest} <= got.keys()
    for key, row in got.items():
        told = {name: said[key][name] for name in row}
        told["gpu_architectures"] = told["gpu_architectures"] or []
        assert told == row, key


@pytest.mark.parametrize(
    ("compute_platform", "python", "torch"),
    [
        ("cpu", "3.12", "2.13"),
        ("cu130", "3.13", "2.14"),
        ("cu132", "3.14", "latest"),
        ("cu126", "3.10", "2.9"),
        ("rocm6.1", "3.11", "latest"),
        ("xpu", "3.12", "2.11"),
        ("pypi", "3.13", "2.12"),
        ("pypi", "3.14", "latest"),
    ],
)
def test_its_companions_are_those_that_projects_get(
    facts: Row, compute_platform: str, python: str, torch: str
) -> None:
    for companion in COMPANIONS:
        compare_companion(facts, companion, compute_platform, python, torch)


def compare_companion(
    facts: Row, companion: str, compute_platform: str, python: str, torch: str
) -> None:
    build = resolve(load_matrix(), Asked("uv", python, compute_platform, torch, (companion,)))
    assert isinstance(build, Build)
    said = {
        row["system"]: [
            one["version"]
            for one in row["companions"]
            if one["name"] == companion and python in one["pythons"]
        ]
        for row in facts["builds"]
        if (row["torch"], row["compute_platform"]) == (build.torch, compute_platform)
    }
    for system, versions in said.items():
        got = build.wheels[system].packages if system in build.wheels else {}
        assert versions == [v for name, v in got.items() if name == companion], system


def test_the_example_answers_its_question() -> None:
    assert f"```python\n{EXAMPLE}```" in (DOCS / "matrix.md").read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    matrix, lines = load_matrix(), {}
    for torch in reversed(releases_of(matrix, "cu130")):
        build = resolve(matrix, Asked("uv", "3.13", "cu130", series(torch), ("torchvision",)))
        assert isinstance(build, Build)
        one = build.wheels["windows-amd64"]
        lines[build.torch] = " ".join([*one.packages.values(), "driver", str(one.minimum_driver)])
    answers = [line for line in done.stdout.splitlines() if line.split("+")[0] in lines]
    assert len(lines) > 4
    assert [line.partition(" driver ")[0] for line in answers] == [
        lines[torch].partition(" driver ")[0] for torch in reversed(lines)
    ]
    assert all(line.startswith(lines[line.split("+")[0]]) for line in answers)


# --- What is not established ------------------------------------------------------------------


def test_what_is_not_established_is_never_told_as_a_no() -> None:
    matrix = unknown()
    newest, *_ = matrix.newest_first
    said = document(matrix)
    valid(said)
    release, *_ = said["releases"]
    assert (release["torch"], release["index"]) == (newest, "not established")
    assert all("torchcodec" in row["companions_not_established"] for row in said["releases"])
    found = {row["accelerator"]: row["gpu_architectures"] for row in said["builds"]}
    assert found == {"cpu": [], "mps": [], "cuda": None, "rocm": None, "xpu": None}

    text = page(matrix)
    (row,) = re.findall(rf"^\| {re.escape(newest)} \| \d{{4}}.*$", text, re.MULTILINE)
    assert "| not established |" in row
    assert re.search(r"^\| `cu126` CUDA 12.6 \|.+\| not established \|$", text, re.MULTILINE)

    marks = [one for one in ET.fromstring(picture(matrix)).iter(f"{SVG}text") if one.text == "?"]
    index = [
        name for name in matrix.compute_platforms if name != PYPI and releases_of(matrix, name)
    ]
    assert len(marks) >= len(index) + 1  # and the legend's


def test_a_python_that_has_ended_is_told() -> None:
    changed = data()
    changed["pythons"] = {
        minor: {
            "ends": changed["reviewed"].replace(year=year),
            "confidence": "verified",
            "sources": ["PEPS"],
        }
        for minor, year in (("3.10", 2020), ("3.14", 2040))
    }
    rows = page(Matrix.model_validate(changed)).splitlines()
    told = {row.split(" | ")[0]: row.split(" | ")[3] for row in rows if row.startswith("| 3.")}
    assert told["| 3.10"].endswith(", ended")
    assert re.fullmatch(r"2040-\d\d-\d\d", told["| 3.14"])
    assert told["| 3.12"] == "not established"


# --- The picture ------------------------------------------------------------------------------


def test_the_picture_shows_every_compute_platform_with_its_releases() -> None:
    matrix = load_matrix()
    drawn = ET.fromstring((DOCS / "matrix.svg").read_text(encoding="utf-8"))
    shown = [one.text for one in drawn.iter(f"{SVG}text")]
    told = drawn.findtext(f"{SVG}desc") or ""
    assert drawn.get("aria-labelledby") == "title desc"
    assert drawn.findtext(f"{SVG}title")
    for name in matrix.policy.compute_platforms.offered:
        known = matrix.compute_platforms[name].name
        assert known in shown
        assert all(torch in told.partition(known)[2] for torch in releases_of(matrix, name))
    assert [one for one in reversed(all_series(matrix)) if one in shown] == [
        one for one in shown if one and re.fullmatch(r"\d\.\d+", one)
    ]


def test_the_picture_fits_and_has_its_own_page_in_the_light_and_in_the_dark() -> None:
    text = (DOCS / "matrix.svg").read_text(encoding="utf-8")
    drawn = ET.fromstring(text)
    width, height = float(drawn.get("width", 0)), float(drawn.get("height", 0))
    for box in drawn.iter(f"{SVG}rect"):
        assert float(box.get("x", 0)) + float(box.get("width", 0)) <= width
        assert float(box.get("y", 0)) + float(box.get("height", 0)) <= height
    light, dark = text.partition("@media (prefers-color-scheme: dark)")[::2]
    classes = {name for one in drawn.iter() for name in (one.get("class") or "").split()}
    for name in classes - {"both"}:
        assert f".{name} " in light, name
        assert f".{name} " in dark, name


def test_a_blocked_cuda_whose_driver_nobody_knows_is_told_without_one() -> None:
    facts = grown()
    del facts["drivers"]["14"]
    facts["compute_platforms"]["cu140"]["blocked"] = "its driver is not established"
    rows = document(Matrix.model_validate(facts))["compute_platforms"]
    [row] = [one for one in rows if one["id"] == "cu140"]
    assert (row["toolkit"], row["nvidia_driver"]) == ("14.0", None)
