"""The smoke test reads of real Windows DLLs what they need, and names the one that is missing."""

import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts.smoke_helpers import load_package

dlls = load_package("dlls")
BOOTSTRAP = f"Type `{load_package('machine').BOOTSTRAP}`."
# What Windows itself brings; it does not run here.
SYSTEM = ("kernel32.dll", "advapi32.dll", "ole32.dll", "oleaut32.dll")
RUNTIME_WHEEL = "msvc-runtime==14.44.35112"


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Microsoft's own Visual C++ runtime, from a wheel of 2 MB."""
    folder = tmp_path_factory.mktemp("runtime")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--platform=win_amd64", "--python-version=3.11", "--only-binary=:all:"]
    done = subprocess.run(
        [*command, f"--dest={folder}", RUNTIME_WHEEL], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        for name in wheel.namelist():
            if name.endswith(".dll") and Path(name).stem.startswith(("msvcp", "vcr", "concrt")):
                (folder / Path(name).name).write_bytes(wheel.read(name))
    return folder


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A System32 in which only names matter."""
    folder = tmp_path / "System32"
    folder.mkdir()
    for name in SYSTEM:
        (folder / name.upper()).touch()
    return folder


@pytest.mark.network
def test_microsofts_own_dlls_find_each_other_and_one_that_is_taken_away_is_named(
    runtime: Path, system: Path, tmp_path: Path
) -> None:
    assert len(list(runtime.glob("*.dll"))) > 6
    found = dlls.imports(runtime / "msvcp140.dll")
    assert {"vcruntime140.dll", "vcruntime140_1.dll", "kernel32.dll"} <= set(found)
    assert any(name.startswith("api-ms-win-crt-") for name in found)
    assert dlls.missing(runtime, [system]) == []
    assert dlls.trouble(runtime, [system]) is None

    torch = tmp_path / "torch" / "lib"  # as it is where a DLL of torch needs the runtime
    torch.mkdir(parents=True)
    (torch / "c10.dll").write_bytes((runtime / "msvcp140_1.dll").read_bytes())
    assert dlls.missing(torch, [system, runtime]) == []
    problem, remedy = dlls.trouble(torch, [system])
    assert problem.startswith("c10.dll needs ")
    assert "msvcp140.dll" in {name for _, name in dlls.missing(torch, [system])}
    assert "vc_redist.x64.exe" in remedy
    assert "msvc-runtime" in remedy


def image(*names: str) -> bytes:
    """The least 64-bit DLL: headers, and one section with a table of imports."""
    base, where = 0x1000, 0x200  # the section's address and its place in the file
    strings = base + 20 * (len(names) + 1)
    table, text = b"", b""
    for name in names:
        table += struct.pack("<5I", 0, 0, 0, strings + len(text), 0)
        text += name.encode() + b"\0"
    section = table + bytes(20) + text
    coff = struct.pack("<4s2H3I2H", b"PE\0\0", 0x8664, 1, 0, 0, 0, 240, 0x2022)
    directories = struct.pack("<2I", 0, 0) + struct.pack("<2I", base if names else 0, len(table))
    optional = struct.pack("<H106xI", 0x20B, 16) + directories + bytes(8 * 14)
    header = struct.pack("<8s6I12x", b".rdata", len(section), base, len(section), where, 0, 0)
    dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    return (dos + coff + optional + header).ljust(where, b"\0") + section


@pytest.mark.parametrize(
    ("names", "said", "remedy"),
    [
        (["c10.dll"], "torch_cpu.dll needs c10.dll, which", "virus scanner leave .venv alone."),
        (["python311.dll", "KERNEL32.dll"], "needs python311.dll, which", BOOTSTRAP),
        (["MSVCP140_ATOMIC_WAIT.dll", "uv.dll"], "on this machine, as are 1 more.", "vc_redist"),
        (
            ["libomp140.x86_64.dll"],
            "needs libomp140",
            "`copier update --trust --vcs",
        ),
        (["nvcuda.dll", "api-ms-win-crt-math-l1-1-0.dll", "kernel32.dll"], "", ""),
        ([], "", ""),
    ],
)
def test_each_missing_dll_has_its_remedy(
    tmp_path: Path, system: Path, names: list[str], said: str, remedy: str
) -> None:
    (tmp_path / "torch_cpu.dll").write_bytes(image(*names))
    assert dlls.imports(tmp_path / "torch_cpu.dll") == [name.lower() for name in names]
    found = dlls.trouble(tmp_path, [system, tmp_path / "no such folder"])
    if said:
        assert said in found[0]
        assert remedy in found[1]
    else:
        assert found is None


@pytest.mark.parametrize(
    ("imported", "status", "remedy"),
    [("pass", "pass", ""), ("fail", "fail", "Install it."), ("", "fail", "Install it.")],
)
def test_what_windows_found_after_all_is_not_missing(
    imported: str, status: str, remedy: str
) -> None:
    check = load_package("check").Check
    found = [check("fail", "c10.dll needs x.dll, which is nowhere.", "Install it.", id="TORCH-DLL")]
    if imported:
        found.append(check(imported, "`import torch` ended.", "Reboot.", id="TORCH-IMPORT"))
    load_package("command").name_causes(found)
    assert (found[0].status, found[0].remedy) == (status, remedy)
    if imported == "fail":
        assert found[1].remedy == "This follows from TORCH-DLL."


@pytest.mark.parametrize("length", [0, 1, 60, 64, 100, 200, 300, 520])
def test_a_damaged_dll_is_told_as_such(tmp_path: Path, length: int) -> None:
    (tmp_path / "torch_cpu.dll").write_bytes(image("kernel32.dll")[:length])
    problem, remedy = dlls.trouble(tmp_path, [])
    assert problem == f"torch_cpu.dll in {tmp_path} is damaged."
    assert remedy == BOOTSTRAP
    (tmp_path / "torch_cpu.dll").write_bytes(b"\x7fELF".ljust(9999, b"\0"))
    assert "is damaged" in dlls.trouble(tmp_path, [])[0]
