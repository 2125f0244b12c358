"""Tiles of the grid of positions that attention acts on, and their distribution over cores."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

Item, Result = TypeVar("Item"), TypeVar("Result")
Tile = tuple[slice, slice]  # rows and columns of a grid
Report = Callable[[int, int], object]  # called with the number of tiles done, and of all tiles

FLOAT_BYTES = 4
CPU_QUERIES = 16, 32  # rows and columns of a tile of queries


def unreported(done: int, total: int) -> None:
    """A report to nobody."""


def part_of(report: Report, number: int, count: int) -> Report:
    """The report of one of several images of equal size."""
    return lambda done, total: report(number * total + done, count * total)


def tiles(h: int, w: int, shape: tuple[int, int], more: int = 0) -> list[Tile]:
    """Tiles of this shape that cover a grid of h x w; the last ones have so many more rows and columns."""
    rows, columns = ([slice(start, start + side if start + side < length else length + more)
                      for start in range(0, length, side)] for length, side in zip((h, w), shape, strict=True))
    return list(itertools.product(rows, columns))


def around_needed(query_tiles: list[Tile], needed: Tensor | None) -> list[Tile]:
    """Tiles without the rows and columns at their ends, and without the tiles, in which no query is needed.

    Args:
        needed: (h, w) bool; None: all are.
    """
    if needed is None:
        return query_tiles
    smaller = []
    for tile in query_tiles:
        ends = [part.nonzero()[[0, -1], 0].tolist() for part in (needed[tile].any(dim=dim) for dim in (1, 0))
                if part.any()]
        if ends:
            smaller.append(tuple(slice(side.start + first, side.start + last + 1)
                                 for side, (first, last) in zip(tile, ends, strict=True)))
    return smaller


def extended(tile: Tile, more: int) -> Tile:
    """With more rows and columns at the end; all around, if the grid is padded."""
    return tuple(slice(side.start, side.stop + more) for side in tile)


def shifted(tile: Tile, down: int, right: int) -> Tile:
    """Moved by so many rows and columns."""
    return tuple(slice(side.start + by, side.stop + by) for side, by in zip(tile, (down, right), strict=True))


def tile_shape(h: int, w: int, most: tuple[int, int], most_with_halo: int) -> tuple[int, int]:
    """Rows and columns of tiles of about equal size on a grid of h x w, within `most`; at least 1 x 1.

    Args:
        most_with_halo: positions of a tile and around it.
    """
    rows, columns = min(h, most[0]), min(w, most[1])
    while (rows + 2) * (columns + 2) > most_with_halo and rows * columns > 1:
        rows, columns = (rows, math.ceil(columns / 2)) if columns >= rows else (math.ceil(rows / 2), columns)
    return math.ceil(h / math.ceil(h / rows)), math.ceil(w / math.ceil(w / columns))


def on_cores(function: Callable[[Item], Result], items: Sequence[Item], workers: int,
             report: Report) -> Iterator[tuple[Item, Result]]:
    """Each item with function(item), in order, from threads whose operations run on one core each.

    One worker is the calling thread, with all its cores. Threads that compute take denormal numbers as 0.

    Splitting thousands of short operations among the cores would synchronise the cores after each: cheap on an idle
    machine, most of the time on a busy one. Each core also keeps its tile in its own cache.
    """
    threads, pool = torch.get_num_threads(), ThreadPoolExecutor(workers, initializer=_begin_worker)
    tiny = torch.tensor([1e-30], dtype=torch.float32, device="cpu")
    flushed = not (tiny * 1e-10).any()
    try:
        if workers > 1:
            results = pool.map(function, items)
            torch.set_num_threads(1)  # for what the caller does with results: all cores are taken
        else:
            results = map(function, items)
            torch.set_flush_denormal(True)
        for done, pair in enumerate(zip(items, results, strict=True), start=1):
            yield pair
            report(done, len(items))
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupted program does not wait for them
        torch.set_num_threads(threads)  # of this thread and of new ones
        torch.set_flush_denormal(flushed)


def _begin_worker() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # of this thread: products of weights below 1e-38 take ten times as long


def batched(images: Sequence[Tensor]) -> Tensor:
    """`torch.stack` of images, without a copy if there is but one."""
    return images[0][None] if len(images) == 1 else torch.stack(images)


def to_blocks(alpha: Tensor) -> Tensor:
    """Alpha (N, A, 2h, 2w), reflection-padded, as 2x2 blocks (N, h + 1, w + 1, 4 A)."""
    return F.pixel_unshuffle(F.pad(alpha, (1, 1, 1, 1), mode="reflect"), 2).permute(0, 2, 3, 1).contiguous()


def to_pixels(blocks: Tensor) -> Tensor:
    """The inverse of `to_blocks`: blocks (N, h + 1, w + 1, 4 A) to (N, A, 2h, 2w), without the padding."""
    return F.pixel_shuffle(blocks.permute(0, 3, 1, 2), 2)[..., 1:-1, 1:-1]
