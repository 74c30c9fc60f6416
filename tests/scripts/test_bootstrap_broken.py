"""A .venv that is not whole is never called up to date, whoever broke it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bootstrap_helpers import BACKEND, Demo, make_demo, make_wheel, tool

pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="needs a POSIX shell")
VERSION = "__import__('demo_stub').VERSION"


def site(demo: Demo) -> Path:
    """Where .venv has its packages."""
    return next(demo.root.glob(".venv/lib/python3*/site-packages"))


def mended(demo: Demo) -> str:
    """What a run says that finds .venv broken; it must mend it for good."""
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing to do" not in done.stdout
    assert "the smoke test ran" in done.stdout
    assert demo.ask(VERSION) == "1.0"
    assert "Nothing to do" in demo.run().stdout
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("manager", ["uv", pytest.param("poetry", marks=pytest.mark.slow)])
def test_a_lost_file_is_noticed_and_comes_back(tmp_path: Path, manager: str) -> None:
    demo = make_demo(tmp_path, manager)
    assert demo.run().returncode == 0
    shutil.rmtree(site(demo) / "__pycache__", ignore_errors=True)
    assert "Nothing to do" in demo.run().stdout
    (site(demo) / "demo_stub.py").unlink()
    assert "removing .venv: files of demo-stub are lost" in mended(demo)


@pytest.mark.slow
def test_a_file_that_is_empty_or_leads_nowhere_is_lost(demo: Demo, tmp_path: Path) -> None:
    """As after a power cut, and with UV_LINK_MODE=symlink after `uv cache clean`."""
    assert demo.run().returncode == 0
    file = site(demo) / "demo_stub.py"
    file.unlink()  # or uv's cache, which it may be a link to, is damaged as well
    file.write_text("", encoding="utf-8")
    assert "removing .venv: files of demo-stub are lost" in mended(demo)
    file.unlink()
    file.symlink_to(tmp_path / "cleaned")
    assert "removing .venv: files of demo-stub are lost" in mended(demo)


@pytest.mark.slow
def test_a_cache_that_is_damaged_is_told(demo: Demo) -> None:
    demo.env["UV_LINK_MODE"] = "hardlink"
    assert demo.run().returncode == 0
    with (site(demo) / "demo_stub.py").open("w"):
        pass
    done = demo.run()
    assert done.returncode == 5, done.stdout
    assert "Its cache is damaged: uv cache clean demo_stub\nThen" in done.stderr
    clean = [str(tool("uv")), "cache", "clean", "--quiet", "demo_stub"]
    subprocess.run(clean, check=True, env=demo.env)
    mended(demo)


@pytest.mark.slow
def test_a_copy_of_the_project_is_not_the_project(demo: Demo) -> None:
    assert demo.run().returncode == 0
    origin = next(site(demo).glob("demo-*.dist-info")) / "direct_url.json"
    editable = origin.read_text(encoding="utf-8")
    origin.unlink()
    origin.write_text(editable.replace("true", "false"), encoding="utf-8")  # as uv writes of a copy
    mended(demo)
    assert origin.read_text(encoding="utf-8") == editable


@pytest.mark.slow
def test_what_takes_packages_from_outside_is_replaced(demo: Demo) -> None:
    venv = [sys.executable, "-m", "venv", "--system-site-packages", "--without-pip"]
    subprocess.run([*venv, str(demo.root / ".venv")], check=True)
    assert "removing .venv: it takes packages from outside" in demo.run().stdout
    assert "Nothing to do" in demo.run().stdout


@pytest.mark.slow
@pytest.mark.network
def test_pip_puts_another_torch_into_a_new_venv(begun_demo: Demo, tmp_path: Path) -> None:
    """A kill would leave neither the one nor the other."""
    assert begun_demo.run().returncode == 0
    make_wheel(tmp_path / "wheels", "demo_stub", "2.0")
    begun_demo.edit("requirements/torch-cpu.txt", "==1.0", "==2.0")
    for row in begun_demo.builds["builds"]["cpu"]["platforms"].values():
        row["packages"] = {"demo_stub": "2.0"}
    begun_demo.write_builds()
    done = begun_demo.run()
    assert "removing .venv: it has another version of demo_stub" in done.stdout, (
        done.stdout + done.stderr
    )
    assert begun_demo.ask(VERSION) == "2.0"


@pytest.mark.slow
@pytest.mark.parametrize("manager", ["uv", pytest.param("poetry", marks=pytest.mark.slow)])
def test_a_package_that_was_taken_out_or_exchanged_comes_back(tmp_path: Path, manager: str) -> None:
    demo = make_demo(tmp_path, manager)
    other = make_wheel(tmp_path / "other", "demo_stub", "3.0")
    assert demo.run().returncode == 0
    pip = [str(tool("uv")), "pip"]
    into = ["--quiet", "--python", str(demo.python)]
    for command in (["uninstall", *into, "demo-stub"], ["install", *into, str(other)]):
        subprocess.run([*pip, *command], check=True, env=demo.env)
        mended(demo)


def test_what_was_put_beside_the_project_s_packages_may_stay(demo: Demo, tmp_path: Path) -> None:
    assert demo.run().returncode == 0
    more = make_wheel(tmp_path / "other", "more_stub", "1.0")
    command = [str(tool("uv")), "pip", "install", "--quiet", "--python", str(demo.python)]
    subprocess.run([*command, str(more)], check=True, env=demo.env)
    assert "Nothing to do" in demo.run().stdout
    assert (site(demo) / "more_stub.py").exists()


@pytest.mark.slow
def test_uv_is_asked_of_what_only_it_can_know(demo: Demo, tmp_path: Path) -> None:
    """A folder beside the project that it depends on: no file of the project changes."""
    library = tmp_path / "library"
    (library / "backend").mkdir(parents=True)
    text = (demo.root / "pyproject.toml").read_text(encoding="utf-8")
    (library / "pyproject.toml").write_text(text.replace('"demo"', '"library"'), encoding="utf-8")
    metadata = "Metadata-Version: 2.1\nName: library\nVersion: 0.1\n"
    backend = f"{BACKEND}\nMETADATA = {metadata!r}\n".replace("demo-0.1", "library-0.1")
    (library / "backend/demo_backend.py").write_text(backend, encoding="utf-8")
    demo.edit("pyproject.toml", '"demo-stub"', '"demo-stub", "library"')
    with (demo.root / "pyproject.toml").open("a") as file:
        file.write('[tool.uv.sources]\nlibrary = { path = "../library", editable = true }\n')
    assert demo.run().returncode == 0
    assert "Nothing to do" in demo.run().stdout

    make_wheel(tmp_path / "wheels", "more_stub", "1.0")
    text = (library / "pyproject.toml").read_text(encoding="utf-8")
    new = text.replace('"demo-stub"', '"demo-stub", "more-stub"')
    (library / "pyproject.toml").write_text(new, encoding="utf-8")

    mended(demo)
    assert demo.ask("__import__('more_stub').VERSION") == "1.0"


LESS = ["UV_NO_DEV=1", "UV_NO_GROUP=dev", "UV_NO_DEFAULT_GROUPS=1", "UV_NO_INSTALL_PROJECT=1"]
LESS += ["UV_NO_INSTALL_WORKSPACE=1", "UV_NO_INSTALL_LOCAL=1", "UV_ONLY_INSTALL_PROJECT=1"]
LESS += ["UV_ONLY_INSTALL_WORKSPACE=1", "UV_ONLY_INSTALL_LOCAL=1", "UV_NO_EDITABLE=1"]
LESS += ["UV_LOCKED=1", "UV_MANAGED_PYTHON=1"]
LESS += ["UV_FROZEN=1", "UV_NO_SOURCES=1", "UV_NO_SOURCES_PACKAGE=demo-stub", "UV_VENV_CLEAR=1"]


@pytest.mark.some(8)
@pytest.mark.slow
@pytest.mark.parametrize("setting", sorted(LESS))
def test_no_variable_of_uv_leaves_a_part_out(demo: Demo, tmp_path: Path, setting: str) -> None:
    make_wheel(tmp_path / "wheels", "more_stub", "1.0")
    make_wheel(tmp_path / "wheels", "demo_stub", "0.9")
    demo.edit("pyproject.toml", "dev = []", 'dev = ["more-stub"]')
    stub = '[tool.uv.sources]\ndemo-stub = { path = "../wheels/demo_stub-1.0-py3-none-any.whl" }\n'
    with (demo.root / "pyproject.toml").open("a") as file:
        file.write(stub)
    env = dict([setting.split("=")])

    done = demo.run(**env)

    assert done.returncode == 0, done.stdout + done.stderr
    assert demo.ask(VERSION) == "1.0"
    assert demo.ask("__import__('more_stub').VERSION") == "1.0"
    assert demo.ask("__import__('demo').__file__").startswith(str(demo.root / "src"))
    assert "wheels/demo_stub-1.0" in (demo.root / "uv.lock").read_text(encoding="utf-8")
    assert "Nothing to do" in demo.run().stdout
    mark = demo.root / ".venv/mark"
    mark.touch()
    assert demo.run("--recreate", **env).returncode == 0
    assert not mark.exists()


@pytest.mark.some(2)
@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("name", ["NO_DEPS", "DRY_RUN", "USER", "PYTHON"])
def test_no_variable_of_pip_leaves_a_part_out(pip_demo: Demo, tmp_path: Path, name: str) -> None:
    make_wheel(tmp_path / "wheels", "more_stub", "1.0")
    make_wheel(tmp_path / "wheels", "less_stub", "1.0", "more-stub")
    pip_demo.edit("pyproject.toml", "dev = []", 'dev = ["less-stub"]')
    places = {"PYTHON": sys.executable, "TARGET": str(tmp_path / "elsewhere")}

    done = pip_demo.run(**{f"PIP_{name}": places.get(name, "1")})

    assert done.returncode == 0, done.stdout + done.stderr
    assert pip_demo.ask(VERSION) == "1.0"
    assert pip_demo.ask("__import__('more_stub').VERSION") == "1.0"
    assert pip_demo.ask("__import__('demo').__file__").startswith(str(pip_demo.root / "src"))
    assert "Nothing to do" in pip_demo.run().stdout


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("name", ["target", "python"])
def test_a_pip_conf_that_leads_elsewhere_is_named(
    pip_demo: Demo, tmp_path: Path, name: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    config = tmp_path / "pip.conf"
    config.write_text(f"[install]\n{name} = {elsewhere}\n", encoding="utf-8")
    done = pip_demo.run(PIP_CONFIG_FILE=str(config))
    assert done.returncode == 2, done.stdout
    what = f"pip is told to install less, or elsewhere: {name} = {elsewhere} (in {config}).\n"
    assert done.stderr == f"bootstrap: {what}Take that out of {config}, then run this again.\n"
    assert not (pip_demo.root / ".venv").exists()


@pytest.mark.slow
@pytest.mark.network
def test_what_pip_has_installed_comes_back(begun_demo: Demo) -> None:
    assert begun_demo.run().returncode == 0
    pip = [str(begun_demo.python), "-m", "pip", "uninstall", "--quiet", "--yes", "demo-stub"]
    subprocess.run(pip, check=True, env=begun_demo.env)
    assert "removing" not in mended(begun_demo)
    (site(begun_demo) / "demo_stub.py").unlink()
    assert "removing .venv: files of demo-stub are lost" in mended(begun_demo)


def test_what_a_manager_has_put_elsewhere_is_not_called_done(demo: Demo, tmp_path: Path) -> None:
    demo.builds["builds"]["cpu"]["platforms"] = {
        name: {**row, "packages": {"other_stub": "1.0"}}
        for name, row in demo.builds["builds"]["cpu"]["platforms"].items()
    }
    demo.write_builds()
    for _ in range(2):
        done = demo.run()
        assert done.returncode == 5
        what = "bootstrap: uv ended without an error, but other_stub is not in .venv.\n"
        assert done.stderr.startswith(what)
        assert "Done." not in done.stdout
