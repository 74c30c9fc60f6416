"""Pitfalls of real machines: odd Pythons, what an upgrade leaves, lost rights, line ends."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.bootstrap_helpers import (
    MINOR,
    ODD_NAME,
    PYTHON,
    TEMPLATE,
    Demo,
    make_demo,
    other_python,
    path_of,
    tool,
)
from scripts.smoke_helpers import needs_namespaces

pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="needs a POSIX shell")


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


ARM = "sys.platform = 'win32'; os.name = 'nt'; sysconfig.get_platform = lambda: 'win-arm64'"


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        ("sys.maxsize = 2**31 - 1", "is a 32-bit Python."),
        ("sysconfig.get_config_vars()['Py_GIL_DISABLED'] = 1", "is a free-threaded Python."),
        ("sys.implementation.name = 'pypy'", "is not CPython."),
        (ARM, "is for windows-arm64."),
        ("sysconfig.get_config_vars()['SOABI'] = 'cpython-x86_64-linux-musl'", "-musl."),
    ],
)
def test_a_python_without_wheels_is_refused_and_passed_over(
    tmp_path: Path, fact: str, reason: str
) -> None:
    demo = make_demo(tmp_path, "pip", ODD_NAME)
    # The real Python, which finds another fact about itself when the bootstrap asks.
    code = f"import os, sys, sysconfig; {fact}; exec(sys.argv[1])"
    odd = executable(
        tmp_path / "odd" / f"python{MINOR}",
        f'#!/bin/sh\nexec {shlex.quote(str(PYTHON))} -I -c {shlex.quote(code)} "$3"\n',
    )
    done = demo.run("--python", str(odd))
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stderr.startswith(f"bootstrap: --python {odd} is ")
    assert done.stderr.splitlines()[0].endswith(reason)
    assert not (demo.root / ".venv").exists()
    # The first on PATH for .venv, where a Python of another minor started.
    _, starts = other_python()
    last = path_of(tmp_path / "last", {"python": PYTHON})
    path = f"{odd.parent}:{last}"
    done = demo.run("--dry-run", PATH=path, BOOTSTRAP_PYTHON=str(starts))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"\n  Python {MINOR}." in done.stdout
    assert f"{reason[:-1]}: passed over, PyTorch has no wheels for it\n" in done.stdout


def test_apple_s_stub_is_not_run_without_the_command_line_tools(demo: Demo, tmp_path: Path) -> None:
    opened = tmp_path / "dialog"
    stub = executable(tmp_path / "apple" / "python3", f"#!/bin/sh\n: >'{opened}'\nexit 1\n")
    mac = tmp_path / "mac"
    executable(mac / "uname", "#!/bin/sh\necho Darwin\n")
    tools = executable(mac / "xcode-select", "#!/bin/sh\nexit 2\n")
    demo.edit("bootstrap.sh", "/usr/bin/python3", str(stub))

    done = demo.run("--dry-run", PATH=f"{mac}:{stub.parent}")

    assert done.returncode == 3
    assert "Type: brew install python@3.12" in done.stderr
    assert not opened.exists()
    executable(tools, "#!/bin/sh\nexit 0\n")
    assert demo.run("--dry-run", PATH=f"{mac}:{stub.parent}").returncode == 3
    assert opened.exists()


def test_a_venv_whose_python_was_upgraded_beneath_it_is_rebuilt(demo: Demo, tmp_path: Path) -> None:
    minor, other = other_python()
    base = tmp_path / "python"  # as Homebrew has it: a link that an upgrade moves on
    base.symlink_to(other.parents[1])
    venv = demo.root / ".venv"
    command = [str(base / "bin" / f"python{minor}"), "-m", "venv", "--without-pip", str(venv)]
    subprocess.run(command, check=True)
    shutil.copy(venv / "pyvenv.cfg", tmp_path)
    base.unlink()
    base.symlink_to(PYTHON.resolve().parents[1])
    # What it says of itself is no proof: `python -m venv` over another one writes this, too.
    text = (venv / "pyvenv.cfg").read_text(encoding="utf-8")
    (venv / "pyvenv.cfg").write_text(text.replace(minor, MINOR), encoding="utf-8")

    done = demo.run()

    assert done.returncode == 0, done.stdout + done.stderr
    assert "removing .venv: " in done.stdout
    assert demo.ask("'%d.%d' % __import__('sys').version_info[:2]") == MINOR


@pytest.mark.slow
def test_a_venv_that_a_tool_made_elsewhere_is_rebuilt(tmp_path: Path) -> None:
    demo = make_demo(tmp_path, "uv")
    subprocess.run([tool("uv"), "sync", "--quiet"], cwd=demo.root, env=demo.env, check=True)
    copy = tmp_path / "copy"
    shutil.copytree(demo.root, copy, symlinks=True)
    assert "removing" not in demo.run().stdout
    demo.root = copy
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "removing .venv: the folder of the project was moved" in done.stdout
    assert demo.ask("__import__('demo').__file__").startswith(str(copy))


def test_half_a_venv_of_debian_s_is_rebuilt(tmp_path: Path) -> None:
    demo = make_demo(tmp_path, "pip")  # a Python, and no pip: what `venv` leaves without ensurepip
    venv = demo.root / ".venv"
    subprocess.run([str(PYTHON), "-m", "venv", "--without-pip", str(venv)], check=True)
    done = demo.run("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "removing .venv: it has no pip" in done.stdout
    shutil.rmtree(venv / "bin")  # and less: a folder with nothing that runs
    assert "removing .venv: its Python does not run" in demo.run("--dry-run").stdout


def test_a_read_only_disk_is_told(demo: Demo) -> None:
    needs_namespaces()
    done = demo.run_mounted("ro")
    assert done.returncode == 4
    assert "Read-only file system" in done.stderr
    assert "\nCopy the project to another disk.\n" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("os_release", "line"),
    [
        ("ID=ubuntu\nID_LIKE=debian\n", "sudo apt install python3 python3-venv"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "sudo dnf install python3"),
        ("ID=arch\n", "sudo pacman -S python"),
        ("ID=alpine\n", ""),
        ("ID=nixos\n", "nix-shell -p python3"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "sudo zypper install python3"),
        ("ID=own\n", ""),
    ],
)
def test_without_a_python_the_shim_names_the_system_s_own_line(
    demo: Demo, tmp_path: Path, os_release: str, line: str
) -> None:
    needs_namespaces()
    (tmp_path / "os-release").write_text(os_release, encoding="utf-8")
    empty = path_of(tmp_path / "empty", {"uname": Path(shutil.which("uname") or "")})
    mount = f"mount --bind '{tmp_path}/os-release' /etc/os-release"
    for user, more in (("root", ""), ("one who may not write /", "mount -o remount,bind,ro / &&")):
        script = f"{mount} && {more} PATH='{empty}' exec /bin/sh"
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", f'{script} "$0"', str(demo.root / "bootstrap.sh")],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 3
        if "alpine" in os_release:
            assert "\nPyTorch has no wheels for Alpine: " in done.stderr
            continue
        typed = line.removeprefix("sudo ") if user == "root" else line
        assert (f"\nType: {typed}\n" in done.stderr) == bool(line)
        assert done.stderr.endswith(
            "Or install uv, or set BOOTSTRAP_PYTHON to the path of a Python. Then run this again.\n"
        )


def test_git_for_windows_and_a_zip_do_no_harm_to_the_scripts(demo: Demo, tmp_path: Path) -> None:
    for name in (".gitattributes", "bootstrap.cmd", "bootstrap.ps1"):
        shutil.copy(TEMPLATE / name, demo.root / name)
    git = ["git", "-c", "core.autocrlf=true"]  # what Git for Windows sets
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "Start"]):
        subprocess.run([*git, *command], cwd=demo.root, check=True, capture_output=True)
    clone = tmp_path / "clone"
    subprocess.run([*git, "clone", "-q", str(demo.root), str(clone)], check=True)
    for path in (
        "bootstrap.sh",
        "scripts/torch_starter/bootstrap.py",
        "bootstrap.cmd",
        "bootstrap.ps1",
    ):
        assert (clone / path).read_bytes() == (TEMPLATE / path).read_bytes(), path
    demo.root = clone
    (clone / "bootstrap.sh").chmod(0o644)  # what a zip file keeps of the right to run it
    done = demo.run("--dry-run")
    assert done.returncode == 0, done.stderr
