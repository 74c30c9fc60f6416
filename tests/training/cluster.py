"""Two machines on this one: each has its own network, its own name and its own /etc/hosts."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from training.runs import Program

ENTER = (
    """hostname "$1"; mount --bind "$2" /etc/hosts; mount -t tmpfs own /srv; echo; exec sleep 900"""
)
NETWORK = """
ip link add eth0 netns {0} type veth peer name eth0 netns {1}
for one in {0}:10.77.0.1 {1}:10.77.0.2; do
    nsenter -t "${{one%%:*}}" -n sh -ec "ip address add ${{one#*:}}/24 dev eth0
        ip link set lo up; ip link set eth0 up"
done
"""
HOSTS = "127.0.0.1 localhost\n127.0.1.1 {}\n10.77.0.1 one\n10.77.0.2 two\n"


@dataclass
class Machine:
    """One of them, as long as its first process lives; /srv is its own, all else is shared."""

    first: subprocess.Popen[str]

    def inside(self, *command: str) -> list[str]:
        """A command line for this machine."""
        return ["nsenter", "-t", str(self.first.pid), "-n", "-u", "-m", *command]

    def start(
        self, program: Program, *arguments: str, torchrun: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        """Start the program as a project's README says for each of two machines."""
        two = ("--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=1")
        launcher = ["torch.distributed.run", *two, "--rdzv-endpoint=one:29500", *torchrun, "-m"]
        command = program.command(*arguments)
        command[2:2] = launcher
        return program.start(self.inside(*command))

    def end(self) -> None:
        """Let it vanish."""
        self.first.kill()
        self.first.wait()

    def link(self, state: str) -> None:
        """Plug the cable in (up), or out (down)."""
        subprocess.run(self.inside("ip", "link", "set", "eth0", state), check=True)


def machine(folder: Path, name: str, hosts: str = HOSTS) -> Machine:
    """A machine without a network; its name leads to an address of its own, if to any."""
    file = folder / f"hosts-{name}"
    file.write_text(hosts.format(name), encoding="utf-8")
    command = ["unshare", "-num", "sh", "-ec", ENTER, "sh", name, str(file)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert first.stdout
    assert first.stdout.readline() == "\n"
    return Machine(first)


def connect(one: Machine, two: Machine) -> None:
    """Lay a cable between two."""
    script = NETWORK.format(one.first.pid, two.first.pid)
    subprocess.run(["sh", "-ec", script], check=True)
