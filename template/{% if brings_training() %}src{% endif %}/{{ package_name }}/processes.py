"""This process and the others: it may be alone, or one of those that torchrun started."""

import os
import re
import signal
import sys
from datetime import timedelta
from types import FrameType
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore  # with its types
from torch.distributed.rendezvous import rendezvous

from .device import pick_device
from .failures import TrainingError

AGAIN = 75  # EX_TEMPFAIL: the run is saved, and wants to be started again
BACKENDS = {"cuda": "cpu:gloo,cuda:nccl", "xpu": "cpu:gloo,xpu:xccl"}
STOPS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR2") if hasattr(signal, name)]


class Processes:
    """All processes of a run, as one of them sees them; `first` is the one that writes.

    From now on, SIGTERM and SIGUSR2 only ask for an end, as those do that look after jobs and spot
    machines. SIGUSR1 is left alone: NCCL catches it.
    """

    def __init__(self, device: str = "auto") -> None:
        self.device = pick_device() if device == "auto" else torch.device(device)
        self.rank, self.count = 0, 1
        if "LOCAL_RANK" in os.environ:
            self._meet(int(os.environ["LOCAL_RANK"]))
        elif int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
            raise TrainingError(
                "srun started several of these, and none knows of the others. Let it start"
                " torchrun, as scripts/train.sbatch does."
            )
        self.first, self._told_to_stop, self._parent = self.rank == 0, False, os.getppid()
        for number in STOPS:
            signal.signal(number, self._note)

    def _meet(self, local_rank: int) -> None:
        backend = BACKENDS.get(self.device.type)
        if backend is None:
            self.device = torch.device("cpu")
        elif local_rank >= (count := torch.accelerator.device_count()):
            raise TrainingError(
                f"This is process {local_rank + 1} of a machine that shows {count} GPUs. Start"
                f" torchrun with --nproc-per-node={count}."
            )
        else:
            self.device = torch.device(self.device.type, local_rank)
            torch.accelerator.set_device_index(local_rank)
        known, timeout = self.device if self.device.type == "cuda" else None, patience()
        store, self.rank, self.count = next(rendezvous("env://", timeout=timeout))
        if os.environ.get("GROUP_WORLD_SIZE") == "1":  # where all machines count the same
            # torchrun keeps the addresses of the processes that it starts again.
            store = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
        more: dict[str, Any] = {"store": store, "rank": self.rank, "world_size": self.count}
        dist.init_process_group(backend or "gloo", timeout=timeout, device_id=known, **more)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._told_to_stop = True

    def sum(self, value: Tensor) -> Tensor:
        """A tensor's sum over all processes, which all have to ask for."""
        if self.count > 1:
            dist.all_reduce(value := value.clone())
        return value

    def stop(self) -> bool:
        """Whether any of them was told to stop; all of them have to ask."""
        if "LOCAL_RANK" in os.environ and os.getppid() != self._parent:
            raise TrainingError("torchrun was killed. Start it again.")  # this may run already
        return bool(self.sum(torch.tensor(int(self._told_to_stop))))


def patience() -> timedelta:
    """How long a process waits for the others."""
    text = os.environ.get("TRAIN_TIMEOUT_MINUTES") or "10"
    if not re.fullmatch(r"\d{1,6}(\.\d*)?", text):
        told = f"TRAIN_TIMEOUT_MINUTES={text} is no number of minutes. Give it one, or unset it."
        raise TrainingError(told)
    return timedelta(minutes=float(text))


def read_on(_: int) -> None:
    """Let a process that reads data outlive those signals, which torchrun sends to it too."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


def leave(code: int) -> NoReturn:
    """End this process at once: gloo's threads may abort or hang an ordinary end (pytorch #190489).

    After a failure the group is not taken apart, since the others may wait in it.
    """
    if code in (0, AGAIN) and dist.is_initialized():
        dist.destroy_process_group()
    sys.stdout.flush()
    os._exit(code)
