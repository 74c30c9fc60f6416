"""--compute-platform: auto looks at driver and GPU and says why; what cannot be had is refused."""

import importlib
import json
import shutil
import venv
from pathlib import Path
from typing import Any

import pytest

from scripts.bootstrap_helpers import MINOR, TEMPLATE, Demo, make_demo
from scripts.smoke_helpers import (
    HERE,
    LABELS,
    TOOLKITS,
    TORCH,
    Project,
    fake_driver,
    wheels_of,
    without_gpu,
)

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="needs a fake Linux driver")
OTHERS = ("cpu", "cu132", "cu126", "rocm7.2", "pypi")
BARE = {"LD_LIBRARY_PATH": "/nowhere"}


def build_of(name: str) -> dict[str, Any]:
    """A build as in torch_builds.json."""
    version = TORCH if name == "pypi" else f"{TORCH}+{name}"
    toolkit = {"cu132": "13.2", "pypi": "13.0"}.get(name, TOOLKITS.get(name))
    row = {"toolkit": toolkit, "packages": {"torch": version}, "torch_version": version}
    return {
        "label": LABELS.get(name, name),
        "release": TORCH,
        "index_url": None,
        "extra_packages": [],
        "platforms": {HERE: {**wheels_of(name), **row}},
    }


def elsewhere(build: dict[str, Any]) -> dict[str, Any]:
    """The build with wheels for another system alone."""
    build["platforms"] = {"plan9-mips": build["platforms"][HERE]}
    return build


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a machine with an NVIDIA driver."""
    return {"LD_LIBRARY_PATH": str(fake_driver(tmp_path_factory.mktemp("driver")))}


def project_for(tmp_path: Path, own: str, others: tuple[str, ...] = OTHERS) -> Demo:
    """A project with builds for several compute platforms."""
    demo = make_demo(tmp_path, "uv")
    ignore = shutil.ignore_patterns("__pycache__")
    package = "scripts/torch_starter/gpu_smoke"
    shutil.copytree(TEMPLATE / package, demo.root / package, ignore=ignore)
    shutil.copy(TEMPLATE / "scripts/gpu_smoke_test.py", demo.root / "scripts")
    names = dict.fromkeys((own, *others))
    demo.builds |= {
        "compute_platform": own,
        "builds": {name: build_of(name) for name in names},
        "alternatives": {
            HERE: {
                "cu118": {"release": "2.7.1", "accelerator": "cuda"},
                "cpu": {"release": TORCH, "accelerator": "cpu"},
            }
        },
        "moves": {
            **{name: "" for name in names if name != own},
            "cu118": "--data torch_version=latest",
        },
    }
    demo.write_builds()
    return demo


@pytest.mark.few(2)
@without_gpu
@pytest.mark.parametrize(
    ("own", "env", "said"),
    [
        ("cu130", {}, "cu130: the project's own build suits"),
        ("cu126", {}, "cu126: the project's own build suits"),
        (
            "cu130",
            {"FAKE_DRIVER": "525.85.12"},
            "cu126: cu130 does not suit: it needs NVIDIA driver",
        ),
        ("cu130", {"FAKE_GPUS": "61"}, "cu126: cu130 does not suit: it has no code for compute"),
        ("cu126", {"FAKE_GPUS": "120"}, "cu130: cu126 does not suit: it has no code for compute"),
        ("cu130", {"FAKE_DRIVER": "470.57.02"}, "cpu: cu130 does not suit: it needs NVIDIA driver"),
        ("cu130", {"FAKE_GPUS": "120", "FAKE_DRIVER": "560.28.03"}, "cpu: cu130 does not suit: it"),
        ("cu130", {"FAKE_INIT": "803"}, "cu130: the NVIDIA driver does not answer"),
        ("cu130", {"FAKE_TROUBLE": "crash"}, "cu130: the NVIDIA driver does not answer"),
        ("cu130", {"FAKE_INIT": "100"}, "cpu: cu130 does not suit: there is no NVIDIA GPU"),
        ("cpu", {}, "cu130: it can use this GPU"),
        ("rocm7.2", {}, "cu130: rocm7.2 does not suit: there is no AMD GPU that you may open"),
        ("pypi", {"FAKE_GPUS": ""}, "pypi: this project takes all of its packages from PyPI"),
    ],
)
def test_auto_takes_what_suits_driver_and_gpu_and_says_why(
    tmp_path: Path, driver: dict[str, str], own: str, env: dict[str, str], said: str
) -> None:
    others = tuple(dict.fromkeys((*OTHERS, "cu130")))
    demo = project_for(tmp_path, own, others)
    done = demo.run("--compute-platform", "auto", "--dry-run", **driver, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"--compute-platform auto takes {said}" in done.stdout
    taken = LABELS.get(said.partition(":")[0], "pypi")
    assert f"PyTorch {TORCH}, {taken}, by uv" in done.stdout
    alone = f"(for this machine alone; the project's own is {LABELS.get(own, own)})"
    assert (alone in done.stdout) == (not said.startswith(own))
    if env.get("FAKE_INIT") is None and "FAKE_TROUBLE" not in env and own != "pypi":
        assert "NVIDIA Test 0 of compute capability" in done.stdout


@pytest.mark.slow
@without_gpu
def test_auto_without_a_driver_asks_nvidia_smi_and_else_takes_the_cpu(tmp_path: Path) -> None:
    demo = project_for(tmp_path, "cu130")
    done = demo.run("--compute-platform", "auto", "--dry-run", **BARE)
    assert "no NVIDIA driver, no AMD GPU" in done.stdout
    assert "auto takes cpu: cu130 does not suit: there is no NVIDIA GPU with" in done.stdout
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho '530.30.02, 8.6, NVIDIA GeForce RTX 3060'\n")
    smi.chmod(0o755)
    done = demo.run("--compute-platform", "auto", "--dry-run", **BARE)
    assert (
        "NVIDIA driver 530.30.02, NVIDIA GeForce RTX 3060 of compute capability 8.6" in done.stdout
    )
    assert "auto takes cu126: cu130 does not suit" in done.stdout
    smi.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    assert "auto takes cpu" in demo.run("--compute-platform", "auto", "--dry-run", **BARE).stdout


@pytest.mark.parametrize(
    ("name", "what", "todo"),
    [
        (
            "cu12",
            "--compute-platform cu12: there is no compute platform of this name.",
            "Did you mean cu126? Here work: auto, cu130, cpu, cu132, cu126, rocm7.2, pypi.",
        ),
        ("cu137", "there is no compute platform of this name.", "Did you mean cu13"),
        ("tpu", "there is no compute platform of this name.", "Here work: auto, cu130, cpu"),
        (
            "cu118",
            f"--compute-platform cu118: there is such a build of torch 2.7.1, but not of {TORCH}.",
            "copier update --trust --defaults --vcs-ref=:current: --data compute_platform=cu118 "
            "--data torch_version=latest",
        ),
        (
            "xpu",
            f"--compute-platform xpu: XPU has no PyTorch wheels for {HERE}.",
            "Here work: cu130, cpu, cu132, cu126, rocm7.2, pypi.",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_and_nothing_changes(
    tmp_path: Path, name: str, what: str, todo: str
) -> None:
    demo = project_for(tmp_path, "cu130")
    xpu = build_of("xpu") | {"label": "XPU"}
    demo.builds["builds"]["xpu"] = elsewhere(xpu)
    demo.write_builds()
    before = demo.files()
    done = demo.run("--compute-platform", name)
    assert (done.returncode, done.stdout) == (2, "")
    first, second, *where = done.stderr.splitlines()
    assert where == ([f"These commands are for the folder {demo.root}"] if "copier" in todo else [])
    assert first.startswith("bootstrap: --compute-platform ")
    assert what in first
    assert todo in second
    assert demo.files() == before


def test_a_system_without_the_project_s_wheels_may_have_others(tmp_path: Path) -> None:
    demo = project_for(tmp_path, "rocm7.2")
    elsewhere(demo.builds["builds"]["rocm7.2"])
    for manager, code, said in (
        ("pip", 0, "CPU, by pip (for this machine alone; the project's own is ROCm 7.2)"),
        ("uv", 2, "ROCm 7.2 has PyTorch wheels for plan9-mips, not for"),  # nor has uv.lock
    ):
        demo.builds["package_manager"] = manager
        demo.write_builds()
        done = demo.run("--dry-run")
        assert done.returncode == 2
        way = "\nOr, for this machine alone: sh bootstrap.sh --compute-platform cpu\n"
        assert (way in done.stderr) == (manager == "pip")
        done = demo.run("--compute-platform", "cpu", "--dry-run")
        assert done.returncode == code
        assert said in done.stdout + done.stderr


def test_the_same_wheels_are_no_other_build(tmp_path: Path) -> None:
    """On macOS all compute platforms have PyPI's wheels."""
    demo = project_for(tmp_path, "cu130")
    own = demo.builds["builds"]["cu130"]["platforms"]
    demo.builds["builds"]["cpu"]["platforms"] = own
    demo.write_builds()
    done = demo.run("--compute-platform", "cpu", "--dry-run")
    assert "cpu has the same wheels here as the project's own build" in done.stdout
    assert "CUDA 13.0, by uv\n" in done.stdout
    assert " sync --python" in done.stdout


def module(name: str) -> Any:  # noqa: ANN401
    """A module of the bootstrap, for machines that no test can have."""
    return importlib.import_module(f"bootstrapping.{name}")


@pytest.mark.parametrize(
    ("own", "facts", "taken"),
    [
        ("rocm7.2", {"kfd_usable": True}, "rocm7.2"),
        ("cu130", {"kfd_usable": True}, "rocm7.2"),
        ("cu130", {"kfd": True, "kfd_usable": False}, "cpu"),
        ("cpu", {"kfd_usable": True}, "rocm7.2"),
        ("xpu", {"render": True}, "xpu"),
        ("xpu", {"render": False}, "cpu"),
        ("cpu", {}, "cpu"),
        # A driver whose NVML does not answer: libcuda's CUDA version decides.
        ("cu130", {"gpus": [{"capability": "9.0"}], "init": 0, "cuda": 12040}, "cu126"),
        ("cu130", {"gpus": [{"capability": "9.0"}], "init": 0, "cuda": 13000}, "cu130"),
        # One GPU of two is too old for the project's build.
        (
            "cu130",
            {"gpus": [{"capability": "9.0"}, {"capability": "6.1"}], "driver_version": "580.65.06"},
            "cu126",
        ),
    ],
)
def test_other_machines_get_what_suits_them(own: str, facts: dict[str, Any], taken: str) -> None:
    names = dict.fromkeys((own, *OTHERS))
    builds = {name: build_of(name) for name in names}
    project = module("project").Project("uv", MINOR, f"=={MINOR}.*", own, builds, {})
    assert module("choice").pick(project, HERE, facts)[0] == taken


@pytest.mark.parametrize(("own", "taken"), [("cpu", "cpu"), ("cu130", "cu130")])
def test_a_build_whose_gpus_are_not_known_is_kept_and_never_picked(own: str, taken: str) -> None:
    builds = {name: build_of(name) for name in ("cpu", "cu130")}
    builds["cu130"]["platforms"][HERE] |= {"gpu_architectures": [], "ptx": None}
    project = module("project").Project("uv", MINOR, f"=={MINOR}.*", own, builds, {})
    facts = {"gpus": [{"capability": "9.0"}], "driver_version": "580.95.05"}
    assert module("choice").pick(project, HERE, facts)[0] == taken


def test_a_mac_and_a_system_without_wheels_of_the_project_s_own_build() -> None:
    builds = {name: build_of(name) for name in ("rocm7.2", "cpu")}
    project = module("project").Project("pip", MINOR, f"=={MINOR}.*", "rocm7.2", builds, {})
    pick = module("choice").pick
    assert pick(project, "macos-arm64", {})[0] == "rocm7.2"
    builds["cpu"]["platforms"]["windows-amd64"] = builds["cpu"]["platforms"][HERE]
    name, why = pick(project, "windows-amd64", {})
    assert (name, why) == ("cpu", "rocm7.2 does not suit: it has no wheels for this system")


POETRY_PROJECT: dict[str, Any] = {
    "project": {"dependencies": ["torch==2.13.0", "NumPy>=2", "nvidia-cublas==1 ; x"]},
    "dependency-groups": {"dev": ["pytest>=8", {"include-group": "docs"}], "docs": ["sphinx"]},
    "tool": {
        "poetry": {
            "dependencies": {"torch": [], "mylib": {"path": "../mylib"}},
            "group": {
                "notes": {"dependencies": {"rich": "*"}},
                "docs": {"optional": True},
            },
        }
    },
}
POETRY_LOCK: dict[str, Any] = {
    "package": [
        {
            "name": "colorama",
            "version": "0.4",
            "groups": ["main", "dev"],
            "markers": {"dev": "a", "main": "b"},
        },
        {"name": "nvidia-cublas", "version": "1"},
        {"name": "numpy", "version": "2.1"},
        {"name": "networkx", "version": "3"},
        {"name": "pytest", "version": "8.1", "dependencies": {"colorama": "*"}},
        {"name": "rich", "version": "13", "markers": "c", "dependencies": {"torch": "*"}},
        {"name": "sphinx", "version": "8"},
        {"name": "torch", "version": "2.13.0+cu130", "dependencies": {"networkx": "*"}},
        {
            "name": "mylib",
            "version": "0.1",
            "source": {"type": "git", "url": "https://git.example/m", "resolved_reference": "abc"},
        },
    ]
}


def test_a_poetry_lock_is_read_without_torch_and_what_only_torch_needs() -> None:
    own = build_of("cu130") | {"extra_packages": ["nvidia-cublas"]}
    builds = {"cu130": own, "cpu": build_of("cpu")}
    project = module("project").Project("poetry", MINOR, f"=={MINOR}.*", "cu130", builds, {})
    lines = module("machine_build").poetry_lines(project, POETRY_LOCK, POETRY_PROJECT)
    assert lines == [
        "colorama==0.4 ; (a) or (b)",
        "mylib @ git+https://git.example/m@abc",
        "numpy==2.1",
        "pytest==8.1",
        "rich==13 ; c",
    ]


@pytest.mark.slow
def test_the_smoke_test_judges_a_machine_build_by_itself(
    tmp_path: Path, torch_venv: Path, driver: dict[str, str]
) -> None:
    project = Project(tmp_path / "project", "cu130")
    data_file = project.root / "scripts" / "torch_builds.json"
    data = json.loads(data_file.read_text(encoding="utf-8"))
    data["builds"] |= {"cpu": build_of("cpu"), "cu126": build_of("cu126")}
    data_file.write_text(json.dumps(data), encoding="utf-8")
    venv.create(project.root / ".venv", symlinks=True)
    site = next((project.root / ".venv").glob("lib/python*/site-packages"))
    real = next(torch_venv.glob("lib/python*/site-packages"))
    (site / "real.pth").write_text(f"{real}\n", encoding="utf-8")
    project.executable = str(project.root / ".venv" / "bin" / "python")

    own = project.run("--only", "TORCH-BUILD", "--only", "DRV-LIBCUDA")  # what `uv sync` wants
    assert own.ids("fail") == ["TORCH-BUILD", "DRV-LIBCUDA"]
    assert "but the project asks for 2.13.0+cu130" in own["TORCH-BUILD"]["message"]
    here = "type `sh bootstrap.sh --compute-platform cpu`, or for the whole project `copier update"
    assert here in own["DRV-LIBCUDA"]["remedy"]

    stamp = {"machine_build": "cpu"}
    (project.root / ".venv" / "bootstrap-stamp.json").write_text(json.dumps(stamp))
    outcome = project.run()
    assert (outcome.code, outcome.ids("fail"), outcome.ids("warn")) == (0, [], [])
    assert outcome["TORCH-BUILD"]["message"] == (
        "this machine uses CPU; the project's own is cu130"
    )
    assert "on the CPU" in outcome.text

    gpu = project.run("--device", "auto", "--only", "TORCH-BUILD", **driver)
    assert gpu["TORCH-BUILD"]["status"] == "warn"
    back = "type `sh bootstrap.sh` for the project's own build, cu130; else"
    assert back in gpu["TORCH-BUILD"]["remedy"]
    old = project.run("--device", "auto", "--only", "TORCH-BUILD", FAKE_GPUS="61", **driver)
    assert "type `sh bootstrap.sh --compute-platform cu126`" in old["TORCH-BUILD"]["remedy"]


@pytest.mark.parametrize("line", ["no-deps = true", "target = 'there'", "prefix = 'there'"])
def test_a_uv_toml_that_leaves_a_part_out_is_named(tmp_path: Path, line: str) -> None:
    demo = project_for(tmp_path, "cu130")
    config = tmp_path / "uv.toml"
    config.write_text(f"[pip]\n{line}\n", encoding="utf-8")
    done = demo.run("--compute-platform", "cpu", "--no-smoke", UV_CONFIG_FILE=str(config))
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr == (
        f"bootstrap: uv is told to install less, or elsewhere: {line} (in {config}).\n"
        f"Take that out of {config}, then run this again.\n"
    )
