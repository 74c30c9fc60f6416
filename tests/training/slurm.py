"""A Slurm with two nodes on this machine, which nothing else notices: Debian's, not installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from install.real_torch import alone
from render.projects import ROOT

FOLDER = ROOT / ".cache" / "slurm"
PACKAGES = (
    "libhwloc15 liblua5.1-0 libmunge2 munge slurm-client slurm-wlm-basic-plugins slurmctld slurmd"
)
HOSTS = "127.0.0.1 localhost head n1 n2\n"
CONFIGURATION = """
ClusterName=test
SlurmctldHost=head
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/socket
PluginDir={plugins}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/%n.log
SlurmdParameters=config_overrides
MpiDefault=none
SchedulerParameters=sched_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n[1-2] NodeHostname=head NodeAddr=127.0.0.1 Port=[17001-17002] CPUs=4 RealMemory=1000
PartitionName=low Nodes=n[1-2] Default=YES State=UP PriorityTier=1 GraceTime=60
PartitionName=high Nodes=n[1-2] State=UP PriorityTier=10 PreemptMode=OFF
"""
START = """
hostname head; mount --bind "$1/hosts" /etc/hosts; ip link set lo up
ip link add eth0 type veth peer name eth1 # no name is looked up without an interface but lo
ip address add 10.77.0.1/24 dev eth0; ip link set eth0 up; ip link set eth1 up
munged --force --socket="$1/socket" --key-file="$1/key" --pid-file="$1/munged.pid" \\
    --log-file="$1/munged.log" --seed-file="$1/seed"
slurmctld-wlm -c
for node in n1 n2; do slurmd-wlm -N "$node" -d "$2/usr/sbin/slurmstepd-wlm"; done
echo; exec sleep 900
"""


def unpacked() -> bool:
    """Unpack Slurm's files; False where there are none that run here."""
    with alone("slurm"):
        if not (FOLDER / "usr").exists():
            (FOLDER / "packages").mkdir(parents=True, exist_ok=True)
            apt = shutil.which("apt-get")
            command = [apt or "false", "download", *PACKAGES.split()]
            subprocess.run(command, cwd=FOLDER / "packages", capture_output=True)
            for file in (FOLDER / "packages").iterdir():
                subprocess.run(["dpkg", "-x", file, FOLDER], check=True)
    controller = FOLDER / "usr" / "sbin" / "slurmctld-wlm"
    if not controller.exists():
        return False
    command = [str(controller), "-V"]
    return subprocess.run(command, env=environment(), capture_output=True).returncode == 0


def environment() -> dict[str, str]:
    """The variables with which the unpacked programs run."""
    libraries = next(FOLDER.glob("usr/lib/*/slurm-wlm"), FOLDER)
    path = f"{FOLDER}/usr/bin:{FOLDER}/usr/sbin:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "LD_LIBRARY_PATH": f"{libraries}:{libraries.parent}"}


@dataclass
class Slurm:
    """A cluster, as long as its first process lives."""

    folder: Path
    first: subprocess.Popen[str]

    def __call__(self, *command: str, cwd: Path | None = None, **env: str) -> str:
        """What a command of Slurm's says."""
        inside = ["nsenter", "-t", str(self.first.pid), "-n", "-u", "-m", f"--wd={cwd or '/'}"]
        variables = {**environment(), "SLURM_CONF": f"{self.folder}/slurm.conf", **env}
        done = subprocess.run([*inside, *command], env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job."""
        return dict(re.findall(r"(\w+)=(\S+)", self("scontrol", "show", "job", number)))


def start(folder: Path) -> Slurm:
    """Start its daemons in namespaces of their own, where they end with the first process."""
    [plugins] = FOLDER.glob("usr/lib/*/slurm-wlm")
    text = CONFIGURATION.format(folder=folder, plugins=plugins)
    for name, content in {"slurm.conf": text, "hosts": HOSTS, "key": "k" * 1024}.items():
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "key").chmod(0o600)
    (folder / "state").mkdir()
    unshared = ["unshare", "-num", "--pid", "--fork", "--kill-child", "--mount-proc"]
    first = subprocess.Popen(
        [*unshared, "sh", "-ec", START, "sh", str(folder), str(FOLDER)],
        env={**environment(), "SLURM_CONF": f"{folder}/slurm.conf"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout
    assert first.stdout.readline() == "\n"
    return Slurm(folder, first)
