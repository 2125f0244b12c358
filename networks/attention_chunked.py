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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from networks.cuda_memory import free_cuda_memory

# CPU tile, queries x keys: 1 MiB, which stays in a core's cache for the six passes over it. The bottleneck is then the
# matrix products, not memory: 2 x 576 operations per pair of positions, against about 100 bytes of cache traffic and 30
# of memory traffic.
CPU_QUERIES, CPU_KEYS = 512, 512
FEWEST_ROWS = 4  # of queries per chunk, before chunks run in parallel: each needs two extra rows
CPU_BUDGET = 2 * 2**30
CUDA_STREAMING_BUDGET = 2 * 2**30  # larger chunks are no faster
TILE_ARRAYS = 3  # tile-sized arrays held at once
TRAINING_ARRAYS = 8  # attention-sized arrays, saved for gradients or temporary
FLOAT_BYTES = 4

Result = TypeVar("Result")


def attend(feature: Tensor, alpha: Tensor, key_scale: Tensor, own_penalty: Tensor,
           memory_budget: int | None = None) -> tuple[Tensor, Tensor]:
    """Each query's attention-weighted mean of alpha's 4x4 patches, at its position on the grid of alpha.

    Args:
        feature: (N, C, h, w); its 3x3 patches are compared.
        alpha: (N, A, 2h, 2w).
        key_scale: (N, h, w), a factor on the scores of each key.
        own_penalty: (N, h, w), added to the logit of each position with itself.
        memory_budget: bytes for arrays of queries x keys; at least one row of queries is held with all
            keys. None: on CUDA a share of the free memory, on CPUs a size that suits their caches.

    Returns:
        The message, of alpha's shape, and the flat indices (N, h * w) of the strongest keys.
    """
    grid = F.pad(feature, (1, 1, 1, 1), mode="reflect").permute(0, 2, 3, 1).contiguous()
    blocks = to_blocks(alpha / 4)  # up to four patches overlap
    attend_image = _stream_image
    if torch.is_grad_enabled():
        budget = memory_budget or _training_budget(feature.device)
        if key_scale[0].numel() * key_scale.numel() * TRAINING_ARRAYS * FLOAT_BYTES <= budget:
            output, strongest = _attend_rows(grid, grid, blocks, key_scale, own_penalty, 0)
            return to_pixels(output), strongest
        attend_image = _checkpoint_image
    images = [attend_image(*tensors, memory_budget)
              for tensors in zip(grid, blocks, key_scale, own_penalty, strict=True)]
    output, strongest = (torch.stack(parts) for parts in zip(*images, strict=True))
    return to_pixels(output), strongest


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
                      memory_budget: int | None) -> tuple[Tensor, Tensor]:
    """One image in chunks of queries, whose attention is recomputed for the gradients."""
    h, w = key_scale.shape
    budget = memory_budget or _training_budget(grid.device)
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
                  memory_budget: int | None) -> tuple[Tensor, Tensor]:
    """One image without gradients: chunks of queries in reused buffers, keys in tiles."""
    h, w = key_scale.shape
    workers, query_rows, key_rows = _streaming_plan(h, w, memory_budget, grid.device)
    arrays = SimpleQueue()
    for _ in range(workers):
        bordered = grid.new_empty(query_rows + 2, w + 2, h + 2, w + 2)
        bordered[0], bordered[:, ::w + 1] = 0, 0  # the rest is overwritten for each chunk
        arrays.put(bordered)

    def stream(first: int) -> tuple[Tensor, Tensor]:
        bordered = arrays.get()
        rows = slice(first, min(first + query_rows, h))
        results = _stream_rows(bordered[:rows.stop - first + 2], grid, blocks, key_scale, own_penalty, rows, key_rows)
        arrays.put(bordered)
        return results

    chunks = range(0, h, query_rows)
    output, strongest = torch.zeros_like(blocks), []
    for first, (part, chosen) in zip(chunks, _on_cores(stream, chunks, workers), strict=True):
        output[first:first + len(part)] += part
        strongest.append(chosen)
    return output, torch.cat(strongest)


@torch.inference_mode()  # here, since inference mode is per thread
def _stream_rows(bordered: Tensor, grid: Tensor, blocks: Tensor, key_scale: Tensor, own_penalty: Tensor, rows: slice,
                 key_rows: int) -> tuple[Tensor, Tensor]:
    """`_attend_rows` for one image, in place.

    Args:
        bordered: (R + 2, w + 2, h + 2, w + 2), buffer for the attention and the zeros beyond the grid; its
            first row and the query columns beyond the grid are 0.
        rows: the R rows of queries.
        key_rows: rows of keys in a tile.
    """
    h = len(key_scale)
    bordered[-1] = 0
    attention = bordered[1:-1, 1:-1]
    for top in range(0, h, key_rows):
        bottom = min(top + key_rows, h)
        scores = patch_scores(grid[rows.start:rows.stop + 2], grid[top:bottom + 2])
        torch.mul(scores, key_scale[top:bottom], out=attention[:, :, top + 1:bottom + 1, 1:-1])
    keys_of_these_rows = attention[:, :, rows.start + 1:rows.stop + 1, 1:-1]
    keys_of_these_rows.diagonal(dim1=0, dim2=2).diagonal(dim1=0, dim2=1).add_(own_penalty[rows])
    strongest = _softmax_within_border(bordered[1:-1])

    output = blocks.new_zeros(len(attention) + 1, *blocks.shape[1:])
    for top in range(0, h + 1, key_rows):
        bottom = min(top + key_rows, h + 1)
        weights = block_weights(bordered[:, :, top:bottom + 1]).flatten(2).flatten(0, 1)
        output.flatten(0, 1).addmm_(weights, blocks[top:bottom].flatten(0, 1))
    return output, strongest.flatten()


def _on_cores(function: Callable[[int], Result], items: Sequence[int], workers: int) -> list[Result]:
    """function(item) of each item, in threads whose operations run on one core each.

    Splitting thousands of short operations among the cores would synchronise the cores after each: cheap on an idle
    machine, most of the time on a busy one. Each core also keeps its tile in its own cache.
    """
    if workers == 1:
        return [function(item) for item in items]
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(function, items))
    finally:
        torch.set_num_threads(threads)  # this thread still has them, but new ones would start with 1


def _softmax_within_border(logits: Tensor) -> Tensor:
    """Replaces logits (R, w + 2, h + 2, w + 2) by their softmax over keys, 0 on the border; returns the strongest keys.

    The two query columns on the border pass through the softmax too: a contiguous array is faster.
    """
    _, width, height, _ = logits.shape
    logits[:, :, ::height - 1] = -torch.inf
    logits[:, :, :, ::width - 1] = -torch.inf
    by_query = logits.flatten(2)
    strongest = by_query.max(dim=2).indices[:, 1:-1]  # argmax, not vectorised on CPUs, is three times slower
    torch.softmax(by_query, dim=2, out=by_query)
    logits[:, ::width - 1] = 0
    return (strongest // width - 1) * (width - 2) + strongest % width - 1


def _streaming_plan(h: int, w: int, memory_budget: int | None, device: torch.device) -> tuple[int, int, int]:
    """Parallel chunks, query rows per chunk and key rows per tile; tiles get half the budget."""
    row_pair = FLOAT_BYTES * (w + 2) ** 2
    if device.type == "cpu":
        budget = memory_budget or CPU_BUDGET
        all_at_once = budget // 2 // (row_pair * (h + 2) * (FEWEST_ROWS + 2))
        workers = _between(1, min(torch.get_num_threads(), all_at_once), h)
        most_queries, most_keys = min(CPU_QUERIES // w, math.ceil(h / workers)), CPU_KEYS // w
    else:
        budget = memory_budget or min(CUDA_STREAMING_BUDGET, free_cuda_memory(device) // 2)
        workers, most_queries, most_keys = 1, h, h
    half = budget // 2 // workers
    query_rows = _between(1, min(most_queries, half // (row_pair * (h + 2)) - 2), h)
    key_rows = _between(1, min(most_keys, half // (row_pair * TILE_ARRAYS * (query_rows + 2)) - 2), h)
    return workers, query_rows, key_rows


def _training_budget(device: torch.device) -> int:
    return CPU_BUDGET if device.type == "cpu" else free_cuda_memory(device) // 2


def _between(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))


def to_blocks(alpha: Tensor) -> Tensor:
    """Alpha (N, A, 2h, 2w), reflection-padded, as 2x2 blocks (N, h + 1, w + 1, 4 A)."""
    bordered = F.pad(alpha, (1, 1, 1, 1), mode="reflect")
    return F.pixel_unshuffle(bordered, 2).permute(0, 2, 3, 1).contiguous()


def to_pixels(blocks: Tensor) -> Tensor:
    """The inverse of `to_blocks`: blocks (N, h + 1, w + 1, 4 A) to (N, A, 2h, 2w), without the padding."""
    return F.pixel_shuffle(blocks.permute(0, 3, 1, 2), 2)[..., 1:-1, 1:-1]
