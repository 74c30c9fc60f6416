"""The smoke test with real packages beside the real torch that do not go together with it."""

import ctypes.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts.injections import asks_for
from scripts.smoke_helpers import TORCH, Project
from scripts.torch_helpers import patch_torch

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.xdist_group("smoke-packages"),  # they are downloaded once
    pytest.mark.skipif("sys.platform != 'linux'", reason="needs the Linux wheel of torch"),
]
INTEL = "intel-openmp==2021.4.0"  # 10 MB
VISION = "torchvision==0.26.0"  # for torch 2.11, 8 MB
AUDIO = "torchaudio==2.11.0"  # for CUDA 13.0 and torch 2.11 or newer, 2 MB
CODEC = "torchcodec==0.13.0"  # PyPI's last one for the CPU, for torch 2.11 or newer, 3 MB
PILLOW = "pillow>=11,<13"  # which it imports
NUMPY = "numpy>=2,<3"
OLD = "bottleneck==1.3.7"  # compiled for NumPy 1, 0.4 MB


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each of these packages, as pip would install them."""
    folder = tmp_path_factory.mktemp("packages")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--only-binary=:all:", f"--dest={folder}", INTEL, NUMPY, OLD, VISION, PILLOW]
    command += [AUDIO, CODEC]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for path in folder.glob("*.whl"):
        with zipfile.ZipFile(path) as wheel:
            wheel.extractall(folder / path.name.partition("-")[0].lower())
    return folder


def add(project: Project, packages: Path, *names: str) -> None:
    """Put packages on the path of a project."""
    paths = [*(str(packages / name) for name in names), project.env.get("PYTHONPATH", "")]
    project.env["PYTHONPATH"] = ":".join(filter(None, paths))


def test_a_package_for_numpy_1_is_named_where_numpy_2_is_installed(
    healthy: Project, packages: Path
) -> None:
    add(healthy, packages, "numpy")
    outcome = healthy.run("--only", "PKG-NUMPY")
    assert (outcome.code, outcome.ids("warn")) == (0, [])
    assert outcome["PKG-NUMPY"]["message"].startswith("NumPy 2.")

    add(healthy, packages, "bottleneck")
    command = [healthy.executable, "-c", "import bottleneck"]  # which is what users see
    seen = subprocess.run(command, env=healthy.env, capture_output=True, text=True, check=False)
    assert "numpy.core.multiarray failed to import" in seen.stderr
    outcome = healthy.run("--only", "PKG-NUMPY")
    assert (outcome.code, outcome.ids("warn")) == (0, ["PKG-NUMPY"])
    problem = "Bottleneck 1.3.7 is compiled for NumPy 1 and does not work with NumPy 2."
    assert outcome["PKG-NUMPY"]["message"].startswith(problem)
    assert outcome["PKG-NUMPY"]["remedy"] == "Update it."


def test_an_old_torch_needs_an_old_numpy(healthy: Project, packages: Path) -> None:
    code = "def no(a): raise RuntimeError('Numpy is not available')\ntorch.from_numpy = no"
    patch_torch(healthy, code)  # what torch 2.2 says
    add(healthy, packages, "numpy")
    outcome = healthy.run("--only", "PKG-NUMPY")
    assert (outcome.code, outcome.ids("fail")) == (1, ["PKG-NUMPY"])
    assert "Numpy is not available" in outcome["PKG-NUMPY"]["message"]
    assert outcome["PKG-NUMPY"]["remedy"] == "Give the project the requirement `numpy<2`."


def test_two_real_openmp_runtimes_are_named_before_and_after_they_end_the_process(
    healthy: Project, packages: Path, tmp_path: Path
) -> None:
    library = next((packages / "intel_openmp").rglob("libiomp5.so"))
    copy = tmp_path / "libiomp5.so"
    copy.write_bytes(library.read_bytes())
    load = "import ctypes\nfor path in {}: ctypes.CDLL(path).omp_get_max_threads()"
    patch_torch(healthy, load.format([str(library)]))  # beside torch's own libgomp
    outcome = healthy.run("--only", "LIB-OMP")
    assert (outcome.code, outcome.ids("warn")) == (0, ["LIB-OMP"])
    assert len(outcome["LIB-OMP"]["data"]["libraries"]) == 2
    assert str(library) in outcome["LIB-OMP"]["message"]
    assert "one source" in outcome["LIB-OMP"]["remedy"]

    patch_torch(healthy, load.format([str(library), str(copy)]))
    outcome = healthy.run()
    assert (outcome.code, outcome.ids("fail")) == (4, ["LIB-OMP"])
    problem = "PyTorch crashed (Aborted), saying `OMP: Error #15: Initializing libiomp5.so, but "
    assert outcome["LIB-OMP"]["message"].startswith(problem)
    assert "KMP_DUPLICATE_LIB_OK=TRUE, which may compute wrong" in outcome["LIB-OMP"]["remedy"]


def test_a_real_torchvision_for_another_torch_is_named_before_and_after_it_breaks(
    healthy: Project, packages: Path
) -> None:
    add(healthy, packages, "numpy", "pillow", "torchvision")
    command = [healthy.executable, "-c", "import torchvision"]  # which is what users see
    seen = subprocess.run(command, env=healthy.env, capture_output=True, text=True, check=False)
    said = "operator torchvision::nms does not exist"
    assert said in seen.stderr
    outcome = healthy.run("--only", "VISION-NMS")
    assert (outcome.code, outcome.ids("fail")) == (1, ["VISION-NMS"])
    assert said in outcome["VISION-NMS"]["message"]
    assert outcome["VISION-NMS"]["remedy"] == "Type `sh bootstrap.sh --recreate`."

    asks_for(packages={"torch": f"{TORCH}+cpu", "torchvision": "0.28.0+cpu"})(healthy)
    outcome = healthy.run("--only", "PKG-VISION")
    assert (outcome.code, outcome.ids("fail")) == (1, ["PKG-VISION"])
    wrong = f"torch {TORCH}+cpu goes with torchvision 0.28.0+cpu, but 0.26.0 is installed."
    assert outcome["PKG-VISION"]["message"] == wrong


def test_a_real_torchaudio_for_cuda_is_named_before_and_after_it_breaks_beside_the_cpu_s_torch(
    healthy: Project, packages: Path
) -> None:
    add(healthy, packages, "torchaudio")
    command = [healthy.executable, "-c", "import torchaudio"]  # which is what users see
    seen = subprocess.run(command, env=healthy.env, capture_output=True, text=True, check=False)
    said = "libc10_cuda.so: cannot open shared object file"
    assert said in seen.stderr
    built = f"torchaudio 2.11.0+cu130 is built for CUDA 13.0, but torch {TORCH}+cpu for the CPU."
    outcome = healthy.run()  # it is not asked for, and so is not loaded
    assert (outcome.code, outcome.ids("fail")) == (1, ["PKG-CUDA"])
    assert outcome["PKG-CUDA"]["message"] == built
    assert "the torchaudio that fits, from https://" in outcome["PKG-CUDA"]["remedy"]

    asks_for(packages={"torch": f"{TORCH}+cpu", "torchaudio": "2.11.0+cpu"})(healthy)
    outcome = healthy.run()
    assert (outcome.code, outcome.ids("fail")) == (1, ["PKG-CUDA", "AUDIO-FILTER"])
    assert outcome["PKG-CUDA"]["message"] == built
    assert outcome["PKG-CUDA"]["remedy"] == "Type `sh bootstrap.sh --recreate`."
    other = f"torchaudio 2.11.0+cu130 is built for another CUDA than torch {TORCH}+cpu; it says "
    assert outcome["AUDIO-FILTER"]["message"].startswith(f"{other}OSError: {said}")
    assert outcome["AUDIO-FILTER"]["remedy"] == "This follows from PKG-CUDA."


def test_a_real_torchcodec_decodes_with_the_ffmpeg_of_the_system_or_says_that_there_is_none(
    healthy: Project, packages: Path
) -> None:
    add(healthy, packages, "torchcodec")
    asks_for(packages={"torch": f"{TORCH}+cpu", "torchcodec": "0.13.0"})(healthy)
    outcome = healthy.run()
    if ctypes.util.find_library("avutil"):
        assert (outcome.code, outcome.ids("fail")) == (0, [])
        assert outcome["CODEC-WAV"]["message"].startswith("torchcodec decodes with FFmpeg ")
        return
    assert (outcome.code, outcome.ids("fail")) == (1, ["CODEC-FFMPEG"])
    needs = "torchcodec needs the shared libraries of FFmpeg 4, 5, 6, 7 or 8, and finds none of "
    assert outcome["CODEC-FFMPEG"]["message"].startswith(needs)
    said = outcome["CODEC-FFMPEG"]["data"]["said"]
    assert said["7"] == "libavutil.so.59: cannot open shared object file: No such file or directory"
