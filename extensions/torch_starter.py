"""Gives Copier's Jinja environment what copier.yml and the templates call: `torch_template/`.

`copier update` loads the old and the new version of this template into one process, where an
ordinary import would find the one that came first. So each version is a package of its own name,
made from the content of this folder and of copier.yml: an update's several clones of one version
share it, with all that was compiled for them.
"""

from __future__ import annotations

import hashlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from jinja2 import Environment
from jinja2.ext import Extension

TEMPLATE = Path(__file__).parents[1]


def digest(template: Path) -> str:
    """A hash of all that decides what this template's environments do, by name and content."""
    found = hashlib.sha256((template / "copier.yml").read_bytes())
    for path in sorted((template / "extensions").rglob("*")):
        if path.is_file() and path.parent.name != "__pycache__":
            found.update(f"{path.relative_to(template).as_posix()}\0".encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:16]


def load(template: Path) -> ModuleType:
    """Import a template's package, or return it if the same content was imported before."""
    folder = template / "extensions" / "torch_template"
    name = f"{folder.name}_{digest(template)}"
    if name in sys.modules:
        sys.modules[name].__path__ = [str(folder)]  # the clone that it came from may be gone
        return sys.modules[name]
    file = folder / "__init__.py"
    spec = spec_from_file_location(name, file, submodule_search_locations=[str(folder)])
    if not spec or not spec.loader:
        raise ImportError(f"{file} cannot be imported")
    sys.modules[name] = module_from_spec(spec)
    keep, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a clone is thrown away
    try:
        spec.loader.exec_module(sys.modules[name])
        sys.modules[name].read_facts()
    except BaseException:
        for loaded in [one for one in sys.modules if one.partition(".")[0] == name]:
            del sys.modules[loaded]
        raise
    finally:
        sys.dont_write_bytecode = keep
    return sys.modules[name]


class TorchStarterExtension(Extension):
    """Registers this version's globals and filters."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        load(TEMPLATE).register(environment, TEMPLATE)
