"""The bootstrap: from a bare machine to a passing smoke test.

    command        the command line, and the order of the steps
    choice         --compute-platform: which build .venv gets, and why
    environment    .venv: whether it is what it should be, how it is made, its stamp
    offline        installing without a network
    managers       uv, Poetry and pip: found or fetched, locking and installing
    machine_build  installs a build that is not the project's own
    runner         runs the children, and lets only one bootstrap at a time change anything
    wheelhouse     what a machine without a network lacks, and how to fill a wheelhouse
    advice         what a manager's failure means
    project        what scripts/torch_builds.json asks for
    pythons        what a Python says about itself, and which one makes .venv
    surroundings   what is around the project and can get in the way
    systems        what differs between systems: how to install a Python, to activate .venv
    progress       what a run says while it works
    places         places of this project, and words that all share

Each uses only those below it, and only the standard library of Python 3.10.
"""
