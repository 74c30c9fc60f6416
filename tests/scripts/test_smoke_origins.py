"""Where a library comes from that is none of the environment's, and how to take it away."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker

from scripts.injections import compiled
from scripts.smoke_helpers import load_package

knowledge: Any = importlib.import_module("surroundings.knowledge")
linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's linker")


@pytest.fixture
def origins(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401
    """The module, on a machine whose variables name nothing."""
    for name in ("LD_LIBRARY_PATH", "LD_PRELOAD", "LOADEDMODULES", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    return load_package("origins")


@linux
def test_a_variable_a_module_and_conda_are_told_apart(
    origins: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    library = tmp_path / "cudnn" / "lib" / "libcudnn.so.9"
    library.parent.mkdir(parents=True)
    library.touch()
    path = str(library)
    assert origins.how_to_remove(path).startswith(f"Rename {path}; ")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/nowhere:{library.parent}")
    assert origins.how_to_remove(path) == (
        f"Take {library.parent} out of LD_LIBRARY_PATH: type `unset LD_LIBRARY_PATH` if nothing "
        "else is in it."
    )
    assert origins.first_outside(origins.named_by_variables("libcudnn")) == path
    monkeypatch.setenv("LOADEDMODULES", "GCC/13:cuDNN/9.1")
    assert origins.how_to_remove(path).startswith("Type `module unload cuDNN/9.1`")
    monkeypatch.delenv("LOADEDMODULES")
    (tmp_path / "cudnn" / "conda-meta").mkdir()
    assert origins.how_to_remove(path).startswith("Type `conda deactivate`: ")
    monkeypatch.setenv("LD_PRELOAD", path)
    assert origins.how_to_remove(path) == f"Type `unset LD_PRELOAD`: it names {path}."


@linux
def test_what_the_system_has_is_told_by_its_package_and_never_removed_where_all_need_it(
    origins: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for command in ("dpkg -S", "rpm -qf", "pacman -Qo"):
        monkeypatch.setattr(origins, "owns", lambda command=command: command)
        found = origins.how_to_remove("/usr/lib/x86_64-linux-gnu/libcudnn.so.8.9.7")
        assert found.startswith(f"Type `{command} /usr/lib/x86_64-linux-gnu/libcudnn.so.8.9.7` to")
    found = origins.how_to_remove("/usr/lib/x86_64-linux-gnu/libstdc++.so.6")
    assert found.startswith("It is the system's own")
    monkeypatch.setattr(origins, "linker_entry", lambda folder: "/etc/ld.so.conf.d/x.conf")
    found = origins.how_to_remove("/usr/local/no-such-cuda/lib64/libcublas.so.12")
    assert found == (
        "Take the line `/usr/local/no-such-cuda/lib64` out of /etc/ld.so.conf.d/x.conf, then type "
        "`sudo ldconfig`."
    )


@linux
def test_the_linker_s_own_folders_are_no_entries_to_take_out(origins: Any) -> None:  # noqa: ANN401
    usual = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/local/lib")
    for folder in usual:
        assert origins.linker_entry(folder) == ""


@linux
def test_what_belongs_to_the_environment_is_installed_again(origins: Any) -> None:  # noqa: ANN401
    assert "bootstrap.sh" in origins.how_to_remove(str(Path(sys.prefix, "lib", "libx.so")))


@linux
def test_the_mount_of_a_file_is_known_with_whether_it_may_run_something() -> None:
    mount_of = load_package("loading").mount_of
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, place, kind, options = line.split()[:4]
        if kind in ("proc", "sysfs") and place in ("/proc", "/sys"):
            assert mount_of(f"{place}/x") == (place, "noexec" in options.split(","))


@pytest.mark.parametrize(
    ("loaded", "path", "module"),
    [
        ("gcc/9.3.0:R/4.3.1", "/home/rita/proj/old/libstdc++.so.6", ""),
        ("gcc/9.3.0:R/4.3.1", "/sw/R/4.3.1/lib/libR.so", "R/4.3.1"),
        ("gcc/9.3.0:R/4.3.1", "/sw/R/4.2.0/lib/libR.so", ""),
        ("t/1:git/2.4", "/home/t/lib/libx.so", ""),
        (
            "GCC/12.3:cuDNN/8.9.2-CUDA-12.1",
            "/sw/cudnn-8.9/lib/libcudnn.so",
            "cuDNN/8.9.2-CUDA-12.1",
        ),
        ("cuda/12.1", "/usr/local/cuda-11.8/lib64/libcudart.so", ""),
        ("cuda/12.1", "/usr/local/cuda/lib64/libcudart.so", "cuda/12.1"),
        ("compilers/gcc/9.3.0", "/opt/gcc-9.3.0-x3k/lib64/libgomp.so.1", "compilers/gcc/9.3.0"),
        ("python/3.10", "/home/me/.venv/lib/python3.12/site-packages/a.so", ""),
    ],
)
def test_a_module_brings_what_lies_in_a_folder_of_its_name_and_version(
    origins: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
    loaded: str,
    path: str,
    module: str,
) -> None:
    monkeypatch.setenv("LOADEDMODULES", loaded)
    assert origins.module_with(path) == module


# --- Names and numbers, against the headers of those who gave them

HEADERS = {
    "cudnn": (
        "nvidia-cudnn-cu13==9.28.1.4",
        "cudnn_graph.h",
        r"(CUDNN_STATUS_\w+)\s*=\s*(\d+)\s*,",
    ),
    "cublas": ("nvidia-cublas==13.10.0.20", "cublas_api.h", r"(CUBLAS_STATUS_\w+) = (\d+)"),
    "nccl": ("nvidia-nccl-cu13==2.32.3", "nccl.h", r"(nccl(?!NumResults)[A-Z]\w+)\s*=\s*(\d+),"),
}


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("family", HEADERS)
def test_the_codes_are_all_that_the_header_has(family: str, tmp_path: Path) -> None:
    package, header, pattern = HEADERS[family]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--only-binary=:all:", f"--dest={tmp_path}", package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        name = next(one for one in archive.namelist() if one.endswith(f"/{header}"))
        text = archive.read(name).decode().partition("} ncclResult_t")[0]
    wheel.unlink()
    section = knowledge.table("codes.ini")[family]
    have = {(knowledge.code(family, int(number)).name, number) for number in section}
    assert have == set(re.findall(pattern, text))


@linux
def test_errno_s_numbers_are_linux_s() -> None:
    import errno

    section = knowledge.table("codes.ini")["errno"]
    for number in section:
        assert errno.errorcode[int(number)] == knowledge.code("errno", int(number)).name


@linux
def test_signals_numbers_are_linux_s() -> None:
    import signal

    for number in knowledge.table("codes.ini")["signal"]:
        assert signal.Signals(int(number)).name == knowledge.code("signal", int(number)).name


# --- What packages require


MARKERS = [
    "",
    "platform_system == 'Linux' and platform_machine == 'x86_64'",
    "platform_system == 'Windows'",
    'python_version >= "3.12"',
    'python_version < "3.9" or sys_platform != "win32"',
    "python_full_version >= '3.10.0'",
    "extra == 'opt-einsum'",
    "platform_machine in 'x86_64 aarch64' and extra == 'cublas'",
    "(sys_platform == 'linux' or sys_platform == 'win32') and extra == 'all'",
    "implementation_name == 'cpython' and python_version not in '2.7 3.3'",
    "os_name == 'posix'",
    "python_version ~= '3.9'",
    "python_version ~= '2.7' or python_full_version ~= '3.99.0'",
]


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("extra", ["", "cublas", "opt-einsum", "all"])
def test_markers_are_understood_as_packaging_does(marker: str, extra: str) -> None:
    wanted = Marker(marker).evaluate({"extra": extra}) if marker else True
    # Of an extra, only what is its own counts; torch itself needs what has no extra.
    wanted = wanted and ("extra" in marker or not extra)
    assert load_package("requirements").applies(marker, extra) == wanted


def test_a_marker_that_is_not_understood_asks_for_nothing() -> None:
    applies = load_package("requirements").applies
    assert not applies("platform_moon == 'full'")
    assert not applies("__import__('os')")
    assert not applies("python_version ~~ '3.1'")


@linux
def test_a_compiled_package_is_held_against_what_torch_has(tmp_path: Path) -> None:
    elf = load_package("elf")
    has, needs = (tmp_path / name for name in ("libc10.so", "libnew.so"))
    compiled(has, "".join(f"void _ZN3c10{n}fEv(void) {{}}" for n in range(300)))
    code = "extern void {0}(void) {1}; void g{2}(void) {{ if ({0}) {0}(); }}"
    weak = code.format("_ZN3c103oldEv", "__attribute__((weak))", 1)
    compiled(needs, weak + code.format("_ZN3c10299fEv", "", 2))
    there = [elf.Library(has)]
    pattern = load_package("package_checks").TORCH_SYMBOLS
    assert elf.lacking([needs], pattern, there) == ""
    assert all(there[0].defines(b"_ZN3c10%dfEv" % n) for n in range(300))
    assert not any(there[0].defines(b"_ZN3c10%dfEv" % n) for n in range(300, 900))
    compiled(needs, code.format("_ZN3c10300fEv", "", 1))
    assert elf.lacking([needs], pattern, there) == "_ZN3c10300fEv"
    own = compiled(tmp_path / "libown.so", "void _ZN3c10300fEv(void) {}")
    assert elf.lacking([needs, own], pattern, there) == ""  # it brings it itself
    for content in (b"", b"MZ", b"\x7fELF", has.read_bytes()[:900]):
        needs.write_bytes(content)
        assert elf.lacking([needs], pattern, there) == ""


@pytest.mark.network
@pytest.mark.slow
@linux
def test_torch_lacks_nothing_of_its_own(torch_venv: Path) -> None:
    elf, pattern = load_package("elf"), load_package("package_checks").TORCH_SYMBOLS
    [folder] = torch_venv.glob("lib/python*/site-packages/torch/lib")
    there = [elf.Library(path) for path in folder.glob("lib*.so")]
    assert len(there) > 5
    assert elf.lacking([folder / "libtorch_python.so"], pattern, there) == ""
    assert any(one.defines(b"_ZN3c104impl8GPUTrace13gpuTraceStateE") for one in there)
