"""The menu of compute platforms marks what this machine can run, and nothing else knows of it."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from copier import run_copy, run_update

from render.fake_machines import OPEN, TWO_3090, fork, linux
from render.projects import commit, files, recorded, release, start, update
from scripts.smoke_helpers import load_package
from torch_template import machine_hint
from torch_template.build import Asked, Build, Wheels
from torch_template.machine_hint import Gpu, Machine
from torch_template.matrix.model import Matrix
from torch_template.menus import compute_platform_choices

LINUX, WINDOWS = "linux-x86_64", "windows-amd64"
RTX_3090 = Gpu("RTX 3090", "8.6")


def marks(matrix: Matrix, machine: Machine, system: str = LINUX) -> dict[str, list[str]]:
    """The compute platforms with each mark in a menu for Python 3.12."""

    def mark(build: Build) -> str:
        wheels = build.wheels.get(system)
        least = machine_hint.least_driver(matrix, wheels, machine.wsl)
        return machine_hint.mark(machine, wheels, least)

    plain = compute_platform_choices(matrix, Asked("uv", "3.12", "cpu"))
    marked = compute_platform_choices(matrix, Asked("uv", "3.12", "cpu"), mark=mark)
    shown: dict[str, list[str]] = {}
    for one, other in zip(plain, marked, strict=True):
        assert (one.value, one.why_not) == (other.value, other.why_not)
        name, _, facts = one.label.partition(" - ")
        if other.label != one.label:
            found = other.label.removeprefix(f"{name} ").removesuffix(f" - {facts}")
            shown.setdefault(found, []).append(one.value)
    return shown


OLD = ["cu126", "cu124", "cu121", "cu118"]


@pytest.mark.parametrize(
    ("driver", "capabilities", "fit"),
    [
        ("570.124.06", "8.6", ["cu129", "cu128", *OLD]),
        ("580.65.06", "8.6", ["cu132", "cu130", "cu129", "cu128", *OLD, "pypi"]),
        ("580.65.05", "8.6", ["cu129", "cu128", *OLD]),
        ("580.95.05", "6.1", OLD),  # Pascal
        ("570.124.06", "12.0", ["cu129", "cu128"]),
        ("580.95.05", "12.0 6.1", []),
        ("580.95.05", "12.0 8.9", ["cu132", "cu130", "cu129", "cu128", "pypi"]),
        ("470.256.02", "8.6", ["cu118"]),
        ("390.157", "6.1", []),
        ("580.95.05", "3.0", []),
    ],
)
def test_what_driver_and_gpus_can_run_is_marked(
    matrix: Matrix, driver: str, capabilities: str, fit: list[str]
) -> None:
    machine = Machine(driver, tuple(Gpu("GPU", one) for one in capabilities.split()))
    assert marks(matrix, machine) == ({"[fits]": fit} if fit else {})


def test_only_what_is_known_is_said(matrix: Matrix) -> None:
    fit = {"[driver fits]": ["cu129", "cu128", *OLD]}
    assert marks(matrix, Machine("570.124.06")) == fit
    assert marks(matrix, Machine("570.124.06", (Gpu("RTX 3090"),))) == fit
    assert marks(matrix, Machine("570.124.06", (RTX_3090, Gpu("RTX 3090")))) == fit
    assert marks(matrix, Machine("570.124.06", (Gpu("", "12.0"), Gpu("RTX 3090")))) == {
        "[driver fits]": ["cu129", "cu128"]
    }
    assert marks(matrix, Machine(gpus=(RTX_3090,))) == {}


def test_windows_has_floors_and_binaries_of_its_own(matrix: Matrix) -> None:
    shown = marks(matrix, Machine("580.88", (RTX_3090,)), WINDOWS)
    # What the older builds for Windows have code for is not established: no word for a known GPU.
    assert shown == {"[fits]": ["cu132", "cu130", "cu128", "cu126"]}
    assert {"cu124", "cu121", "cu118"} <= {
        *marks(matrix, Machine("580.88", (Gpu("RTX 3090"),)), WINDOWS)["[driver fits]"]
    }
    assert "cu130" not in marks(matrix, Machine("580.87", (RTX_3090,)), WINDOWS)["[fits]"]
    assert marks(matrix, Machine("580.88", (RTX_3090,)), "windows-arm64") == {}
    aarch64 = marks(matrix, Machine("580.95.05", (Gpu("GH200", "9.0"),)), "linux-aarch64")
    assert aarch64 == {"[fits]": ["cu132", "cu130", "cu129", "cu128", "cu126", "pypi"]}


@pytest.mark.parametrize(
    ("capability", "system", "said"),
    [
        ("3.5", LINUX, ", only for 3.7 to 12.0."),
        ("13.0", LINUX, ""),  # what has PTX for 12.0 compiles that for it
        ("13.0", WINDOWS, ", only for 5.0 to 12.0."),
        ("8.6", LINUX, ""),
        ("8.6", "linux-riscv64", ""),  # of which nothing is known
        ("", LINUX, ""),
    ],
)
def test_a_gpu_that_no_build_has_code_for_is_told_so(
    matrix: Matrix, capability: str, system: str, said: str
) -> None:
    machine = Machine("580.95.05", (RTX_3090, Gpu("GPU", capability)))
    begin = f"No build has code for compute capability {capability}" if said else ""
    assert machine_hint.without_code(matrix, machine, system) == begin + said


@pytest.mark.usefixtures("detection")
@pytest.mark.skipif("sys.platform != 'linux'", reason="needs Linux, whose files are faked")
def test_the_help_of_the_menu_says_so_too(
    matrix: Matrix, in_wsl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GPUS", "35 Tesla K40m")
    monkeypatch.setattr(machine_hint, "ROOT", in_wsl)
    shown = machine_hint.MachineHint(matrix)
    deadline = time.monotonic() + 30
    while not shown.hint() and time.monotonic() < deadline:
        shown = machine_hint.MachineHint(matrix)  # a busy machine had not answered yet
    first, second, rest = shown.hint().split("\n")
    assert first == "This machine: NVIDIA driver 570.124.06, Tesla K40m"
    assert second.strip() == "No build has code for compute capability 3.5, only for 3.7 to 12.0."
    assert (len(second), rest.strip()) == (3 + len(second.strip()), "")


def test_in_wsl_the_driver_is_that_of_windows(matrix: Matrix) -> None:
    assert marks(matrix, Machine("580.70", (RTX_3090,), wsl=True)) == {
        "[fits]": ["cu129", "cu128", *OLD]
    }
    assert "cu130" in marks(matrix, Machine("580.88", (RTX_3090,), wsl=True))["[fits]"]


def test_a_gpu_is_judged_as_the_smoke_test_does(matrix: Matrix) -> None:
    judge: Callable[[dict[str, Any], dict[str, str]], bool] = load_package("machine").runs_on
    capabilities = "3.5 3.7 5.0 5.2 5.3 6.0 6.1 6.2 7.0 7.2 7.5 8.0 8.6 8.7 8.9 9.0 10.0 10.1 10.3"
    verdicts = set()
    for rows in matrix.gpu_architectures.values():
        for row in rows:
            wheels = Wheels("cuda", None, {}, "", None, list(row.sm), row.ptx)
            unknown = Wheels("cuda", None, {}, "", None, [], None)
            assert not machine_hint.runs_on(unknown, row.sm[0])
            assert not judge({"gpu_architectures": [], "ptx": None}, {"capability": row.sm[0]})
            as_data = {"gpu_architectures": list(row.sm), "ptx": row.ptx}
            for one in [*capabilities.split(), "11.0", "12.0", "12.1", "13.0"]:
                verdict = machine_hint.runs_on(wheels, one)
                assert verdict == judge(as_data, {"capability": one}), (row, one)
                verdicts.add(verdict)
    assert verdicts == {True, False}


# --- Copies ------------------------------------------------------------------------------------


@pytest.fixture
def menus(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The menus that Copier shows from now on; whoever sees them takes every default."""
    shown: dict[str, Any] = {}
    before = set(threading.enumerate())  # another test's may hang

    def prompt(questions: Iterable[dict[str, Any]], answers: dict[str, Any]) -> dict[str, Any]:
        for one in questions:
            lines = [(c.title, c.value, c.disabled) for c in one.get("choices", ())]
            shown[one["name"]] = one["message"], lines, getattr(one.get("default"), "value", "")
        for thread in set(threading.enumerate()) - before:
            if thread.name == machine_hint.THREAD:
                thread.join(30)  # as a person takes longer than NVML
        return answers

    monkeypatch.setattr("copier._main.unsafe_prompt", prompt)
    return shown


@pytest.mark.usefixtures("detection")
def test_a_machine_changes_labels_and_nothing_else(
    template: Path,
    tmp_path: Path,
    in_wsl: Path,
    menus: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = str(fork(template, tmp_path / "fork", in_wsl))
    monkeypatch.setenv("FAKE_SLEEP", "0.3")  # too long to wait for, had it not begun before
    run_copy(there, tmp_path / "on", unsafe=True, quiet=True)
    on = menus.copy()
    (tmp_path / "trace").unlink()
    for value in ("0", "no", "Off", " FALSE "):
        monkeypatch.setenv("TORCH_STARTER_DETECT", value)
        run_copy(there, tmp_path / f"off {value}", unsafe=True, quiet=True)
        assert not (tmp_path / "trace").exists()
        assert files(tmp_path / "on") == files(tmp_path / f"off {value}")

    name = "compute_platform"
    assert on.keys() == menus.keys()
    assert [one for one in on if on[one] != menus[one]] == [name]
    message, lines, default = on[name]
    other_message, other_lines, other_default = menus[name]
    line = "This machine: NVIDIA driver 570.124.06, 2x RTX 3090"
    assert message == f"{line}\n   {other_message}"
    assert default == other_default == recorded(tmp_path / "on")[name]
    marked = {value for title, value, _ in lines if " [fits] - " in title}
    assert {"cu128", "cu126"} <= marked <= {"cu129", "cu128", *OLD}
    plain = [(title.replace(" [fits]", ""), value, why) for title, value, why in lines]
    assert plain == other_lines


@pytest.mark.slow
@pytest.mark.usefixtures("detection")
def test_only_a_menu_makes_it_look_and_only_once(
    template: Path, tmp_path: Path, in_wsl: Path, menus: dict[str, Any]
) -> None:
    there = fork(template, tmp_path / "fork", in_wsl)
    release(there, "v1.0.0")
    project = start(there, tmp_path / "project")
    update(project, vcs_ref="v1.0.0", ci="none")
    commit(project)
    run_copy(str(there), tmp_path / "given", {"compute_platform": "cpu"}, unsafe=True, quiet=True)
    assert "compute_platform" not in menus
    assert not (tmp_path / "trace").exists()

    run_update(project, unsafe=True, quiet=True, overwrite=True)
    message, lines, _ = menus["compute_platform"]
    assert message.startswith("This machine: ")
    assert any(" [fits] - " in title for title, _, _ in lines)
    assert (tmp_path / "trace").read_text(encoding="ascii") == "asked\n"


def test_nothing_of_it_is_in_the_projects_templates(template: Path) -> None:
    for folder in ("template", "includes"):
        for path in (template / folder).rglob("*"):
            assert path.is_dir() or b"machine_hint" not in path.read_bytes(), path


def keyboard(template: Path, folder: Path, env: dict[str, str]) -> Any:  # noqa: ANN401
    """A terminal of 80 columns that shows the menu of compute platforms."""
    pytest.importorskip("fcntl", reason="Windows has no pseudo-terminals")
    folder.mkdir()
    return importlib.import_module("screenshots").menu(folder, template, (80, 60), env)


@pytest.mark.usefixtures("detection")
def test_the_menu_in_a_terminal_shows_the_machine_in_80_columns(
    template: Path, tmp_path: Path, nvml: Path
) -> None:
    there = fork(template, tmp_path / "fork", linux(tmp_path / "root"))
    env = {"LD_LIBRARY_PATH": str(nvml.parent), "FAKE_GPUS": TWO_3090}
    terminal = keyboard(there, tmp_path / "work", env)
    shown = [line.rstrip() for line in terminal.screen.display]
    terminal.stop()
    at = next(i for i, line in enumerate(shown) if "This machine:" in line)
    assert shown[at].endswith("This machine: NVIDIA driver 570.124.06, 2x RTX 3090")
    assert shown[at + 1].startswith("   What PyTorch computes on; ")
    assert shown[at + 1].endswith(" driver")  # nothing is cut off
    [longest] = [line for line in shown if line.startswith("   CUDA 12.9 [fits] - driver")]
    assert longest.endswith(", Linux only")
    assert len([line for line in shown if line.startswith("   CUDA 13.")]) == 2
    assert not any("CUDA 13" in line and "[" in line for line in shown)


@pytest.mark.slow
@pytest.mark.usefixtures("detection")
def test_a_driver_that_hangs_holds_up_neither_the_menu_nor_the_end(
    template: Path, tmp_path: Path, nvml: Path
) -> None:
    there = fork(template, tmp_path / "fork", linux(tmp_path / "root", OPEN, ["Tesla T4"]))
    env = {"LD_LIBRARY_PATH": str(nvml.parent), "FAKE_SLEEP": "600"}
    terminal = keyboard(there, tmp_path / "work", env)
    shown = "\n".join(line.rstrip() for line in terminal.screen.display)
    assert "This machine: NVIDIA driver 580.95.05, Tesla T4\n" in shown
    assert "CUDA 13.0 [driver fits] - driver 580+, Turing to Blackwell, torch 2.14.1\n" in shown
    next_ones = (
        "`latest` moves with",
        "Packages to install",
        "Builds of the same torch",
        "begins with",
        "Base URL",
        "Continuous",
        "What CI tests on",
        "A Dockerfile",
        "Files for other tools",
    )
    for shown_next in next_ones:
        terminal.type("\r", until=shown_next)
    terminal.type("\r", until="is ready")
    assert terminal.finish(seconds=60) == 0
    asked = recorded(tmp_path / "work" / "my-torch-project")["compute_platform"]
    assert asked == "cpu"
