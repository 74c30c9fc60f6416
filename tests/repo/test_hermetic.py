"""Settings of the machine change no result: a part of the tests passes where all are poisoned."""

from __future__ import annotations

import os
import re
import shlex
import sys
import textwrap
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import commands
import machine_settings
from render.projects import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the settings are where Linux has them")

# One of each kind: Copier, each manager, a bootstrap, git, the registry, a torch of a few lines.
PART = """
tests/render/test_copies.py::test_the_defaults_are_a_cpu_build_with_uv
tests/install/test_loopback_index.py::test_uv_installs_from_it
tests/install/test_loopback_index.py::test_poetry_installs_from_it
tests/install/test_loopback_index.py::test_pip_installs_from_it
tests/scripts/test_bootstrap_state.py::test_uv_makes_a_lock_and_a_venv_once
tests/scripts/test_bootstrap_install.py::test_pip_installs_the_pinned_build_and_then_has_nothing_to_do
tests/scripts/test_smoke_broken.py::test_noise_on_stdout_is_no_matter
tests/update/test_projects.py::test_a_series_gets_its_newest_patch
"""
REGISTRY = """
tests/install/test_real_metadata.py::test_each_manager_finds_the_registry
"""
NOWHERE = "http://127.0.0.1:9/simple"
# File by file, what somebody may have set, or an organisation for everybody.
FILES = {
    "home/.config/pip/pip.conf": """
        [global]
        index-url = http://127.0.0.1:9/simple
        constraint = {folder}/constraints.txt
        require-virtualenv = true
        retries = 0
        [install]
        no-index = true
        user = true
        target = {folder}/target
        """,
    "home/.config/uv/uv.toml": f"""
        offline = true
        [[index]]
        url = "{NOWHERE}"
        default = true
        """,
    "home/.config/pypoetry/config.toml": """
        [virtualenvs]
        create = false
        [installer]
        no-binary = [":all:"]
        """,
    "home/.config/pypoetry/auth.toml": """
        [http-basic.pypi]
        username = "nobody"
        password = "wrong"
        """,
    "home/.config/copier/settings.yml": """
        defaults:
          package_manager: poetry
          project_name: poisoned
        """,
    "home/.gitconfig": """
        [user]
        useConfigOnly = true
        [commit]
        gpgSign = true
        [gpg]
        program = false
        [core]
        autocrlf = true
        hooksPath = {folder}/hooks
        [init]
        defaultBranch = poisoned
        [url "http://127.0.0.1:9/"]
        insteadOf = /
        """,
    "home/.pydistutils.cfg": """
        [install]
        prefix = {folder}/target
        """,
    "xdg/pip/pip.conf": """
        [global]
        constraint = {folder}/constraints.txt
        """,
    "xdg/uv/uv.toml": """
        no-index = true
        """,
    "constraints.txt": "torch<1\nuv<0.1\npip<1\n",
    "hooks/pre-commit": "#!/bin/sh\nexit 97\n",
    "venv/bin/python3": "#!/bin/sh\nexit 97\n",
    "venv/bin/python": "#!/bin/sh\nexit 97\n",
    "venv/bin/uv": "#!/bin/sh\nexit 97\n",
    "venv/pyvenv.cfg": "home = /nowhere\n",
    "path/torch.py": "raise SystemExit('a torch from PYTHONPATH')\n",
    "path/my_torch_project.py": "raise SystemExit('a project from PYTHONPATH')\n",
    "path/numpy.py": "raise SystemExit('a numpy from PYTHONPATH')\n",
}
VARIABLES = {
    "HOME": "{folder}/home",
    "XDG_CONFIG_DIRS": "{folder}/xdg",
    "PIP_INDEX_URL": NOWHERE,
    "PIP_EXTRA_INDEX_URL": NOWHERE,
    "PIP_NO_INDEX": "1",
    "PIP_CERT": "{folder}/constraints.txt",
    "PIP_CONSTRAINT": "{folder}/constraints.txt",
    "PIP_TARGET": "{folder}/target",
    "PIP_CACHE_DIR": "/dev/null/nowhere",
    "PIP_PYTHON": "/nowhere/python",
    "UV_DEFAULT_INDEX": NOWHERE,
    "UV_OFFLINE": "1",
    "UV_NO_CACHE": "1",
    "UV_PYTHON": "2.7",
    "UV_PROJECT_ENVIRONMENT": "{folder}/target",
    "UV_EXCLUDE_NEWER": "2001-01-01T00:00:00Z",
    "POETRY_VIRTUALENVS_PATH": "{folder}/target",
    "POETRY_INSTALLER_NO_BINARY": ":all:",
    "GIT_DIR": "{folder}/nowhere.git",
    "GIT_INDEX_FILE": "{folder}/index",
    "GIT_AUTHOR_DATE": "poisoned",
    "COPIER_SETTINGS_PATH": "{folder}/home/.config/copier/settings.yml",
    "VIRTUAL_ENV": "{folder}/venv",
    "CONDA_PREFIX": "{folder}/venv",
    "CONDA_DEFAULT_ENV": "poisoned",
    "PYENV_VERSION": "0.0.0",
    "PYTHONPATH": "{folder}/path",
    "PYTHONUSERBASE": "{folder}/target",
    "PYTHONSTARTUP": "{folder}/path/torch.py",
    "PYTHON_KEYRING_BACKEND": "poisoned.Keyring",
    "TORCH_STARTER_DETECT": "1",
    "CUDA_VISIBLE_DEVICES": "7",
    "NO_COLOR": "1",
    "FORCE_COLOR": "1",
    "COLUMNS": "200",
}


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody who has set all this."""
    folder = tmp_path_factory.mktemp("poison")
    for name, text in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        text = textwrap.dedent(text).replace("{folder}", str(folder)).lstrip()
        file.write_text(text, encoding="utf-8")
        file.chmod(0o755)
    own = {name: value for name, value in os.environ.items() if name != machine_settings.BEFORE}
    # Only with their own settings do those tests hide the machine's from git, Copier and pip.
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "PIP_CONFIG_FILE", "POETRY_CONFIG_DIR"):
        del own[name]
    poison = {name: value.replace("{folder}", str(folder)) for name, value in VARIABLES.items()}
    # Without its mirror the registry may be out of reach: then the mirror is no poison.
    names = ["PIP_INDEX_URL", "UV_DEFAULT_INDEX"]
    mirror = {name: own[name] for name in names if name in own}
    path = f"{folder}/venv/bin{os.pathsep}{own['PATH']}"
    return {**own, **poison, **mirror, "PATH": path}


def run(environment: dict[str, str], folder: Path, command: str) -> CompletedProcess[str]:
    """Run a line of a shell there."""
    line = command.replace("PYTHON ", f"{shlex.quote(sys.executable)} ")
    return commands.run(line, folder, environment)


SETTINGS = "from copier._settings import load_settings as s; print(s().defaults['project_name'])"


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("without", "command", "said"),
    [
        ("", "PYTHON -m pip download six", "/nowhere/python"),
        ("PIP_.*", "PYTHON -m pip download torch", r"requested \(constraint\) torch<1"),
        ("", "PYTHON -m uv pip compile in", r"but 2\.7 was"),
        ("UV_.*", "PYTHON -m uv pip compile in", "index lookups were disabled"),
        ("PYTHON_KEYRING_BACKEND", "PYTHON -m poetry config virtualenvs.create", "^false$"),
        ("", "git log", "not a git repository: .+nowhere.git"),
        ("GIT_.*", "git init --quiet; git symbolic-ref HEAD", "refs/heads/poisoned"),
        ("", f'PYTHON -c "{SETTINGS}"', "^poisoned$"),
        ("", 'PYTHON -c "import torch"', "a torch from PYTHONPATH"),
        ("", "python3 --version; echo $?", "^97$"),
    ],
)
def test_the_poison_works(
    poisoned: dict[str, str], tmp_path: Path, without: str, command: str, said: str
) -> None:
    """Else the tests below would show nothing."""
    (tmp_path / "in").write_text("six\n", encoding="utf-8")
    environment = {k: v for k, v in poisoned.items() if not without or not re.fullmatch(without, k)}
    done = run(environment, tmp_path, command)
    assert re.search(said, done.stdout, re.MULTILINE), done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "part",
    [
        pytest.param(PART, id="one of each kind", marks=pytest.mark.network),
        pytest.param(REGISTRY, id="registry", marks=[pytest.mark.slow, pytest.mark.network]),
    ],
)
def test_a_part_of_the_tests_passes_with_all_settings_poisoned(
    poisoned: dict[str, str], part: str
) -> None:
    words = shlex.join(part.split())
    done = run(poisoned, ROOT, f"PYTHON -m pytest -n0 -q -m '' -p no:cacheprovider {words}")
    assert done.returncode == 0, done.stdout
    assert f"\n{len(part.split())} passed in " in done.stdout, done.stdout
