"""Faults of `import torch`: what the loaders say, what Python says, and whose fault it is."""

from __future__ import annotations

from scripts.import_helpers import (
    STDCPP,
    beside,
    extension,
    from_elsewhere,
    nccl,
    own_stdcpp,
    raises,
    real_file,
)
from scripts.injections import RECREATE, Injection, all_of, file, package, torch_requires
from scripts.smoke_helpers import TORCH

SWITCH = "type `copier update --trust --vcs-ref=:current:`"
GLIBC = "ImportError: /lib64/libm.so.6: version `GLIBC_2.27' not found (required by /x/libtorch.so)"
PLUGIN = "Failed to load the backend extension: torch_npu. You can disable extension auto-loading "
PLUGIN += "with TORCH_DEVICE_BACKEND_AUTOLOAD=0."
STACK = (
    "libtorch_cpu.so: cannot enable executable stack as shared object requires: Invalid argument"
)
TLS = "/x/torch.libs/libgomp-d22c30c5.so.1: cannot allocate memory in static TLS block"
FOR_32_BITS = b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x03\0\x03" + bytes(400)
NPU = """
try:
    raise ImportError("libhccl.so: cannot open shared object file: No such file or directory")
except ImportError as error:
    raise RuntimeError({!r}) from error
"""


FAULTS: list[Injection] = [
    # --- libraries of another version
    raises(
        "a library of torch lacks a symbol, and nobody knows whose it is",
        "TORCH-IMPORT",
        RECREATE,
        "it lacks f: `import torch` ended in ImportError: x.so: undefined symbol: f.",
        "ImportError: x.so: undefined symbol: f",
    ),
    raises(
        "libnvJitLink is of another CUDA, and LD_LIBRARY_PATH names it",
        "TORCH-NVJITLINK",
        "elsewhere out of LD_LIBRARY_PATH",
        "libnvJitLink.so.12 comes before torch's: ",
        "ImportError: libcusparse.so.12: undefined symbol: __nvJitLinkComplete_12_4",
        change=beside("LD_LIBRARY_PATH", "libnvJitLink.so.12"),
    ),
    raises(
        "LD_PRELOAD names another NCCL",
        "LIB-MAPS",
        "`unset LD_PRELOAD`",
        "libnccl.so.2 is loaded, which is not of this environment.",
        "ImportError: libtorch_cuda.so: undefined symbol: ncclCommWindowRegister",
        also=("TORCH-IMPORT",),
        verdict=f"FAIL  torch {TORCH}+cpu, asked for CPU: LIB-MAPS  (",
        change=lambda project: [
            beside("EMPTY", "libnccl.so.2")(project),
            project.env.update(LD_PRELOAD=str(project.root.parent / "elsewhere" / "libnccl.so.2")),
        ],
    ),
    raises(
        "a module of the cluster brings another cuDNN",
        "TORCH-IMPORT",
        "Type `module unload cuDNN/8.9.2-CUDA-12.1`",
        "it lacks cudnnGetErrorString_v9: ",
        "ImportError: libtorch_cuda.so: undefined symbol: cudnnGetErrorString_v9",
        env={"LOADEDMODULES": "GCC/12.3:cuDNN/8.9.2-CUDA-12.1"},
        change=beside("LD_LIBRARY_PATH", "libcudnn.so.8", folder="cudnn-8.9"),
    ),
    raises(
        "MKL 2024.1 beside a torch from before it",
        "TORCH-IMPORT",
        '`conda install "mkl<2024.1"`',
        "MKL 2024.1 no longer has",
        "ImportError: /x/libtorch_cpu.so: undefined symbol: iJIT_NotifyEvent",
    ),
    raises(
        "a stub of libcuda, or an old driver",
        "TORCH-IMPORT",
        "Update the NVIDIA driver",
        "libcuda lacks cuGetProcAddress_v2",
        "ImportError: libcudart.so.12: undefined symbol: cuGetProcAddress_v2",
    ),
    raises(
        "files of two versions of torch are mixed",
        "TORCH-IMPORT",
        RECREATE,
        "Files of two versions of torch are mixed",
        "ImportError: /x/libtorch_python.so: undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocE",
    ),
    raises(
        "an older libstdc++, which LD_LIBRARY_PATH names",
        "TORCH-IMPORT",
        "old out of LD_LIBRARY_PATH",
        "libstdc++.so.6 is older than what needs it: it lacks GLIBCXX_3.4.30: ",
        "ImportError: replaced",
        change=own_stdcpp,
    ),
    raises(
        "the system's own libstdc++ is too old",
        "TORCH-IMPORT",
        "It is the system's own: use a newer system",
        "it lacks GLIBCXX_3.4.30",
        f"ImportError: /usr/lib/x86_64-linux-gnu/libstdc++.so.6: {STDCPP}",
    ),
    raises(
        "a system that is too old for torch",
        "TORCH-IMPORT",
        SWITCH,
        "This system is too old for what is installed: its glibc lacks GLIBC_2.27: ",
        GLIBC,
    ),
    Injection(
        "an NCCL of another version, and LIB-MAPS has nothing to say",
        "PKG-REQUIRES",
        RECREATE,
        "needs nvidia-nccl-cu13==2.29.7, but 2.27.3 is installed.",
        1,
        ("TORCH-IMPORT",),
        build="cu130",
        torch="raise ImportError('libtorch_cuda.so: undefined symbol: ncclCommWindowRegister')",
        driver=True,
        verdict=f"FAIL  torch {TORCH}+cu130, asked for CUDA: PKG-REQUIRES  (",
        change=nccl("2.27.3"),
    ),
    Injection(
        "packages of CUDA 12 and 13, and torch lacks a symbol",
        "PKG-NVMIX",
        RECREATE,
        "Both nvidia-nccl-cu12 and nvidia-nccl-cu13",
        1,
        ("TORCH-IMPORT",),
        build="cu130",
        torch="raise ImportError('libtorch_cuda.so: undefined symbol: ncclCommWindowRegister')",
        driver=True,
        verdict=f"FAIL  torch {TORCH}+cu130, asked for CUDA: PKG-NVMIX  (",
        change=nccl("2.29.7", "nvidia-nccl-cu12"),
    ),
    Injection(
        "a package that torch requires is not installed",
        "PKG-REQUIRES",
        RECREATE,
        "needs nvidia-nccl-cu13==2.29.7, which is not installed.",
        1,
        ("TORCH-IMPORT",),
        build="cu130",
        torch="raise ImportError('libnccl.so.2: cannot open shared object file: No such file')",
        driver=True,
        change=torch_requires("nvidia-nccl-cu13==2.29.7; platform_system == 'Linux'"),
    ),
    # --- files that are no libraries, or may not be loaded
    raises(
        "a library of the system's is missing",
        "TORCH-IMPORT",
        "libgomp",
        "libgomp.so.1 is missing, which is the system's: ",
        "ImportError: libgomp.so.1: cannot open shared object file: No such file or directory",
    ),
    Injection(
        "a library of torch was cut short",
        "TORCH-IMPORT",
        RECREATE,
        "libc10.so is damaged, or no library, as it is empty: ",
        1,
        torch="pass",
        change=real_file("libc10.so", b""),
    ),
    Injection(
        "a library of torch is a pointer of Git LFS",
        "TORCH-IMPORT",
        RECREATE,
        "but a pointer that Git LFS has left in its place: ",
        1,
        torch="pass",
        change=real_file("libc10.so", b"version https://git-lfs.github.com/spec/v1\n" * 40),
    ),
    Injection(
        "a library is for 32 bits",
        "TORCH-IMPORT",
        RECREATE,
        "libc10.so is for another kind of processor: ",
        1,
        torch="pass",
        change=real_file(
            "libc10.so", b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x03\0\x03" + bytes(400)
        ),
    ),
    raises(
        "a library asks for an executable stack, with glibc 2.41",
        "TORCH-IMPORT",
        "/site/torch/lib/libtorch_cpu.so`",
        "asks for an executable stack, which this system refuses",
        f"ImportError: {STACK}",
    ),
    raises(
        "no memory in the static TLS block",
        "TORCH-IMPORT",
        "`export LD_PRELOAD=/x/torch.libs/libgomp-d22c30c5.so.1`",
        "needs memory that is given out at the start alone",
        f"ImportError: {TLS}",
    ),
    Injection(
        "a .venv on a mount from which nothing may be run",
        "TORCH-IMPORT",
        "the project",
        "/var/tmp/venv may not run programs (it is mounted noexec), so no library in it can be ",
        1,
        torch="import ctypes\nctypes.CDLL('/var/tmp/venv/libc10.so')",
        before="mkdir -p /var/tmp/venv; mount -t tmpfs -o noexec tmpfs /var/tmp/venv; cp "
        "$(python3 -c 'import _ctypes; print(_ctypes.__file__)') /var/tmp/venv/libc10.so",
    ),
    Injection(
        "another package is for another torch, and torch lacks a symbol: nothing to do with it",
        "TORCH-IMPORT",
        RECREATE,
        "it lacks f",
        1,
        ("PKG-REQUIRES",),
        torch="raise ImportError('x.so: undefined symbol: f')",
        change=lambda project: package(project, "xformers", "0.0.32", "torch==2.8.0"),
    ),
    raises(
        "a library may not be loaded, though its mount may run programs",
        "TORCH-IMPORT",
        "SELinux, AppArmor or fapolicyd",
        "The system refuses to load",
        "OSError: /x/libtorch_global_deps.so: failed to map segment from shared object",
    ),
    raises(
        "a limit on the address space",
        "TORCH-IMPORT",
        "`ulimit -v",
        "There is not enough memory to load torch's libraries, or a limit forbids it",
        "OSError: /x/libtorch_cpu.so: failed to map segment from shared object: Cannot allocate "
        "memory",
    ),
    # --- Python's own words
    Injection(
        "a plug-in of another package does not load",
        "TORCH-IMPORT",
        "`export TORCH_DEVICE_BACKEND_AUTOLOAD=0`",
        "The package torch_npu, which torch loads by itself, does not load: ImportError: libhccl",
        1,
        torch=NPU.format(PLUGIN),
    ),
    raises(
        "torch's own source code is found, which is not compiled",
        "TORCH-IMPORT",
        RECREATE,
        "/site/torch has no compiled part: ",
        "ModuleNotFoundError: No module named 'torch._C'",
    ),
    Injection(
        "a package that torch imports is missing",
        "TORCH-IMPORT",
        RECREATE,
        "The module typing_extras is needed, and missing: ",
        1,
        torch="import typing_extras",
    ),
    Injection(
        "a package that torch imports is broken",
        "TORCH-IMPORT",
        RECREATE,
        "The package sympy, which is imported here, does not load: ",
        1,
        torch="import sympy",
        change=file("site/sympy/__init__.py", "raise SyntaxError('f-string: expecting }')\n"),
    ),
    raises(
        "no memory", "TORCH-IMPORT", "more memory", "There is not enough memory", "MemoryError: "
    ),
    raises(
        "no room on the disk",
        "TORCH-IMPORT",
        "`df -h`",
        "There is no room left: ",
        "OSError: [Errno 28] No space left on device: '/tmp/x'",
    ),
    raises(
        "files that this user may not read",
        "TORCH-IMPORT",
        "",
        "You may not read or write /x/torch/_C.so: ",
        "PermissionError: [Errno 13] Permission denied: '/x/torch/_C.so'",
    ),
    raises(
        "an error of Python that nobody knows",
        "TORCH-IMPORT",
        RECREATE,
        "`import torch` ended in ValueError: what is this.",
        "ValueError: what is this",
    ),
    # --- another torch, or another NumPy, by a variable
    Injection(
        "PYTHONPATH brings another torch",
        "ENV-VARS",
        "take ",
        "PYTHONPATH brings torch from ",
        3,
        ("TORCH-BUILD",),
        verdict="FAIL  torch 2.6.0+cu124, asked for CPU: ENV-VARS  (",
        change=from_elsewhere("torch", "2.6.0+cu124", ""),
    ),
    Injection(
        "PYTHONPATH brings another torch, which does not load",
        "ENV-VARS",
        "take ",
        "PYTHONPATH brings torch from ",
        3,
        ("TORCH-BUILD", "TORCH-IMPORT"),
        torch="pass",
        verdict="FAIL  torch 2.6.0+cu124, asked for CPU: ENV-VARS  (",
        change=from_elsewhere("torch", "2.6.0+cu124", "raise ImportError('x.so: bad')"),
    ),
    Injection(
        "PYTHONPATH brings another Python's Jinja, which torch imports",
        "ENV-VARS",
        "take ",
        "PYTHONPATH brings jinja2 from ",
        1,
        ("TORCH-IMPORT",),
        torch="import jinja2",
        change=from_elsewhere("jinja2", "2.6", "raise ImportError('no soft_unicode')"),
    ),
    Injection(
        "PYTHONPATH brings a file named as a module of Python's own",
        "ENV-VARS",
        "out of PYTHONPATH, or type `unset PYTHONPATH`; or rename",
        "takes the place of modules of Python's own: dataclasses.",
        1,
        ("TORCH-IMPORT",),
        torch="import dataclasses\ndataclasses.dataclass",
        change=from_elsewhere("dataclasses", "0.8", ""),
    ),
    # --- packages that are compiled for another torch
    Injection(
        "a package that was compiled for another torch",
        "PKG-BUILT",
        "Take a flash-attn that was built for it, or build it again: ",
        "flash-attn 2.8.0 was built for another torch than "
        f"{TORCH}+cpu: its code calls _ZN3c104oldeEv, which that lacks.",
        0,
        change=all_of(
            extension("torch/lib/libc10.so", "void _ZN3c103newEv(void) {}"),
            lambda project: package(project, "flash-attn", "2.8.0", "torch"),
            extension(
                "flash_attn/_C.so",
                "void _ZN3c104oldeEv(void); void _ZN3c103newEv(void);"
                "void f(void) { _ZN3c103newEv(); _ZN3c104oldeEv(); }",
                "flash_attn-2.8.0",
            ),
        ),
    ),
]
