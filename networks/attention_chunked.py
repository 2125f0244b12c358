"""Guided contextual attention (Li and Lu, AAAI 2020), exact, in bounded memory; each product is computed once.

Implemented literally, attention multiplies 3x3 patches with 3x3 patches and sums 4x4 patches. Neighbouring patches
overlap, so both sums repeat the same products. With C feature channels and A alpha channels that costs 9 C + 16 A
multiplications per pair of positions; regrouped, C + 4 A: 576 instead of 2,624.

Scores. F is the feature with reflection padding of 1, q a query's position, k a key's:

    <patch q, patch k> = sum over d in {0, 1, 2}^2 of <F(q + d), F(k + d)>

All <F(i), F(j)> are computed once; shifted copies are summed along rows, then along columns.

Output. Alpha with reflection padding of 1 is split into (h + 1) x (w + 1) blocks of 2x2 pixels; the 4x4 patch of
position k consists of the blocks k + t, t in {0, 1}^2. Query q adds A(q, k) block(k + t) to block q + t of the output:

    output block p = sum over k of B(p, k) block(k),    B(p, k) = sum over t of A(p - t, k - t)

with A = 0 outside the grid. B is likewise a sum of copies shifted along rows and columns, and multiplies all 4 A
values of a block at once.
"""

import math
from queue import SimpleQueue

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from networks.attention_tiles import (
    CPU_QUERIES,
    FLOAT_BYTES,
    Report,
    Tile,
    around_needed,
    batched,
    extended,
    on_cores,
    part_of,
    shifted,
    tile_shape,
    tiles,
    to_blocks,
    to_pixels,
    unreported,
)
from networks.cuda_memory import free_cuda_memory

# Rows and columns of a tile of keys: 2 MiB per pair of tiles, which a core's cache holds for six passes over it. The
# bottleneck is then the matrix products: 2 x 576 operations per pair of positions, a quarter more with the positions
# around the tiles. Squarer tiles have fewer of these; keys in long rows make the sums faster.
CPU_KEYS = 8, 128
FEWEST_QUERIES = 128  # per tile with its halo, before tiles run in parallel
CPU_BUDGET = 2 * 2**30
CUDA_STREAMING_BUDGET = 2 * 2**30  # larger chunks are no faster
TILE_ARRAYS = 3  # tile-sized arrays held at once
TRAINING_ARRAYS = 8  # attention-sized arrays, saved for gradients or temporary


def attend(feature: Tensor, alpha: Tensor, key_scale: Tensor, own_penalty: Tensor,
           memory_budget: int | None = None, report: Report = unreported,
           needed: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Each query's attention-weighted mean of alpha's 4x4 patches, at its position on the grid of alpha.

    Args:
        feature: (N, C, h, w); its 3x3 patches are compared.
        alpha: (N, A, 2h, 2w).
        key_scale: (N, h, w), a factor on the scores of each key.
        own_penalty: (N, h, w), added to the logit of each position with itself.
        memory_budget: bytes for arrays of queries x keys; at least one query and those around it, in training one
            row, are held with all keys. None: on CUDA a share of the free memory, on CPUs `CPU_BUDGET`.
        report: called, without gradients, with the number of tiles of queries done and of all.
        needed: (h, w) bool, without gradients: the queries whose part of the message is needed, and no strongest
            keys; the message is incomplete wherever another query's patch reaches. None: everything.

    Returns:
        The message, of alpha's shape, and the flat indices (N, h * w) of the strongest keys, or None.
    """
    grid = F.pad(feature, (1, 1, 1, 1), mode="reflect").permute(0, 2, 3, 1).contiguous()
    blocks = to_blocks(alpha) / 4  # up to four patches overlap
    if torch.is_grad_enabled():
        budget = _training_budget(feature.device) if memory_budget is None else memory_budget
        if key_scale[0].numel() * key_scale.numel() * TRAINING_ARRAYS * FLOAT_BYTES <= budget:
            output, strongest = _attend_rows(grid, grid, blocks, key_scale, own_penalty, 0)
            return to_pixels(output), strongest
        images = [_checkpoint_image(*tensors, budget)
                  for tensors in zip(grid, blocks, key_scale, own_penalty, strict=True)]
    else:
        images = [_stream_image(*tensors, memory_budget, part_of(report, i, len(grid)), needed)
                  for i, tensors in enumerate(zip(grid, blocks, key_scale, own_penalty, strict=True))]
    output, strongest = zip(*images, strict=True)
    return to_pixels(batched(output)), None if strongest[0] is None else batched(strongest)


def patch_scores(queries: Tensor, keys: Tensor) -> Tensor:
    """Dot products (..., R, w, K, w) of the 3x3 patches of (..., R + 2, w + 2, C) and (..., K + 2, w + 2, C)."""
    products = queries.flatten(-3, -2) @ keys.flatten(-3, -2).transpose(-2, -1)
    products = products.unflatten(-1, keys.shape[-3:-1]).unflatten(-3, queries.shape[-3:-1])
    rows = products[..., :-2, :, :-2, :] + products[..., 1:-1, :, 1:-1, :]
    rows += products[..., 2:, :, 2:, :]
    scores = rows[..., :-2, :, :-2] + rows[..., 1:-1, :, 1:-1]
    scores += rows[..., 2:, :, 2:]
    return scores


def block_weights(attention: Tensor) -> Tensor:
    """B (..., R - 1, w - 1, K - 1, w - 1), given the attention (..., R, w, K, w) of R query rows and K key rows.

    At the grid's border the attention must include the zeros beyond it.
    """
    rows = attention[..., :-1, :, :-1, :] + attention[..., 1:, :, 1:, :]
    return rows[..., :-1, :, :-1] + rows[..., 1:, :, 1:]


def _attend_rows(queries: Tensor, grid: Tensor, blocks: Tensor, key_scale: Tensor, own_penalty: Tensor,
                 first: int) -> tuple[Tensor, Tensor]:
    """Attention of R rows of queries, from row `first` on, to all keys; differentiable.

    Args:
        queries: (N, R + 2, w + 2, C), the query rows of the grid, padded.
        grid: (N, h + 2, w + 2, C), padded.
        blocks: (N, h + 1, w + 1, 4 A).
        key_scale: (N, h, w).
        own_penalty: (N, R, w).

    Returns:
        Their contribution (N, R + 1, w + 1, 4 A) to the output blocks of rows `first` to `first + R`, and
        their strongest keys (N, R * w).
    """
    logits = patch_scores(queries, grid) * key_scale[:, None, None]
    shape = logits.shape
    logits = logits.flatten(3).flatten(1, 2)
    logits.diagonal(first * shape[2], dim1=1, dim2=2).add_(own_penalty.flatten(1))
    strongest = logits.detach().argmax(dim=2)
    attention = F.pad(logits.softmax(dim=2).view(shape), (1,) * 8)
    weights = block_weights(attention)
    output = weights.flatten(3).flatten(1, 2) @ blocks.flatten(1, 2)
    return output.unflatten(1, weights.shape[1:3]), strongest


def _checkpoint_image(grid: Tensor, blocks: Tensor, key_scale: Tensor, own_penalty: Tensor,
                      budget: int) -> tuple[Tensor, Tensor]:
    """One image in chunks of queries, whose attention is recomputed for the gradients."""
    h, w = key_scale.shape
    query_rows = _between(1, budget // (w * h * w * TRAINING_ARRAYS * FLOAT_BYTES), h)
    output, strongest = torch.zeros_like(blocks), []
    for first in range(0, h, query_rows):
        last = min(first + query_rows, h)
        part, chosen = checkpoint(_attend_rows, grid[None, first:last + 2], grid[None], blocks[None], key_scale[None],
                                  own_penalty[None, first:last], first, use_reentrant=False)
        output[first:last + 1] += part[0]
        strongest.append(chosen[0])
    return output, torch.cat(strongest)


def _stream_image(grid: Tensor, blocks: Tensor, key_scale: Tensor, own_penalty: Tensor,
                  memory_budget: int | None, report: Report, needed: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """One image without gradients: tiles of queries in reused buffers, keys in tiles."""
    h, w = key_scale.shape
    workers, query_tile, key_tile = _streaming_plan(h, w, memory_budget, grid.device)
    buffers = SimpleQueue()
    for _ in range(workers):
        buffers.put(grid.new_empty((query_tile[0] + 2) * (query_tile[1] + 2) * (h + 2) * (w + 2)))

    def stream(queries: Tile) -> tuple[Tensor, Tensor | None]:
        buffer = buffers.get()
        try:
            shape = *(side + 2 for side in key_scale[queries].shape), h + 2, w + 2
            return _stream_tile(buffer[:math.prod(shape)].view(shape), grid, blocks, key_scale, own_penalty, queries,
                                key_tile, needed is None)
        finally:
            buffers.put(buffer)  # also if memory runs out: other tiles wait for it

    query_tiles = around_needed(tiles(h, w, query_tile), needed)
    output = torch.zeros_like(blocks)
    strongest = key_scale.new_empty((h, w), dtype=torch.long) if needed is None else None
    for tile, (part, chosen) in on_cores(stream, query_tiles, workers, report):
        output[extended(tile, 1)] += part
        if strongest is not None:
            strongest[tile] = chosen
    return output, None if strongest is None else strongest.flatten()


@torch.inference_mode()  # here, since inference mode is per thread
def _stream_tile(bordered: Tensor, grid: Tensor, blocks: Tensor, key_scale: Tensor, own_penalty: Tensor, queries: Tile,
                 key_tile: tuple[int, int], with_strongest: bool) -> tuple[Tensor, Tensor | None]:
    """Attention of a tile of queries to all keys, in place.

    Args:
        bordered: (r + 2, c + 2, h + 2, w + 2), buffer for the attention of r x c queries and the zeros around it.
        key_tile: most rows and columns of a tile of keys.

    Returns:
        Their contribution (r + 1, c + 1, 4 A) to the output blocks, and their strongest keys (r, c) if wanted.
    """
    h, w = key_scale.shape
    attention, patches = bordered[1:-1, 1:-1], grid[extended(queries, 2)]
    for keys in tiles(h, w, key_tile):
        scores = patch_scores(patches, grid[extended(keys, 2)])
        torch.mul(scores, key_scale[keys], out=attention[(..., *shifted(keys, 1, 1))])
    own = attention[(..., *shifted(queries, 1, 1))].diagonal(dim1=0, dim2=2).diagonal(dim1=0, dim2=1)
    own.add_(own_penalty[queries])
    strongest = _softmax_within_border(bordered, with_strongest)

    output = blocks.new_zeros(len(bordered) - 1, bordered.shape[1] - 1, blocks.shape[2])
    for keys in tiles(h, w, key_tile, more=1):
        weights = block_weights(bordered[(..., *extended(keys, 1))])
        output.flatten(0, 1).addmm_(weights.flatten(2).flatten(0, 1), blocks[keys].flatten(0, 1))
    return output, strongest


def _softmax_within_border(bordered: Tensor, with_strongest: bool) -> Tensor | None:
    """Replaces logits (r + 2, c + 2, h + 2, w + 2) by their softmax over keys, 0 on the border.

    Returns the strongest keys (r, c), if wanted.

    The query columns on the border pass through the softmax too: a contiguous array is faster.
    """
    width = bordered.shape[3]
    bordered[::len(bordered) - 1] = 0
    logits = bordered[1:-1]
    for dim in (2, 3):
        for end in (0, -1):
            logits.select(dim, end).fill_(-torch.inf)
    by_query = logits.flatten(2)
    # argmax, not vectorised on CPUs, is three times slower
    strongest = by_query[:, 1:-1].max(dim=2).indices if with_strongest else None
    torch.softmax(by_query, dim=2, out=by_query)
    for end in (0, -1):
        logits.select(1, end).zero_()
    return strongest if strongest is None else (strongest // width - 1) * (width - 2) + strongest % width - 1


def _streaming_plan(h: int, w: int, memory_budget: int | None,
                    device: torch.device) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """Tiles in parallel, and rows and columns of a tile of queries and of one of keys; each gets half the budget."""
    positions = (h + 2) * (w + 2)
    if device.type == "cpu":
        budget = CPU_BUDGET if memory_budget is None else memory_budget
        workers = _between(1, budget // 2 // (FEWEST_QUERIES * positions * FLOAT_BYTES), torch.get_num_threads())
        most_queries, most_keys = CPU_QUERIES, CPU_KEYS
    else:
        budget = memory_budget
        if budget is None:
            budget = min(CUDA_STREAMING_BUDGET, free_cuda_memory(device) // 2)
        workers, most_queries, most_keys = 1, (h, w), (h, w)
    floats = budget // 2 // workers // FLOAT_BYTES
    rows, columns = tile_shape(h, w, most_queries, floats // positions)
    return workers, (rows, columns), tile_shape(h, w, most_keys, floats // (TILE_ARRAYS * (rows + 2) * (columns + 2)))


def _training_budget(device: torch.device) -> int:
    return CPU_BUDGET if device.type == "cpu" else free_cuda_memory(device) // 2


def _between(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))
