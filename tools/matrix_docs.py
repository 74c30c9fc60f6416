"""Writes what repeats the matrix and copier.yml for people and for programs.

docs/matrix.md, docs/matrix.json and docs/matrix.svg, and the table of questions in README.md.

python tools/matrix_docs.py            # writes them
python tools/matrix_docs.py --check    # exits 1 if one is stale
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "extensions"))

from matrix_data import document, text
from matrix_page import page
from matrix_picture import picture
from matrix_tables import Table
from torch_template.matrix.loading import load_matrix
from torch_template.menus import USUAL_FILES

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- begin table: questions -->", "<!-- end table: questions -->"


def questions(copier_yml: Path = ROOT / "copier.yml") -> Table:
    """The questions of copier.yml, in their order, with the default and the help."""
    asked = yaml.safe_load(copier_yml.read_text(encoding="utf-8"))
    rows = [
        (f"`{name}`", default_text(question.get("default")), help_text(question["help"]))
        for name, question in asked.items()
        if not name.startswith("_") and question.get("when") is not False
    ]
    return Table(("question", "default", "what it asks"), rows)


def help_text(text: str) -> str:
    """A question's help as everybody sees it, without the line about one machine."""
    return text.removeprefix("{{ machine_hint() }}")


def default_text(default: object) -> str:
    """A default for people: templates are told in words, an empty string is told as empty."""
    policy = load_matrix().policy
    words = {
        "{{ project_name | default_package_name }}": "from `project_name`",
        "{{ default_of('python_version') }}": f"`{policy.python.default}`",
        "{{ default_of('compute_platform') }}": f"`{policy.compute_platforms.default}`",
        "{{ default_of('torch_packages') }}": "`torchvision`, where it fits",
        "{{ default_of('extra_files') }}": ", ".join(f"`{name}`" for name in USUAL_FILES),
        "{{ default_of('starter') }}": f"`{policy.starter.default}`, from torch 2.6 on",
    }
    text = str(default)
    if "{{" in text:
        return words[text]
    return f"`{text}`" if text else "empty"


def refreshed(text: str) -> str:
    """README.md's text with the table of questions as it should be.

    Raises:
        ValueError: if the markers of the table are not there exactly once.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"README.md needs {BEGIN} and {END}, once each")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{questions()}\n{END}{rest.partition(END)[2]}"


def files() -> dict[Path, str]:
    """Every file that this writes, with the text that it should have."""
    matrix = load_matrix()
    return {
        README: refreshed(README.read_text(encoding="utf-8")),
        ROOT / "docs" / "matrix.md": page(matrix),
        ROOT / "docs" / "matrix.json": text(document(matrix)),
        ROOT / "docs" / "matrix.svg": picture(matrix),
    }


def stale() -> dict[Path, str]:
    """Those of them that are missing, or say something else."""
    return {
        path: wanted
        for path, wanted in files().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != wanted
    }


def main() -> int:
    """Command line: see the top of this file."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if stale")
    check = parser.parse_args().check
    found = stale()
    if check and found:
        names = ", ".join(path.relative_to(ROOT).as_posix() for path in found)
        print(f"{names}: stale. Run `python tools/matrix_docs.py`.", file=sys.stderr)
        return 1
    for path, wanted in found.items():
        path.write_text(wanted, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
