"""What the bootstrap says on this system, in this shell, in this place; and how much it says."""

import importlib
import os
import pty
import re
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts.bootstrap_helpers import Demo, make_demo, module

pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="needs a POSIX shell")
VENV_SCRIPTS = ["Activate.ps1", "activate", "activate.csh", "activate.fish"]  # of python -m venv
UV_SCRIPTS = ["activate", "activate.bat", "activate.csh", "activate.fish", "activate.nu"]
UV_SCRIPTS += ["activate.ps1", "activate_this.py"]
CMD, POWERSHELL = r".venv\Scripts\activate.bat", r".venv\Scripts\Activate.ps1"
# The lines of the real files that matter, as their distributions ship them.
OS_RELEASES = {
    "debian": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n',
    "mint": 'NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\n',
    "fedora": 'NAME="Fedora Linux"\nID=fedora\nVERSION_ID=43\n',
    "rocky": "ID=\"rocky\"\nID_LIKE='rhel centos fedora'\n",
    "tumbleweed": 'ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n',
    "manjaro": "ID=manjaro\nID_LIKE=arch\nBUILD_ID=rolling\n",
    "nixos": 'ID=nixos\nID_LIKE=""\n',
    "unknown": "NAME=Own\nID=own\n",
    "empty": "",
}


@pytest.mark.parametrize(
    ("name", "python", "ensurepip"),
    [
        (
            "debian",
            "sudo apt install python3.12 python3.12-venv",
            "sudo apt install python3.12-venv",
        ),
        ("mint", "sudo apt install python3.12 python3.12-venv", "sudo apt install python3.12-venv"),
        ("fedora", "sudo dnf install python3.12", "--python /path/to/python3.12"),
        ("rocky", "sudo dnf install python3.12", "--python /path/to/python3.12"),
        ("tumbleweed", "sudo zypper install python312", "--python /path/to/python3.12"),
        ("manjaro", "sudo pacman -S uv", "--python /path/to/python3.12"),
        ("nixos", "nix-shell -p python312", "--python /path/to/python3.12"),
        ("unknown", "Install uv", "Install uv"),
        ("empty", "Install uv", "Install uv"),
        ("macos", "brew install python@3.12", "Install uv"),
        ("windows", "winget install Python.Python.3.12", "Install uv"),
    ],
)
def test_each_system_is_told_its_own_line(
    monkeypatch: pytest.MonkeyPatch, name: str, python: str, ensurepip: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    systems = module("system")
    distribution = importlib.import_module("surroundings.system").distribution
    system = distribution(OS_RELEASES[name]) if name in OS_RELEASES else {name}
    lines = systems.install_python("3.12", system).splitlines()
    assert python in lines[0]
    assert lines[0].endswith(python) or "uv" in lines[0]
    assert ensurepip in systems.install_ensurepip("3.12", system)
    monkeypatch.setattr(os, "geteuid", lambda: 0)  # who often has no sudo, as in a container
    assert python.removeprefix("sudo ") in systems.install_python("3.12", system)
    assert "sudo" not in systems.install_python("3.12", system)
    assert "sudo" not in systems.install_ensurepip("3.12", system)


@pytest.mark.parametrize(
    ("environment", "parent", "shell"),
    [
        ({"SHELL": "/bin/zsh"}, "fish\n", "fish"),  # the login shell is another one
        ({"SHELL": "/usr/bin/fish"}, "make", "fish"),
        ({"SHELL": "/bin/bash"}, "-zsh", "zsh"),  # how macOS starts a terminal
        ({"SHELL": "/bin/sh"}, "/opt/homebrew/bin/nu", "nu"),
        ({"MSYSTEM": "MINGW64", "PSModulePath": r"a;b;c"}, "", "bash"),
        ({"PSModulePath": r"C:\Users\x\Documents\PowerShell\Modules;C:\a;C:\b"}, "", "powershell"),
        ({"PSModulePath": r"C:\Program Files\WindowsPowerShell\Modules;C:\Windows\b"}, "", ""),
        ({}, "", ""),
    ],
)
def test_the_shell_in_use_is_told_apart(
    environment: dict[str, str], parent: str, shell: str
) -> None:
    assert module("system").shell_in_use(environment, parent) == shell


@pytest.mark.parametrize(
    ("shell", "windows", "scripts", "line"),
    [
        ("bash", False, VENV_SCRIPTS, ". .venv/bin/activate"),
        ("", False, VENV_SCRIPTS, ". .venv/bin/activate"),
        ("tcsh", False, UV_SCRIPTS, "source .venv/bin/activate.csh"),
        ("pwsh", False, VENV_SCRIPTS, ".venv/bin/Activate.ps1"),
        ("pwsh", False, UV_SCRIPTS, ".venv/bin/activate.ps1"),
        ("nu", False, UV_SCRIPTS, "overlay use .venv/bin/activate.nu"),
        ("nu", False, VENV_SCRIPTS, ""),  # there is none
        ("", True, UV_SCRIPTS, f"{CMD} (PowerShell: {POWERSHELL.replace('Act', 'act')})"),
        ("powershell", True, [*VENV_SCRIPTS, "activate.bat"], f"{POWERSHELL} (cmd: {CMD})"),
        ("bash", True, UV_SCRIPTS, ". .venv/Scripts/activate"),
    ],
)
def test_activation_is_in_the_words_of_the_shell(
    shell: str, windows: bool, scripts: list[str], line: str
) -> None:
    assert module("system").activation(shell, scripts, windows) == line


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["zsh", "fish", "tcsh"])
def test_the_shell_that_it_is_typed_into_counts(demo: Demo, name: str) -> None:
    shell = shutil.which(name)
    if not shell:
        pytest.skip(f"{name} is not installed")
    demo.env["PATH"] += ":/bin"
    # `; true`, lest the shell becomes the bootstrap instead of starting it.
    command = [shell, "-c", "sh ./bootstrap.sh --no-smoke; true"]
    done = subprocess.run(
        command, cwd=demo.root, env=demo.env, capture_output=True, encoding="utf-8", check=True
    )
    word = "." if name == "zsh" else "source"
    suffix = {"zsh": "", "fish": ".fish", "tcsh": ".csh"}[name]
    # The scripts for tcsh break at a ! in the path, whoever wrote them.
    assert (f"\n  {word} .venv/bin/activate{suffix}\n" in done.stdout) == (name != "tcsh")
    assert "without activating: .venv/bin/python -m pytest\n" in done.stdout


@pytest.mark.parametrize(
    ("length", "letters", "measured", "manager", "said"),
    [
        (66, 169, True, "pip", ""),
        (67, 169, True, "uv", "warning: Paths of torch 2.13.0 would be 260 letters long"),
        (67, 169, False, "poetry", "warning: Paths of torch 2.13.0 may be 260 letters long"),
        (67, 169, True, "pip", "stop"),
        (109, 127, True, "poetry", "stop"),
        (108, 127, True, "poetry", ""),
    ],
)
def test_windows_paths_are_counted_beforehand(
    capsys: pytest.CaptureFixture[str],
    length: int,
    letters: int,
    measured: bool,
    manager: str,
    said: str,
) -> None:
    root = "C:\\" + "x" * (length - 3)
    assert len(rf"{root}\.venv\Lib\site-packages") == length + 24
    build = {"release": "2.13.0", "windows_path": {"letters": letters, "measured": measured}}
    check, stop = module("system").check_path_length, module("places").StopError
    if said == "stop":
        with pytest.raises(stop, match=r"would be 260 letters long, Windows allows 259\.") as ended:
            check(root, build, manager)
        assert ended.value.code == 4
        assert "LongPathsEnabled" in ended.value.todo
    else:
        check(root, build, manager)
        assert said in capsys.readouterr().out or not said


@pytest.mark.parametrize(
    ("root", "environment", "expected"),
    [
        (r"C:\Users\x\OneDrive - Contoso\demo", {}, True),
        ("/Users/x/Library/CloudStorage/OneDrive-Personal/demo", {}, True),
        (r"C:\Users\x\onedrive\demo", {}, True),
        (r"C:\Users\x\OneDrives\demo", {}, False),
        ("/data/cloud/demo", {"OneDrive": "/data/cloud"}, True),
        ("/data/clouds/demo", {"OneDrive": "/data/cloud"}, False),
    ],
)
def test_onedrive_is_known_by_its_folder(
    root: str, environment: dict[str, str], expected: bool
) -> None:
    assert module("system").is_synchronised(root, environment) is expected


@pytest.mark.slow
def test_in_onedrive_uv_copies_instead_of_linking(tmp_path: Path) -> None:
    demo = make_demo(tmp_path, "uv", "OneDrive - Contoso")
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning: OneDrive copies this folder" in done.stdout
    installed = Path(demo.ask("__import__('demo_stub').__file__"))
    assert installed.stat().st_nlink == 1
    linked = make_demo(tmp_path / "elsewhere", "uv")
    assert linked.run().returncode == 0
    assert Path(linked.ask("__import__('demo_stub').__file__")).stat().st_nlink > 1


def test_an_active_environment_and_a_conda_python_are_told(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    active = tmp_path / "active"
    done = demo.run("--no-smoke", VIRTUAL_ENV=str(active))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"note: the active environment {active} is left alone, .venv is used" in done.stdout
    assert "conda" not in done.stdout
    own = demo.run("--no-smoke", "--recreate", VIRTUAL_ENV=str(demo.root / ".venv"))
    assert "note: the active" not in own.stdout

    (active / "conda-meta").mkdir(parents=True)
    python = SimpleNamespace(
        executable="/conda/bin/python", base_prefix=str(active), platform="linux-x86_64"
    )
    module("system").warn_of_surroundings(python)
    assert "warning: /conda/bin/python is conda's" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("platform", "processor", "told"),
    [
        ("windows-amd64", "ARMv8 (64-bit) Family 8 Model 1 Revision 201, Qualcomm", True),
        ("windows-amd64", "Intel64 Family 6 Model 154 Stepping 3, GenuineIntel", False),
        ("linux-aarch64", "", False),
    ],
)
def test_a_python_that_windows_on_arm_translates_is_told(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    processor: str,
    told: bool,
) -> None:
    monkeypatch.setenv("PROCESSOR_IDENTIFIER", processor)
    python = SimpleNamespace(executable="python", base_prefix="/nowhere", platform=platform)
    module("system").warn_of_surroundings(python)
    assert ("for x64 is translated here" in capsys.readouterr().out) is told


@pytest.mark.slow
def test_quiet_leaves_errors_warnings_and_the_verdict(demo: Demo) -> None:
    demo.write_smoke_test(
        "print('PASS  torch 2.13.0+cpu on the CPU  (1.0 s)\\n\\n  pass  DEV-OPEN  the CPU\\n'\n"
        f"      '{' ' * 23}and more\\n  skip  NCCL  no\\n  WARN  SYS-SHM  small')\n"
    )
    done = demo.run("--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = "PASS  torch 2.13.0+cpu on the CPU  (1.0 s)\n  WARN  SYS-SHM  small\n"
    assert (done.stdout, done.stderr) == (verdict, "")
    assert "demo-stub==1.0" in (demo.root / ".tools/bootstrap.log").read_text(encoding="utf-8")
    done = demo.run("--quiet")
    said = "Nothing to do: .venv is up to date.\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")

    demo.edit("pyproject.toml", '"demo-stub"', '"demo-stub>=9"')
    done = demo.run("--quiet")
    assert done.returncode == 5
    assert "demo-stub>=9" in done.stdout  # the end of what uv said
    assert done.stderr.startswith("bootstrap: This failed with exit code 1: locking.\n")
    assert demo.run("--quiet", "--verbose").returncode == 2


def on_a_terminal(demo: Demo, *arguments: str, **env: str) -> str:
    """What a run writes to a real terminal."""
    main, end = pty.openpty()
    command = ["/bin/sh", str(demo.root / "bootstrap.sh"), *arguments]
    with subprocess.Popen(
        command, env={**demo.env, **env}, stdin=end, stdout=end, stderr=end
    ) as child:
        os.close(end)
        parts = []
        while True:
            try:
                part = os.read(main, 1 << 16)
            except OSError:  # how Linux says that nobody writes any more
                break
            if not part:
                break
            parts.append(part)
    os.close(main)
    assert child.returncode == 0, parts
    return b"".join(parts).decode("ascii")  # its own words have nothing else


@pytest.mark.slow
def test_a_terminal_shows_seconds_that_move_and_a_pipe_plain_lines(tmp_path: Path) -> None:
    demo = make_demo(tmp_path, "uv")
    slow = "time.sleep(1.2)\n    while pathlib.Path"
    demo.edit("backend/demo_backend.py", "while pathlib.Path", slow)

    seen = on_a_terminal(demo, "--recreate")

    step = r"  installing \(the first time can take long\) \.\.\."
    assert re.search(rf"{step}\r{step} 1 s\r{step} \d\.\d s\r\n", seen)

    (demo.root / "pyproject.toml").touch()
    demo.edit("pyproject.toml", '"0.1"', '"0.2"')
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\r" not in done.stdout
    assert re.search(rf"\n{step} \d\.\d s\n", done.stdout)


def test_a_dumb_terminal_is_written_plain_lines(demo: Demo, tmp_path: Path) -> None:
    plain = make_demo(tmp_path / "plain", "uv")
    started = time.monotonic()
    seen = on_a_terminal(plain, "--no-smoke", TERM="dumb")
    assert time.monotonic() - started < 60
    assert not re.search(r"\r(?!\n)", seen)
