"""Faults of torch itself: it does not load, or computes something else."""

from __future__ import annotations

from scripts.import_helpers import beside
from scripts.injections import (
    FAULTY,
    GOOD_START,
    HANGS,
    MOVE,
    NO_CUDA,
    NO_WORKERS,
    NOT_A_NUMBER,
    ONLY,
    RECREATE,
    SEND,
    Injection,
    all_of,
    bad_nms,
    beside_torch,
    codec_for,
    dies,
    foreign_cudnn,
    numbers,
    product,
)
from scripts.smoke_helpers import TORCH
from scripts.torch_helpers import patch_torch, pretend_gpus
from scripts.worlds import world

VISION = {"torch": f"{TORCH}+cpu", "torchvision": "0.28.0+cpu"}
CUDNN = "libcudnn.so.9: cannot open shared object file: No such file or directory"

OMP = "OMP: Error #15: Initializing libiomp5.so, but found libiomp5.so already initialized.\n"
AMD = "torch.cuda.get_device_properties = lambda i: types.SimpleNamespace(gcnArchName='gfx1031')\n"
AMD += "torch.cuda.get_arch_list = lambda: ['gfx90a', 'gfx1030']"
FULL = "torch.cuda.mem_get_info = lambda d: (2**29 if str(d)[-1] == '1' else 2**35, 80 * 2**30)"
FILTER = "def lfilter(x, a, b, clamp):\n    {}"
SYMBOL = "_torchaudio.abi3.so: undefined symbol: aoti_torch_new"
OTHER_TORCH = f"raise OSError('Could not load this library') from OSError({SYMBOL!r})"
DECODES = """
import types, torch
class AudioDecoder:
    def __init__(self, source): pass
    def get_all_samples(self):
        return types.SimpleNamespace(data=torch.zeros(1, 5), sample_rate=8000)
"""
SMALL = """
import sys
speed = sys.modules["gpu_smoke.speed_checks"]
speed.SIZE, speed.COPY, speed.SECONDS = 256, 2**22, 0.01
"""
WRONG_SUM = """
import os
true = torch.distributed.all_reduce
def all_reduce(x):
    true(x)
    x[7] += os.environ.get("RANK") == "1"
torch.distributed.all_reduce = all_reduce
"""

FAULTS: list[Injection] = [
    # --- torch
    Injection(
        "a library of torch is missing",
        "TORCH-IMPORT",
        RECREATE,
        CUDNN,
        1,
        torch=f"raise ImportError({CUDNN!r})",
    ),
    dies(
        "OpenMP ends the process, since it is loaded twice",
        "LIB-OMP",
        "one source",
        f"import os, sys; sys.stderr.write({OMP!r}); os.abort()",
        "OMP: Error #15",
    ),
    dies("`import torch` aborts", "TORCH-IMPORT", SEND, "import os; os.abort()", "(Aborted)"),
    dies(
        "`import torch` ends in a segmentation fault",
        "TORCH-IMPORT",
        SEND,
        "import os; os.kill(os.getpid(), 11)",
        "crashed (Segmentation fault)",
    ),
    dies("`import torch` hangs", "TORCH-IMPORT", "--timeout 8", HANGS, "not answer within 2 s"),
    dies(
        "the first tensor hangs",
        "DEV-OPEN",
        "--timeout 8",
        f"{GOOD_START}def zeros(*a, **k):\n    {HANGS}\nclass cpu: pass",
        "not answer within 2 s; the last check that finished is TORCH-IMPORT",
    ),
    dies(
        "the first tensor aborts",
        "DEV-OPEN",
        SEND,
        f"{GOOD_START}import os\ndef zeros(*a, **k): os.abort()\nclass cpu: pass",
        "crashed (Aborted); the last check that finished is TORCH-IMPORT",
    ),
    Injection(
        "a good driver, and a torch that finds no GPU",
        "DEV-OPEN",
        "`nvidia-smi`",
        "torch says RuntimeError: the driver said no.",
        build="cu130",
        torch=NO_CUDA,
        driver=True,
    ),
    Injection(
        "the CPU counts a thousand ones as 2000",
        "DEV-OPEN",
        FAULTY,
        "counts a thousand ones as 2000.0",
        torch="real",
        patch="torch.zeros = torch.ones",
    ),
    Injection(
        "the installed torch has no code for the second GPU",
        "CUDA-ARCH",
        f"To use it, type {MOVE.format('cu132')}.",
        "cuda:1 has compute capability 6.1, but the installed torch is compiled for 7.5",
        build="cu130",
        torch="real",
        driver=True,
        env={"FAKE_GPUS": "90 75", "FAKE_SEEN": "2"},
        change=lambda project: pretend_gpus(project, capabilities="90 61"),
    ),
    Injection(
        "the installed torch has no code for an AMD chip",
        "ROCM-ARCH",
        "`export HSA_OVERRIDE_GFX_VERSION=10.3.0`",
        "gfx1031",
        build="rocm7.2",
        torch="real",
        before=world("kfd", "dri/renderD128"),
        change=lambda project: pretend_gpus(project, AMD, "90"),
    ),
    Injection(
        "Intel's driver does not start",
        "XPU-INIT",
        "Level Zero",
        "Failed to initialize XPU devices",
        also=("DEV-OPEN",),
        build="xpu",
        torch="real",
        patch="def no(): raise RuntimeError('Failed to initialize XPU devices')\n"
        "torch.xpu.device_count = torch.accelerator.device_count = no",
    ),
    Injection(
        "a GPU that another process fills",
        "DEV-MEM",
        "`nvidia-smi` lists it",
        "cuda:1 has 0.5 of its 80.0 GiB free.",
        0,
        build="cu130",
        torch="real",
        driver=True,
        env={"FAKE_GPUS": "90 90", "FAKE_SEEN": "2"},
        change=lambda project: pretend_gpus(project, FULL),
    ),
    Injection(
        "a process of two sums wrongly",
        "NCCL",
        ONLY,
        "cpu got the wrong sum 4 instead of 3",
        1,
        torch="real",
        patch=WRONG_SUM,
        arguments=("--only", "NCCL"),
    ),
    Injection(
        "a GPU that is slower than it is made for",
        "PERF-TFLOPS",
        "nvidia-smi -q -d PERFORMANCE",
        "that it is made for",
        0,
        build="cu130",
        torch="real",
        driver=True,
        arguments=("--only", "PERF-TFLOPS"),
        change=lambda project: pretend_gpus(project, SMALL, "90"),
    ),
    numbers(
        "a matrix product is NaN",
        "NUM-MATMUL",
        product("product * float('nan')"),
        "error is nan",
        *("NUM-GRAD", "TRAIN-STEPS"),
    ),
    numbers(
        "a matrix product is wrong by 0.002 %",
        "NUM-MATMUL",
        product("product * 1.00002"),
        "error is 2.0e-05, at most 1e-05",
    ),
    numbers(
        "a convolution is NaN",
        "NUM-CONV",
        NOT_A_NUMBER.format("torch.nn.functional.conv2d"),
        "is nan",
    ),
    numbers(
        "a gradient is wrong",
        "NUM-GRAD",
        "true = torch.Tensor.square\n"
        "torch.Tensor.square = lambda x: x.abs() if x.dtype == torch.float32 else true(x)",
        "at most 1e-04 is right",
    ),
    numbers(
        "a model does not learn",
        "TRAIN-STEPS",
        "true = torch.Tensor.detach\ntorch.Tensor.__isub__ = lambda self, other: self",
        "does not learn",
    ),
    numbers(
        "a model does not learn in mixed precision",
        "NUM-AMP",
        "torch.optim.AdamW.step = lambda self: None",
        "does not learn",
        level="full",
    ),
    numbers(
        "attention is wrong",
        "NUM-SDPA",
        "torch.nn.functional.scaled_dot_product_attention = lambda q, k, v: v",
        "cpu computes wrong numbers",
        level="full",
    ),
    numbers(
        "a compiled function computes something else",
        "COMPILE",
        "torch.compile = lambda f: lambda x: x",
        "wrong numbers",
        level="full",
    ),
    numbers(
        "a checkpoint comes back changed",
        "CKPT",
        "torch.load = lambda *a, **k: {'weight': torch.zeros(1000)}",
        "not what was saved",
        level="full",
    ),
    Injection(
        "a library of NVIDIA from outside the environment is loaded",
        "LIB-MAPS",
        "Rename ",
        "libcudnn_ops.so.9 is loaded",
        0,
        torch="real",
        change=foreign_cudnn(),
    ),
    Injection(
        "a cuDNN of the machine's, and cuDNN says that its parts do not fit",
        "LIB-MAPS",
        "Rename ",
        "libcudnn_ops.so.9 is loaded, which is not of this environment.",
        1,
        ("NUM-CONV",),
        torch="real",
        change=foreign_cudnn(
            "def no(*a): raise RuntimeError('cuDNN error: "
            "CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH')\ntorch.nn.functional.conv2d = no"
        ),
        verdict=f"FAIL  torch {TORCH}+cpu, asked for CPU: LIB-MAPS  (",
    ),
    Injection(
        "a crash in a convolution, and a cuDNN of the machine's",
        "NUM-CONV",
        "libcudnn_cnn.so.8 may have been loaded beside torch's own. Type `unset LD_PRELOAD`",
        "crashed (Segmentation fault)",
        4,
        build="cu130",
        torch="real",
        driver=True,
        change=all_of(
            lambda project: pretend_gpus(
                project,
                "import os\ndef no(*a): os.kill(os.getpid(), 11)\ntorch.nn.functional.conv2d = no",
                "90",
            ),
            beside("EMPTY", "libcudnn_cnn.so.8"),
            lambda project: project.env.update(
                LD_PRELOAD=str(project.root.parent / "elsewhere" / "libcudnn_cnn.so.8")
            ),
        ),
    ),
    Injection(
        "a cuDNN that LD_LIBRARY_PATH names, and wrong numbers",
        "LIB-MAPS",
        "out of LD_LIBRARY_PATH",
        "libcudnn_ops.so.9 is loaded, which is not of this environment.",
        1,
        ("NUM-CONV",),
        torch="real",
        change=all_of(
            beside("LD_LIBRARY_PATH", "libcudnn_ops.so.9"),
            lambda project: patch_torch(
                project,
                "import ctypes; torch.foreign = ctypes.CDLL('libcudnn_ops.so.9')\n"
                + NOT_A_NUMBER.format("torch.nn.functional.conv2d"),
            ),
        ),
    ),
    Injection(
        "cuBLAS says something that has several causes",
        "NUM-MATMUL",
        SEND,
        "CUBLAS_STATUS_INVALID_VALUE (7: invalid value) has no cause that is known here: ",
        1,
        ("NUM-GRAD", "TRAIN-STEPS"),
        torch="real",
        patch="def no(*a): raise RuntimeError('CUDA error: CUBLAS_STATUS_INVALID_VALUE when "
        "calling `cublasSgemm`')\ntorch.Tensor.__matmul__ = no",
    ),
    bad_nms(
        "torchvision was built for another torch",
        RECREATE,
        "operator torchvision::nms does not exist",
        "raise RuntimeError('operator torchvision::nms does not exist')",
    ),
    bad_nms(
        "torchvision's nms keeps the wrong boxes",
        ONLY,
        "[1, 2] is right",
        "return boxes[:2, 0].new_tensor([0, 1])",
    ),
    Injection(
        "torchaudio was built for another torch",
        "AUDIO-FILTER",
        "and choose without torchaudio, or a torch that it goes with.",
        f"torchaudio 2.11.0+cpu is built for another torch than torch {TORCH}+cpu; it says "
        f"OSError: {SYMBOL}.",
        1,
        torch="real",
        change=beside_torch("torchaudio", "2.11.0+cpu", functional=OTHER_TORCH),
    ),
    Injection(
        "torchaudio filters wrongly",
        "AUDIO-FILTER",
        FAULTY,
        "[0.25, 0.125, 0.5, 0.4375, 0.28125] is right",
        1,
        torch="real",
        change=beside_torch("torchaudio", "2.11.0+cpu", functional=FILTER.format("return x")),
    ),
    Injection(
        "no FFmpeg for torchcodec",
        "CODEC-FFMPEG",
        "ffmpeg",
        "torchcodec needs the shared libraries of FFmpeg 99, and finds none of them",
        1,
        torch="real",
        change=codec_for(99, library="libavutil.so.151"),
    ),
    Injection(
        "an FFmpeg that is not whole",
        "CODEC-FFMPEG",
        "ffmpeg",
        "torchcodec finds an FFmpeg that is not whole: it lacks libavdevice.so.153.",
        1,
        torch="real",
        change=codec_for(99, library="libavdevice.so.153"),
    ),
    Injection(
        "torchcodec was built for another torch",
        "CODEC-WAV",
        "and choose without torchcodec, or a torch that it goes with.",
        "is built for another torch than",
        1,
        torch="real",
        change=codec_for(99, "extern void aoti_torch_new(); void f() { aoti_torch_new(); }"),
    ),
    Injection(
        "torchcodec decodes silence",
        "CODEC-WAV",
        RECREATE,
        "torchcodec decodes [0.0, 0.0, 0.0, 0.0, 0.0] at 8000 Hz, [0.0, 0.25, -0.5, 0.75, -1.0]",
        1,
        torch="real",
        change=beside_torch("torchcodec", "0.13.0+cpu", decoders=DECODES),
    ),
    Injection(
        "DataLoader workers with 1 MiB of /dev/shm",
        "DATA-WORKERS",
        NO_WORKERS,
        "DataLoader workers do not work",
        1,
        torch="real",
        arguments=("--only", "DATA-WORKERS"),
        before=world(shm="1m"),
    ),
    Injection(
        "a crash after the last check",
        "TORCH-EXIT",
        SEND,
        "crashed (Aborted)",
        4,
        torch="real",
        patch="import atexit, os; atexit.register(os.abort)",
    ),
]
