"""What all tests share: the matrix, the template to render, and nobody's personal settings."""

from __future__ import annotations

import machine_settings

machine_settings.shield()  # in every process of a test run, and before anybody reads a setting

import shutil
import subprocess
from collections import Counter
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path

import pytest
from copier._main import Worker  # which has no public name

import ran
from matrix.doctored import frozen
from render.projects import DONE, ROOT, release, template_copy
from torch_template.matrix.model import Matrix

MANY = 4  # slow cases of one test

pytest.register_assert_rewrite("render.agreement", "update.versions")


def pytest_configure(config: pytest.Config) -> None:
    """A failing test says first what it ran."""
    config.pluginmanager.register(ran)


@cache
def keeps_file_modes(project: Path, is_repository: bool) -> bool:
    """Whether git sees a file's executable bit on disk, as it does everywhere but on Windows."""
    if not is_repository:
        return True
    command = ["git", "config", "--type=bool", "--get", "core.fileMode"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    return done.stdout.strip() != "false"


@pytest.fixture(scope="session", autouse=True)
def git_is_asked_once_for_file_modes() -> Iterator[None]:
    """Copier runs git to ask for this before each file: a seventh of an update's time."""
    ask = Worker._sync_git_index_executable_bit

    def ask_where_it_matters(worker: Worker, path: Path, mode: int) -> None:
        project = worker.subproject.local_abspath
        if not keeps_file_modes(project, (project / ".git").exists()):
            ask(worker, path, mode)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "_sync_git_index_executable_bit", ask_where_it_matters)
        yield


@pytest.fixture(scope="session", autouse=True)
def what_other_pytests_leave_is_elsewhere(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """The fourth in one place removes what the first has left: of ours that is gigabytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DEBUG_TEMPROOT", str(tmp_path_factory.mktemp("pytests")))
        yield


@pytest.fixture(scope="session")
def matrix() -> Matrix:
    """The frozen matrix, which the copy of the template has."""
    return frozen()


@pytest.fixture(scope="session")
def template() -> Path:
    """A copy of the template with the frozen matrix and no history, which Copier need not clone."""
    return template_copy()


@pytest.fixture(scope="session")
def git_template(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Path:
    """The template as a git repository with one tag, v1.0.0, as its users clone it."""
    repository = tmp_path_factory.mktemp("git-template") / "torch-starter"
    shutil.copytree(template, repository)
    release(repository, "v1.0.0")
    return repository


def pytest_addoption(parser: pytest.Parser) -> None:
    """--every-case: nothing is left to chance, in hours."""
    parser.addoption("--every-case", action="store_true", help="also what `some` leaves out")


def sampled(items: list[pytest.Item]) -> list[pytest.Item]:
    """The cases that `some` keeps of each test, as far from each other as can be."""
    tests = [item.nodeid.partition("[")[0] for item in items]
    total, seen = Counter(tests), Counter[str]()
    kept = []
    for item, test in zip(items, tests, strict=True):
        some = item.get_closest_marker("some")
        number, count = seen[test], min(some.args[0], total[test]) if some else total[test]
        seen[test] += 1
        if number * count // total[test] != (number - 1) * count // total[test]:
            kept.append(item)
    return kept


def thinned(items: list[pytest.Item]) -> list[pytest.Item]:
    """Every fourth of a test's slow cases, where there are many and it does not say how many."""
    slow_ones = [
        item.get_closest_marker("slow") is not None and item.get_closest_marker("some") is None
        for item in items
    ]
    tests = [item.nodeid.partition("[")[0] for item in items]
    total = Counter(test for test, slow in zip(tests, slow_ones, strict=True) if slow)
    seen: Counter[str] = Counter()
    kept = []
    for item, test, slow in zip(items, tests, slow_ones, strict=True):
        seen[test] += slow
        if not slow or total[test] <= MANY or seen[test] % 4 == 1:
            kept.append(item)
    return kept


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """All but the first few cases of some tests are slow, too: this must be known before -m counts.

    The long ones first, so that none is left alone at the end: what one process has to do alone,
    such as all that needs Wine, then the slow ones.
    """
    # One that is asked for by its name is wanted.
    every = config.option.every_case or any("[" in name for name in config.args)
    all_items = items[:]
    items[:] = items if every else sampled(items)
    seen: Counter[str] = Counter()
    for item in items:
        test = item.nodeid.partition("[")[0]
        seen[test] += 1
        few = item.get_closest_marker("few")
        if few and seen[test] > few.args[0]:
            item.add_marker("slow")
    items[:] = items if every else thinned(items)
    config.hook.pytest_deselected(items=[*set(all_items).difference(items)])
    order = ("xdist_group", "slow")
    items.sort(key=lambda item: [not item.get_closest_marker(name) for name in order])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Note in a test's report how many projects it made and updated."""
    before = DONE.copy()
    yield
    item.user_properties += list((DONE - before).items())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the sums of these, and what faults the smoke test has named, from all processes."""
    total: Counter[str] = Counter()
    diagnoses = []
    for report in terminalreporter.getreports("passed"):
        noted = dict(report.user_properties)
        if "diagnosis" in noted:
            diagnoses.append(str(noted.pop("diagnosis")))
        total.update({name: int(str(times)) for name, times in noted.items()})
    if diagnoses:
        terminalreporter.section(f"injected -> diagnosed: {len(diagnoses)}")
        diagnoses.sort(key=lambda one: one.rpartition("-> ")[2])
        terminalreporter.write_line("\n".join(diagnoses))
    if (ROOT / ".cache" / "wheels" / "is-a-build-for-cuda.txt").exists():
        terminalreporter.write_line(
            "The real torch of these tests is PyPI's build for CUDA, under the name of the CPU's,"
            " which could not be had."
        )
    if total:
        terminalreporter.write_line(", ".join(f"{n} {name}" for name, n in total.items()))
