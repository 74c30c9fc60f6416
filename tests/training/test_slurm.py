"""scripts/train.sbatch, under a real Slurm."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from training import slurm
from training.warm import until

pytestmark = pytest.mark.slow
# Of this machine instead of the script's: no GPUs, and few processors.
SMALL = ("--gpus-per-node=0", "--cpus-per-task=1")


@pytest.fixture(scope="module")
def cluster() -> Iterator[slurm.Slurm]:
    """A Slurm of two nodes."""
    if subprocess.run(["unshare", "-num", "true"], capture_output=True).returncode != 0:
        pytest.skip("needs root for namespaces")
    if not slurm.unpacked():
        pytest.skip("needs Debian's packages of Slurm")
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # a socket's path has to be short
    folder.chmod(0o755)
    running = slurm.start(folder)
    until(lambda: running("sinfo", "--noheader", "--format=%D %t").split()[:2] == ["2", "idle"])
    yield running
    running.first.kill()
    running.first.wait()
    shutil.rmtree(folder)


@pytest.fixture
def here(project: Path, python: Path, tmp_path: Path) -> Path:
    """A copy of the project with an environment, in a folder whose name has a space."""
    copied = Path(shutil.copytree(project, tmp_path / "my project"))
    (copied / ".venv").symlink_to(python.parents[1])
    return copied


def submit(cluster: slurm.Slurm, here: Path, *arguments: str, nodes: int = 2) -> str:
    """Submit the script; the job's number. It says what it says in a file of that name."""
    options = ("--parsable", "--output=%j.out", f"--nodes={nodes}", *SMALL)
    variables = {"PYTHONPATH": str(here / "src"), "OMP_NUM_THREADS": "1"}
    command = ("sbatch", *options, "scripts/train.sbatch", *arguments)
    return cluster(*command, cwd=here, **variables).strip()


def said(here: Path, number: str) -> str:
    """What a job said until now."""
    file = here / f"{number}.out"
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def test_a_shell_checker_finds_nothing(project: Path) -> None:
    checker = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([checker, project / "scripts" / "train.sbatch"], capture_output=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.some(0)
def test_slurm_understands_the_script(cluster: slurm.Slurm, here: Path) -> None:
    command = ("sbatch", "--test-only", *SMALL, "scripts/train.sbatch")
    assert "on nodes n[1-2] in partition low" in cluster(*command, cwd=here)


@pytest.mark.some(0)
def test_a_preempted_job_is_saved_and_goes_on_and_an_error_ends_a_job(
    cluster: slurm.Slurm, here: Path
) -> None:
    """Slurm sends TERM to the steps of a job that has to go, as before its time is over."""
    folder = ("--folder", "runs/a b")
    goes_on = submit(cluster, here, *folder, "--epochs", "12", "--save-every", "1000")
    until(lambda: "step 30/276" in said(here, goes_on), 150)
    urgent = ("sbatch", "--partition=high", "--nodes=2", "--cpus-per-task=4", "--output=/dev/null")
    cluster(*urgent, "--ntasks-per-node=1", "--wrap=true")
    until(lambda: cluster.job(goes_on)["JobState"] == "PENDING")
    fails = submit(cluster, here, "--batch", "100000", nodes=1)

    def goes_on_now() -> bool:
        """It would wait for two minutes."""
        waits = cluster.job(goes_on)["JobState"] == "PENDING"
        if waits:
            with suppress(AssertionError):  # it has begun meanwhile
                cluster("scontrol", "update", f"JobId={goes_on}", "StartTime=now")
        return not waits

    until(goes_on_now)
    until(lambda: cluster.job(goes_on)["JobState"] == "COMPLETED", 90)
    assert cluster.job(goes_on)["Restarts"] == "1"
    text = said(here, goes_on)
    assert text.count("Told to stop: step") == text.count("Step 0 of 276, 2 x cpu") == 1
    assert "Done: runs/a b/report.png" in text
    assert not (here / "runs" / "a b" / "again").exists()

    until(lambda: cluster.job(fails)["JobState"] == "FAILED")
    assert cluster.job(fails)["ExitCode"] == "1:0"
    assert cluster.job(fails)["Restarts"] == "0"
    assert "Take a smaller --batch" in said(here, fails)
