"""What the smoke test shows: on terminals, in pipes, as Markdown; and what it does not show."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from render.shortcut import answers_for, shortcut
from scripts.smoke_helpers import Project, load_package, outside
from torch_template.build import Asked

HOSTILE = "a|b `c|d` <img> &amp; *x* [l](http://x) \\| \\\\ # @me `\n\x1b[2Jnext"
COLOUR = re.compile(r"\033\[[\d;]*m")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A CPU project; the Python of these tests has no torch."""
    return Project(tmp_path / "project")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_the_console_may_have_any_encoding(project: Project, encoding: str) -> None:
    project.add_stub_torch("raise ImportError('caf\\u00e9 \\u2014 \\u4f60')")
    outcome = project.run(PYTHONIOENCODING=encoding)
    assert "caf\\xe9 \\u2014 \\u4f60" in outcome.text
    assert "caf\u00e9 \u2014 \u4f60" in outcome["TORCH-IMPORT"]["message"]


def on_a_terminal(project: Project, **env: str) -> str:
    """What the smoke test writes to a terminal."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        project.command(), env={**project.env, "TERM": "xterm", **env}, stdout=theirs
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            chunk = os.read(ours, 10_000)
        except OSError:  # the other side is closed
            break
        text += chunk
        if not chunk:
            break
    os.close(ours)
    assert child.wait() == 1
    return text.decode("ascii").replace("\r\n", "\n")


def in_a_pipe(project: Project, *arguments: str, **env: str) -> str:
    """What the smoke test writes to a pipe."""
    command = project.command(*arguments)
    done = subprocess.run(command, env={**project.env, **env}, capture_output=True, check=False)
    assert done.stderr == b""
    return done.stdout.decode("ascii")


def test_a_terminal_gets_colours_unless_it_does_not_want_them(project: Project) -> None:
    shown = on_a_terminal(project)
    assert shown.startswith("\033[1;31mFAIL  torch not found, asked for CPU: TORCH-FOUND\033[0m")
    plain = on_a_terminal(project, NO_COLOR="1")
    assert COLOUR.sub("", shown).splitlines()[1:] == plain.splitlines()[1:]
    assert "\033" not in plain + on_a_terminal(project, TERM="dumb")
    assert "\033" in on_a_terminal(project, NO_COLOR="")
    assert "\033" not in on_a_terminal(project, NO_COLOR="1", FORCE_COLOR="1")
    assert "\033[" in in_a_pipe(project, FORCE_COLOR="1")
    assert "\033" not in in_a_pipe(project, FORCE_COLOR="") + in_a_pipe(project, "--markdown")


def test_what_torch_says_does_not_command_the_terminal(project: Project) -> None:
    project.add_stub_torch(f"raise ImportError({HOSTILE!r}.replace(chr(10), ''))")
    assert "\\x1b[2Jnext" in on_a_terminal(project)
    assert set(COLOUR.sub("", on_a_terminal(project))) & set("\033\a\b\r") == set()


@pytest.mark.few(2)
@pytest.mark.parametrize("columns", [24, 40, 72, 100, 300])
def test_lines_fit_the_terminal_but_commands_stay_whole(tmp_path: Path, columns: int) -> None:
    project = Project(tmp_path / "project", "cu130", alternatives=("cu126",))
    project.add_stub_torch("from .version import __version__\n", "2.12.0+cu126", cuda="12.6")
    (project.root / ".venv").unlink()  # so that there is a warning, too
    text = project.run("--device", "cuda", COLUMNS=str(columns)).text
    lines = text.splitlines()
    assert lines[0].startswith("FAIL  torch 2.12.0+cu126, asked for CUDA: TORCH-BUILD")
    assert lines[1].startswith("`--explain ID`")
    assert lines.index("") <= 6  # then the list
    shown = " ".join(text.partition("\n\n")[2].split())
    assert shown.endswith("-> Type `sh bootstrap.sh`.")  # what to do against the first cause
    assert (
        shown.index("WARN PY-VENV ")
        < shown.index("FAIL DEV-OPEN ")
        < shown.index("FAIL TORCH-BUILD ")
    )
    commands = re.compile(r"`[^`\n]*`\S*|\S{20,}")  # nor are paths broken
    for line in lines[1:]:
        assert len(commands.sub("", line)) <= min(columns, 100), line


def test_a_reader_who_has_seen_enough_is_no_error(project: Project) -> None:
    command = f"{shlex.join(project.command())} | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=project.env, capture_output=True, text=True)
    assert done.stdout.startswith("FAIL  torch not found")
    assert (done.stdout.splitlines()[1:], done.stderr) == (["1"], "")


def test_a_run_without_a_stdout_is_none_the_worse(project: Project) -> None:
    file = project.root / "smoke.json"
    command = f"{shlex.join(project.command('--json', str(file)))} >&-"
    done = subprocess.run(["bash", "-c", command], env=project.env, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert '"TORCH-FOUND"' in file.read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_swallows_a_file_but_not_the_list(project: Project) -> None:
    project.before = outside() and "true"  # the /dev of this machine
    command = project.command("--json", "/dev/full")
    done = subprocess.run(command, env=project.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:15]) == (2, "FAIL  torch not")
    assert "No space left on device" in done.stderr
    assert done.stderr.endswith("-> Make room on the disk, or name a FILE that you may write.\n")


def table(text: str) -> list[list[str]]:
    """The rows of the only table in a Markdown text, as they are shown."""
    tokens = MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(text)
    assert [one.type for one in tokens].count("table_open") == 1
    rows: list[list[str]] = []
    for one in tokens:
        if one.type == "tr_open":
            rows.append([])
        elif one.type == "inline" and rows:
            parts = [part for part in one.children or [] if part.type != "html_inline"]
            assert {part.type for part in parts} <= {
                *("text", "text_special", "code_inline", "strong_open", "strong_close")
            }
            rows[-1].append("".join(part.content for part in parts))
    return rows[1:]


def test_markdown_is_one_table_whatever_torch_says(project: Project) -> None:
    project.add_stub_torch(f"raise ImportError({HOSTILE!r}.replace(chr(10), '  '))")
    file = project.root / "summary.md"
    outcome = project.run("--markdown", str(file), NO_COLOR="", FORCE_COLOR="")
    text = file.read_text(encoding="utf-8")
    assert text.startswith("### FAIL torch 2.13.0+cpu, asked for CPU: TORCH-IMPORT (")
    rows = table(text)
    assert {len(row) for row in rows} == {4}
    assert [row[0] for row in rows] == ["FAIL", "skip", *["pass"] * (len(rows) - 2)]
    failed = outcome["TORCH-IMPORT"]
    printable = failed["message"].replace("\x1b", "\\x1b").replace("  ", " ")
    assert rows[0][1:] == ["TORCH-IMPORT", printable, failed["remedy"].replace("`", "")]
    assert "<img>" not in text
    assert rows[1][1].endswith(" checks")
    assert rows[1][2].startswith("not run, since TORCH-IMPORT failed: DEV-OPEN, ")


def test_escaped_texts_are_shown_as_they_were() -> None:
    escape = load_package("report").escape
    for text in (HOSTILE, "`a|b` and `c\\d`", "| | |", "a\\|b", "`a*b|c*d<e`", "__x__ ~~y~~ ![z]"):
        row = table(f"| |\n|---|\n| {escape(text)} |")
        shown = " ".join(text.replace("\x1b", "\\x1b").split())
        assert row == [[shown if text.count("`") % 2 else shown.replace("`", "")]]


def test_nothing_in_markdown_becomes_a_link_or_calls_somebody() -> None:
    escape = load_package("report").escape
    text = escape("@everyone at HTTPS://evil.example or www.evil.example, me@evil.example")
    assert not re.search(r"@\w|://|www\.", text)
    assert MarkdownIt().render(text).replace("<!-- -->", "") == (
        "<p>@everyone at HTTPS://evil.example or www.evil.example, me@evil.example</p>\n"
    )


def test_a_text_of_others_is_not_endless(project: Project) -> None:
    project.add_stub_torch("raise ImportError('x' * 3_000_000)\n")
    outcome = project.run("--only", "TORCH-IMPORT")
    assert 900 < len(outcome["TORCH-IMPORT"]["message"]) < 2_000
    (project.root / "site" / "torch" / "version.py").write_text(
        f"__version__ = {'1' * 3_000_000!r}"
    )
    outcome = project.run("--only", "TORCH-IMPORT")
    assert len(outcome.text) < 10_000


def test_the_workflow_of_a_project_puts_the_table_into_its_summary(
    project: Project, template: Path
) -> None:
    made = shortcut(template).render(answers_for(Asked("uv", "3.12", "cpu")))
    steps = yaml.safe_load(made[".github/workflows/ci.yml"])["jobs"]["test"]["steps"]
    run = next(step["run"] for step in steps if step.get("name") == "Smoke test")
    (project.root / ".venv").mkdir()
    (project.root / ".venv" / "bin").mkdir()
    (project.root / ".venv" / "bin" / "python").symlink_to(project.executable)
    summary = project.root / "summary of a step.md"
    summary.touch()
    done = subprocess.run(
        ["bash", "-e", "-c", run],
        cwd=project.root,
        env={**project.env, "GITHUB_STEP_SUMMARY": str(summary), "PYTHON": ".venv/bin/python"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("FAIL  torch not found")  # the log has the list
    assert table(summary.read_text(encoding="utf-8"))[0][1] == "TORCH-FOUND"
