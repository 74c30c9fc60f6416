"""A build backend, served in place of hatchling and poetry-core: enough to install a project.

It knows PEP 621 metadata and the src layout. What the real backends check, it does not check.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def _project() -> dict[str, Any]:
    with Path("pyproject.toml").open("rb") as file:
        project: dict[str, Any] = tomllib.load(file)["project"]
    return project


def _metadata(project: dict[str, Any]) -> str:
    fields = [f"Name: {project['name']}", f"Version: {project['version']}"]
    if "requires-python" in project:
        fields.append(f"Requires-Python: {project['requires-python']}")
    fields += [f"Requires-Dist: {text}" for text in project.get("dependencies", [])]
    return "\n".join(["Metadata-Version: 2.1", *fields, ""])


def _build(directory: str, members: dict[str, str]) -> str:
    project = _project()
    stem = f"{project['name'].replace('-', '_').replace('.', '_')}-{project['version']}"
    wheel = "Wheel-Version: 1.0\nGenerator: stub\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members[f"{stem}.dist-info/METADATA"] = _metadata(project)
    members[f"{stem}.dist-info/WHEEL"] = wheel
    record = f"{stem}.dist-info/RECORD"
    members[record] = "".join(f"{name},,\n" for name in [*members, record])
    filename = f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(Path(directory) / filename, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return filename


def build_wheel(
    wheel_directory: str, config_settings: object = None, metadata_directory: object = None
) -> str:
    """Build the project (PEP 517)."""
    source = Path("src")
    files = [path for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    members = {
        path.relative_to(source).as_posix(): path.read_text(encoding="utf-8") for path in files
    }
    return _build(wheel_directory, members)


def get_requires_for_build_editable(config_settings: object = None) -> list[str]:
    """What the real one asks for before it builds an editable wheel (PEP 660)."""
    return ["editables~=0.3"] if __name__.startswith("hatchling") else []


def build_editable(
    wheel_directory: str, config_settings: object = None, metadata_directory: object = None
) -> str:
    """Build a wheel that points at src (PEP 660)."""
    return _build(wheel_directory, {"_editable.pth": f"{Path('src').resolve()}\n"})


def build_sdist(sdist_directory: str, config_settings: object = None) -> str:
    """Refuse: no test needs an sdist."""
    raise NotImplementedError
