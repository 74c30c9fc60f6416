"""Where this runs, and what is known of what goes wrong there: what both others use.

    place        what kind of machine this is: bare, WSL, which container, which scheduler, ...
    system       which system, and how to install a program there
    linux        what decides on Linux whether a GPU can be used, for a bug report
    knowledge    looks up causes/ and codes.ini
    versions     versions and names of packages, as they are compared
    processes    lets the children of this process end with it, on Windows

packages.ini has what to install for a program or library, by system.
causes/ has every cause: what is wrong, and what to do about it in which place. codes.ini has the
codes and words of drivers, libraries and systems, each with the cause that it is a sign of;
symptoms.ini the messages by which people find an id of the smoke test.
"""
