"""A careless edit of version_matrix.yml ends in one sentence that names the row."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from copier.errors import UserMessageError

from matrix.doctored import MATRIX_TEXT
from torch_template.matrix.loading import MATRIX, load_matrix

SENTENCE = re.compile(r"version_matrix\.yml[^\n]+\.")


class Edit(NamedTuple):
    """The first `old` becomes `new`, and the sentence must have `names`."""

    old: str
    new: str
    names: str


EDITS = {
    "a release names a source that is not described": Edit(
        "sources: [GH2141,", "sources: [GH2142,", "release 2.14.1: source 'GH2142'"
    ),
    "a release names no sources": Edit(
        "    sources: [PYPI, PYPI-META, PYPI-WHEEL]\n", "", "releases > 2.15.0 > sources"
    ),
    "a release has an empty list of sources": Edit(
        "sources: [PYPI, PYPI-META, PYPI-WHEEL]", "sources: []", "releases > 2.15.0 > sources"
    ),
    "a key is misspelt": Edit(
        "    python: 3.11 - 3.15\n", "    pyhton: 3.11 - 3.15\n", "releases > 2.15.0 > py"
    ),
    "an unknown key is added": Edit(
        "  2.15.0:\n", "  2.15.0:\n    torchtext: 0.18.0\n", "releases > 2.15.0 > torchtext"
    ),
    "a Python on the menu is a number": Edit(
        '["3.10", "3.11"', '[3.10, "3.11"', "policy > python > offered > 0"
    ),
    "a release's Python is a number": Edit(
        "python: 3.11 - 3.15", "python: 3.11", "releases > 2.15.0 > python"
    ),
    "a range of Pythons is not one": Edit(
        "python: 3.11 - 3.15", "python: 3.11 to 3.15", "releases > 2.15.0 > python"
    ),
    "a range of Pythons is upside down": Edit(
        "python: 3.11 - 3.15", "python: 3.15 - 3.11", "releases > 2.15.0 > python"
    ),
    "a release has an unknown compute platform": Edit(
        "  rocm7.14: {platforms: L}", "  rocm7.15: {platforms: L}", "platform 'rocm7.15'"
    ),
    "the menu offers an unknown compute platform": Edit(
        "      - cu117\n", "      - cu116\n", "policy: compute platform 'cu116'"
    ),
    "a platform is not one of the four letters": Edit(
        "cu117: {platforms: L W}", "cu117: {platforms: L X}", "releases > 2.0.1 > index > cu117"
    ),
    "a build names a toolkit that is not described": Edit(
        "cu117: {platforms: L W}",
        "cu117: {platforms: L W, toolkit: 11.7.1}",
        "release 2.0.1: CUDA toolkit '11.7.1'",
    ),
    "PyPI's wheel names a toolkit that is not described": Edit(
        "toolkit: 13.2.2}", "toolkit: 13.2.3}", "13.2.3"
    ),
    "a version is not one": Edit(
        "    0.29.2:\n", "    newest:\n", "companions > torchvision > newest"
    ),
    "a version is a number": Edit(
        "    0.29.2:\n", "    0.29:\n", "companions > torchvision > 0.29"
    ),
    "a companion's torch is no requirement": Edit(
        'torch: "==2.14.0"', "torch: 2.14.0", "companions > torchvision > 0.29.0 > torch"
    ),
    "a companion's torch says nothing": Edit(
        'torch: "==2.14.0"', 'torch: ""', "companions > torchvision > 0.29.0 > torch"
    ),
    "a companion is for no release": Edit(
        'torch: "==2.14.0"', 'torch: ">=3.14.0"', "torchvision 0.29.0: no release is torch>=3.14.0"
    ),
    "a companion's index is not finished": Edit(
        "      index: {cpu: L A W}\n", "      index:\n", "companions > torchcodec > 0.17.0: "
    ),
    "a companion's Python is not for all": Edit(
        "platforms: L A M}",
        "platforms: L A M, not_for: cuda}",
        "companions > torchcodec > 0.17.0: ",
    ),
    "one source tells of what a companion has not": Edit(
        "one_source: {cu126: A, cu128: A",
        "one_source: {cu132: A, cu128: A",
        "torchaudio > 2.11.0: ",
    ),
    "a companion is unknown": Edit("  torchcodec:", "  torchtext:", "companions > torchtext"),
    "a companion is on an unknown compute platform": Edit(
        "        cu126: L A W\n", "        cu127: L A W\n", "torchvision 0.29.1: compute platform"
    ),
    "a release's name is no version": Edit("  2.15.0:\n", "  next:\n", "releases > next"),
    "a driver is a number": Edit("linux: 450.80.02", "linux: 450.80", "drivers > 11 > linux"),
    "an accelerator is unknown": Edit(
        "CUDA 13.2, accelerator: cuda", "CUDA 13.2, accelerator: gpu", "compute_platforms > cu132"
    ),
    "a confidence is unknown": Edit(
        "confidence: verified", "confidence: sure", "drivers > 11 > confidence"
    ),
    "the default is not on the menu": Edit("default: cpu", "default: cu134", "'cu134'"),
    "an unknown compute platform is retired": Edit(
        "    retired: {}", "    retired: {cu116: cu126}", "policy: compute platform 'cu116'"
    ),
    "the successor of a retired platform is unknown": Edit(
        "    retired: {}", "    retired: {cu118: cu127}", "'cu127'"
    ),
    "the file is empty": Edit(MATRIX_TEXT, "", "the file"),
}
# Accepted without a word today; then a traceback, or a wrong build, when it is used.
ACCEPTED = {
    "a CUDA major version has no driver": Edit('  "13": {linux', '  "14": {linux', "13"),
    "a release is written twice": Edit("  2.15.0:\n", "  2.14.1:\n", "2.14.1"),
    "a successor is retired itself": Edit(
        "    retired: {}", "    retired: {cu118: cu126, cu126: cu130}", "cu118 leads to cu126"
    ),
    "the default is retired": Edit("    retired: {}", "    retired: {cpu: cu126}", "cpu"),
    "the way out of a blocked platform is unknown": Edit(
        "instead: rocm7.2", "instead: rocm7.3", "rocm7.3"
    ),
    "a Python on the menu is no version": Edit('"3.15"]', '"3.15", "pypy"]', "pypy"),
}


def refusal(folder: Path, edit: Edit) -> str:
    """What loading the edited file says."""
    assert edit.old in MATRIX_TEXT
    edited = folder / "version_matrix.yml"
    edited.write_text(MATRIX_TEXT.replace(edit.old, edit.new, 1), encoding="utf-8")
    with pytest.raises(UserMessageError) as error:
        load_matrix(edited)
    return str(error.value)


@pytest.mark.parametrize("case", EDITS)
def test_a_broken_row_is_named_in_one_sentence_if(tmp_path: Path, case: str) -> None:
    sentence = refusal(tmp_path, EDITS[case])
    assert EDITS[case].names in sentence
    assert SENTENCE.fullmatch(sentence), sentence


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_row_that_cannot_work_is_named_in_one_sentence_if(tmp_path: Path, case: str) -> None:
    sentence = refusal(tmp_path, ACCEPTED[case])
    assert ACCEPTED[case].names in sentence
    assert SENTENCE.fullmatch(sentence), sentence


@pytest.mark.parametrize(
    ("old", "new"),
    [("releases:\n", "releases: [\n"), ("      cpu: {platforms: L W}", "\tcpu: {platforms: L W}")],
    ids=["a bracket is left open", "a tab indents a row"],
)
def test_what_is_not_yaml_is_named_with_its_line_in_one_sentence_if(
    tmp_path: Path, old: str, new: str
) -> None:
    sentence = refusal(tmp_path, Edit(old, new, ""))
    line = MATRIX_TEXT[: MATRIX_TEXT.index(old)].count("\n") + 1
    assert any(f"line {line + more}" in sentence for more in range(3))
    assert SENTENCE.fullmatch(sentence), sentence


def test_the_shipped_file_is_accepted(tmp_path: Path) -> None:
    copy = tmp_path / "version_matrix.yml"
    shutil.copyfile(MATRIX, copy)
    assert load_matrix(copy).releases
