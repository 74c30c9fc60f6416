"""A step of the loop: the same for any number of processes, and after any restart."""

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from .checkpoints import State
from .data import Digits, batch_of, mixed, share_of, steps_per_epoch
from .failures import TrainingError
from .model import Block, Classifier
from .processes import Processes, read_on
from .settings import Settings


class Trainer:
    """A model in training: what a checkpoint keeps, and what takes it a step further."""

    def __init__(self, settings: Settings, together: Processes) -> None:
        self.settings, self.together, self.device = settings, together, together.device
        self.data, self.step = Digits(), 0
        if settings.batch > len(self.data):
            raise TrainingError(
                f"A batch of {settings.batch} is more than the {len(self.data)} samples that there"
                " are. Take a smaller --batch."
            )
        self.per_epoch = steps_per_epoch(len(self.data), settings.batch)
        self.last = settings.epochs * self.per_epoch
        self.dtype = dtype_of(settings.precision, self.device)
        torch.manual_seed(mixed(settings.seed))  # the same weights in every process
        self.model = parallel(Classifier().to(self.device), settings, together.count)
        weights, rate = self.model.parameters(), settings.learning_rate
        self.optimizer = torch.optim.AdamW(weights, rate, weight_decay=settings.weight_decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, rate, total_steps=self.last + 1
        )
        self.rates = self.schedule.get_last_lr
        self.scaler = torch.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.parts = lru_cache(maxsize=2)(self.parts_of)  # for the loop, and for what loads
        self.loaded = self.load()  # which begins when the first is asked for

    def state(self) -> State:
        """All that a step depends on; what is random depends on its number, and needs no state."""
        model, optimizer = get_state_dict(self.model, self.optimizer)
        more = {"schedule": self.schedule.state_dict(), "scaler": self.scaler.state_dict()}
        return {"model": model, "optimizer": optimizer, "step": self.step, **more}

    def resume(self, state: State) -> None:
        """Be as when `state` was made, by any number of processes."""
        kept = {"model_state_dict": state["model"], "optim_state_dict": state["optimizer"]}
        set_state_dict(self.model, self.optimizer, **kept)
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]

    def parts_of(self, step: int) -> list[tuple[Tensor, Tensor]]:
        """The indices and weights of this process's micro-batches of a step."""
        settings, together = self.settings, self.together
        batch = batch_of(step, len(self.data), settings.batch, settings.seed)
        return share_of(batch, together.rank, together.count, settings.micro_batch)

    def load(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The micro-batches of this process, from the next step on."""
        indices = (part for step in range(self.step, self.last) for part, _ in self.parts(step))
        if not (workers := self.settings.workers):  # a DataLoader takes 2 % of a tiny step
            yield from map(self.data.__getitem__, indices)
            return
        more: dict[str, Any] = {"num_workers": workers, "pin_memory": self.device.type == "cuda"}
        yield from DataLoader(self.data, None, sampler=indices, worker_init_fn=read_on, **more)

    def take_step(self) -> tuple[Tensor, Tensor]:
        """A step: a loss, whose mean over the processes is the batch's, and the gradient's norm."""
        self.seed_step()
        parts = self.parts(self.step)
        total = torch.zeros((), device=self.device)
        for left, (_, weights) in zip(reversed(range(len(parts))), parts, strict=True):
            images, labels = next(self.loaded)
            with self.exchange(left == 0):
                scores, labels = self.scores(images), labels.to(self.device, non_blocking=True)
                losses = nn.functional.cross_entropy(scores, labels, reduction="none")
                loss = losses @ weights.to(self.device)
                torch.autograd.backward(self.scaler.scale(loss))
            total += loss.detach()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.schedule.step()
        self.step += 1
        return total, norm.full_tensor() if isinstance(norm, DTensor) else norm

    def seed_step(self) -> None:
        """Let what is random in a step depend on its number, so that a restart repeats it."""
        random.seed(number := mixed(self.settings.seed, self.step, self.together.rank))
        torch.default_generator.manual_seed(number)  # torch.manual_seed looks at all devices: slow
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(number)

    def exchange(self, now: bool) -> AbstractContextManager[None]:
        """Let the processes add up their gradients only in the last part of a batch."""
        if isinstance(self.model, FSDPModule):
            self.model.set_requires_gradient_sync(now)
        elif isinstance(self.model, DistributedDataParallel) and not now:
            return self.model.no_sync()
        return nullcontext()

    def scores(self, images: Tensor) -> Tensor:
        """The model's scores (n, classes) for images (n, 1, h, w), in float32."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            found: Tensor = self.model(images.to(self.device, non_blocking=True))
        return found.float()

    @torch.no_grad()
    def measure(self, data: Digits) -> Tensor:
        """The scores of all data, in every process, on the CPU."""
        parts = torch.arange(len(data)).split(self.settings.micro_batch)
        self.model.eval()
        found = [self.scores(data[part][0]).cpu() for part in parts]
        self.model.train()
        return torch.cat(found)


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """What a precision is on a device; `auto` is the one that its matrix units are made for."""
    if precision == "auto":
        old = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
        made_for = {"cuda": "float16" if old else "bfloat16", "xpu": "bfloat16"}
        precision = made_for.get(device.type, "float32")
    found: torch.dtype = getattr(torch, precision)
    return found


def parallel(model: nn.Module, settings: Settings, count: int) -> nn.Module:
    """Let the processes share a model as the settings say."""
    if settings.compile:
        model.compile()  # in place, so that its weights keep their names
    if count == 1:
        return model
    if settings.parallel == "ddp":
        return DistributedDataParallel(model)
    for block in (one for one in model.modules() if isinstance(one, Block)):
        fully_shard(block)
    fully_shard(model)
    return model
