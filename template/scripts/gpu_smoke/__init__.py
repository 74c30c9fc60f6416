"""The smoke test: says whether PyTorch works on this machine, and what to do where it does not.

A check is a function with an id. It returns a Check, or None where it does not apply. To find one,
search this folder for its id; to add one, write such a function beside its like:

    python_checks   this Python and its packages  \\
    system_checks   settings, memory, paths        > without torch: a function of a Machine
    driver_checks   drivers and their GPUs        /
    device_checks   \\
    torch_checks     > in a child process, with torch: a function of a Job
    full_checks     /
    process_checks  \\ the same; these and full_checks are for `--level full` only
    speed_checks    /

Its id, with symptom, cause and remedy, belongs into catalogue.py. The checks are carried out in the
order of their files, and the files in the order that command.py names. What they come to is a
Result: report.py shows it to people, outputs.py names all other forms.
"""
