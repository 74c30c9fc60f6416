#!/usr/bin/env python3
"""Check that PyTorch works on this machine, and say what to do where it does not.

    .venv/bin/python scripts/gpu_smoke_test.py [--device cuda] [--level full] [--only ID]

Exit codes: 0 all passed (warnings allowed), 1 a check failed, 2 wrong usage or no readable
torch_builds.json, 3 the asked-for device cannot be used, 4 PyTorch or the driver crashed or hung,
5 there was a warning, with --strict.

The checks are in torch_starter/gpu_smoke.
"""

import os
import sys

if sys.version_info < (3, 10):  # noqa: UP036 - a system's own Python may be older
    sys.exit("This is Python %d.%d, PyTorch needs 3.10 or newer." % sys.version_info[:2])  # noqa: UP031


def main() -> None:
    """Load torch_starter/gpu_smoke, and hand over."""
    import importlib.util
    from pathlib import Path

    folder = Path(__file__).resolve().with_name("torch_starter")
    incomplete = (FileNotFoundError, ImportError)  # by its name: formatters differ about it
    try:
        for name in ("surroundings", "gpu_smoke"):
            spec = importlib.util.spec_from_file_location(name, folder / name / "__init__.py")
            if not spec or not spec.loader:
                raise ImportError(name)
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        command = importlib.import_module("gpu_smoke.command")
    except incomplete:
        remedy = "-> Type `git checkout HEAD -- scripts/torch_starter`."
        sys.stderr.write(f"scripts/torch_starter is missing or incomplete.\n{remedy}\n")
        sys.exit(2)

    command.main(str(__doc__).partition("\n")[0])


if __name__ == "__main__":
    # Python looks beside this file first, where a random.py of the user's may lie: a check's to
    # find, but not to import.
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        del sys.path[0]
    # Nor from a folder of PYTHONPATH: Python's own come first here, in their order.
    library = os.__file__.rpartition(os.sep)[0]  # pathlib may be one of those
    sys.path.sort(key=lambda one: "-packages" in one or not one.startswith(library))
    try:
        main()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)
