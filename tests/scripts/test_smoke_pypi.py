"""PyPI's wheels: the smoke test takes what the machine has, and says for what they stand in."""

import json
import venv
from pathlib import Path
from typing import Any

import pytest

from scripts.injections import ON_CPU, before_torch, cpu_wheels
from scripts.smoke_helpers import (
    HERE,
    OTHER_WHEELS,
    TORCH,
    Project,
    fake_driver,
    needs_namespaces,
    version_of,
    wheels_of,
    without_gpu,
)
from scripts.worlds import world

ON_THE_CPU = f"PASS  torch {TORCH}+cu130 on the CPU"
INSTEAD = " (PyPI's own wheels stand in for the project's {} build on this machine)"
REASON = "https://index.example/whl/cpu cannot be reached (connection refused)"
MARK = "bootstrap-stamp.json"
OPEN = (*before_torch(), "--only", "DEV-OPEN")


def made_for_this_machine(root: Path, own: str, stamp: object) -> Project:
    """A project whose .venv has PyPI's wheels, as bootstrap has written down."""
    project = Project(root / "project", own, alternatives=("cpu", "cu126", "rocm7.2", "xpu"))
    project.add_stub_torch(ON_CPU, version_of("pypi"), cuda="13.0")
    version = version_of("pypi")
    row = {"toolkit": "13.0", "torch_version": version, "packages": {"torch": version}}
    edit(project, lambda data: data["builds"].update(pypi=build_of("pypi", row)))
    (project.root / ".venv").unlink()
    venv.create(project.root / ".venv", symlinks=True)
    project.executable = str(project.root / ".venv" / "bin" / "python")
    text = stamp if isinstance(stamp, str) else json.dumps(stamp)
    (project.root / ".venv" / MARK).write_text(text, encoding="utf-8")
    return project


def build_of(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """A build as in torch_builds.json."""
    platforms = {HERE: {**wheels_of(name), **row}}
    return {"label": "PyPI's own wheels", "platforms": platforms}


def edit(project: Project, change: Any) -> None:  # noqa: ANN401
    """Change the project's data file."""
    file = project.root / "scripts" / "torch_builds.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    change(data)
    file.write_text(json.dumps(data), encoding="utf-8")


def outputs(project: Project, *arguments: str, **env: str) -> dict[str, str]:
    """The verdict as every output has it."""
    files = {name: project.root / f"{name}.md" for name in ("markdown", "report")}
    options = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    text = project.run(*options, *arguments, **env).text
    heads = {name: file.read_text(encoding="utf-8") for name, file in files.items()}
    return {name: head.splitlines()[0] for name, head in {**heads, "text": text}.items()}


@pytest.mark.slow
def test_the_warning_is_a_failure_where_it_is_asked_to_be(tmp_path: Path) -> None:
    needs_namespaces()
    project = Project(tmp_path / "project", "pypi")
    project.add_stub_torch(ON_CPU)
    project.before = world()
    outcome = project.run(*OPEN, "--strict")
    assert (outcome.code, outcome.ids("warn")) == (5, ["DRV-LIBCUDA"])
    assert outcome.text.startswith(
        f"WARN  torch {TORCH}+cu130, asked for CUDA: DRV-LIBCUDA (--strict)"
    )
    assert outcome.document["device"] == "cuda"
    for device, code in (("cpu", 0), ("mps", 3), ("xpu", 3)):
        assert project.run(*OPEN, "--strict", "--device", device).code == code


@pytest.mark.slow
@pytest.mark.parametrize("own", ["cu130", "cpu", "rocm7.2"])
def test_a_machine_build_takes_what_the_machine_has_as_a_project_does(
    tmp_path: Path, own: str
) -> None:
    needs_namespaces()
    project = made_for_this_machine(tmp_path, own, {"machine_build": "pypi"})
    project.before = world()
    outcome = project.run(*OPEN)
    assert (outcome.code, outcome.ids("warn")) == (0, ["DRV-LIBCUDA"])
    assert outcome.text.startswith(f"{ON_THE_CPU}, no CUDA device here  (")
    assert outcome["TORCH-BUILD"]["message"].endswith(f"the project's own is {own}")
    driver = {"LD_LIBRARY_PATH": str(fake_driver(tmp_path))}
    good = project.run(*before_torch(), **driver)
    assert (good.ids("fail"), good.ids("warn")) == ([], [])
    assert {"CUDA-NODEVICE", "DRV-ARCH"} <= set(good.ids("pass"))
    assert project.run(*OPEN, "--device", "cuda").ids("fail") == ["DRV-LIBCUDA", "DEV-OPEN"]
    (project.root / "site" / "torch" / "version.py").unlink()
    again = "Type `sh bootstrap.sh --compute-platform pypi --recreate`."
    assert project.run(*OPEN)["TORCH-FOUND"]["remedy"] == again


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("own", "warned", "instead"),
    [
        ("cpu", [], ""),
        ("cu130", ["DRV-LIBCUDA"], ", no CUDA device here"),
        ("cu126", ["DRV-LIBCUDA"], ", no CUDA device here"),
        ("rocm7.2", ["DRV-LIBCUDA"], ", no CUDA device here"),
        ("xpu", ["DRV-LIBCUDA"], ", no CUDA device here"),
    ],
)
def test_what_stands_in_for_the_projects_own_build_is_told_in_every_output(
    tmp_path: Path, own: str, warned: list[str], instead: str
) -> None:
    needs_namespaces()
    stamp = {"machine_build": "pypi", "fallback": REASON, "inputs": "0"}
    project = made_for_this_machine(tmp_path, own, stamp)
    project.before = world()
    verdict = ON_THE_CPU + instead + INSTEAD.format(own)
    found = outputs(project, *OPEN)
    assert found["text"].startswith(f"{verdict}  (")
    assert found["report"] == f"# Smoke test: {' '.join(verdict.split())}"
    assert found["markdown"].startswith(f"### {verdict.replace('  ', ' ')} (")
    outcome = project.run(*OPEN)
    assert (outcome.code, outcome.ids("warn")) == (0, warned)
    told = "PyPI's own wheels stand in for the project's own build, "
    assert outcome["TORCH-BUILD"]["message"] == f"{told}{own}, on this machine alone: {REASON}"
    assert outcome["TORCH-BUILD"]["data"] == {"stands_in_for": own, "reason": REASON}
    if own in ("rocm7.2", "xpu"):
        back = "type `sh bootstrap.sh` for the project's own build"
        remedy = f"For another maker's GPU, {back}, {own} where its index can be reached. "
        assert outcome["DRV-LIBCUDA"]["remedy"].startswith(remedy)
    fails = outputs(project, *OPEN, "--device", "cuda")
    expected = f"FAIL  torch {TORCH}+cu130, asked for CUDA: DRV-LIBCUDA"
    assert fails["text"].startswith(f"{expected}{INSTEAD.format(own)}  (")
    (project.root / "site" / "torch" / "version.py").unlink()
    again = "Type `sh bootstrap.sh --fallback pypi --recreate`."
    assert project.run(*OPEN)["TORCH-FOUND"]["remedy"] == again


@pytest.mark.slow
def test_a_stand_in_for_the_cpu_is_tried_on_the_cpu_whatever_gpu_is_there(tmp_path: Path) -> None:
    project = made_for_this_machine(tmp_path, "cpu", {"machine_build": "pypi", "fallback": REASON})
    driver = {"LD_LIBRARY_PATH": str(fake_driver(tmp_path))}
    for trouble in ({}, {"FAKE_CUDA": "11040"}, {"FAKE_INIT": "803"}, {"FAKE_GPUS": "61"}):
        for arguments in ((), ("--device", "auto")):
            outcome = project.run(*OPEN, *arguments, **driver, **trouble)
            assert (outcome.code, outcome.ids("warn")) == (0, [])
            assert outcome.text.startswith(f"{ON_THE_CPU}{INSTEAD.format('cpu')}")
    assert project.run(*before_torch(), "--device", "cuda", **driver).code == 0
    old = project.run(*before_torch(), "--device", "cuda", FAKE_CUDA="11040", **driver)
    assert old.ids("fail") == ["DRV-OLD"]


def test_a_stand_in_for_a_gpu_build_does_not_excuse_a_driver_that_is_too_old(
    tmp_path: Path,
) -> None:
    stamp = {"machine_build": "pypi", "fallback": REASON}
    project = made_for_this_machine(tmp_path, "cu126", stamp)
    driver = {"LD_LIBRARY_PATH": str(fake_driver(tmp_path)), "FAKE_CUDA": "12000"}
    outcome = project.run(*before_torch(), FAKE_DRIVER="525.85.12", **driver)
    assert (outcome.code, outcome.ids("fail")) == (3, ["DRV-OLD"])
    assert outcome["DRV-OLD"]["remedy"] == (
        "Update the NVIDIA driver to 580.65.06 or newer, or type `sh bootstrap.sh` for the "
        "project's own build, cu126 where its index can be reached; until then, test with "
        "`--device cpu`."
    )


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("stamp", "name"),
    [
        ("", ""),
        ("{", ""),
        ("[" * 100_000, ""),
        ("[]", ""),
        ("7", ""),
        ('"pypi"', ""),
        ("null", ""),
        ("\\ud800", ""),
        ({}, ""),
        ({"fallback": REASON}, ""),
        ({"machine_build": None, "fallback": REASON}, ""),
        ({"machine_build": ["pypi"], "fallback": REASON}, ""),
        ({"machine_build": {"pypi": 1}}, ""),
        ({"machine_build": "cu999", "fallback": REASON}, ""),
        ({"machine_build": "pypi", "fallback": None}, "pypi"),
        ({"machine_build": "pypi", "fallback": True}, "pypi"),
        ({"machine_build": "pypi", "fallback": ["x"]}, "pypi"),
        ({"machine_build": "pypi", "fallback": " \n"}, "pypi"),
        ({"machine_build": "pypi", "fallback": 7}, "pypi"),
    ],
)
def test_an_odd_stamp_is_no_stamp(tmp_path: Path, stamp: object, name: str) -> None:
    project = made_for_this_machine(tmp_path, "cpu", stamp)
    outcome = project.run("--only", "TORCH-BUILD", "--report", str(tmp_path / "report.md"))
    assert "stand in" not in outcome.text + (tmp_path / "report.md").read_text("utf-8")
    assert outcome["TORCH-BUILD"]["status"] == ("pass" if name else "fail")


def test_a_reason_of_any_letters_is_told_as_it_is(tmp_path: Path) -> None:
    reason = "caf\u00e9 `x|y\n\x1b[2J \ud800 <b>"
    stamp = {"machine_build": "pypi", "fallback": reason}
    project = made_for_this_machine(tmp_path, "cpu", stamp)
    found = outputs(project, "--only", "TORCH-BUILD")
    assert found["text"].startswith(f"PASS  torch {TORCH}+cu130 was not run{INSTEAD.format('cpu')}")
    assert "caf\\xe9 `x|y \\x1b[2J \\ud800 <b>" in project.run("--only", "TORCH-BUILD").text


def test_windows_without_an_nvidia_gpu_is_no_matter_to_pypis_wheels(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", "pypi")
    project.add_stub_torch(ON_CPU, f"{TORCH}+cpu", cuda="")
    cpu_wheels(project)
    outcome = project.run(*OPEN)
    assert (outcome.code, outcome.ids("warn")) == (0, [])
    assert outcome.text.startswith(f"PASS  torch {TORCH}+cpu on the CPU  (")


MACOS = """
import platform, sys
if sys.argv[0].endswith("gpu_smoke_test.py") or "--child" in sys.orig_argv:
    sys.platform = "darwin"
    platform.system = lambda: "Darwin"
"""
BACKENDS = """
class backends:
    class mps:
        is_available = staticmethod(lambda: False)
        is_built = staticmethod(lambda: True)
"""


@without_gpu
@pytest.mark.skipif("sys.platform != 'linux'", reason="lets Linux pass for macOS")
def test_macos_without_a_gpu_is_worth_one_warning_to_pypis_wheels(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", "pypi")
    project.add_stub_torch(ON_CPU + BACKENDS, TORCH, cuda="")
    row = {"accelerator": "mps", "torch_version": TORCH, "packages": {"torch": TORCH}}
    platforms = {HERE.replace("linux", "macos"): {**OTHER_WHEELS, "toolkit": None, **row}}
    edit(project, lambda data: data["builds"]["pypi"].update(platforms=platforms))
    (project.root / "site" / "sitecustomize.py").write_text(MACOS, encoding="utf-8")
    only = ("--only", "TORCH-BUILD", "--only", "MPS", "--only", "DEV-OPEN")
    for arguments in ((), ("--device", "auto")):
        outcome = project.run(*only, *arguments)
        assert (outcome.code, outcome.ids("fail"), outcome.ids("warn")) == (0, [], ["MPS"])
        assert outcome.text.startswith(f"PASS  torch {TORCH} on the CPU, no MPS device here  (")
    insists = project.run(*only, "--device", "mps")
    assert (insists.code, insists.ids("fail")) == (3, ["MPS", "DEV-OPEN"])
