"""The metadata of installed packages is read as Python reads it, and whatever bytes it has."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

import pytest

from scripts.smoke_helpers import load_package

ABOUT = b"Metadata-Version: 2.1\nName: Odd_one\nVersion: 1.0\n"


def dist_info(folder: Path, **files: bytes) -> Path:
    """A package's metadata."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("_txt", ".txt")).write_bytes(content)
    return folder


def test_the_packages_are_those_that_python_finds() -> None:
    mine = {one.key: one for one in load_package("metadata").installed_packages()}
    for theirs in importlib.metadata.distributions():
        key = load_package("metadata").canonical(theirs.metadata["Name"])
        if key not in mine or not theirs.read_text("RECORD"):
            continue  # another of that name, which nobody imports; or none that pip has installed
        one = mine.pop(key)
        assert one.version == theirs.version
        assert one.requires == theirs.metadata.get_all("Requires-Dist", [])
        wanted = {os.path.normpath(str(file.locate())) for file in theirs.files or []}
        assert {str(file) for file in one.files()} == wanted
        for group in {point.group for point in theirs.entry_points}:
            points = {p.name: p.module for p in theirs.entry_points if p.group == group}
            assert one.entry_points(group) == points


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ({"METADATA": ABOUT + b"Author: J\xf6rg\n", "RECORD": b"a.so,,\n"}, ["a.so"]),
        ({"METADATA": ABOUT, "RECORD": b"j\xf6rg.so,,\na.so,,\n"}, ["j\ufffdrg.so", "a.so"]),
        ({"METADATA": ABOUT, "RECORD": b"a.so,b,c,d,e\n,,\n\n"}, ["a.so"]),
        ({"METADATA": ABOUT, "RECORD": b'"a,b.so",,\n"c.so,,\n\0\0\n'}, ["a,b.so", "c.so,,"]),
        ({"METADATA": ABOUT, "RECORD": bytes(300)}, []),
        ({"METADATA": ABOUT.replace(b"\n", b"\r\n") + b"\r\nNo: 1\r\n"}, []),
        ({"METADATA": ABOUT, "entry_points_txt": b"[torch.backends\nfoo\n=b\xf6r\n"}, []),
    ],
)
def test_bytes_that_are_no_utf_8_and_broken_rows_hide_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, bytes], names: list[str]
) -> None:
    metadata = load_package("metadata")
    dist_info(tmp_path / "odd_one-1.0.dist-info", **files)
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "none")])
    [package] = metadata.installed_packages()
    assert (str(package), package.key) == ("Odd_one 1.0", "odd-one")
    assert [file.name for file in package.files()] == names
    assert package.entry_points("torch.backends") == {}
    assert metadata.broken() == []


@pytest.mark.parametrize("content", [None, b"", bytes(500), b"Name: odd\n", b"Version: 1.0\n"])
def test_what_is_left_of_a_package_is_named_and_no_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    metadata, checks = load_package("metadata"), load_package("package_checks")
    files = {} if content is None else {"METADATA": content}
    left = dist_info(tmp_path / "odd-1.0.dist-info", RECORD=b"a.so,,\n", **files)
    dist_info(tmp_path / "~orch-2.1.dist-info", METADATA=ABOUT)  # as pip leaves it
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert metadata.installed_packages() == []
    assert metadata.broken() == [left]
    found = checks.check_metadata()
    assert found.status == "warn"
    assert found.message.startswith(f"{left} is what was left of a package, or is damaged: ")


def test_modules_in_python_alone_explain_no_crash_and_no_symbol() -> None:
    check, blame = load_package("check").Check, load_package("blame")
    for explains, cause, message, follows in (
        ("modules", "symbol-torch", "Files of two versions of torch are mixed.", False),
        ("modules", "crash", "PyTorch crashed (Segmentation fault).", False),
        ("modules", "no-module", "The module sympy is needed, and missing.", True),
        (
            "modules",
            "other-package",
            "The package sympy 1.12, imported here, fails.",
            True,
        ),
        ("modules", "other-package", "The package numpy, which is imported here, fails.", False),
        ("libraries", "symbol-torch", "Files of two versions of torch are mixed.", True),
        ("libraries", "crash", "PyTorch crashed (Segmentation fault).", True),
    ):
        data = {"packages": ["sympy"], "explains": explains}
        checks = [
            check("warn", "torch needs sympy.", "Do this.", data, "PKG-REQUIRES"),
            check("fail", message, "Do that.", {"cause": cause}, "TORCH-IMPORT"),
        ]
        blame.name_causes(checks)
        assert blame.follows(checks[1]) == follows, (explains, message)


def test_python_s_own_modules_are_known_where_python_path_hides_them(tmp_path: Path) -> None:
    shadows = load_package("environment_checks").shadows
    (tmp_path / "queue.py").touch()
    (tmp_path / "os.py").touch() if sys.version_info >= (3, 11) else None  # frozen from then on
    (tmp_path / "sys.py").touch()
    (tmp_path / "mine.py").touch()
    (tmp_path / "json").mkdir()  # a folder without __init__.py takes nobody's place
    library = str(Path(os.__file__).parent)
    path = os.pathsep.join([library, str(tmp_path), str(tmp_path / "none")])
    assert shadows({"PYTHONPATH": path}) == {str(tmp_path): ["queue"]}
    assert shadows({}) == {}


def test_the_environment_s_own_cudnn_is_not_in_the_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    traps = load_package("environment_checks").traps
    (tmp_path / "libcudnn.so.9").touch()
    assert len(traps("cuda", {"LD_LIBRARY_PATH": str(tmp_path)})) == 1
    monkeypatch.setattr(load_package("origins"), "ROOT", tmp_path.parent)
    assert traps("cuda", {"LD_LIBRARY_PATH": str(tmp_path)}) == []
