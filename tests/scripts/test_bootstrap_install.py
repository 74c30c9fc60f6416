"""The bootstrap with the real pip and the real Poetry, and with what they can stumble over."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from scripts.bootstrap_helpers import (
    MINOR,
    PYTHON,
    Demo,
    builds_for,
    make_demo,
    make_wheel,
    module,
    old_tool,
    tool,
)

pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="needs a POSIX shell")


@pytest.mark.slow  # tests/repo/test_hermetic.py has it in README.md's test command
@pytest.mark.network
def test_pip_installs_the_pinned_build_and_then_has_nothing_to_do(pip_demo: Demo) -> None:
    done = pip_demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the smoke test ran" in done.stdout
    assert ". .venv/bin/activate" in done.stdout
    assert ".venv/bin/python -m pytest" in done.stdout
    assert pip_demo.ask("__import__('demo_stub').VERSION") == "1.0"
    assert pip_demo.ask("__import__('demo').__file__").startswith(str(pip_demo.root / "src"))
    assert (pip_demo.root / ".tools" / "bootstrap.log").read_text(encoding="utf-8")

    started = time.monotonic()
    done = pip_demo.run()
    seconds = time.monotonic() - started
    assert done.returncode == 0
    assert "Nothing to do" in done.stdout
    assert "the smoke test ran" not in done.stdout
    assert seconds < 3  # 0.3 s on an idle machine

    pip_demo.edit("requirements/torch-cpu.txt", "==1.0", "==2.0")
    done = pip_demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "removing" not in done.stdout
    assert "the smoke test ran" in done.stdout
    assert pip_demo.ask("__import__('demo_stub').VERSION") == "2.0"


@pytest.mark.slow
@pytest.mark.network
def test_redirections_in_the_environment_lead_nowhere(pip_demo: Demo, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "json.py").write_text("raise SystemExit('poisoned')\n")
    config = tmp_path / "home" / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True)
    config.write_text("[global]\nuser = true\n")
    del pip_demo.env["PIP_CONFIG_FILE"]  # so that pip reads it
    names = ("PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX")
    poison = dict.fromkeys(names, str(elsewhere))
    pip_demo.write_smoke_test("import os; assert 'PYTHONPATH' not in os.environ\n")
    done = pip_demo.run(**poison)
    assert done.returncode == 0, done.stdout + done.stderr
    assert pip_demo.ask("__import__('demo_stub').__file__").startswith(str(pip_demo.root / ".venv"))
    assert [path.name for path in elsewhere.iterdir()] == ["json.py"]


@pytest.mark.slow
@pytest.mark.network
def test_a_failed_installation_is_explained_and_can_go_on(begun_demo: Demo) -> None:
    begun_demo.edit("requirements/torch-cpu.txt", "==1.0", "==9.0")
    done = begun_demo.run()
    assert done.returncode == 5
    assert "demo-stub==9.0" in done.stdout
    assert "bootstrap: This failed with exit code 1: installing" in done.stderr
    assert f"The whole output is in {begun_demo.root}/.tools/bootstrap.log." in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "smoke" not in done.stdout

    begun_demo.edit("requirements/torch-cpu.txt", "==9.0", "==1.0")
    done = begun_demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "removing" not in done.stdout


@pytest.mark.slow
@pytest.mark.network
def test_pip_s_settings_leave_one_pip_and_are_named_where_they_forbid(begun_demo: Demo) -> None:
    done = begun_demo.run(PIP_IGNORE_INSTALLED="1", PIP_REQUIRE_HASHES="1")
    assert done.returncode == 5
    assert "PIP_REQUIRE_HASHES = 1 (in the environment)\n  unset PIP_REQUIRE_HASHES" in done.stderr
    done = begun_demo.run(PIP_IGNORE_INSTALLED="1", PIP_UPGRADE="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len([*begun_demo.root.glob(".venv/lib/python*/site-packages/pip-*")]) == 1


@pytest.mark.slow
@pytest.mark.network
def test_an_interrupted_installation_is_begun_anew(pip_demo: Demo) -> None:
    block, blocked = pip_demo.root / "block", pip_demo.root / "blocked"
    block.touch()
    with subprocess.Popen(
        ["/bin/sh", str(pip_demo.root / "bootstrap.sh")],
        env=pip_demo.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
        # Tests that were started in the background ignore SIGINT, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    ) as process:
        deadline = time.monotonic() + 60
        while not blocked.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert blocked.exists()
    assert process.returncode == 130
    assert errors == "bootstrap: Interrupted.\nRun this again to go on.\n"
    block.unlink()
    done = pip_demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "removing .venv: an earlier run was interrupted" in done.stdout
    assert "Nothing to do" in pip_demo.run().stdout


def test_a_python_without_ensurepip_is_noticed_before_anything_is_made(tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"  # a Python as Debian has it without python3-venv
    base = PYTHON.resolve()
    library = Path(os.__file__).parent
    (prefix / "bin").mkdir(parents=True)
    shutil.copy2(base, prefix / "bin" / "python3")
    copy = prefix / library.parent.name / library.name
    copy.mkdir(parents=True)
    for part in [*library.parent.iterdir(), *library.iterdir()]:
        if part not in (library, library / "ensurepip"):
            (prefix / part.relative_to(library.parents[1])).symlink_to(part)
    demo = make_demo(tmp_path, "pip")
    done = demo.run(PATH=str(prefix / "bin"))
    assert done.returncode == 4, done.stdout + done.stderr
    assert "has no ensurepip, so it cannot make a .venv." in done.stderr
    assert f"apt install python{MINOR}-venv" in done.stderr
    assert ("sudo" in done.stderr) == (os.geteuid() != 0)
    assert not (demo.root / ".venv").exists()


@pytest.mark.slow
def test_poetry_makes_its_own_venv_even_where_another_is_active(tmp_path: Path) -> None:
    demo = make_demo(tmp_path, "poetry", "a folder d\u00e9j\u00e0 vu")
    active = tmp_path / "active"
    subprocess.run([str(tool("uv")), "venv", "--quiet", str(active)], check=True)
    settings = {"CREATE": "false", "OPTIONS_SYSTEM_SITE_PACKAGES": "true", "OPTIONS_NO_PIP": "true"}
    env = {f"POETRY_VIRTUALENVS_{name}": value for name, value in settings.items()}
    done = demo.run(VIRTUAL_ENV=str(active), **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "poetry.lock is new: commit it" in done.stdout
    says = (demo.root / ".venv/pyvenv.cfg").read_text(encoding="utf-8")
    assert "include-system-site-packages = false" in says
    assert demo.ask("__import__('demo_stub').VERSION") == "1.0"
    assert not list(active.glob("lib/*/site-packages/demo_stub.py"))
    assert "Nothing to do" in demo.run().stdout

    make_wheel(tmp_path / "wheels", "more_stub", "1.0")
    demo.edit("pyproject.toml", '"demo-stub"', '"demo-stub", "more-stub"')
    table = "[tool.poetry.dependencies]\n"
    wheel = 'more-stub = { path = "../wheels/more_stub-1.0-py3-none-any.whl" }\n'
    demo.edit("pyproject.toml", table, table + wheel)
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "poetry.lock was out of date and has been made again: commit it" in done.stdout
    assert demo.ask("__import__('more_stub').VERSION") == "1.0"

    # A change that leaves the lock right, with something that `poetry check` warns of.
    lock = (demo.root / "poetry.lock").read_bytes()
    demo.edit("pyproject.toml", '"0.1"', '"0.2"')
    demo.edit("pyproject.toml", "[tool.poetry]\n", '[tool.poetry]\nname = "demo"\n')
    check = subprocess.run([tool("poetry"), "check", "--lock"], cwd=demo.root, capture_output=True)
    assert (check.returncode, check.stdout) == (0, b"")
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "locking" not in done.stdout
    assert (demo.root / "poetry.lock").read_bytes() == lock


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.slow
def test_poetry_is_fetched_where_it_is_too_old(tmp_path: Path) -> None:
    demo = make_demo(tmp_path, "poetry")
    poetry = tmp_path / "bin" / "poetry"
    poetry.unlink()
    poetry.symlink_to(old_tool(tmp_path / "old", "poetry==1.8.5"))
    active = tmp_path / "old"  # activated, as who installed it there may have it
    done = demo.run(VIRTUAL_ENV=str(active))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (demo.root / ".tools" / "poetry" / "bin" / "poetry").exists()
    lock = (demo.root / "poetry.lock").read_text(encoding="utf-8")
    assert "generated by Poetry 2." in lock
    assert not list(active.glob("lib/*/site-packages/demo_stub.py"))
    assert demo.ask("__import__('demo_stub').VERSION") == "1.0"
    assert "poetry" not in "".join(path.name for path in demo.root.glob(".venv/lib/*/*/*"))


@pytest.mark.parametrize(
    ("said", "trouble", "blamed"),
    [
        ("No matching distribution found for numpy>=99", "", False),
        ("No matching distribution found for numpy>=99", "cannot be reached (refused)", False),
        ("The conflict is caused by: torch==2.14.1", "cannot be reached (refused)", True),
        ("No matching distribution found for torch==2.14.1+cpu", "answered 403", True),
    ],
)
def test_the_index_is_blamed_only_for_what_it_should_have(
    monkeypatch: pytest.MonkeyPatch, said: str, trouble: str, blamed: bool
) -> None:
    """Pip says nothing of a page that it could not read."""
    failures, index, url = module("failures"), module("index"), "http://127.0.0.1:9/whl/cpu"
    found = index.Trouble(f"{url} {trouble}") if trouble else None
    monkeypatch.setattr(failures, "index_trouble", lambda *_: found)
    monkeypatch.setattr(failures, "trouble_behind", lambda *_: None)
    builds = builds_for("pip", MINOR)["builds"]
    builds["cpu"]["index_url"] = url
    project = module("project").Project("pip", MINOR, f"=={MINOR}.*", "cpu", builds, {})
    tail = ["ERROR: conflicting dependencies", said]
    stop = failures.failure(
        failures.Failed("installing", 1, tail, "pip", 5), project, "linux-x86_64", {}
    )
    assert ("mirror" in stop.todo) is blamed
    assert ("Mend what is said above" in stop.todo) is not blamed
    assert isinstance(stop, failures.IndexStopError) is blamed


def test_a_python_that_uv_cannot_get_is_not_blamed_on_an_index(demo: Demo) -> None:
    said = "error: Failed to download https://example.com/python-build-standalone/cpython.tar.gz"
    uv = demo.root / ".tools/uv/bin/uv"
    uv.parent.mkdir(parents=True)
    case = f"case $1 in --version) echo uv 0.13.0;; *) echo '{said}'; exit 2;; esac"
    uv.write_text(f"#!/bin/sh\n{case}\n")
    uv.chmod(0o755)
    demo.builds |= {"python": "3.99", "requires_python": "==3.99.*", "pythons": ["3.98"]}
    demo.write_builds()
    path = f"{uv.parent}{os.pathsep}{os.environ['PATH']}"
    assert "Or make this a project" not in demo.run(PATH=path).stderr
    demo.builds["pythons"] = [f"3.{minor}" for minor in range(10, 20)]
    demo.write_builds()
    done = demo.run(PATH=path)
    assert done.returncode == 4
    here = re.search(
        r"Or make this a project for Python (3\.\d+), which is here:\n  (.+)", done.stderr
    )
    assert here
    assert here[2].endswith(
        f"copier update --trust --defaults --vcs-ref=:current: --data python_version={here[1]}"
    )
    assert "uv could not download Python 3.99: making .venv failed." in done.stderr
    assert "index" not in done.stderr
