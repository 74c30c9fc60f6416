"""What kind of machine this is: each kind by several signs, since none of them is always there."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

DMI = "/sys/class/dmi/id"
# Kinds by their signs, one of which is enough:
#   NAME, NAME=text   a variable that is set, or whose value begins so
#   ?name             a program on PATH
#   /path, /path:text a file or folder that is there, or a file that has the text somewhere
#   root:text         what the root is mounted from has the text, as only a container's has
#   one+two, !one     both of them; not this one
# A kind that begins with another's name and a dot is one of those too. Where a variable may have
# come from elsewhere (a job takes those of the shell that submitted it, a desktop program's
# terminal those of the program), it counts only together with what cannot.
# Sources: systemd's src/basic/virt.c (container=, DMI), cloud-init's ds-identify (clouds), the
# manuals of the schedulers (jobs), enroot's conf/hooks, the documentation of each service.
SIGNS = {
    "container.kubernetes": "KUBERNETES_SERVICE_HOST+root:overlay /var/run/secrets/kubernetes.io "
    "/proc/1/cgroup:kubepods /proc/self/mountinfo:/kubelet/pods/+root:overlay "
    "/etc/hosts:Kubernetes-managed /proc/1/environ:KUBERNETES_SERVICE_HOST=",
    "container.docker": "/.dockerenv /proc/1/cgroup:/docker root:/docker/ container=docker",
    "container.podman": "/run/.containerenv /proc/1/cgroup:libpod root:/containers/storage/ "
    "container=podman",
    "container.crio": "/proc/1/cgroup:crio-",
    "container.containerd": "root:/io.containerd. /proc/1/cgroup:cri-containerd",
    "container.apptainer": "/.singularity.d root:/apptainer/mnt/ root:/singularity/mnt/",
    "container.enroot": "root:enroot root:pyxis /.lock+/proc/self/mountinfo:enroot",
    "container.lxc": "container=lxc /proc/1/cgroup:/lxc/ /proc/1/cgroup:lxc.payload root:/lxc/ "
    "root:/lxd/ root:/incus/",
    "container.lxc.proxmox": "container=lxc+/proc/version:-pve",
    "container.nspawn": "container=systemd-nspawn /run/host/container-manager:nspawn",
    "container.charliecloud": "CH_RUNNING+/ch",
    "container.shifter": "SHIFTER_RUNTIME+/opt/udiImage",
    "container.desktop": "/proc/version:linuxkit /proc/version:orbstack",
    "container.flatpak": "/.flatpak-info container=flatpak",
    "container.snap": "SNAP_NAME+root:squashfs",
    "container.toolbox": "/run/.toolboxenv",
    "container.distrobox": "/run/.containerenv+CONTAINER_ID "
    "DISTROBOX_ENTER_PATH+/run/.containerenv DISTROBOX_ENTER_PATH+/.dockerenv",
    "container": "container=oci container=rkt container=proot container=pouch "
    "/run/systemd/container+!/run/systemd/container:wsl /run/host/container-manager "
    "/proc/1/environ:container=+!/proc/1/environ:container=wsl",
    "selinux": "/proc/self/attr/current:container_t",
    "rootless": "/proc/self/uid_map+!/proc/self/uid_map:4294967295",
    "wsl.wsl1": "/proc/version:-Microsoft",
    "wsl": "/proc/version:icrosoft /dev/dxg WSL_DISTRO_NAME WSL_INTEROP /usr/lib/wsl/lib /run/WSL",
    "jetson": "/etc/nv_tegra_release /proc/device-tree/compatible:nvidia,tegra "
    "/sys/firmware/devicetree/base/compatible:nvidia,tegra /proc/version:-tegra "
    "/sys/devices/soc0/family:Tegra",
    "dgx.spark": f"{DMI}/product_name:Spark /etc/dgx-release:Spark",
    "dgx": f"/etc/dgx-release {DMI}/product_name:DGX",
    "job.slurm": "SLURM_JOB_ID SLURM_JOBID SLURMD_NODENAME /proc/self/cgroup:slurmstepd "
    "/proc/self/cgroup:/slurm/",
    "job.allocation": "SLURM_JOB_ID+!SLURMD_NODENAME+!SLURM_STEP_ID+?srun",
    "job.pbs": "PBS_JOBID",
    "job.lsf": "LSB_JOBID",
    "job.sge": "JOB_ID+SGE_ROOT JOB_ID+SGE_TASK_ID",
    "job.htcondor": "_CONDOR_JOB_AD _CONDOR_SLOT",
    "job.flux": "FLUX_JOB_ID",
    "login.slurm": "?srun+!SLURM_JOB_ID+!SLURM_JOBID+!/proc/self/cgroup:slurm+"
    "!/run/slurmd.pid+!/run/slurm/slurmd.pid+!/var/spool/slurmd+!/var/spool/slurm/d",
    "login.pbs": "?qsub+?pbsnodes+!PBS_JOBID+!/var/spool/pbs/mom_priv/mom.lock",
    "login.lsf": "?bsub+?bhosts+!LSB_JOBID",
    "login.flux": "?flux+FLUX_URI+!FLUX_JOB_ID",
    "notebook.colab": "COLAB_RELEASE_TAG COLAB_GPU COLAB_BACKEND_VERSION",
    "notebook.kaggle": "KAGGLE_KERNEL_RUN_TYPE KAGGLE_URL_BASE /kaggle/working",
    "notebook.sagemaker": "SAGEMAKER_INTERNAL_IMAGE_URI SM_TRAINING_ENV SAGEMAKER_APP_TYPE "
    "/opt/ml/metadata/resource-metadata.json",
    "notebook.databricks": "DATABRICKS_RUNTIME_VERSION+/databricks /databricks/driver",
    "notebook.codespaces": "CODESPACES=true",
    "notebook.runpod": "RUNPOD_POD_ID",
    "notebook.lightning": "LIGHTNING_CLOUDSPACE_HOST /teamspace/studios",
    "notebook.paperspace": "PAPERSPACE_NOTEBOOK_REPO_ID PAPERSPACE_FQDN",
    "notebook.vast": "VAST_CONTAINERLABEL",
    "notebook.azureml": "AZUREML_RUN_ID AZUREML_ARM_WORKSPACE_NAME",
    "notebook.modal": "MODAL_TASK_ID",
    "notebook.jupyterhub": "JUPYTERHUB_API_URL JUPYTERHUB_USER",
    "ci.github": "GITHUB_ACTIONS=true",
    "ci.gitlab": "GITLAB_CI",
    "ci.jenkins": "JENKINS_URL+BUILD_TAG",
    "ci.azure": "TF_BUILD",
    "ci.circleci": "CIRCLECI=true",
    "ci.buildkite": "BUILDKITE=true",
    "ci.teamcity": "TEAMCITY_VERSION",
    "ci.bitbucket": "BITBUCKET_BUILD_NUMBER",
    "ci.travis": "TRAVIS=true",
    "cloud.aws": f"{DMI}/sys_vendor:Amazon {DMI}/bios_vendor:Amazon /sys/hypervisor/uuid:ec2",
    "cloud.gcp": f"{DMI}/product_name:Google",
    "cloud.azure": f"{DMI}/chassis_asset_tag:7783-7084-3265-9085-8269-3286-77",
    "cloud.oracle": f"{DMI}/chassis_asset_tag:OracleCloud",
    "cloud.alibaba": f"{DMI}/sys_vendor:Alibaba {DMI}/product_name:Alibaba",
    "cloud.digitalocean": f"{DMI}/sys_vendor:DigitalOcean",
    "cloud.hetzner": f"{DMI}/sys_vendor:Hetzner",
    "cloud.scaleway": f"{DMI}/sys_vendor:Scaleway",
    "cloud.vultr": f"{DMI}/sys_vendor:Vultr",
    "cloud.openstack": f"{DMI}/product_name:OpenStack {DMI}/chassis_asset_tag:OpenStack",
    "vm.hyperv": f"{DMI}/product_version:Hyper-V {DMI}/sys_vendor:Microsoft+"
    f"{DMI}/product_name:Virtual",
    "vm.kvm": f"{DMI}/product_name:KVM {DMI}/sys_vendor:QEMU {DMI}/board_vendor:QEMU",
    "vm.vmware": f"{DMI}/sys_vendor:VMware {DMI}/product_name:VMware",
    "vm.virtualbox": f"{DMI}/product_name:VirtualBox {DMI}/sys_vendor:innotek",
    "vm.xen": "/sys/hypervisor/type:xen",
    "vm": "/sys/bus/virtio/devices/virtio0 /proc/device-tree/hypervisor",
}
# Where nobody loads a kernel module or restarts the machine, because it is another's.
GUESTS = ("container", "wsl", "job", "login", "notebook", "ci")
GIVEN = ("notebook", "ci")  # whose machines and containers somebody else starts
TENANTS = ("job", "login", *GIVEN)  # where nobody is root, or is so for a while alone
MUCH = 2**20  # bytes: more of a file is not read


@dataclass(frozen=True)
class Place:
    """The kinds of machine that this is, and the signs by which each was told."""

    signs: Mapping[str, list[str]]  # by kind, e.g. {"container.docker": ["/.dockerenv"]}

    @cached_property
    def names(self) -> frozenset[str]:
        """All that the place can be called: {"container", "docker", "guest", "linux", "root"}.

        `engine`: a container that its user starts, and so can start otherwise; `tenant`: a part of
        a machine that others look after.
        """
        kinds = [kind.split(".") for kind in self.signs]
        guest = {"guest"} if any(parts[0] in GUESTS for parts in kinds) else set()
        if guest:  # and then it does not matter in what machine
            kinds = [parts for parts in kinds if parts[0] not in ("vm", "cloud")]
        parts = {part for kind in kinds for part in kind}
        if "container" in parts and parts.isdisjoint(GIVEN):
            guest.add("engine")
        if parts.intersection((*TENANTS, "kubernetes")):
            guest.add("tenant")
        user = "root" if getattr(os, "geteuid", lambda: 1)() == 0 else "user"
        system = platform.system().lower().replace("darwin", "macos")
        return frozenset({*parts, *guest, user, system})

    def is_a(self, name: str) -> bool:
        """Whether this is a place of that name."""
        return name in self.names


@cache
def kinds_of(name: str) -> frozenset[str]:
    """The kinds that a name of a place is one of: slurm is a job's and a login node's."""
    split = [kind.split(".") for kind in SIGNS]
    return frozenset([name, *(parts[0] for parts in split if name in parts)])


@cache
def beginning(path: str) -> bytes | None:
    """What a file has, or a large one begins with; None if it is not there or not for this user."""
    try:
        with Path(path).open("rb") as file:
            return file.read(MUCH)
    except OSError:
        return None


def root_mount() -> bytes:
    """The line of mountinfo that says what the root of this process is."""
    lines = (beginning("/proc/self/mountinfo") or b"").splitlines()
    return next((line for line in lines if line.split()[4:5] == [b"/"]), b"")


def of_init(name: str, env: Mapping[str, str]) -> str:
    """A variable that a container's first process was given; here as there, if nobody may look."""
    given = beginning("/proc/1/environ")
    if given is None:
        return env.get(name, "")
    found = re.search(rb"(?:^|\0)" + name.encode() + rb"=([^\0]*)", given)
    return found[1].decode("utf-8", "replace") if found else ""


def shows(sign: str, env: Mapping[str, str]) -> bool:
    """Whether a sign of SIGNS is there."""
    if "+" in sign:
        return all(shows(one, env) for one in sign.split("+"))
    if sign[0] == "!":
        return not shows(sign[1:], env)
    if sign[0] == "?":
        return bool(shutil.which(sign[1:], path=env.get("PATH", os.defpath)))
    name, _, text = sign.partition("=")
    if name == "container":  # a shell may call anything so
        told = (beginning("/run/systemd/container") or b"").decode("utf-8", "replace")
        return of_init(name, env).startswith(text) or told.startswith(text)
    if re.fullmatch(r"\w+", name):
        return bool(env.get(name)) and env[name].startswith(text)
    path, _, text = sign.partition(":")
    if path == "root":
        return text.encode() in root_mount()
    if not text:
        return os.access(path, os.F_OK)
    return text.encode() in (beginning(path) or b"")


def for_linux(sign: str) -> bool:
    """Whether a sign can be there on Linux alone."""
    return any(mark in sign for mark in ("/", "?", "root:", "container=", "WSL_"))


def find_place(env: Mapping[str, str]) -> Place:
    """Look for all signs, among these variables and on this machine."""
    linux, found = sys.platform == "linux", {}
    for kind, row in SIGNS.items():
        signs = [one for one in row.split() if linux or not for_linux(one)]
        if signs := [one for one in signs if shows(one, env)]:
            found[kind] = signs
    return Place(found)


@cache
def here() -> Place:
    """The place where this runs."""
    return find_place(os.environ)
