"""How many bytes CI downloads, with PyPI's build of torch for Linux and with the one for the CPU.

    python benchmarks/ci_bytes.py [--torch 2.13] [--cpu-wheels FOLDER]

Nothing is downloaded but metadata. What a project with its tools needs is what uv locks on the
registry, for Linux on x86_64 and the running Python, and the sizes are the registry's. The CPU
wheel is as large as the file in --cpu-wheels, or as the PyTorch index says; where neither has it,
that is not known.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "extensions"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import requests
import tomlkit
from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from render.projects import render

INDEX = "https://download.pytorch.org/whl/cpu"
LINUX = {
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_system": "Linux",
    "sys_platform": "linux",
}
GLIBCS = range(28, 4, -1)
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in GLIBCS]
PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]
# What only a build for a GPU needs.
OF_CUDA = ("nvidia-", "cuda-", "triton")
MB = 1_000_000


def tags() -> list[Tag]:
    """Those of the running Python on Linux, the best first."""
    python = sys.version_info[:2]
    interpreter = f"cp{python[0]}{python[1]}"
    return [
        *cpython_tags(python, platforms=PLATFORMS),
        *compatible_tags(python, interpreter, PLATFORMS),
    ]


def locked(folder: Path, torch: str) -> Iterator[dict[str, Any]]:
    """The packages that Linux gets of a project with PyPI's build, as a pylock.toml has them."""
    project = render(
        folder, compute_platform="pypi", torch_version=torch, torch_packages=[], starter="package"
    )
    export = ("export", "--quiet", "--format", "pylock.toml", "--no-emit-project")
    uv = [sys.executable, "-m", "uv", *export, "--output-file", "pylock.toml"]
    subprocess.run(uv, cwd=project, check=True)
    said = tomlkit.parse((project / "pylock.toml").read_text("utf-8")).unwrap()
    for package in said["packages"]:
        if "marker" not in package or Marker(package["marker"]).evaluate(LINUX):
            yield package


def size(package: dict[str, Any], wanted: list[Tag]) -> int:
    """The bytes of the wheel that fits best."""
    found: dict[Tag, int] = {}
    for wheel in package["wheels"]:
        name = wheel.get("name") or wheel["url"].rpartition("/")[2]
        found |= dict.fromkeys(parse_wheel_filename(name)[3], wheel["size"])
    return next(found[tag] for tag in wanted if tag in found)


def size_on_cpu(version: str, folder: Path | None) -> int | None:
    """The bytes of torch's wheel for the CPU; None where they are not known."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    name = f"torch-{version}+cpu-{python}-{python}-manylinux_2_28_x86_64.whl"
    if folder and (folder / name).is_file():
        return (folder / name).stat().st_size
    url = f"{INDEX}/{name.replace('+', '%2B')}"
    try:
        said = requests.head(url, timeout=10)
        said.raise_for_status()
    except requests.RequestException:
        return None
    return int(said.headers["Content-Length"])


def row(label: str, usual: int, on_cpu: int | None) -> str:
    """A row of the table."""
    if on_cpu is None:
        return f"| {label} | {usual / MB:.1f} MB | not known | not known |"
    ratio = f"{usual / on_cpu:.1f}" if on_cpu else "-"
    return f"| {label} | {usual / MB:.1f} MB | {on_cpu / MB:.1f} MB | {ratio} |"


def main() -> int:
    """Command line: see the top of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--torch", default="2.13")
    parser.add_argument("--cpu-wheels", type=Path)
    asked = parser.parse_args()
    torch, of_cuda, rest, wanted, version = 0, 0, 0, tags(), ""
    with tempfile.TemporaryDirectory() as folder:
        for package in locked(Path(folder) / "project", asked.torch):
            if package["name"] == "torch":
                torch, version = size(package, wanted), package["version"]
            elif package["name"].startswith(OF_CUDA):
                of_cuda += size(package, wanted)
            else:
                rest += size(package, wanted)
    cpu = size_on_cpu(version, asked.cpu_wheels)
    python = ".".join(map(str, sys.version_info[:2]))
    print(f"torch {version}, Python {python}, Linux on x86_64")
    print(row("torch", torch, cpu))
    print(row("CUDA's libraries, triton", of_cuda, 0))
    print(row("all else, with the tools", rest, rest))
    together = None if cpu is None else cpu + rest
    print(row("**together**", torch + of_cuda + rest, together))
    return 0


if __name__ == "__main__":
    sys.exit(main())
