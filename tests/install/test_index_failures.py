"""What the bootstrap says when the index fails, and that the next run repairs it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from bootstrap import SMOKE_TEST, Bench

from install.begun import begun
from install.checkouts import BOOTSTRAPS, MANAGERS, installed, rendered
from install.failing_servers import garbage, inspecting_proxy, login_proxy, make_certificate
from install.managers import Tools, own_caches
from install.real_torch import needs_real_torch, real_index
from render.projects import render

pytestmark = [*BOOTSTRAPS, pytest.mark.slow]
# So that nobody waits for the managers' own patience, which is over two minutes in pip's case.
IMPATIENT = {"PIP_RETRIES": "1", "UV_HTTP_RETRIES": "0", "POETRY_REQUESTS_MAX_RETRIES": "0"}
# The setting that the advice names for each manager.
SETTING = {"uv": "SSL_CERT_FILE", "poetry": "REQUESTS_CA_BUNDLE", "pip": "PIP_CERT"}
SEED = 20261121
Record = Callable[[str, object], None]


def bootstrap(tools: Tools, project: Path, **env: str) -> CompletedProcess[str]:
    return tools.try_bootstrap(project, env={**IMPATIENT, **env})


def waiting(project: Path, manager: str) -> Path:
    """The project, where the next that is to come is from the index: with pip in .venv for pip."""
    return begun(project) if manager == "pip" else project


def told(done: CompletedProcess[str]) -> list[str]:
    """What a failed run says at its end: exit code 5, and no traceback of anybody."""
    assert done.returncode == 5, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.startswith("bootstrap: ")
    return done.stderr.splitlines()


def repaired(tools: Tools, project: Path, **env: str) -> bool:
    """Whether the next run installs torch."""
    done = bootstrap(tools, project, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    return installed(tools, project)["torch"].endswith("+cpu")


def point_at(project: Path, old: str, new: str) -> None:
    """Move a project to another index, as a `copier update` does."""
    for file in project.rglob("*"):
        if file.suffix in (".toml", ".txt", ".json") and ".venv" not in file.parts:
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.some(1)
@pytest.mark.parametrize("manager", MANAGERS)
def test_an_index_that_refuses_is_named_with_its_answer(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    url = tools.index.pytorch_url
    project = waiting(rendered(tools, tmp_path / "demo", manager), manager)

    for status, said in (403, "answered 403 Forbidden"), (500, "answered 500 Internal Server"):
        with tools.index.failing("/whl/", status):
            what, todo, *more = told(bootstrap(tools, project))

        assert what.startswith(f"bootstrap: {url}/cpu {said}")
        assert todo == "To go on with PyPI's own wheels, on this machine alone:"
        assert more[0] == "  sh bootstrap.sh --fallback pypi"
        assert any("pytorch_index_url=https://mirror.example/whl" in line for line in more)
        assert any(
            "Check the network and the proxy, certificate and index" in line for line in more
        )
    assert repaired(tools, project)


@pytest.mark.some(1)
@pytest.mark.parametrize("manager", MANAGERS)
def test_a_version_that_nobody_has_is_not_laid_to_the_index(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    project = waiting(rendered(tools, tmp_path / "demo", manager), manager)
    pyproject = project / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    pyproject.write_text(text.replace('"ruff>=', '"ruff>=99'), encoding="utf-8")

    what, todo, *_ = told(bootstrap(tools, project))

    if manager != "pip":  # which says the same of an index that does not answer
        assert what.startswith("bootstrap: This failed with exit code 1: locking.")
    assert "Poetry says the same where PyPI did not answer" in todo or manager != "poetry"
    pyproject.write_text(text, encoding="utf-8")
    assert repaired(tools, project)


@pytest.mark.parametrize("manager", ["uv", "pip"])  # Poetry does not let it be seen
def test_another_index_that_fails_is_not_laid_to_this_one(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    project = waiting(rendered(tools, tmp_path / "demo", manager), manager)

    with tools.index.failing("/simple/", 500), tools.index.failing("/pypi/", 500):
        what, *_ = told(bootstrap(tools, project, PIP_NO_CACHE_DIR="1", UV_NO_CACHE="1"))

    assert what.startswith("bootstrap: A package index could not be reached, or lacks a package: ")
    assert repaired(tools, project)


@pytest.mark.parametrize("manager", MANAGERS)
def test_something_else_in_the_index_s_place_is_told(
    tools: Tools, tmp_path: Path, manager: str
) -> None:
    with garbage() as something:
        nobody = "http://127.0.0.1:9"
        url = f"{something}/whl"
        project = render(tmp_path / "demo", package_manager=manager, pytorch_index_url=url)
        waiting(project, manager)
        what, todo, *_ = told(bootstrap(tools, project))
    assert what.startswith(f"bootstrap: {url}/cpu answered, but not with a page that lists torch-")
    assert todo == "To go on with PyPI's own wheels, on this machine alone:"

    point_at(project, something, nobody)
    what, todo, *_ = told(bootstrap(tools, project))
    assert what.startswith(f"bootstrap: {nobody}/whl/cpu cannot be")
    assert todo == "To go on with PyPI's own wheels, on this machine alone:"

    point_at(project, f"{nobody}/whl", tools.index.pytorch_url)
    assert repaired(tools, project)


@pytest.fixture(scope="module")
def certificate(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, tuple[Path, Path]]:
    """A certificate authority that no system knows, and a server's certificate of it."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.mark.some(2)
@pytest.mark.parametrize("manager", MANAGERS)
def test_tls_inspection_is_told_and_the_advice_works(
    tools: Tools, tmp_path: Path, manager: str, certificate: tuple[Path, tuple[Path, Path]]
) -> None:
    authority, server = certificate
    with inspecting_proxy(tools.index.url, server) as url:
        project = render(tmp_path / "demo", package_manager=manager, pytorch_index_url=f"{url}/whl")
        waiting(project, manager)
        what, todo, setting, *_ = told(bootstrap(tools, project))

        assert what.startswith("bootstrap: The certificate of a package index is not trusted: ")
        assert todo.startswith("If this network inspects TLS, name its certificate (a .pem file)")
        assert setting == f"  export {SETTING[manager]}=/path/to/ca.pem"
        assert repaired(tools, project, **{SETTING[manager]: str(authority)})


def test_a_proxy_that_wants_a_login_is_told_and_the_advice_works(
    tools: Tools, tmp_path: Path
) -> None:
    project = rendered(tools, tmp_path / "demo")
    none = {"NO_PROXY": "", "UV_NO_CACHE": "1"}
    with login_proxy() as proxy:
        what, todo, setting, *_ = told(
            bootstrap(tools, project, **none, http_proxy=f"http://{proxy}")
        )
        assert what.startswith("bootstrap: The proxy asks for a login: ")
        assert todo.startswith("Give it your name and password")
        assert setting == "  export HTTPS_PROXY=http://user:password@proxy.example:8080"
        login = f"http://me:secret@{proxy}"
        with tools.index.recorded() as requests:
            assert repaired(tools, project, **none, http_proxy=login)
        assert requests


def runs_while_it_fails_at_random(tools: Tools, project: Path, **caches: str) -> int:
    """How many runs it takes until one ends well; the index fails less and less."""
    codes: list[int] = []
    bad_luck = Counter[str]()
    while 0 not in codes:
        assert len(codes) < 20, bad_luck
        with tools.index.failing_at_random(SEED + len(codes), 0.2 * 0.6 ** len(codes)) as mishaps:
            done = bootstrap(tools, project, **caches)
        bad_luck += mishaps
        codes.append(done.returncode)
        if done.returncode:
            told(done)
            stamp = project / ".venv/bootstrap-stamp.json"
            assert not stamp.exists() or "inputs" not in stamp.read_text(encoding="utf-8")
    print(f"seed {SEED}: {dict(bad_luck)}, {len(codes)} runs")
    assert bad_luck
    assert len(codes) > 1
    assert repaired(tools, project, **caches)
    assert "Nothing to do" in bootstrap(tools, project, **caches).stdout
    return len(codes)


@pytest.mark.parametrize("manager", ["poetry"])  # uv: below; pip, as slow as it is: by hand
def test_an_index_that_fails_at_random_never_leaves_a_wrong_or_half_build(
    tools: Tools, tmp_path: Path, record_property: Record, manager: str
) -> None:
    project = rendered(tools, tmp_path / "demo", manager)
    caches = own_caches(tmp_path)
    runs = runs_while_it_fails_at_random(tools, project, **caches)
    record_property(f"runs of a {manager} bootstrap until a failing index let it end", runs)


@pytest.mark.xdist_group("real install")
@needs_real_torch
def test_with_the_real_torch_it_ends_in_a_passing_smoke_test(
    tmp_path: Path, record_property: Record
) -> None:
    with real_index() as index:
        bench = Bench("uv", index, tmp_path)
        caches = own_caches(tmp_path)
        runs = runs_while_it_fails_at_random(bench.tools, bench.project, **caches)
        bench.tools.run(*SMOKE_TEST, cwd=bench.project)
    record_property("runs of a uv bootstrap until a failing index let it end", runs)


def test_a_damaged_file_in_poetry_s_cache_does_not_stay_in_the_way(
    tools: Tools, tmp_path: Path
) -> None:
    project = rendered(tools, tmp_path / "demo", "poetry")
    caches = {"POETRY_CACHE_DIR": str(tmp_path / "cache")}
    assert repaired(tools, project, **caches)
    wheels = list((tmp_path / "cache").rglob("torch-*.whl"))
    assert wheels
    for wheel in wheels:
        wheel.write_bytes(b"<a href='log in'>")
    shutil.rmtree(project / ".venv")

    done = bootstrap(tools, project, **caches)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "a download is spoilt: once more, with an empty cache" in done.stdout
    assert not (project / ".tools" / "cache").exists()
