"""The data, and which of it each process gets in each step.

For your own, change `Digits`. What is random in a sample has to come from its index.
"""

import hashlib
from functools import lru_cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import Dataset


class Digits(Dataset[tuple[Tensor, Tensor]]):
    """1,797 handwritten digits of 8 x 8 pixels; a fifth of them is held out, never learnt from."""

    def __init__(self, held_out: bool = False) -> None:
        found = load_digits()
        mask = (torch.arange(len(found.target)) % 5 == 0) == held_out
        self.images = torch.tensor(found.images, dtype=torch.float32)[mask].unsqueeze(1) / 16
        self.labels = torch.tensor(found.target)[mask]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, 1, 8, 8) and labels (n,) by their indices (n,)."""
        return self.images[indices], self.labels[indices]


def steps_per_epoch(samples: int, batch: int) -> int:
    """How many steps an epoch has; its last batch may be smaller, and no sample is left out."""
    return -(-samples // batch)


def mixed(*numbers: int) -> int:
    """A seed that these numbers make: other ones, however large, make another."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:7], "big")


@lru_cache(maxsize=2)
def order_of(epoch: int, samples: int, seed: int) -> Tensor:
    """The order of an epoch."""
    return torch.randperm(samples, generator=torch.Generator().manual_seed(mixed(seed, epoch)))


def batch_of(step: int, samples: int, batch: int, seed: int) -> Tensor:
    """The indices of a step, counted from 0 over all epochs: nothing of this has to be saved."""
    epoch, position = divmod(step, steps_per_epoch(samples, batch))
    return order_of(epoch, samples, seed)[position * batch : (position + 1) * batch]


def share_of(indices: Tensor, rank: int, processes: int, size: int) -> list[tuple[Tensor, Tensor]]:
    """One process's micro-batches of indices and weights: as many, and as large, for each process.

    The sum of losses by weight, in the mean over the processes, is the mean over the batch. Where
    the samples do not suffice for that, the first is taken again, with the weight 0.
    """
    mine = indices[rank::processes]
    weights = torch.full((len(mine),), processes / len(indices))
    if len(mine) * processes < len(indices):
        mine, weights = torch.cat([mine, indices[:1]]), torch.cat([weights, torch.zeros(1)])
    return list(zip(mine.split(size), weights.split(size), strict=True))
