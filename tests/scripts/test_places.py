"""What kind of machine this is: by each sign, in real namespaces, and by no sign that is another's.

The machines below are told by what their files and variables really have, as public reports and
manuals show them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from scripts.smoke_helpers import PACKAGE, PLACE, SIGN_VARIABLES, needs_namespaces
from scripts.worlds import world

LINUX = pytest.mark.skipif("sys.platform != 'linux'", reason="needs Linux")
LOOK = "import json; from surroundings.place import here; "
LOOK += "print(json.dumps([{**here().signs}, sorted(here().names)]))"
OVERLAY = "1 0 0:1 / / rw,relatime - overlay overlay rw,lowerdir={}/snapshots/1/fs\n"
DISK = "29 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n"
DMI = "/sys/class/dmi/id"


def look(
    files: Mapping[str, str], env: Mapping[str, str], *programs: str, root: str = DISK
) -> tuple[dict[str, list[str]], set[str]]:
    """The kinds of a machine that has these files, and its names."""
    needs_namespaces()
    quiet = {
        "/proc/1/environ": "",
        "/proc/1/cgroup": "0::/init.scope\n",
        "/proc/self/mountinfo": root,
    }
    quiet |= {"/proc/version": "Linux version 6.8.0-51-generic (buildd@lcy02) #52-Ubuntu SMP\n"}
    mine = {f"/run/programs/{name}": "" for name in programs}
    before = world(files={**quiet, **mine, **files})
    before = before.replace("exec chroot", "chmod -R +x /mnt/run; exec chroot")
    inherited = {k: value for k, value in os.environ.items() if k not in SIGN_VARIABLES}
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", before, "sh", sys.executable, "-c", LOOK],
        env={
            **inherited,
            **env,
            "PYTHONPATH": str(PACKAGE.parent),
            "PATH": f"{os.environ['PATH']}:/run/programs",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    signs, names = json.loads(done.stdout)
    return signs, set(names)


def shown(sign: str) -> tuple[dict[str, str], dict[str, str], list[str], str]:
    """The least that a machine has of a sign: files, variables, programs, and its root's mount."""
    files: dict[str, str] = {}
    env: dict[str, str] = {}
    programs, root, also = [], DISK, ""
    for one in sign.split("+"):
        name, _, text = one.partition("=")
        path, _, inside = one.partition(":")
        if one.startswith("!"):
            continue
        if one.startswith("?"):
            programs.append(one[1:])
        elif path == "root":
            root = f"1 0 0:1 / / rw - overlay overlay rw,x={inside}\n"
        elif name == "container":
            files["/proc/1/environ"] = f"HOME=/\\0container={text}\\0"
        elif "/" not in name:
            env[name] = text or "/something"
        elif path == "/proc/self/mountinfo":
            also = f"2 1 0:2 / {inside} rw - tmpfs tmpfs rw\n"
        else:
            files[path.replace("/var/run/", "/run/")] = f"a {inside}, b\n"
    return files, env, programs, root + also


CANNOT = ("/proc/device-tree", "/sys/firmware", "/sys/devices", "/sys/hypervisor")  # be made here
EVERY = [(kind, sign) for kind, row in PLACE.SIGNS.items() for sign in row.split()]


@LINUX
@pytest.mark.few(6)
@pytest.mark.parametrize(
    ("kind", "sign"), [(kind, sign) for kind, sign in EVERY if not sign.startswith(CANNOT)]
)
def test_each_sign_is_enough_for_its_kind_alone(kind: str, sign: str) -> None:
    files, env, programs, root = shown(sign)
    found, names = look(files, env, *programs, root=root)
    assert sign in found.get(kind, []), found
    assert names.issuperset(kind.split("."))


# name: files, variables, the root's mount, names that it has, names that it has not
MACHINES: dict[str, tuple[dict[str, str], dict[str, str], str, str, str]] = {
    "a workstation": ({}, {}, DISK, "", "guest container wsl job vm cloud jetson"),
    "a workstation with Docker, whose containers run": (
        {},
        {},
        DISK + "900 29 0:60 / /var/lib/docker/overlay2/a/merged rw - overlay overlay rw\n",
        "",
        "guest container docker",
    ),
    "a shell that calls something `container`": (
        {"/proc/1/environ": "HOME=/\\0"},
        {"container": "podman"},
        DISK,
        "",
        "guest container podman",
    ),
    "a terminal of a desktop program from a snap": (
        {},
        {"SNAP": "/snap/code/170", "SNAP_NAME": "code"},
        DISK,
        "",
        "guest container snap",
    ),
    "a pod of containerd, cgroup v2": (
        {"/proc/1/cgroup": "0::/\n"},
        {"KUBERNETES_SERVICE_HOST": "10.96.0.1"},
        OVERLAY.format("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs"),
        "container kubernetes containerd guest",
        "docker podman",
    ),
    "the same through ssh, which drops variables": (
        {"/etc/hosts": "# Kubernetes-managed hosts file.\n127.0.0.1 localhost\n"},
        {},
        OVERLAY.format("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs"),
        "container kubernetes",
        "docker",
    ),
    "a pod of CRI-O": (
        {"/run/.containerenv": "", "/proc/1/cgroup": "0::/kubepods.slice/crio-1f.scope\n"},
        {"KUBERNETES_SERVICE_HOST": "10.96.0.1"},
        OVERLAY.format("/var/lib/containers/storage/overlay"),
        "kubernetes crio",
        "docker",
    ),
    "nerdctl": (
        {},
        {},
        OVERLAY.format("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs"),
        "container containerd",
        "docker kubernetes",
    ),
    "a RUN of a Dockerfile": (
        {"/proc/1/cgroup": "0::/\n"},
        {},
        OVERLAY.format("/var/lib/docker/overlay2"),
        "container docker",
        "podman",
    ),
    "rootless Podman under SELinux": (
        {
            "/run/.containerenv": "",
            "/proc/self/uid_map": "         0       1000          1\n",
            "/proc/self/attr/current": "system_u:system_r:container_t:s0:c1,c2\\0",
        },
        {"container": "podman"},
        OVERLAY.format("/home/me/.local/share/containers/storage/overlay"),
        "container podman rootless selinux",
        "docker",
    ),
    "Docker Desktop on WSL": (
        {"/.dockerenv": "", "/proc/version": "Linux version 5.15.167.4-microsoft-standard-WSL2\n"},
        {},
        OVERLAY.format("/var/lib/docker/overlay2"),
        "container docker wsl guest",
        "wsl1",
    ),
    "WSL 2 after sudo, with a kernel of one's own": (
        {"/dev/dxg": "", "/run/systemd/container": "wsl"},
        {},
        DISK,
        "wsl guest",
        "container wsl1",
    ),
    "WSL 1": (
        {"/proc/version": "Linux version 4.4.0-19041-Microsoft (Microsoft@Microsoft.com)\n"},
        {"WSL_DISTRO_NAME": "Ubuntu"},
        "2 2 0:2 / / rw,noatime - lxfs rootfs rw\n",
        "wsl wsl1",
        "container",
    ),
    "a machine of Azure, whose vendor is Microsoft too": (
        {
            "/proc/version": "Linux version 6.8.0-1020-azure (buildd@lcy02) #23-Ubuntu SMP\n",
            f"{DMI}/sys_vendor": "Microsoft Corporation\n",
            f"{DMI}/product_name": "Virtual Machine\n",
            f"{DMI}/chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77\n",
        },
        {},
        DISK,
        "cloud azure vm hyperv",
        "wsl guest container",
    ),
    "a desktop of Microsoft": (
        {f"{DMI}/sys_vendor": "Microsoft Corporation\n", f"{DMI}/product_name": "Surface Book 3\n"},
        {},
        DISK,
        "",
        "vm cloud guest wsl",
    ),
    "a job of Slurm, in which Apptainer runs": (
        {"/.singularity.d/runscript": ""},
        {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1", "APPTAINER_CONTAINER": "/x.sif"},
        "9 1 0:50 / / ro - overlay overlay rw\n",
        "container apptainer job slurm guest",
        "docker login allocation",
    ),
    "a shell that pam_slurm_adopt has put into a job": (
        {"/proc/self/cgroup": "0::/system.slice/slurmstepd.scope/job_7/step_extern/user/task_0\n"},
        {},
        DISK,
        "job slurm guest",
        "login container",
    ),
    "enroot, as pyxis starts it": (
        {},
        {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1"},
        "9 1 0:50 /data/user-1000/pyxis_7.0 / rw - ext4 /dev/sda1 rw\n",
        "container enroot job slurm",
        "docker",
    ),
    "LXD for its user, who may not look at its first process": (
        {"/run/systemd/container": "lxc"},
        {},
        "9 1 0:50 / / rw - zfs default/containers/c1 rw\n",
        "container lxc",
        "docker nspawn",
    ),
    "Jetson, in a container of Docker": (
        {"/.dockerenv": "", "/proc/version": "Linux version 5.15.148-tegra (buildbrain@mobile)\n"},
        {},
        OVERLAY.format("/var/lib/docker/overlay2"),
        "container docker jetson",
        "",
    ),
    "Colab": (
        {"/.dockerenv": ""},
        {"COLAB_RELEASE_TAG": "release-colab_20260401"},
        OVERLAY.format("/var/lib/docker/overlay2"),
        "notebook colab container",
        "kaggle",
    ),
    "a job that Apptainer's variables have come to, from where it was submitted": (
        {},
        {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1", "APPTAINER_CONTAINER": "/x.sif"},
        DISK,
        "job slurm",
        "container apptainer",
    ),
    "a laptop with Telepresence, a client of Jenkins, and the Charliecloud of a job": (
        {},
        {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "JENKINS_URL": "https://j", "CH_RUNNING": "1"},
        DISK,
        "",
        "guest container kubernetes ci jenkins",
    ),
    "Proxmox's container": (
        {"/run/systemd/container": "lxc", "/proc/version": "Linux version 6.8.12-4-pve\n"},
        {},
        DISK,
        "container lxc proxmox engine",
        "docker tenant",
    ),
    "Docker Desktop on a Mac": (
        {"/.dockerenv": "", "/proc/version": "Linux version 6.10.14-linuxkit\n"},
        {},
        OVERLAY.format("/var/lib/docker/overlay2"),
        "container docker desktop engine",
        "wsl tenant",
    ),
    "a GitHub runner's own machine": (
        {},
        {"GITHUB_ACTIONS": "true", "CI": "true"},
        DISK,
        "ci github guest",
        "container",
    ),
}


@LINUX
@pytest.mark.few(6)
@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_is_called_what_it_is_and_nothing_else(name: str) -> None:
    files, env, root, has, has_not = MACHINES[name]
    _, names = look(files, env, root=root)
    assert names.issuperset(has.split())
    assert names.isdisjoint(has_not.split())


@LINUX
def test_a_login_node_is_one_without_a_job_and_salloc_leaves_its_user_there() -> None:
    _, names = look({}, {}, "srun")
    assert {"login", "slurm", "guest"} <= names
    _, names = look({}, {"SLURM_JOB_ID": "7"}, "srun")
    assert {"allocation", "job", "slurm"} <= names
    assert "login" not in names
    _, names = look({"/run/slurmd.pid": "1\n"}, {}, "srun")
    assert "guest" not in names  # an administrator is on a node for jobs
    _, names = look({}, {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1"}, "srun")
    assert names.isdisjoint({"allocation", "login"})


def test_other_systems_have_no_signs_of_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    env = {"WSL_DISTRO_NAME": "Ubuntu", "container": "podman", "GITHUB_ACTIONS": "true"}
    assert set(PLACE.find_place(env).signs) == {"ci.github"}


def test_a_kind_s_name_is_made_of_its_parts() -> None:
    place = PLACE.Place({"container.docker": ["/.dockerenv"]})
    assert {"container", "docker", "guest"} <= place.names
    assert "guest" not in PLACE.Place({"cloud.aws": ["x"], "vm": ["y"]}).names
    assert set(PLACE.GUESTS) <= {part for kind in PLACE.SIGNS for part in kind.split(".")}
    assert not PLACE.for_linux("GITHUB_ACTIONS=true")
