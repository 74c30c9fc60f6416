"""What loaders, compilers and libraries say is understood, in words that they really said."""

from __future__ import annotations

import importlib
import re
import string
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.smoke_helpers import load_package

knowledge: Any = importlib.import_module("surroundings.knowledge")
system: Any = importlib.import_module("surroundings.system")

COMPILE = {
    "KeyError: 'getpwuid(): uid not found: 1001'": "compile-no-user",
    "OSError: No username set in the environment": "compile-no-user",
    "ImportError: /tmp/torchinductor_me/ab/c.so: failed to map segment from shared object: "
    "Operation not permitted": "map-refused",
    "ImportError: /tmp/torchinductor_me/ab/c.so: failed to map segment from shared object: "
    "Cannot allocate memory": "address-space",
    "ImportError: /opt/m/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by "
    "/x/libtriton.so)": "old-libstdcpp",
    "/usr/bin/ld: final link failed: No space left on device\ncollect2: error: ld returned 1 exit "
    "status": "disk-full",
    "/usr/bin/ld: final link failed: Disk quota exceeded\ncollect2: error: ld returned 1 exit "
    "status": "over-quota",
    "/usr/bin/ld: cannot find -ltorch_cpu: No such file or directory\ncollect2: error: ld returned "
    "1 exit status": "compile-no-libtorch",
    "/usr/bin/ld: cannot find -lgomp\ncollect2: error: ld returned 1 exit status": (
        "compile-no-openmp"
    ),
    "/usr/bin/ld: cannot find crt1.o: No such file\ncollect2: error: ld returned 1": (
        "compile-no-compiler"
    ),
    "collect2: fatal error: cannot find 'ld'": "compile-no-compiler",
    "collect2: fatal error: ld terminated with signal 9 [Killed]": "compile-killed",
    "g++: fatal error: Killed signal terminated program cc1plus": "compile-killed",
    "x.o: undefined reference to `omp_get_num_threads'\ncollect2: error: ld returned 1": (
        "compile-linker"
    ),
    "RuntimeError: torch.compile is not supported on Python 3.15+": "compile-python",
    "FileNotFoundError: [Errno 2] No such file or directory: '/sbin/ldconfig'": (
        "compile-no-ldconfig"
    ),
    "/usr/bin/ld: cannot find -lcuda: No such file or directory": "compile-no-libcuda",
    "AssertionError: libcuda.so cannot found!": "compile-no-libcuda",
    "ptxas fatal   : Value 'sm_120' is not defined for option 'gpu-name'": "compile-ptxas",
    "ptxas /tmp/x.ptx, line 5; fatal   : Unsupported .version 8.7; current version is '8.4'": (
        "compile-ptxas"
    ),
    "GPUTooOldForTriton: Found NVIDIA Quadro P600 which is too old to be supported by the triton "
    "GPU compiler": "compile-old-gpu",
    "Cannot find a working triton installation. Either the package is not installed": (
        "compile-no-triton"
    ),
    "ImportError: cannot import name 'AttrsDescriptor' from 'triton.compiler.compiler'": (
        "compile-other-triton"
    ),
    "ImportError: cannot import name 'triton_key' from 'triton.compiler.compiler'": (
        "compile-other-triton"
    ),
    "RuntimeError: Dynamo is not supported on Python 3.14+": "compile-python",
    "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xce in position 9: invalid": (
        "compile-language"
    ),
    "main.c:4:10: fatal error: Python.h: No such file or directory": "compile-no-python-h",
    "fatal error: 'Python.h' file not found": "compile-no-python-h",
    "fatal error: 'omp.h' file not found": "compile-no-openmp",
    "ld: library not found for -lomp": "compile-no-openmp",
    "clang: error: unsupported option '-fopenmp'": "compile-no-openmp",
    "g++: error: unrecognized command line option '-std=c++20'": "compile-old-compiler",
    "cl : Command line warning D9002 : ignoring unknown option '/std:c++20'": (
        "compile-old-compiler"
    ),
    "No working C++ compiler found in torch._inductor.config.cpp.cxx: (None, 'g++')": (
        "compile-variable"
    ),
    "RuntimeError: Compiler: cl is not found.": "compile-variable",
    "FileNotFoundError: [Errno 2] No such file or directory: '/opt/gcc/bin/gcc-13'": (
        "compile-variable"
    ),
    "xcrun: error: invalid active developer path (/Library/Developer/CommandLineTools)": (
        "compile-mac-tools"
    ),
    "RuntimeError: Failed to find C compiler. Please specify via CC environment variable.": (
        "compile-no-compiler"
    ),
    "gcc: fatal error: cannot execute 'cc1plus': execvp: No such file": "compile-no-compiler",
    "fatal error: stddef.h: No such file or directory": "compile-no-compiler",
    "OSError: [Errno 122] Disk quota exceeded: '/home/me/.triton'": "over-quota",
    "OSError: [Errno 116] Stale file handle: '/home/me/.triton/cache/x'": "stale-file",
    "PermissionError: [Errno 13] Permission denied: '/home/me/.triton/cache'": "no-right",
}


@pytest.mark.parametrize("said", COMPILE)
def test_each_way_in_which_torch_compile_fails_has_its_cause(said: str) -> None:
    found = load_package("compile_checks").explain_compile(RuntimeError(said))
    assert found.data["cause"] == COMPILE[said]
    assert found.status == "warn"
    assert found.remedy.endswith(".")
    assert "{" not in found.message + found.remedy


@pytest.mark.skipif("sys.platform == 'win32'", reason="noexec is of Linux")
@pytest.mark.parametrize("home", [False, True])
def test_what_was_compiled_where_nothing_may_be_run_goes_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: bool
) -> None:
    checks, place = load_package("compile_checks"), str(tmp_path)
    (tmp_path / ".cache").mkdir()
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    closed = place if home else "/mnt/x"
    monkeypatch.setattr(checks, "mount_of", lambda path: ("/mnt", path.startswith(closed)))
    lies = f"{place}/.triton/cache/A" if home else "/mnt/x/torchinductor_me"
    said = f"ImportError: {lies}/c.so: failed to map segment from shared object"
    found = checks.explain_compile(RuntimeError(said))
    assert found.data["cause"] == "compile-noexec"
    assert found.message.startswith(f"What is compiled lies in {lies}, from which nothing may be ")
    assert (f"={place}/.cache/torchinductor " in found.remedy) != home


def test_an_unknown_failure_of_torch_compile_is_not_guessed_at() -> None:
    found = load_package("compile_checks").explain_compile(RuntimeError("what is this"))
    assert "or send what `" in found.remedy
    assert found.data == {}


@pytest.mark.parametrize(
    ("base", "typed"),
    [
        ("/root/.pyenv/versions/3.12.1", "Type `pyenv install --force "),
        ("/home/me/.local/share/uv/python/cpython-3.12.1-linux", "Type `uv python install "),
        ("/usr", "Type `apt install python"),
        ("/usr/local", "Install Python "),
    ],
)
def test_python_h_comes_from_whoever_installed_this_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, base: str, typed: str
) -> None:
    (tmp_path / "os-release").write_text("ID=ubuntu\nID_LIKE=debian\n", encoding="utf-8")
    place = importlib.import_module("surroundings.place").Place({})
    monkeypatch.setattr(system, "OS_RELEASE", tmp_path / "os-release")
    monkeypatch.setattr(system, "here", lambda: place)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys, "base_prefix", base)
    assert load_package("compile_checks").headers().startswith(typed)


IMPORT = {
    "libcusparse.so.12: symbol __nvJitLinkAddData_12_1, version libnvJitLink.so.12 not defined in "
    "file libnvJitLink.so.12 with link time reference": "symbol-nvjitlink",
    "libcublasLt.so.13: symbol cublasLtGetVersion version libcublasLt.so.13 not defined in file x "
    "with link time reference": "symbol-nvidia",
    "/x/libtorch_cuda.so: undefined symbol: ncclGroupSimulateEnd": "symbol-nvidia",
    "/x/libtorch_cuda.so: undefined symbol: cudaGetDriverEntryPointByVersion": "symbol-nvidia",
    "/x/libc10_cuda.so: undefined symbol: cuMemCreate": "symbol-driver",
    "/x/libtorch_cuda.so: undefined symbol: cuFileHandleRegister": "symbol-nvidia",
    "/x/libcufile.so.0: undefined symbol: shm_open": "symbol-librt",
    "/usr/lib/libsox.so.3: undefined symbol: lsx_debug_impl": "symbol-outside",
    "/x/a.so: undefined symbol: _ZNK3c1010TensorImpl4sizeEv": "symbol-torch",
    "/x/a.so: undefined symbol: _ZN5torch8autogradE": "symbol-torch",
    "/x/_C.so: undefined symbol: _PyThreadState_UncheckedGet": "symbol-python",
    "/x/libtorch_cpu.so: undefined symbol: iJIT_IsProfilingActive": "symbol-itt",
    "/x/a.so: undefined symbol: GOMP_parallel": "symbol-other",
    "/opt/m/libstdc++.so.6: version `CXXABI_1.3.15' not found (required by /x)": "old-libstdcpp",
    "/opt/m/libgomp.so.1: version `GOMP_5.0' not found (required by /x)": "old-libstdcpp",
    "/opt/m/libnvJitLink.so.12: version `libnvJitLink.so.12' not found": "other-version",
    "/lib64/libc.so.6: version `GLIBC_2.34' not found (required by /x)": "system-too-old",
    "/x/libjemalloc.so: ELF load command alignment not page-aligned": "page-size",
    "/x/libc10.so: cannot open shared object file: Permission denied": "library-not-readable",
    "/x/libc10.so: cannot open shared object file: Too many open files": "too-many-files",
    "/x/libc10.so: cannot apply additional memory protection after relocation: Permission denied": (
        "map-refused"
    ),
    "libcudnn.so.9: file too short": "not-a-library",
    "/x/libc10.so: cannot open shared object file: Too many levels of symbolic links": (
        "library-link-loop"
    ),
    "/x/libc10.so: cannot open shared object file: Transport endpoint is not connected": (
        "library-disk-gone"
    ),
    "/x/libc10.so: cannot stat shared object: Stale file handle": "library-disk-gone",
    "/x/libc10.so: cannot read file data: Input/output error": "disk-broken",
    "/x/libc10.so: cannot map zero-fill pages: Cannot allocate memory": "address-space",
    "/x/libc10.so: CPU ISA level is lower than required": "processor-too-old",
    "NumPy was built with baseline optimizations: \n(X86_V2) but your machine doesn't support:": (
        "processor-too-old"
    ),
    "/x/libtorch.so: cannot enable executable stack as shared object requires: Permission denied": (
        "executable-stack-refused"
    ),
    "/x/libtorch.so: cannot enable executable stack as shared object requires: Invalid argument": (
        "executable-stack"
    ),
    "No module named '_ctypes'": "python-without",
    "No module named '_lzma'": "python-without",
    "No module named '_distutils_hack'": "no-module",
    "DLL load failed while importing _C: Das angegebene Modul wurde nicht gefunden.": "dll-missing",
    "DLL load failed while importing _C: Le module sp\u00e9cifi\u00e9 est introuvable.": (
        "dll-missing"
    ),
    "DLL load failed while importing _C: \u627e\u4e0d\u5230\u6307\u5b9a\u7684\u6a21\u5757\u3002": (
        "dll-missing"
    ),
    "dlopen(/x/_C.so, 0x0002): Library not loaded: @rpath/libomp.dylib\n  Reason: tried: '/o/l' "
    "(mach-o file, but is an incompatible architecture (have 'x86_64', need 'arm64'))": (
        "mac-architecture"
    ),
    "dlopen(/x/_C.so, 0x0002): Library not loaded: @rpath/libc++.1.dylib\n  Reason: tried: '/x/l' "
    "(code signature in <B> '/x/l' not valid for use in process: different Team IDs)": (
        "mac-quarantine"
    ),
    "libcuda.so.1: cannot open shared object file: No such file or directory": "library-missing",
    "Error loading shared library libgcc_s.so.1: No such file (needed by /x/libc10.so)": "musl",
    "Error relocating /x/libtorch_cpu.so: __strdup: symbol not found": "musl",
    "dlopen(/x.so, 2): Symbol not found: _$s10\n  Referenced from: /x\n  Expected in: "
    "/usr/lib/libc++.1.dylib": "mac-too-old",
    "dlopen(/x.so, 2): Symbol not found: __ZN3c105ErrorE\n  Expected in: /v/libc10.dylib": (
        "symbol-torch"
    ),
    "dlopen(/x.so): Library not loaded: @rpath/libomp.dylib": "mac-library",
    "dlopen(/x.so, 2): no suitable image found. Did find: /x: mach-o, but wrong architecture": (
        "mac-other-architecture"
    ),
    "cannot import name 'x' from partially initialized module 'torch' (most likely due to a "
    "circular import) (/home/me/torch/__init__.py)": "circular",
    "Failed to load PyTorch C extensions: It appears that PyTorch has loaded the `torch/_C` folder "
    "of the PyTorch repository": "torch-source",
    "DLL load failed while importing _C: The paging file is too small for this operation": (
        "page-file"
    ),
    "DLL load failed while importing _C: An Application Control policy has blocked this file.": (
        "blocked-by-policy"
    ),
}


@pytest.mark.few(8)
@pytest.mark.parametrize("said", IMPORT)
def test_each_way_in_which_torch_does_not_load_has_its_cause(said: str) -> None:
    found = load_package("loading").explain_import(ImportError(said))
    assert found.data["cause"] == IMPORT[said]
    assert found.remedy.endswith(".")
    assert "{" not in found.message + found.remedy


@pytest.mark.parametrize(
    ("library", "whose", "remedy"),
    [
        ("libcuda.so.1", "of the NVIDIA driver", "Install the NVIDIA driver"),
        ("libcudart.so.13", "a library of NVIDIA", "bootstrap"),
        ("libpython3.12.so.1.0", "of another Python", "bootstrap"),
        ("libmkl_intel_lp64.so.2", "a library of Intel", "bootstrap"),
        ("libsycl.so.8", "a library of Intel", "bootstrap"),
        ("libze_loader.so.1", "Intel's driver", "Level Zero"),
        ("libgomp.so.1", "the system's", "libgomp"),
        ("libcurl.so.4", "is missing: ", "bootstrap"),
        ("libunheard_of.so.3", "is missing: ", "bootstrap"),
    ],
)
def test_a_library_that_is_missing_has_somebody_who_brings_it(
    library: str, whose: str, remedy: str
) -> None:
    said = f"{library}: cannot open shared object file: No such file or directory"
    found = load_package("loading").explain_import(ImportError(said))
    assert whose in found.message
    assert remedy in found.remedy


SUMS = {
    "RuntimeError: use_libuv was requested but PyTorch was built without libuv support": "libuv",
    "ncclInvalidUsage: Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 65000": (
        "same-gpu"
    ),
    "Bootstrap : no socket interface found": "no-interface",
    "Error while creating shared memory segment /dev/shm/nccl-x (size 9637888)": "sums-memory",
}


@pytest.mark.parametrize("said", SUMS)
def test_each_way_in_which_processes_do_not_sum_has_its_cause(said: str) -> None:
    assert knowledge.find_cause(said, "sums").cause == SUMS[said]
    remedy = load_package("full_checks").remedy_of(said, "gloo")
    assert remedy
    assert remedy != load_package("full_checks").remedy_of("what is this", "gloo")


RUN = {
    "cuDNN error: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH": "mixed-libraries",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`": "no-gpu-memory",
    "CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasSgemm`": "unknown-error",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED": "unknown-error",
    "CUDA out of memory. Tried to allocate 2.00 GiB": "no-gpu-memory",
    "HIP out of memory. Tried to allocate 2.00 GiB": "no-gpu-memory-amd",
    "HIP error: out of memory": "no-gpu-memory-amd",
    "XPU out of memory. Tried to allocate 2.00 GiB": "no-gpu-memory-intel",
    "MPS backend out of memory (MPS allocated: 17.00 GB": "no-gpu-memory-apple",
    "NCCL error in: NCCLUtils.cpp:1, remote process exited\nncclRemoteError: A call failed": (
        "peer-ended"
    ),
    "[Errno 28] No space left on device": "disk-full",
    "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried": (
        "no-memory"
    ),
    "The operator 'aten::x' is not currently implemented for the MPS device.": "not-on-mps",
}


@pytest.mark.parametrize("said", RUN)
def test_an_error_while_torch_computes_has_its_cause_or_its_name(said: str) -> None:
    found = load_package("blame").explain_error(RuntimeError(said))
    assert found.data["cause"] == RUN[said]
    assert "faulty" not in found.remedy


def test_what_numpy_says_below_its_advice_is_what_is_told() -> None:
    said = (
        "IMPORTANT: PLEASE READ THIS\nOriginal error was: libopenblas.so: cannot open shared object"
    )
    error = ImportError("Error importing numpy")
    error.__cause__ = ImportError(f"{said} file: No such file or directory\n")
    found = load_package("torch_checks").numpy_says(error)
    assert found.startswith("ImportError: libopenblas.so: cannot open shared object file: No such")


def test_an_unknown_code_is_told_with_its_name_and_number() -> None:
    said = "CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasSgemm`"
    found = load_package("blame").explain_error(RuntimeError(said))
    assert found.message.startswith("CUBLAS_STATUS_INVALID_VALUE (7: invalid value) has no cause")
    assert found.remedy.startswith("Send what `")


@pytest.mark.parametrize(
    ("ended", "cause"),
    [
        ("crashed (Killed)", "killed"),
        ("crashed (Bus error)", "bus-error"),
        ("crashed (Segmentation fault)", "crash"),
        ("crashed (exit code 0xc0000005)", "crash"),
        ("crashed (exit code 0xc000001d)", "illegal-instruction"),
        ("crashed (exit code 0xc0000135)", "dll-missing"),
        ("crashed (exit code 0xc0000409)", "crash"),
        ("crashed (exit code 0xc000012d)", "page-file"),
        ("crashed (exit code 0x1)", "crash"),
        *((f"crashed (exit code {code})", "crash") for code in (5, 8, 14, 126, 127, 193, 206, 225)),
        *((f"crashed (exit code {code})", "crash") for code in ("0x5", "0x7e", "0xc1", "0xe1")),
        ("crashed (exit code 137)", "killed"),
        ("crashed (exit code 139)", "crash"),
        ("ended before its work was done (exit code 0)", "crash"),
        ("crashed (exit code 127), saying `FATAL: kernel too old`", "kernel-too-old"),
        (
            "crashed (exit code 127), saying `/x/python: symbol lookup error: /x/libcudnn.so.9: "
            "undefined symbol: cudnnGetVersion, version libcudnn_graph.so.9`",
            "symbol-nvidia",
        ),
        (
            "crashed (exit code 1), saying `libgomp: Thread creation failed: Resource temporarily "
            "unavailable`",
            "too-many-threads",
        ),
        ("crashed (Aborted), saying `what():  std::bad_alloc`", "no-memory"),
        ("crashed (exit code 0x1), saying `OSError: [Errno 28] No space left`", "disk-full"),
    ],
)
def test_the_end_of_a_process_has_its_cause_where_it_is_certain(ended: str, cause: str) -> None:
    found = load_package("blame").explain_end(ended, [], ["DEV-OPEN"], 60)
    assert (found.data["cause"], found.id) == (cause, "DEV-OPEN")
    assert found.remedy.endswith(".")
    assert "faulty" not in found.remedy


def test_every_cause_of_a_code_is_there_and_needs_no_word_that_nobody_gives() -> None:
    codes, causes = knowledge.table("codes.ini"), knowledge.table("causes")
    for family in ("cudnn", "cublas", "nccl", "errno", "windows", "signal"):
        for number in codes[family]:
            name, words, cause = knowledge.code(family, int(number))
            assert name.isidentifier(), (family, number)
            assert words
            assert not cause or cause in causes, cause
            assert knowledge.named(family, name)[1].name == name


def fields(section: Any) -> set[str]:  # noqa: ANN401
    """What the rows of a cause name in braces."""
    rows = (text for key, text in section.items() if key.partition(".")[0] in ("says", "do"))
    return {name for text in rows for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.slow
def test_every_cause_names_only_what_the_checks_know() -> None:
    causes, loading = knowledge.table("causes"), load_package("loading")
    usual = {"again", "bootstrap", "mps_fallback", "python", "recreate", "redistributable"}
    usual |= {"repair", "report", "sudo"}
    usual |= {"set", "switch", "unset_visible"}
    compiling = {*load_package("compile_checks").words_for(""), "named", "program", "other"}
    for name in causes.sections():
        section = causes[name]
        family = section.get("of", "")
        named = set(re.compile(section.get("match", "")).groupindex)
        found = dict.fromkeys(named, "x")
        if family == "import":
            words, _ = loading.words_of(knowledge.Match(name, found), ImportError("x"))
            assert fields(section) <= usual | set(words), name
        if family in ("compile", "sums"):
            assert fields(section) <= usual | named | (compiling if family == "compile" else set())
        if family == "run" or (section.get("match") and not family):
            assert fields(section) <= usual | named | {"on"}, name


def test_the_more_special_row_of_a_cause_stands_first() -> None:
    causes = knowledge.table("causes")
    for name in causes.sections():
        for kind in ("says", "do"):
            rows = [key for key in causes[name] if key.partition(".")[0] == kind]
            assert kind not in rows[:-1], name  # what is for all places comes last
