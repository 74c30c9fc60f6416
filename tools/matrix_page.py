"""The matrix for people: what docs/matrix.md says."""

from __future__ import annotations

import matrix_tables as tables
from torch_template.matrix.model import Matrix

EXAMPLE = """import json
from pathlib import Path

matrix = json.loads(Path("docs/matrix.json").read_text(encoding="utf-8"))
for build in matrix["builds"]:
    wanted = (build["compute_platform"], build["system"]) == ("cu130", "windows-amd64")
    if wanted and "3.13" in build["pythons"]:
        beside = [one for one in build["companions"] if "3.13" in one["pythons"]]
        vision = [one["version"] for one in beside if one["name"] == "torchvision"]
        print(build["version"], *vision, "driver", build["nvidia_driver"], build["confidence"])
"""
HEAD = """# The version matrix

Which wheels PyTorch has published, what they need and what goes beside them, as of {reviewed}. This
page, its picture and [matrix.json](matrix.json) are made from
[version_matrix.yml](../extensions/torch_template/matrix/version_matrix.yml) by
`python tools/matrix_docs.py`; a test keeps them equal.

![Which compute platform is in which release of torch; the tables below say the same](matrix.svg)

| what you see | what it means |
| --- | --- |
| **L**, **A**, **W**, **M** | Linux x86_64, Linux aarch64, Windows, macOS on Apple silicon |
| `-` | there is none, or none is needed |
| *not established* | nobody has looked, or nobody could: it is not a no |
| *verified* | seen in primary data, or in two independent sources |
| *one source* | one secondary source says so |
| *inferred* | reasoned from its neighbours, not seen |
| words such as `KR` | [sources](#sources) |

On macOS every project takes PyPI's wheel, whatever its compute platform.

"""
FOR_PROGRAMS = """## For programs

[`docs/matrix.json`](matrix.json) has the same facts, and a row for each torch wheel;
[`docs/matrix.schema.json`](matrix.schema.json) describes every key. Take both from a tag, or keep a
copy: `schema` names the version of the format, and within `matrix/1` keys may be added, but none is
renamed or removed. `reviewed` is the day on which somebody last compared the facts with what is
published.

A combination without a row is not published, or its release names it in `left_out`. Where `index`
or `pypi` of a release is `not established`, no row means nothing; the same holds for a companion in
`companions_not_established`.

Which torch has `cu130` wheels for Python 3.13 on Windows, which torchvision goes with it, and which
driver does it need?

```python
{example}```

"""
LEADS = {
    "Compute platforms": """\
The newest torch for each, the Pythons that can have the platform at all, the systems of that torch,
the least NVIDIA driver (Linux / Windows), and the GPUs that its binaries are built for.""",
    "Releases": """\
What the PyTorch index has, by compute platform, and what PyPI's own wheel is built for. The
companions are the newest that work with the release; which compute platforms have their wheels is
told [below](#companions).""",
    "Companions": """\
With which torch a release of a companion works, and where its wheels are. *As torch* is: for the
same Pythons, compute platforms and systems as the torch beside it. Of PyPI's wheels `any` are those
without code for a GPU, which go with every build. What is not here is *not established*.""",
    "Python": "Which releases of torch have wheels for a Python, on some system at least.",
    "NVIDIA drivers": """\
The least driver for every toolkit of a CUDA major version. Which driver ROCm or XPU needs is *not
established*.""",
    "CUDA toolkits": """\
The driver that NVIDIA ships with a toolkit. It is newer than the least one above, or the same.""",
    "GPUs": """\
The compute capabilities that the binaries of a compute platform carry code for. A GPU runs code for
its own capability, or for a lower minor of the same major; PTX is for newer ones. What is not here
is *not established*: so are all of ROCm and XPU.""",
    "GPU generations": "By compute capability.",
    "What else a build needs": "Why projects say more than `torch==`, and how long a path may be.",
    "Published, and not offered": "What exists, and no project can have.",
    "Sources": "What was read.",
}


def page(matrix: Matrix) -> str:
    """The whole page."""
    shown = {
        "Compute platforms": tables.compute_platforms,
        "Releases": tables.releases,
        "Companions": tables.companions,
        "Python": tables.pythons,
        "NVIDIA drivers": tables.drivers,
        "CUDA toolkits": tables.toolkits,
        "GPUs": tables.architectures,
        "GPU generations": tables.gpu_generations,
        "What else a build needs": tables.rest,
        "Published, and not offered": tables.left_out,
        "Sources": tables.sources,
    }
    parts = [f"## {title}\n\n{LEADS[title]}\n\n{make(matrix)}\n" for title, make in shown.items()]
    head = HEAD.format(reviewed=matrix.reviewed) + "\n".join(parts)
    return head + "\n" + FOR_PROGRAMS.format(example=EXAMPLE).rstrip() + "\n"
