"""The order in which training samples come: the same for one process or many, from any step on."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from torch.utils.data import Sampler


class StepBatches(Sampler[list[tuple[int, int]]]):
    """Batches of sample keys (epoch, index) for one process, for all steps from `first_step` on.

    Samples are numbered through all epochs; each epoch is a permutation of the data set drawn from
    (seed, epoch). A step takes the next batch_size * accumulate * world_size of them, whose every
    world_size-th is this process's. So N processes with batches of B see in each step what one with
    batches of N B sees, and a run that goes on from step s sees what it would have seen.

    Args:
        length: number of samples in the data set.
        batch_size: samples of a batch.
        accumulate: batches of a step.
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
    """The order of an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(length)
