#!/usr/bin/env python3
"""Set this project up: find its Python, make .venv, install, run the smoke test.

Run it through ``sh bootstrap.sh`` or ``bootstrap.cmd``, as often as you like: what is done is not
done again. It writes only to .venv, .tools and the lock file.

Exit codes: 0 done; 2 it cannot be done as asked (options, torch_builds.json, no wheels for this
system, another run at work) and nothing was changed; 3 no fitting Python; 4 .venv could not be
made; 5 locking or installing failed; 6 the smoke test failed.
"""

import sys

# 3.6 to 3.9 can read this file, and get this far.
if sys.version_info < (3, 10):  # noqa: UP036
    sys.stderr.write("bootstrap: this needs Python 3.10 or newer.\nRun sh bootstrap.sh instead.\n")
    sys.exit(3)


def main() -> None:
    """Load bootstrapping and what it uses from beside this file, and hand over."""
    import importlib.util
    import os
    from pathlib import Path

    here = Path(os.path.abspath(__file__)).parent  # a mapped drive stays one
    try:
        for name in ("surroundings", "bootstrapping"):
            spec = importlib.util.spec_from_file_location(name, here / name / "__init__.py")
            if not spec or not spec.loader:
                raise ImportError(name)
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])

        from bootstrapping.command import main as run
    except (FileNotFoundError, ImportError):
        remedy = "Restore it: git checkout HEAD -- scripts/torch_starter"
        sys.stderr.write(f"bootstrap: scripts/torch_starter is missing or incomplete.\n{remedy}\n")
        sys.exit(2)

    sys.exit(run(str(__doc__)))


if __name__ == "__main__":
    # Python looks beside this file first, where a random.py of the user's may lie.
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        del sys.path[0]
    sys.dont_write_bytecode = True  # a dry run changes nothing
    try:
        main()
    except KeyboardInterrupt:  # before there is anything to end
        sys.stderr.write("bootstrap: Interrupted.\n")
        sys.exit(130)
