"""The index that the other tests rely on is like the real one, and the real tools accept it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import sys
import urllib.error
import urllib.request
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from install.catalog import PYPI, TORCH_PROJECTS, catalog, files, sections
from install.loopback_index import LoopbackIndex
from install.managers import ToolFailedError, Tools
from install.resolution import best_wheel
from install.shapes import poetry_project, uv_project
from install.wheels import stubs
from render.projects import PYTHON

LISTINGS = sections("index_listing.txt")
TORCH_LINK = re.compile(
    r'<a href="(?P<url>[^"#]+)#sha256=(?P<hash>\w{64})"'
    r' data-dist-info-metadata="sha256=(?P<metadata>\w{64})"'
    r' data-core-metadata="sha256=(?P=metadata)"'
    r' data-upload-time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ">(?P<text>[^<]+)</a><br/>'
)


def get(url: str, **headers: str) -> tuple[int, bytes, Message]:
    """Return status, body and headers, whatever the status is."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, reply.read(), reply.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def dist_info(wheel: bytes, name: str) -> str:
    """Return a file of a wheel's .dist-info folder."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        member = next(n for n in archive.namelist() if n.endswith(f".dist-info/{name}"))
        return archive.read(member).decode()


# --- the PyTorch index


def test_a_page_looks_like_one_of_the_pytorch_index(index: LoopbackIndex) -> None:
    _, body, headers = get(f"{index.pytorch_url}/cu130/torch/", Accept="application/json")
    page = body.decode()

    assert headers["Content-Type"].startswith("text/html")
    assert page.startswith("<!DOCTYPE html>")
    assert "<h1>Links for torch</h1>" in page
    assert re.search(r"</html>\s*<!--TIMESTAMP \d+-->\s*$", page)
    links = [TORCH_LINK.search(line) for line in page.splitlines() if "<a " in line]
    assert len(links) == len(files("cu130", "torch"))
    for link in links:
        assert link
        assert link["url"].startswith(f"{index.files_url}/whl/cu130/")
        assert link["url"].rpartition("/")[2] == link["text"].replace("+", "%2B")


@pytest.mark.parametrize("listing", sorted(LISTINGS))
def test_file_names_are_those_of_the_real_index_where_these_are_known(listing: str) -> None:
    real = LISTINGS[listing]
    known = {(name.split("-")[0], name.split("-")[1].partition("+")[0]) for name in real}
    assert len(known) > 1 or listing == "cu129"

    served = [
        name
        for name in files(listing)
        if (name.split("-")[0], name.split("-")[1].partition("+")[0]) in known
    ]

    assert sorted(served) == sorted(real)


@pytest.mark.parametrize("place", ["cu130/torch", "cpu/torchvision", "xpu/triton-xpu"])
def test_the_hashes_on_a_page_are_those_of_the_files(index: LoopbackIndex, place: str) -> None:
    _, body, _ = get(f"{index.pytorch_url}/{place}/")
    links = list(TORCH_LINK.finditer(body.decode()))

    for link in (links[0], links[-1]):
        _, wheel, _ = get(link["url"])
        _, metadata, _ = get(link["url"] + ".metadata")
        assert hashlib.sha256(wheel).hexdigest() == link["hash"]
        assert hashlib.sha256(metadata).hexdigest() == link["metadata"]
        assert dist_info(wheel, "METADATA") == metadata.decode()


def test_a_project_that_the_index_does_not_have_is_forbidden_not_missing(
    index: LoopbackIndex,
) -> None:
    assert get(f"{index.pytorch_url}/cpu/lightning/")[0] == 403
    assert get(f"{index.pytorch_url}/cpu/torch-9.9-cp312-cp312-win_amd64.whl")[0] == 403
    assert get(f"{index.simple_url}no-such-project/")[0] == 404


def test_rocm_wheels_have_no_metadata_file_and_can_be_read_in_ranges(index: LoopbackIndex) -> None:
    _, body, _ = get(f"{index.pytorch_url}/rocm7.2/torch/")
    url = re.findall(r'href="([^"#]+)#', body.decode())[-1]
    _, wheel, _ = get(url)

    assert b"metadata" not in body
    assert get(url + ".metadata")[0] == 403
    status, tail, headers = get(url, Range="bytes=-22")
    assert (status, tail) == (206, wheel[-22:])
    assert headers["Content-Range"] == f"bytes {len(wheel) - 22}-{len(wheel) - 1}/{len(wheel)}"
    assert get(url, Range="bytes=4-9")[1] == wheel[4:10]


def test_one_page_lists_the_wheels_of_all_compute_platforms(index: LoopbackIndex) -> None:
    _, body, _ = get(f"{index.pytorch_url}/torchvision/")

    for name in ("cpu", "cu118", "rocm7.2", "xpu"):
        assert all(f">{file}<".encode() in body for file in files(name, "torchvision"))
    assert get(f"{index.pytorch_url}/lightning/")[0] == 403


def test_every_folder_has_the_stale_copies_of_other_projects() -> None:
    newest_on_pypi = {p: max(versions(PYPI, p)) for p in ("requests", "packaging", "setuptools")}

    for name in ("cpu", "cu126", "rocm7.2"):
        for project, newest in newest_on_pypi.items():
            assert max(versions(name, project)) < newest


# --- the index in PyPI's place


def test_pypi_answers_in_html_and_in_json(index: LoopbackIndex) -> None:
    simple = f"{index.simple_url}torchvision/"
    _, html, html_headers = get(simple, Accept="text/html")
    _, body, json_headers = get(simple, Accept="application/vnd.pypi.simple.v1+json")
    data = json.loads(body)

    assert html_headers["Content-Type"].startswith("text/html")
    assert json_headers["Content-Type"] == "application/vnd.pypi.simple.v1+json"
    assert [row["filename"] for row in data["files"]] == files(PYPI, "torchvision")
    assert all(row["hashes"]["sha256"] in html.decode() for row in data["files"])
    latest = next(row for row in data["files"] if row["filename"].startswith("torchvision-0.29.2"))
    assert latest["requires-python"] == ">=3.10,!=3.14.1"
    assert "&gt;=3.10,!=3.14.1" in html.decode()


def test_pypi_has_a_newer_torch_than_any_cuda_index_and_no_local_versions() -> None:
    newest = max(versions(PYPI, "torch"))

    assert str(newest) == "2.15.0"
    for name in catalog().indexes:
        assert name == PYPI or max(versions(name, "torch")) < newest
    assert not [name for name in files(PYPI) if "+" in name]


def test_the_json_api_shows_what_the_linux_wheel_requires(index: LoopbackIndex) -> None:
    _, body, _ = get(f"{index.url}/pypi/torch/2.14.1/json")
    data = json.loads(body)
    mac = next(
        s for s in stubs(PYPI, "torch") if s.filename.startswith("torch-2.14.1-cp312-cp312-mac")
    )
    windows = mac.filename.replace("macosx_14_0_arm64", "win_amd64")
    windows_stub = next(s for s in stubs(PYPI, "torch") if s.filename == windows)

    assert any(text.startswith("cuda-toolkit[") for text in data["info"]["requires_dist"])
    assert "nvidia" not in mac.metadata.decode()
    assert "nvidia" in windows_stub.metadata.decode()
    assert len(data["urls"]) == 24
    assert json.loads(get(f"{index.url}/pypi/torch/json")[1])["info"]["version"] == "2.15.0"


# --- the stubs


def test_every_file_name_says_its_project_and_version() -> None:
    for name in catalog().indexes:
        for project in catalog().projects(name):
            for wheel in catalog().wheels(name, project):
                parse = (
                    parse_wheel_filename
                    if wheel.filename.endswith(".whl")
                    else parse_sdist_filename
                )
                assert parse(wheel.filename)[:2] == (project, Version(wheel.version))


def test_whatever_a_wheel_requires_is_on_its_index_or_on_pypi() -> None:
    required = {
        (wheel.index, text)
        for name in catalog().indexes
        for project in catalog().projects(name)
        for wheel in catalog().wheels(name, project)
        for text in wheel.requires
    }
    missing = []
    for name, text in required:
        requirement = Requirement(text)
        project = canonicalize_name(requirement.name)
        found = versions(name, project) | versions(PYPI, project)
        if not any(requirement.specifier.contains(v, prereleases=True) for v in found):
            missing.append(text)

    assert len(required) > 300
    assert not missing


@pytest.mark.parametrize(
    ("place", "start", "said"),
    [
        ("cu130/torch", "torch-2.14.1+cu130-cp312-cp312-win", ("2.14.1+cu130", "13.0", None, None)),
        ("cpu/torch", "torch-2.14.1-cp312-cp312-mac", ("2.14.1", None, None, None)),
        (
            "rocm7.2/torch",
            "torch-2.14.1+rocm7.2-cp312",
            ("2.14.1+rocm7.2", None, "7.2.53211", None),
        ),
        ("xpu/torch", "torch-2.14.1+xpu-cp312", ("2.14.1+xpu", None, None, "20260101")),
        ("pypi/torch", "torch-2.15.0-cp312-cp312-many", ("2.15.0+cu132", "13.2", None, None)),
        ("pypi/torch", "torch-2.15.0-cp312-cp312-win", ("2.15.0+cpu", None, None, None)),
        ("pypi/torch", "torch-2.15.0-cp312-cp312-mac", ("2.15.0", None, None, None)),
    ],
)
def test_the_version_module_of_a_torch_stub_names_its_build(
    place: str, start: str, said: tuple[str | None, ...]
) -> None:
    name, _, project = place.partition("/")
    stub = next(s for s in stubs(name, project) if s.filename.startswith(start))
    with zipfile.ZipFile(stub.open()) as archive:
        module = archive.read("torch/version.py").decode()
    values: dict[str, object] = {}
    exec(module, values)

    assert tuple(values[key] for key in ("__version__", "cuda", "hip", "xpu")) == said


def test_the_record_of_a_stub_wheel_is_right() -> None:
    stub = next(s for s in stubs("cpu", "torch") if "win_amd64" in s.filename)
    with zipfile.ZipFile(stub.open()) as archive:
        rows = [line.split(",") for line in dist_info(stub.content(), "RECORD").splitlines()]
        assert sorted(row[0] for row in rows) == sorted(archive.namelist())
        for name, digest, size in rows:
            content = archive.read(name)
            encoded = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
            assert name.endswith("RECORD") or digest == f"sha256={encoded.rstrip('=')}"
            assert name.endswith("RECORD") or int(size) == len(content)


# --- what a test can do with the index


def test_requests_are_recorded_with_their_host_and_status(index: LoopbackIndex) -> None:
    with index.recorded() as seen:
        get(f"{index.pytorch_url}/cpu/torch/")
        get(f"{index.files_url}/whl/cpu/no-1.0-py3-none-any.whl")

    assert [(r.host, r.path, r.status) for r in seen] == [
        ("index", "/whl/cpu/torch/", 200),
        ("files", "/whl/cpu/no-1.0-py3-none-any.whl", 403),
    ]


def test_a_mirror_with_a_login_answers_only_those_who_log_in(index: LoopbackIndex) -> None:
    token = base64.b64encode(b"me:secret").decode()
    url = f"{index.pytorch_url}/cpu/torch/"
    with index.login_required("me", "secret"):
        status, _, headers = get(url)
        assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="index"')
        assert get(url, Authorization=f"Basic {token}")[0] == 200
        assert get(f"{index.simple_url}torch/")[0] == 200
    assert get(url)[0] == 200


def test_a_failure_can_be_injected_below_a_path(index: LoopbackIndex) -> None:
    with index.failing("/whl/cu130/", 503):
        assert get(f"{index.pytorch_url}/cu130/torch/")[0] == 503
        assert get(f"{index.pytorch_url}/cpu/torch/")[0] == 200
    assert get(f"{index.pytorch_url}/cu130/torch/")[0] == 200


def test_a_real_wheel_takes_the_place_of_its_stub(tmp_path: Path) -> None:
    name = "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"
    stub = next(s for s in stubs("cpu", "torch") if s.filename == name)
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("torch-2.13.0+cpu.dist-info/METADATA", stub.metadata)
        archive.writestr("torch/real.py", "")
    with LoopbackIndex() as own:
        assert own.add_wheels(tmp_path, "cpu") == [name]
        _, body, _ = get(f"{own.pytorch_url}/cpu/torch/")
        link = next(m for m in TORCH_LINK.finditer(body.decode()) if m["text"] == name)
        _, wheel, _ = get(link["url"])

        assert wheel == (tmp_path / name).read_bytes()
        assert hashlib.sha256(wheel).hexdigest() == link["hash"]
        assert get(link["url"] + ".metadata")[1] == stub.metadata


# --- the real tools


def test_the_tools_do_not_see_the_settings_of_whoever_runs_the_tests(
    index: LoopbackIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/opt/wheels")
    monkeypatch.setenv("UV_INDEX", "https://example.com/simple")
    monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
    monkeypatch.setenv("HTTPS_PROXY", "http://example.com:3128")

    environment = Tools(index, tmp_path).environment

    assert not {"PIP_FIND_LINKS", "UV_INDEX", "VIRTUAL_ENV", "HTTPS_PROXY"} & environment.keys()
    assert environment["HOME"] == str(tmp_path)


def python_of(project: Path) -> Path:
    """Return the interpreter of a project's virtual environment."""
    folder = project / ".venv"
    return folder / "Scripts/python.exe" if sys.platform == "win32" else folder / "bin/python"


def said_by(tools: Tools, project: Path) -> str:
    """Return torch.__version__ in a project's virtual environment."""
    show = "import torch; print(torch.__version__)"
    return tools.run(python_of(project), "-c", show).strip()


# What the cpu build is called on the running system.
SUFFIX = "" if sys.platform == "darwin" else "+cpu"


def test_uv_installs_from_it(tools: Tools, tmp_path: Path) -> None:
    project = uv_project(
        tmp_path, f"{tools.index.pytorch_url}/cpu", ["torch==2.14.1", "torchvision==0.29.1"]
    )

    tools.uv("sync", "--python", PYTHON, cwd=project)

    assert said_by(tools, project) == f"2.14.1{SUFFIX}"
    urls = re.findall(r'"(https?://[^/"]+)', (project / "uv.lock").read_text(encoding="utf-8"))
    assert set(urls) <= {tools.index.url, tools.index.files_url}


@pytest.mark.slow
def test_poetry_installs_from_it(tools: Tools, tmp_path: Path) -> None:
    dependencies = ["torch (==2.14.1)", "torchvision (==0.29.1)"]
    project = poetry_project(tmp_path, f"{tools.index.pytorch_url}/cpu", dependencies)

    tools.poetry("sync", cwd=project, POETRY_VIRTUALENVS_IN_PROJECT="true")

    assert said_by(tools, project) == f"2.14.1{SUFFIX}"


def test_pip_installs_from_it(tools: Tools, tmp_path: Path) -> None:
    tools.run("python", "-m", "venv", "--without-pip", tmp_path / ".venv")

    pins = (f"torch==2.14.1{SUFFIX}", f"torchvision==0.29.1{SUFFIX}")
    extra = ("--extra-index-url", f"{tools.index.pytorch_url}/cpu")
    tools.pip("install", *extra, *pins, python=python_of(tmp_path))

    assert said_by(tools, tmp_path) == f"2.14.1{SUFFIX}"


def test_the_wrapped_poetry_is_first_on_path(tools: Tools) -> None:
    found = shutil.which("poetry", path=tools.environment["PATH"])

    assert found
    assert Path(found).parent == tools.bin
    assert tools.run(found, "--version").startswith("Poetry (version 2")


def test_a_tool_that_fails_says_why(tools: Tools) -> None:
    with pytest.raises(ToolFailedError, match="No matching distribution found for torch==9"):
        tools.pip_report("torch==9")


def versions(name: str, project: str) -> set[Version]:
    """Return the versions of a project on an index."""
    return {Version(wheel.version) for wheel in catalog().wheels(name, project)}


def test_all_torch_projects_have_a_wheel_for_the_running_python() -> None:
    for project in TORCH_PROJECTS[:2]:
        assert best_wheel(files("cpu", project), "linux-x86_64", PYTHON)
