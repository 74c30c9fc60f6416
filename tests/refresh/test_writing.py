"""What is written into version_matrix.yml, and that nothing else in it changes."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

import refresh_matrix
from install.loopback_index import LoopbackIndex
from matrix.doctored import MATRIX_TEXT, data
from refresh.findings import Edit
from refresh.made_up import BASE, DAY, LATER, companion, refresh, release
from refresh.writing import UnwritableError, edited, write
from torch_template.matrix.loading import MATRIX


def changes(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines that are gone, and those that came."""
    lines = [*difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")][2:]
    return [one[1:] for one in lines if one[0] == "-"], [one[1:] for one in lines if one[0] == "+"]


def test_the_file_is_read_and_written_byte_for_byte() -> None:
    facts = data()
    newest = [*facts["releases"]][-1]
    same = Edit(("releases", newest, "confidence"), facts["releases"][newest]["confidence"])
    written = edited(MATRIX_TEXT, [same], facts["reviewed"])
    gone, came = changes(MATRIX_TEXT, written)
    assert all("sources:" in one for one in gone)  # which have the indexes' names added
    assert {one.partition(":")[0].strip() for one in came} == {"sources", "INDEX", "PYPI-FILES"}
    for text in (MATRIX_TEXT, MATRIX.read_text(encoding="utf-8")):
        assert edited(text, [], LATER) == text


def test_a_new_release_adds_its_lines_and_changes_none_but_the_day() -> None:
    result = refresh(release(renamed={"cu126": "cu134"}), companion())
    gone, came = changes(BASE, result.yaml)
    assert [one.partition(":")[0] for one in gone] == ["reviewed"]
    assert [one for one in came if one] == [
        "reviewed: 2026-12-31",
        "      - cu134",
        '  INDEX: "pages and METADATA of the PyTorch index, read by tools/refresh_matrix.py"',
        '  PYPI-FILES: "pages, METADATA and version.py on PyPI, read by tools/refresh_matrix.py"',
        "  cu134: {name: CUDA 13.4, accelerator: cuda}",
        "  2.16.0:",
        "    released: 2026-12-09",
        "    python: 3.10 - 3.14",
        "    more_python:",
        '      - {python: "3.15", platforms: L A, not_for: pypi rocm xpu}',
        "    index:",
        "      cpu: {platforms: L A W M}",
        "      cu129: {platforms: L A, toolkit: 12.9.1}",
        "      cu130: {platforms: L A W, toolkit: 13.0.3}",
        "      cu132: {platforms: L A W, toolkit: 13.2.1}",
        "      cu134: {platforms: L A W}",
        "      rocm7.1: {platforms: L}",
        "      rocm7.2: {platforms: L}",
        "      xpu: {platforms: L W}",
        "    pypi: {L: cu130, A: cu130, W: cpu, M: cpu}",
        "    confidence: verified",
        "    sources: [INDEX, PYPI-FILES]",
        "    0.31.0:",
        '      torch: "==2.16.0"',
        "      python_excluded: [3.14.1]",
        "      index:",
        "        cpu: L A W M",
        "        cu126: L A W",
        "        cu129: L A",
        "        cu130: L A W",
        "        cu132: L A W",
        "        rocm7.1: L",
        "        rocm7.2: L",
        "        xpu: L W",
        "      confidence: verified",
        "      sources: [INDEX, PYPI-FILES]",
    ]
    assert came.count("") == 1  # between the releases


def test_a_second_refresh_writes_nothing() -> None:
    seen = (release(renamed={"cu130": "cu140"}), companion(torch=">=2.16.0"))
    once = refresh(*seen).yaml
    again = refresh(*seen, text=once)
    assert (again.edits, again.yaml == once) == ((), True)


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (Edit(("releases", "2.13.0", "python"), "3.10 - 3.x"), "releases > 2.13.0 > python"),
        (Edit(("releases", "2.13.0", "pypi", "L"), "cu128"), "a build that the index does not"),
        (Edit(("releases", "2.13.0", "index", "cu126", "toolkit"), "13.0.3"), "no such build has"),
        (Edit(("releases", "2.13.0", "sources"), ["HEARSAY"]), "source 'HEARSAY' is not defined"),
    ],
)
def test_what_would_be_no_valid_matrix_is_refused(edit: Edit, why: str) -> None:
    with pytest.raises(UnwritableError, match=why):
        edited(BASE, [edit], DAY)


def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "version_matrix.yml"
    path.write_text("old\n", encoding="utf-8")
    write(path, "new\n")
    assert path.read_bytes() == b"new\n"

    def fails(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(PermissionError):
        write(path, "newer\n")
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"new\n"]


def test_what_somebody_wrote_meanwhile_stays_and_a_link_stays_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "version_matrix.yml", tmp_path / "link.yml"
    path.write_bytes(b"old\n")
    with pytest.raises(UnwritableError, match="changed it meanwhile"):
        write(path, "new\n", "older\n")
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"old\n"]
    try:
        link.symlink_to(path)
    except OSError:
        pytest.skip("no links here")
    write(link, "new\n", "old\n")
    assert (link.is_symlink(), path.read_bytes()) == (True, b"new\n")


# --- the command


def test_a_broken_matrix_is_said_in_a_sentence_and_left(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "version_matrix.yml"
    path.write_text(BASE.replace("accelerator: xpu", "accelerator: tpu"), encoding="utf-8")
    before = path.read_bytes()
    assert refresh_matrix.main(["--write", f"--matrix={path}", f"--cache={tmp_path}"]) == 4
    out, err = capfd.readouterr()
    assert "compute_platforms > xpu > accelerator" in err
    assert (out, err.count("\n"), path.read_bytes()) == ("", 1, before)


def test_a_matrix_that_is_not_there_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert refresh_matrix.main(["--check", f"--matrix={tmp_path / 'none.yml'}"]) == 2
    assert "none.yml cannot be read: " in capfd.readouterr().err


def test_an_index_that_cannot_be_read_is_said_and_nothing_is_written(
    tmp_path: Path, index: LoopbackIndex, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "version_matrix.yml"
    path.write_text(BASE, encoding="utf-8")
    where = [f"--index-url={index.pytorch_url}", f"--pypi-url={index.simple_url}"]
    with index.failing("/whl", 401):
        code = refresh_matrix.main(["--write", *where, f"--matrix={path}", f"--cache={tmp_path}"])
    out, err = capfd.readouterr()
    assert (code, out, path.read_text(encoding="utf-8")) == (3, "", BASE)
    assert "answered 401 Unauthorized" in err


def test_the_help_names_the_exit_codes(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        refresh_matrix.main(["--help"])
    out = capfd.readouterr().out
    assert all(f"\n  {code}  " in out for code in range(5))
