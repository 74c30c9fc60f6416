"""Each manager locks and installs through each common mirror, with its own way of logging in."""

from __future__ import annotations

import random
import sys
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import unquote, urlsplit

import pytest

from install.begun import begun
from install.checkouts import BOOTSTRAPS, MANAGERS, installed
from install.managers import Tools, own_caches
from install.mirrors import LAYOUTS, PLACE, Mirror
from render.projects import PYTHON, commit, copier, files, render, start

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = [*BOOTSTRAPS, pytest.mark.slow]
WORD = "s3cret/w0rd%41+"  # nobody may read it as quoted
VARIABLES = {"uv": "UV_INDEX_PYTORCH_", "poetry": "POETRY_HTTP_BASIC_PYTORCH_"}
LOCKS = {"uv": "uv.lock", "poetry": "poetry.lock", "pip": "requirements/torch-cpu.txt"}
CASES = [*product(LAYOUTS, MANAGERS, ("cpu", "cu126"), ("open", "login"))]
random.Random(155).shuffle(CASES)  # else `some` takes the first of MANAGERS alone


def own_login(tmp_path: Path, manager: str, user: str, word: str = WORD) -> dict[str, str]:
    """A login in the manager's own way: its variables, or for pip a netrc file."""
    if prefix := VARIABLES.get(manager):
        return {f"{prefix}USERNAME": user, f"{prefix}PASSWORD": word}
    return netrc_login(tmp_path, user, word)


def netrc_login(tmp_path: Path, user: str, word: str = WORD) -> dict[str, str]:
    """A login in a netrc file, which all of them read."""
    file = tmp_path / "netrc"
    file.write_text(f"machine 127.0.0.1 login {user} password {word}\n", encoding="utf-8")
    file.chmod(0o600)
    return {"NETRC": str(file)}


def project_of(mirror: Mirror, tmp_path: Path, manager: str, platform: str = "cpu") -> Path:
    project = render(
        tmp_path / "demo",
        package_manager=manager,
        compute_platform=platform,
        pytorch_index_url=mirror.base,
    )
    return begun(project) if manager == "pip" else project


def bootstrap(tools: Tools, project: Path, tmp_path: Path, **env: str) -> CompletedProcess[str]:
    """Run it with caches of its own, so that the mirror is asked for all."""
    return tools.try_bootstrap(project, env=own_caches(tmp_path) | env)


def leaks(project: Path, done: CompletedProcess[str]) -> list[str]:
    """The places where the password has landed."""
    texts = {name: text.decode("utf-8", "replace") for name, text in files(project).items()}
    texts |= {"stdout": done.stdout, "stderr": done.stderr}
    return [name for name, text in texts.items() if "s3cret" in text]


@pytest.mark.some(2)
@pytest.mark.parametrize(("name", "manager", "platform", "access"), CASES)
def test_each_manager_installs_the_build_through_each_mirror(
    tools: Tools, tmp_path: Path, name: str, manager: str, platform: str, access: str
) -> None:
    with Mirror(tools.index, LAYOUTS[name]) as mirror, ExitStack() as stack:
        login: dict[str, str] = {}
        if access == "login":
            stack.enter_context(mirror.login_required(WORD))
            login = own_login(tmp_path, manager, mirror.layout.user)
        project = project_of(mirror, tmp_path, manager, platform)
        with tools.index.recorded() as at_home:
            done = bootstrap(tools, project, tmp_path, **login)

        assert done.returncode == 0, done.stdout + done.stderr
        assert installed(tools, project)["torch"].endswith(f"+{platform}")
        assert installed(tools, project)["torchvision"].endswith(f"+{platform}")
        assert not [one.path for one in at_home if one.path.startswith("/whl/")]
        assert leaks(project, done) == []


@pytest.mark.some(0)
@pytest.mark.parametrize("manager", MANAGERS)
def test_a_netrc_file_is_for_all_of_them(tools: Tools, tmp_path: Path, manager: str) -> None:
    with Mirror(tools.index, LAYOUTS["nexus"]) as mirror, mirror.login_required(WORD):
        project = project_of(mirror, tmp_path, manager)
        done = bootstrap(tools, project, tmp_path, **netrc_login(tmp_path, "me"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed(tools, project)["torch"].endswith("+cpu")
    assert leaks(project, done) == []


BACKEND = f"""\
from keyring import backend, credentials

class Keyring(backend.KeyringBackend):
    priority = 1
    set_password = None

    def get_password(self, service, username):
        known = username == "me" and "127.0.0.1" in service
        return {WORD!r} if known else None

    def get_credential(self, service, username):
        return credentials.SimpleCredential("me", self.get_password(service, username or "me"))
"""


def keyring(tmp_path: Path) -> Path:
    """The folder of a `keyring` that knows one login: the real one, with a backend of ours."""
    (tmp_path / "backend_of_one.py").write_text(BACKEND, encoding="utf-8")
    program = tmp_path / "bin" / "keyring"
    program.parent.mkdir()
    ours = f"PYTHONPATH='{tmp_path}' PYTHON_KEYRING_BACKEND=backend_of_one.Keyring"
    asked = f"echo \"$@\" >> '{tmp_path}/asked'"
    run = f"exec env {ours} '{sys.executable}' -m keyring \"$@\""
    program.write_text(f"#!/bin/sh\n{asked}\n{run}\n", encoding="utf-8")
    program.chmod(0o755)
    return program.parent


@pytest.mark.some(1)
@pytest.mark.parametrize("manager", ["pip", "uv"])
def test_a_keyring_is_asked_by_uv_and_pip(tools: Tools, tmp_path: Path, manager: str) -> None:
    """Poetry has its own, which `poetry config http-basic.pytorch` fills."""
    path = f"{keyring(tmp_path)}:{tools.environment['PATH']}"
    env = {"PATH": path, f"{manager.upper()}_KEYRING_PROVIDER": "subprocess"}
    if manager == "uv":  # which wants to know whose password it asks for
        env["UV_INDEX_PYTORCH_USERNAME"] = "me"
    with Mirror(tools.index, LAYOUTS["nexus"]) as mirror, mirror.login_required(WORD):
        project = project_of(mirror, tmp_path, manager)
        done = bootstrap(tools, project, tmp_path, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed(tools, project)["torch"].endswith("+cpu")
    assert "127.0.0.1" in (tmp_path / "asked").read_text(encoding="utf-8")
    assert leaks(project, done) == []


@pytest.mark.some(1)
@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("name", ["nexus", "artifactory, hidden", "gitlab", "devpi"])
def test_a_wrong_or_missing_login_ends_in_one_sentence_with_what_to_type(
    tools: Tools, tmp_path: Path, name: str, manager: str
) -> None:
    with Mirror(tools.index, LAYOUTS[name]) as mirror, mirror.login_required(WORD):
        project = project_of(mirror, tmp_path, manager)
        without = bootstrap(tools, project, tmp_path)
        wrong = own_login(tmp_path, manager, "me", "s3cret-wrong")
        refused = bootstrap(tools, project, tmp_path, **wrong)
        right = own_login(tmp_path, manager, mirror.layout.user)
        done = bootstrap(tools, project, tmp_path, **right)

    url = mirror.base.replace(PLACE, "cpu")
    for run, said in (without, "without a login"), (refused, "to the login in "):
        assert run.returncode == 5
        assert run.stderr.startswith(f"bootstrap: {url} answered ")
        assert said in run.stderr.splitlines()[0]
        assert "Traceback" not in run.stdout + run.stderr
        assert leaks(project, run) == []
        if prefix := VARIABLES.get(manager):
            assert f"  export {prefix}USERNAME=NAME\n  export {prefix}PASSWORD=WORD\n" in run.stderr
        else:
            assert "  machine 127.0.0.1 login NAME password WORD\n" in run.stderr
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.some(1)
@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("lacking", ["torchvision", "torch"])
def test_a_registry_that_leads_to_pypi_does_not_bring_its_build(
    tools: Tools, tmp_path: Path, lacking: str, manager: str
) -> None:
    with Mirror(tools.index, LAYOUTS["gitlab"]) as mirror, mirror.without(lacking):
        project = project_of(mirror, tmp_path, manager)
        done = bootstrap(tools, project, tmp_path)
    pypi = urlsplit(tools.index.url).netloc
    assert done.returncode == 5
    url = mirror.base.replace(PLACE, "cpu")
    said = f"bootstrap: {url} leads to {pypi}, which does not list {lacking}-"
    assert done.stderr.startswith(said)
    assert not [*(project / ".venv").rglob(f"{lacking}*")]
    assert manager == "pip" or not (project / LOCKS[manager]).exists()


def versions_and_hashes(project: Path, manager: str) -> list[str]:
    """What the lock file, or for pip the requirements, pin; of a wheel its name and hash."""
    text = (project / LOCKS[manager]).read_text(encoding="utf-8")
    if manager == "pip":
        return [line for line in text.splitlines() if "==" in line]
    rows = []
    for package in tomllib.loads(text)["package"]:
        wheels = package.get("files") or package.get("wheels", [])
        for wheel in wheels:
            name = wheel.get("file") or unquote(wheel["url"].rpartition("/")[2])
            rows.append(f"{package['name']} {package['version']} {name} {wheel['hash']}")
    return sorted(rows)


@pytest.mark.some(1)
@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize(
    ("first", "then"), [("", "nexus"), ("nexus", "devpi"), ("artifactory", "gitlab")]
)
def test_another_mirror_later_keeps_all_pins_and_hashes(
    tools: Tools, git_template: Path, tmp_path: Path, first: str, then: str, manager: str
) -> None:
    with ExitStack() as stack:
        before, after = (
            stack.enter_context(Mirror(tools.index, LAYOUTS[name])).base
            if name
            else tools.index.pytorch_url
            for name in (first, then)
        )
        answers = {"package_manager": manager, "python_version": PYTHON, "ci": "none"}
        project = start(git_template, tmp_path / "demo", pytorch_index_url=before, **answers)
        if manager == "pip":
            begun(project)
        assert bootstrap(tools, project, tmp_path).returncode == 0
        commit(project)
        pinned = versions_and_hashes(project, manager)
        address = f"pytorch_index_url={after}"
        command = ("update", "--trust", "--defaults", "--vcs-ref=:current:", "--data", address)
        changed = copier(*command, cwd=project)
        assert changed.returncode == 0, changed.stderr
        done = bootstrap(tools, project, tmp_path / "later")

        assert done.returncode == 0, done.stdout + done.stderr
        assert len(pinned) > 3
        assert versions_and_hashes(project, manager) == pinned
        assert installed(tools, project)["torch"].endswith("+cpu")
        texts = {name: text for name, text in files(project).items() if ".venv" not in name}
        place = before.partition("{")[0].encode()
        assert [n for n, text in texts.items() if place in text and ".tools" not in n] == []
