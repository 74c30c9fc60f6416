"""bootstrap.cmd on Windows CPython: it finds a Python, in any folder, and hands over."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from windows.session import CASES, PYTHON, Windows, said

pytestmark = [pytest.mark.wine, pytest.mark.slow, pytest.mark.xdist_group("wine")]
TEMPLATE = Path(__file__).parents[2] / "template"
# In the place of bootstrap.py: says how it was called, and exits with a code of its own.
RECORDER = """
import json, os, sys
names = ("PYTHON_MANAGER_AUTOMATIC_INSTALL", "PYLAUNCHER_ALLOW_INSTALL")
flags = [sys.flags.isolated, sys.flags.utf8_mode]
said = {"python": sys.executable, "file": os.path.abspath(__file__), "arguments": sys.argv[1:],
        "flags": flags, "launcher": [os.environ.get(name) for name in names]}
print(json.dumps(said))
sys.exit(41)
"""
FOLDERS = ["with space", "a (1) & b", "wow! really!", "caret^s", "it's", "日本 é", "=,;+ [x]"]
PY_LAUNCHER = """
import os, subprocess, sys
if "{minor}" not in sys.argv[1:]:
    sys.exit("No suitable Python runtime found")  # 1; the real one exits with 103
rest = [word for word in sys.argv[1:] if word != "{minor}"]
sys.exit(subprocess.run(["C:\\\\python\\\\python.exe", *rest]).returncode)
"""


def project(windows: Windows, name: str) -> str:
    """A folder with bootstrap.cmd and the recorder."""
    folder = f"{CASES}\\{name}"
    machinery = windows.path(folder) / "scripts" / "torch_starter"
    machinery.mkdir(parents=True, exist_ok=True)
    shutil.copy(TEMPLATE / "bootstrap.cmd", windows.path(folder))
    (machinery / "bootstrap.py").write_text(RECORDER, encoding="utf-8")
    return folder


def recorded(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What bootstrap.py was called with."""
    assert done.returncode == 41, said(done)
    record: dict[str, Any] = json.loads(done.stdout)
    return record


@pytest.mark.parametrize(
    "name",
    [
        *FOLDERS,
        *(
            pytest.param(name, marks=pytest.mark.xfail(strict=True, reason=reason))
            for name in ("100%", "%PATH%")
            for reason in ["Wine's cmd.exe looks for variables in the value of %~dp0 again"]
        ),
    ],
)
def test_it_works_in_any_folder(windows: Windows, name: str) -> None:
    folder = project(windows, name)

    record = recorded(windows.bootstrap(folder))

    assert record["file"] == f"{folder}\\scripts\\torch_starter\\bootstrap.py"
    assert record["python"] == PYTHON
    assert record["flags"] == [1, 1]


def test_arguments_and_exit_code_arrive_from_any_current_folder(windows: Windows) -> None:
    folder = project(windows, "arguments (x86) & more")
    arguments = ["--python", "C:\\Program Files\\a & b (x)!", "--no-smoke", "", "é 日本", "50% of"]
    script = f"{folder}\\bootstrap.cmd"

    done = windows.run(
        "cmd", "/d", "/c", "call", script, *arguments, cwd="C:\\windows", path=["C:\\python"]
    )

    assert recorded(done)["arguments"] == arguments


def test_without_any_python_it_says_so_and_how_to_get_one(windows: Windows) -> None:
    done = windows.bootstrap(project(windows, "none"), path=[])

    assert done.returncode == 3, said(done)
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "bootstrap: no 64-bit Python 3.10 or newer was found by the py launcher or on PATH.",
        "Install one (winget install Python.Python.3.12) or uv, or set BOOTSTRAP_PYTHON to its "
        "path, and run this again.",
    ]


def test_the_alias_of_the_store_is_not_taken_for_a_python(windows: Windows) -> None:
    folder = project(windows, "alias")
    alias = "import sys; print('Python was not found', file=sys.stderr); sys.exit(9009)"
    for name in ("python", "python3"):
        windows.make_exe(f"{CASES}\\WindowsApps\\{name}.exe", alias)
    apps = f"{CASES}\\WindowsApps"

    done = windows.bootstrap(folder, path=[apps])
    assert done.returncode == 3, said(done)
    assert done.stderr.startswith("bootstrap: no 64-bit Python 3.10 or newer was found")

    windows.make_exe(f"{CASES}\\launcher\\py.exe", PY_LAUNCHER.format(minor="-3"))
    record = recorded(windows.bootstrap(folder, path=[apps, f"{CASES}\\launcher"]))
    assert record["python"] == PYTHON


def test_the_launcher_is_asked_first_and_may_not_install(windows: Windows) -> None:
    folder = project(windows, "launcher project")
    windows.make_exe(f"{CASES}\\py\\py.exe", PY_LAUNCHER.format(minor="-3"))
    windows.make_exe(f"{CASES}\\broken\\python.exe", "import sys; sys.exit(1)")

    record = recorded(
        windows.bootstrap(
            folder, path=[f"{CASES}\\py", f"{CASES}\\broken"], PYLAUNCHER_ALLOW_INSTALL="1"
        )
    )

    assert record["python"] == PYTHON
    assert record["launcher"] == ["false", None]


def test_a_launcher_without_a_python_is_passed_over(windows: Windows) -> None:
    folder = project(windows, "empty launcher")
    windows.make_exe(f"{CASES}\\py2\\py.exe", PY_LAUNCHER.format(minor="-2"))

    record = recorded(windows.bootstrap(folder, path=[f"{CASES}\\py2", "C:\\python"]))

    assert record["python"] == PYTHON


def test_a_batch_file_on_path_is_called_as_those_of_pyenv(windows: Windows) -> None:
    folder = project(windows, "pyenv")
    shims = windows.path(f"{CASES}\\shims")
    shims.mkdir()
    (shims / "python3.12.bat").write_bytes(b'@"C:\\python\\python.exe" %*\r\n')

    record = recorded(windows.bootstrap(folder, "--a b", path=[f"{CASES}\\shims"]))

    assert record["arguments"] == ["--a b"]


@pytest.mark.parametrize("how", ["{}", '"{}"', "shim.bat"])
def test_the_named_python_is_taken(windows: Windows, how: str) -> None:
    folder = project(windows, "named")
    link = windows.path(f"{CASES}\\my (own) ^ & python")
    if not link.exists():
        link.symlink_to("../python")
    named = f"{CASES}\\my (own) ^ & python\\python.exe"
    (link.parent / "shim.bat").write_bytes(f'@"{named}" %*\r\n'.encode())

    value = how.format(named) if "{" in how else f"{CASES}\\{how}"
    done = windows.bootstrap(folder, path=[], BOOTSTRAP_PYTHON=value)

    assert recorded(done)["python"] == named


@pytest.mark.parametrize("named", ["C:\\no where\\python.exe", "C:\\windows\\system32\\cmd.exe"])
def test_a_named_python_that_is_none_is_refused(windows: Windows, named: str) -> None:
    done = windows.bootstrap(project(windows, "refused"), BOOTSTRAP_PYTHON=named)

    assert done.returncode == 3, said(done)
    assert done.stderr.splitlines() == [
        f'bootstrap: BOOTSTRAP_PYTHON="{named}" is not a 64-bit Python 3.10 or newer.',
        "Set it to the path of one, or unset it to have one searched for.",
    ]


def test_poison_in_the_environment_does_no_harm(windows: Windows) -> None:
    folder = project(windows, "poison")
    windows.path(f"{folder}\\json.py").write_text("raise SystemExit('poisoned')\n")

    done = windows.bootstrap(folder, PYTHONHOME="C:\\nowhere", PYTHONPATH=folder, PYTHONUTF8="0")

    assert recorded(done)["flags"] == [1, 1]


def test_uv_supplies_the_first_python(windows: Windows) -> None:
    folder = project(windows, "uv")
    store = f"{CASES}\\store"
    uv = {"UV_PYTHON_DOWNLOADS": "never", "UV_CACHE_DIR": f"{CASES}\\uv-cache"}
    done = windows.bootstrap(folder, path=["C:\\uv"], UV_PYTHON_INSTALL_DIR=store, **uv)
    assert done.returncode == 3, said(done)

    windows.path(store).mkdir(exist_ok=True)
    name = "cpython-3.12.4-windows-x86_64-none"  # as `uv python install` does
    windows.path(f"{store}\\{name}").symlink_to("../../python")
    done = windows.bootstrap(folder, "--x", path=["C:\\uv"], UV_PYTHON_INSTALL_DIR=store, **uv)
    assert recorded(done)["arguments"] == ["--x"]
