"""Files and folders that the bootstrap cannot use: it names them, and leaves all as it is."""

import subprocess
from pathlib import Path

import pytest

from commands import bound_by_rights
from scripts.bootstrap_helpers import Demo, make_demo, other_python, path_of, tool
from scripts.test_bootstrap_index import page, serving

pytestmark = pytest.mark.skipif("os.name == 'nt'", reason="needs a POSIX shell")
RESTORE = "restore it: git checkout HEAD -- pyproject.toml\n"


def run(demo: Demo, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run the bootstrap as somebody who is bound by the rights of files, from the project."""
    command = [*bound_by_rights(), "/bin/sh", "bootstrap.sh", *arguments]
    known = {**demo.env, "PATH": f"{demo.env['PATH']}:/usr/bin:/bin", **env}
    return subprocess.run(
        command, cwd=demo.root, env=known, capture_output=True, encoding="utf-8", check=False
    )


@pytest.mark.parametrize(
    ("prefix", "suffix", "encoding", "what", "todo"),
    [
        (None, "", "", " is missing.", f"R{RESTORE[1:]}"),
        ("", "# d\u00e9j\u00e0", "latin-1", " is not in UTF-8.", f"Save it so, or {RESTORE}"),
        ("", "", "utf-16", " is not in UTF-8.", f"Save it so, or {RESTORE}"),
        (
            "\ufeff",
            "",
            "utf-8",
            " begins with a byte order mark, which not all tools can read.",
            f"Save it as UTF-8 without one, or {RESTORE}",
        ),
    ],
    ids=["missing", "latin-1", "UTF-16", "BOM"],
)
def test_a_pyproject_that_cannot_be_read_is_named_and_nothing_is_made(
    demo: Demo, prefix: str | None, suffix: str, encoding: str, what: str, todo: str
) -> None:
    file = demo.root / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    file.unlink()
    if prefix is not None:
        file.write_text(f"{prefix}{text}{suffix}\n", encoding=encoding)
    before = demo.files()
    done = demo.run()
    assert (done.returncode, done.stderr) == (2, f"bootstrap: {file}{what}\n{todo}")
    assert demo.files() == before


@pytest.mark.skipif("sys.version_info < (3, 11)", reason="there, uv, Poetry or pip say it")
def test_a_pyproject_that_is_no_toml_is_named_with_its_line(demo: Demo) -> None:
    assert demo.run().returncode == 0
    with (demo.root / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("<<<<<<< before updating\n")
    before = demo.files()
    done = demo.run()
    assert done.returncode == 2
    assert done.stderr.startswith(f"bootstrap: {demo.root}/pyproject.toml is no TOML: ")
    line = (demo.root / "pyproject.toml").read_text(encoding="utf-8").count("\n")
    assert f"(at line {line}, column 1)" in done.stderr
    assert done.stderr.endswith(f"\nMend it, or {RESTORE}")
    assert demo.files() == before


@pytest.mark.slow
@pytest.mark.parametrize("home", ["locked", "none"])
def test_a_pyenv_that_may_not_be_read_is_passed_over(tmp_path: Path, home: str) -> None:
    minor, python = other_python()
    demo = make_demo(tmp_path, "uv", minor=minor)
    more = path_of(tmp_path / "more", {f"python{minor}": python})
    demo.env["PATH"] += f":{more}"
    pyenv = tmp_path / "locked"
    (pyenv / "versions").mkdir(parents=True)
    pyenv.chmod(0)
    env = {"PYENV_ROOT": str(pyenv)}
    if home == "none":  # as for a user of a container who has no entry, and no HOME
        env = {"HOME": "~", "UV_CACHE_DIR": str(tmp_path / "cache")}
    done = run(demo, "--no-smoke", **env)
    pyenv.chmod(0o700)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_home_that_may_not_be_read_does_not_end_it(demo: Demo) -> None:
    home = Path(demo.env["HOME"])
    home.chmod(0)
    with serving(page("no", 403)) as (url, _):
        demo.builds["builds"]["cpu"]["index_url"] = url
        demo.write_builds()
        done = run(demo, "--no-smoke")
    home.chmod(0o700)
    assert done.returncode == 5, done.stdout + done.stderr
    assert done.stderr.startswith(f"bootstrap: {url} answered 403")


def test_a_project_that_may_not_be_written_is_said(demo: Demo) -> None:
    demo.root.chmod(0o555)
    done = run(demo, "--no-smoke")
    demo.root.chmod(0o755)
    assert done.returncode == 4, done.stdout + done.stderr
    what, first, then = done.stderr.splitlines()
    tools = demo.root / ".tools"
    assert what == f"bootstrap: {tools} cannot be read, written or started: Permission denied."
    assert first.startswith("See who may, and who you are: ls -ld ")
    assert then == "Then run this again."
    assert not tools.exists()


def test_a_project_that_may_only_be_read_can_still_be_checked(demo: Demo) -> None:
    assert demo.run("--no-smoke").returncode == 0
    stamp = demo.root / ".venv" / "bootstrap-stamp.json"
    stamp.chmod(0o444)
    done = run(demo)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the smoke test ran" in done.stdout


def test_the_folder_that_it_is_typed_in_may_go(demo: Demo) -> None:
    assert demo.run("--no-smoke").returncode == 0
    command = ["/bin/sh", "../bootstrap.sh", "--recreate", "--no-smoke"]
    done = subprocess.run(
        command, cwd=demo.root / ".venv", env=demo.env, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Done. Next steps:\n  cd " in done.stdout


def test_a_venv_of_another_user_s_project_is_made_anew(demo: Demo, tmp_path: Path) -> None:
    assert demo.run("--no-smoke").returncode == 0
    other = tmp_path / "other"
    other.mkdir()
    activate = demo.root / ".venv" / "bin" / "activate"
    text = activate.read_text(encoding="utf-8")
    (demo.root / ".venv" / "bootstrap-stamp.json").unlink()
    subprocess.run([tool("uv"), "venv", "--quiet", str(other / ".venv")], check=True)
    activate.write_text(
        text.replace(str(demo.root), str(other)) + f"\nVIRTUAL_ENV='{other}/.venv'\n", "utf-8"
    )
    other.chmod(0)
    done = run(demo, "--no-smoke")
    other.chmod(0o700)
    assert done.returncode == 0, done.stdout + done.stderr
