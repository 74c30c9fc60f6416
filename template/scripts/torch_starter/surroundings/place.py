"""What kind of machine this is: each kind by several signs, since none of them is always there."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Kinds by their signs. A word in capitals is a variable that is set, `NAME=text` one whose value
# begins so; a path is there, `/path:text` is a file that has the text somewhere. A kind that begins
# with another's name and a dot is one of those too. Sources: docs/places.md.
SIGNS = {
    "container.kubernetes": "KUBERNETES_SERVICE_HOST /var/run/secrets/kubernetes.io "
    "/proc/1/cgroup:kubepods /etc/hosts:Kubernetes-managed",
    "container.docker": "/.dockerenv /proc/1/cgroup:/docker",
    "container.podman": "/run/.containerenv container=podman /proc/1/cgroup:libpod",
    "container.apptainer": "APPTAINER_CONTAINER SINGULARITY_CONTAINER /.singularity.d",
    "wsl": "/dev/dxg WSL_DISTRO_NAME /proc/version:icrosoft /usr/lib/wsl/lib",
    "jetson": "/etc/nv_tegra_release /proc/device-tree/compatible:nvidia,tegra",
    "job.slurm": "SLURM_JOB_ID",
    "ci.github": "GITHUB_ACTIONS=true",
}


@dataclass(frozen=True)
class Place:
    """The kinds of machine that this is, and the signs by which each was told."""

    signs: Mapping[str, list[str]]  # by kind, e.g. {"container.docker": ["/.dockerenv"]}

    @property
    def names(self) -> frozenset[str]:
        """All that the place can be called: {"container", "docker", "linux", "root"}, say."""
        parts = {part for kind in self.signs for part in kind.split(".")}
        user = "root" if getattr(os, "geteuid", lambda: 1)() == 0 else "user"
        return frozenset({*parts, user, platform.system().lower().replace("darwin", "macos")})

    def is_a(self, name: str) -> bool:
        """Whether this is a place of that name."""
        return name in self.names


def shows(sign: str, env: Mapping[str, str]) -> bool:
    """Whether a sign of SIGNS is there."""
    name, _, text = sign.partition("=")
    if re.fullmatch(r"\w+", name):
        return bool(env.get(name)) and env[name].startswith(text)
    path, _, text = sign.partition(":")
    try:
        return text.encode() in Path(path).read_bytes() if text else Path(path).exists()
    except OSError:  # nobody may read it, or it is not there
        return False


def find_place(env: Mapping[str, str]) -> Place:
    """Look for all signs, among these variables and on this machine."""
    found = {}
    for kind, row in SIGNS.items():
        signs = [one for one in row.split() if sys.platform == "linux" or "/" not in one]
        if signs := [one for one in signs if shows(one, env)]:
            found[kind] = signs
    return Place(found)


@cache
def here() -> Place:
    """The place where this runs."""
    return find_place(os.environ)
