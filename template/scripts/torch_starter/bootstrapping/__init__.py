"""The bootstrap: from a bare machine to a passing smoke test.

    command        the command line, and the order of the steps
    environment    .venv: whether it is what it should be, how it is made, its stamp; the managers
    machine_build  --compute-platform: which build .venv gets, why, and how it is installed
    runner         runs the children, one bootstrap at a time; what a manager's failure means
    project        what scripts/torch_builds.json asks for, and what a wheelhouse must have
    system         its Pythons, what to type here, and what can get in the way
    places         places of this project, and what a run says

Each uses only those below it, and only the standard library of Python 3.10.
"""
