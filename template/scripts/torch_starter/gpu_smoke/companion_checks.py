"""Checks with torch, in the child process: do the companions that are asked for compute?

Each is loaded only where the project asks for it. torchvision's is in full_checks.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import io
import re
import shutil
import struct
import subprocess
import sys
import wave
from pathlib import Path

from surroundings.knowledge import find_cause
from surroundings.system import install

from .check import Check, CheckFunction, Job, check, one_line
from .loading import chain, of_loader
from .machine import FAULTY, WINDOWS, installed, repair, version_file
from .origins import owner_of

CHECKS: dict[str, CheckFunction] = {}
# The check that fails where a companion does not load, for what follows from what.
PACKAGES = {
    "VISION-NMS": "torchvision",
    "AUDIO-FILTER": "torchaudio",
    "CODEC-WAV": "torchcodec",
}
# What the loaders of Linux, macOS and Windows say if a library lacks what another was built for.
OTHER_TORCH = re.compile(r"undefined symbol|[Ss]ymbol not found|WinError 127|nms does not exist")
LACKS = re.compile(r"(?:undefined symbol|[Ss]ymbol not found): *'?(\w+)")
# torch's own, as mangled names begin, and those of its stable interface; macOS adds an underscore.
TORCH_SYMBOL = re.compile(r"_?_Z\w*(3c10|2at|5torch|6caffe2)|_?(aoti_)?torch_|_?THP")
GPU_LIBRARY = re.compile(r"lib(?:c10_|torch_)?(?:cuda|hip|xpu)|lib(?:cudart|nvrtc|amdhip)")
NO_PYTHON = ", or take torchcodec 0.16 or newer, which does without it."
OTHER_CUDA = "compiled with different CUDA"


@check(CHECKS, "AUDIO-FILTER")
def check_audio(job: Job) -> Check | None:
    """Does torchaudio load, and its compiled filter compute the right numbers?"""
    if "torchaudio" not in job.companions:
        return None
    x, a, b = [0.5, -0.25, 1.0, 0.0, 0.125], [1.0, -0.5, 0.25], [0.5, 0.25, 0.125]
    wanted: list[float] = []
    for n in range(len(x)):  # y[n] = sum b[k] x[n-k] - sum a[k] y[n-k], k > 0
        past = range(min(n, 2) + 1)
        value = sum(b[k] * x[n - k] for k in past) - sum(a[k] * wanted[n - k] for k in past if k)
        wanted.append(value)
    try:
        functional = importlib.import_module("torchaudio.functional")
        inputs = [job.torch.tensor(one) for one in ([x], a, b)]
        found = functional.lfilter(*inputs, clamp=False)[0].tolist()
    except Exception as error:
        return explain("torchaudio", error, job)
    if any(not abs(one - other) < 1e-6 for one, other in zip(found, wanted, strict=True)):
        return Check("fail", f"torchaudio filters to {found}, {wanted} is right.", FAULTY)
    return Check("pass", "torchaudio's filter computes the right numbers")


def explain(name: str, error: Exception, job: Job) -> Check:
    """What it means that a companion does not load: torch hides the loader's words in a cause."""
    root = chain(error)[-1]
    said = f"{type(root).__name__}: {root}"
    if find_cause(said, "run") and not find_cause(said, "import"):
        raise error  # it has loaded, and computes
    return explain_words(name, str(root), one_line(root), job)


def explain_words(name: str, said: str, line: str, job: Job) -> Check:
    """The same, by all that the loader says and by one line of it."""
    companion, torch = f"{name} {version_of(name)}", f"torch {job.torch.__version__}"
    missing = re.search(r"(\S+\.so[.\d]*): cannot open shared object", said)
    owner = owner_of(missing[1]) if missing else ""
    if OTHER_CUDA in said or (missing and GPU_LIBRARY.match(missing[1]) and not owner):
        problem = f"{companion} is built for another CUDA than {torch}; it says {line}."
        return Check("fail", problem, job.companions[name])
    if OTHER_TORCH.search(said) and (of_torch(said) or not LACKS.search(said)):
        problem = f"{companion} is built for another torch than {torch}; it says {line}."
        return Check("fail", problem, job.companions[name])
    if missing and missing[1].startswith("libpython"):
        folder = Path(sys.base_prefix, "lib")  # of a Python that has it built in as well
        here = (folder / missing[1]).is_file()
        get = f"Let LD_LIBRARY_PATH name {folder}" if here else f"Install {missing[1]}"
        return Check("fail", f"{companion} does not work; it says {line}.", f"{get}{NO_PYTHON}")
    problem = f"{companion} does not work; it says {line}."
    if not owner and (found := of_loader(said, problem, ImportError(said))):
        found.id = ""  # it is this companion's, whatever it is for torch
        return found
    whose = f"; it belongs to the package {owner}, which is not whole" if owner else ""
    return Check("fail", f"{companion} does not work; it says {line}{whose}.", repair())


def of_torch(said: str) -> bool:
    """Whether the symbol that a loader does not find is one of torch's."""
    symbol = LACKS.search(said)
    return bool(symbol and TORCH_SYMBOL.match(symbol[1]))


def version_of(name: str) -> str:
    """A companion's version, with what it was built for, if that can be known."""
    return version_file(name).get("__version__", "") or installed(name)


# --- torchcodec, and the FFmpeg that it takes from the system

RATE = 8000  # samples a second
SAMPLES = [0, 8192, -16384, 24576, -32768]  # of 16 bits: these are exact as float32
FFMPEG = {
    "": "ffmpeg",
    "rhel": "ffmpeg-free",  # of EPEL
    "fedora": "ffmpeg-free",
    "windows": "Gyan.FFmpeg.Shared",  # the others of that maker are static
}
NOT_THERE = re.compile(  # a library of FFmpeg, in the words of Linux and of macOS; of Windows: any
    r"(?:^|Library not loaded: \S*/)(lib(?:av|sw|postproc)[\w.-]+)|Could not find module"
)


@check(CHECKS, "CODEC-WAV")
def check_codec(job: Job) -> Check | None:
    """Does torchcodec find FFmpeg, and decode a sound? A failure has the id of its cause."""
    if "torchcodec" not in job.companions:
        return None
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(struct.pack(f"<{len(SAMPLES)}h", *SAMPLES))
    try:
        decoders = importlib.import_module("torchcodec.decoders")
        if not hasattr(decoders, "AudioDecoder"):  # before torchcodec 0.2, which loads FFmpeg too
            return Check("pass", "torchcodec loads FFmpeg")
        samples = decoders.AudioDecoder(file.getvalue()).get_all_samples()
        found, rate = samples.data[0].tolist(), samples.sample_rate
    except Exception as error:
        said = loader_says() if "Could not load libtorchcodec" in str(error) else {}
        return explain_ffmpeg(said, job) if said else explain("torchcodec", error, job)
    wanted = [one / 2**15 for one in SAMPLES]
    if (found, rate) != (wanted, RATE):
        problem = f"torchcodec decodes {found} at {rate} Hz, {wanted} at {RATE} is right."
        return Check("fail", problem, repair())
    major = getattr(importlib.import_module("torchcodec._core"), "ffmpeg_major_version", "")
    return Check("pass", f"torchcodec decodes with FFmpeg {major}".strip())


def loader_says() -> dict[int, str]:
    """Why each of torchcodec's libraries does not load, by the major version of FFmpeg it is for.

    Its own message has this too, but not in all of its versions.
    """
    spec = importlib.util.find_spec("torchcodec")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    found: dict[int, str] = {}
    for path in sorted(folder.glob("libtorchcodec_core*")):
        if parts := re.match(r"libtorchcodec_core(\d+)\.", path.name):
            try:
                for one in (path, path.with_name(path.name.replace("core", "custom_ops"))):
                    ctypes.CDLL(str(one))
            except OSError as error:
                found[int(parts[1])] = str(error)
    return found


def explain_ffmpeg(said: dict[int, str], job: Job) -> Check:
    """What it means that torchcodec loads none of its libraries: mostly that there is no FFmpeg."""
    for words in said.values():
        if not NOT_THERE.search(words) or "incompatible architecture" in words:
            return explain_words("torchcodec", words, one_line(OSError(words)), job)
    majors = sorted(said)
    several = ", ".join(map(str, majors[:-1]))
    kinds = f"{several} or {majors[-1]}" if several else str(majors[-1])
    problem = f"torchcodec needs the shared libraries of FFmpeg {kinds}, and finds none of them"
    remedy = install(FFMPEG, f"FFmpeg {majors[0]} to {majors[-1]} with its shared libraries")
    program, have, shared = ffmpeg_here()
    data = {"ffmpeg": program, "said": {str(major): words for major, words in said.items()}}
    found = [NOT_THERE.search(words) for words in said.values()]
    lacks = [one[1] for one in found if one and one[1] and not one[1].startswith("libavutil")]
    if lacks:
        problem = f"torchcodec finds an FFmpeg that is not whole: it lacks {lacks[0]}"
    elif program and not shared:
        problem += f": {program} is a static build, without them"
    elif have and have not in majors:
        problem += f": {program} is FFmpeg {have}"
        remedy = f"Take a torchcodec that is for FFmpeg {have}, or install FFmpeg {majors[-1]}."
    elif have and not WINDOWS:  # where torchcodec itself looks in the folder of that program
        problem += f", though {program} is FFmpeg {have}"
        path = "DYLD_FALLBACK_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
        remedy = f"Let {path} name the folder of its libavutil. Else: {remedy}"
    return Check("fail", f"{problem}.", remedy, data, "CODEC-FFMPEG")


def ffmpeg_here() -> tuple[str, int, bool]:
    """The ffmpeg of PATH, its major version, and whether it has shared libraries, as it says."""
    program = shutil.which("ffmpeg") or ""
    try:
        command = [program, "-version"]
        said = subprocess.run(command, capture_output=True, timeout=10, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return "", 0, False
    text = said.decode("utf-8", "replace")
    parts = re.match(r"ffmpeg version n?(\d+)\.", text)
    return program, int(parts[1]) if parts else 0, "--enable-shared" in text
