"""Downloads that a proxy or a virus scanner has cut, spoilt or exchanged, once and each time."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from install.checkouts import BOOTSTRAPS, installed, rendered
from install.managers import Tools, own_caches

pytestmark = BOOTSTRAPS
OFTEN = 99
ANEW = "once more"


def bootstrap(
    tools: Tools, folder: Path, manager: str, how: str, times: int, plain: bool = False
) -> tuple[Path, CompletedProcess[str]]:
    """Run one while the wheels of torch come spoilt."""
    project = rendered(tools, folder / "project", manager)
    env = own_caches(folder) | {
        "UV_HTTP_RETRIES": "0",
        "PIP_RESUME_RETRIES": "0",
        "PIP_RETRIES": "0",
    }
    hashes = tools.index.plain() if plain else nullcontext()
    with hashes, tools.index.spoiling("/torch-", how, times):
        return project, tools.try_bootstrap(project, env=env)


@pytest.mark.some(3)
@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("manager", "how", "plain", "said"),
    [
        ("uv", "half", False, "a download is spoilt: once more, with an empty cache"),
        ("pip", "half", False, "a download is spoilt: once more, with an empty cache"),
        ("uv", "page", True, "a download is spoilt: once more, with an empty cache"),
        ("uv", "cut", True, "the connection was cut: once more"),
        ("pip", "page", True, "a download is spoilt: once more, with an empty cache"),
        ("poetry", "half", False, "a download is spoilt: once more, with an empty cache"),
        ("poetry", "cut", False, "the connection was cut: once more"),
    ],
)
def test_what_comes_spoilt_once_is_fetched_again_past_the_cache(
    tools: Tools, tmp_path: Path, manager: str, how: str, plain: bool, said: str
) -> None:
    project, done = bootstrap(tools, tmp_path, manager, how, 1, plain)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"\n  {said}\n" in done.stdout
    assert installed(tools, project)["torch"].endswith("+cpu")
    assert not (project / ".tools/cache").exists()
    clean = {"uv": "uv cache clean", "pip": "python -m pip cache purge"}.get(manager, "-")
    assert (f"this empties it: {clean}\n" in done.stdout) == (how != "cut" and clean != "-")


@pytest.mark.some(2)
@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("manager", "how", "what"),
    [
        ("uv", "half", "torch-{}_x86_64.whl arrives spoilt, also when fetched anew: "),
        ("pip", "page", "A file is not the file that its index has the hash of, nor when fetched"),
        ("poetry", "half", "torch-{}_x86_64.whl is not the file that poetry.lock has the hash of"),
        ("pip", "cut", "The connection was cut twice in the middle of a download: "),
    ],
)
def test_what_comes_spoilt_each_time_is_told_and_never_installed(
    tools: Tools, tmp_path: Path, manager: str, how: str, what: str
) -> None:
    project, done = bootstrap(tools, tmp_path, manager, how, OFTEN)
    assert done.returncode == 5, done.stdout + done.stderr
    parts = what.split("{}")
    assert done.stderr.startswith(f"bootstrap: {parts[0]}")
    assert parts[-1] in done.stderr.partition("\n")[0]
    assert done.stdout.count(ANEW) == 1
    assert "torch" not in installed(tools, project)
    assert ("must not be before somebody knows why" in done.stderr) == ("hash" in what)
    assert ("poetry lock --no-cache --regenerate" in done.stderr) == (manager == "poetry")
    assert "virus" in done.stderr


def test_a_lock_with_another_hash_is_no_accident_that_is_repaired(
    tools: Tools, tmp_path: Path
) -> None:
    project = rendered(tools, tmp_path / "project", "uv")
    tools.uv_lock(project)
    lock = project / "uv.lock"
    parts = lock.read_text(encoding="utf-8").split("[[package]]")
    torch = [part for part in parts if part.startswith('\nname = "torch"\n')]
    assert len(torch) == 2  # macOS has PyPI's
    wrong = "[[package]]".join(_with_another_hash(one) if one in torch else one for one in parts)
    lock.write_text(wrong, encoding="utf-8")
    done = tools.try_bootstrap(project)
    assert done.returncode == 5, done.stdout + done.stderr
    assert done.stderr.startswith("bootstrap: torch==2.14.1+cpu is not the file")
    assert "is not the file that uv.lock has the hash of" in done.stderr
    assert lock.read_text(encoding="utf-8") == wrong
    assert "torch" not in installed(tools, project)


def _with_another_hash(package: str) -> str:
    """A package of uv.lock with zeros for the first letters of its hashes."""
    first, *hashes = package.split("sha256:")
    return "sha256:".join([first, *(f"00000000{one[8:]}" for one in hashes)])
