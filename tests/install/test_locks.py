"""Every build that a project keeps is locked: locks/pylock.*.toml, made, installed and defended."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.pylock import PackageWheel, Pylock
from packaging.utils import canonicalize_name

from install.checkouts import (
    BOOTSTRAPS,
    MANAGERS,
    build_check,
    changes,
    edit,
    installed,
    lock_of,
    project_with,
    wheels,
)
from install.managers import ToolFailedError, Tools, own_caches, reported
from install.resolution import PLATFORMS
from matrix.doctored import frozen
from render.projects import PYTHON, ROOT, commit, git, under_git
from render.reading import Builds
from torch_template.build import Asked, Build
from torch_template.resolving import kept_build

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = BOOTSTRAPS
MATRIX = frozen()
OLDEST = re.findall(r"\d+\.\d+\.\d+", (ROOT / "includes/pyproject-uv.toml.jinja").read_text())[0]
OF_A_BUILD = re.compile(r"nvidia-|cuda-|(.*-)?triton(-|$)")


def chosen(lock: Pylock, platform: str) -> dict[str, tuple[str, PackageWheel]]:
    """What an installer takes on a platform: version and wheel, by name."""
    here = PLATFORMS[platform]
    environment: Any = here.environment(PYTHON)
    found = {}
    for package, file in lock.select(environment=environment, tags=here.wheel_tags(PYTHON)):
        assert isinstance(file, PackageWheel), package.name
        found[str(package.name)] = (str(package.version), file)
    return found


def groups() -> Iterator[Any]:
    """Each compute platform with all those that share a release with it: every pair of them."""
    for own in MATRIX.policy.on_machines:
        shared = defaultdict(list)
        for other in MATRIX.policy.on_machines:
            asked = Asked("uv", PYTHON, own, extras=(other,))
            build = kept_build(MATRIX, asked) if other != own else None
            if isinstance(build, Build):
                shared[build.torch].append(other)
        for release, others in shared.items():
            for manager in MANAGERS:
                asked = Asked(manager, PYTHON, own, extras=tuple(others))
                if (build := kept_build(MATRIX, asked)) and build.torch == release:
                    yield pytest.param(manager, own, others, id=f"{manager}-{own}-{release}")


@pytest.mark.some(4)
@pytest.mark.slow
@pytest.mark.parametrize(("manager", "own", "extras"), list(groups()))
def test_every_pair_of_compute_platforms_that_share_a_release_is_locked(
    tools: Tools, tmp_path: Path, manager: str, own: str, extras: list[str]
) -> None:
    project = project_with(tools, tmp_path, manager, own, *extras)
    tools.bootstrap(project, "--lock")
    assert not (project / ".venv").exists()
    data = Builds.parse((project / "scripts/torch_builds.json").read_text()).data
    assert set(extras) <= data["builds"].keys()
    own_versions = locked_versions(project, manager, own)
    for name in extras:
        check_lock(tools, lock_of(project, name), data["builds"][name], own_versions)
    said = tools.bootstrap(project, "--check-locks")
    assert "All lock files are up to date." in said


def locked_versions(project: Path, manager: str, own: str) -> dict[str, set[str]]:
    """The versions in the project's own lock file."""
    path = project / f"{manager}.lock"
    if manager == "pip":
        path = project / "locks" / f"pylock.{own.replace('.', '_')}.toml"
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    found = defaultdict(set)
    for row in data.get("package") or data["packages"]:
        found[str(canonicalize_name(row["name"]))].add(row["version"])
    return found


def check_lock(tools: Tools, lock: Pylock, build: dict[str, Any], own: dict[str, set[str]]) -> None:
    """The build's wheels from its index on each system, and all else as the project has it."""
    rows = build["platforms"]
    of_build = {name for row in rows.values() for name in row["packages"]}
    for platform, row in rows.items():
        here = chosen(lock, platform)
        assert {name: here[name][0] for name in row["packages"]} == row["packages"]
        for name, (version, wheel) in here.items():
            assert wheel.hashes["sha256"]
            assert wheel.url
            index = build.get("index_url")
            if name in row["packages"] and index and platform != "macos-arm64":
                assert wheel.url.startswith(tools.index.files_url)
                assert f"/{index.rpartition('/')[2]}/" in wheel.url
            elif name not in build.get("extra_packages", ()):
                assert "/packages/" in wheel.url, name  # the usual index's
            if name in own and name not in of_build and not OF_A_BUILD.match(name):
                assert version in own[name], name
        assert "torchmetrics" in here


@pytest.mark.few(1)
@pytest.mark.usefixtures("cold_caches")
@pytest.mark.parametrize("manager", MANAGERS)
def test_a_machine_switches_between_locked_builds_and_stays_with_what_it_chose(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    project = project_with(tools, tmp_path, manager, "cu130", "cpu", "rocm7.2")
    said = tools.bootstrap(project, "--compute-platform", "rocm7.2")
    assert "locks/pylock.rocm7_2.toml is new: commit it" in said
    assert "locks/pylock.rocm7_2.toml: each file by its hash" in said
    assert exactly(tools, project, "rocm7.2")
    with tools.index.recorded() as requests:
        tools.bootstrap(project, "--compute-platform", "cpu")
    assert exactly(tools, project, "cpu")
    assert not [name for name in wheels(requests) if re.search(r"^nvidia|rocm\d", name)]
    assert "Nothing to do" in tools.bootstrap(project)  # it was chosen for this machine

    if manager != "uv":  # the others take seconds
        own = tools.bootstrap(project, "--compute-platform", "cu130", "--dry-run")
        assert "removing .venv: it was made for cpu, the project's own is cu130" in own
        return
    tools.uv("sync", "--python", PYTHON, cwd=project)  # as `uv run` does
    assert "but this .venv was made for" in build_check(tools, project)
    assert "another torch has been put into it" in tools.bootstrap(project)
    assert exactly(tools, project, "cpu")
    own = tools.bootstrap(project, "--compute-platform", "cu130")
    assert "removing .venv: it was made for cpu, the project's own is cu130" in own
    assert installed(tools, project)["torch"].endswith("+cu130")
    assert changes(project).split() == ["??", "locks/", "??", "uv.lock"]


def exactly(tools: Tools, project: Path, name: str) -> bool:
    """Whether .venv has what the lock file says for this system, and nothing else."""
    have = installed(tools, project)
    wanted = {key: version for key, (version, _) in chosen(lock_of(project, name), HERE).items()}
    for tool in ("pip", "setuptools", "my-torch-project"):
        have.pop(tool, None)
        wanted.pop(tool, None)
    assert have == wanted
    return True


HERE = "linux-x86_64"


@pytest.mark.slow
def test_a_pip_project_may_lock_its_own_build_and_then_installs_by_hash(
    tools: Tools, tmp_path: Path
) -> None:
    project = project_with(tools, tmp_path, "pip", "cpu")
    assert "by its hash" not in tools.bootstrap(project)
    assert not (project / "locks").exists()
    tools.bootstrap(project, "--lock")
    said = tools.bootstrap(project)
    assert "locks/pylock.cpu.toml: each file by its hash" in said
    assert exactly(tools, project, "cpu")
    before = (project / "locks/pylock.cpu.toml").read_text(encoding="utf-8")
    read = reported(tools.pip_report("-r", project / "locks/pylock.cpu.toml"))  # by pip itself
    assert read["torch"].startswith("torch-2.14.1+cpu-")
    assert read.keys() == chosen(lock_of(project, "cpu"), HERE).keys()

    edit(project, '    "torchmetrics",\n', "")
    with pytest.raises(ToolFailedError, match=r"locks/pylock\.cpu\.toml is out of date"):
        tools.bootstrap(project, "--check-locks")
    assert "pylock.cpu.toml was out of date and has been made again" in tools.bootstrap(project)
    after = (project / "locks/pylock.cpu.toml").read_text(encoding="utf-8")
    assert "torchmetrics" in before
    assert "torchmetrics" not in after


LIBRARY = """
[project]
name = "lib"
version = "1"
dependencies = ["sympy"]

[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
packages = ["src/lib"]
"""
PLACES = {
    "uv": 'lib = { path = "../lib", editable = true }\ntorchmetrics = { index = "corp" }\n',
    "poetry": 'lib = { path = "../lib" }\ntorchmetrics = { source = "corp" }\n',
}


def with_places(tools: Tools, folder: Path, manager: str) -> Path:
    """A project that also has a package of a folder beside it, and one of the company's index."""
    project = project_with(tools, folder, manager, "cu130", "cpu")
    source = folder / "lib/src/lib/__init__.py"
    source.parent.mkdir(parents=True)
    source.touch()
    (folder / "lib/pyproject.toml").write_text(LIBRARY, encoding="utf-8")
    here = f"lib @ {(folder / 'lib').as_uri()}" if manager == "pip" else "lib"
    edit(project, '    "torchmetrics",\n', f'    "torchmetrics",\n    "{here}",\n')
    if manager == "uv":
        edit(project, "[tool.uv.sources]\n", f"[tool.uv.sources]\n{PLACES[manager]}")
    if manager != "pip":
        corp = tools.index.simple_url.replace("127.0.0.1", "localhost")
        kind = "explicit = true" if manager == "uv" else 'priority = "explicit"'
        table = f"\n[[tool.{manager}.{'index' if manager == 'uv' else 'source'}]]\n"
        more = f'{table}name = "corp"\nurl = "{corp}"\n{kind}\n'
        if manager == "poetry":
            more = f"\n[tool.poetry.dependencies]\n{PLACES[manager]}{more}"
        edit(project, "[tool.mypy]\n", f"{more}\n[tool.mypy]\n")
    return project


@pytest.mark.some(2)
@pytest.mark.slow
@pytest.mark.parametrize("manager", MANAGERS)
def test_folders_and_other_indexes_are_locked_too_and_no_password_is_written(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    project = with_places(tools, tmp_path, manager)
    word = "s3cret"
    env = {
        "UV_INDEX_CORP_USERNAME": "me",
        "UV_INDEX_CORP_PASSWORD": word,
        "POETRY_HTTP_BASIC_CORP_USERNAME": "me",
        "POETRY_HTTP_BASIC_CORP_PASSWORD": word,
        "PIP_INDEX_URL": tools.index.simple_url.replace("://", f"://me:{word}@"),
    }
    page = "/simple/" if manager == "pip" else "/simple/torchmetrics"
    with tools.index.login_required("me", word, page):
        tools.bootstrap(project, "--compute-platform", "cpu", **env)
    have = installed(tools, project)
    assert {"lib", "torchmetrics", "sympy"} <= have.keys()
    assert have["torch"].endswith("+cpu")
    text = (project / "locks/pylock.cpu.toml").read_text(encoding="utf-8")
    assert 'directory = { path = "../../lib"' in text
    if manager != "pip":
        assert 'index = "http://localhost:' in text
    assert "Nothing to do" in tools.bootstrap(project, **env)
    kept = [project / "locks", project / ".tools/locking"]
    for path in (file for folder in kept for file in folder.rglob("*") if file.is_file()):
        assert word not in path.read_text(encoding="utf-8"), path


@pytest.mark.slow
def test_a_repository_is_locked_at_the_commit_that_the_project_has(
    tools: Tools, tmp_path: Path
) -> None:
    source = tmp_path / "lib/src/lib/__init__.py"
    source.parent.mkdir(parents=True)
    source.touch()
    (tmp_path / "lib/pyproject.toml").write_text(LIBRARY, encoding="utf-8")
    library = under_git(tmp_path / "lib")
    project = project_with(tools, tmp_path, "uv", "cu130", "cpu")
    edit(project, '    "torchmetrics",\n', '    "torchmetrics",\n    "lib",\n')
    row = f'[tool.uv.sources]\nlib = {{ git = "{library.as_uri()}" }}\n'
    edit(project, "[tool.uv.sources]\n", row)
    tools.bootstrap(project, "--lock")
    source.write_text("NEW = 1\n", encoding="utf-8")
    first = git(library, "rev-parse", "HEAD").strip()
    commit(library)
    edit(project, '    "torchmetrics",\n', "")
    tools.bootstrap(project, "--lock")
    assert first in (project / "uv.lock").read_text(encoding="utf-8")
    assert f'commit-id = "{first}"' in (project / "locks/pylock.cpu.toml").read_text("utf-8")
    assert not (project / ".tools/locking/cpu").exists()

    lock = project / "uv.lock"
    lock.write_text("<<<<<<< HEAD\n" + lock.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ToolFailedError, match="has the marks of a merge that was not finished"):
        tools.bootstrap(project, "--lock")


# --- Attackers


@pytest.mark.some(2)
@pytest.mark.slow
@pytest.mark.parametrize("manager", MANAGERS)
def test_a_file_that_was_changed_behind_the_lock_is_not_installed(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    project = project_with(tools, tmp_path, manager, "cu130", "cpu")
    tools.bootstrap(project, "--lock")
    with tools.index.spoiling("/torch-", "half", 99):
        done = tools.try_bootstrap(project, "--compute-platform", "cpu", env=own_caches(tmp_path))
    assert done.returncode == 5
    assert "torch-2.14.1+cpu-" in done.stderr or "not the file that its index has" in done.stderr
    assert not (project / ".venv").exists() or "torch" not in installed(tools, project)


@pytest.mark.slow
def test_a_lock_file_that_somebody_has_edited_or_merged_is_made_again(
    tools: Tools, tmp_path: Path
) -> None:
    project = project_with(tools, tmp_path, "uv", "cu130", "cpu")
    tools.bootstrap(project, "--lock")
    path = project / "locks/pylock.cpu.toml"
    text = path.read_text(encoding="utf-8")
    for spoilt, why in (
        (text.replace("/whl/cpu", "/whl/cpux"), "is not as it was written"),
        (text[: len(text) // 2], "is not whole"),
    ):
        path.write_text(spoilt, encoding="utf-8")
        with pytest.raises(ToolFailedError, match=f"locks/pylock.cpu.toml {why}"):
            tools.bootstrap(project, "--check-locks")
        assert "has been made again: commit it" in tools.bootstrap(project, "--lock")
        assert path.read_text(encoding="utf-8") == text
    other = path.with_name("pylock.cu126.toml")  # of a build that was kept before
    theirs = path.with_name("pylock.docs.toml")
    other.write_text(text, encoding="utf-8")
    theirs.write_text('lock-version = "1.0"\n', encoding="utf-8")
    with pytest.raises(ToolFailedError, match=r"locks/pylock\.cu126\.toml is of no build"):
        tools.bootstrap(project, "--check-locks")
    tools.bootstrap(project, "--lock")
    assert theirs.exists()
    assert not other.exists()
    path.write_bytes(text.replace("\n", "\r\n").encode())  # as a Windows editor may
    assert "up to date" in tools.bootstrap(project, "--check-locks")


@pytest.mark.slow
@pytest.mark.parametrize("manager", ["uv", "poetry"])
def test_a_file_that_is_another_one_than_the_project_has_locked_is_not_locked(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    project = project_with(tools, tmp_path, manager, "cu130", "cpu")
    lock = tools.uv_lock if manager == "uv" else tools.poetry_lock
    lock(project)
    path = project / f"{manager}.lock"
    text = path.read_text(encoding="utf-8")
    other = re.sub(r'(numpy-2\.4\.1-\S+?whl", .*?sha256:)\w{64}', rf"\g<1>{'0' * 64}", text)
    assert other != text
    path.write_text(other, encoding="utf-8")

    done = tools.try_bootstrap(project, "--lock")

    assert done.returncode == 5
    assert f"-any.whl on the index is not the file that {manager}.lock has" in done.stderr
    assert not (project / "locks").exists()


@pytest.fixture(scope="module")
def oldest_uv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The oldest uv that a project may have: it locks files without a hash as they are."""
    folder = tmp_path_factory.mktemp("oldest")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*pip, f"uv=={OLDEST}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


@pytest.mark.slow
def test_an_index_without_hashes_is_told_and_nothing_is_called_locked(
    tools: Tools, tmp_path: Path, oldest_uv: Path
) -> None:
    project = project_with(tools, tmp_path, "uv", "cu130", "cpu")
    env = {"PATH": f"{oldest_uv}{os.pathsep}{tools.environment['PATH']}"}
    with tools.index.plain():
        done = tools.try_bootstrap(project, "--compute-platform", "cpu", env=env)
        assert f"uv {OLDEST}" in done.stdout
        assert done.returncode == 0, done.stderr
        assert "/whl/cpu gives no hash for torch, so cpu cannot be locked." in done.stdout
        assert "no hash is checked" in done.stdout
        assert tools.try_bootstrap(project, "--lock", env=env).returncode == 5
    assert not (project / "locks").exists()
    assert installed(tools, project)["torch"].endswith("+cpu")

    read = tools.run(oldest_uv / "uv", "lock", "--check", "--offline", cwd=project)
    assert "warning" not in read  # an older one passes over [tool.uv], whose `false` it cannot read
    tools.bootstrap(project, "--lock", **env)
    said = tools.bootstrap(project, "--compute-platform", "cpu", "--recreate", **env)
    assert "locks/pylock.cpu.toml: each file by its hash" in said
    assert exactly(tools, project, "cpu")
