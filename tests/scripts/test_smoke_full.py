"""What the smoke test tries with the real torch beyond the first numbers, whole and broken."""

import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.smoke_helpers import NOT_HERE, QUICK, Project, load_package, needs_namespaces
from scripts.torch_helpers import patch_torch

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif("sys.platform != 'linux'", reason="needs the Linux wheel of torch"),
]
FULL = ["NUM-AMP", "NUM-SDPA", "VISION-NMS", "DATA-WORKERS", "COMPILE", "CKPT", "NCCL"]
FULL += ["PERF-TFLOPS", "PERF-BW", "PERF-H2D"]
FAULTY = "the hardware is faulty."
NOT_A_NUMBER = "true = {0}\n{0} = lambda *a, **k: true(*a, **k) * float('nan')"


def test_all_checks_pass_on_a_healthy_machine(healthy: Project) -> None:
    outcome = healthy.run("--level", "full")
    assert (outcome.code, outcome.document["level"]) == (0, "full")
    assert outcome.ids("skip") == ["VISION-NMS", "PERF-H2D"]  # not installed; no GPU
    found = {one["id"] for one in outcome.document["checks"]}
    assert {*QUICK, *FULL} - {*NOT_HERE} <= found
    assert set(outcome.ids("warn")) <= {"COMPILE"}  # for want of a C compiler


@pytest.mark.parametrize(
    ("name", "code", "said", "remedy"),
    [
        ("NUM-CONV", NOT_A_NUMBER.format("torch.nn.functional.conv2d"), "is nan", FAULTY),
        ("TRAIN-STEPS", NOT_A_NUMBER.format("torch.Tensor.square"), "does not learn", FAULTY),
        ("NUM-AMP", "torch.optim.AdamW.step = lambda self: None", "does not learn", FAULTY),
        (
            "NUM-SDPA",
            "torch.nn.functional.scaled_dot_product_attention = lambda q, k, v: v",
            "cpu computes wrong numbers",
            FAULTY,
        ),
        ("COMPILE", "torch.compile = lambda f: lambda x: x", "wrong numbers", FAULTY),
        (
            "CKPT",
            "torch.load = lambda *a, **k: {'weight': torch.zeros(1000)}",
            "not what was saved",
            FAULTY,
        ),
    ],
)
def test_a_broken_device_fails_the_check_that_tries_it(
    healthy: Project, name: str, code: str, said: str, remedy: str
) -> None:
    patch_torch(healthy, code)
    outcome = healthy.run("--only", name)
    assert (outcome.code, outcome.ids("fail")) == (1, [name])
    assert said in outcome[name]["message"]
    assert outcome[name]["remedy"].endswith(remedy)


def test_a_single_check_runs_with_what_it_needs(healthy: Project) -> None:
    checks = healthy.run("--only", "CKPT", "--only", "PY-VENV").document["checks"]
    needed = ["PY-VENV", "PY-SHADOW", "TORCH-FOUND", "TORCH-IMPORT", "DEV-OPEN", "CKPT"]
    assert [one["id"] for one in checks] == needed


def test_compiling_without_a_compiler_is_worth_a_warning(healthy: Project) -> None:
    healthy.env["PATH"] = str(healthy.root)
    outcome = healthy.run("--only", "COMPILE", "--strict")
    assert (outcome.code, outcome.ids("warn")) == (5, ["COMPILE"])
    assert "torch.compile does not work; it says " in outcome["COMPILE"]["message"]
    assert "build-essential`, or do without torch" in outcome["COMPILE"]["remedy"]


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("Cannot find a working triton installation.", "./bootstrap.sh"),
        ("fatal error: Python.h: No such file or directory", "`sudo apt install "),
    ],
)
def test_what_torch_compile_lacks_has_its_remedy(said: str, remedy: str) -> None:
    assert remedy in load_package("full_checks").compile_remedy(said)


def test_workers_without_shared_memory_fail_with_the_way_out(healthy: Project) -> None:
    needs_namespaces()
    healthy.before = "mount -t tmpfs -o size=1m tmpfs /dev/shm"
    outcome = healthy.run("--only", "DATA-WORKERS", "--only", "SYS-SHM")
    assert (outcome.code, outcome.ids("fail")) == (1, ["DATA-WORKERS"])
    assert outcome["SYS-SHM"]["status"] == "warn"
    assert "`num_workers=0`" in outcome["DATA-WORKERS"]["remedy"]


def test_a_foreign_library_of_nvidia_is_found_in_memory(healthy: Project, tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        pytest.skip("needs a C compiler, to build a foreign cuDNN")
    library = tmp_path / "libcudnn_ops.so.9"
    command = [compiler, "-shared", "-x", "c", "-o", str(library), "/dev/null"]
    subprocess.run(command, check=True)
    patch_torch(healthy, f"import ctypes; torch.foreign = ctypes.CDLL({str(library)!r})")
    outcome = healthy.run("--only", "LIB-MAPS")
    assert (outcome.code, outcome.ids("warn")) == (0, ["LIB-MAPS"])
    assert outcome["LIB-MAPS"]["data"] == {"libraries": [str(library)]}
    assert "LD_LIBRARY_PATH" in outcome["LIB-MAPS"]["remedy"]


@pytest.mark.parametrize(
    ("nms", "status", "said"),
    [
        ("return boxes[:2, 0].new_tensor([1, 2])", "pass", "keeps the right boxes"),
        ("return boxes[:2, 0].new_tensor([0, 1])", "fail", "[1, 2] is right"),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "fail", "::nms does"),
    ],
)
def test_torchvision_must_have_operators_for_this_torch(
    healthy: Project, nms: str, status: str, said: str
) -> None:
    package = healthy.root / "site" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "ops.py").write_text(f"def nms(boxes, scores, limit):\n    {nms}\n")
    healthy.env["PYTHONPATH"] = str(package.parent)
    outcome = healthy.run("--only", "VISION-NMS")
    assert outcome.code == (status == "fail")
    assert outcome["VISION-NMS"]["status"] == status
    assert said in outcome["VISION-NMS"]["message"]
