"""What can go wrong, in two sentences: what it is, and what to do."""

import errno
import io
import math
import re
import traceback
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader


class TrainingError(Exception):
    """What is wrong and what to do, for people."""


FULL = "The disk is full. Make room, and start again: no checkpoint is lost."
WRITING = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.ENOENT)
SAID = {  # what errors say, and what that means
    "DataLoader worker": "A process that reads data has ended. --workers 0 shows its error.",
    "Expected to have finished reduction": "A weight has no part in the loss. Take it out of the"
    " model, or give DistributedDataParallel find_unused_parameters=True in training.py.",
    "unexpected pos|PytorchStreamWriter failed": FULL,
    "attribute 'record_event'": "On the CPU this torch has no FSDP. Take --parallel ddp.",  # 2.6
    "(CUDA|HIP) error": "The GPU does not go on. Ask `python scripts/gpu_smoke_test.py`.",
    "connectFullMesh": "The machines do not reach each other. Set GLOO_SOCKET_IFNAME and"
    " NCCL_SOCKET_IFNAME to the network that they share, such as eth0: `ip -brief address`.",
    "NCCL": "The GPUs do not reach each other. NCCL_DEBUG=INFO says more.",
    "[Cc]onnection|[Tt]imed out": "Another process of this run is gone, whose own lines say why."
    " Start all of them again.",
}


def explain(error: BaseException, folder: Path) -> str:
    """An error's cause in sentences; what nobody has foreseen, with its traceback."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    said = str(error).strip().partition("\n")[0]
    number = error.errno if isinstance(error, OSError) else 0
    if isinstance(error, TrainingError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted. The same command goes on from the last checkpoint, if there is one."
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in said:
        return f"Memory is full ({said}). Halve --micro-batch: the curve stays the same."
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"{FULL} ({said})"
    if isinstance(error, OSError) and number in WRITING and error.filename:
        file, whole = Path(error.filename).absolute(), folder.absolute()
        if file.is_relative_to(whole) or whole.is_relative_to(file):
            return f"A file cannot be written ({said}). Let --folder be where you may write."
    if isinstance(error, ConnectionError | EOFError) and "multiprocessing" in str(places(error)):
        said = f"DataLoader worker: {said}"  # whose pipe is broken
    elif not isinstance(error, RuntimeError | AttributeError):  # another's words
        return "".join(traceback.format_exception(error))
    for pattern, meaning in SAID.items():
        if re.search(pattern, said):
            return f"{meaning} ({said})"
    return "".join(traceback.format_exception(error))


def places(error: BaseException) -> list[str]:
    """The files that an error has come through."""
    return [frame.filename for frame in traceback.extract_tb(error.__traceback__)]


def check_finite(step: int, loss: float, norm: float, scaled: bool) -> None:
    """Stop before weights that are no numbers are saved; a scaler leaves out such gradients."""
    if not math.isfinite(loss if scaled else loss + norm):
        raise TrainingError(
            f"The loss of step {step} is {loss}, its gradient's norm {norm}. Take a smaller"
            " --learning-rate or --precision float32, and another --folder."
        )


def refuse_another(path: Path, model: dict[str, Any]) -> None:
    """Stop at a checkpoint whose model has other weights than this one.

    Raises:
        TrainingError: that names one of them.
    """
    entries = FileSystemReader(path).read_metadata().state_dict_metadata.items()
    kept = {name: getattr(one, "size", None) for name, one in entries if name.startswith("model.")}
    here = {f"model.{name}": getattr(one, "shape", None) for name, one in model.items()}
    for name in sorted(kept.keys() | here.keys()):
        if name not in kept or name not in here or kept[name] != here[name]:
            raise TrainingError(
                f"{path} is of another model: {name.removeprefix('model.')} differs. Take that"
                " model again, or another --folder."
            )


def damage(path: Path) -> str:
    """Why a checkpoint cannot be read; "" if it can: each part is a zip, with check sums."""
    try:
        for part in FileSystemReader(path).read_metadata().storage_data.values():
            with (path / part.relative_path).open("rb") as file:
                file.seek(part.offset)
                content = file.read(part.length)
            if len(content) < part.length:
                return f"{part.relative_path} is cut short"
            if zipfile.ZipFile(io.BytesIO(content)).testzip():
                return f"{part.relative_path} is not what was written"
    except Exception as error:  # noqa: BLE001 - whatever pickle makes of a spoilt file
        return f"{type(error).__name__}: {error}"
    return ""
