"""What can end a run, in two sentences: what is wrong, and what to do."""

import errno
import re
import traceback

import torch
from torch.distributed.checkpoint.api import CheckpointException


class TrainingError(Exception):
    """What is wrong and what to do, for people."""


SAID = {  # what errors say, and what that means
    "DataLoader worker": "A process that reads data has ended. --workers 0 shows its error.",
    "Missing key in checkpoint|[Ss]ize mismatch": "The checkpoint is of another model. Take that"
    " model again, or another --folder.",
    "attribute 'record_event'": "On the CPU this torch has no FSDP. Take --parallel ddp.",  # 2.6
    "(CUDA|HIP) error": "The GPU does not go on. Ask `python scripts/gpu_smoke_test.py`.",
    "connectFullMesh": "The machines do not reach each other. Set GLOO_SOCKET_IFNAME and"
    " NCCL_SOCKET_IFNAME to the network that they share, such as eth0: `ip -brief address`.",
    "NCCL": "The GPUs do not reach each other. NCCL_DEBUG=INFO says more.",
    "[Cc]onnection|[Tt]imed out": "Another process of this run is gone, whose own lines say why."
    " Start all of them again.",
}


def explain(error: BaseException) -> str:
    """An error's cause in sentences; what nobody has foreseen, with its traceback."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    said = str(error).strip().partition("\n")[0]
    if isinstance(error, ConnectionError | EOFError):  # of a pipe: a group of processes has others
        said = f"DataLoader worker: {said}"
    number = error.errno if isinstance(error, OSError) else 0
    if isinstance(error, TrainingError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted. The same command goes on from the last checkpoint."
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in said:
        return f"Memory is full ({said}). Halve --micro-batch: the curve stays the same."
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full ({said}). Make room, and start again: no checkpoint is lost."
    if number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR):
        return f"A file cannot be written ({said}). Let --folder be where you may write."
    for pattern, meaning in SAID.items():
        if re.search(pattern, said):
            return f"{meaning} ({said})"
    return "".join(traceback.format_exception(error))
