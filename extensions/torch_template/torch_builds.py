"""Writes scripts/torch_builds.json, the data file of a project's plain scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .build import Build
from .managers.lines import index_url


def torch_builds(
    build: Build,
    same_release: Sequence[Build],
    alternatives: Sequence[Build],
    pythons: Sequence[str],
    base: str,
) -> str:
    """The text of scripts/torch_builds.json, the data file of the plain scripts.

    `builds` has the project's own build, and those that one machine can have instead of it.
    `alternatives` has what the project would get if it moved: it may be of another release.
    `pythons` are the minors for which it would get the same release as now.
    """
    name = build.asked.compute_platform
    data = {
        "schema": 1,
        "package_manager": build.asked.manager,
        "python": build.asked.python,
        "pythons": list(pythons),
        "requires_python": ",".join(
            [f"=={build.asked.python}.*", *(f"!={version}" for version in build.python_excluded)]
        ),
        "compute_platform": name,
        "packages": list(build.versions),
        "builds": {
            other.asked.compute_platform: {
                "label": other.name,
                "release": other.torch,
                "index_url": index_url(other, base),
                "windows_path": other.windows_path,
                "extra_packages": [*other.index_only, *other.nvidia_pins],
                "platforms": {
                    platform: asdict(wheels) for platform, wheels in other.wheels.items()
                },
            }
            for other in (build, *same_release)
        },
        "alternatives": {
            other.asked.compute_platform: {
                "label": other.name,
                "release": other.torch,
                "platforms": {
                    platform: _reach(wheels) for platform, wheels in other.wheels.items()
                },
            }
            for other in alternatives
        },
    }
    return _json(data)


def _reach(wheels: Any) -> dict[str, Any]:  # noqa: ANN401
    """What decides whether a build suits a machine."""
    keys = ("accelerator", "minimum_driver", "gpu_architectures", "ptx")
    return {key: getattr(wheels, key) for key in keys}


def _json(value: object, margin: str = "\n") -> str:
    """JSON for people: a line for each platform of a build, and for each list."""
    if not isinstance(value, dict) or "accelerator" in value or not value:
        return json.dumps(value)
    inner = margin + "  "
    rows = (f"{json.dumps(key)}: {_json(part, inner)}" for key, part in value.items())
    return f"{{{inner}{f',{inner}'.join(rows)}{margin}}}"
