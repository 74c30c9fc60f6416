"""The smoke test names what is wrong with environment variables, memory, paths and packages."""

from pathlib import Path

import pytest

from scripts.smoke_helpers import Project, load_package, machine

STUB = "from .version import __version__\n"


def test_several_variables_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "libcudnn_cnn.so.9").touch()
    (tmp_path / "other").mkdir()
    traps = load_package("environment_checks").traps
    libraries = {"LD_LIBRARY_PATH": f"{tmp_path / 'other'}::{tmp_path}"}
    found = traps("cuda", {**libraries, "KMP_DUPLICATE_LIB_OK": "1"})
    assert [way_out for _, way_out in found] == [
        "type `unset KMP_DUPLICATE_LIB_OK`",
        f"take {tmp_path} out of LD_LIBRARY_PATH",
    ]
    assert traps("cpu", libraries) == []
    [(problem, way_out)] = traps("cpu", {"PYTHONHOME": "/usr"})
    assert problem.startswith("PYTHONHOME='/usr' lets Python take its modules from there")
    assert way_out == "type `unset PYTHONHOME`"
    harmless = {"KMP_DUPLICATE_LIB_OK": "0", "CUDA_HOME": str(tmp_path), "CUDA_LAUNCH_BLOCKING": ""}
    assert traps("cuda", harmless) == []


@pytest.mark.parametrize(
    ("length", "letters", "fits"),
    [(90, 169, True), (91, 169, False), (132, 127, True), (133, 127, False)],
)
@pytest.mark.parametrize(("measured", "would"), [(True, "would"), (False, "may")])
def test_windows_paths_are_limited(
    length: int, letters: int, fits: bool, measured: bool, would: str
) -> None:
    here = machine(windows_path={"letters": letters, "measured": measured})
    trouble = load_package("environment_checks").path_trouble("x" * length, here)
    said = f"Paths of torch 2.14.1 {would} be 260 letters long, Windows allows 259"
    assert trouble == ("" if fits else said)


AMD = {"kfd": True, "kfd_usable": True, "render": True, "container": False, "wsl": False}


@pytest.mark.skipif(Path("/dev/kfd").exists(), reason="this machine has an AMD card")
def test_a_machine_without_an_amd_gpu_fails_only_where_one_is_asked_for(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", "rocm7.2")
    project.add_stub_torch(STUB, hip="7.2.53211")
    outcome = project.run()
    assert outcome.code == 3
    assert "ROCM-KFD" in outcome.ids("fail")
    assert outcome["DEV-OPEN"]["remedy"] == "This follows from ROCM-KFD."
    assert project.run("--device", "auto")["ROCM-KFD"]["status"] == "skip"
