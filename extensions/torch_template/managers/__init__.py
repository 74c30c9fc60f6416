"""The package managers, in the order of the menu: one module for each."""

from __future__ import annotations

from . import pip, poetry, uv

MANAGERS = {"uv": uv.MANAGER, "poetry": poetry.MANAGER, "pip": pip.MANAGER}
