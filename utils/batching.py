"""Grouping images into batches."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def batches_of_equal(items: Iterable[Item], key: Callable[[Item], Hashable], batch_size: int) -> Iterator[list[Item]]:
    """Consecutive items of equal key, at most `batch_size` together; an item whose key is None comes alone.

    Lazy: a batch is complete before the next item but one is asked for.
    """
    batch: list[Item] = []
    for item in items:
        full = len(batch) == batch_size or key(item) is None
        if batch and (full or key(item) != key(batch[0])):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
