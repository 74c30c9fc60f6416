"""Gives Copier's Jinja environment what copier.yml and the templates call: `torch_template/`.

`copier update` loads the old and the new version of this template into one process, where an
ordinary import would find the one that came first. So each version is a package of its own name,
made from its content: an update's several clones of one version share it.
"""

from __future__ import annotations

import hashlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from jinja2 import Environment
from jinja2.ext import Extension

PACKAGE = Path(__file__).with_name("torch_template")


def load(folder: Path) -> ModuleType:
    """Import the package in a folder, or return it if the same content was imported before."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.*")):
        if path.suffix in (".py", ".yml"):
            digest.update(path.read_bytes())
    name = f"{folder.name}_{digest.hexdigest()[:16]}"
    if name not in sys.modules:
        file = folder / "__init__.py"
        spec = spec_from_file_location(name, file, submodule_search_locations=[str(folder)])
        if not spec or not spec.loader:
            raise ImportError(f"{file} cannot be imported")
        sys.modules[name] = module_from_spec(spec)
        keep, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a clone is thrown away
        try:
            spec.loader.exec_module(sys.modules[name])
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
        load(PACKAGE).register(environment, PACKAGE.parents[1])
