"""A project inside another one: `Done` is only said of a .venv that has the packages."""

from pathlib import Path

import pytest

from scripts.bootstrap_helpers import Demo, make_demo

pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="needs a POSIX shell")
WHOLE = """
[project]
name = "mono"
version = "0"
requires-python = ">=3.10"

[tool.uv]
no-index = true
find-links = ["libs/wheels"]

[tool.uv.workspace]
members = ["libs/train*"]
"""


@pytest.fixture
def member(tmp_path: Path) -> Demo:
    """A project in libs/train of a uv workspace."""
    demo = make_demo(tmp_path / "libs", "uv", "train")
    (tmp_path / "pyproject.toml").write_text(WHOLE, encoding="utf-8")
    return demo


def test_a_member_of_a_uv_workspace_is_told_the_way_out_and_that_works(member: Demo) -> None:
    mono = member.root.parent.parent
    (member.root / ".tools").mkdir()
    before = sorted(mono.glob("*")), sorted(member.root.glob("*"))
    done = member.run("--no-smoke")
    assert done.returncode == 2, done.stdout + done.stderr
    what, todo, line = done.stderr.splitlines()
    assert what.startswith(f"bootstrap: To uv, this project is a part of the workspace {mono}, ")
    assert todo.endswith(f"in [tool.uv.workspace] of {mono}/pyproject.toml")
    assert (sorted(mono.glob("*")), sorted(member.root.glob("*"))) == before

    with (mono / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(line)
    done = member.run("--no-smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert member.ask("__import__('demo_stub').VERSION") == "1.0"
    assert not list(mono.glob("uv.lock"))


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "name",
    ["UV_WORKING_DIRECTORY", "UV_PROJECT_ENVIRONMENT", "UV_WORKING_DIR", "UV_PROJECT"],
)
def test_a_setting_that_leads_elsewhere_is_not_followed(
    demo: Demo, tmp_path: Path, name: str
) -> None:
    done = demo.run("--no-smoke", **{name: str(tmp_path / "elsewhere")})
    assert done.returncode == 0, done.stdout + done.stderr
    assert demo.ask("__import__('demo_stub').VERSION") == "1.0"
