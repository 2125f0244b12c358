"""Guided contextual attention in NumPy and ONNX Runtime: exact, in bounded memory. Needs no PyTorch.

The same computation as `networks.attention_chunked`, which explains it: tiles of queries in reused buffers, keys in
tiles. ONNX Runtime computes the matrix products, NumPy the shifted sums and the softmax between them, in as many
threads as cores; both release the interpreter's lock.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np

from matting.onnx_stages import StagedNetwork
from utils.boxes import Box, bounding_box

QUERIES, KEYS = (16, 32), (8, 128)  # rows and columns of a tile, as in `networks.attention_chunked`
BUDGET = 2**30  # bytes of the attention of all tiles that are computed at once
FEWEST_QUERIES = 128  # of a tile and around it, before tiles are computed in several threads
FLOAT_BYTES = 4
LEAST_LOGIT = -75.0  # relative to the largest: smaller weights would be denormal numbers, ten times as slow


def threads_within_budget(h: int, w: int, most: int) -> int:
    """How many threads, at most so many, leave room within `BUDGET` for tiles of which the positions around are few."""
    return max(1, min(most, BUDGET // (FEWEST_QUERIES * (h + 2) * (w + 2) * FLOAT_BYTES)))


def query_tiles(needed: np.ndarray, workers: int) -> list[Box]:
    """Tiles with the needed queries (h, w) bool, to be computed by at most so many threads within `BUDGET`."""
    h, w = needed.shape
    most = BUDGET // threads_within_budget(h, w, workers) // ((h + 2) * (w + 2) * FLOAT_BYTES)
    rows, columns = min(h, QUERIES[0]), min(w, QUERIES[1])
    while (rows + 2) * (columns + 2) > most and rows * columns > 1:
        rows, columns = (rows, math.ceil(columns / 2)) if columns >= rows else (math.ceil(rows / 2), columns)
    boxes = _tiles(h, w, (math.ceil(h / math.ceil(h / rows)), math.ceil(w / math.ceil(w / columns))))
    return [box for box in (bounding_box(needed, box) for box in boxes) if box]


def attend(network: StagedNetwork, grid: np.ndarray, blocks: np.ndarray, key_scale: np.ndarray,
           own_penalty: np.ndarray, tiles: list[Box], workers: int, report: Callable[[], object]) -> np.ndarray:
    """Attention-weighted means of alpha's 4x4 patches, in blocks.

    Args:
        grid: (C, h + 2, w + 2), the padded feature whose 3x3 patches are compared.
        blocks: (h + 1, w + 1, 4 A), of alpha / 4.
        key_scale: (h, w), a factor on the scores of each key.
        own_penalty: (h, w), added to the logit of each position with itself.
        tiles: of `query_tiles`, for as many workers.
        report: called after each tile.

    Returns:
        The blocks (h + 1, w + 1, 4 A) of the message to the tiles' queries.
    """
    h, w = key_scale.shape
    workers, buffers = threads_within_budget(h, w, workers), SimpleQueue()
    most_positions = max(((tile.height + 2) * (tile.width + 2) for tile in tiles), default=0)
    for _ in range(workers):
        buffers.put(_Buffers(most_positions, h, w))
    by_position = np.ascontiguousarray(grid.transpose(1, 2, 0))

    def stream(tile: Box) -> np.ndarray:
        own = buffers.get()
        try:
            attention = _attention(network, own, grid, by_position, key_scale, own_penalty, tile)
            return _weighted_blocks(network, own, attention, blocks)
        finally:
            buffers.put(own)

    message, pool = np.zeros_like(blocks), ThreadPoolExecutor(workers)
    try:
        for tile, part in zip(tiles, pool.map(stream, tiles), strict=True):
            message[_extended(tile, 1).slices] += part
            report()
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or an interruption nobody needs the rest
    return message


class _Buffers:
    """One thread's memory, reused: new memory must be cleared by the system, which takes as long as a sum."""

    def __init__(self, positions: int, h: int, w: int):
        keys = (min(h, KEYS[0]) + 2) * (min(w, KEYS[1]) + 2)
        self.attention = np.empty(positions * (h + 2) * (w + 2), np.float32)
        self.products, self.sums = (np.empty(positions * keys, np.float32) for _ in range(2))

    @staticmethod
    def view(memory: np.ndarray, *shape: int) -> np.ndarray:
        return memory[:math.prod(shape)].reshape(shape)


def _attention(network: StagedNetwork, buffers: _Buffers, grid: np.ndarray, by_position: np.ndarray,
               key_scale: np.ndarray, own_penalty: np.ndarray, tile: Box) -> np.ndarray:
    """The attention of a tile of r x c queries to all keys, and zeros around it, (r + 2, c + 2, h + 2, w + 2)."""
    (h, w), rows, columns = key_scale.shape, tile.height, tile.width
    bordered = buffers.view(buffers.attention, rows + 2, columns + 2, h + 2, w + 2)
    inner = bordered[1:-1, 1:-1, 1:-1, 1:-1]
    queries = np.ascontiguousarray(by_position[_extended(tile, 2).slices]).reshape(-1, len(grid))
    for keys in _tiles(h, w, KEYS):
        compared = np.ascontiguousarray(_extended(keys, 2).of(grid)).reshape(len(grid), -1)
        products = buffers.view(buffers.products, len(queries), compared.shape[1])
        network.run_into("products", products, queries=queries, keys=compared)
        products = products.reshape(rows + 2, columns + 2, keys.height + 2, keys.width + 2)
        sums = buffers.view(buffers.sums, rows, columns + 2, keys.height, keys.width + 2)
        np.add(products[:-2, :, :-2], products[1:-1, :, 1:-1], out=sums)
        sums += products[2:, :, 2:]
        scores = keys.of(inner)
        np.add(sums[:, :-2, :, :-2], sums[:, 1:-1, :, 1:-1], out=scores)
        scores += sums[:, 2:, :, 2:]
        scores *= keys.of(key_scale)
    own = inner[:, :, tile.slices[0], tile.slices[1]]
    np.einsum("ijij->ij", own)[...] += tile.of(own_penalty)  # a view of the diagonal
    _softmax_within_border(bordered)
    return bordered


def _softmax_within_border(bordered: np.ndarray) -> None:
    """Replaces logits (r + 2, c + 2, h + 2, w + 2) by their softmax over keys, 0 on the border."""
    border = [(slice(None),) * axis + (end,) for axis in range(4) for end in (0, -1)]
    for side in border[4:]:
        bordered[side] = -np.inf
    for row in bordered[1:-1]:
        for logits in row[1:-1].reshape(len(row) - 2, -1):
            logits -= logits.max()
            np.maximum(logits, LEAST_LOGIT, out=logits)
            np.exp(logits, out=logits)
            logits *= 1 / logits.sum()
    for side in border:
        bordered[side] = 0


def _weighted_blocks(network: StagedNetwork, buffers: _Buffers, bordered: np.ndarray,
                     blocks: np.ndarray) -> np.ndarray:
    """The contribution (r + 1, c + 1, 4 A) of a tile's attention, as from `_attention`, to the output blocks."""
    rows, columns, h, w = (side - 2 for side in bordered.shape)
    total, before = (np.zeros(((rows + 1) * (columns + 1), blocks.shape[2]), np.float32) for _ in range(2))
    for keys in _tiles(h, w, KEYS, more=1):
        attention = _extended(keys, 1).of(bordered)
        sums = buffers.view(buffers.sums, rows + 1, columns + 2, keys.height, keys.width + 1)
        np.add(attention[:-1, :, :-1], attention[1:, :, 1:], out=sums)
        weights = buffers.view(buffers.products, rows + 1, columns + 1, keys.height, keys.width)
        np.add(sums[:, :-1, :, :-1], sums[:, 1:, :, 1:], out=weights)
        total, before = before, total
        network.run_into("sums", total, weights=weights.reshape(len(total), -1), before=before,
                         blocks=np.ascontiguousarray(blocks[keys.slices]).reshape(-1, blocks.shape[2]))
    return total.reshape(rows + 1, columns + 1, -1)


def _tiles(h: int, w: int, shape: tuple[int, int], more: int = 0) -> list[Box]:
    """Tiles of this shape that cover a grid of h x w; the last ones have so many more rows and columns."""
    rows, columns = ([(start, start + side if start + side < length else length + more)
                      for start in range(0, length, side)] for length, side in zip((h, w), shape, strict=True))
    return [Box(*row, *column) for row in rows for column in columns]


def _extended(tile: Box, more: int) -> Box:
    """With more rows and columns at the end; all around, if the grid is padded."""
    return tile._replace(bottom=tile.bottom + more, right=tile.right + more)
