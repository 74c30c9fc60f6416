"""All that the smoke test can find: each id with its symptom, its cause and the usual remedy."""

from __future__ import annotations

from .machine import (
    BOOTSTRAP,
    FAULTY,
    LEVEL_ZERO,
    MPS_FALLBACK,
    NEWER_MACOS,
    ONE_OPENMP,
    OPTION,
    PEER,
    RECREATE,
    REDISTRIBUTABLE,
    SLOW,
    SWITCH,
)

MOVE = f"`{BOOTSTRAP} {OPTION} ...` for this machine, or for the whole project "
MOVE += f"`{SWITCH}`, as the smoke test says."
SLOWED = "Heat, a limit on power, or another's work slows the GPU."
OPTIONAL = "Without a GPU, PyPI's wheels compute on the CPU, which is worth a warning."
WINDOWS_PYPI = "A warning: it cannot use the GPU that is here, as PyPI's for Windows."
NUMBERS = "The GPU, its memory or a library is faulty."

NO_START = "CUDA unknown error - this may be due to an incorrectly set up environment; CUDA driver "
NO_START += "initialization failed; Error 2: out of memory, from cudaGetDeviceCount()"

CATALOGUE = {
    "PY-VERSION": (
        "no wheel of torch installs",
        "This is not the Python that the project is for.",
        RECREATE,
    ),
    "PY-VENV": (
        "it works in one terminal and not in another",
        "Another Python than that of the project's .venv runs.",
        "Type `.venv/bin/python` instead of `python`.",
    ),
    "PY-SHADOW": (
        "module 'torch' has no attribute; partially initialized module",
        "A file of yours is named as torch or as a module of Python.",
        "Rename it.",
    ),
    "TORCH-FOUND": (
        "ModuleNotFoundError: No module named 'torch'",
        "torch is not installed, or not whole.",
        "Type `sh bootstrap.sh`.",
    ),
    "TORCH-BUILD": (
        "AssertionError: Torch not compiled with CUDA enabled",
        f"The installed torch is another build than the project asks for. {WINDOWS_PYPI}",
        RECREATE,
    ),
    "TORCH-DLL": (
        '[WinError 126] Error loading "fbgemm.dll" or one of its dependencies',
        "A DLL that torch needs is missing on Windows, mostly of the Visual C++ runtime.",
        REDISTRIBUTABLE,
    ),
    "PKG-VISION": (
        "operator torchvision::nms does not exist",
        "torchvision, torchaudio or torchcodec is for another torch.",
        RECREATE,
    ),
    "PKG-CUDA": (
        "PyTorch and TorchAudio were compiled with different CUDA versions; "
        "libc10_cuda.so: cannot open shared object file; Could not load this library",
        "torchvision, torchaudio or torchcodec was built for another CUDA than torch, as PyPI's "
        "are beside a torch of the PyTorch index.",
        f"{RECREATE} For one that was added by hand, `{SWITCH}`.",
    ),
    "PKG-REQUIRES": (
        "undefined symbol, after a package was added or updated by hand",
        "A package needs another torch, or torch another version of one of NVIDIA's packages.",
        f"{RECREATE} Take a version of the package that is for this torch.",
    ),
    "PKG-NVMIX": (
        "crashes after torch was up- or downgraded",
        "Packages nvidia-*-cu12 and -cu13 have overwritten each other's files.",
        RECREATE,
    ),
    "ENV-VARS": (
        "CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH; all is slow; no GPU",
        "A variable such as LD_LIBRARY_PATH or KMP_DUPLICATE_LIB_OK is in the way.",
        "Unset it.",
    ),
    "SYS-SHM": (
        "DataLoader worker is killed by signal: Bus error",
        "/dev/shm is small, as in every container that is not told otherwise.",
        "Start the container with `--shm-size=8g`, or use `num_workers=0`.",
    ),
    "SYS-LONGPATH": (
        "[WinError 206] The filename or extension is too long",
        "torch's files have longer paths than Windows allows.",
        "Move the project to a shorter folder, or set LongPathsEnabled to 1.",
    ),
    "DRV-LIBCUDA": (
        "Found no NVIDIA driver on your system; `is_available()` is False without a word",
        f"There is no driver, or WSL or the container does not offer it. {OPTIONAL}",
        "Install the driver; in a container `--gpus all`; in WSL, install it on Windows.",
    ),
    "DRV-OLD": (
        "The NVIDIA driver on your system is too old (found version 12000)",
        "This torch needs a newer CUDA major version than the driver knows.",
        f"Update the driver, or type {MOVE}",
    ),
    "DRV-NOTLOADED": (
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver",
        "The driver's kernel module is not loaded.",
        "Type `sudo modprobe nvidia`; if it refuses, install the driver again.",
    ),
    "DRV-MISMATCH": (
        "Failed to initialize NVML: Driver/library version mismatch",
        "The driver was updated while its kernel module ran.",
        "Reboot.",
    ),
    "DRV-CGROUP": (
        "Failed to initialize NVML: Unknown Error",
        "The container has lost its right to use the GPU.",
        "Start it again; set `native.cgroupdriver=cgroupfs` for Docker.",
    ),
    "DRV-MIG": (
        "device_count() is 0 or 1 on a GPU with MIG",
        "CUDA sees no instance of a GPU that MIG splits, or only the first.",
        "Set CUDA_VISIBLE_DEVICES to a MIG- name of `nvidia-smi -L`.",
    ),
    "DRV-ARCH": (
        "no kernel image is available for execution on the device; sm_61 is not compatible",
        "This torch has no code for this generation of GPUs.",
        f"Type {MOVE}",
    ),
    "CUDA-NODEVICE": (
        "No CUDA GPUs are available",
        f"CUDA_VISIBLE_DEVICES hides the GPU, or the driver finds none. {OPTIONAL}",
        "Type `unset CUDA_VISIBLE_DEVICES`, then `nvidia-smi`.",
    ),
    "CUDA-VISIBLE": (
        "Error 101: invalid device ordinal; CUDA error: invalid device ordinal",
        "CUDA_VISIBLE_DEVICES names a GPU that is not there.",
        "Type `unset CUDA_VISIBLE_DEVICES`.",
    ),
    "CUDA-BUSY": (
        "CUDA-capable device(s) is/are busy or unavailable",
        "Another process holds the GPU, which is in exclusive mode.",
        "End it: `nvidia-smi` lists it.",
    ),
    "CUDA-FABRIC": (
        "Error 802: system not yet initialized",
        "The fabric between the GPUs is not up.",
        "Type `sudo systemctl restart nvidia-fabricmanager`.",
    ),
    "CUDA-MISMATCH": (
        "Error 803: system has unsupported display driver / cuda driver combination",
        "The driver does not match its running kernel module.",
        "Reboot.",
    ),
    "CUDA-COMPAT": (
        "Error 804: forward compatibility was attempted on non supported HW",
        "LD_LIBRARY_PATH leads to CUDA's compat driver, which this GPU cannot use.",
        "Take the compat folder out of LD_LIBRARY_PATH.",
    ),
    "CUDA-UNKNOWN": (
        NO_START,
        "The module nvidia_uvm is missing or stale, as after a suspend.",
        "Type `sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm`, or reboot.",
    ),
    "ROCM-KFD": (
        "`is_available()` is False on an AMD GPU",
        "You, or the container, may not open /dev/kfd and /dev/dri.",
        "Type `sudo usermod -aG render,video $USER` and log in again.",
    ),
    "TORCH-IMPORT": (
        "cannot open shared object file; undefined symbol; [WinError 127]; [WinError 1114]",
        "A library is missing or of another version; the remedy depends on which.",
        "As the smoke test says, mostly `sh bootstrap.sh --recreate`.",
    ),
    "TORCH-NVJITLINK": (
        "undefined symbol: __nvJitLinkComplete_12_4, version libnvJitLink.so.12",
        "LD_LIBRARY_PATH leads to the libnvJitLink of another CUDA.",
        "Type `unset LD_LIBRARY_PATH`.",
    ),
    "TORCH-EXIT": (
        "all is well, then a crash at the end",
        "torch or the driver crashed while the process ended.",
        FAULTY,
    ),
    "CUDA-ARCH": (
        "no kernel image is available for execution on the device",
        "The installed torch has no code for one of the visible GPUs.",
        f"Type {MOVE}",
    ),
    "ROCM-ARCH": (
        "HIP error: invalid device function; Tensile library cannot be read",
        "The installed torch has no code for this AMD chip.",
        "Type `export HSA_OVERRIDE_GFX_VERSION=10.3.0` for RDNA 2, 11.0.0 for RDNA 3.",
    ),
    "XPU-INIT": (
        "Failed to initialize XPU devices; a segmentation fault in torch.xpu.is_available()",
        "Intel's driver is missing or too old, or you may not open /dev/dri.",
        LEVEL_ZERO,
    ),
    "MPS": (
        "torch.backends.mps.is_available() is False; not currently implemented for the MPS device",
        "macOS is too old or virtual, Python is not for arm64, or MPS lacks an operator. "
        + OPTIONAL,
        f"{NEWER_MACOS} {MPS_FALLBACK}",
    ),
    "DEV-OPEN": (
        "CUDA error; out of memory at the first tensor",
        "A device is there but does not work, is full, or may not be used.",
        "As the smoke test says; look at `nvidia-smi`.",
    ),
    "DEV-MEM": (
        "CUDA out of memory, though the model is small",
        "Something else fills the GPU.",
        "End it: `nvidia-smi` lists it.",
    ),
    "NUM-MATMUL": ("wrong or NaN results of a matrix product", NUMBERS, FAULTY),
    "NUM-CONV": ("wrong or NaN results of a convolution", NUMBERS, FAULTY),
    "NUM-GRAD": ("wrong or NaN gradients", NUMBERS, FAULTY),
    "NUM-AMP": ("the loss is NaN with autocast", NUMBERS, FAULTY),
    "NUM-SDPA": ("wrong or NaN results of attention", NUMBERS, FAULTY),
    "TRAIN-STEPS": ("the loss does not fall", NUMBERS, FAULTY),
    "PKG-NUMPY": (
        "A module that was compiled using NumPy 1.x cannot be run; Numpy is not available",
        "torch or another package was compiled for NumPy 1.",
        "Update the package that is named; for an old torch, require `numpy<2`.",
    ),
    "LIB-MAPS": (
        "CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH at the first convolution",
        "A library of NVIDIA from outside the environment is loaded.",
        "Take its folder out of LD_LIBRARY_PATH and /etc/ld.so.conf.d.",
    ),
    "LIB-OMP": (
        "OMP: Error #15: Initializing libiomp5md.dll, but found libiomp5md.dll already initialized",
        "Two OpenMP runtimes are loaded, as if torch and numpy are from different sources.",
        ONE_OPENMP,
    ),
    "VISION-NMS": (
        "operator torchvision::nms does not exist",
        "torchvision was built for another torch.",
        RECREATE,
    ),
    "AUDIO-FILTER": (
        "undefined symbol in _torchaudio.so; Could not load this library",
        "torchaudio was built for another torch, or is not whole.",
        RECREATE,
    ),
    "CODEC-WAV": (
        "undefined symbol in libtorchcodec_core; libpython3.12.so.1.0: cannot open",
        "torchcodec was built for another torch, or lacks a library other than FFmpeg's.",
        RECREATE,
    ),
    "CODEC-FFMPEG": (
        "Could not load libtorchcodec; FFmpeg is not properly installed in your environment",
        "torchcodec decodes with the system's FFmpeg, and finds no shared libraries of one of the "
        "major versions that it is for.",
        "Type `sudo apt install ffmpeg`; in a container, add it to the image; on Fedora "
        "`sudo dnf install ffmpeg-free`, on macOS `brew install ffmpeg`, on Windows "
        "`winget install Gyan.FFmpeg.Shared`.",
    ),
    "DATA-WORKERS": (
        "unable to allocate shared memory(shm); worker is killed by signal: Bus error",
        "DataLoader workers have no room in /dev/shm.",
        "Start the container with `--shm-size=8g`, or use `num_workers=0`.",
    ),
    "COMPILE": (
        "Failed to find C compiler; Cannot find a working triton installation; Python.h",
        "torch.compile has no compiler to call.",
        "Type `sudo apt install build-essential python3-dev`.",
    ),
    "CKPT": ("a checkpoint is not what was saved", NUMBERS, FAULTY),
    "NCCL": (
        "the first all_reduce hangs; ncclUnhandledSystemError; Connection refused",
        "GPUs cannot talk to each other directly (IOMMU, ACS), or processes not at all.",
        PEER,
    ),
    "PERF-TFLOPS": ("training is slow", SLOWED, SLOW),
    "PERF-BW": ("training is slow", SLOWED, SLOW),
    "PERF-H2D": ("training is slow, and the GPU waits", "Batches reach the GPU slowly.", SLOW),
}
