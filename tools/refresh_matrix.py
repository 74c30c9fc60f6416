"""Compares version_matrix.yml with the PyTorch index and PyPI, and writes what is new there.

python tools/refresh_matrix.py --check    # tells what differs; writes nothing
python tools/refresh_matrix.py --write    # writes it, and tells it

The text is on stdout, as Markdown; progress and errors are on stderr.

exit codes:
  0  nothing to do: the file says what the indexes have
  1  something differs; with --write, it is written, but for what a person must look at
  2  the command line is wrong
  3  an index cannot be read
  4  the result would not be a valid matrix, or cannot be written; the file is as it was
  5  a fault of this tool, with its traceback; the file is as it was
  130  stopped by Ctrl-C
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timezone
from functools import cached_property
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "extensions"))

from refresh.beside import compare_companions
from refresh.compare import compare_torch
from refresh.findings import Edit, Finding
from refresh.listing import CACHE, PYPI_URL, Patience, RefreshError, Source, shown_progress
from refresh.observed import Observed, observe
from refresh.platforms import gaps
from refresh.projects import affected
from refresh.words import parts, text, what_is_new, what_to_do
from refresh.writing import UnwritableError, edited, loaded, write
from torch_template.matrix.loading import MATRIX
from torch_template.matrix.model import Matrix

INDEX_URL = "https://download.pytorch.org/whl"
DIFFERS, MISTAKEN, UNREADABLE, UNWRITABLE = 1, 2, 3, 4


@dataclass(frozen=True)
class Refreshed:
    """A matrix as it would be written, and what to tell about it."""

    yaml: str
    edits: tuple[Edit, ...]
    findings: tuple[Finding, ...]
    old: Matrix
    new: Matrix

    @cached_property
    def parts(self) -> dict[str, list[str]]:
        """All of it in words, by the heading of each part; each line is one line."""
        changes, projects = what_is_new(self.old, self.new), affected(self.old, self.new)
        return parts(changes, projects, what_to_do(self.findings))

    @property
    def text(self) -> str:
        """All of it in words; empty if there is nothing to tell."""
        return text(self.parts)


def refreshed(before: str, seen: Observed, today: date) -> Refreshed:
    """The matrix with all that was seen. UnwritableError: it would not be valid."""
    old = loaded(before)
    torch = compare_torch(old, seen, today)
    between = edited(before, torch.edits, today)
    beside = compare_companions(loaded(between), seen, today)
    after = edited(between, beside.edits, today)
    new = loaded(after)
    findings = (*torch.findings, *beside.findings, *gaps(new))
    return Refreshed(after, (*torch.edits, *beside.edits), findings, old, new)


def _several(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    about, _, codes = (__doc__ or "").partition("exit codes:")
    parser = argparse.ArgumentParser(
        description=about,
        epilog=f"exit codes:{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--check", action="store_true", help="tell what differs; write nothing")
    way.add_argument("--write", action="store_true", help="write what is new")
    parser.add_argument("--json", action="store_true", help="tell it as JSON")
    parser.add_argument("--index-url", default=INDEX_URL, help="the PyTorch index: %(default)s")
    parser.add_argument("--pypi-url", default=PYPI_URL, help="PyPI's simple API: %(default)s")
    parser.add_argument("--matrix", type=Path, default=MATRIX, help="the file: %(default)s")
    parser.add_argument("--cache", type=Path, default=CACHE, help="what was read: %(default)s")
    parser.add_argument("--jobs", type=_several, default=8, help="requests at once: %(default)s")
    parser.add_argument(
        "--accept-shrunk", action="store_true", help="believe pages that lost many wheels"
    )
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    asked = _arguments(given)
    try:
        before = asked.matrix.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        print(f"{asked.matrix} cannot be read: {error}. Name it with --matrix.", file=sys.stderr)
        return MISTAKEN
    source = Source(
        asked.index_url,
        asked.pypi_url,
        asked.cache,
        accept_shrunk=asked.accept_shrunk,
        threads=asked.jobs,
        patience=Patience(),
    )
    try:
        with shown_progress("Reading the indexes") as progress:
            seen = observe(source, loaded(before), progress)
        found = refreshed(before, seen, datetime.now(timezone.utc).date())
        if asked.write and found.yaml != before:
            write(asked.matrix, found.yaml, before)
    except RefreshError as error:
        print(error, file=sys.stderr)
        return UNREADABLE
    except UnwritableError as error:
        print(f"{asked.matrix} is left as it is: {error}", file=sys.stderr)
        return UNWRITABLE
    except OSError as error:
        print(
            f"{asked.matrix} is left as it is, for it cannot be written: {error}. Look at its"
            " folder.",
            file=sys.stderr,
        )
        return UNWRITABLE
    _tell(found, as_json=asked.json)
    return DIFFERS if found.edits or found.findings else 0


def _tell(found: Refreshed, *, as_json: bool) -> None:
    if as_json:
        rows = {
            "edits": [asdict(edit) for edit in found.edits],
            "findings": [asdict(one) for one in found.findings],
            "parts": found.parts,
            "text": found.text,
        }
        print(json.dumps(rows, indent=1, default=str))
    elif found.text:
        print(found.text)


def command() -> int:
    """Run it as a command: a crash is told apart from something that differs, Ctrl-C is prompt."""
    try:
        return main()
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr, flush=True)
        os._exit(130)  # requests in flight would be waited for
    except Exception:
        traceback.print_exc()
        print("This is a fault of the tool: report it with what stands above.", file=sys.stderr)
        return 5


if __name__ == "__main__":
    sys.exit(command())
