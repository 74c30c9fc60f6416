"""Faults of `import torch` that macOS and Windows tell, and ways in which a process ends."""

from __future__ import annotations

from scripts.import_helpers import raises
from scripts.injections import RECREATE, SEND, Injection, dies

MAC = "dlopen(/x/torch/_C.cpython-312-darwin.so, 0x0002): "
INTEL = f"{MAC}tried: '/x' (mach-o file, but is an incompatible architecture (have 'x86_64', need "
INTEL += "'arm64'))"
QUARANTINE = f"{MAC}code signature in <1-2> '/x/libc10.dylib' not valid for use in process: "
QUARANTINE += "library load disallowed by system policy"

FAULTS: list[Injection] = [
    # --- macOS and Windows
    raises(
        "macOS: a library is missing",
        "TORCH-IMPORT",
        RECREATE,
        "is needed, and missing: ",
        f"ImportError: {MAC}Library not loaded: @rpath/libc10.dylib",
    ),
    raises(
        "macOS: torch is for Intel's processors",
        "TORCH-IMPORT",
        "Install a Python for this processor",
        "This Python is for arm64, but what it loads is for x86_64: ",
        f"ImportError: {INTEL}",
    ),
    raises(
        "macOS: a library that it does not trust",
        "TORCH-IMPORT",
        "`xattr -dr com.apple.quarantine .venv`",
        "macOS does not let this Python load the library",
        f"ImportError: {QUARANTINE}",
    ),
    *(
        raises(
            f"Windows: WinError {number}",
            "TORCH-IMPORT",
            remedy,
            f"[WinError {number}]",
            f"OSError: [WinError {number}] in the user's language. Error loading c10.dll",
        )
        for number, remedy in (
            (126, "vc_redist.x64.exe"),
            (127, "take its folder out of PATH."),
            (193, RECREATE),
            (1114, "vc_redist.x64.exe"),
            (1455, "page file's size"),
            (4551, "Ask the administrator to allow the project's .venv"),
            (5, "Let the virus scanner leave .venv alone"),
            (32, "End other Pythons and editors"),
            (206, "shorter folder"),
        )
    ),
    raises(
        "Windows: a DLL that lacks a function, in English",
        "TORCH-IMPORT",
        "take its folder out of PATH.",
        "A DLL is of another version",
        "ImportError: DLL load failed while importing _C: The specified procedure could not be "
        "found.",
    ),
    # --- how the process ended
    dies(
        "the system ends `import torch` for want of memory",
        "TORCH-IMPORT",
        "Close other programs",
        "import os; os.kill(os.getpid(), 9)",
        "The system ended it by force, as it does where memory is short: PyTorch crashed (Killed)",
    ),
    dies(
        "an instruction that the processor lacks",
        "TORCH-IMPORT",
        SEND,
        "import os; os.kill(os.getpid(), 4)",
        "The processor lacks an instruction that torch's code uses: PyTorch crashed (Illegal instr",
    ),
    dies(
        "a file that is read as memory is cut short",
        "TORCH-IMPORT",
        "df -h",
        "import os; os.kill(os.getpid(), 7)",
        "A file that is read as memory is cut short",
    ),
    dies(
        "a signal that says nothing of its cause",
        "TORCH-IMPORT",
        SEND,
        "import os; os.kill(os.getpid(), 8)",
        "PyTorch crashed (Floating point exception)",
    ),
]
