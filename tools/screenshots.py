"""Draws the pictures of README.md from real runs (POSIX only).

    python tools/screenshots.py questions
    python tools/screenshots.py smoke-test
    python tools/screenshots.py smoke-test --data compute_platform=cu130 --data package_manager=uv

`questions` answers `copier copy` by keyboard up to the menu of compute platforms. `smoke-test`
renders a project with those answers and runs its bootstrap, which installs torch.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from snapshot import ROOT, snapshot
from terminal import DOWN, ENTER, Terminal, svg

COPIER = [sys.executable, "-m", "copier", "copy", "--trust"]
WIDTH, HEIGHT = 120, 60
PYTHON_313 = f"{DOWN}{ENTER}"  # the next one after the default: some builds do not have it
DIALOG = [
    ("", "as `pip install` would know it"),
    (ENTER, "as `import` knows it"),
    (ENTER, "in one line"),
    (ENTER, "Author or owner"),
    (ENTER, "E-mail address"),
    (ENTER, "License of the project"),
    (ENTER, "Package manager"),
    (ENTER, "Python that the project runs on"),
    (PYTHON_313, "PyPI's own wheels"),
]


def menu(
    folder: Path, template: Path, size: tuple[int, int], env: Mapping[str, str] | None = None
) -> Terminal:
    """The dialog of `copier copy` for Python 3.13, answered up to the menu of compute platforms."""
    terminal = Terminal([*COPIER, template, "my-torch-project"], size, folder, env)
    try:
        for keys, shown_next in DIALOG:
            terminal.type(keys, until=shown_next)
    except TimeoutError:
        terminal.stop()
        raise
    return terminal


def questions(folder: Path) -> str:
    """A picture of that menu, as a machine without a GPU shows it."""
    template = snapshot(folder / "torch-starter")
    terminal = menu(folder, template, (WIDTH, HEIGHT), {"TORCH_STARTER_DETECT": "0"})
    try:
        return svg(terminal.screen, "The questions of torch-starter")
    finally:
        terminal.stop()


def smoke_test(folder: Path, data: Sequence[str]) -> str:
    """A bootstrap that ends with the smoke test.

    Raises:
        RuntimeError: with the screen, if it fails.
    """
    template = snapshot(folder / "torch-starter")
    answers = [argument for answer in data for argument in ("--data", answer)]
    project = folder / "my-torch-project"
    subprocess.run([*COPIER, "--defaults", "--quiet", *answers, template, project], check=True)
    terminal = Terminal(["sh", "bootstrap.sh"], (WIDTH, HEIGHT), project)
    if terminal.finish():
        raise RuntimeError("\n".join(terminal.screen.display).rstrip())
    return svg(terminal.screen, "A finished bootstrap and smoke test")


def main() -> int:
    """Command line: see the top of this file."""
    minor = f"3.{sys.version_info.minor}"
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("picture", choices=("questions", "smoke-test"))
    parser.add_argument("--data", action="append", default=[], help="an answer, for smoke-test")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        picture = (
            questions(Path(folder))
            if arguments.picture == "questions"
            else smoke_test(Path(folder), [f"python_version={minor}", *arguments.data])
        )
    (ROOT / "docs" / f"{arguments.picture}.svg").write_text(picture, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
