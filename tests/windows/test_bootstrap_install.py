"""The bootstrap on Windows CPython: real venv, pip and uv.exe against the index on loopback."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from install.loopback_index import LoopbackIndex
from install.managers import Tools
from render.projects import ROOT, render
from windows.session import CASES, PYTHON, Windows, files, said

pytestmark = [
    pytest.mark.wine,
    pytest.mark.slow,
    pytest.mark.network,
    pytest.mark.usefixtures("real_pip"),
    pytest.mark.xdist_group("wine"),
]
VERSION = "import sys, torch; print(torch.__version__, sys.prefix)"


def make_project(windows: Windows, index: LoopbackIndex, name: str, manager: str) -> str:
    """A new CPU project for Python 3.12."""
    render(
        windows.path(f"{CASES}\\{name}"),
        package_manager=manager,
        python_version="3.12",
        torch_packages=[],
        pytorch_index_url=index.pytorch_url,
    )
    return f"{CASES}\\{name}"


def settings(index: LoopbackIndex) -> dict[str, str]:
    """The settings that show the loopback index to the managers."""
    return {
        "PIP_INDEX_URL": index.simple_url,
        "PIP_CONFIG_FILE": "nul",
        "UV_DEFAULT_INDEX": index.simple_url,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_CACHE_DIR": f"{CASES}\\uv-cache",
        "NO_PROXY": "127.0.0.1",
    }


@pytest.fixture(scope="module")
def project(windows: Windows, tools: Tools, real_pip: None) -> str:
    """A pip project that its bootstrap has installed."""
    folder = make_project(windows, tools.index, "my (pip) & project é", "pip")
    with tools.index.recorded() as requests:
        done = windows.bootstrap(folder, "--no-smoke", **settings(tools.index))
    assert done.returncode == 0, said(done)
    for line in ("Python 3.12.9 (C:\\python\\python.exe)", "making .venv ...", "installing (the"):
        assert f"  {line}" in done.stdout
    got = [request.path for request in requests if request.method == "GET"]
    wheels = [path for path in got if "/torch-" in path]
    assert wheels, "torch came from elsewhere"
    assert all("%2Bcpu-cp312-cp312-win_amd64.whl" in path for path in wheels)
    return folder


def wanted(windows: Windows, folder: str) -> str:
    """The torch that a project asks for on Windows."""
    builds = windows.path(f"{folder}\\scripts\\torch_builds.json").read_text(encoding="utf-8")
    return str(json.loads(builds)["builds"]["cpu"]["packages"]["torch"])


def venv_python(folder: str) -> str:
    return f"{folder}\\.venv\\Scripts\\python.exe"


@pytest.mark.some(0)
def test_pip_installs_the_build_and_a_second_run_has_nothing_to_do(
    windows: Windows, tools: Tools, project: str, record_property: Callable[[str, object], None]
) -> None:
    done = windows.run(venv_python(project), "-c", VERSION, cwd=project)
    assert done.stdout.split(" ", 1) == [wanted(windows, project), f"{project}\\.venv\n"]

    started = time.monotonic()
    done = windows.bootstrap(project, "--no-smoke", **settings(tools.index))
    record_property("ms for a second run on Windows", int((time.monotonic() - started) * 1000))

    assert "Nothing to do" in done.stdout, said(done)
    assert done.stdout.splitlines()[-3:] == [
        "Done. Next steps:",
        "  .venv\\Scripts\\activate.bat (PowerShell: .venv\\Scripts\\Activate.ps1)",
        "  or, without activating: .venv\\Scripts\\python.exe -m pytest",
    ]


def test_the_advice_to_activate_works(windows: Windows) -> None:
    folder = f"{CASES}\\my (activated) project"
    made = windows.run(PYTHON, "-m", "venv", "--without-pip", f"{folder}\\.venv")
    assert made.returncode == 0, said(made)
    show = b'@python -c "import sys; print(sys.prefix)"\r\n'
    windows.path(f"{folder}\\a.cmd").write_bytes(b"@call .venv\\Scripts\\activate.bat\r\n" + show)

    done = windows.run("cmd", "/d", "/c", "a.cmd", cwd=folder)

    assert done.stdout.strip() == f"{folder}\\.venv", said(done)


def test_the_smoke_test_knows_the_build_and_this_windows(windows: Windows, project: str) -> None:
    command = (venv_python(project), "scripts\\gpu_smoke_test.py", "--json")

    done = windows.run(*command, cwd=project)

    report = json.loads(done.stdout)
    status = {check["id"]: check["status"] for check in report["checks"]}
    parents = ("PY-VERSION", "PY-VENV", "PY-SHADOW", "ENV-VARS", "TORCH-FOUND", "TORCH-BUILD")
    assert {status[name] for name in (*parents, "SYS-LONGPATH", "TORCH-IMPORT")} == {"pass"}
    assert status["DEV-OPEN"] == "fail"  # torch is a stub
    assert done.returncode == 3

    version = windows.path(f"{project}\\.venv\\Lib\\site-packages\\torch\\version.py")
    before = version.read_text()
    version.write_text(before.replace("+cpu", "+cu130").replace("cuda = None", "cuda = '13.0'"))
    done = windows.run(*command[:2], cwd=project)
    version.write_text(before)
    assert done.returncode == 3, said(done)
    assert "FAIL  TORCH-BUILD" in done.stdout
    assert "bootstrap.cmd --recreate" in done.stdout


@pytest.mark.some(2)
@pytest.mark.parametrize(
    ("harm", "said_of_it"),
    [
        ("no python", "removing .venv: its Python does not run"),
        ("moved", "removing .venv: the folder of the project was moved"),
        ("interrupted", "removing .venv: an earlier run was interrupted"),
        ("other build", "would run: .* -c requirements.torch-cpu.txt"),
    ],
)
def test_what_is_wrong_with_the_environment_is_seen(
    windows: Windows, tools: Tools, project: str, harm: str, said_of_it: str
) -> None:
    folder, root = project, windows.path(project)
    python = root / ".venv" / "Scripts" / "python.exe"
    pins = root / "requirements" / "torch-cpu.txt"
    before = pins.read_bytes()
    if harm == "no python":
        python.rename(python.with_name("gone.exe"))
    elif harm == "moved":
        folder = f"{CASES}\\moved"
        root.rename(windows.path(folder))
    elif harm == "interrupted":
        (root / ".venv" / "bootstrap.unfinished").touch()
    else:
        pins.write_bytes(before + b"# edited\r\n")
    try:
        done = windows.bootstrap(folder, "--dry-run", "--no-smoke", **settings(tools.index))
    finally:
        if folder != project:
            windows.path(folder).rename(root)
        if python.with_name("gone.exe").exists():
            python.with_name("gone.exe").rename(python)
        (root / ".venv" / "bootstrap.unfinished").unlink(missing_ok=True)
        pins.write_bytes(before)
    assert done.returncode == 0, said(done)
    assert re.search(f"^  {said_of_it}", done.stdout, re.MULTILINE), said(done)
    assert "Nothing to do" in windows.bootstrap(project, "--no-smoke").stdout


def test_only_one_run_at_a_time_changes_anything(
    windows: Windows, tools: Tools, project: str
) -> None:
    guard = f"{project}\\.tools\\bootstrap.lock"
    holder = windows.start([PYTHON, "-c", HOLDER, guard])
    assert holder.stdout is not None
    owner = holder.stdout.readline().strip()
    try:
        done = windows.bootstrap(project, "--recreate", "--no-smoke", **settings(tools.index))
    finally:
        windows.path(f"{CASES}\\let go").touch()
        holder.communicate(timeout=60)

    assert done.returncode == 2, said(done)
    assert done.stderr.splitlines() == [
        f"bootstrap: Another bootstrap (process {owner}) works on this project.",
        "Wait until it has ended, then run this again.",
    ]
    assert "Nothing to do" in windows.bootstrap(project, "--no-smoke").stdout


# Holds the lock as a bootstrap does.
HOLDER = f"""
import msvcrt, os, sys, time
file = open(sys.argv[1], "w")
os.lseek(file.fileno(), 1 << 20, os.SEEK_SET)
msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
os.lseek(file.fileno(), 0, os.SEEK_SET)
os.write(file.fileno(), str(os.getpid()).encode())
print(os.getpid(), flush=True)
while not os.path.exists(r"{CASES}\\let go"):
    time.sleep(0.05)
"""


def test_uv_exe_installs_the_build_also_after_a_power_cut(windows: Windows, tools: Tools) -> None:
    folder = make_project(windows, tools.index, "uv's project", "uv")
    path, env = ["C:\\python", "C:\\uv"], settings(tools.index)
    process = windows.start(
        ["cmd", "/d", "/c", "bootstrap.cmd", "--no-smoke"], cwd=folder, path=path, **env
    )
    assert process.stdout is not None
    while "making .venv ... " not in (line := process.stdout.readline()) and line:
        pass  # .venv is made: now it locks, then installs
    assert "making .venv" in line, line
    windows.restart()
    process.communicate()
    assert windows.path(f"{folder}\\.venv").exists()

    done = windows.bootstrap(folder, "--no-smoke", path=path, **env)

    assert done.returncode == 0, said(done)
    assert "uv 0." in done.stdout
    installed = windows.run(venv_python(folder), "-c", VERSION)
    assert installed.stdout.split(" ", 1) == [wanted(windows, folder), f"{folder}\\.venv\n"]
    assert "Nothing to do" in windows.bootstrap(folder, "--no-smoke", path=path, **env).stdout


def test_an_index_that_fails_is_said_and_the_next_run_repairs(
    windows: Windows, tools: Tools
) -> None:
    folder = make_project(windows, tools.index, "no index", "uv")
    path = ["C:\\python", "C:\\uv"]
    env = {**settings(tools.index), "UV_HTTP_RETRIES": "0", "UV_CACHE_DIR": f"{CASES}\\uv-cache2"}

    with tools.index.failing("/whl/", 403):
        done = windows.bootstrap(folder, "--no-smoke", path=path, **env)

    assert done.returncode == 5, said(done)
    assert done.stderr.startswith(f"bootstrap: {tools.index.pytorch_url}/cpu answered 403 Forbidd")
    assert "Traceback" not in said(done)
    assert windows.bootstrap(folder, "--no-smoke", path=path, **env).returncode == 0


def test_a_build_without_wheels_for_windows_is_refused_before_anything_is_done(
    windows: Windows, tools: Tools
) -> None:
    render(
        windows.path(f"{CASES}\\rocm"),
        package_manager="pip",
        python_version="3.12",
        compute_platform="rocm7.2",
    )
    before = files(windows.path(f"{CASES}\\rocm"))

    done = windows.bootstrap(f"{CASES}\\rocm")

    assert done.returncode == 2, said(done)
    assert "has PyTorch wheels for linux-x86_64" in done.stderr
    assert "not for windows-amd64." in done.stderr
    assert "copier update" in done.stderr
    assert files(windows.path(f"{CASES}\\rocm")) == before


def test_the_workflow_s_trial_passes_here(windows: Windows, tools: Tools) -> None:
    """Of what the repository's workflow does on Windows, what needs no torch and no PowerShell."""
    folder = make_project(windows, tools.index, "trial", "uv")
    script = shutil.copy(ROOT / "tools" / "try_bootstrap.py", windows.path(CASES))
    odd = "d\u00e9j\u00e0 vu, (1) & x!"
    options = ("--no-smoke", "--second-run", "30", "--odd-name", odd)
    words = (*options, folder, "cmd", "/d", "/c", "bootstrap.cmd")

    done = windows.run(
        PYTHON,
        f"{CASES}\\{Path(script).name}",
        *words,
        path=["C:\\python", "C:\\uv"],
        **settings(tools.index),
    )

    assert done.returncode == 0, said(done)
    assert done.stdout.endswith("All as it should be.\n")


# Two processes that say by a growing file each that they are there.
BEATS = r"""
import subprocess, sys, time
BEAT = "import time\nwhile True: open(r'{folder}\{{}}', 'a').write('.'); time.sleep(0.1)"
subprocess.Popen([sys.executable, "-c", BEAT.format("grandchild")])
exec(BEAT.format("child"))
"""


def test_what_a_killed_process_has_started_ends_with_it(windows: Windows, project: str) -> None:
    folder = windows.path(project)
    (folder / "torch").mkdir()
    (folder / "torch" / "version.py").write_text("__version__ = '2.13.0'\n", encoding="utf-8")
    beats = BEATS.format(folder=project)
    (folder / "torch" / "__init__.py").write_text(beats, encoding="utf-8")
    smoke_test = [PYTHON, "scripts\\gpu_smoke_test.py", "--device", "cpu"]
    ends_with(windows.start(smoke_test, project, PYTHONPATH=project), folder)

    (folder / "scripts" / "gpu_smoke_test.py").write_text(beats, encoding="utf-8")
    bootstrap = [PYTHON, "-I", "scripts\\torch_starter\\bootstrap.py"]
    ends_with(windows.start(bootstrap, project), folder)


def ends_with(process: subprocess.Popen[str], folder: Path) -> None:
    """Kill a process as soon as its child and grandchild have a beat: then they have none."""
    beats = [folder / "child", folder / "grandchild"]
    deadline = time.monotonic() + 60
    while not all(beat.exists() for beat in beats):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.kill()
    process.wait()
    time.sleep(1)
    counted = [beat.stat().st_size for beat in beats]
    time.sleep(1)
    assert [beat.stat().st_size for beat in beats] == counted
    for beat in beats:
        beat.unlink()
