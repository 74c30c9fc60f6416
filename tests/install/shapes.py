"""Hand-written projects in the shapes that are known to work: for the tests of the index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from render.projects import PYTHON

NOT_MAC = "sys_platform != 'darwin'"
MAC = "sys_platform == 'darwin'"
MARKERS = {
    "linux-x86_64": "sys_platform == 'linux' and platform_machine == 'x86_64'",
    "linux-aarch64": "sys_platform == 'linux' and platform_machine == 'aarch64'",
    "windows-amd64": "sys_platform == 'win32' and platform_machine == 'AMD64'",
    "macos-arm64": "sys_platform == 'darwin' and platform_machine == 'arm64'",
}
EVERYWHERE = tuple(MARKERS)


def head(dependencies: Sequence[str], python: str) -> str:
    """Return the [project] table."""
    return (
        '[project]\nname = "demo"\nversion = "0.1.0"\n'
        f'requires-python = "{requires_python(python)}"\n'
        f"dependencies = {json.dumps(dependencies)}\n"
    )


def requires_python(python: str) -> str:
    """Return the one Python minor; torchvision does not want 3.14.1 (Poetry insists, uv not)."""
    return f"=={python}.*" + (",!=3.14.1" if python == "3.14" else "")


def write(folder: Path, text: str) -> Path:
    """Write pyproject.toml and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return folder


def uv_project(
    folder: Path,
    url: str | None,
    dependencies: Sequence[str],
    *,
    sources: Mapping[str, str] | None = None,
    platforms: Sequence[str] = EVERYWHERE,
    explicit: bool = True,
    python: str = PYTHON,
) -> Path:
    """Write a uv project: an explicit index, and a row for each package that comes from it."""
    if sources is None:
        sources = dict.fromkeys(("torch", "torchvision"), NOT_MAC)
    environments = json.dumps([MARKERS[platform] for platform in platforms])
    text = head(dependencies, python) + "[tool.uv]\npackage = false\n"
    text += f"environments = {environments}\nrequired-environments = {environments}\n"
    text += "[tool.uv.sources]\n" * bool(sources)
    for package, marker in sources.items():
        text += f'{package} = [{{ index = "pytorch", marker = "{marker}" }}]\n'
    if url:
        text += f'[[tool.uv.index]]\nname = "pytorch"\nurl = "{url}"\n'
        text += "explicit = true\n" * explicit
    return write(folder, text)


def poetry_project(
    folder: Path,
    url: str,
    dependencies: Sequence[str],
    rows: Mapping[str, Sequence[tuple[str | None, str, str]]] | None = None,
    *,
    python: str = PYTHON,
) -> Path:
    """Write a Poetry project: rows of (version or None, source, marker) for each package."""
    if rows is None:
        pair = ((None, "pytorch", NOT_MAC), (None, "PyPI", MAC))
        rows = dict.fromkeys(("torch", "torchvision"), pair)
    text = head(dependencies, python) + "[tool.poetry]\npackage-mode = false\n"
    text += "[tool.poetry.dependencies]\n"
    for package, entries in rows.items():
        tables = []
        for version, source, marker in entries:
            fields = [f'version = "{version}"'] * bool(version)
            fields += [f'source = "{source}"', f'markers = "{marker}"']
            tables.append(f"{{ {', '.join(fields)} }}")
        text += f"{package} = [{', '.join(tables)}]\n"
    text += '[[tool.poetry.source]]\nname = "PyPI"\npriority = "primary"\n'
    text += f'[[tool.poetry.source]]\nname = "pytorch"\nurl = "{url}"\npriority = "explicit"\n'
    return write(folder, text)
