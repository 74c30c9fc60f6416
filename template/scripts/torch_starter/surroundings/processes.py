"""What Windows offers for the end of processes."""

from __future__ import annotations

import sys


def end_children_with_this_process() -> None:
    """On Windows, one job does for all: it ends with the process that holds it, as this one does.

    On other systems each child is started so that it ends by itself.
    """
    if sys.platform == "win32":
        import ctypes

        kernel32, number = ctypes.WinDLL("kernel32"), ctypes.c_void_p
        kernel32.CreateJobObjectW.restype = kernel32.GetCurrentProcess.restype = number
        job = number(kernel32.CreateJobObjectW(None, None))
        # JOBOBJECT_EXTENDED_LIMIT_INFORMATION with JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
        limits = bytes(16) + (0x2000).to_bytes(4, "little") + bytes(124)
        kernel32.SetInformationJobObject(job, 9, limits, len(limits))
        kernel32.AssignProcessToJobObject(job, number(kernel32.GetCurrentProcess()))
