"""Each manager locks and installs through each common mirror, with its own way of logging in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from install.begun import begun
from install.checkouts import BOOTSTRAPS, MANAGERS, installed
from install.managers import Tools
from install.mirrors import LAYOUTS, Mirror
from render.projects import files, render

pytestmark = [*BOOTSTRAPS, pytest.mark.slow]
WORD = "s3cret/w0rd%41+"  # nobody may read it as quoted
VARIABLES = {"uv": "UV_INDEX_PYTORCH_", "poetry": "POETRY_HTTP_BASIC_PYTORCH_"}
LOCKS = {"uv": "uv.lock", "poetry": "poetry.lock", "pip": "requirements/torch-{}.txt"}


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
    caches = {f"{name.upper()}_CACHE_DIR": str(tmp_path / f"{name} cache") for name in MANAGERS}
    return tools.try_bootstrap(project, env={**caches, **env})


def leaks(project: Path, done: CompletedProcess[str]) -> list[str]:
    """The places where the password has landed."""
    texts = {name: text.decode("utf-8", "replace") for name, text in files(project).items()}
    texts |= {"stdout": done.stdout, "stderr": done.stderr}
    return [name for name, text in texts.items() if "s3cret" in text]


@pytest.mark.some(4)
@pytest.mark.parametrize("logged_in", [False, True], ids=["open", "login"])
@pytest.mark.parametrize("platform", ["cpu", "cu126"])
@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_each_manager_installs_the_build_through_each_mirror(
    tools: Tools, tmp_path: Path, name: str, manager: str, platform: str, logged_in: bool
) -> None:
    with Mirror(tools.index, LAYOUTS[name]) as mirror, ExitStack() as stack:
        login: dict[str, str] = {}
        if logged_in:
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
