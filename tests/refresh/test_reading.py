"""What a refresh of the matrix reads on the indexes and in their wheels."""

from __future__ import annotations

import hashlib
import re
from datetime import date
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.utils import parse_wheel_filename

from install.catalog import PYPI, Wheel, files
from install.loopback_index import LoopbackIndex
from install.wheels import build_wheel
from machine_settings import simple_index
from refresh.listing import File, RefreshError, Source
from refresh.site import HASTY, Answer, Site, page, wheels

NO_3_14_1 = SpecifierSet(">=3.10,!=3.14.1")
MANY = "py3-none-manylinux_2_28_x86_64"


@pytest.fixture
def source(index: LoopbackIndex, tmp_path: Path) -> Source:
    return Source(index.pytorch_url, index.simple_url, tmp_path, patience=HASTY)


def first(source: Source, index: str, package: str, version: str, platform: str) -> File:
    found = source.pages([(index, package)])[index, package]
    assert found
    return next(f for f in found.files if (f.version, f.platform) == (version, platform))


def test_a_page_of_the_pytorch_index_has_the_wheels_of_its_folder(
    index: LoopbackIndex, source: Source
) -> None:
    found = source.pages([("cu130", "torch")])["cu130", "torch"]
    assert found
    names = files("cu130", "torch")
    expected = [n for n in names if re.search(r"-cp3\d+-cp3\d+-\w+(x86_64|aarch64|amd64)\.whl", n)]
    assert len(found.files) == len(expected) > 50
    assert dict(found.left_out) == {"free-threaded": len(names) - len(expected)}
    assert {file.local for file in found.files} == {"cu130"}
    assert {p for f in found.files for p in f.pythons} == {f"3.{n}" for n in range(10, 16)}
    for file in found.files:
        assert file.url.startswith(f"{index.files_url}/whl/cu130/torch-{file.version}%2Bcu130-")
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256 or "")
        assert re.fullmatch(r".*\.whl\.metadata#sha256=[0-9a-f]{64}", file.metadata_url or "")
        assert file.uploaded


def test_pypi_s_page_says_more_and_is_read_as_json(index: LoopbackIndex, source: Source) -> None:
    file = first(source, PYPI, "torch", "2.14.1", "linux-aarch64")
    assert (file.package, file.local, file.uploaded) == ("torch", None, date(2026, 9, 30))
    assert file.url.startswith(f"{index.files_url}/packages/")
    assert file.size


def test_links_below_the_root_without_a_hash_are_read_too(site: Site) -> None:
    name = "torch-2.7.0+cu130-cp312-cp312-win_amd64.whl"
    link = page(name, data_dist_info_metadata=f"sha256={'a' * 64}")
    (file,) = site.read(link).files
    assert file.url == f"{site.url}/files/{name.replace('+', '%2B')}"
    assert file.metadata_url == f"{file.url}.metadata#sha256={'a' * 64}"
    assert (file.sha256, file.uploaded, file.size) == (None, None, None)


def test_only_final_wheels_of_the_folder_count_and_the_others_are_counted(site: Site) -> None:
    counted = [
        "torch-2.5.1+cu130-cp313-cp313-linux_x86_64.whl",
        "torch-2.5.1-cp313-cp313-linux_aarch64.whl",  # as they were until 2.5.1
        "torch-2.5.1-1-cp312-cp312-manylinux2014_aarch64.whl",
    ]
    others = {
        "torch-2.16.0.dev20261120+cu130-cp312-cp312-win_amd64.whl": "nightly",
        "torch-2.5.1rc2+cu130-cp312-cp312-win_amd64.whl": "release candidate",
        "torch-2.5.1+cu130-cp313-cp313t-win_amd64.whl": "free-threaded",
        "torch-2.5.1+cu130-cp312-cp312-linux_s390x.whl": "platform linux_s390x",
        "torch-2.5.1+cu130-cp312-cp312-win_arm64.whl": "platform win_arm64",
        "torch-2.5.1+cu130-cp312-cp312-musllinux_1_2_x86_64.whl": "platform musllinux_1_2_x86_64",
        "torch-2.5.1+cpu-cp312-cp312-linux_x86_64.whl": "another variant",
        "torch-2.5.1+cu130.with.pypi.cudnn-cp312-cp312-linux_x86_64.whl": "another variant",
        "torch-2.5.1-cp312-none-macosx_11_0_arm64.whl": "stale copy",
        "torch-2.5.1-cp312-cp312-linux_x86_64.whl": "stale copy",
        "torch-2.2.0-cp312-cp312-linux_aarch64.whl": "stale copy",
        "torch-0.4.1+cu130-cp27-cp27mu-linux_x86_64.whl": "not for CPython 3",
        "numpy-2.1.2-cp312-cp312-linux_x86_64.whl": "another package",
        "torch-2.5.1.tar.gz": "source distribution",
        "torch-2.5.1+cu130.whl": "unreadable name",
    }
    found = site.read(page(*others, *counted))
    assert [file.url.rpartition("/")[2].replace("%2B", "+") for file in found.files] == counted
    assert [file.local for file in found.files] == ["cu130", None, None]
    expected = list(others.values())
    assert dict(found.left_out) == {why: expected.count(why) for why in expected}


def test_what_has_no_build_for_each_compute_platform_needs_no_suffix(source: Source) -> None:
    found = source.pages([("rocm7.2", "triton-rocm"), ("cu132", "cuda-toolkit")])
    platforms = [{f.platform for f in page.files} for page in found.values() if page]
    assert platforms == [{"linux-x86_64"}, {"any"}]


def test_a_wheel_for_many_pythons_counts_to_the_newest_that_any_page_names(site: Site) -> None:
    one = f"torchvision-0.29.2+cu130-{MANY}.whl"
    abi3 = "torchvision-0.29.1+cu130-cp312-abi3-win_amd64.whl"
    site.answers["/whl/cu130/torchvision/"] = [
        page(one, abi3, data_requires_python="&gt;=3.13,!=3.14.1")
    ]
    site.answers["/whl/cpu/torch/"] = [page("torch-2.15.0+cpu-cp315-cp315-win_amd64.whl")]
    found = site.source().pages([("cu130", "torchvision"), ("cpu", "torch")])
    companion = found["cu130", "torchvision"]
    assert companion
    assert [file.pythons for file in companion.files] == [{"3.13", "3.14", "3.15"}] * 2
    alone = site.source().pages([("cu130", "torchvision")])["cu130", "torchvision"]
    assert alone
    assert [file.pythons for file in alone.files] == [set(), set()]  # 3.12 is the newest it names


def test_where_a_page_does_not_say_the_first_python_the_wheel_is_asked(
    index: LoopbackIndex, source: Source, tmp_path: Path
) -> None:
    name = f"torchcodec-0.99.0+rocm7.2-{MANY}.whl"
    wheel = Wheel("rocm7.2", "torchcodec", "0.99.0+rocm7.2", name, requires_python=">=3.12")
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / name).write_bytes(build_wheel(wheel))
    index.add_wheels(tmp_path / "wheels", "rocm7.2")
    found = source.pages([("rocm7.2", "torchcodec"), ("rocm7.2", "torch")])["rocm7.2", "torchcodec"]
    assert found
    assert [file.pythons for file in found.files] == [{"3.12", "3.13", "3.14", "3.15"}]


def test_what_an_index_does_not_have_is_none(source: Source) -> None:
    wanted = [("cu130", "lightning"), ("cu99", "torch"), (PYPI, "no-such-project")]
    assert source.pages(wanted) == dict.fromkeys(wanted)


def test_if_the_index_has_nothing_at_all_then_the_network_says_so(
    index: LoopbackIndex, source: Source
) -> None:
    with index.failing("/whl/", 403), pytest.raises(RefreshError, match="not even cpu/torch: "):
        source.pages([("cu130", "torch"), (PYPI, "torch")])
    with index.failing("/simple/", 403), pytest.raises(RefreshError, match="answered 403 Forb"):
        source.pages([("cu130", "torch"), (PYPI, "torch")])


def test_the_folders_are_those_of_the_root_page(site: Site) -> None:
    names = ("cpu", "cpu_pypi_pkg", "cu118", "cu121_full", "nightly", "rocm7.14", "torch", "xpu")
    links = "".join(f'<a href="{name}/">{name}</a><br>\n' for name in names)
    site.answers["/whl/"] = [Answer(f"<html><body>{links}</body></html>".encode())]
    assert site.source().compute_platforms(["cpu"]) == ["cpu", "cu118", "rocm7.14", "xpu"]
    site.answers["/whl/"] = [Answer(f"<html><body>{links[:99]}".encode())]
    with pytest.raises(RefreshError, match="/whl/ ends in the middle"):
        site.source().compute_platforms(["cpu"])


def test_where_the_root_page_lists_no_folder_they_are_those_asked_for(site: Site) -> None:
    asked = ["cpu", "cu130"]
    assert site.source().compute_platforms(asked) == asked
    site.answers["/whl/"] = [Answer(b"<html><title>A mirror</title></html>")]
    assert site.source().compute_platforms(asked) == asked


# --- inside wheels


@pytest.mark.parametrize(
    ("version", "platform", "built_for", "toolkit"),
    [
        ("2.4.1", "linux-x86_64", "cu121", None),
        ("2.14.1", "linux-x86_64", "cu130", "13.0.3"),
        ("2.14.1", "windows-amd64", "cpu", None),
        ("2.14.1", "macos-arm64", "cpu", None),
    ],
)
def test_pypi_s_wheels_say_inside_what_they_were_built_for(
    index: LoopbackIndex, source: Source, version: str, platform: str, built_for: str, toolkit: str
) -> None:
    file = first(source, PYPI, "torch", version, platform)
    with index.recorded() as requests:
        assert source.built_for(file) == built_for
        assert source.toolkit(file) == toolkit
    of_wheel = [request.status for request in requests if request.path.endswith(".whl")]
    assert set(of_wheel) == {206}
    with index.recorded() as requests:  # a wheel of one hash is read once
        assert (source.built_for(file), source.toolkit(file)) == (built_for, toolkit)
    assert requests == []


def test_metadata_is_taken_from_beside_the_wheel_where_the_page_has_it(
    index: LoopbackIndex, source: Source
) -> None:
    beside = first(source, "cpu", "torchvision", "0.28.0", "windows-amd64")
    within = first(source, "rocm7.2", "torchvision", "0.28.0", "linux-x86_64")
    assert (beside.metadata_url is None, within.metadata_url) == (False, None)
    with index.recorded() as requests:
        for file in (beside, within):
            required = {one.name: str(one.specifier) for one in source.requires(file)}
            assert required["torch"] == "==2.13.0"
            assert SpecifierSet(source.requires_python(file) or "") == NO_3_14_1
    asked = beside.url.removeprefix(index.files_url)
    paths = [request.path for request in requests]
    assert (paths.count(f"{asked}.metadata"), paths.count(asked)) == (1, 0)
    assert {request.status for request in requests if request.path.endswith(".whl")} == {206}


def test_a_wheel_is_opened_once_for_all_that_is_asked(index: LoopbackIndex, source: Source) -> None:
    file = first(source, "rocm7.2", "torch", "2.13.0", "linux-x86_64")
    assert source.built_for(file) == "rocm7.2"
    with index.recorded() as requests:
        assert any(one.name == "triton-rocm" for one in source.requires(file))
    assert requests == []


def test_metadata_of_another_wheel_is_not_believed(site: Site) -> None:
    wheel = build_wheel(Wheel("cu130", "torch", "2.1.0+cu130", wheels(2)[1], ("filelock",)))
    digest = hashlib.sha256(wheel).hexdigest()  # the page has the wheel's hash in its place
    listed = page(wheels(2)[1], data_core_metadata=f"sha256={digest}")
    (file,) = site.read(listed).files
    path = file.url.removeprefix(site.url)
    site.answers[f"{path}.metadata"] = [Answer(b"Name: torch\nRequires-Dist: wrong\n")]
    site.answers[path] = [Answer(wheel)]
    with pytest.raises(RefreshError, match="can only be had whole: its server has no byte ranges"):
        site.source().requires(file)  # so it turned to the wheel


def test_a_wheel_is_never_fetched_whole(site: Site) -> None:
    (file,) = site.read(page(wheels(1)[0])).files
    site.answers[file.url.removeprefix(site.url)] = [Answer(b"PK" + bytes(200_000_000))]
    with pytest.raises(RefreshError, match=r"has no byte ranges.* Use an index that has them\."):
        site.source().built_for(file)
    assert site.sent < 50_000_000  # what fits into the buffers on the way


def test_what_is_no_wheel_inside_is_refused(index: LoopbackIndex, source: Source) -> None:
    file = first(source, PYPI, "torch", "2.14.1", "linux-x86_64")
    with index.failing("/packages/", 404), pytest.raises(RefreshError, match="answered 404 Not"):
        source.built_for(file)


@pytest.mark.parametrize(
    ("cut", "sentence"),
    [
        (False, r"cannot be read as a wheel: .+\. Run this"),
        (True, "broke off in the middle, 3 times"),
    ],
)
def test_a_damaged_wheel_is_refused(site: Site, cut: bool, sentence: str) -> None:
    (file,) = site.read(page(wheels(1)[0])).files
    part = {"Content-Range": "bytes 0-255/256"}
    damaged = Answer(bytes(256), status=206, headers=part, cut=cut)
    site.answers[file.url.removeprefix(site.url)] = [damaged]
    with pytest.raises(RefreshError, match=sentence):
        site.source().built_for(file)


# --- the real one


@pytest.mark.slow
@pytest.mark.network
def test_pypi_itself_can_be_read(tmp_path: Path) -> None:
    source = Source("http://127.0.0.1:9/whl", simple_index(), tmp_path)
    found = source.pages([(PYPI, "torch"), (PYPI, "torchcodec")])[PYPI, "torch"]
    assert found
    newest = [file for file in found.files if file.version == "2.14.1" and "3.12" in file.pythons]
    assert {file.platform: source.built_for(file) for file in newest} == {
        "linux-x86_64": "cu130",
        "linux-aarch64": "cu130",
        "windows-amd64": "cpu",
        "macos-arm64": "cpu",
    }
    linux = next(file for file in newest if file.platform == "linux-x86_64")
    assert source.toolkit(linux) == "13.0.3"
    assert source.requires_python(linux) == ">=3.10"
    assert linux.uploaded == date(2026, 9, 30)
    assert parse_wheel_filename(linux.url.rpartition("/")[2])[0] == "torch"
