"""The bootstrap without a network: from a folder of wheels, and from what a manager has kept."""

from __future__ import annotations

import re
import shutil
import sys
import zipfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from install.checkouts import BOOTSTRAPS, MANAGERS, rendered
from install.managers import CACHES, Tools, own_caches
from render.projects import render
from scripts.bootstrap_helpers import make_wheel

pytestmark = [*BOOTSTRAPS, pytest.mark.slow]
# One process fills the wheelhouse of each.
OF = {
    name: pytest.param(name, marks=pytest.mark.xdist_group(f"wheelhouse of {name}"))
    for name in MANAGERS
}
PLAIN = {
    name: pytest.param(f"{name}, plain", marks=pytest.mark.xdist_group(f"plain {name}"))
    for name in MANAGERS
}
PAGE = "docs/pytorch-build.md"
FILL = "Fill a wheelhouse on such a machine with a network, in this project:"
INSTALLED = "import importlib.metadata as m; print({d.name: d.version for d in m.distributions()})"


@dataclass
class Machine:
    """A machine without a network: nobody has installed anything here before."""

    tools: Tools
    folder: Path

    def bootstrap(self, project: Path, *arguments: str, **env: str) -> CompletedProcess[str]:
        """Run the bootstrap, which asks nobody for anything."""
        with self.tools.index.recorded() as requests:
            done = self.tools.try_bootstrap(
                project, *arguments, cwd=self.folder, env=own_caches(self.folder) | env
            )
        assert requests == []
        assert "Traceback" not in done.stdout + done.stderr
        return done


@pytest.fixture
def machine(tools: Tools, tmp_path: Path) -> Machine:
    folder = tmp_path / "no network"
    folder.mkdir()
    return Machine(tools, folder)


def locked(tools: Tools, project: Path, manager: str, compute_platform: str = "cpu") -> Path:
    """A project with its lock file, from a machine with a network."""
    rendered(tools, project, manager, compute_platform)
    if manager == "uv":
        tools.uv_lock(project)
    elif manager == "poetry":
        tools.poetry("lock", cwd=project)
    return project


def fill(tools: Tools, project: Path) -> Path:
    """Do what the project's own page says, and nothing else."""
    text = (project / PAGE).read_text(encoding="utf-8")
    section = text.partition("## Without a network")[2]
    block = re.search(r"```console\n(.*?)```", section, re.DOTALL)
    assert block
    tools.run("sh", "-euc", block[1], cwd=project)
    return project / "wheelhouse"


@pytest.fixture(scope="module", params=OF.values())
def filled(
    request: pytest.FixtureRequest, tools: Tools, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A manager, and a project of it with a wheelhouse, both on a machine with a network.

    Also with an index that has no more than the files.
    """
    manager, _, plain = request.param.partition(", ")
    folder = tmp_path_factory.mktemp("plain" if plain else "network")
    stubs = folder / "managers"  # what is downloaded, and not used here: the real ones are on PATH
    for name in ("uv", "poetry"):
        make_wheel(stubs, name, "2.2")
    tools.index.add_wheels(stubs, "pypi")
    with tools.index.plain() if plain else nullcontext():
        project = locked(tools, folder / "demo", manager)
        if manager != "pip":  # Poetry says what it installed, uv keeps it
            tools.bootstrap(project)
        else:  # it only has to run
            (project / ".venv").symlink_to(sys.prefix)
        fill(tools, project)
    return manager, project


def carried(project: Path, machine: Machine) -> Path:
    """What one brings to the other machine: the project as git has it, and the wheels."""
    left = shutil.ignore_patterns(".venv", ".tools", "locked.txt")
    return Path(shutil.copytree(project, machine.folder / "a project", ignore=left))


def refused(done: CompletedProcess[str]) -> list[str]:
    """What a failed run says at its end: exit code 5."""
    assert done.returncode == 5, done.stdout + done.stderr
    return done.stderr.splitlines()


@pytest.mark.some(1)
@pytest.mark.parametrize("filled", [*OF.values(), *PLAIN.values()], indirect=True)
def test_a_wheelhouse_filled_as_the_page_says_is_all_that_is_needed(
    filled: tuple[str, Path], machine: Machine
) -> None:
    manager, origin = filled
    project = carried(origin, machine)
    options = ["--wheelhouse", "a project/wheelhouse"]
    links = machine.tools.index.pytorch_url + "/cpu/torch/"  # a setting of the machine's own

    done = machine.bootstrap(project, *options, PIP_FIND_LINKS=links)

    assert done.returncode == 0, done.stdout + done.stderr
    installed = machine.tools.run(project / ".venv/bin/python", "-c", INSTALLED)
    for pair in ("'torch': '2.14.1+cpu'", "'my-torch-project': '0.1.0'", "'pytest': "):
        assert pair in installed
    assert "Nothing to do" in machine.bootstrap(project, *options).stdout

    if "plain" in origin.parent.name:  # to whom it lacks something, all wheelhouses are alike
        return
    # Another build of the same version, and an older version, are not what is asked for.
    others = {"uv": [("torch", "2.14.1+cu126"), ("numpy", "1.0")], "pip": []}  # pip: see below
    for lacking, other in others.get(manager, [("torch", "2.14.1+cu126")]):
        place = machine.folder / lacking
        shutil.copytree(project / "wheelhouse", place)
        wheel = next(place.glob(f"{lacking}-*"))
        wheel.unlink()
        make_wheel(place, lacking, other)

        what, todo, *steps = refused(
            machine.bootstrap(project, "--wheelhouse", str(place), "--recreate")
        )

        lack = f"{lacking}=={wheel.name.split('-')[1]} (it has {lacking} {other})"
        assert what == f"bootstrap: The wheelhouse {place} lacks {lack}: installing failed."
        assert todo == FILL
        said = [step.strip() for step in steps[:3]]
        assert "\n".join(said) in (project / PAGE).read_text(encoding="utf-8")


@pytest.mark.some(1)
@pytest.mark.parametrize(
    "filled", [OF["uv"], OF["poetry"], PLAIN["uv"]], indirect=True
)  # pip's file has no hashes
def test_hashes_of_the_lock_hold_for_a_wheelhouse(
    filled: tuple[str, Path], machine: Machine
) -> None:
    manager, origin = filled
    project = carried(origin, machine)
    wheel = next((project / "wheelhouse").glob("numpy-*"))
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("numpy_extra.py", "")

    what, *_ = refused(machine.bootstrap(project, "--wheelhouse", str(wheel.parent)))

    assert "has another numpy==" in what
    assert f"than {manager}.lock: its hash differs: installing failed." in what


@pytest.mark.some(1)
def test_offline_takes_what_the_manager_has_kept(
    filled: tuple[str, Path], tools: Tools, machine: Machine
) -> None:
    manager, origin = filled
    project = carried(origin, machine)
    kept = {name: tools.environment[name] for name in CACHES}

    done = machine.bootstrap(project, "--offline", **kept)

    if manager == "pip":
        what, *_ = refused(done)
        assert what.startswith("bootstrap: pip takes nothing from its cache without a network")
        return
    assert done.returncode == 0, done.stdout + done.stderr
    installed = tools.run(project / ".venv/bin/python", "-c", INSTALLED)
    assert "'torch': '2.14.1+cpu'" in installed

    if manager == "uv":
        what, *_ = refused(machine.bootstrap(project, "--offline", "--recreate"))
        assert what.startswith("bootstrap: The cache of uv lacks ")
    (project / f"{manager}.lock").unlink()
    what, todo, *_ = refused(machine.bootstrap(project, "--wheelhouse", "a project/wheelhouse"))
    lost = f"{manager}.lock is missing, and only a network can mend that."
    assert what == f"bootstrap: {lost}"
    assert todo.startswith(f"Type `{manager} lock` where there is one")


@pytest.mark.parametrize("filled", [OF["pip"]], indirect=True)
def test_pypi_s_own_build_is_not_mistaken_for_another(
    filled: tuple[str, Path], tools: Tools, machine: Machine
) -> None:
    project = locked(tools, machine.folder / "demo", "pip", "pypi")
    wheels = Path(shutil.copytree(filled[1] / "wheelhouse", machine.folder / "wheels"))
    make_wheel(wheels, "torch", "2.15.0+cpu")

    what, todo, step, *_ = refused(machine.bootstrap(project, "--wheelhouse", str(wheels)))

    assert todo == FILL
    assert step.strip() in (project / PAGE).read_text(encoding="utf-8")
    assert "lacks torch==2.15.0 (it has torch 2.14.1+cpu, 2.15.0+cpu): installing failed." in what


@pytest.mark.some(1)
def test_a_build_for_one_machine_alone_comes_from_a_wheelhouse_too(
    filled: tuple[str, Path], tools: Tools, machine: Machine
) -> None:
    _, origin = filled
    project, build = carried(origin, machine), ["--compute-platform", "cu130"]
    wheels = project / "wheelhouse"
    *_, first, second, third, _, _ = refused(
        machine.bootstrap(project, *build, "--wheelhouse", str(wheels))
    )
    # What it says is done on the other machine, which has the same build.
    if (origin / ".venv").is_symlink():  # which only lent its pip
        (origin / ".venv").unlink()
    tools.bootstrap(origin, *build)
    tools.run("sh", "-euc", f"{first}\n{second}\n{third}", cwd=origin)
    for wheel in (origin / "wheelhouse").iterdir():
        shutil.copy(wheel, wheels)

    done = machine.bootstrap(project, *build, "--wheelhouse", str(wheels))

    assert done.returncode == 0, done.stdout + done.stderr
    installed = tools.run(project / ".venv/bin/python", "-c", INSTALLED)
    assert "'torch': '2.14.1+cu130'" in installed


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_folder_without_wheels_is_no_wheelhouse(machine: Machine, name: str) -> None:
    project = render(machine.folder / "demo")
    (machine.folder / "empty").mkdir()

    done = machine.bootstrap(project, "--wheelhouse", name)

    assert done.returncode == 2
    reason = "is not a folder" if name == "nothing" else "has no wheels (*.whl)"
    assert (
        done.stderr == f"bootstrap: --wheelhouse {name} {reason}.\nName the folder that has them.\n"
    )
    assert not (project / ".tools").exists()
