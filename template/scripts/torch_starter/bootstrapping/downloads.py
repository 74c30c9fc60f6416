"""Downloads that arrive spoilt: what the managers say of them, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .places import TOOLS, WINDOWS
from .said import last_error, own_words

# The connection was cut, and the managers have not got over it. What was whole they have kept.
CUT = re.compile(
    r"IncompleteRead|incomplete-download|not enough bytes were received|ChunkedEncodingError|"
    r"error reading a body|error decoding response body|before message length reached"
)
# What came is not what was sent; pip and Poetry may have kept it, and would take it again.
SPOILT = re.compile(
    r"BadZipFile|Bad CRC|CRC mismatch|zip EOF|not a zip file|Failed to (?:unzip|read from zip)|"
    r"Invalid zip file|invalid package format|unexpected header|end of central directory|"
    r"unexpected end of file|unexpected EOF|EOFError|zlib\.error|corrupt deflate|invalid gzip|"
    r"Wheel '[^']+' located at .+ is invalid|InvalidWheelSource|InvalidWheelName|"
    r"metadata generation failed.*\bzip|(?:zip|gzip|wheel|archive) (?:file )?is corrupt",
    re.IGNORECASE,
)
# It is another file than the lock file or the index says: that may be no accident.
MISMATCH = re.compile(
    r"Hash mismatch for|DO NOT MATCH THE HASHES|not found in known hashes|HashMismatch|"
    r"did not match any known checksums"
)
REASON = re.compile(r"os error \d|\[(?:Errno|WinError) \d")  # the system's own: see system_errors
# Folders that a second try has instead of those where spoilt files may lie. On the disk of .venv,
# since there are gigabytes of CUDA.
CACHE = TOOLS / "cache"
EMPTY = {f"{name}_CACHE_DIR": str(CACHE / name.lower()) for name in ("UV", "PIP", "POETRY")}
CLEAN = {"uv": "uv cache clean", "pip": "python -m pip cache purge"}
FILE = re.compile(r"[\w.+%!-]+\.(?:whl|tar\.gz|zip)\b")


def spoilt(lines: Iterable[str]) -> str:
    """Why a second try may end better: `cut`, `spoilt` or `mismatch`; empty if it would not."""
    lines = [*lines]
    if MISMATCH.search("\n".join(own_words(lines))):
        return "mismatch"
    text = "\n".join(last_error(lines))
    if REASON.search(text):
        return ""
    return "cut" if CUT.search(text) else "spoilt" if SPOILT.search(text) else ""


def named(lines: Iterable[str]) -> str:
    """The file that is meant, if it is named."""
    telling = re.compile(f"{SPOILT.pattern}|{MISMATCH.pattern}|Failed to extract", re.IGNORECASE)
    said = "\n".join(line for line in lines if telling.search(line))
    found = FILE.search(said) or re.search(r"(?<=`)[\w.-]+==[^`\s]+", said)
    return found[0].replace("%2B", "+") if found else "A file"


def spoilt_advice(lines: list[str], title: str, tool: str, lock: str) -> tuple[str, str]:
    """What to say where it came spoilt a second time, past all caches."""
    kind, file = spoilt(lines), named(lines)
    if kind == "cut":
        what = f"The connection was cut twice in the middle of a download: {title} failed."
        todo = "Run this again: what came whole is kept. If it ends so each time, a proxy or a"
        return what, f"{todo} virus\nscanner limits size or time: try another network."
    scanner = "A proxy or a virus scanner that changes downloads does this: try another network, "
    scanner += "or let\nwhoever runs it except the index."
    if kind == "mismatch":
        known = lock if tool != "pip" else "its index"
        what = f"{file} is not the file that {known} has the hash of, nor when fetched anew: "
        what += f"{title} failed."
        todo = "It was not installed, and must not be before somebody knows why.\n"
        todo += f"{scanner}\nIf it is the same everywhere, ask whoever runs the index whether the "
        todo += "file was replaced."
        if tool == "poetry":  # which reads the hash from what comes, where the index has none
            todo += (
                f"\nIf {lock} was made from a spoilt download: poetry lock --no-cache --regenerate"
            )
        return what, todo
    what = f"{file} arrives spoilt, also when fetched anew: {title} failed."
    more = "\nOn Windows, its quarantine shows what it has taken." if WINDOWS else ""
    return what, f"{scanner}{more}"
