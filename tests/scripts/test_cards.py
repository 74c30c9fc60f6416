"""What the smoke test says of drivers holds together, whatever a machine shows: all that it may."""

import itertools
from typing import Any

import pytest

from scripts.smoke_helpers import load_package, machine, place_of

CHECKS = load_package("driver_checks").CHECKS
CARDS = load_package("cards")
CLOSED, OPEN = (f"NVRM version: NVIDIA UNIX {kind} 580.95.05" for kind in ("x86_64", "Open"))
ADA, PASCAL, KEPLER, NEWEST = 0x2684, 0x1B80, 0x102D, 0x2B85
BUSES: list[list[tuple[int, str]]] = [
    [],
    [(0, "")],
    [(ADA, "")],
    [(ADA, "nvidia")],
    [(ADA, "vfio-pci")],
    [(ADA, "vfio-pci"), (ADA, "")],
    [(PASCAL, "")],
    [(KEPLER, "nouveau")],
    [(NEWEST, "nvidia")],
]
PLACES: list[tuple[str, ...]] = [
    (),
    ("cloud.aws",),
    ("container.docker",),
    ("wsl",),
    ("container.docker", "wsl"),
    ("job.slurm",),
    ("container.apptainer", "job.slurm"),
    ("login.slurm",),
    ("notebook.jupyterhub",),
    ("ci.github",),
    ("jetson",),
]
GPU = {"name": "NVIDIA Test 0", "capability": "9.0"}
NOTHING = {"libcuda": "/usr/lib/libcuda.so.1", "cuda": 13000, "gpus": []}
SEEN = {"nvml": 0, "nvml_count": 1, "driver_version": "550.120", "uuids": ["GPU-1"], "lost": 0}
DRIVERS: list[dict[str, Any]] = [
    {},
    {**SEEN},  # half of one
    *({**NOTHING, "init": init, "nvml": 9} for init in (2, 100, 101, 999)),
    *({**NOTHING, "init": 100, "nvml": nvml} for nvml in (4, 12, 15, 16, 17, 18, 999)),
    *({**NOTHING, "init": init, **SEEN} for init in (0, 46, 100, 101, 802, 803, 805, 999)),
    {**NOTHING, **SEEN, "init": 100, "nvml_count": 0},
    {**NOTHING, **SEEN, "init": 0, "mig": 1},
    {**NOTHING, **SEEN, "init": 0, "gpus": [GPU], "lost": 1},
    {**NOTHING, **SEEN, "init": 0, "gpus": [GPU], "mig": 1, "instances": 2},
    {**NOTHING, "init": 0, "gpus": [GPU], "nvml": 9},
    {**NOTHING, "init": 100, "cuda": 11040, "nvml": 9, "libnvml": "/x/libnvidia-ml.so.470.256.02"},
]
NODES: list[dict[str, str]] = [
    {},
    {"/dev/nvidiactl": "", "/dev/nvidia0": "EPERM"},
    {"/dev/nvidiactl": "", "/dev/nvidia0": ""},
]
BUILDS = [{}, {"auto": True}, {"auto": True, "name": "pypi"}]
ELSEWHERE = [
    "no sign of an NVIDIA GPU",
    "instance type",
    "has no NVIDIA GPU",
    "runner with a GPU",
    "option that has a GPU",
]
HEDGED = ("if it has one", "if it did", "If the runner has")


def told(driver: dict[str, Any], build: dict[str, Any]) -> list[Any]:
    """What all checks of drivers say of a machine."""
    check = load_package("check")
    known = {"accelerator": "cuda", "gpu_architectures": ["9.0"], "ptx": ""}
    newer = {**known, "minimum_driver": "580.65.06", "toolkit": "13.0"}
    older = {**known, "minimum_driver": "525.60.13", "release": "2.14.1"}
    cpu = {**known, "accelerator": "cpu", "minimum_driver": "", "release": "2.14.1"}
    others = {"cu126": older, "cpu": cpu}
    here = machine(driver=driver, wheels=newer, alternatives=others, **build)

    def ended(error: Exception) -> Any:  # noqa: ANN401
        raise AssertionError((driver, build)) from error

    found = [check.carry_out(name, run, here, ended) for name, run in CHECKS.items()]
    return [one for one in found if one]


@pytest.mark.few(4)
@pytest.mark.parametrize("place", PLACES, ids=" ".join)
def test_whatever_is_seen_is_told_in_sentences_and_once(
    monkeypatch: pytest.MonkeyPatch, place: tuple[str, ...]
) -> None:
    place_of(monkeypatch, *place)
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS"):
        monkeypatch.delenv(name, raising=False)
    one_each = load_package("command").one_each
    own = not any("container" in one or "wsl" in one for one in place)
    usual = {"ended": "", "bus": True, "secure_boot": False, "module": "", "amd": False}
    for cards, driver, nodes, build in itertools.product(BUSES, DRIVERS, NODES, BUILDS):
        module = CLOSED if cards and cards[0][1] == "nvidia" else ""
        facts = {**usual, "cards": cards, "card": bool(cards), "module": module, "nodes": nodes}
        rows = told({**facts, **driver}, build)
        kept = one_each(rows)
        assert len({one.id for one in kept}) == len(kept)
        assert {one.status for one in rows if one.status == "fail"} <= {one.status for one in kept}
        for one in kept:
            said = f"{one.message} {one.remedy}"
            assert "{" not in said.replace("{SSE", "")
            assert said.isascii()
            if one.status in ("warn", "fail"):
                assert one.remedy.endswith("."), said
                assert one.message.count(": PyPI's") * one.message.count(":") < 2, said
            if cards and own and not any(words in said for words in HEDGED):
                assert not any(words in said for words in ELSEWHERE), (said, cards, driver)
            if driver.get("gpus"):
                assert "not loaded" not in said, said


@pytest.mark.parametrize(
    ("device", "name", "last"),
    [  # as the PCI ID Repository has them
        (0x1080, "Fermi or older", 390),  # GeForce GTX 580
        (0x0FC6, "Kepler", 470),  # GeForce GTX 650
        (0x1004, "Kepler", 470),  # GeForce GTX 780
        (0x102D, "Kepler", 470),  # Tesla K80
        (0x1287, "Kepler", 470),  # GeForce GT 730
        (0x1380, "Maxwell", 580),  # GeForce GTX 750 Ti
        (0x13F2, "Maxwell", 580),  # Tesla M60
        (0x1617, "Maxwell", 580),  # GeForce GTX 980M
        (0x17C8, "Maxwell", 580),  # GeForce GTX 980 Ti
        (0x15F8, "Pascal", 580),  # Tesla P100
        (0x1BB3, "Pascal", 580),  # Tesla P4
        (0x1D01, "Pascal", 580),  # GeForce GT 1030
        (0x1DB4, "Volta", 580),  # Tesla V100
        (0x1EB8, "Turing", 0),  # Tesla T4
        (0x2184, "Turing", 0),  # GeForce GTX 1660
        (0x20B5, "Ampere", 0),  # A100
        (0x2237, "Ampere", 0),  # A10G
        (0x2484, "Ampere", 0),  # GeForce RTX 3070
        (0x2330, "Hopper", 0),  # H100
        (0x27B8, "Ada", 0),  # L4
        (0x2901, "Blackwell", 0),  # B200
        (0x2B85, "Blackwell", 0),  # GeForce RTX 5090
        (0x2E12, "Blackwell", 0),  # GB10
        (0x4000, "", 0),
    ],
)
def test_a_card_s_generation_is_told_by_its_number(device: int, name: str, last: int) -> None:
    found = CARDS.generation(device)
    assert (found.name, found.last) == (name, last)


@pytest.mark.parametrize(
    ("cards", "module", "driver", "cause"),
    [
        ([(PASCAL, "")], "", "590.48.01", "needs-legacy-driver"),
        ([(KEPLER, "")], "", "590.48.01", "needs-legacy-driver"),
        ([(PASCAL, "")], "", "580.95.05", "card-not-loaded"),
        ([(NEWEST, "")], "", "550.120", "needs-newer-driver"),
        ([(NEWEST, ""), (ADA, "")], "", "550.120", "card-not-loaded"),
        ([(PASCAL, ""), (ADA, "")], "", "590.48.01", "card-not-loaded"),
        ([(PASCAL, ""), (ADA, "vfio-pci")], "", "590.48.01", "needs-legacy-driver"),
        ([(ADA, "vfio-pci"), (ADA, "")], "", "", "card-not-loaded"),
        ([(ADA, "vfio-pci"), (ADA, "nouveau")], "", "", "other-kernel-driver"),
        ([(ADA, "pci-stub")], "", "", "given-to-virtual-machines"),
        ([(ADA, "nvgrace_gpu_vfio_pci")], "", "", "given-to-virtual-machines"),
        ([(ADA, "nvidia")], CLOSED, "580.95.05", "device-files-missing"),
        ([(0, "")], "", "", "card-not-loaded"),
    ],
)
def test_why_a_module_is_not_loaded(
    cards: list[tuple[int, str]], module: str, driver: str, cause: str
) -> None:
    facts = {"card": True, "bus": True, "cards": cards, "module": module}
    assert CARDS.why_not_loaded(facts, driver) == cause


@pytest.mark.parametrize(
    ("card", "module", "driver", "cause"),
    [
        (NEWEST, CLOSED, "580.95.05", "needs-open-module"),
        (NEWEST, OPEN, "580.95.05", "gpu-does-not-start"),
        (PASCAL, OPEN, "580.95.05", "needs-legacy-driver"),
        (PASCAL, CLOSED, "580.95.05", "gpu-does-not-start"),
        (ADA, OPEN, "610.10", "gpu-does-not-start"),
    ],
)
def test_why_a_gpu_does_not_start(card: int, module: str, driver: str, cause: str) -> None:
    assert CARDS.why_not_started({"cards": [(card, "nvidia")], "module": module}, driver) == cause


@pytest.mark.parametrize(
    ("path", "compat"),
    [
        ("/usr/local/cuda-13.0/compat/libcuda.so.1", True),
        ("/opt/cuda/compat/lib.real/libcuda.so.580.82.07", True),
        ("/usr/local/cuda-13.0/compat_orin/libcuda.so.1", True),
        ("/usr/lib/x86_64-linux-gnu/libcuda.so.1", False),
        ("/srv/compatibility/lib/libcuda.so.1", False),
    ],
)
def test_cuda_s_compat_driver_is_told_by_its_folder(path: str, compat: bool) -> None:
    assert CARDS.in_compat(path) == compat


@pytest.mark.parametrize(
    ("cards", "build", "name", "status", "remedy"),
    [
        ([(PASCAL, "")], {}, "DRV-LIBCUDA", "fail", "or newer, but of the branch 580, the last"),
        ([(PASCAL, ""), (ADA, "")], {}, "DRV-LIBCUDA", "fail", "580.65.06 or newer, and reboot."),
        ([(KEPLER, "")], {}, "DRV-OLD", "fail", "To go on, "),
        ([(ADA, "vfio-pci")], {"auto": True, "name": "pypi"}, "DRV-LIBCUDA", "skip", ""),
        ([(ADA, "vfio-pci")], {"auto": True}, "DRV-LIBCUDA", "skip", ""),
        ([(ADA, "vfio-pci")], {}, "DRV-NOTLOADED", "fail", "Test in the virtual machine"),
    ],
)
def test_a_card_without_a_driver_is_told_of_one_that_there_is(
    monkeypatch: pytest.MonkeyPatch,
    cards: list[tuple[int, str]],
    build: dict[str, Any],
    name: str,
    status: str,
    remedy: str,
) -> None:
    place_of(monkeypatch)
    found = told({"ended": "", "bus": True, "cards": cards, "card": True}, build)[0]
    assert (found.id, found.status) == (name, status)
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("cards", "capability", "driver", "cuda", "remedy"),
    [
        ([(KEPLER, "nvidia")], "3.7", "470.256.02", 11040, "No build on offer has code for"),
        ([(PASCAL, "nvidia")], "6.1", "535.183.01", 12020, "No build on offer has code for"),
        ([(ADA, "nvidia")], "9.0", "535.183.01", 12020, "Update the NVIDIA driver to 580.65.06"),
    ],
)
def test_no_newer_driver_is_asked_for_where_it_does_not_help(
    monkeypatch: pytest.MonkeyPatch,
    cards: list[tuple[int, str]],
    capability: str,
    driver: str,
    cuda: int,
    remedy: str,
) -> None:
    place_of(monkeypatch)
    gpus = [{**GPU, "capability": capability}]
    facts = {"ended": "", "bus": True, "cards": cards, "card": True, "gpus": gpus, "init": 0}
    rows = told({**NOTHING, **SEEN, **facts, "driver_version": driver, "cuda": cuda}, {})
    old = next(one for one in rows if one.id == "DRV-OLD")
    assert old.remedy.startswith(remedy)
