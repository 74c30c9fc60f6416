"""The bootstrap: from a bare machine to a passing smoke test.

    command      the command line, and the order of the steps
    environment  .venv: whether it is what it should be, how it is made, its stamp
    managers     uv, Poetry and pip: found or fetched, locking and installing
    runner       runs the children, and lets only one bootstrap at a time change anything
    advice       what a manager's failure means
    project      what scripts/torch_builds.json asks for
    pythons      what a Python says about itself, and which one makes .venv
    places       places of this project, and words that all share

Each uses only those below it, and only the standard library of Python 3.10.
"""
