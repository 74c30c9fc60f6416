"""--report: all that a bug report needs, in one text to paste."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from surroundings import linux
from surroundings.place import here

from .check import Result, one_line, run_child, tell
from .driver_facts import amd_facts, nvidia_facts
from .machine import ANSWERS, ROOT, Machine
from .metadata import broken, installed_packages, text_of
from .redaction import HIDDEN, SECRET, Redactor
from .report import escape, printable, report
from .torch_checks import loaded_libraries

LIMIT = 60  # seconds for what torch and the driver say of themselves
NOTE = """Home folders, users, hosts, passwords and tokens have been taken out. Read it through
before you post it: nobody can know all that you would not show."""
# Variables that make a difference to Python, to an installer, to torch or to a driver.
VARIABLES = re.compile(
    r"PATH|LD_|DYLD_|PYTHON|VIRTUAL_ENV|CONDA_|MAMBA_|PIP_|UV_|POETRY_|TORCH|PYTORCH|CUDA|CUDNN"
    r"|CUBLAS|NVIDIA_|NVTE_|NCCL_|GLOO_|UCX_|FI_|TRITON_|OMP_|KMP_|MKL_|OPENBLAS_|HSA_|HIP_|ROCR_"
    r"|ROCM_|MIOPEN_|GPU_|ONEAPI_|ZE_|SYCL_|MASTER_|RANK$|LOCAL_RANK$|WORLD_SIZE$|USE_LIBUV$"
    r"|(ALL|NO|HTTPS?)_PROXY$|SSL_CERT_|LANG$|LC_|REQUESTS_CA_BUNDLE$|CURL_CA_BUNDLE$|CI$|WSL_"
    r"|GITHUB_ACTIONS$|GITLAB_CI$|NO_COLOR$|FORCE_COLOR$|TERM$|TMP$|TEMP$|TMPDIR$|XDG_CACHE_HOME$"
    r"|CC$|CXX$|CPATH$|INCLUDE$|LIB$|LIBRARY_PATH$|MODULEPATH$|MODULESHOME$|LOADEDMODULES$|LMOD_"
    r"|_LMFILES_$|ROS_|AMENT_|COLCON_|APPTAINER_|SINGULARITY_|ENROOT_|CONTAINER$|COLAB_"
    r"|SLURM_(\w*GPU|\w*TRES|\w*CUDA|JOB_ID|NTASKS|PROCID|LOCALID|CPUS|MEM)|PBS_NGPUS$|LSB_JOBID$",
    re.IGNORECASE,
)
# Those whose values name machines.
ADDRESSES = re.compile(
    r"_(PROXY|ADDR(ESS)?|IP|URI|COMM_ID|HOST)$|HOST(S|NAME|S?_IP)$", re.IGNORECASE
)


def bug_report(result: Result, limit: float) -> str:
    """The report, as Markdown; `limit`: seconds for torch and the driver."""
    redact = Redactor(os.environ)
    parts: dict[str, Callable[[], str]] = {
        "Checks, with data": lambda: json.dumps(result.document(), indent=2, ensure_ascii=False),
        "System and Python": lambda: "\n".join(system()),
        "Project": lambda: "\n".join(project(result.machine)),
        "Packages": lambda: "\n".join(sorted(packages(), key=str.lower)),
        "Variables": lambda: "\n".join(variables(os.environ)),
        "Devices and drivers": lambda: "\n".join(devices(result)),
        "Mounts, limits and rights": lambda: "\n".join(rights()),
        "Linker": lambda: "\n".join(linux.linker()),
        "torch.utils.collect_env, loaded libraries and nvidia-smi": lambda: others(
            min(limit, LIMIT)
        ),
    }
    blocks = [f"# Smoke test: {escape(result.verdict())}", NOTE, fenced(report(result, False, 100))]
    for title, part in parts.items():
        try:
            text = part()
        except Exception as error:  # one part less, not none
            text = f"It ended in {one_line(error)}."
        blocks.append(f"<details><summary>{title}</summary>\n\n{fenced(text)}\n\n</details>")
    return printable(redact("\n\n".join(blocks)))


def fenced(text: str) -> str:
    """A text as a code block that nothing in it can end."""
    ticks = max([2, *(len(run) for run in re.findall("`+", text))]) + 1
    return f"{'`' * ticks}text\n{text}\n{'`' * ticks}"


def system() -> Iterator[str]:
    """What runs this."""
    yield f"system: {platform.platform()} on {platform.machine()}"
    with suppress(OSError):  # not Linux
        yield f"distribution: {platform.freedesktop_os_release().get('PRETTY_NAME')}"
        yield f"libc: {' '.join(platform.libc_ver())}"
    for kind, signs in here().signs.items():
        yield f"place: {kind}, by {', '.join(signs)}"
    yield f"CPUs: {os.cpu_count()}"
    if sys.platform != "win32":
        with suppress(ValueError, OSError):
            size = os.sysconf("SC_PAGE_SIZE")
            yield f"memory: {os.sysconf('SC_PHYS_PAGES') * size / 2**30:.1f} GiB"
    for folder in (ROOT, Path("/dev/shm")):
        with suppress(OSError):  # not Linux
            usage = shutil.disk_usage(folder)
            yield f"{folder}: {usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB free"
    yield f"Python: {' '.join(sys.version.split())}"
    for name in ("executable", "prefix", "base_prefix"):
        yield f"sys.{name}: {getattr(sys, name)}"
    yield f"sys.flags: {sys.flags}"
    yield from (f"sys.path: {entry}" for entry in sys.path)


def project(machine: Machine) -> Iterator[str]:
    """What the project asks for on this system, and which template it is from."""
    yield f"build: {machine.label}, torch {machine.release}, Python {machine.python}"
    if machine.stands_in:
        yield f"in place of: {machine.own}, since {machine.stands_in}"
    yield f"tested for: {machine.accelerator}{', or the CPU' * machine.auto}"
    yield f"wheels: {json.dumps(machine.wheels, indent=2)}"
    with suppress(OSError):  # the rest of the answers is the owner's
        answers = (ROOT / ANSWERS).read_text(encoding="utf-8").splitlines()
        yield from (line for line in answers if line.startswith("_"))
    files = ("uv.lock", "poetry.lock", "poetry.toml", "requirements", ".venv")
    there = [name for name in files if (ROOT / name).exists()]
    yield f"there are: {', '.join(there) or 'no lock file and no .venv'}"


def packages() -> Iterator[str]:
    """Every installed package, by whom and, if not from an index, from where."""
    for one in installed_packages():
        installer = text_of(one.folder / "INSTALLER").strip()
        origin = re.findall(r'"url": *"([^"]*)', text_of(one.folder / "direct_url.json"))
        notes = ", ".join(filter(None, (installer, *origin)))
        yield f"{one.name}=={one.version}" + (f" ({notes})" if notes else "")
    yield from (f"{one}: no name or no version" for one in broken())


def variables(env: Mapping[str, str]) -> Iterator[str]:
    """The variables that may matter; of those that look like a secret only that they are set."""
    for name, value in sorted(env.items()):
        if not VARIABLES.match(name):
            continue
        if SECRET.search(name) and value:
            value = HIDDEN
        elif ADDRESSES.search(name):
            value = without_hosts(value)
        yield f"{name}={value}"


# What may stand before a host, the host itself, also by a number of version 6, and what follows.
ADDRESS = re.compile(
    r"(\w+://)?(.*@)?(\[[^\]]*\]|[\da-f]*:[\da-f]*:[\da-f:.]*|[^:/]*)(.*)", re.I | re.S
)
NOBODYS = ("", "*", "localhost", "127.0.0.1", "0.0.0.0", "::1", "[::1]", "::")


def without_hosts(value: str) -> str:
    """A list of addresses without hosts and logins, which are often there without an http://."""
    shown = []
    for one in re.split(r"([,;\s]+)", value):
        scheme, login, host, rest = ADDRESS.match(one).groups("")  # type: ignore[union-attr]
        host = host if host in NOBODYS or not host.strip(",; ") else "<host>"
        shown.append(f"{scheme}{f'{HIDDEN}@' * bool(login)}{host}{rest}")
    return "".join(shown)


def devices(result: Result) -> Iterator[str]:
    """What the machine shows of its GPUs, also where the project does not ask for one."""
    driver = result.machine.driver
    nvidia = driver if "card" in driver else nvidia_facts(LIMIT / 2)
    yield f"NVIDIA: {json.dumps(nvidia, indent=2)}"
    yield f"AMD: {json.dumps(amd_facts(), indent=2)}"
    yield from linux.cards()
    yield from linux.device_files()
    yield from linux.kernel_modules()


def rights() -> Iterator[str]:
    """What this process may do where."""
    cache = os.path.expanduser("~/.cache")  # noqa: PTH111 - Path's raises where there is no home
    folders = [str(ROOT), str(ROOT / ".venv"), sys.prefix, tempfile.gettempdir(), "/dev/shm", cache]
    yield from linux.mounts(map(Path, dict.fromkeys(folders)))
    yield from linux.limits()
    yield from linux.control_groups()
    yield from linux.guards()
    yield from linux.account()


def others(limit: float) -> str:
    """What torch and nvidia-smi say, as far as they get: a child asks them, since they can hang."""
    # torch starts `python -m pip`, which takes modules from the folder that it is started in.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as empty:
        rows, ended = run_child("others", {}, limit, empty, PYTHONSAFEPATH="1")
    texts = [*(row["text"] for row in rows), *([f"It {ended}."] if ended else [])]
    return "\n\n".join(text.strip() for text in texts)


def tell_others() -> None:
    """The child's work."""
    try:
        from torch.utils import collect_env

        tell({"text": collect_env.get_pretty_env_info()})
    except Exception as error:
        tell({"text": f"torch.utils.collect_env ended in {one_line(error)}."})
    tell({"text": "\n".join(by_folder(loaded_libraries()))})
    if not (tool := shutil.which("nvidia-smi")):
        tell({"text": "There is no nvidia-smi."})
        return
    done = subprocess.run([tool], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    tell({"text": (done.stdout + done.stderr).decode("utf-8", "replace")})


def by_folder(paths: list[str]) -> Iterator[str]:
    """Files, a line for each folder."""
    for folder, files in groupby(paths, lambda path: str(Path(path).parent)):
        yield f"{folder}: {' '.join(Path(path).name for path in files)}"
