"""From the text of a page to its wheels: PEP 503 as the PyTorch index has it, PEP 691 as PyPI."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version
from pypi_simple import (
    DistributionPackage,
    Link,
    ProjectPage,
    RepositoryPage,
    UnsupportedRepoVersionError,
)

from refresh.cache import Kept
from refresh.client import shown
from refresh.errors import NoPageError, RefreshError
from refresh.wheels import File

PYPI = "pypi"
CPU = "cpu"
PLATFORMS = (
    ("linux-x86_64", re.compile(r"(many)?linux.*x86_64")),
    ("linux-aarch64", re.compile(r"(many)?linux.*aarch64")),
    ("windows-amd64", re.compile(r"win_amd64")),
    ("macos-arm64", re.compile(r"macosx_.*_(arm64|universal2)")),
    ("any", re.compile(r"any")),  # none of torch's own
)
MINORS = 30  # of Python 3; a greater number is a mistake in a name
ODD = 0.1  # of the names on a page
# What has a wheel for each compute platform; others, such as triton-rocm, have no suffix.
SUFFIXED = ("torch", "torchvision", "torchaudio", "torchcodec")
# A folder of the PyTorch index that holds a compute platform, and not `nightly` or `cpu_pypi_pkg`.
FOLDER = re.compile(r"cpu|cu\d{3,4}|rocm\d+(\.\d+)+|xpu")


@dataclass(frozen=True)
class Row:
    """A wheel of a final release on one of our platforms, as a page lists it."""

    listed: DistributionPackage
    version: Version
    tags: frozenset[tuple[str, str]]  # interpreter and ABI
    platform: str

    @property
    def is_for_many(self) -> bool:
        """Whether its name does not say the last Python that it installs on."""
        return any(abi == "abi3" or python.startswith("py") for python, abi in self.tags)


def parse(kept: Kept) -> list[DistributionPackage]:
    """The files that a package's page lists. RefreshError: it is no such page, or not whole."""
    if "json" in kept.content_type:
        return _parse_json(kept)
    page = parse_html(kept)
    files = [_file(link) for link in page.links]
    if not any(file.filename.endswith((".whl", ".tar.gz", ".zip")) for file in files):
        raise _no_page(kept, "it lists no file at all")
    return files


def refuse_odd(kept: Kept, left_out: Counter[str], total: int) -> None:
    """A RefreshError if so many names cannot be read that the page may mean something else."""
    odd = left_out["unreadable name"]
    if odd > total * ODD:
        raise RefreshError(
            f"{shown(kept.url)} has changed its shape: {odd} of {total} names are none of wheels."
            " Look at the page, and teach tools/refresh/pages.py what they are."
        )


def parse_html(kept: Kept) -> RepositoryPage:
    """The links of a page. RefreshError: it is no page, or not whole."""
    if "html" not in kept.content_type:
        raise _no_page(kept, f"it is {kept.content_type or 'of no type'}")
    if b"<a " not in kept.body and b"<a>" not in kept.body:
        raise _no_page(kept, "it has no link")
    if not re.search(rb"</html>\s*(<!--.*?-->\s*)?$", kept.body[-4096:], re.I | re.S):
        raise RefreshError(f"{shown(kept.url)} ends in the middle. Run this again later.")
    try:
        return RepositoryPage.from_html(kept.body, kept.url)
    except (UnsupportedRepoVersionError, ValueError) as error:
        raise _no_page(kept, str(error)) from error


def folders(page: RepositoryPage) -> list[str]:
    """The compute platforms that the PyTorch index's root page lists."""
    names = [PurePosixPath(urlsplit(link.url).path).name for link in page.links]
    return [name for name in dict.fromkeys(names) if FOLDER.fullmatch(name)]


def sort_out(
    index: str, package: str, files: Iterable[DistributionPackage]
) -> tuple[list[Row], Counter[str]]:
    """The wheels that count on a page, and how many others there are, by the reason."""
    rows: list[Row] = []
    left_out: Counter[str] = Counter()
    for file in files:
        found = _row(package, file)
        if isinstance(found, str):
            left_out[found] += 1
        else:
            rows.append(found)
    if index == PYPI or package not in SUFFIXED:
        return rows, left_out
    suffixed = {row.version.public for row in rows if row.version.local == index}
    counted = []
    for row in rows:
        if why := _not_of_this_folder(row, index, suffixed):
            left_out[why] += 1
        else:
            counted.append(row)
    return counted, left_out


def newest_minor(rows: Iterable[Row]) -> int:
    """The newest Python 3 minor that any of these names."""
    named = (re.fullmatch(r"cp3(\d+)", python) for row in rows for python, _ in row.tags)
    return max((int(match[1]) for match in named if match), default=0)


def minors(row: Row, newest: int, requires_python: str | None) -> frozenset[str]:
    """The Python minors, up to 3.`newest`, that a wheel installs on."""
    try:
        asked = SpecifierSet(requires_python or "")
    except InvalidSpecifier:  # as installers do, which ignore it
        asked = SpecifierSet()
    return frozenset(
        f"3.{minor}"
        for minor in range(newest + 1)
        if not row.tags.isdisjoint(_taken(minor))
        and any(asked.contains(f"3.{minor}.{patch}") for patch in range(30))
    )


def file_of(row: Row, pythons: frozenset[str]) -> File:
    """A row as the rest of the tool sees it."""
    listed, digests = row.listed, row.listed.metadata_digests or {}
    metadata_url = None
    if listed.has_metadata:
        digest = digests.get("sha256")
        metadata_url = listed.metadata_url + (f"#sha256={digest}" if digest else "")
    return File(
        package=str(canonicalize_name(listed.filename.partition("-")[0])),
        version=row.version.public,
        local=row.version.local,
        pythons=pythons,
        platform=row.platform,
        url=listed.url,
        sha256=listed.digests.get("sha256"),
        metadata_url=metadata_url,
        uploaded=listed.upload_time.date() if listed.upload_time else None,
        size=listed.size,
    )


def _parse_json(kept: Kept) -> list[DistributionPackage]:
    try:
        return ProjectPage.from_json_data(json.loads(kept.body), kept.url).packages
    except (UnsupportedRepoVersionError, ValueError, RecursionError) as error:
        why = str(error).splitlines()[0]
        raise _no_page(kept, why) from error


def _no_page(kept: Kept, why: str) -> NoPageError:
    title = re.search(rb"<title>([^<]*)</title>", kept.body[:65536], re.I | re.S)
    called = (
        f", and is called “{title[1].decode('utf-8', 'replace').strip()[:60]}”" if title else ""
    )
    return NoPageError(
        f"{shown(kept.url)} is no page of a package index: {why.rstrip('.')}{called}."
        " Log in to this network, its proxy or the mirror, or name another index."
    )


def _file(link: Link) -> DistributionPackage:
    """A link of a page, with what pypi-simple does not look at."""
    # A server of files shortens long names in the text; an older attribute has the same meaning.
    link.text = unquote(PurePosixPath(urlsplit(link.url).path).name)
    if older := link.attrs.get("data-dist-info-metadata"):
        link.attrs.setdefault("data-core-metadata", older)
    file = DistributionPackage.from_link(link)
    uploaded = link.attrs.get("data-upload-time")
    if isinstance(uploaded, str) and re.match(r"\d{4}-\d\d-\d\d", uploaded):
        file.upload_time = datetime.fromisoformat(uploaded[:10])
    return file


def _row(package: str, file: DistributionPackage) -> Row | str:
    """A wheel that may count, or why it does not."""
    if not file.filename.endswith(".whl"):
        return "source distribution" if file.package_type == "sdist" else "no wheel"
    try:
        name, version, _, tags = parse_wheel_filename(file.filename)
    except InvalidWheelFilename:
        return "unreadable name"
    if name != canonicalize_name(package):
        return "another package"
    if version.is_devrelease:
        return "nightly"
    if version.is_prerelease:
        return "release candidate"
    if package in SUFFIXED and not re.fullmatch(r"\d+\.\d+\.\d+", version.public):
        return "version of another form"  # 1!2.3.0, 2.15.0.post1, 2.16
    if file.is_yanked:
        return "yanked"
    return _on_platform(file, version, tags)


def _on_platform(file: DistributionPackage, version: Version, tags: Iterable[Tag]) -> Row | str:
    ours = {name for tag in tags for name, pattern in PLATFORMS if pattern.fullmatch(tag.platform)}
    if len(ours) != 1:
        return f"platform {'.'.join(sorted({tag.platform for tag in tags}))}"
    pairs = frozenset((tag.interpreter, tag.abi) for tag in tags)
    if all(abi.endswith("t") for _, abi in pairs):  # cp313t, abi3t
        return "free-threaded"
    if not any(re.match(r"(cp|py)3", python) for python, _ in pairs):
        return "not for CPython 3"
    if any(
        int(minor) > MINORS for python, _ in pairs for minor in re.findall(r"^cp3(\d+)", python)
    ):
        return "odd Python"
    return Row(file, version, pairs, ours.pop())


def _not_of_this_folder(row: Row, index: str, suffixed: set[str]) -> str | None:
    """Why a wheel in a folder of the PyTorch index is not one of its compute platform.

    Without a suffix there are wheels for aarch64, beside those with one of the same version, and
    for macOS, under cpu alone. What else has none was once copied to the folder with all others.
    """
    if row.version.local:
        return None if row.version.local == index else "another variant"
    if row.platform == "macos-arm64":
        return None if index == CPU else "stale copy"
    if row.platform == "linux-aarch64" and row.version.public in suffixed:
        return None
    return "stale copy"


@cache
def _taken(minor: int) -> frozenset[tuple[str, str]]:
    """The interpreters and ABIs that a CPython 3 (with its lock) takes wheels of."""
    python = f"cp3{minor}"
    tags = [
        *cpython_tags((3, minor), abis=[python], platforms=["any"]),
        *compatible_tags((3, minor), interpreter=python, platforms=["any"]),
    ]
    return frozenset((tag.interpreter, tag.abi) for tag in tags)
