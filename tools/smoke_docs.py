"""Writes docs/smoke-test.md: every id of the smoke test with symptom, cause and remedy.

python tools/smoke_docs.py            # writes it
python tools/smoke_docs.py --check    # exits 1 if it is stale
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "smoke-test.md"
PACKAGE = ROOT / "template" / "scripts" / "gpu_smoke" / "__init__.py"
HEAD = """# The smoke test, id by id

`scripts/gpu_smoke_test.py` of a project says which of these it is. Search this page for the
message that you got. The remedy here is the usual one; the smoke test names yours, with what to
type for your GPU, driver and system. `--explain ID` prints a row.

| id | symptom | cause | remedy |
|---|---|---|---|
"""


def load(name: str) -> ModuleType:
    """A module of the smoke test, which lies where no import looks."""
    if "gpu_smoke" not in sys.modules:
        spec = importlib.util.spec_from_file_location("gpu_smoke", PACKAGE)
        if not spec or not spec.loader:
            sys.exit(f"{PACKAGE} is missing.")
        sys.modules["gpu_smoke"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["gpu_smoke"])
    return importlib.import_module(f"gpu_smoke.{name}")


def page() -> str:
    """The page as it is to be, in the order in which the checks are carried out."""
    catalogue = load("catalogue").CATALOGUE
    rows = [
        f"| `{name}` | {' | '.join(text.replace('|', chr(92) + '|') for text in catalogue[name])} |"
        for name in catalogue
    ]
    text = HEAD + "\n".join(rows) + "\n"
    return text.replace("bootstrap.cmd", "./bootstrap.sh")  # the same page on every system


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if stale")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/smoke-test.md is stale: run `python tools/smoke_docs.py`.")


if __name__ == "__main__":
    main()
