"""Deterministic, resumable batch sampler, independent of the number of processes."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from torch.utils.data import Sampler


class StepBatches(Sampler[list[tuple[int, int]]]):
    """Batches of sample keys (epoch, index) for one process, for all steps from `first_step` on.

    Samples are numbered across epochs; each epoch is a permutation of the dataset seeded by (seed, epoch). A
    step takes the next batch_size * accumulate * world_size samples, of which this process gets every
    world_size-th. So N processes with batches of B see the same samples in each step as one with batches of
    N B, and a resumed run sees the same samples as an uninterrupted one.

    Args:
        length: number of samples in the dataset.
        batch_size: samples per batch.
        accumulate: batches per step.
    """

    def __init__(self, length: int, batch_size: int, accumulate: int, first_step: int, last_step: int,
                 seed: int = 0, rank: int = 0, world_size: int = 1):
        self.length, self.seed, self.rank, self.world_size = length, seed, rank, world_size
        self.batch_size, self.accumulate = batch_size, accumulate
        self.first_step, self.last_step = first_step, last_step

    def __len__(self) -> int:
        return (self.last_step - self.first_step) * self.accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch in range(self.first_step * self.accumulate, self.last_step * self.accumulate):
            first = batch * self.batch_size * self.world_size + self.rank
            yield [self._key(first + i * self.world_size) for i in range(self.batch_size)]

    def _key(self, number: int) -> tuple[int, int]:
        epoch, position = divmod(number, self.length)
        return epoch, int(permutation(self.length, self.seed, epoch)[position])


@lru_cache(maxsize=4)
def permutation(length: int, seed: int, epoch: int) -> np.ndarray:
    """The sample order of an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(length)
