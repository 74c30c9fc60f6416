"""The facts agree with each other: what a careless edit of version_matrix.yml would break."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from machine_settings import simple_index
from matrix.doctored import MATRIX_TEXT, has_build, shipped_data
from torch_template.matrix.facts import python_key, toolkit_name
from torch_template.matrix.loading import MATRIX, load_matrix
from torch_template.matrix.model import Matrix, Release

FACTS = shipped_data()
PEP691 = "application/vnd.pypi.simple.v1+json"
SPANS = ("unsuffixed", "index_only")


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    """The matrix that the template ships."""
    return load_matrix()


def rows_with_sources(node: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    """Every row below a node that names its sources."""
    if isinstance(node, dict):
        if isinstance(node.get("sources"), list):
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from rows_with_sources(child)


def in_order(values: Sequence[str]) -> bool:
    return all(Version(a) < Version(b) for a, b in pairwise(values))


def gpu_rows() -> list[tuple[str, int]]:
    return [
        (name, i) for name, rows in FACTS["gpu_architectures"].items() for i in range(len(rows))
    ]


def test_every_source_that_a_row_names_is_described() -> None:
    named = {source for row in rows_with_sources(FACTS) for source in row["sources"]}
    assert named - set(FACTS["sources"]) == set()


def test_every_source_that_is_described_is_used() -> None:
    named = {source for row in rows_with_sources(FACTS) for source in row["sources"]}
    assert set(FACTS["sources"]) - named == set()


@pytest.mark.parametrize("torch", FACTS["releases"])
def test_every_release_names_its_confidence_and_sources(torch: str) -> None:
    release = FACTS["releases"][torch]
    assert release["confidence"] in ("verified", "one source", "inferred")
    assert release["sources"]


def test_releases_stand_in_the_order_of_their_versions() -> None:
    assert in_order(list(FACTS["releases"]))


def test_releases_stand_in_the_order_of_their_dates() -> None:
    dates = [release["released"] for release in FACTS["releases"].values() if release["released"]]
    assert dates == sorted(dates)
    assert dates[-1] <= FACTS["reviewed"]


@pytest.mark.slow
@pytest.mark.network
def test_a_release_s_date_is_the_day_of_its_first_file_on_pypi() -> None:
    """By the upload times of the simple API (PEP 700)."""
    request = Request(f"{simple_index().rstrip('/')}/torch/", headers={"Accept": PEP691})
    with urlopen(request, timeout=60) as answer:
        listed = json.load(answer)["files"]
    if "upload-time" not in listed[0]:
        pytest.skip("needs a registry that says when a file came")
    first: dict[str, str] = {}
    for file in listed:
        version = str(parse_wheel_filename(file["filename"])[1])
        day = str(file["upload-time"])[:10]
        first[version] = min(day, first.get(version, day))
    said = {name: str(release["released"]) for name, release in FACTS["releases"].items()}
    assert said == {name: first[name] for name in said}


def test_toolkits_stand_in_order_and_their_drivers_grow() -> None:
    toolkits = FACTS["cuda_toolkits"]["versions"]
    assert in_order(list(toolkits))
    for system in ("linux", "windows"):
        assert in_order([row[system] for row in toolkits.values() if system in row])


def test_no_toolkit_ships_a_driver_older_than_its_major_versions_minimum() -> None:
    for version, row in FACTS["cuda_toolkits"]["versions"].items():
        least = FACTS["drivers"][version.partition(".")[0]]
        for system in ("linux", "windows"):
            assert system not in row or Version(row[system]) >= Version(least[system])


def test_minimum_drivers_grow_with_the_major_version() -> None:
    assert list(FACTS["drivers"]) == sorted(FACTS["drivers"], key=int)
    for system in ("linux", "windows"):
        assert in_order([row[system] for row in FACTS["drivers"].values()])


def test_every_cuda_platform_has_a_minimum_driver() -> None:
    offered = [name for name, row in FACTS["compute_platforms"].items() if "blocked" not in row]
    majors = {name[2:-1] for name in offered if name.startswith("cu")}
    assert majors == set(FACTS["drivers"])


def test_compute_platforms_stand_newest_first_within_their_accelerator() -> None:
    for prefix in ("cu", "rocm"):
        versions = [
            Version(toolkit_name(name))
            for name in FACTS["compute_platforms"]
            if name.startswith(prefix)
        ]
        assert len(versions) > 1
        assert versions == sorted(versions, reverse=True)


def test_the_menu_offers_every_compute_platform_in_the_same_order() -> None:
    assert FACTS["policy"]["compute_platforms"]["offered"] == list(FACTS["compute_platforms"])


@pytest.mark.parametrize("name", FACTS["compute_platforms"])
def test_a_compute_platforms_name_for_people_is_that_of_its_folder(name: str) -> None:
    row = FACTS["compute_platforms"][name]
    expected = {
        "cuda": f"CUDA {toolkit_name(name)}",
        "rocm": f"ROCm {toolkit_name(name)}",
        "xpu": "XPU",
        "cpu": "PyPI's own wheels" if name == "pypi" else "CPU",
    }
    assert row["name"] == expected[row["accelerator"]]


def test_every_compute_platform_has_a_release(matrix: Matrix) -> None:
    unused = [
        name
        for name in matrix.compute_platforms
        if name != "pypi" and not any(has_build(r, name) for r in matrix.releases.values())
    ]
    assert unused == []


@pytest.mark.parametrize("torch", FACTS["releases"])
def test_a_toolkit_is_one_of_its_compute_platform(matrix: Matrix, torch: str) -> None:
    release = matrix.releases[torch]
    rows = {name: row.toolkit for name, row in release.index.items()}
    rows |= {release.pypi.L: release.pypi.toolkit} if release.pypi.L else {}
    for name, toolkit in rows.items():
        assert toolkit is None or toolkit.startswith(f"{toolkit_name(name)}.")
        assert toolkit is None or matrix.compute_platforms[name].accelerator == "cuda"


@pytest.mark.parametrize("torch", FACTS["releases"])
def test_rocm_is_linux_only_and_only_cpu_is_on_macos(matrix: Matrix, torch: str) -> None:
    for name, row in matrix.releases[torch].index.items():
        accelerator = matrix.compute_platforms[name].accelerator
        assert accelerator != "rocm" or row.platforms == ("L",)
        assert "M" not in row.platforms or accelerator == "cpu"


@pytest.mark.parametrize("torch", FACTS["releases"])
def test_a_weaker_confidence_is_about_a_build_that_the_release_has(
    matrix: Matrix, torch: str
) -> None:
    release = matrix.releases[torch]
    for weaker in (release.inferred, release.one_source):
        for name, platforms in weaker.items():
            assert set(platforms) <= set(release.index[name].platforms)


@pytest.mark.parametrize("torch", FACTS["releases"])
def test_pypis_own_wheel_is_a_build_that_the_index_has_too(matrix: Matrix, torch: str) -> None:
    release = matrix.releases[torch]
    if release.index:  # 2.15.0 is known from PyPI alone
        assert set(release.pypi.on().values()) <= set(release.index)


@pytest.mark.parametrize("torch", FACTS["releases"])
def test_an_additional_python_is_newer_than_the_releases_own(matrix: Matrix, torch: str) -> None:
    release = matrix.releases[torch]
    newest = max(map(python_key, release.python))
    assert all(python_key(m) > newest for row in release.more_python for m in row.python)


@pytest.mark.parametrize("companion", FACTS["companions"])
def test_a_newer_companion_never_goes_with_an_older_torch_alone(
    matrix: Matrix, companion: str
) -> None:
    assert in_order(list(matrix.companions[companion]))
    newest = [rows[companion][0] for rows in matrix.partners.values() if rows[companion]]
    assert [Version(version) for version in newest] == sorted(map(Version, newest))


def test_every_release_has_its_torchvision(matrix: Matrix) -> None:
    assert all(rows["torchvision"] for rows in matrix.partners.values())


@pytest.mark.parametrize(("name", "index"), gpu_rows())
def test_gpu_architectures_span_releases_that_have_the_build_on_the_platform(
    matrix: Matrix, name: str, index: int
) -> None:
    span = matrix.gpu_architectures[name][index]
    ends = [matrix.releases[span.since], matrix.releases[span.until]]
    for release, platform in product(ends, span.platforms):
        assert platform in platforms_of(release, name)


def platforms_of(release: Release, compute_platform: str) -> set[str]:
    row = release.index.get(compute_platform)
    own = {p for p, build in release.pypi.on().items() if build == compute_platform}
    return own | set(row.platforms if row else ())


@pytest.mark.parametrize("name", FACTS["gpu_architectures"])
def test_one_row_of_gpu_architectures_at_most_is_about_a_wheel(matrix: Matrix, name: str) -> None:
    rows = matrix.gpu_architectures[name]
    for torch, platform in product(matrix.releases, "LAW"):
        assert sum(row.holds(torch, platform) for row in rows) <= 1, (torch, platform)


@pytest.mark.parametrize(("name", "index"), gpu_rows())
def test_gpu_architectures_are_sorted_named_and_ptx_is_the_newest(
    matrix: Matrix, name: str, index: int
) -> None:
    row = matrix.gpu_architectures[name][index]
    assert in_order(row.sm)
    assert set(row.sm) <= set(matrix.gpu_generations.names)
    assert row.ptx in (None, row.sm[-1])


def test_gpu_generations_are_sorted() -> None:
    assert in_order(list(FACTS["gpu_generations"]["names"]))


@pytest.mark.parametrize("section", SPANS)
def test_one_row_at_most_is_about_a_package_of_a_release(matrix: Matrix, section: str) -> None:
    rows = getattr(matrix, section)
    for torch, platform, package in product(matrix.releases, "LAW", {r.package for r in rows}):
        found = [r for r in rows if r.package == package and r.holds(torch, platform)]
        assert len(found) <= 1, (torch, platform, package)


def test_every_rocm_and_xpu_release_has_its_triton(matrix: Matrix) -> None:
    for torch, release in matrix.releases.items():
        for name, row in release.index.items():
            accelerator = matrix.compute_platforms[name].accelerator
            if accelerator in ("rocm", "xpu"):
                assert [
                    r
                    for r in matrix.index_only
                    if r.accelerator == accelerator and r.holds(torch, row.platforms[0])
                ], (torch, name)


def test_every_wheel_that_requires_a_toolkit_has_its_poetry_pins(matrix: Matrix) -> None:
    since = Version(matrix.cuda_toolkits.required_since)
    for torch, release in matrix.releases.items():
        for name, row in release.index.items():
            if Version(torch) >= since and name.startswith("cu"):
                assert row.toolkit, (torch, name)
                assert matrix.cuda_toolkits.versions[row.toolkit].poetry_pins is not None


def test_every_reference_of_a_row_is_to_something_that_exists(matrix: Matrix) -> None:
    blocked = [row.instead for row in matrix.compute_platforms.values() if row.instead]
    assert set(blocked) <= set(matrix.policy.compute_platforms.offered)
    accelerators = {row.accelerator for row in matrix.compute_platforms.values()}
    assert {row.accelerator for row in matrix.index_only} <= accelerators
    assert {row.torch for row in matrix.numpy_1} <= set(matrix.releases)
    measured = [row.torch for row in matrix.windows_paths]
    assert set(measured) <= set(matrix.releases)
    assert len(set(measured)) == len(measured)
    assert set(matrix.gpu_architectures) <= set(matrix.compute_platforms)


def written_twice(node: yaml.Node | None) -> Iterator[str]:
    """The keys that a mapping has twice, of which YAML would keep the last."""
    if isinstance(node, yaml.MappingNode):
        names = Counter(key.value for key, _ in node.value)
        yield from (name for name, times in names.items() if times > 1)
    for child in node.value if isinstance(node, yaml.CollectionNode) else ():
        for part in child if isinstance(child, tuple) else (child,):
            yield from written_twice(part)


def test_no_row_is_written_twice() -> None:
    shipped = MATRIX.read_text(encoding="utf-8")
    assert list(written_twice(yaml.compose(shipped, yaml.SafeLoader))) == []
    doubled = MATRIX_TEXT.replace("  2.15.0:\n", "  2.14.1:\n")
    assert list(written_twice(yaml.compose(doubled, yaml.SafeLoader))) == ["2.14.1"]
