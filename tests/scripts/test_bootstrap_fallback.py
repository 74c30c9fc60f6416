"""--fallback pypi: PyPI's own wheels where the index of the build does not answer."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from scripts.bootstrap_helpers import MINOR, TEMPLATE, Demo, make_demo, module
from scripts.test_bootstrap_index import NOBODY, PAGE, page, serving

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="runs bootstrap.sh")
LISTED = PAGE.replace("2.14.1", "2.13.0").format(".") + "<a>demo_stub-1.0</a>"
STANDS_IN = "PyPI's own wheels stand in for CPU, on this machine alone."
ALONE = (
    "To go on with PyPI's own wheels, on this machine alone:\n  sh bootstrap.sh --fallback pypi\n"
)


def with_index(tmp_path: Path, url: str, manager: str = "uv") -> Demo:
    """A demo project whose build lies on an index, and is on PyPI as well."""
    demo = make_demo(tmp_path, manager)
    shutil.copytree(
        TEMPLATE / "scripts/torch_starter/gpu_smoke",
        demo.root / "scripts/torch_starter/gpu_smoke",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    own = demo.builds["builds"]["cpu"]
    pypi = {**own, "label": "PyPI's own wheels"}
    demo.builds["builds"] = {"cpu": {**own, "index_url": url}, "pypi": pypi}
    demo.builds["moves"] = {"pypi": ""}
    for build in demo.builds["builds"].values():
        build["extra_packages"] = []
    demo.write_builds()
    return demo


def stamp(demo: Demo) -> dict[str, Any]:
    text = (demo.root / ".venv/bootstrap-stamp.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def kept(demo: Demo) -> dict[str, bytes]:
    """What git would track of a project."""
    ignored = (".venv", ".tools", "backend/__pycache__")
    return {name: data for name, data in demo.files().items() if not name.startswith(ignored)}


@pytest.mark.parametrize("manager", ["uv", "pip"])
def test_it_stops_without_a_terminal_and_first_advises_the_way_for_this_machine(
    tmp_path: Path, manager: str
) -> None:
    demo = with_index(tmp_path, NOBODY, manager)
    before = demo.files()
    done = demo.run()
    assert done.returncode == 5, done.stdout + done.stderr
    what = f"bootstrap: {NOBODY} cannot be reached (Connection refused): nothing was changed.\n"
    assert done.stderr.startswith(what + ALONE)
    whole = done.stderr[len(what + ALONE) :]
    assert whole.index("--data pytorch_index_url=https://") < whole.index(
        "--data compute_platform=pypi"
    )
    assert f"These commands are for the folder {demo.root}" in whole
    assert demo.files() == before


@pytest.mark.slow
def test_pypi_s_wheels_stand_in_and_nothing_of_the_project_changes(tmp_path: Path) -> None:
    demo = with_index(tmp_path, NOBODY)
    before = kept(demo)
    done = demo.run("--fallback", "pypi")
    assert done.returncode == 0, done.stdout + done.stderr
    first, *lines = done.stdout.splitlines()
    assert first == "PyTorch 2.13.0, CPU, by uv"
    assert lines[1:3] == [
        f"  {NOBODY} cannot be reached (Connection refused).",
        f"  {STANDS_IN}",
    ]
    assert (
        "uv.lock is missing: what it lacks is resolved for this machine, in .tools" in done.stdout
    )
    assert demo.ask("__import__('demo_stub').VERSION") == "1.0"
    assert kept(demo) == before
    made_for = {
        "machine_build": "pypi",
        "fallback": f"{NOBODY} cannot be reached (Connection refused)",
    }
    assert made_for.items() <= stamp(demo).items()
    again = demo.run("--fallback", "pypi")
    assert "Nothing to do" in again.stdout
    assert STANDS_IN in again.stdout


@pytest.mark.slow
def test_what_stands_in_stays_until_the_index_answers(tmp_path: Path) -> None:
    with ExitStack() as stack:
        down = [True]
        answers = {True: page("no", 503), False: page(LISTED)}
        url, _ = stack.enter_context(serving(lambda request: answers[down[0]](request)))
        demo = with_index(tmp_path, url)
        assert demo.run("--fallback", "pypi").returncode == 0
        mark = demo.root / ".venv" / "mark"
        mark.touch()
        stopped = demo.run()
        assert stopped.returncode == 5
        assert f"bootstrap: {url} answered 503" in stopped.stderr
        assert mark.exists()
        offline = demo.run("--fallback", "pypi", "--offline")
        assert "Nothing to do" in offline.stdout
        down[0] = False
        back = demo.run("--fallback", "pypi")
    assert back.returncode == 0, back.stdout + back.stderr
    assert STANDS_IN not in back.stdout
    assert "removing .venv: it was made for pypi, the project's own is cpu" in back.stdout
    assert not mark.exists()
    assert not stamp(demo).get("fallback")
    assert not stamp(demo).get("machine_build")


@pytest.mark.slow
def test_an_index_that_answers_is_used_and_what_is_done_asks_nobody(tmp_path: Path) -> None:
    with serving(page(LISTED)) as (url, seen):
        demo = with_index(tmp_path, url)
        assert demo.run("--dry-run").returncode == 0
        assert seen == []
        done = demo.run("--fallback", "pypi")
        assert done.returncode == 0, done.stdout + done.stderr
        assert STANDS_IN not in done.stdout
        assert (demo.root / "uv.lock").exists()
        del seen[:]
        assert "Nothing to do" in demo.run("--fallback", "pypi").stdout
    assert seen == []


@pytest.mark.parametrize(("typed", "code"), [("\n", 5), ("n\n", 5), ("y\n", 0)])
def test_on_a_terminal_it_asks_and_no_is_the_default(tmp_path: Path, typed: str, code: int) -> None:
    pty = pytest.importorskip("pty")
    demo = with_index(tmp_path, NOBODY)
    ours, theirs = pty.openpty()
    command = ["/bin/sh", str(demo.root / "bootstrap.sh"), "--no-smoke"]
    with subprocess.Popen(
        command, cwd=demo.root, env=demo.env, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE
    ) as process:
        pty.os.write(ours, typed.encode())
        pty.os.close(theirs)
        said = b""
        while piece := read(pty.os, ours):
            said += piece
        _, errors = process.communicate()
    pty.os.close(ours)
    assert b"Take PyPI's own wheels, for this machine alone? [y/N]" in said
    assert process.returncode == code, said + errors
    assert (STANDS_IN in said.decode()) == (code == 0)
    assert (demo.root / ".venv").exists() == (code == 0)


def read(os: Any, terminal: int) -> bytes:  # noqa: ANN401
    try:
        return bytes(os.read(terminal, 4096))
    except OSError:  # the other side is gone
        return b""


def test_without_an_answer_nobody_is_asked_and_quiet_still_says_what_stands_in(
    tmp_path: Path,
) -> None:
    demo = with_index(tmp_path, NOBODY)
    done = demo.run("--quiet", "--fallback", "pypi")
    assert done.returncode == 0, done.stderr
    assert STANDS_IN in done.stdout


# --- Where PyPI's wheels would not do

Wheels = dict[str, Any]
CUDA: Wheels = {"accelerator": "cuda", "toolkit": "13.0", "minimum_driver": "580.65.06"}
CUDA |= {"gpu_architectures": ["7.5", "8.0", "9.0"], "ptx": None, "packages": {"torch": "2.14.1"}}
CPU: Wheels = {"accelerator": "cpu", "toolkit": None, "minimum_driver": None}
CPU |= {"gpu_architectures": [], "ptx": None, "packages": {"torch": "2.14.1"}}
LINUX, WINDOWS = "linux-x86_64", "windows-amd64"


def facts(driver: str = "580.95.05", *capabilities: str) -> dict[str, Any]:
    gpus = [{"name": "NVIDIA Test", "capability": one} for one in capabilities]
    return {"gpus": gpus, "driver_version": driver, "ended": "", "init": 0}


@pytest.mark.parametrize(
    ("own", "pypi", "system", "seen", "why"),
    [
        (CPU, CPU, WINDOWS, {}, ""),
        (CPU, CUDA, LINUX, {}, ""),
        (CPU, CUDA, LINUX, facts("470.57.02", "8.0"), ""),
        (CUDA, CUDA, LINUX, facts("580.95.05", "8.0"), ""),
        (CUDA, CUDA, LINUX, {"ended": ""}, ""),  # no GPU: no build is used for what it is for
        (CUDA, CUDA, LINUX, {"ended": "did not answer within 30 s", "gpus": []}, ""),
        (CUDA, CUDA, LINUX, facts("570.86.10", "8.0"), "it needs NVIDIA driver 580.65.06 or newer"),
        (CUDA, CUDA, LINUX, facts("580.95.05", "6.1"), "it has no code for compute capability 6.1"),
        (
            CUDA,
            CPU,
            WINDOWS,
            facts("580.95.05", "8.0"),
            "for windows-amd64 they compute on the CPU, and CUDA 13.0 is for a GPU",
        ),
        (
            {**CUDA, "accelerator": "rocm"},
            CUDA,
            LINUX,
            {},
            "for linux-x86_64 they compute on CUDA, and CUDA 13.0 is for a GPU",
        ),
    ],
)
def test_it_is_refused_where_pypi_s_wheel_does_not_do_what_the_build_is_for(
    monkeypatch: pytest.MonkeyPatch,
    own: dict[str, Any],
    pypi: dict[str, Any],
    system: str,
    seen: dict[str, Any],
    why: str,
) -> None:
    choice = module("choice")
    monkeypatch.setattr(choice, "look", lambda *_, **__: seen)
    label = {"label": "CUDA 13.0" if own is not CPU else "CPU", "release": "2.14.1"}
    builds = {
        "own": {**label, "index_url": NOBODY, "platforms": {system: own}},
        "pypi": {**label, "index_url": None, "platforms": {system: pypi}},
    }
    project = module("project").Project("uv", MINOR, f"=={MINOR}.*", "own", builds, {})
    assert choice.why_no_fallback(project, system) == why


def test_a_run_looks_at_the_driver_once(monkeypatch: pytest.MonkeyPatch) -> None:
    choice, looks = module("choice"), list[float]()

    def nvidia_facts(limit: float) -> dict[str, Any]:
        looks.append(limit)
        return {"gpus": [], "ended": "did not answer"}

    monkeypatch.setattr(choice.smoke("driver_facts"), "nvidia_facts", nvidia_facts)
    choice.look.cache_clear()
    label = {"label": "CUDA 13.0", "release": "2.14.1", "platforms": {LINUX: CUDA}}
    builds = {"own": {**label, "index_url": NOBODY}, "pypi": {**label, "index_url": None}}
    project = module("project").Project("uv", MINOR, f"=={MINOR}.*", "own", builds, {})
    assert [choice.why_no_fallback(project, LINUX) for _ in range(2)] == ["", ""]
    choice.look.cache_clear()
    assert looks == [5]


def test_what_pypi_does_not_have_cannot_stand_in() -> None:
    choice = module("choice")
    own = {"label": "CPU", "release": "2.5.1", "index_url": NOBODY, "platforms": {LINUX: CPU}}
    one = module("project").Project("uv", "3.13", "==3.13.*", "cpu", {"cpu": own}, {})
    assert choice.why_no_fallback(one, LINUX) == "the template of this project does not offer them"
    other = one._replace(alternatives={"pypi": {}})
    assert (
        choice.why_no_fallback(other, LINUX) == "PyPI has no wheels of torch 2.5.1 for Python 3.13"
    )
    elsewhere = {"pypi": {**own, "platforms": {WINDOWS: CPU}}}
    third = one._replace(builds={"cpu": own, **elsewhere})
    assert (
        choice.why_no_fallback(third, LINUX) == "PyPI has no wheel of torch 2.5.1 for linux-x86_64"
    )


def test_a_refusal_is_one_sentence_and_names_only_what_helps(tmp_path: Path) -> None:
    demo = with_index(tmp_path, NOBODY)
    del demo.builds["builds"]["pypi"]
    demo.write_builds()
    done = demo.run("--fallback", "pypi")
    assert done.returncode == 5
    assert done.stderr.startswith(
        f"bootstrap: {NOBODY} cannot be reached (Connection refused), and PyPI's own wheels would "
        "not do: the template of this project does not offer them.\n"
    )
    assert "--fallback" not in done.stderr
    assert "compute_platform=pypi" not in done.stderr
    assert "pytorch_index_url=https://mirror.example/whl" in done.stderr
    assert not (demo.root / ".venv").exists()


@pytest.mark.some(2)
@pytest.mark.slow
@pytest.mark.parametrize("manager", ["uv", "poetry", "pip"])
def test_a_silent_index_is_told_within_15_seconds_whatever_the_manager(
    tmp_path: Path, manager: str
) -> None:
    with serving(lambda _: time.sleep(60)) as (url, _):
        demo = with_index(tmp_path, url, manager)
        started = time.monotonic()
        done = demo.run()
        took = time.monotonic() - started
    assert done.returncode == 5
    assert done.stderr.startswith(f"bootstrap: {url} cannot be reached (no answer within 5 s)")
    assert took < 15


def test_the_project_s_own_extras_are_read_and_not_looked_for_on_an_index() -> None:
    """Somebody else may have put a package of the project's name there."""
    requirements = module("requirements")
    own = {"label": "CPU", "release": "2.14.1", "index_url": NOBODY, "platforms": {LINUX: CPU}}
    builds = {"cpu": {**own, "extra_packages": ["triton-rocm"]}}
    project = module("project").Project("uv", MINOR, f"=={MINOR}.*", "cpu", builds, {})
    pyproject = {
        "project": {
            "name": "my-project",
            "dependencies": ["torch==2.14.1", "triton-rocm ; sys_platform == 'linux'", "numpy"],
            "optional-dependencies": {"all": ["My.Project[viz, all]"], "viz": ["requests>=2"]},
        },
        "dependency-groups": {
            "dev": ["pytest", "my_project[all]", {"include-group": "more"}],
            "more": ["ruff", {"include-group": "dev"}],
            "docs": ["sphinx"],
        },
    }
    assert requirements.asked(project, pyproject) == ["numpy", "pytest", "requests>=2", "ruff"]
    everything = {**pyproject, "tool": {"uv": {"default-groups": "all"}}}
    assert "sphinx" in requirements.asked(project, everything)
