"""This process and the others: it may be alone, or one of those that torchrun started."""

import os
import signal
import sys
from datetime import timedelta
from types import FrameType
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import HashStore  # torch.distributed.HashStore, with its types

from .device import pick_device
from .failures import TrainingError

AGAIN = 75  # EX_TEMPFAIL: the run is saved, and wants to be started again
TIMEOUT = timedelta(minutes=10)  # for what all processes do together
BACKENDS = {"cuda": "cpu:gloo,cuda:nccl", "xpu": "cpu:gloo,xpu:xccl"}


class Processes:
    """All processes of a run, as one of them sees them; `first` is the one that writes.

    From now on, SIGTERM and SIGUSR2 only ask for an end, as those do that look after jobs and spot
    machines. SIGUSR1 is left alone: NCCL catches it.
    """

    def __init__(self) -> None:
        self.device = pick_device()
        if "LOCAL_RANK" in os.environ:
            self._meet(int(os.environ["LOCAL_RANK"]))
        elif int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
            raise TrainingError(
                "srun started several of these, and none knows of the others. Let it start"
                " torchrun, as scripts/train.sbatch does."
            )
        else:
            dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self.first = self.rank == 0
        self._told_to_stop = False
        for name in ("SIGTERM", "SIGUSR2"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._note)

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
        known = self.device if self.device.type == "cuda" else None
        dist.init_process_group(backend or "gloo", timeout=TIMEOUT, device_id=known)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._told_to_stop = True

    def mean(self, value: Tensor) -> Tensor:
        """A tensor's mean over all processes, which all have to ask for."""
        if self.count > 1:
            dist.all_reduce(value := value.clone())
        return value / self.count

    def stop(self) -> bool:
        """Whether any of them was told to stop; all of them have to ask."""
        return bool(self.mean(torch.tensor(int(self._told_to_stop))))


def leave(code: int) -> NoReturn:
    """End this process at once: gloo's threads may abort or hang an ordinary end (pytorch #190489).

    After a failure the group is not taken apart, since the others may wait in it.
    """
    if code in (0, AGAIN):
        dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
