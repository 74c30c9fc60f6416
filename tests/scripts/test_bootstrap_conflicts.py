"""What uv says of a dependency that wants another torch, and of one that is barred otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.bootstrap_helpers import Demo, make_wheel

pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="needs a POSIX shell")
TORCH = "2.13.0"
LIBRARY = """[project]
name = "{name}"
version = "0.1"
dependencies = ["torch"]
[tool.uv.sources]
torch = {{ index = "pytorch" }}
[[tool.uv.index]]
name = "pytorch"
url = "https://download.pytorch.org/whl/{name}"
explicit = true
"""


def wants(demo: Demo, *needs: str) -> None:
    """Let the project have a torch, and need this as well."""
    make_wheel(demo.root.parent / "wheels", "torch", TORCH)
    for row in demo.builds["builds"]["cpu"]["platforms"].values():
        row["packages"] = {"torch": TORCH}
    demo.write_builds()
    listed = ", ".join(f'"{one}"' for one in (f"torch=={TORCH}", *needs))
    demo.edit("pyproject.toml", '"demo-stub"', listed)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("clause", "shown"),
    [
        ("torch~=2.9.0", ">=2.9.0,<2.10"),
        (f"torch!={TORCH}", f"<{TORCH} or >{TORCH}"),
        ("torch==2.9.*", "2.9.*"),
    ],
)
def test_a_dependency_that_wants_another_torch_is_named(
    demo: Demo, clause: str, shown: str
) -> None:
    make_wheel(demo.root.parent / "wheels", "lib", "0.1", clause)
    wants(demo, "lib")
    done = demo.run()
    assert done.returncode == 5
    what, todo = done.stderr.splitlines()[:2]
    assert what == (
        f"bootstrap: lib wants torch {shown}, and this project has {TORCH}: locking failed."
    )
    assert todo == f"Take a version of lib that goes with torch {TORCH}."


def test_a_dependency_that_something_else_bars_is_not_said_to_want_another_torch(
    demo: Demo,
) -> None:
    wheels = demo.root.parent / "wheels"
    make_wheel(wheels, "lib", "0.1", "torch<2.0")
    make_wheel(wheels, "lib", "0.2", "other>=2")
    for version in ("1.0", "2.0"):
        make_wheel(wheels, "other", version)
    wants(demo, "lib", "other<2")
    done = demo.run()
    assert done.returncode == 5
    assert "lib<=0.1 depends on torch<2.0" in done.stdout
    assert "wants torch" not in done.stderr
    demo.edit("pyproject.toml", "other<2", "other")
    assert demo.run("--no-smoke").returncode == 0


def test_two_dependencies_whose_indexes_clash_are_both_named(demo: Demo, tmp_path: Path) -> None:
    """The project itself has PyPI's torch, and names no index."""
    wants(demo, "cu126", "cu128")
    file = demo.root / "pyproject.toml"
    sources = "\n[tool.uv.sources]\n"
    for name in ("cu126", "cu128"):
        (tmp_path / name).mkdir()
        text = LIBRARY.format(name=name)
        (tmp_path / name / "pyproject.toml").write_text(text, encoding="utf-8")
        sources += f'{name} = {{ path = "../{name}" }}\n'
    file.write_text(file.read_text(encoding="utf-8") + sources, encoding="utf-8")
    done = demo.run()
    assert done.returncode == 5
    base = "https://download.pytorch.org/whl"
    one, other = (f"{name} ({tmp_path / name})" for name in ("cu126", "cu128"))
    what, todo, *ways = done.stderr.splitlines()
    assert what == (
        f"bootstrap: {one} wants torch from {base}/cu126, and {other} from {base}/cu128: "
        "locking failed."
    )
    assert todo == (
        "If that one is made from this template, `copier update` there: it then asks for no index."
        " Else give both repositories the same compute platform."
    )
    line = next(way.strip() for way in ways if "override-dependencies" in way)
    demo.edit("pyproject.toml", "[tool.uv]\n", f"[tool.uv]\n{line}\n")
    assert "conflicting indexes" not in demo.run().stdout
