"""What holds for every rendered project: its files parse, and say the same."""

from __future__ import annotations

import json
import re
from itertools import product
from typing import Any, NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from render.reading import (
    MACHINES,
    Builds,
    Requirements,
    holds_on,
    holds_somewhere,
    pins_of,
    pyproject,
    requirement,
)
from render.shortcut import ANSWERS
from torch_template.build import Asked
from torch_template.matrix.facts import COMPANIONS, PLATFORMS
from torch_template.matrix.model import Matrix

MACS = {"macos-arm64", "macos-x86_64"}
# Letters behind site-packages in torch's wheel for Windows; 2.13.0 has the longest known folder.
WINDOWS_PATHS = {
    release: {"letters": letters, "measured": True}
    for release, letters in {"2.12.1": 120, "2.13.0": 169, "2.14.1": 122, "2.15.0": 127}.items()
}
UNMEASURED = {"letters": 169, "measured": False}


class Wanted(NamedTuple):
    """What a project asks for: the same for all managers."""

    public: dict[str, str]
    url: str | None


def check(matrix: Matrix, asked: Asked, files: dict[str, str]) -> Wanted:
    """Everything that holds for one rendered project."""
    for name, rendered in files.items():
        text = re.sub(r"\$\{\{.*?\}\}", "", rendered)  # GitHub's own expressions
        assert not any(mark in text for mark in ("{{", "}}", "{%", "%}", "{#", "#}")), name
        assert "Undefined" not in text
        assert text.endswith("\n")
    project = pyproject(files["pyproject.toml"])
    builds = Builds.parse(files["scripts/torch_builds.json"])
    wanted = Wanted(pins_of(files), builds.build.get("index_url"))
    check_ranges(project["project"]["dependencies"], wanted)
    check_python(asked, files, project, builds)
    check_excluded(matrix, project, builds)
    check_builds(asked, builds, wanted)
    if asked.manager != "pip":  # which has a page of the index for each instead
        check_extra_requirements(project["dependency-groups"]["torch"], builds)
    if asked.manager == "uv":
        check_uv(project["tool"]["uv"], builds, wanted)
    elif asked.manager == "poetry":
        check_poetry(project["tool"]["poetry"], builds, wanted)
    else:
        check_pip(files[f"requirements/torch-{asked.compute_platform}.txt"], builds, wanted)
    for name in ("README.md", "docs/pytorch-build.md"):
        assert f"torch {wanted.public['torch']} for {builds.build['label']}" in files[name]
    assert wanted.url is None or wanted.url in files["docs/pytorch-build.md"]
    return wanted


def check_python(
    asked: Asked, files: dict[str, str], project: dict[str, Any], builds: Builds
) -> None:
    assert files[".python-version"] == f"{asked.python}\n"
    data = builds.data
    assert (data["python"], data["package_manager"]) == (asked.python, asked.manager)


def check_excluded(matrix: Matrix, project: dict[str, Any], builds: Builds) -> None:
    """`requires-python` is the chosen minor, without the patches that torchvision excludes."""
    said = SpecifierSet(project["project"]["requires-python"])
    read = SpecifierSet(builds.data["requires_python"])
    packages = next(iter(builds.platforms.values()))["packages"]
    version = packages.get("torchvision", "").partition("+")[0]
    row = matrix.companions["torchvision"].get(version)
    excluded = row.python_excluded if row else []
    for minor, patch in product(range(8, 17), (0, 1, 2, 99)):
        version = f"3.{minor}.{patch}"
        chosen = version.startswith(f"{builds.data['python']}.")
        expected = chosen and version not in excluded
        assert (version in said, version in read) == (expected, expected)


def check_builds(asked: Asked, builds: Builds, wanted: Wanted) -> None:
    """The data file has the versions of the requirements, with the index's suffix."""
    name = asked.compute_platform
    assert builds.data["compute_platform"] == next(iter(builds.data["builds"])) == name
    assert [*wanted.public] == ["torch", *(c for c in COMPANIONS if c in asked.packages)]
    assert builds.data["release"] == wanted.public["torch"]
    assert asked.torch in ("latest", wanted.public["torch"].rpartition(".")[0])
    assert wanted.url == (None if name == "pypi" else f"{ANSWERS['pytorch_index_url']}/{name}")
    for platform, others in builds.data.get("alternatives", {}).items():
        assert name not in others
        rows = builds.data["builds"].items()
        assert others
        assert others.keys().isdisjoint(n for n, row in rows if platform in row["platforms"])
    for other, build in builds.data["builds"].items():
        check_build(other, build, builds, wanted)
    systems = {platform for row in builds.data["builds"].values() for platform in row["platforms"]}
    room = builds.data.get("windows_path")
    assert (room is not None) == ("windows-amd64" in systems)
    assert room in (None, WINDOWS_PATHS.get(builds.data["release"], UNMEASURED))
    check_said_once(builds)


def check_build(name: str, build: dict[str, Any], builds: Builds, wanted: Wanted) -> None:
    """One build of the data file: of the project's release and packages, with its own suffix."""
    base = ANSWERS["pytorch_index_url"]
    assert build.get("index_url") == (None if name == "pypi" else f"{base}/{name}")
    assert {"linux-x86_64", "windows-amd64"} & set(build["platforms"])
    assert set(build["platforms"]) <= set(PLATFORMS.values())
    for platform, row in build["platforms"].items():
        assert list(row["packages"]) == list(wanted.public)
        for package, version in row["packages"].items():
            public, _, local = version.partition("+")
            own = builds.data["compute_platform"] == name
            assert public == wanted.public[package] or (package == "torchcodec" and not own)
            from_index = platform not in MACS and name != "pypi"
            assert (
                local in ([name] if platform != "linux-aarch64" else [name, ""]) or not from_index
            )
            assert local == "" or from_index
        assert Version(row["torch_version"]).public == wanted.public["torch"]


def check_said_once(builds: Builds) -> None:
    """The data file has nothing empty, and nothing that is the same in all rows of a build."""

    def empty(value: Any) -> bool:  # noqa: ANN401
        return value in (None, "", [])

    for build in json.loads(builds.text)["builds"].values():
        rows = build["platforms"].values()
        assert not any(empty(value) for part in (build, *rows) for value in part.values())
        assert not any(key in build for row in rows for key in row)
        said = ({str(item) for item in row.items() if item[0] != "machine_only"} for row in rows)
        assert set.intersection(*said) == set()


def check_ranges(dependencies: list[str], wanted: Wanted) -> None:
    """A project that depends on this one gets no version and no index of its build."""
    rows = {row.name: row for row in map(requirement, dependencies)}
    assert not any(row.marker or row.url for row in rows.values())
    assert not any("==" in str(row.specifier) for row in rows.values())
    for name, version in wanted.public.items():
        assert version in rows[name].specifier
    assert rows["torch"].specifier


def check_extra_requirements(pins: list[str], builds: Builds) -> None:
    """A requirement with a marker is asked for where there are wheels, and never on macOS."""
    own = set(builds.platforms)
    extra = [row.name for row in map(requirement, pins) if row.marker]
    assert builds.build.get("extra_packages", []) == extra
    for text in pins:
        if (marker := requirement(text).marker) is not None:
            holds = holds_on(str(marker))
            assert holds & own
            assert not holds & MACS
            exact = requirement(text).name.startswith("nvidia-")
            assert exact or holds <= own


def check_uv(uv: dict[str, Any], builds: Builds, wanted: Wanted) -> None:
    assert holds_somewhere(uv["environments"]) == set(builds.platforms)
    assert uv["required-environments"] == uv["environments"]
    assert all(len(holds_on(marker)) == 1 for marker in uv["environments"])
    exempt = uv["exclude-newer-package"]
    cuda = any(row["accelerator"] == "cuda" for row in builds.platforms.values())
    wanted_free = set(wanted.public) | set(uv.get("sources", ())) | ({"triton"} if cuda else set())
    assert set(exempt) == wanted_free
    assert set(exempt.values()) == {False}
    if wanted.url is None:
        assert not {"index", "sources"} & set(uv)
        return
    assert uv["index"] == [{"name": "pytorch", "url": wanted.url, "explicit": True}]
    assert set(wanted.public) <= set(uv["sources"])
    for package, rows in uv["sources"].items():
        [row] = rows
        assert (row["index"], row["group"]) == ("pytorch", "torch")
        elsewhere = set(MACHINES) - holds_on(row["marker"])
        assert elsewhere == MACS if package in wanted.public else elsewhere >= MACS


def check_poetry(poetry: dict[str, Any], builds: Builds, wanted: Wanted) -> None:
    if wanted.url is None:
        assert not {"source", "group"} & set(poetry)
        return
    source = {row["name"]: row for row in poetry["source"]}
    assert source["pytorch"] == {
        "name": "pytorch",
        "url": wanted.url,
        "priority": "explicit",
    }
    assert source["PyPI"] == {"name": "PyPI", "priority": "primary"}
    [rows_of] = [group["dependencies"] for group in poetry["group"].values()]
    assert "dependencies" not in poetry
    assert set(wanted.public) <= set(rows_of)
    for package, rows in rows_of.items():
        if package not in wanted.public:
            assert rows == {"source": "pytorch"}
            continue
        for machine in MACHINES:
            used = [row["source"] for row in rows if machine in holds_on(row["markers"])]
            assert used == (["PyPI"] if machine in MACS else ["pytorch"])
    assert set(builds.platforms) & {"linux-x86_64", "windows-amd64"}


def check_pip(text: str, builds: Builds, wanted: Wanted) -> None:
    file = Requirements.parse(text)
    assert all(value.startswith(f"{wanted.url}") for _, value in file.options)
    assert bool(file.options) is bool(wanted.url)
    for platform, row in builds.platforms.items():
        assert file.on(platform) == {name: [version] for name, version in row["packages"].items()}
    for machine in set(MACHINES) - set(builds.platforms) - MACS:
        # Nothing but a wheel of the index, which there is none of: pip stops and says so.
        for versions in file.on(machine).values() if wanted.url else ():
            assert all("+" in version for version in versions)
