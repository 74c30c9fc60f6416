"""The smoke test: says whether PyTorch works on this machine, and what to do where it does not.

A check is a function with an id. It returns a Check, or None where it does not apply. To find one,
search this folder for its id; to add one, write such a function beside its like:

    environment_checks  this Python, settings, memory, paths         \\
    package_checks      whether packages go together with torch       > without torch:
    driver_checks       drivers and their GPUs                       /  a function of a Machine
    device_checks       whether torch can use the device             \\
    torch_checks        numbers, training, libraries                  \\ in a child process, with
    companion_checks    torchaudio and torchcodec, if asked for        > torch: a function of a Job
    full_checks         what only `--level full` looks at             /
    speed_checks        how fast it is, for `--level full` as well   /

What they ask is in machine.py, with the project's builds of builds.py, in driver_facts.py, and,
of installed packages, in metadata.py.

What it says belongs into surroundings/causes/, the messages by which people find its id into
surroundings/symptoms.ini; catalogue.py reads both for `--explain`. The checks are carried out in
the order of their files, and the files in the order that command.py names. What they come to is a
Result: report.py shows it to people, bug_report.py to those who mend it (without what redaction.py
takes out), command.py names all other forms.
"""
