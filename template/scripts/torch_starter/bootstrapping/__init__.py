"""The bootstrap: from a bare machine to a passing smoke test.

    command        the command line, and the order of the steps
    fallback       --fallback: PyPI's own wheels in the place of a build whose index does not answer
    environment    .venv: whether it is what it should be, and how it is made
    installation   fills .venv, with a network and without
    pylock_install installs what a lock file in locks/ says, each file by its hash
    pylocks        the lock files in locks/: whether they do, and how they are made
    pylock_check   whether what uv has locked is what was asked for
    lock_project   what uv is shown for that: the same packages, beside another build
    machine_build  --compute-platform: installs a build that is not locked, for one machine alone
    locking        the manager's own lock file: whether it does, and how it is made
    managers       where uv and Poetry are
    runner         runs the children, one bootstrap at a time
    failures       what a failure of a child means, and what to do about it
    conflicts      dependencies that ask for another torch, or for another index of it
    choice         --compute-platform: which build .venv gets, and why
    fit            whether the wheels fit this machine
    index          whether the index of a build answers
    settings       settings of this machine that decide what a manager may install
    contents       what is in .venv: its stamp, its packages; the old one, until a new one is whole
    requirements   what is installed beside torch, as lines of a requirements file
    wheelhouse     no network: what the managers are told and lack, how to fill a wheelhouse
    project        what scripts/torch_builds.json asks for
    system         what to type here, what a Python says about itself, what can get in the way
    downloads      downloads that arrive spoilt
    said           what a manager itself says of a failure, and what the build of a package printed
    system_errors  what an error number of the system means
    places         places of this project, and what a run says

Each uses only those below it, and only the standard library of Python 3.10.
"""
