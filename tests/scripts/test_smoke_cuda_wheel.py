"""The smoke test with the real CUDA wheel, which a fake driver makes say its own errors.

It takes up to 10 GB of disk while it runs, and 5 GB of downloads:

    python -m pytest -n 0 -m slow tests/scripts/test_smoke_cuda_wheel.py
"""

import ctypes.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.smoke_helpers import TORCH, Project, fake_driver, load_package
from scripts.torch_helpers import patch_torch

AUDIO, CODEC = "2.11.0", "0.17.0"

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.xdist_group("cuda-wheel"),
    pytest.mark.skipif("sys.platform != 'linux'", reason="needs the Linux wheel of torch"),
]


def install(folder: Path, *requirements: str) -> Iterator[Path]:
    """An environment with these packages from PyPI, until the tests are done with it."""
    if shutil.disk_usage(folder).free < 12 * 2**30:
        pytest.skip("the real CUDA wheel was NOT tried: it needs 12 GB of free disk")
    uv = str(Path(sysconfig.get_path("scripts")) / "uv")
    venv, env = folder / "venv", {**os.environ, "UV_CACHE_DIR": str(folder / "cache")}
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(venv)], check=True)
    command = [uv, "pip", "install", "--quiet", "--python", str(venv), *requirements]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    yield venv
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cuda_venv(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """PyPI's own torch, which is a CUDA build, and its companions for torch 2.11 and newer."""
    wanted = (f"torch=={TORCH}", f"torchaudio=={AUDIO}", f"torchcodec=={CODEC}")
    yield from install(tmp_path_factory.mktemp("cuda-wheel"), *wanted)


@pytest.fixture
def old_venv(tmp_path: Path) -> Iterator[Path]:
    """A torch from before NumPy 2, with NumPy 2."""
    (tmp_path / "old").mkdir()
    yield from install(tmp_path / "old", "torch==2.2.2", "numpy>=2,<3")


@pytest.fixture
def project(tmp_path: Path, cuda_venv: Path) -> Project:
    """A project whose .venv has it, and a driver."""
    # PyPI's metadata does not say +cu130, torch/version.py does.
    project = Project(tmp_path / "project", "cu130", packages={"torch": TORCH})
    (project.root / ".venv").symlink_to(cuda_venv)
    project.executable = str(project.root / ".venv" / "bin" / "python")
    project.env["LD_LIBRARY_PATH"] = str(fake_driver(tmp_path))
    return project


def test_it_passes_on_the_cpu_where_there_is_no_gpu(project: Project) -> None:
    project.env["LD_LIBRARY_PATH"] = str(project.root / "no-driver")
    outcome = project.run("--device", "auto")
    assert (outcome.code, outcome.ids("fail"), outcome.ids("warn")) == (0, [], [])
    assert {"TORCH-BUILD", "PKG-NVMIX", "TRAIN-STEPS", "LIB-MAPS"} <= set(outcome.ids("pass"))
    assert outcome.text.startswith(f"PASS  torch {TORCH}+cu130 on the CPU, no CUDA device here")


def test_its_companions_compute_on_the_cpu_and_are_refused_beside_another_cuda(
    project: Project, tmp_path: Path
) -> None:
    asked = {"torch": TORCH, "torchaudio": AUDIO, "torchcodec": CODEC}
    pypi = Project(tmp_path / "pypi", "pypi", packages=asked)
    (pypi.root / ".venv").symlink_to(project.root / ".venv")
    pypi.executable = str(pypi.root / ".venv" / "bin" / "python")
    outcome = pypi.run("--device", "cpu")
    ffmpeg = ["CODEC-FFMPEG"] * (not ctypes.util.find_library("avutil"))
    assert outcome.ids("fail") == ffmpeg
    assert {"PKG-VISION", "PKG-CUDA", "AUDIO-FILTER"} <= set(outcome.ids("pass"))
    if ffmpeg:
        assert "FFmpeg 4, 5, 6, 7, 8 or 9" in outcome["CODEC-FFMPEG"]["message"]

    patch_torch(pypi, "torch.version.cuda = '13.2'")
    outcome = pypi.run("--device", "cpu")
    assert outcome.ids("fail") == ["AUDIO-FILTER", *ffmpeg]
    said = "RuntimeError: Detected that PyTorch and TorchAudio were compiled with different CUDA"
    assert "is built for another CUDA than torch" in outcome["AUDIO-FILTER"]["message"]
    assert said in outcome["AUDIO-FILTER"]["message"]


@pytest.mark.parametrize("cuda", ["", "13000", "11040"])
def test_as_pypis_wheels_it_passes_on_the_cpu_with_one_warning(
    project: Project, tmp_path: Path, cuda: str
) -> None:
    pypi = Project(tmp_path / "pypi", "pypi", packages={"torch": TORCH})
    (pypi.root / ".venv").symlink_to(project.root / ".venv")
    pypi.executable = str(pypi.root / ".venv" / "bin" / "python")
    driver = {"LD_LIBRARY_PATH": project.env["LD_LIBRARY_PATH"]} if cuda else {}
    outcome = pypi.run(FAKE_CUDA=cuda, FAKE_INIT="100", FAKE_SEEN="0", **driver)
    named = ["CUDA-NODEVICE" if cuda else "DRV-LIBCUDA"]
    assert (outcome.code, outcome.ids("fail"), outcome.ids("warn")) == (0, [], named)
    assert outcome.text.startswith(f"PASS  torch {TORCH}+cu130 on the CPU, no CUDA device here")
    assert {"TORCH-BUILD", "TRAIN-STEPS", "LIB-MAPS"} <= set(outcome.ids("pass"))


@pytest.mark.parametrize(
    ("env", "name", "said"),
    [
        (
            {"FAKE_CUDA": "12000", "FAKE_DRIVER": "525.85.12"},
            "DRV-OLD",
            "The NVIDIA driver on your system is too old (found version 12000)",
        ),
        ({"FAKE_INIT": "2"}, "CUDA-UNKNOWN", "Error 2: out of memory"),
        ({"FAKE_INIT": "3"}, "CUDA-UNKNOWN", "CUDA driver initialization failed"),
        ({"FAKE_INIT": "46"}, "CUDA-BUSY", "Error 46: CUDA-capable device(s) is/are busy"),
        ({"FAKE_INIT": "100"}, "CUDA-NODEVICE", "No CUDA GPUs are available"),
        (
            {"FAKE_INIT": "101", "CUDA_VISIBLE_DEVICES": "7"},
            "CUDA-VISIBLE",
            "Error 101: invalid device ordinal",
        ),
        ({"FAKE_INIT": "802"}, "CUDA-FABRIC", "Error 802: system not yet initialized"),
        (
            {"FAKE_INIT": "803"},
            "CUDA-MISMATCH",
            "Error 803: system has unsupported display driver / cuda driver combination",
        ),
        (
            {"FAKE_INIT": "804"},
            "CUDA-COMPAT",
            "Error 804: forward compatibility was attempted on non supported HW",
        ),
        (
            {"FAKE_INIT": "999"},
            "CUDA-UNKNOWN",
            "CUDA unknown error - this may be due to an incorrectly set up environment",
        ),
    ],
)
def test_what_torch_says_is_told_with_the_cause(
    project: Project, env: dict[str, str], name: str, said: str
) -> None:
    outcome = project.run(**env)
    assert (outcome.code, outcome.ids("fail"), outcome.ids("warn")) == (3, [name, "DEV-OPEN"], [])
    assert said in outcome["DEV-OPEN"]["message"]
    assert name in [one.title for one in load_package("catalogue").search(said)]
    assert outcome["DEV-OPEN"]["remedy"] == f"This follows from {name}."


def test_a_missing_cudnn_is_named(project: Project, cuda_venv: Path) -> None:
    cudnn = next(cuda_venv.glob("lib/python*/site-packages/nvidia/cudnn"))
    cudnn.rename(cudnn.with_name("away"))
    try:
        outcome = project.run()
    finally:
        cudnn.with_name("away").rename(cudnn)
    assert (outcome.code, outcome.ids("fail")) == (1, ["TORCH-IMPORT"])
    assert "libcudnn.so.9: cannot open shared object" in outcome["TORCH-IMPORT"]["message"]
    assert outcome["TORCH-IMPORT"]["remedy"] == "Type `sh bootstrap.sh --recreate`."


def test_gpus_that_the_wheel_has_no_code_for_are_named_before_cuda_is_asked(
    project: Project,
) -> None:
    outcome = project.run(FAKE_GPUS="61")
    assert outcome.ids("fail")[0] == "DRV-ARCH"
    assert "compute_platform=cu126" in outcome["DRV-ARCH"]["remedy"]


@pytest.mark.some(0)
@pytest.mark.skipif("sys.version_info >= (3, 13)", reason="torch 2.2.2 has no wheel for it")
def test_an_old_torch_with_numpy_2_is_named_and_computes_all_the_same(
    tmp_path: Path, old_venv: Path
) -> None:
    project = Project(tmp_path / "project")
    (project.root / ".venv").symlink_to(old_venv)
    project.executable = str(project.root / ".venv" / "bin" / "python")
    outcome = project.run("--device", "cpu")
    assert (outcome.code, outcome.ids("fail")) == (3, ["TORCH-BUILD", "PKG-NUMPY"])
    assert "Numpy is not available" in outcome["PKG-NUMPY"]["message"]
    assert outcome["PKG-NUMPY"]["remedy"] == "Give the project the requirement `numpy<2`."
    assert {"NUM-MATMUL", "NUM-CONV", "NUM-GRAD", "TRAIN-STEPS"} <= set(outcome.ids("pass"))
