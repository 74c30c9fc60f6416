"""Writes docs/smoke-test.md: every id of the smoke test, and every fault that it was tried with.

python tools/smoke_docs.py            # writes it
python tools/smoke_docs.py --check    # exits 1 if it is stale
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "template" / "scripts" / "torch_starter")]

from scripts.faults import FAULTS  # noqa: E402

PAGE = ROOT / "docs" / "smoke-test.md"
HEAD = """# The smoke test, id by id

`scripts/gpu_smoke_test.py` of a project says which of these it is. Search this page for the
message that you got. The remedy here is the usual one, then what is another in a container, in WSL,
and so on ([places.md](places.md)); the smoke test names yours, with what to type for your GPU,
driver and system. What only a machine can fill in stands in CAPITALS. `--explain` prints an entry,
also for a message: `--explain "Driver/library version mismatch"`, `--explain 803`.

| you want | type |
|---|---|
| to know whether torch works here | `.venv/bin/python scripts/gpu_smoke_test.py` |
| all checks, also those that take a minute | `--level full` |
| one check | `--only ID`; `--list` shows all |
| the CPU where there is no GPU, as in CI | `--device auto` |
| a failure where there is no GPU, also with PyPI's wheels (`pypi`) | `--device cuda` |
| a file for programs, or a table for a CI summary | `--json FILE`, `--markdown FILE` |
| what an id, a code or a message means | `--explain TEXT` |
| a file for a bug report | `--report FILE`: all there is to know, without your name and passwords |

Exit codes: 0 passed, warnings allowed; 1 a check failed; 2 wrong usage; 3 the device cannot be
used; 4 PyTorch or the driver crashed or hung; 5 there was a warning, with `--strict`.

"""
GROUPS = {  # the ids that begin so
    "Python and its packages": ("PY-", "TORCH-FOUND", "TORCH-BUILD", "TORCH-DLL", "PKG-"),
    "Settings, memory and paths": ("ENV-", "SYS-"),
    "NVIDIA's driver": ("DRV-",),
    "CUDA": ("CUDA-",),
    "AMD, Intel and Apple": ("ROCM-", "XPU-", "MPS"),
    "torch itself, and its libraries": ("TORCH-", "LIB-", "DEV-"),
    "Numbers": ("NUM-", "TRAIN-", "CKPT"),
    "What a project may need": ("VISION-", "AUDIO-", "CODEC-", "DATA-", "COMPILE", "NCCL", "PERF-"),
}
TRIED = """## What it has been tried with

Each of these faults is injected by `tests/scripts/test_smoke_diagnoses.py`, which asserts the id,
the exit code and words of the remedy, and that no other id fails or warns but what follows from it.
`tests/scripts/test_smoke_healthy.py` tries set-ups that look odd and are well: they get no warning.

| injected | diagnosed | exit code |
|---|---|---|
"""
REAL = """
## With the real CUDA wheel

PyPI's torch 2.13.0 for CUDA 13.0, on Linux without a GPU, with a driver that only returns codes,
says its own errors: *driver too old*, 2, 3, 46, 100, 101, 802, 803, 804 and 999. On 2026-11-22 each
was told with the cause, a missing libcudnn was named, and without a driver all passed on the CPU.
So was torch 2.2.2 with NumPy 2. On 2026-11-27 PyPI's torchaudio 2.11.0 filtered beside it, and was
refused beside CUDA 13.2 and the CPU build; torchcodec 0.13.0 decoded with Debian's FFmpeg 5, and
without it was told what to install, as was 0.17.0. That takes up to 10 GB of disk. `.ci/run` does
it every time; by hand, it is

```sh
.venv/bin/python -m pytest -n 0 -m slow tests/scripts/test_smoke_cuda_wheel.py
```

## With a GPU

This repository has measured nothing on a GPU yet: no tolerance that was really seen, no TFLOP/s, no
GB/s. The tolerances for GPUs are those that their number formats allow, and what a GPU should reach
is computed from what its driver says of it. If you have one, send what this writes, as an issue:

```sh
.venv/bin/python scripts/gpu_smoke_test.py --level full --report report.md
```
"""


def cell(text: str) -> str:
    """A text for a cell of a table."""
    return text.replace("|", "\\|")


def entries() -> str:
    """Every id with its symptoms, causes and remedies; each in the first group that it fits."""
    catalogue = importlib.import_module("gpu_smoke.catalogue")
    groups: dict[str, list[str]] = {title: [f"## {title}", ""] for title in GROUPS}
    for name in catalogue.ids():
        title = next(title for title, begins in GROUPS.items() if name.startswith(begins))
        groups[title] += entry(catalogue.entry(name), catalogue.LIKE)
    shared = [line for name in catalogue.shared() for line in entry(catalogue.entry(name), "")]
    groups["More places"] = ["## More places", "", *shared] if shared else []
    return "\n".join(line for lines in groups.values() for line in lines)


def entry(found: Any, like: str) -> list[str]:  # noqa: ANN401 - a class of the template's scripts
    """An id: what people search for, then each cause with its remedy, and where it is another."""
    lines = [f"### {found.title}", "", *(f"    {one}" for one in found.symptoms)]
    lines += [""] * bool(found.symptoms)
    for _, *told in found.causes:  # the first is of this machine
        others = [row.do for row in told if row.place == like]
        *elsewhere, usual = [row for row in told if row.place != like]
        lines += [usual.says] * bool(usual.says) + [f"**To do:** {usual.do}"] * bool(usual.do)
        for place, says, do in elsewhere:
            if do and (says, do) != usual[1:]:
                lines.append(f"- {place}: {f'{says} ' * (says != usual.says)}{do}")
        lines += [f"- {like}: [{name}](#{name})" for name in others]
        lines.append("")
    return lines


def page() -> str:
    """The page as it is to be."""
    rows = [f"| {cell(one.what)} | [{one.id}](#{one.id.lower()}) | {one.code} |" for one in FAULTS]
    text = f"{HEAD}{entries()}\n{TRIED}" + "\n".join(rows) + "\n" + REAL
    for windows, others in {  # the same page on every system
        "bootstrap.cmd": "sh bootstrap.sh",
        ".venv\\Scripts\\python": ".venv/bin/python",
        "set CUDA_VISIBLE_DEVICES=": "unset CUDA_VISIBLE_DEVICES",
    }.items():
        text = text.replace(windows, others)
    return text


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
