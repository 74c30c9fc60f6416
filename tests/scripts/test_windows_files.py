"""bootstrap.cmd and bootstrap.ps1 as text: their grammars, their bytes, and what they do not use.

No PowerShell runs here. Two grammars read the .ps1, of which the stricter is of Windows' own
PowerShell 5.1; the repository's workflow runs it on Windows.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tree_sitter_batch
import tree_sitter_powershell
import tree_sitter_pwsh
from tree_sitter import Language, Node, Parser

TEMPLATE = Path(__file__).resolve().parents[2] / "template"
CMD, PS1 = (TEMPLATE / name for name in ("bootstrap.cmd", "bootstrap.ps1"))
BATCH = Language(tree_sitter_batch.language())
POWERSHELL = {
    "5.1": Language(tree_sitter_powershell.language()),
    "7": Language(tree_sitter_pwsh.language()),
}
NOT_IN_5_1 = re.compile(r"&&|\|\||\?\?|\?\.|\$Is(Windows|Linux|MacOS)|\bclean\s*\{", re.IGNORECASE)


def mistakes(language: Language, text: bytes) -> list[str]:
    """What the grammar does not know in a text; empty if it reads all of it."""
    found: list[str] = []

    def visit(node: Node) -> None:
        if node.is_error or node.is_missing:
            found.append(f"line {node.start_point[0] + 1}: {(node.text or b'').decode()}")
        for child in node.children:
            visit(child)

    visit(Parser(language).parse(text).root_node)
    return found


def ps1_trouble(text: str) -> list[str]:
    """What a bootstrap.ps1 must not be."""
    code = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rules = {
        "is not ASCII": not text.isascii(),  # 5.1 reads a file without a BOM in the local code page
        "is not of Windows' own PowerShell": bool(NOT_IN_5_1.search(text)),
        "has logic of its own": len(code) > 5,
        "does not call bootstrap.cmd": not any("'bootstrap.cmd') @args" in line for line in code),
        "does not find it from any folder": "$PSScriptRoot" not in text,
        "loses the exit code": code[-1:] != ["exit $LASTEXITCODE"],
    }
    return [rule for rule, broken in rules.items() if broken]


@pytest.mark.parametrize("version", POWERSHELL)
def test_powershell_can_read_the_ps1(version: str) -> None:
    assert mistakes(POWERSHELL[version], PS1.read_bytes()) == []


@pytest.mark.parametrize("version", POWERSHELL)
@pytest.mark.parametrize(
    ("old", "new"),
    [(b")", b""), (b"(", b""), (b"'bootstrap.cmd'", b"'bootstrap.cmd"), (b"exit", b"{ exit")],
)
def test_a_broken_ps1_is_noticed(version: str, old: bytes, new: bytes) -> None:
    text = PS1.read_bytes()
    assert old in text
    assert mistakes(POWERSHELL[version], text.replace(old, new, 1))


def test_only_the_grammar_of_5_1_refuses_what_is_newer() -> None:
    newer = PS1.read_bytes().replace(b"$LASTEXITCODE", b"($LASTEXITCODE ?? 1)")
    assert mistakes(POWERSHELL["5.1"], newer)
    assert not mistakes(POWERSHELL["7"], newer)


def test_the_ps1_only_calls_the_cmd() -> None:
    assert ps1_trouble(PS1.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new", "trouble"),
    [
        ("# For", "# F\u00fcr", "is not ASCII"),
        ("@args\n", "@args && exit 0\n", "is not of Windows' own PowerShell"),
        ("# For", "if ($IsWindows) { }\n# For", "is not of Windows' own PowerShell"),
        ("& (", "\n".join(["Get-Date"] * 4) + "\n& (", "has logic of its own"),
        (" @args", "", "does not call bootstrap.cmd"),
        ("Join-Path $PSScriptRoot", "Join-Path .", "does not find it from any folder"),
        ("exit $LASTEXITCODE", "", "loses the exit code"),
    ],
)
def test_a_ps1_against_the_rules_is_noticed(old: str, new: str, trouble: str) -> None:
    text = PS1.read_text(encoding="utf-8")
    assert old in text
    assert trouble in ps1_trouble(text.replace(old, new))


def test_cmd_can_read_the_cmd() -> None:
    assert mistakes(BATCH, CMD.read_bytes()) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'if "%ERRORLEVEL%"=="63" goto', b"if == goto"),
        (b"in (python3.14", b"in python3.14"),
        (b'goto start\r\ncall :try uv "run', b'goto start\r\nif exist x ( call :try uv "run'),
        (b'set "BOOTSTRAP_FOUND="', b'set "BOOTSTRAP_FOUND='),
    ],
)
def test_a_broken_cmd_is_noticed(old: bytes, new: bytes) -> None:
    text = CMD.read_bytes()
    assert old in text
    assert mistakes(BATCH, text.replace(old, new, 1))


@pytest.mark.parametrize("path", [CMD, PS1], ids=lambda path: path.name)
def test_they_are_ascii_with_crlf(path: Path) -> None:
    content = path.read_bytes()
    assert content.isascii()
    assert content.endswith(b"\r\n")
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")


def test_the_cmd_keeps_to_what_is_safe_in_any_path() -> None:
    text = CMD.read_text(encoding="ascii")
    code = [line for line in text.splitlines() if not line.startswith("rem ")]
    assert "EnableDelayedExpansion" not in text  # it would eat the ! of a path
    assert 'set "PYTHON_MANAGER_AUTOMATIC_INSTALL=false"' in code
    labels = {line[1:] for line in code if line.startswith(":")}
    used = set(re.findall(r"(?:goto |call :)(\w+)", "\n".join(code)))
    assert labels == used
    assert not [line for line in code if line.endswith("(")]  # no blocks: %var% is expanded early
