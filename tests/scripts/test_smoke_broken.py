"""The smoke test without a working torch: it says what is wrong, and never shows a traceback."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands import bound_by_rights
from scripts.smoke_helpers import (
    HERE,
    MINOR,
    QUICK,
    TORCH,
    Project,
    load_package,
    version_of,
    wheels_of,
)

GOOD_START = "from .version import __version__\n"
NO_LIBRARY = "libcudnn.so.9: cannot open shared object file: No such file or directory"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A CPU project; the Python of these tests has no torch."""
    return Project(tmp_path / "project")


def test_a_missing_torch_is_to_be_installed(project: Project) -> None:
    outcome = project.run()
    assert outcome.code == 1
    assert outcome.ids("fail") == ["TORCH-FOUND"]
    assert outcome["TORCH-FOUND"]["remedy"] == "Type `sh bootstrap.sh`."
    assert outcome.ids("skip") == QUICK
    assert outcome.text.startswith("FAIL  torch not found, asked for CPU: TORCH-FOUND")
    assert outcome.text.endswith("-> Type `sh bootstrap.sh`.\n")
    (project.root / ".venv").symlink_to(sys.prefix)  # then another run would find all in place
    assert project.run()["TORCH-FOUND"]["remedy"] == "Type `sh bootstrap.sh --recreate`."


def test_another_python_than_that_of_the_venv_is_worth_a_warning(project: Project) -> None:
    assert project.run()["PY-VENV"]["remedy"] == "Type `sh bootstrap.sh`."
    (project.root / ".venv").mkdir()
    outcome = project.run()
    assert outcome.ids("warn") == ["PY-VENV"]
    for name in ("PY-VENV", "TORCH-FOUND"):
        assert outcome[name]["remedy"] == "Type `.venv/bin/python scripts/gpu_smoke_test.py`."
    (project.root / ".venv").rmdir()
    (project.root / ".venv").symlink_to(sys.prefix)
    assert project.run()["PY-VENV"]["status"] == "pass"


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("folder", ["scripts", "."])
def test_a_file_named_torch_hides_torch_from_its_neighbours(
    project: Project, folder: str, isolated: bool
) -> None:
    file = project.root.joinpath(folder, "torch.py")
    file.write_text("raise SystemExit(7)\n", encoding="utf-8")
    project.isolated = isolated
    outcome = project.run()
    assert outcome.code == 1
    assert outcome.ids("fail") == ["PY-SHADOW", "TORCH-FOUND"]  # since the tests have no torch
    assert f"{file} takes the place of torch" in outcome["PY-SHADOW"]["message"]
    assert outcome["PY-SHADOW"]["remedy"] == "Rename it."


def test_a_file_on_the_path_is_not_torch(project: Project) -> None:
    project.add_stub_torch("")
    (project.root / "site" / "torch").rename(project.root / "site" / "away")
    file = project.root / "site" / "torch.py"
    file.write_text("raise SystemExit(7)\n", encoding="utf-8")
    outcome = project.run()
    assert (outcome.code, outcome.ids("fail")) == (1, ["PY-SHADOW"])
    assert f"`import torch` finds {file} instead" in outcome["PY-SHADOW"]["message"]
    assert "not run, since PY-SHADOW failed" in outcome.text


def test_a_file_named_as_a_module_of_python_is_worth_a_warning_and_does_no_harm_here(
    project: Project,
) -> None:
    for name in ("random", "test", "numbers_of_mine"):
        (project.root / "scripts" / f"{name}.py").write_text("raise SystemExit(7)\n")
    project.add_stub_torch(GOOD_START)
    outcome = project.run()
    assert outcome.ids("warn") == ["PY-SHADOW"]
    assert "random.py takes the place of random" in outcome["PY-SHADOW"]["message"]
    assert outcome["TORCH-IMPORT"]["status"] == "pass"


def test_what_an_uninstall_left_over_is_not_torch(project: Project) -> None:
    project.env["PYTHONPATH"] = str(project.root / "site")
    (project.root / "site" / "torch" / "lib").mkdir(parents=True)
    outcome = project.run()
    assert outcome.ids("fail") == ["TORCH-FOUND"]
    assert "is incomplete" in outcome["TORCH-FOUND"]["message"]


@pytest.mark.parametrize("isolated", [True, False])
def test_it_runs_from_anywhere_in_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolated: bool
) -> None:
    project = Project(tmp_path / "my pr\u00f6ject \u4f60")
    project.isolated = isolated
    monkeypatch.chdir(tmp_path)
    assert project.run().ids("fail") == ["TORCH-FOUND"]
    monkeypatch.chdir(project.root / "scripts")
    done = subprocess.run(
        [sys.executable, "gpu_smoke_test.py", "--help"], env=project.env, capture_output=True
    )
    assert b"--device" in done.stdout


def test_a_missing_package_is_to_be_restored(project: Project) -> None:
    (project.root / "scripts" / "torch_starter" / "gpu_smoke" / "__init__.py").unlink()
    stderr = refuse(project)
    assert stderr == (
        "scripts/torch_starter is missing or incomplete.\n"
        "-> Type `git checkout HEAD -- scripts/torch_starter`.\n"
    )


@pytest.mark.parametrize(
    ("range_", "status"),
    [
        (f"=={MINOR}.*", "pass"),
        (f"=={MINOR}.*,!={MINOR}.99", "pass"),
        ("==3.9.*", "fail"),
        ("=={0}.{1}.*,!={0}.{1}.{2}".format(*sys.version_info[:3]), "fail"),
    ],
)
def test_the_python_must_be_in_the_projects_range(tmp_path: Path, range_: str, status: str) -> None:
    check = Project(tmp_path / "project", python=range_).run()["PY-VERSION"]
    assert check["status"] == status
    assert (range_ in check["message"]) == (status == "fail")


@pytest.mark.parametrize(
    ("installed", "status"), [("0.28.0+cpu", "pass"), ("0.27.1+cpu", "fail"), ("", "fail")]
)
def test_a_companion_must_be_the_partner(tmp_path: Path, installed: str, status: str) -> None:
    project = Project(tmp_path / "project", packages={"torchvision": "0.28.0+cpu"})
    project.add_stub_torch("")
    if installed:
        info = project.root / "site" / "torchvision.dist-info"
        info.mkdir()
        about = f"Metadata-Version: 2.1\nName: torchvision\nVersion: {installed}\n"
        (info / "METADATA").write_text(about, encoding="utf-8")
    check = project.run()["PKG-VISION"]
    assert check["status"] == status
    if status == "fail":
        assert check["message"] == (
            f"torch {TORCH}+cpu goes with torchvision 0.28.0+cpu, "
            f"but {installed or 'none'} is installed."
        )
        assert check["remedy"] == "Type `sh bootstrap.sh --recreate`."


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("code", "message", "remedy"),
    [
        (f"raise ImportError({NO_LIBRARY!r})", NO_LIBRARY, "--recreate"),
        ("import ctypes; ctypes.CDLL('libnowhere.so')", "libnowhere.so", "--recreate"),
        ("raise ImportError('x.so: undefined symbol: f')", "undefined symbol", "--recreate"),
        ("raise OSError('[WinError 126] c10.dll')", "c10.dll", "vc_redist"),
        ("raise OSError('[WinError 1114] c10.dll')", "c10.dll", "vc_redist"),
        ("raise OSError('[WinError 127] c10.dll')", "c10.dll", "out of PATH."),
        ("raise ValueError()", "ValueError: no message", "--recreate"),
    ],
)
def test_an_import_that_fails_is_explained(
    project: Project, code: str, message: str, remedy: str
) -> None:
    project.add_stub_torch(code)
    outcome = project.run()
    assert outcome.code == 1
    assert outcome.ids("fail") == ["TORCH-IMPORT"]
    assert message in outcome["TORCH-IMPORT"]["message"]
    assert remedy in outcome["TORCH-IMPORT"]["remedy"]


def test_a_library_that_is_missing_is_named_with_its_package(project: Project) -> None:
    project.add_stub_torch(f"raise ImportError({NO_LIBRARY!r})")
    info = project.root / "site" / "nvidia_cudnn_cu13-9.20.0.48.dist-info"
    info.mkdir()
    about = "Metadata-Version: 2.1\nName: nvidia-cudnn-cu13\nVersion: 9.20.0.48\n"
    (info / "METADATA").write_text(about, encoding="utf-8")
    (info / "RECORD").write_text("nvidia/cudnn/lib/libcudnn.so.9,,\n", encoding="utf-8")
    problem = project.run()["TORCH-IMPORT"]["message"]
    whose = "; it belongs to the package nvidia-cudnn-cu13 9.20.0.48, which is not whole: "
    assert problem.startswith(f"libcudnn.so.9 is missing{whose}")


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("code", "name", "last", "said"),
    [
        (
            "import os, sys; sys.stderr.write('OMP: Error #15\\n'); os.kill(os.getpid(), 11)",
            "LIB-OMP",
            "none",
            "crashed (Segmentation fault), saying `OMP: Error #15`",
        ),
        (
            GOOD_START + "import os\ndef zeros(*a, **k): os._exit(0)\nclass cpu: pass",
            "DEV-OPEN",
            "TORCH-IMPORT",
            "ended before its work was done (exit code 0)",
        ),
        (
            GOOD_START + "import time\ndef zeros(*a, **k): time.sleep(99)\nclass cpu: pass",
            "DEV-OPEN",
            "TORCH-IMPORT",
            "did not answer within 4 s",
        ),
    ],
)
def test_a_crash_or_a_hang_is_told_with_the_last_finished_check(
    project: Project, code: str, name: str, last: str, said: str
) -> None:
    project.add_stub_torch(code)
    outcome = project.run("--timeout", "4")
    assert outcome.code == 4
    assert outcome.ids("fail") == [name]
    sentence = f"PyTorch {said}; the last check that finished is {last}."
    assert outcome[name]["message"] == sentence
    assert outcome[name]["data"]["last_finished"] == last
    if "not answer" in said:
        assert "--timeout 16" in outcome[name]["remedy"]
    after = QUICK[QUICK.index("DEV-OPEN" if name == "DEV-OPEN" else "TORCH-IMPORT") + 1 :]
    assert outcome.ids("skip") == [one for one in after if one != name]


def test_noise_on_stdout_is_no_matter(project: Project) -> None:
    project.add_stub_torch("print('@smoke is not for you', end='')\n" + GOOD_START)
    outcome = project.run()
    assert outcome["TORCH-IMPORT"]["status"] == "pass"


def test_a_warning_counts_where_it_is_asked_to(project: Project) -> None:
    strict = project.run("--only", "PY-VENV", "--strict")
    assert (strict.code, strict.ids("warn")) == (5, ["PY-VENV"])
    assert project.run("--only", "PY-VENV").code == 0
    assert project.run("--only", "PY-VERSION", "--strict").code == 0
    assert project.run("--only", "TORCH-FOUND", "--strict").code == 1


def test_the_list_has_every_check_with_what_it_asks(project: Project) -> None:
    done = subprocess.run(project.command("--list"), env=project.env, capture_output=True)
    rows = [row.split(maxsplit=2) for row in done.stdout.decode("ascii").splitlines()]
    assert len({name for name, _, _ in rows}) == len(rows) >= 30
    assert {level for _, level, _ in rows} == {"quick", "full"}
    assert [name for name, _, _ in rows if name in QUICK] == QUICK


def refuse(project: Project, *arguments: str) -> str:
    """Run a command line that is refused before any check."""
    done = subprocess.run(
        project.command(*arguments), env=project.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.isascii()
    return done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "FileNotFoundError"),
        ("<<<<<<< before updating\n", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError: 'schema'"),
        ('{"schema": 2, "requires_python": ">=3.11"}', "'>=3.11' is not understood"),
        ('{"schema": 2, "requires_python": "==3.11.*", "builds": []}', "KeyError"),
        ("\u00e9".encode("latin-1"), "UnicodeDecodeError"),
    ],
)
def test_a_broken_data_file_is_to_be_restored(
    project: Project, content: str | bytes | None, said: str
) -> None:
    file = project.root / "scripts" / "torch_builds.json"
    file.unlink()
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    stderr = refuse(project)
    assert stderr.startswith(f"scripts/torch_builds.json cannot be used ({said}") or said in stderr
    assert stderr.endswith("-> Type `git checkout HEAD -- scripts/torch_builds.json`.\n")


@pytest.mark.parametrize("schema", [1, 3])
def test_a_data_file_of_another_version_is_not_to_be_restored(
    project: Project, schema: int
) -> None:
    file = project.root / "scripts" / "torch_builds.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"schema": 2', f'"schema": {schema}'))
    stderr = refuse(project)
    assert f"its schema is {schema}, not 2 as in these scripts" in stderr
    assert "-> Type `copier update --trust --defaults`, which brings both" in stderr
    assert "git checkout" not in stderr


def test_wrong_arguments_are_refused(project: Project) -> None:
    assert "invalid choice: 'tpu'" in refuse(project, "--device", "tpu")
    assert "there is no check 'NUM-PI', see --list" in refuse(project, "--only", "NUM-PI")
    assert "invalid choice: 'slow'" in refuse(project, "--level", "slow")
    assert "--timeout must be more than 0" in refuse(project, "--timeout", "0")
    assert "no/such/x.json is a folder, or is in none" in refuse(
        project, "--json", "no/such/x.json"
    )
    assert "scripts is a folder" in refuse(project, "--report", str(project.root / "scripts"))
    assert "a FILE of its own" in refuse(project, "--json", "--markdown")
    assert "a FILE of its own" in refuse(project, "--json", "x", "--report", "x")


@pytest.mark.slow
def test_a_platform_without_wheels_leads_to_a_build_that_has_some(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", "xpu")
    file = project.root / "scripts" / "torch_builds.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    platforms = document["builds"]["xpu"]["platforms"]
    platforms["solaris-sparc"] = platforms.pop(HERE)
    project.add_stub_torch("")
    wheels = wheels_of("cpu") | {"packages": {"torch": version_of("cpu")}}
    cpu = {"label": "CPU", "platforms": {HERE: wheels}}
    other = {HERE: {"cpu": {"release": TORCH, **wheels_of("cpu")}}}
    move = (
        "or type `copier update --trust --defaults --vcs-ref=:current: --data compute_platform=cpu`"
    )
    for manager, builds, alternatives, remedy in (
        ("uv", {}, other, move),
        ("uv", {"cpu": cpu}, other, move),  # uv.lock has nothing for this system
        ("pip", {"cpu": cpu}, {}, "or type `sh bootstrap.sh --compute-platform cpu`, or for the"),
        ("uv", {}, {}, "Use a machine that torch_builds.json names."),
    ):
        document["package_manager"] = manager
        document["builds"] = {"xpu": document["builds"]["xpu"], **builds}
        document["alternatives"] = alternatives
        file.write_text(json.dumps(document), encoding="utf-8")
        outcome = project.run()
        assert outcome.code == 3
        assert "XPU has no torch wheels for" in outcome["TORCH-BUILD"]["message"]
        assert remedy in outcome["TORCH-BUILD"]["remedy"]


def test_a_folder_that_may_not_be_read_and_a_folder_that_is_gone_are_no_failure(
    project: Project, tmp_path: Path
) -> None:
    project.add_stub_torch("", "1.0+cpu")
    (project.root / "pyproject.toml").write_text("# d\u00e9j\u00e0", encoding="latin-1")
    private, gone = project.root / "private", tmp_path / "gone"
    for folder in (private, gone):
        folder.mkdir()
    private.chmod(0)
    env = {**project.env, "LD_LIBRARY_PATH": str(private / "lib"), "CUDA_HOME": str(private / "x")}
    checks = ["--only", "PY-SHADOW", "--only", "ENV-VARS", "--only", "TORCH-BUILD"]
    script = ["/bin/sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh"]
    command = [*bound_by_rights(), *script, *project.command(*checks, "--device", "cuda")]
    done = subprocess.run(command, cwd=gone, env=env, capture_output=True, encoding="ascii")
    private.chmod(0o700)
    assert "The check ended in" not in done.stdout
    assert "Traceback" not in done.stderr
    assert "CUDA_HOME" in done.stdout
    assert "Its commands are for the folder" in done.stdout


def test_a_child_that_says_much_before_it_dies_is_told_at_once(project: Project) -> None:
    project.add_stub_torch("import os, sys\nsys.stderr.write('A' * 1_000_000)\nos.abort()\n")
    begin = time.monotonic()
    failed = project.run("--only", "TORCH-IMPORT")["TORCH-IMPORT"]
    assert time.monotonic() - begin < 30
    assert failed["message"].startswith("PyTorch crashed (Aborted), saying `AAAA")
    assert len(failed["message"]) < 2_000


@pytest.mark.parametrize("begin", ["", "undefined symbol: PyX "])
def test_an_import_error_that_is_endless_is_told(project: Project, begin: str) -> None:
    project.add_stub_torch(f"raise ImportError({begin!r} + '/A.so' * 200_000)\n")
    failed = project.run("--only", "TORCH-IMPORT", "--timeout", "60")["TORCH-IMPORT"]
    assert f"`import torch` ended in ImportError: {begin}/A.so/A.so" in failed["message"]


def test_a_pipe_in_place_of_a_library_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "libx.so"
    os.mkfifo(pipe)
    assert load_package("elf").open_library(pipe) is None
    assert load_package("metadata").text_of(pipe) == ""
    dlls = load_package("dlls")
    with pytest.raises(dlls.NoDllError):
        dlls.imports(pipe)
