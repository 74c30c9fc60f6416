"""What the menu of compute platforms can know of this machine, without starting a program."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from render.fake_machines import (
    OPEN,
    PROPRIETARY,
    WSL_LIBRARY,
    fake_nvml,
    gpu_file,
    linux,
    write,
)
from torch_template import machine_hint
from torch_template.machine_hint import Gpu, Look, Machine, describe, kernel_module, short_name

LINUX, WINDOWS = "linux-x86_64", "windows-amd64"
LONG = 30.0  # seconds: enough for a thread of a busy machine
RTX_3090 = Gpu("RTX 3090", "8.6")
# An error in the thread would be on the terminal, in the middle of a menu.
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
GARBAGE = [b"", b"\0\xff\xfe\n" * 99, "NVRM version: caf\xe9\n570.1\n".encode("latin-1"), b"NVRM "]


def found(root: Path, system: str = LINUX, wait: float = LONG) -> Machine:
    nowhere = {"SYSTEMROOT": str(root), "PROGRAMFILES": str(root)}
    return Look(system, root, nowhere).found(wait)


# --- What the kernel module says ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        (PROPRIETARY, "570.124.06"),
        (OPEN, "580.95.05"),
        (OPEN.replace("x86_64", "aarch64"), "580.95.05"),
        (PROPRIETARY.replace("570.124.06", "535.54"), "535.54"),
        (PROPRIETARY.replace("Wed", "caf\xe9").encode("latin-1"), "570.124.06"),
    ],
)
def test_the_version_of_the_kernel_module_is_read(
    tmp_path: Path, text: str | bytes, driver: str
) -> None:
    root = linux(tmp_path, text, ["NVIDIA GeForce RTX 3090", "Unknown", "Tesla T4"])
    assert kernel_module(root) == Machine(driver, (Gpu("RTX 3090"), Gpu("Tesla T4")))


@pytest.mark.parametrize("text", GARBAGE)
def test_a_file_without_a_version_says_nothing(tmp_path: Path, text: bytes) -> None:
    assert found(linux(tmp_path, text, ["Tesla T4"])) == Machine()


@pytest.mark.parametrize("text", GARBAGE)
def test_a_gpu_without_a_name_is_left_out(tmp_path: Path, text: bytes) -> None:
    root = linux(tmp_path, models=["Tesla T4", "Tesla T4"])
    write(root / gpu_file(1), text)
    assert kernel_module(root) == Machine("570.124.06", (Gpu("Tesla T4"),))


def test_a_machine_without_a_driver_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder/proc/driver/nvidia/version").mkdir(parents=True)  # no file
    roots = tmp_path / "missing", tmp_path / "folder"
    systems = LINUX, WINDOWS, "linux-riscv64", "windows-arm64"
    assert {found(root, system) for root in roots for system in systems} == {Machine()}
    assert describe(Machine()) == describe(Machine(gpus=(RTX_3090,))) == ""


def test_a_jetson_board_says_nothing(tmp_path: Path) -> None:
    write(linux(tmp_path, OPEN, ["Orin (nvgpu)"]) / "etc/nv_tegra_release", "# R36\n")
    assert found(tmp_path, "linux-aarch64") == Machine()


# --- What NVML says ----------------------------------------------------------------------------


def test_nvml_knows_the_capabilities(in_wsl: Path) -> None:
    assert found(in_wsl) == Machine("570.124.06", (RTX_3090, RTX_3090), wsl=True)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"FAKE_INIT": "18"}, Machine()),
        ({"FAKE_DRIVER": "not a version"}, Machine("", (RTX_3090, RTX_3090))),
        ({"FAKE_DRIVER": ""}, Machine("", (RTX_3090, RTX_3090))),
        ({"FAKE_SEEN": "4000000000"}, Machine("570.124.06")),
        ({"FAKE_GPUS": ""}, Machine("570.124.06")),
        ({"FAKE_GPUS": "lost|75 Tesla T4"}, Machine("570.124.06", (Gpu("Tesla T4", "7.5"),))),
        ({"FAKE_GPUS": "0 Tesla T4"}, Machine("570.124.06", (Gpu("Tesla T4"),))),
        ({"FAKE_GPUS": "75 \x1b\t\xff"}, Machine("570.124.06", (Gpu("GPU", "7.5"),))),
    ],
)
def test_what_nvml_does_not_know_is_left_out(
    in_wsl: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: Machine
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    machine = found(in_wsl)
    assert (machine.driver, machine.gpus) == (expected.driver, expected.gpus)


@pytest.mark.parametrize(
    ("without", "expected"),
    [
        ("VERSION", Machine()),
        ("COUNT", Machine("570.124.06", wsl=True)),
        ("CAPABILITY", Machine("570.124.06", wsl=True)),
    ],
)
def test_a_library_without_all_of_nvml_is_no_error(
    in_wsl: Path, tmp_path: Path, without: str, expected: Machine
) -> None:
    old = fake_nvml(tmp_path, without)
    (in_wsl / WSL_LIBRARY).write_bytes(old.read_bytes())
    assert found(in_wsl) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has another name for its library")
def test_what_is_no_library_is_no_error(tmp_path: Path) -> None:
    write(tmp_path / "dev/dxg")
    assert found(tmp_path) == Machine()
    for content in GARBAGE:
        write(tmp_path / WSL_LIBRARY, content)
        assert found(tmp_path) == Machine()


@pytest.mark.parametrize("variable", ["FAKE_SLEEP", "FAKE_LOAD"])
def test_an_nvml_that_hangs_leaves_what_the_kernel_module_says(
    tmp_path: Path, nvml: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    linux(tmp_path, models=["NVIDIA GeForce RTX 3090"])
    own = write(tmp_path / "own.so", nvml.read_bytes())  # one that is not loaded yet
    monkeypatch.setattr(machine_hint, "nvml_library", lambda *_: str(own))
    monkeypatch.setenv(variable, "3")
    began = time.perf_counter()
    look = Look(LINUX, tmp_path, {})
    machine = look.found(wait=0.5)
    assert time.perf_counter() - began < 2.5
    assert machine == Machine("570.124.06", (Gpu("RTX 3090"),))
    assert look.found(wait=LONG) is machine  # all of a menu says the same


def test_a_kernel_module_that_is_not_loaded_is_not_loaded_by_nvml(
    tmp_path: Path, nvml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_hint, "nvml_library", lambda *_: str(nvml))
    monkeypatch.setenv("FAKE_TRACE", str(tmp_path / "trace"))
    write(tmp_path / "dev/nvidiactl")
    assert found(tmp_path) == Machine()
    assert not (tmp_path / "trace").exists()
    assert found(linux(tmp_path)) == Machine("570.124.06")
    assert (tmp_path / "trace").exists()


def test_nvml_is_looked_for_where_the_system_has_it(tmp_path: Path) -> None:
    of = machine_hint.nvml_library
    assert of(LINUX, tmp_path, {}) == ""  # no devices: NVML would start a program to make them
    assert of(LINUX, linux(tmp_path / "linux"), {}) == "libnvidia-ml.so.1"
    windows = {"SYSTEMROOT": str(tmp_path / "w"), "PROGRAMFILES": str(tmp_path / "p")}
    assert of(WINDOWS, tmp_path, windows) == ""
    older = write(tmp_path / "p/NVIDIA Corporation/NVSMI/nvml.dll")
    assert of(WINDOWS, tmp_path, windows) == str(older)
    assert of(WINDOWS, tmp_path, windows) != of(WINDOWS, tmp_path, {})
    newer = write(tmp_path / "w/System32/nvml.dll")
    assert of(WINDOWS, tmp_path, windows) == str(newer)


@pytest.mark.parametrize("seconds", ["0", "5"])
def test_the_hint_costs_less_than_50_ms(
    in_wsl: Path, monkeypatch: pytest.MonkeyPatch, seconds: str
) -> None:
    monkeypatch.setenv("FAKE_SLEEP", seconds)

    def cost() -> float:
        began = time.perf_counter()
        describe(Look(LINUX, in_wsl, {}).found())
        return time.perf_counter() - began

    assert min(cost() for _ in range(5)) < 0.05  # the least: other work on this machine costs too


# --- The line ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("NVIDIA GeForce RTX 3090", "RTX 3090"),
        ("GeForce GTX 1080 Ti", "GTX 1080 Ti"),
        ("NVIDIA GeForce RTX 4070 Laptop GPU", "RTX 4070 Laptop"),
        ("NVIDIA H100 80GB HBM3", "H100 80GB HBM3"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000 Blackwell Server"),
        ("Quadro P4000", "Quadro P4000"),
        ("NVIDIA {{ 1 }}\x1b[31m\xe9", "1 31m"),
        ("x" * 999, "x" * 40),
        ("NVIDIA", "NVIDIA"),
    ],
)
def test_a_name_is_short_and_plain(name: str, short: str) -> None:
    assert short_name(name) == short


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([], ""),
        (["T4"], ", T4"),
        (["RTX 3090"] * 2, ", 2x RTX 3090"),
        (["T4", "RTX 3090", "T4"], ", 2x T4, RTX 3090"),
        (["T4", "RTX 3090", "P4", "V100"], ", T4, RTX 3090 and 2 more"),
        (
            ["H100 80GB HBM3"] * 4 + ["RTX PRO 6000 Blackwell Server"],
            ", 4x H100 80GB HBM3 and 1 more",
        ),
        (["x" * 40] * 64, f",\n   64x {'x' * 40}"),
        (["x" * 40] * 2 + ["y" * 40], f",\n   2x {'x' * 40} and 1 more"),
    ],
)
def test_the_line_names_the_gpus_shortly_in_80_columns(names: list[str], shown: str) -> None:
    line = describe(Machine("570.124.06", tuple(map(Gpu, names))))
    assert line == f"This machine: NVIDIA driver 570.124.06{shown}"
    assert max(len(part) for part in f"   {line}".splitlines()) <= 80
