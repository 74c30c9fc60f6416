"""What `--report` writes: all that a maintainer needs, and nothing of who wrote it."""

import re
import socket
from pathlib import Path
from urllib.parse import quote

import pytest
from markdown_it import MarkdownIt

from scripts.smoke_helpers import Project, needs_namespaces, outside
from scripts.worlds import world


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A CPU project; the Python of these tests has no torch."""
    return Project(tmp_path / "project")


SECRETS = {
    "PIP_INDEX_URL": "https://{0}:pip-secret-1@pip.example/simple",
    "PIP_EXTRA_INDEX_URL": "https://__token__:pip/secret@2@pip.example/simple https://x.example/s",
    "UV_INDEX": "corp=https://bot:uv-secret-3@uv.example/simple?api_key=uv-secret-4",
    "UV_INDEX_CORP_PASSWORD": "uv-secret-5",
    "POETRY_HTTP_BASIC_CORP_USERNAME": "poetry-secret-6",
    "HTTPS_PROXY": "{0}:proxy-secret-7@proxy.example:8080",
    "HF_TOKEN": "hf_secret-8-abcdefgh",
    "CONDA_CHANNELS": "https://conda.example/t/ghp_secret9abcdefghijkl/c",
}
# Hosts, addresses and serial numbers that belong to nobody else, each with what is shown of it.
INSIDE = {
    "MASTER_ADDR": ("secret-node-1.corp.example.com", "<host>"),
    "NO_PROXY": ("localhost,.secret-2.example.com,10.11.12.13", "localhost,<host>,<host>"),
    "ALL_PROXY": ("socks5://secret-3.example:1080", "socks5://<host>:1080"),
    "UV_INDEX_URL": ("https://secret-4.corp/simple", "https://<host>/simple"),
    "PIP_FIND_LINKS": ("http://secret-5:8081/wheels", "http://<host>:8081/wheels"),
    "PIP_CERT": ("https://192.168.7.6/ca.pem", "https://<host>/ca.pem"),
    "PIP_INDEX_URL": ("https://secret-6.acme.example/s", "https://<host>/s"),
    "UV_DEFAULT_INDEX": ("https://secret-7.example:8443/s", "https://<host>:8443/s"),
    "UV_PUBLISH_URL": ("https://secret-8.acme.example/p", "https://<host>/p"),
    "POETRY_REPOSITORIES_X_URL": ("https://secret-9.example/x", "https://<host>/x"),
    "PIP_TRUSTED_HOST": ("secret-a.example secret-b.example:80", "<host> <host>:80"),
    "UV_ALLOW_INSECURE_HOST": ("secret-c.example:8080", "<host>:8080"),
    "NCCL_COMM_ID": ("10.1.2.3:5000", "<host>:5000"),
    "ROS_IP": ("10.2.3.4", "<host>"),
    "ROS_HOSTNAME": ("secret-d.example", "<host>"),
    "ROS_MASTER_URI": ("http://secret-e.example:11311", "http://<host>:11311"),
    "HTTP_PROXY": (
        "http://[fd00::5ec]:3128,[fe80::2]:1,fd00::3",
        "http://<host>:3128,<host>:1,<host>",
    ),
    "LD_LIBRARY_PATH": (
        "//secret-f/lib:/net/secret-g.example/lib:/opt//lib",
        "//<host>/lib:/net/<host>/lib:/opt//lib",
    ),
    "CUDA_VISIBLE_DEVICES": (
        "MIG-5c89852c-d268-5c09-8ad5-8e9b2e0a9b9b",
        "MIG-5c89<hidden>",
    ),
    "NVIDIA_VISIBLE_DEVICES": ("GPU-1f2e3d4c-aaaa-bbbb-cccc-0123456789ab", "GPU-1f2e<hidden>"),
}
# Variables that are none of a maintainer's business, though they begin like those that are.
NOT_SHOWN = (
    *(
        "SLURM_SUBMIT_HOST",
        "SLURM_JOB_USER",
        "SLURM_JOB_NODELIST",
        "SLURM_JOB_ACCOUNT",
        "PBS_JOBID",
    ),
    *(
        "LSB_HOSTS",
        "KUBERNETES_SERVICE_HOST",
        "AWS_ACCESS_KEY_ID",
        "SSH_CONNECTION",
        "GITHUB_ACTOR",
    ),
)
HARMLESS = {
    "SLURM_JOB_GPUS": "0,1",
    "SLURM_GPUS_ON_NODE": "2",
    "ROS_DISTRO": "jazzy",
    "LOADEDMODULES": "cuda/12.4:gcc/13",
    "APPTAINER_BIND": "/data:/data",
    "TRITON_CACHE_DIR": "/scratch/triton",
    "NCCL_SOCKET_IFNAME": "ib0",
    "USE_LIBUV": "0",
    "PIP_FIND_LINKS": "https://download.pytorch.org/whl /data/wheels",
    "UV_KEYRING_PROVIDER": "subprocess",
}


def report_of(project: Project, *arguments: str, **env: str) -> str:
    """The bug report of a run."""
    file = project.root / "report.md"
    project.run("--report", str(file), *arguments, **env)
    return file.read_text(encoding="utf-8")


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "user", ["alice", "Zo\u00eb van Dam", "a", "torch", "j.d+(x)[0]\\w", "root"]
)
def test_a_bug_report_does_not_say_whose_it_is(tmp_path: Path, user: str) -> None:
    home = tmp_path / "homes" / user
    project = Project(home / "work" / user / "project")
    host = socket.gethostname()
    say = f"cannot open {home}/x/y.so for {user}@{host} nor /scratch/{user}/z of "
    say += SECRETS["HF_TOKEN"]
    project.add_stub_torch(f"raise ImportError({say!r})")
    in_url = quote(user)
    origin = f'{{"url": "git+https://{in_url}:git-secret-0@git.example/x@v1"}}'
    info = next((project.root / "site").glob("torch-*.dist-info"))
    (info / "direct_url.json").write_text(origin, encoding="utf-8")
    (project.root / ".copier-answers.yml").write_text(
        f"_src_path: https://{in_url}:git-secret-a@git.example/starter\nuser_email: me@x.example\n"
    )
    env = {name: value.format(in_url) for name, value in SECRETS.items()} | HARMLESS
    env |= {"HOME": str(home), "USER": user, "LOGNAME": user, "VIRTUAL_ENV": f"{home}/.venv"}
    text = report_of(project, **env)
    assert str(home) not in text
    assert "secret" not in text.replace("secret, ", "")
    assert "me@x.example" not in text
    assert host not in text or len(host) < 3 or host == "localhost"
    assert "VIRTUAL_ENV=~/.venv" in text
    assert "~/work/" in text
    for name, value in HARMLESS.items():
        assert f"{name}={value}" in text
    assert "UV_INDEX=corp=https://<hidden>@<host>/simple?api_key=<hidden>\n" in text
    if user != "root":  # who is nobody
        for place in (f"/scratch/{user}/", f"~/work/{user}/", f"{user}@"):
            assert place not in text
        assert "cannot open ~/x/y.so for <user>@<host> nor /scratch/<user>/z of <hidden>" in text
    if len(user) > 4 and user != "torch":
        assert user not in text
    # And it is still a report.
    assert text.startswith("# Smoke test: FAIL torch 2.13.0+cpu, asked for CPU: TORCH-IMPORT\n")
    assert "not run, since TORCH-IMPORT failed" in text
    assert "torch==2.13.0+cpu (git+https://<hidden>@<host>/x@v1)" in text
    assert "site/torch/" not in text or user != "torch"


def test_a_bug_report_has_all_there_is(project: Project) -> None:
    code = "def get_pretty_env_info(): return 'what torch says of itself'"
    project.add_stub_torch("from .version import __version__\n")
    utils = project.root / "site" / "torch" / "utils"
    utils.mkdir()
    (utils / "collect_env.py").write_text(code, encoding="utf-8")
    tools = project.root / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\necho 'what ``` the driver says'; exit 9\n")
    (tools / "nvidia-smi").chmod(0o755)
    path = f"{tools}:{project.env['PATH']}"
    text = report_of(project, "--device", "auto", PATH=path)
    tokens = MarkdownIt().parse(text)
    assert tokens[1].content.startswith("Smoke test: FAIL")
    blocks = [one.content for one in tokens if one.type == "fence"]
    assert len(blocks) == 10
    assert [part.split("</summary>")[0] for part in text.split("<summary>")[1:]] == [
        "Checks, with data",
        "System and Python",
        "Project",
        "Packages",
        "Variables",
        "Devices and drivers",
        "Mounts, limits and rights",
        "Linker",
        "torch.utils.collect_env, loaded libraries and nvidia-smi",
    ]
    of_torch, libraries, of_driver = blocks[-1].split("\n\n")
    assert of_torch == "what torch says of itself"
    assert re.search(r"^\S+: (\S+ )*libc\.so\.6", libraries, re.MULTILINE)
    assert of_driver == "what ``` the driver says\n"
    assert "wheels: {" in blocks[3]
    assert "pytest==" in blocks[4]
    assert "there are: .venv" in blocks[3]
    assert f"PATH={tools}:" in blocks[5]
    assert '"card": ' in blocks[6]


def test_a_bug_report_names_no_machine_of_an_organisation_and_no_serial_number(
    project: Project,
) -> None:
    env = {name: value for name, (value, _) in INSIDE.items()}
    hidden = {name: f"secret-{name}" for name in NOT_SHOWN}
    text = report_of(project, "--only", "PY-VERSION", **env, **hidden)
    for name, (_, shown) in INSIDE.items():
        assert f"\n{name}={shown}\n" in text
    assert "secret" not in text
    for value in ("10.11.12.13", "192.168.7.6", "d268-5c09", "aaaa-bbbb"):
        assert value not in text
    assert not any(f"\n{name}=" in text for name in NOT_SHOWN)


def test_a_bug_report_has_what_decides_on_linux_whether_a_gpu_can_be_used(
    tmp_path: Path,
) -> None:
    needs_namespaces()
    project = Project(tmp_path / "project", "cu130")
    project.add_stub_torch("import ctypes, _ctypes\nfrom .version import __version__\n")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    # A /proc that has more than that of this machine, in which nothing can be made.
    proc = """
        mkdir /mnt/proc.d; mount --rbind /proc /mnt/proc.d; mount -t tmpfs tmpfs /mnt/proc
        for one in /proc/*; do ln -s /proc.d/${one#/proc/} /mnt$one; done
        rm -f /mnt/proc/modules /mnt/proc/driver
        echo 'nvidia_uvm 1 4 - Live 0x0' >/mnt/proc/modules
        echo 'ext4 1 1 - Live 0x0' >>/mnt/proc/modules
        mkdir -p /mnt/proc/driver/nvidia
        echo 'NVRM version: NVIDIA UNIX Open Kernel Module' >/mnt/proc/driver/nvidia/version
        ulimit -n 777; ulimit -v 99999999
    """
    machine = world("nvidia0", "nvidiactl", card=True)
    machine = machine.replace("exec chroot", f"{proc}\nexec chroot")
    project.before = f"mount -t tmpfs -o noexec tmpfs {temporary}\n{machine}"
    text = report_of(project, "--only", "PY-VERSION", TMPDIR=str(temporary), SLURM_JOB_ID="7")
    for row in (
        r"-rw-r--r-- 0:0 /dev/nvidia0 \d+:\d+",
        "module nvidia_uvm ?, used 4 times",
        "NVRM version: NVIDIA UNIX Open Kernel Module",
        rf"{temporary} is on tmpfs \(rw,noexec,relatime\S*\)",
        "/dev/shm is on \\w+ ",
        "0: 0x10de , no driver",
        "limit NOFILE: 777, at most 777",
        "limit AS: 102399998976, at most",
        r"user 0, groups \[0.*\]: \['root'",
        "Seccomp: \\d",
        r"/etc/ld.so.conf: include ",
        r"\n/\S+: (\S+ )*libc.so.6",
    ):
        assert re.search(row, text), row
    assert "ext4 1" not in text
    assert "place: job.slurm, by SLURM_JOB_ID" in text


def test_a_bug_report_runs_no_file_of_the_current_folder(project: Project) -> None:
    project.add_stub_torch("from .version import __version__\n")
    utils = project.root / "site" / "torch" / "utils"
    utils.mkdir()
    asks = "import subprocess, sys\ndef get_pretty_env_info():\n    return subprocess.run("
    asks += "[sys.executable, '-c', 'import os, re; print(re.__file__, os.listdir())'], "
    asks += "capture_output=True, text=True).stdout\n"
    (utils / "collect_env.py").write_text(asks, encoding="utf-8")
    folder = project.root / "elsewhere"
    folder.mkdir()
    (folder / "re.py").write_text("raise SystemExit('hijacked')\n", encoding="utf-8")
    project.before = f"{outside()}\ncd {folder}"
    text = report_of(project, "--only", "PY-VERSION")
    assert re.search(r"^\S+/(re/__init__|re).py \[\]$", text, re.MULTILINE)
    assert "hijacked" not in text
    assert str(folder) not in text.split("collect_env, loaded")[-1]


def test_a_bug_report_survives_a_package_whose_metadata_nobody_can_read(project: Project) -> None:
    project.add_stub_torch("from .version import __version__\n")
    info = project.root / "site" / "odd-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_bytes(b"Name: odd\nVersion: 1\nAuthor: J\xf6rg\n")
    loop = project.root / "site" / "loop-1.dist-info"
    loop.mkdir()
    (loop / "METADATA").symlink_to("METADATA")
    text = report_of(project, "--only", "PY-VERSION")
    assert text.startswith("# Smoke test: PASS")
    assert "torch.utils.collect_env, loaded libraries" in text


def test_a_bug_report_has_no_markdown_or_command_of_others_and_no_endless_line(
    project: Project,
) -> None:
    version = "2.14.1+cpu <img src=https://evil.example/x> [click](http://evil.example) @everyone"
    project.add_stub_torch("from .version import __version__\n")
    file = project.root / "site" / "torch" / "version.py"
    file.write_text(f"__version__ = {version + chr(27) + 'v' * 3_000_000!r}\n", encoding="utf-8")
    text = report_of(project, "--only", "PY-VERSION", TORCH_X="a\x1b[2J\a")
    title = text.splitlines()[0]
    tokens = MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(title)[1].children or []
    assert {one.type for one in tokens} <= {"text", "text_special", "html_inline"}
    assert {one.content for one in tokens if one.type == "html_inline"} <= {"<!-- -->"}
    assert "@everyone" not in title
    assert "http://" not in title
    assert "TORCH_X=a\\x1b[2J\\x07\n" in text
    assert not set(text) & set("\033\a")
    assert max(map(len, text.splitlines())) < 5_000


def test_a_home_that_is_no_utf_8_is_no_reason_to_stop(project: Project) -> None:
    assert "VIRTUAL_ENV=~/v" in report_of(
        project, "--only", "PY-VERSION", HOME="/x/\udcff", VIRTUAL_ENV="/x/\udcff/v"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import time; time.sleep(99)", "It did not answer within 2 s."),
        ("import os; os.abort()", "It crashed (Aborted)."),
        ("raise ImportError('libx.so')", "torch.utils.collect_env ended in ImportError: libx.so."),
    ],
)
def test_a_bug_report_gets_done_whatever_torch_does(project: Project, code: str, said: str) -> None:
    project.add_stub_torch(code)
    assert said in report_of(project, "--only", "PY-VERSION", "--timeout", "2")


def test_a_bug_report_without_torch_or_account_gets_done(project: Project) -> None:
    text = report_of(project, HOME="", USER="")
    assert "ModuleNotFoundError: No module named 'torch'" in text
    assert "TORCH-FOUND" in text.splitlines()[0]


def test_a_bug_report_of_a_user_that_no_file_knows_has_all_its_parts(project: Project) -> None:
    needs_namespaces()
    project.root.chmod(0o777)
    caps = "--inh-caps=+dac_override --ambient-caps=+dac_override"
    user = f"setpriv --reuid 4711 --regid 4712 --clear-groups {caps}"
    project.before = f'exec {user} env -u HOME -u USER -u LOGNAME "$@"'
    text = report_of(project, "--only", "PY-VERSION")
    assert "user 4711, groups [4712]: []" in text
    assert "It ended in" not in text
