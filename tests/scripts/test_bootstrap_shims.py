"""bootstrap.sh finds a Python and hands over, in every shell; line ends and exec bit."""

import ast
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.bootstrap_helpers import (
    ODD_NAME,
    PYTHON,
    TEMPLATE,
    Demo,
    make_demo,
    other_python,
    path_of,
    tool,
)
from snapshot import commit_all, git

pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="needs a POSIX shell")
SHELLS = ["sh", "dash", "bash", "bash --posix", "busybox sh", "zsh", "zsh --emulate sh"]
SHELLS += ["mksh", "ksh93", "yash"]


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return make_demo(tmp_path, "pip", ODD_NAME)


@pytest.mark.few(4)
@pytest.mark.parametrize("name", SHELLS)
def test_every_shell_hands_over_from_another_folder(demo: Demo, name: str) -> None:
    shell, *options = name.split()
    command = [str(tool(shell)), *options, str(demo.root / "bootstrap.sh")]
    for arguments, code in (["--dry-run"], 0), (["--no-such option"], 2):
        done = subprocess.run(
            [*command, *arguments],
            cwd="/",
            env=demo.env,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == code, done.stderr
    assert "unrecognized arguments: --no-such option" in done.stderr


@pytest.mark.parametrize("start", ["./bootstrap.sh", "sh bootstrap.sh", "sh ./bootstrap.sh"])
def test_it_runs_in_its_own_folder(demo: Demo, start: str) -> None:
    demo.env["PATH"] += ":/bin"
    command = [*start.split(), "--dry-run"]
    done = subprocess.run(
        command, cwd=demo.root, env=demo.env, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"{demo.root}/.venv" in done.stdout.replace("'\"'\"'", "'")


def test_no_python_is_said_with_a_way_out(demo: Demo, tmp_path: Path) -> None:
    done = demo.run(PATH=str(path_of(tmp_path / "empty", {})))
    assert done.returncode == 3
    assert done.stderr.startswith("bootstrap: no 64-bit Python 3.10 or newer was found on PATH.\n")
    assert "Or install uv, or set BOOTSTRAP_PYTHON" in done.stderr
    assert done.stdout == ""


def test_a_name_without_a_python_behind_it_is_passed_over(demo: Demo, tmp_path: Path) -> None:
    shim = tmp_path / "shim"  # like pyenv's for a version that is not active
    shim.write_text("#!/bin/sh\necho 'not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    broken = path_of(tmp_path / "shims", {"python3.14": shim, "python3": shim})
    assert demo.run(PATH=str(broken)).returncode == 3
    done = demo.run("--dry-run", PATH=f"{broken}:{demo.env['PATH']}")
    assert done.returncode == 3  # python3 is the shim here, too
    (broken / "python").symlink_to(PYTHON)
    done = demo.run("--dry-run", PATH=f"{broken}:{demo.env['PATH']}")
    assert done.returncode == 0, done.stderr


def test_bootstrap_python_wins_or_is_refused(demo: Demo, tmp_path: Path) -> None:
    empty = str(path_of(tmp_path / "empty", {}))
    done = demo.run("--dry-run", PATH=empty, BOOTSTRAP_PYTHON=str(PYTHON))
    assert done.returncode == 0, done.stderr
    for named in "/bin/sh", str(tool("true")):  # which exits 0 whatever it is asked
        done = demo.run("--dry-run", BOOTSTRAP_PYTHON=named)
        assert done.returncode == 3
        assert f"BOOTSTRAP_PYTHON={named} is not a 64-bit Python 3.10 or newer." in done.stderr


def test_poison_in_the_environment_does_not_stop_the_start(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('poisoned')\n")
    done = demo.run("--dry-run", PYTHONPATH=str(tmp_path), PYTHONHOME="/nowhere")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif("sys.platform != 'linux'", reason="the name of uv's folder is Linux's")
def test_uv_supplies_the_first_python(demo: Demo, tmp_path: Path) -> None:
    _, python = other_python("3.12")
    ask = [str(python), "-c", "import platform; print(platform.python_version())"]
    version = subprocess.run(ask, capture_output=True, encoding="utf-8", check=True).stdout.strip()
    name = f"cpython-{version}-linux-{platform.machine()}-gnu"  # as `uv python install` does
    path_of(tmp_path / "store" / name, {part.name: part for part in python.parents[1].iterdir()})
    programs = path_of(tmp_path / "only-uv", {"uv": tool("uv")})
    env = {"PATH": str(programs), "UV_PYTHON_DOWNLOADS": "never"}
    done = demo.run("--help", UV_PYTHON_INSTALL_DIR=str(tmp_path / "store"), **env)
    assert done.returncode == 0, done.stderr
    assert "asking uv" in done.stdout
    assert demo.run("--help", **env).returncode == 3


def test_the_script_is_read_by_an_old_python_as_far_as_its_check() -> None:
    text = (TEMPLATE / "scripts" / "torch_starter" / "bootstrap.py").read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 7))
    before = [
        node for node in tree.body if node.lineno < text[: text.index("sys.exit")].count("\n")
    ]
    imported = [node for node in before if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert [ast.unparse(node) for node in imported] == ["import sys"]


@pytest.mark.parametrize("lost", ["", "places.py"])
def test_a_missing_package_is_told(demo: Demo, lost: str) -> None:
    package = demo.root / "scripts" / "torch_starter" / "bootstrapping"
    (package / lost).unlink() if lost else shutil.rmtree(package)
    done = demo.run("--dry-run")
    assert done.returncode == 2
    assert done.stderr == (
        "bootstrap: scripts/torch_starter is missing or incomplete.\n"
        "Restore it: git checkout HEAD -- scripts/torch_starter\n"
    )


def test_other_files_are_ascii_with_lf() -> None:
    modules = list((TEMPLATE / "scripts" / "torch_starter" / "bootstrapping").glob("*.py"))
    assert modules
    for path in (
        TEMPLATE / "bootstrap.sh",
        TEMPLATE / "scripts" / "torch_starter" / "bootstrap.py",
        *modules,
    ):
        content = path.read_bytes()
        assert content.isascii(), path
        assert b"\r" not in content, path


def test_bootstrap_sh_is_executable() -> None:
    assert (TEMPLATE / "bootstrap.sh").stat().st_mode & 0o111 == 0o111


def test_git_keeps_the_line_ends_on_windows(demo: Demo, tmp_path: Path) -> None:
    for name in (".gitattributes", "bootstrap.cmd", "bootstrap.ps1"):
        shutil.copy(TEMPLATE / name, demo.root)
    commit_all(demo.root, "start")
    clone = tmp_path / "clone"
    git("clone", "--config", "core.autocrlf=true", str(demo.root), str(clone), cwd=tmp_path)
    for path in (
        "bootstrap.sh",
        "scripts/torch_starter/bootstrap.py",
        "bootstrap.cmd",
        "bootstrap.ps1",
    ):
        assert (clone / path).read_bytes() == (demo.root / path).read_bytes()
    assert b"\r\n" in (clone / "bootstrap.cmd").read_bytes()
    assert b"\r" not in (clone / "bootstrap.sh").read_bytes()


def test_a_bootstrap_sh_with_windows_line_ends_does_nothing(demo: Demo) -> None:
    script = demo.root / "bootstrap.sh"
    script.write_bytes(script.read_bytes().replace(b"\n", b"\r\n"))
    before = demo.files()
    assert demo.run().returncode not in (0, 3)  # which is why .gitattributes and the test above
    assert demo.files() == before


def test_a_lost_exec_bit_does_not_matter_to_sh(demo: Demo) -> None:
    (demo.root / "bootstrap.sh").chmod(0o644)  # as unpacked from a .zip
    with pytest.raises(PermissionError):
        subprocess.run(["./bootstrap.sh", "--dry-run"], cwd=demo.root, check=False)
    assert demo.run("--dry-run").returncode == 0
