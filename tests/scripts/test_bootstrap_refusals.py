"""What the bootstrap cannot work with is told before anything is made: a data file, a path."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.bootstrap_helpers import Demo, builds_for, make_demo

pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="needs a POSIX shell")


def test_a_platform_without_wheels_is_told_what_works(demo: Demo) -> None:
    here = demo.builds["builds"]["cpu"]["platforms"]
    demo.builds["builds"]["cpu"]["platforms"] = {"plan9-mips": here["linux-x86_64"]}
    xpu = {"xpu": {"release": "2.13.0", "accelerator": "xpu"}}
    demo.builds["alternatives"] = {
        "plan9-mips": {"cu130": {"release": "2.13.0", "accelerator": "cuda"}},
        **dict.fromkeys(here, xpu),
    }
    demo.builds["moves"] = {"xpu": ""}
    demo.write_builds()
    done = demo.run()
    assert done.returncode == 2
    assert "CPU has PyTorch wheels for plan9-mips, not for " in done.stderr
    assert "Here work xpu: git init && " in done.stderr
    assert (
        " && copier update --trust --defaults --vcs-ref=:current: --data compute_platform=xpu"
        in done.stderr
    )
    demo.builds["alternatives"] = {}
    demo.write_builds()
    done = demo.run()
    assert done.returncode == 2
    assert "No other compute platform" in done.stderr
    assert not (demo.root / ".tools").exists()


def builds_of_half_a_row() -> dict[str, Any]:
    """The builds of a data file from which somebody has cut something."""
    builds: dict[str, Any] = builds_for("uv", "3.12")["builds"]
    del builds["cpu"]["platforms"]["linux-x86_64"]["packages"]
    return builds


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "change",
    [
        {"package_manager": "conda"},
        {"compute_platform": "cu999"},
        {"builds": {"cpu": {}}},
        {"builds": builds_of_half_a_row()},
        {"requires_python": "about 3.12"},
        {"requires_python": None},
        {"requires_python": ["==3.12.*"]},
    ],
    ids=str,
)
def test_a_broken_data_file_is_told(demo: Demo, change: dict[str, Any]) -> None:
    demo.builds |= change
    demo.write_builds()
    done = demo.run()
    assert done.returncode == 2
    assert done.stderr.startswith("bootstrap: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("schema", [1, 3])
def test_a_data_file_of_another_version_is_not_to_be_restored(demo: Demo, schema: int) -> None:
    demo.builds["schema"] = schema
    demo.write_builds()
    done = demo.run()
    assert done.returncode == 2
    assert f"has schema {schema}, these scripts read 2." in done.stderr
    assert "one version of the template: copier update --trust --defaults" in done.stderr
    assert "git checkout" not in done.stderr


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps("a")])
def test_an_unreadable_data_file_is_told(demo: Demo, text: str) -> None:
    (demo.root / "scripts" / "torch_builds.json").write_text(text)
    done = demo.run()
    assert done.returncode == 2
    assert "torch_builds.json cannot be used" in done.stderr
    assert "git checkout HEAD -- scripts/torch_builds.json" in done.stderr


def test_a_missing_data_file_is_told(demo: Demo) -> None:
    (demo.root / "scripts" / "torch_builds.json").unlink()
    done = demo.run()
    assert done.returncode == 2
    assert "torch_builds.json is missing." in done.stderr


def test_a_colon_in_the_path_is_told_before_venv_stumbles(tmp_path: Path) -> None:
    demo = make_demo(tmp_path, "uv", "a:b")
    done = demo.run()
    assert done.returncode == 4
    assert "the path has a colon.\nRename the folder." in done.stderr
    assert not (demo.root / ".tools").exists()


def test_a_locale_in_which_python_cannot_read_the_path_is_told(demo: Demo) -> None:
    """It would take .venv for broken, and make it anew in each run."""
    if sys.platform != "linux":
        pytest.skip("C is UTF-8 elsewhere")
    for name in ("C", "en_US.UTF-8-which-nobody-has"):
        done = demo.run(LC_ALL=name)
        assert done.returncode == 4
        assert "with this locale: Python reads no UTF-8 in it.\nType: export LC_ALL=" in done.stderr
    assert not (demo.root / ".venv").exists()
    assert demo.run("--dry-run", LC_ALL="C.UTF-8").returncode == 0


@pytest.mark.slow
def test_nobody_reads_on_and_nothing_is_wrong(demo: Demo) -> None:
    command = ["sh", "-c", "sh bootstrap.sh --dry-run | true; sh bootstrap.sh --help | head -1"]
    done = subprocess.run(command, cwd=demo.root, capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.few(1)
@pytest.mark.parametrize("name", [".tools", "uv.lock", ".tools/bootstrap.log"])
def test_what_is_in_the_place_of_another_kind_of_file_is_to_be_moved(demo: Demo, name: str) -> None:
    place = demo.root / name
    if name == ".tools":
        place.touch()
    else:
        place.mkdir(parents=True)
    done = demo.run()
    assert done.returncode == 4
    assert str(place) in done.stderr.partition("\n")[0]
    assert done.stderr.endswith("\nMove it away and run this again.\n")
    place.rename(demo.root / "moved")
    assert demo.run("--no-smoke").returncode == 0
