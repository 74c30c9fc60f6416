"""Checks with torch, in the child process, that take no time.

Every check goes over all of job.devices: one bad card in eight is the real case.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import sys
from mmap import ACCESS_READ, mmap
from pathlib import Path

from .check import (
    Check,
    CheckFunction,
    Job,
    Tensor,
    check,
    exact,
    judge,
    judge_losses,
    learn,
    relative_error,
)
from .loading import chain, of_loader
from .machine import ONE_OPENMP, installed, repair
from .metadata import installed_packages
from .origins import how_to_remove, is_own

CHECKS: dict[str, CheckFunction] = {}


@check(CHECKS, "NUM-MATMUL")
def check_matmul(job: Job) -> Check:
    """A float32 matrix product on each device, against float64 on the CPU."""
    random = job.torch.Generator().manual_seed(1)
    a, b = (job.torch.randn(512, 512, generator=random) for _ in "ab")
    reference = a.double() @ b.double()
    return judge({d: relative_error(a.to(d) @ b.to(d), reference) for d in job.devices}, 1e-5)


@check(CHECKS, "NUM-CONV")
def check_convolution(job: Job) -> Check:
    """A float32 convolution on each device (cuDNN's on CUDA), against float64 on the CPU."""
    random = job.torch.Generator().manual_seed(4)
    image = job.torch.randn(4, 16, 32, 32, generator=random)
    kernel = job.torch.randn(32, 16, 3, 3, generator=random)
    convolve = job.torch.nn.functional.conv2d
    reference = convolve(image.double(), kernel.double())
    found = {d: convolve(image.to(d), kernel.to(d)) for d in job.devices}
    errors = {d: relative_error(result, reference) for d, result in found.items()}
    return judge(errors, exact(job.devices[0]))


@check(CHECKS, "NUM-GRAD")
def check_gradient(job: Job) -> Check:
    """The gradient of sum(tanh(x w)^2) on each device, against float64 on the CPU."""
    random = job.torch.Generator().manual_seed(2)
    x, w = (job.torch.randn(128, 128, generator=random) / 8 for _ in "xw")

    def gradient(x: Tensor, w: Tensor) -> Tensor:
        w = w.detach().requires_grad_()
        (x @ w).tanh().square().sum().backward()
        return w.grad

    reference = gradient(x.double(), w.double())
    found = {d: gradient(x.to(d), w.to(d)) for d in job.devices}
    return judge({d: relative_error(result, reference) for d, result in found.items()}, 1e-4)


@check(CHECKS, "TRAIN-STEPS")
def check_steps(job: Job) -> Check:
    """Twenty steps of gradient descent on each device; by hand, since torch.optim loads slowly."""
    losses: dict[str, list[float]] = {}
    for device in job.devices:
        x, y, *weights = learn(job, device)
        for _ in range(20):
            loss = ((x @ weights[0]).tanh() @ weights[1] - y).square().mean()
            loss.backward()
            with job.torch.no_grad():
                for weight in weights:
                    weight -= weight.grad
                    weight.grad = None
            losses.setdefault(device, []).append(float(loss.detach()))
    return judge_losses(losses)


@check(CHECKS, "PKG-NUMPY")
def check_numpy(job: Job) -> Check | None:
    """Do torch and NumPy work together, and is no package compiled for a NumPy of before 2?"""
    if not importlib.util.find_spec("numpy"):
        return None
    have = f"NumPy {installed('numpy')}"
    try:
        numpy = importlib.import_module("numpy")
        total = float(job.torch.from_numpy(numpy.ones(10)).sum())
    except Exception as error:
        said = numpy_says(error)
        problem = f"torch {job.torch.__version__} cannot use {have}; it says {said}."
        if found := of_loader(said, problem, error):
            found.id = ""  # it is this check's, whatever it is for torch
            return found
        old = "Numpy is not available" in str(error) and not have.startswith("NumPy 1.")
        remedy = "Give the project the requirement `numpy<2`." if old else repair()
        return Check("fail", problem, remedy)
    if total != 10:
        return Check("fail", f"torch counts ten ones of NumPy's as {total}.", repair())
    if not have.startswith("NumPy 1.") and (old_packages := compiled_for_numpy_1()):
        problem = f"{old_packages[0]} is compiled for NumPy 1 and does not work with {have}."
        return Check("warn", problem, "Update it.", {"packages": old_packages})
    return Check("pass", have)


def numpy_says(error: Exception) -> str:
    """Why NumPy does not load: it puts the loader's words below much advice."""
    words = str(chain(error)[-1])
    origin = re.search(r"Original error was: ([^\n]+)", words)
    text = origin[1] if origin else " ".join(words.split())[:300]
    return f"{type(chain(error)[-1]).__name__}: {text}".rstrip(".")


def compiled_for_numpy_1() -> list[str]:
    """The installed packages whose extensions look for NumPy only where it was before 2."""
    found = []
    for package in installed_packages():
        if not any(text.lower().startswith("numpy") for text in package.requires):
            continue
        for path in package.files():
            if path.suffix not in (".so", ".pyd") or not path.is_file() or not path.stat().st_size:
                continue
            with path.open("rb") as binary, mmap(binary.fileno(), 0, access=ACCESS_READ) as content:
                place = content.find(b"core._multiarray_umath")
                if place < 0:
                    continue  # not one that uses NumPy's C API
                if content.find(b"numpy._core._multiarray_umath") < 0:
                    found.append(str(package))
                break  # the others are compiled alike
    return sorted(found)


NVIDIA = re.compile(
    r"(lib)?(cu(dnn|blas|dart|fft|rand|solver|sparse)|nvrtc|nvJitLink|nccl)[^/]*\.(so|dll)",
    re.IGNORECASE,
)
OPENMP = re.compile(r"(lib(gomp|omp|iomp5|omp140)|vcomp)[^/]*\.(so|dll|dylib)", re.IGNORECASE)


@check(CHECKS, "LIB-MAPS")
def check_loaded_libraries(job: Job) -> Check:
    """Do all of NVIDIA's libraries in this process come from the environment?"""
    loaded = [path for path in loaded_libraries() if NVIDIA.match(Path(path).name)]
    foreign = [path for path in loaded if not is_own(path)]
    if not foreign:
        what = f"{len(loaded)} libraries of NVIDIA, all of this environment"
        return Check("pass", what if loaded else "no library of NVIDIA is loaded")
    problem = f"{foreign[0]} is loaded, which is not of this environment."
    return Check("warn", problem, how_to_remove(foreign[0]), {"libraries": foreign})


@check(CHECKS, "LIB-OMP")
def check_openmp(job: Job) -> Check:
    """Is there one OpenMP runtime in this process? Two slow each other down, or end it."""
    loaded = [path for path in loaded_libraries() if OPENMP.match(Path(path).name)]
    if len(loaded) < 2:
        return Check("pass", f"{len(loaded) or 'no'} OpenMP runtime")
    problem = f"{len(loaded)} OpenMP runtimes are loaded: {' and '.join(loaded)}."
    return Check("warn", problem, ONE_OPENMP, {"libraries": loaded})


# --- Which shared libraries this process has loaded, as the system tells it


def loaded_libraries() -> list[str]:
    """The paths of all shared libraries of this process, sorted."""
    if sys.platform == "win32":
        return sorted(windows_modules())
    if sys.platform == "darwin":
        return sorted(apple_images())
    maps = Path("/proc/self/maps")
    lines = maps.read_text(encoding="utf-8", errors="replace").splitlines()
    # address permissions offset device inode path
    return sorted({line.split(maxsplit=5)[5] for line in lines if ".so" in line})


def windows_modules() -> set[str]:
    """The files of this process's modules, from EnumProcessModules."""
    kernel = getattr(ctypes, "WinDLL")("kernel32")  # noqa: B009, only there is it
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    pointer = ctypes.sizeof(ctypes.c_void_p)
    modules, needed = (ctypes.c_void_p * 4096)(), ctypes.c_ulong()
    process = ctypes.c_void_p(kernel.GetCurrentProcess())
    size = ctypes.c_ulong(ctypes.sizeof(modules))
    if not kernel.K32EnumProcessModules(process, modules, size, ctypes.byref(needed)):
        return set()
    found, name = set(), ctypes.create_unicode_buffer(32768)
    for module in modules[: min(needed.value // pointer, len(modules))]:
        if kernel.GetModuleFileNameW(ctypes.c_void_p(module), name, len(name)):
            found.add(name.value)
    return found


def apple_images() -> set[str]:
    """The files of this process's images, from dyld."""
    dyld = ctypes.CDLL(None)
    dyld._dyld_get_image_name.restype = ctypes.c_char_p
    names = (dyld._dyld_get_image_name(index) for index in range(dyld._dyld_image_count()))
    return {name.decode("utf-8", "replace") for name in names if name}
