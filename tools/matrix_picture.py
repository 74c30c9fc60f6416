"""The matrix as a picture, docs/matrix.svg: which compute platform is in which release of torch.

Rows are compute platforms, columns are series of torch, and a series is divided among its releases.
It is narrow enough for a phone, and has colours for a light and for a dark page.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import groupby

from matrix_tables import UNKNOWN, gpus
from torch_template.build import Asked, Build
from torch_template.matrix.facts import PYPI, all_series, releases_of, series
from torch_template.matrix.model import Matrix
from torch_template.reasons import resolve

LABELS, COLUMN, GAP, ROW, TOP, LEGEND = 142, 28, 9, 30, 40, 76  # in the picture's own units
BOTH, LINUX, ASKED = "both", "linux", "asked"  # what a cell can be; None: there are no wheels
Places = dict[str, tuple[float, float]]  # from where, how wide, by release
STYLE = """
text { fill: #1f2328 } .page { fill: #fff } .band { fill: #f6f8fa } .small { fill: #59636e }
.line { stroke: #d1d9e0; stroke-width: .5 } .linux { fill-opacity: .12; stroke-width: 1.5 }
.cpu { fill: #57606a; stroke: #57606a } .cuda { fill: #1a7f37; stroke: #1a7f37 }
.rocm { fill: #cf222e; stroke: #cf222e } .xpu { fill: #0969da; stroke: #0969da }
.pypi { fill: #8250df; stroke: #8250df }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .page { fill: #0d1117 } .band { fill: #151b23 } .small { fill: #9198a1 }
.line { stroke: #3d444d } .linux { fill-opacity: .2 }
.cpu { fill: #9198a1; stroke: #9198a1 } .cuda { fill: #3fb950; stroke: #3fb950 }
.rocm { fill: #f85149; stroke: #f85149 } .xpu { fill: #4493f8; stroke: #4493f8 }
.pypi { fill: #ab7df8; stroke: #ab7df8 }
}"""


def picture(matrix: Matrix) -> str:
    """The SVG's text."""
    names = [n for n in matrix.policy.compute_platforms.offered if releases_of(matrix, n)]
    places = columns(matrix)
    width = round(max(left + wide for left, wide in places.values()) + 12)
    height = TOP + ROW * len(names) + LEGEND
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="ui-sans-serif, system-ui, sans-serif"'
        ' font-size="13" role="img" aria-labelledby="title desc">',
        '<title id="title">Which compute platform is in which release of torch</title>',
        f'<desc id="desc">{escape(words(matrix, names))}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{width}" height="{height}" rx="8"/>',
        *_grid(matrix, places, len(names), width),
    ]
    for row, name in enumerate(names):
        parts += _row(matrix, name, TOP + ROW * row, places)
    parts += _legend(TOP + ROW * len(names))
    return "\n".join([*parts, "</svg>"]) + "\n"


def columns(matrix: Matrix) -> Places:
    """Where each release begins, and how wide it is; oldest first.

    A series is as wide as any other. Where series are missing from the matrix, there is a gap.
    """
    places: Places = {}
    before: int | None
    left, before = float(LABELS), None
    for name, group in groupby(reversed(matrix.newest_first), series):
        releases, minor = list(group), int(name.partition(".")[2])
        left += GAP if before is not None and minor > before + 1 else 0
        wide = COLUMN / len(releases)
        places |= {torch: (left + wide * at, wide) for at, torch in enumerate(releases)}
        left, before = left + COLUMN, minor
    return places


def cell(matrix: Matrix, torch: str, compute_platform: str) -> str | None:
    """What a release has of a compute platform: both systems, Linux, or not established."""
    release = matrix.releases[torch]
    if compute_platform == PYPI:
        systems, established = {*release.pypi.on()}, bool(release.pypi.on())
    else:
        row = release.index.get(compute_platform)
        systems, established = {*(row.platforms if row else ())}, bool(release.index)
    if not established:
        return ASKED
    return BOTH if "W" in systems else LINUX if systems else None


def label(matrix: Matrix, compute_platform: str) -> str:
    """The GPUs that the newest build of a compute platform reaches, in few words."""
    known = matrix.compute_platforms[compute_platform]
    if known.blocked:
        return "not offered"
    for python in reversed(matrix.policy.python.offered):
        build = resolve(matrix, Asked("uv", python, compute_platform))
        if isinstance(build, Build):
            makers = {"cpu": "any machine", "rocm": "AMD GPUs", "xpu": "Intel GPUs"}
            if build.main.accelerator in makers:
                return makers[build.main.accelerator]
            found = gpus(matrix, build)
            return f"GPUs {found}" if found == UNKNOWN else found
    return f"GPUs {UNKNOWN}"


def words(matrix: Matrix, names: list[str]) -> str:
    """The picture for those who cannot see it."""
    sentences = []
    for name in names:
        has = list(reversed(releases_of(matrix, name)))
        known = matrix.compute_platforms[name].name
        sentences.append(f"{known} ({label(matrix, name)}): torch {', '.join(has)}.")
    asked = [t for t in matrix.newest_first if not matrix.releases[t].index]
    if asked:
        sentences.append(f"{UNKNOWN.capitalize()}: the PyTorch index for torch {', '.join(asked)}.")
    return " ".join(sentences)


# --- Pieces -----------------------------------------------------------------------------------


def _grid(matrix: Matrix, places: Places, rows: int, width: int) -> Iterator[str]:
    """What is behind the bars: a band for every other row, the series, and a line before each."""
    for row in range(0, rows, 2):
        yield f'<rect class="band" y="{TOP + ROW * row}" width="{width}" height="{ROW}"/>'
    yield f'<text x="12" y="{TOP - 14}" font-weight="600">torch</text>'
    for name in reversed(all_series(matrix)):
        left = min(places[torch][0] for torch in places if series(torch) == name)
        middle = left + COLUMN / 2
        place = f'x="{middle:g}" y="{TOP - 14}" font-size="11" text-anchor="middle"'
        yield f"<text {place}>{name}</text>"
        yield f'<path class="line" d="M{left:g} {TOP}v{ROW * rows}"/>'


def _row(matrix: Matrix, name: str, top: int, places: Places) -> Iterator[str]:
    """One compute platform: its name, its GPUs, and a bar or a mark for each run of releases."""
    known = matrix.compute_platforms[name]
    kind = PYPI if name == PYPI else known.accelerator
    yield f'<text x="12" y="{top + 13}" font-weight="600">{escape(known.name, quote=False)}</text>'
    yield f'<text class="small" x="12" y="{top + 25}" font-size="11">{label(matrix, name)}</text>'
    for look, group in groupby(places, lambda torch: cell(matrix, torch, name)):
        for left, right in _runs([places[torch] for torch in group]):
            if look == ASKED:
                place = f'x="{(left + right) / 2:g}" y="{top + 20}" text-anchor="middle"'
                yield f'<text class="small" {place}>?</text>'
            elif look:
                yield _bar(left, right, top, kind, look)


def _runs(places: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """From where to where releases lie side by side: a gap ends a run."""
    start, end = places[0][0], sum(places[0])
    for left, wide in places[1:]:
        if left > end + 1:
            yield start, end
            start = left
        end = left + wide
    yield start, end


def _bar(left: float, right: float, top: int, kind: str, look: str) -> str:
    place = f'x="{left + 1.5:.1f}" y="{top + 8}" width="{right - left - 3:.1f}" height="{ROW - 16}"'
    return f'<rect class="{kind} {look}" {place} rx="3"/>'


def _legend(top: int) -> Iterator[str]:
    """What the looks of a cell mean."""
    yield _bar(10, 40, top + 3, "cpu", BOTH)
    yield f'<text x="46" y="{top + 22}" font-size="12">Linux and Windows</text>'
    yield _bar(186, 216, top + 3, "cpu", LINUX)
    yield f'<text x="222" y="{top + 22}" font-size="12">Linux only</text>'
    yield f'<text class="small" x="316" y="{top + 22}">?</text>'
    yield f'<text x="328" y="{top + 22}" font-size="12">{UNKNOWN}: not a no</text>'
    notes = (
        "A series is as wide as any other, and divided among its releases.",
        "GPUs are those of the newest release, on Linux.",
    )
    for line, note in enumerate(notes):
        yield f'<text class="small" x="12" y="{top + 46 + 16 * line}" font-size="11">{note}</text>'
