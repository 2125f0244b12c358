"""Grouping images into batches."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def batches_of_equal(items: Iterable[Item], key: Callable[[Item], Hashable], batch_size: int) -> Iterator[list[Item]]:
    """Batches of consecutive items of equal key, at most `batch_size`; an item whose key is None is its own batch.

    Lazy: at most one item beyond a batch is read before it is yielded.
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
