"""Run the real Poetry, with PyPI's place taken by the loopback index.

Only the default address of `PyPiRepository` changes. Poetry has no setting for it. With
LOOPBACK_LOCK_FOR_ANY_PYTHON, `poetry lock` also skips its check that the running Python is one that
the project allows: what it locks comes from `requires-python` alone.
"""

import os
import sys
from pathlib import Path

from poetry.console.application import main
from poetry.repositories.pypi_repository import PyPiRepository
from poetry.utils.env import EnvManager, SystemEnv


def running_python(*_: object, **__: object) -> SystemEnv:
    """Stand in for the virtual environment that a lock does not need."""
    return SystemEnv(Path(sys.prefix))


if len(PyPiRepository.__init__.__defaults__ or ()) != 1:
    sys.exit(
        "PyPiRepository has other defaults than its url: adapt tests/install/loopback_poetry.py"
    )
PyPiRepository.__init__.__defaults__ = (os.environ["LOOPBACK_PYPI_URL"] + "/",)
if "LOOPBACK_LOCK_FOR_ANY_PYTHON" in os.environ:
    EnvManager.create_venv = running_python  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
