"""What the bootstrap makes of the .venv that it finds, and of what it cannot use."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from scripts.bootstrap_helpers import (
    MINOR,
    ODD_NAME,
    PYTHON,
    Demo,
    make_demo,
    make_wheel,
    module,
    old_tool,
    other_python,
    path_of,
    tool,
)

pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="needs a POSIX shell")


def stub_version(demo: Demo) -> str:
    return demo.ask("__import__('demo_stub').VERSION")


def test_uv_makes_a_lock_and_a_venv_once(demo: Demo) -> None:
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "uv.lock is new: commit it" in done.stdout
    assert stub_version(demo) == "1.0"
    assert demo.ask("__import__('demo').__file__").startswith(str(demo.root / "src"))
    before = demo.files()
    (demo.root / "pyproject.toml").touch()  # as git does, from branch to branch
    done = demo.run()
    assert done.returncode == 0
    assert "Nothing to do" in done.stdout
    assert "the smoke test ran" not in done.stdout
    assert {k: v for k, v in demo.files().items() if not k.endswith(".pyc")} == {
        k: v for k, v in before.items() if not k.endswith(".pyc")
    }


@pytest.mark.slow
def test_a_stale_lock_is_made_again_and_said(demo: Demo, tmp_path: Path) -> None:
    assert demo.run().returncode == 0
    make_wheel(tmp_path / "wheels", "more_stub", "1.0")
    demo.edit("pyproject.toml", '"demo-stub"', '"demo-stub", "more-stub"')
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "uv.lock was out of date and has been made again: commit it" in done.stdout
    assert demo.ask("__import__('more_stub').VERSION") == "1.0"
    assert "removing" not in done.stdout


def test_a_venv_made_by_hand_is_kept(demo: Demo) -> None:
    subprocess.run([tool("uv"), "sync", "--quiet"], cwd=demo.root, env=demo.env, check=True)
    (demo.root / ".venv" / "mark").touch()
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert (demo.root / ".venv" / "mark").exists()
    assert "is new" not in done.stdout


def test_a_venv_whose_python_is_gone_is_rebuilt(demo: Demo) -> None:
    assert demo.run().returncode == 0
    for link in demo.python.parent.glob("python*"):
        link.unlink()
        link.symlink_to("/nowhere/python")
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "removing .venv: its Python does not run" in done.stdout
    assert stub_version(demo) == "1.0"


def test_a_venv_of_another_python_is_rebuilt(demo: Demo) -> None:
    minor, python = other_python()
    venv = demo.root / ".venv"
    subprocess.run([str(python), "-m", "venv", "--without-pip", str(venv)], check=True)
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"removing .venv: it is Python {minor}." in done.stdout
    assert demo.ask("'%d.%d' % __import__('sys').version_info[:2]") == MINOR


@pytest.mark.slow
def test_a_moved_project_is_rebuilt(demo: Demo, tmp_path: Path) -> None:
    assert demo.run().returncode == 0
    demo.root = demo.root.rename(tmp_path / "moved")
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "removing .venv: the folder of the project was moved" in done.stdout
    assert "Nothing to do" in demo.run().stdout


@pytest.mark.slow
def test_recreate_makes_it_anew(demo: Demo) -> None:
    assert demo.run().returncode == 0
    (demo.root / ".venv" / "mark").touch()
    done = demo.run("--recreate")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (demo.root / ".venv" / "mark").exists()
    assert stub_version(demo) == "1.0"


def test_a_folder_that_is_no_venv_is_left_alone(demo: Demo) -> None:
    mine = demo.root / ".venv" / "mine"
    mine.parent.mkdir()
    mine.touch()
    done = demo.run("--recreate")
    assert done.returncode == 4
    assert "is there, but is not a virtual environment.\nMove it away" in done.stderr
    assert mine.exists()


@pytest.mark.slow
def test_a_failed_smoke_test_is_6_and_runs_again_without_installing(demo: Demo) -> None:
    demo.write_smoke_test("import sys; print('no GPU to be seen'); sys.exit(3)\n")
    for _ in range(2):
        done = demo.run()
        assert done.returncode == 6
        assert "no GPU to be seen" in done.stdout
        assert "bootstrap: The smoke test failed with exit code 3.\n" in done.stderr
        assert "Done." not in done.stdout
    assert "Nothing to do" in done.stdout
    demo.write_smoke_test("print('all is well')\n")
    done = demo.run()
    assert done.returncode == 0
    assert "all is well" in done.stdout


def test_no_smoke_leaves_it_to_the_next_run(demo: Demo) -> None:
    done = demo.run("--no-smoke")
    assert done.returncode == 0
    assert "the smoke test ran" not in done.stdout
    assert "the smoke test ran" in demo.run().stdout


def test_dry_run_prints_the_commands_and_changes_nothing(demo: Demo) -> None:
    before = demo.files()
    done = demo.run("--dry-run")
    assert done.returncode == 0, done.stderr
    for part in ("uv venv", "uv lock --python", "uv sync --python", "gpu_smoke_test.py"):
        assert part in done.stdout
    assert demo.files() == before


def test_verbose_shows_what_the_log_has(demo: Demo) -> None:
    done = demo.run("--verbose")
    log = (demo.root / ".tools" / "bootstrap.log").read_text(encoding="utf-8")
    assert " + demo-stub==1.0" in log
    assert " + demo-stub==1.0" in done.stdout


@pytest.mark.slow
@pytest.mark.network
def test_uv_is_fetched_where_it_is_too_old_or_does_not_run(demo: Demo, tmp_path: Path) -> None:
    shim = tmp_path / "bin" / "uv"
    shim.unlink()
    shim.symlink_to(old_tool(tmp_path / "old", "uv==0.4.30"))
    done = demo.run(VIRTUAL_ENV=str(tmp_path / "old"))
    assert done.returncode == 0, done.stdout + done.stderr
    own = demo.root / ".tools" / "uv" / "bin" / "uv"
    version = subprocess.run([str(own), "--version"], capture_output=True, encoding="utf-8")
    assert not version.stdout.startswith("uv 0.4.")
    lock = (demo.root / "uv.lock").read_text(encoding="utf-8")
    assert "revision = " in lock  # which the old one does not write
    assert stub_version(demo) == "1.0"
    shim.unlink()
    shim.write_text("#!/bin/sh\nexit 127\n")  # like pyenv's, with nothing behind it
    shim.chmod(0o755)
    demo.edit("pyproject.toml", '"0.1"', '"0.2"')
    done = demo.run()
    assert done.returncode == 0
    assert "installing uv" not in done.stdout


def test_a_uv_that_the_project_refuses_is_not_used(demo: Demo) -> None:
    demo.edit("pyproject.toml", '">=0.9.25"', '">=99"')
    done = demo.run("--dry-run")
    assert "would run" in done.stdout
    assert "/.tools/uv/bin/uv' lock" in done.stdout
    demo.edit("pyproject.toml", '">=99"', '"about 1"')
    done = demo.run()
    assert done.returncode == 2
    assert "about 1" in done.stderr


def test_the_project_s_python_is_found_though_another_one_starts(tmp_path: Path) -> None:
    minor, python = other_python()
    demo = make_demo(tmp_path, "uv", minor=minor)
    path = path_of(tmp_path / "more", {f"python{minor}": python})
    done = demo.run(PATH=f"{demo.env['PATH']}:{path}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert demo.ask("'%d.%d' % __import__('sys').version_info[:2]") == minor


def test_no_fitting_python_is_3(tmp_path: Path) -> None:
    demo = make_demo(tmp_path, "pip", minor="3.99")
    done = demo.run()
    assert done.returncode == 3
    assert done.stderr.startswith("bootstrap: No Python ==3.99.* was found.\n")
    assert done.stderr.endswith("\nOr name one: --python /path/to/python3.99\n")
    assert not (demo.root / ".venv").exists()


@pytest.mark.slow
def test_a_named_python_is_used_or_refused(demo: Demo) -> None:
    for name, reason in ((str(PYTHON), ""), ("/bin/sh", "does not run"), ("nothing", "does not")):
        done = demo.run("--python", name, "--no-smoke")
        assert (done.returncode, reason in done.stderr) == (3 if reason else 0, True)
    assert "Nothing to do" in demo.run("--python", str(PYTHON)).stdout
    demo.builds["requires_python"] = "==3.99.*"
    demo.write_builds()
    done = demo.run("--python", str(PYTHON))
    assert done.returncode == 3
    assert "not ==3.99.*" in done.stderr


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("/usr/bin/fish", "source .venv/bin/activate.fish"),
        ("/bin/tcsh", "source .venv/bin/activate.csh"),
        ("/bin/zsh", ". .venv/bin/activate"),
    ],
)
def test_the_next_steps_fit_the_shell(tmp_path: Path, shell: str, line: str) -> None:
    demo = make_demo(tmp_path, "uv", ODD_NAME.replace("!", ""))  # tcsh cannot bear that
    done = demo.run("--no-smoke", SHELL=shell)
    assert f"  {line}\n" in done.stdout
    if shutil.which(shell):
        steps = [step.strip() for step in done.stdout.split("Next steps:")[1].splitlines()][:3]
        script = "; ".join(step for step in steps if not step.startswith("or, ")) + "; which python"
        found = subprocess.run(
            [shell, "-c", script], capture_output=True, encoding="utf-8", check=True, cwd=os.sep
        )
        assert str(demo.python) in found.stdout


def test_specifiers_mean_what_packaging_says() -> None:
    satisfies = module("system").satisfies
    clauses = ("==3.14.*", "!=3.14.1", "!=3.14.*", ">=3.12", ">3.12", "<=3.12.4", "<3.15", "==3.12")
    versions = ([3, 12, 0], [3, 12, 4], [3, 12, 5], [3, 14, 0], [3, 14, 1], [3, 15, 0])
    for text in (*clauses, "==3.14.*,!=3.14.1", ">= 3.12, <3.15", ">=0.8,>=0.9"):
        for version in versions:
            expected = ".".join(map(str, version)) in SpecifierSet(text)
            assert satisfies(version, text) is expected, (text, version)


@pytest.mark.slow
def test_a_dry_run_leaves_what_a_killed_run_put_aside(demo: Demo) -> None:
    assert demo.run().returncode == 0
    aside = demo.root / ".tools" / "lock.before"
    aside.write_bytes(b"whole")
    demo.edit("pyproject.toml", "0.1", "0.2")
    before = demo.files()
    assert "would run: " in demo.run("--dry-run").stdout
    assert demo.files() == before


@pytest.mark.slow
def test_what_was_removed_from_the_venv_is_installed_again(demo: Demo) -> None:
    assert demo.run().returncode == 0
    info = next(demo.root.glob(".venv/lib/python3*/site-packages/demo_stub-*.dist-info"))
    shutil.rmtree(info)
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing to do" not in done.stdout
    assert info.exists()
    assert "Nothing to do" in demo.run().stdout


@pytest.mark.slow
def test_a_failed_locking_leaves_the_lock_file_as_it_was(demo: Demo) -> None:
    assert demo.run().returncode == 0
    before = (demo.root / "uv.lock").read_bytes()
    demo.edit("pyproject.toml", '"demo-stub"', '"demo-stub>=9"')
    assert demo.run().returncode == 5
    assert (demo.root / "uv.lock").read_bytes() == before
    assert not (demo.root / ".tools" / "lock.before").exists()
