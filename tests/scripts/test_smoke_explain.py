"""--explain: an entry is found by its id, by a code, and by the message that people search for."""

import re
import shlex
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from scripts.smoke_helpers import PLACE, Project, load_package

catalogue = load_package("catalogue")
WELL_KNOWN = [  # what people paste, as it stands in public reports
    ("CUDA error: no kernel image is available for execution on the device", "DRV-ARCH"),
    ("undefined symbol: ncclCommWindowRegister", "TORCH-IMPORT"),
    ("NVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current "
     "PyTorch installation.", "DRV-ARCH"),
    ("RuntimeError: DataLoader worker (pid 4711) is killed by signal: Bus error. It is possible "
     "that dataloader's workers are out of shared memory.", "SYS-SHM"),
    ("worker (pid 12) is killed by signal", "DATA-WORKERS"),
    ('OSError: [WinError 126] The specified module could not be found. Error loading "C:\\x\\'
     'torch\\lib\\fbgemm.dll" or one of its dependencies.', "TORCH-DLL"),
    ("CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH", "LIB-MAPS"),
    ("RuntimeError: cuDNN error: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH", "ENV-VARS"),
    ("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 560.35",
     "DRV-MISMATCH"),
    ("OMP: Error #15: Initializing libiomp5md.dll, but found libomp.dylib already initialized.",
     "LIB-OMP"),
    ("OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has", "DEV-MEM"),
    ("The NVIDIA driver on your system is too old (found version 11040).", "DRV-OLD"),
    ("torch\u2019s module \u2018torch\u2019 has no attribute", "PY-SHADOW"),
    ("Error 803: system has unsupported display driver", "CUDA-MISMATCH"),
    ("803", "CUDA-MISMATCH"),
    ("error 803", "CUDA-MISMATCH"),
    ("cuda_error_compat_not_supported_on_device", "CUDA-COMPAT"),
    ("cuda-compat", "CUDA-COMPAT"),
    ("driver too old", "DRV-OLD"),
]  # fmt: skip


# What engines, schedulers, the kernel and torch say, the title, and what is to be done on a machine
# of one's own. (Each is out of a public report.)
TOLD = [
    ('docker: Error response from daemon: could not select device driver "" with capabilities: '
     "[[gpu]].", "toolkit-missing", "nvidia-container-toolkit"),
    ("unknown or invalid runtime name: nvidia", "runtime-unknown", "nvidia-ctk runtime configure"),
    ('no runtime for "nvidia" is configured', "runtime-unknown", "nvidia-ctk runtime configure"),
    ("Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all",
     "cdi-unresolved", "nvidia-ctk cdi generate"),
    ("nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.4, please update "
     "your driver to a newer version", "image-asks-for-driver", "older CUDA"),
    ("nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot "
     "open shared object file: no such file or directory: unknown", "no-driver-on-host", "host"),
    ("nvidia-container-cli: mount error: file creation failed: /x/libnvidia-ml.so.1: file exists: "
     "unknown", "driver-in-image", "out of the image"),
    ("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "resource-insufficient",
     "kubectl describe nodes"),
    ("modprobe: FATAL: Module nvidia not found in directory /lib/modules/6.8.0-51-generic",
     "DRV-NOTLOADED", "dkms autoinstall"),
    ("modprobe: ERROR: could not insert 'nvidia': No such device", "DRV-NOTLOADED", "lspci -nnk"),
    ("modprobe: ERROR: could not insert 'nvidia': Key was rejected by service", "DRV-NOTLOADED",
     "mokutil"),
    ("NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x24:0x72:1568)", "CUDA-NODEVICE",
     "RmInitAdapter tells why"),
    ("NVRM: installed in this system requires use of the NVIDIA open kernel modules.",
     "CUDA-NODEVICE", "open kernel module"),
    ("NVRM: Xid (PCI:0000:01:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
     "CUDA-NODEVICE", "off and on"),
    ("GPU has fallen off the bus", "CUDA-NODEVICE", "off and on"),
    ("Unable to determine the device handle for GPU0000:01:00.0: Unknown Error", "CUDA-NODEVICE",
     "off and on"),
    ("NVRM: Xid (PCI:0000:c1:00): 119, pid=1, Timeout after 6s of waiting for RPC response",
     "CUDA-UNKNOWN", "update the NVIDIA driver"),
    ("Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must "
     "use the 'spawn' start method", "forked", "spawn"),
    ("NVML_SUCCESS == r INTERNAL ASSERT FAILED at CUDACachingAllocator.cpp", "nvml-fails-when-full",
     "smaller batch"),
    ("torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 GiB", "no-gpu-memory-amd",
     "rocm-smi"),
    ("XPU out of memory. Tried to allocate 20.00 MiB", "no-gpu-memory-intel", "xpu-smi"),
    ("MPS backend out of memory (MPS allocated: 8.61 GB", "no-gpu-memory-apple", "WATERMARK"),
    ("CUDA error: cudaErrorNoKernelImageForDevice", "DRV-ARCH", "--compute-platform"),
    ("torch.cuda.is_available() returns False", "TORCH-BUILD", "--recreate"),
]  # fmt: skip


def titles(found: Iterable[object]) -> list[str]:
    return [getattr(one, "title") for one in found]  # noqa: B009 - the scripts have no types here


@pytest.mark.parametrize(("said", "name"), WELL_KNOWN)
def test_what_people_paste_finds_its_id(said: str, name: str) -> None:
    assert name in titles(catalogue.search(said))


@pytest.mark.parametrize(("said", "name", "word"), TOLD)
def test_a_message_from_around_torch_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, said: str, name: str, word: str
) -> None:
    bare = PLACE.Place({})
    monkeypatch.setattr(catalogue, "here", lambda: bare)
    found = next(one for one in catalogue.search(said) if one.title == name)
    assert any(word in row.do for cause in found.causes for row in cause[:1])


@pytest.mark.few(6)
@pytest.mark.parametrize("name", catalogue.ids())
def test_each_symptom_of_an_id_finds_it(name: str) -> None:
    entry = catalogue.entry(name)
    for symptom in entry.symptoms:
        pasted = f"RuntimeError: {symptom.replace('...', 'x 1 y')}\nand more"
        halves = [half for half in symptom.split("...") if len(half) > 7]
        for said in (symptom, pasted, symptom.upper(), *halves):
            assert name in titles(catalogue.search(said)), said
    assert catalogue.search(name) == catalogue.search(name.lower()) == [entry]


@pytest.mark.parametrize("name", catalogue.ids())
def test_what_the_smoke_test_says_of_an_id_finds_it(name: str) -> None:
    for row in (row for cause in catalogue.entry(name).causes for row in cause):
        said = re.sub(r"\b[A-Z]{4,}\b", "17", row.says)  # what a check fills in
        if said and not re.search("[A-Z]{2}_", row.says):  # but for the names of variables
            assert name in titles(catalogue.search(said)), said


@pytest.mark.slow
def test_the_number_the_name_and_the_words_of_every_code_find_it() -> None:
    for family, number, (name, said, cause) in catalogue.codes():
        for text in (number, name, f"{name}: it failed", said):
            found = catalogue.search(text) if text else []
            shown = " ".join(" ".join(one.symptoms) for one in found)
            assert not text or name in shown or said in shown, (family, text)
            if text and cause:
                assert (catalogue.id_of(cause) or cause) in titles(found), (family, text)


def explain(project: Project, text: str) -> tuple[int, str, str]:
    """What `--explain` comes to."""
    command = project.command("--explain", text)
    done = subprocess.run(command, env=project.env, capture_output=True, check=False)
    return done.returncode, done.stdout.decode("ascii"), done.stderr.decode("ascii")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def test_a_number_of_a_system_is_of_its_family(project: Project) -> None:
    codes = project.root / "scripts" / "torch_starter" / "surroundings" / "codes.ini"
    text = codes.read_text(encoding="utf-8")
    for family, row in (
        ("windows", "802 = ERROR_X | it is odd | gpu-busy"),
        ("context", "100 = | | no-fabric"),
    ):
        head = f"\n[{family}]\n"
        text = text.replace(head, f"{head}{row}\n") if head in text else f"{text}{head}{row}\n"
    codes.write_text(text, encoding="utf-8")
    assert explain(project, "OSError: [WinError 802] Es ist seltsam")[1].startswith("CUDA-BUSY\n")
    assert "no-fabric" not in explain(project, "[WinError 100]")[1]
    both = explain(project, "802")[1]
    assert "ERROR_X (windows 802)" in both
    assert "CUDA_ERROR_SYSTEM_NOT_READY (cuda 802)" in both
    # A row that names only a cause is more of CUDA's own, of which none is known there.
    there = explain(project, "CUDA_ERROR_NO_DEVICE")[1]
    assert there.startswith("CUDA-FABRIC\nsymptom:  CUDA_ERROR_NO_DEVICE (context 100): no CUDA")
    assert "(cuda 100)" not in there


def test_a_message_that_a_cause_s_pattern_finds_is_told_with_its_words(project: Project) -> None:
    rows = """[a-new-one]
id = TORCH-IMPORT
says = {symbol} of {nobody} is missing.
do.windows+root = Look at {symbol:>9}.
do = Mend {symbol}.
like = others
match = symbol: (?P<symbol>nccl\\w+)

[of-its-family]
of = import
says = A library is missing{whose}.
do = {remove}

[others]
do.docker = Make another image.
do = Ask somebody.
"""
    causes = project.root / "scripts" / "torch_starter" / "surroundings" / "causes"
    (causes / "0.ini").write_text(rows, encoding="utf-8")
    code, text, _ = explain(project, "a.so: undefined symbol: ncclCommX, version 2")
    assert code == 0
    assert text.startswith(
        "TORCH-IMPORT\n"
        "cause:    ncclCommX of NOBODY is missing.\n"
        "remedy:   Mend ncclCommX.\n"
        "          windows+root: Look at ncclCommX.\n"
        "          more places: `--explain others`\n"
    )
    code, text, _ = explain(project, "torch-import")
    assert "\ncause:    A library is missing.\nremedy:   As the smoke test says.\n" in text
    code, text, _ = explain(project, "others")
    assert (code, text.splitlines()[0]) == (0, "others")
    assert {"Make another image.", "Ask somebody."} <= {
        line.split(": ")[-1].strip() for line in text.splitlines()
    }


def test_an_id_is_explained_here_and_elsewhere(project: Project) -> None:
    code, text, _ = explain(project, "DATA-WORKERS")
    assert code == 0
    head, *rest = text.splitlines()
    assert head == "DATA-WORKERS"
    assert "symptom:  unable to allocate shared memory(shm)" in rest
    assert "cause:    DataLoader workers do not work; torch says SAID." in rest
    [remedy] = [row for row in rest if row.startswith("remedy: ")]
    others = [row.strip() for row in rest if row.startswith("     ")]
    assert "elsewhere: Use `num_workers=0`." in others
    # What is to be done here is said once, and what is to be done elsewhere is something else.
    assert remedy[10:] not in [row.partition(": ")[2] for row in others]


def test_much_that_goes_with_a_message_is_a_line_each(project: Project) -> None:
    code, text, _ = explain(project, "error")
    lines = text.splitlines()
    assert code == 0
    assert lines[0] == (f"{len(lines) - 1} go with that; name one of them, or more of the message:")
    assert len(lines) > 10


def test_a_code_that_has_several_causes_is_told(project: Project) -> None:
    code, text, _ = explain(project, "CUDA_ERROR_NO_DEVICE")
    assert (code, text.splitlines()[1:]) == (
        0,
        [
            "symptom:  CUDA_ERROR_NO_DEVICE (cuda 100): no CUDA-capable device is detected",
            "cause:    It has more than one: the smoke test finds out which.",
        ],
    )


@pytest.mark.parametrize("said", ["", "  ", "xyzzy", "CUDA-PI", "\u4f60 (", "[0-9"])
def test_what_nobody_knows_is_said_to_be_unknown(project: Project, said: str) -> None:
    code, text, trouble = explain(project, said)
    assert (code, text) == (2, "")
    what, remedy = trouble.splitlines()
    assert what == f"Nothing is known here of {said!a}."
    assert remedy.startswith("-> Try fewer of its words, or run the smoke test")


@pytest.mark.parametrize(
    ("said", "first"),
    [  # as shells, schedulers, CI, torchrun and the smoke test itself tell how a process ended
        ("crashed (Segmentation fault)", "SIGSEGV"),
        ("PyTorch crashed (Killed); the last check that finished is none.", "killed"),
        ("exit code 0xc0000005", "STATUS_ACCESS_VIOLATION"),
        ("0xC0000005", "STATUS_ACCESS_VIOLATION"),
        ("3221225477", "STATUS_ACCESS_VIOLATION"),
        ("Process finished with exit code -1073741819 (0xC0000005)", "STATUS_ACCESS_VIOLATION"),
        ("Process finished with exit code 139 (interrupted by signal 11: SIGSEGV)", "SIGSEGV"),
        ("Segmentation fault (core dumped)", "SIGSEGV"),
        ("Segmentation fault: 11", "SIGSEGV"),
        ("zsh: segmentation fault  python train.py", "SIGSEGV"),
        ("Fatal Python error: Segmentation fault", "SIGSEGV"),
        ("bash: line 1: 12345 Illegal instruction     (core dumped) python x.py", "illegal"),
        ("Illegal instruction (core dumped)", "illegal-instruction"),
        ("bash: line 1: 12345 Killed                  python x.py", "killed"),
        ("Error: Process completed with exit code 137.", "killed"),
        ("exitcode  : -9 (pid: 4711)", "killed"),
        ("Killed", "killed"),
        ("137", "killed"),
        ("139", "SIGSEGV"),
        ("exit code 139", "SIGSEGV"),
        ("-11", "SIGSEGV"),
        ("Aborted (core dumped)", "SIGABRT"),
        ("Bus error (core dumped)", "bus-error"),
        # What the smoke test knows better than a pattern that fits more.
        ("libcuda.so.1: cannot open shared object file: No such file or directory", "DRV-LIBCUDA"),
        ("ModuleNotFoundError: No module named 'torch'", "TORCH-FOUND"),
        ("No module named 'foo'", "TORCH-IMPORT"),
    ],
)
def test_the_first_that_is_shown_is_the_surest(said: str, first: str) -> None:
    assert titles(catalogue.search(said))[0].startswith(first)


def test_a_number_of_the_system_is_no_code_of_a_library_and_a_resolver_s_is_none() -> None:
    assert titles(catalogue.search("Operation not permitted (os error 1)")) == ["EPERM"]
    said = "[Errno 8] nodename nor servname provided, or not known"
    assert "ENOEXEC" not in titles(catalogue.search(said))


def test_a_number_is_no_part_of_a_message() -> None:
    assert titles(catalogue.search("139")) == ["SIGSEGV"]
    assert catalogue.search("77777") == []


def test_a_missing_library_is_told_as_the_check_itself_does() -> None:
    said = "ImportError: libcublas.so.12: cannot open shared object file: No such file or directory"
    text = catalogue.explain(said)
    assert text.startswith("TORCH-IMPORT\ncause:    libcublas.so.12 is missing")
    assert "ENOENT" not in text
    assert "As the smoke test says" not in text


def test_no_command_of_an_entry_is_empty() -> None:
    for name in (*catalogue.ids(), *catalogue.shared()):
        assert "``" not in catalogue.shown(catalogue.entry(name)), name
    assert "Take the line `FOLDER` out" in catalogue.explain("from-entry")
    assert "then type `ldconfig`" in catalogue.explain("from-entry")


ENDLESS = ("A", "/", "/x.so.1 ", "/lib.so: version `A", "Symbol not found ", "a: ", "`", " ", "[(")


@pytest.mark.few(1)
@pytest.mark.parametrize("part", ENDLESS)
def test_no_pattern_takes_long_whatever_was_said(part: str) -> None:
    lines = f"{part * (3_000 // len(part))}\n" * 333
    begin = time.process_time()
    for said in (part * (1_000_000 // len(part)), lines):
        list(catalogue.find_causes(said))
        catalogue.explain(said)
    assert time.process_time() - begin < 10


def test_each_cause_is_found_at_both_ends_of_a_long_text() -> None:
    noise = f"{'x' * 900}\n" * 1_000
    said = "libcudnn.so.9: cannot open shared object file"
    for text in (f"{said}{'y' * 100_000}\n{noise}", f"{noise}ImportError: {said}: No such file"):
        assert "library-missing" in [one.cause for one in catalogue.find_causes(text)]


def test_what_is_pasted_does_not_command_the_terminal(project: Project) -> None:
    code, text, _ = explain(project, "lib\x1b[2J\aa.so: cannot open shared object file: No such")
    assert code == 0
    assert "\\x1b[2J\\x07" in text
    assert not set(text) & set("\033\a")


@pytest.mark.parametrize("arguments", [("--explain", "DRV-OLD"), ("--list",)])
def test_nobody_has_to_read_an_answer(project: Project, arguments: tuple[str, ...]) -> None:
    command = f"{shlex.join(project.command(*arguments))} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=project.env, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_an_exit_code_of_a_program_s_own_is_no_signal() -> None:
    assert catalogue.explain("command terminated with exit code 127") == ""
