"""Guided contextual attention whose cost grows with the image, not with its square: keys that are alike are pooled.

`networks.attention_chunked` compares each of N queries with each of N keys. Here a query meets at most `MOST_KEYS`:
single positions where that matters, and squares of 2 x 2 to 32 x 32 positions elsewhere (`networks.attention_keys`).

Each tile of queries then meets the positions of those smaller squares one by one that it attends to most, at most
`REFINED`: with sharp attention, to few keys, these are most of what matters.

Queries whose patches are more than `CLOSE` positions away from the unknown region, on whose features alpha depends
less, meet half as many keys and none of their positions, and receive means of blocks. For inference only.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from networks.attention_keys import QUARTERS, Keys, patches, patches_at, pooled_keys, quarters_at, square_sides
from networks.attention_tiles import (
    CPU_QUERIES,
    FLOAT_BYTES,
    Report,
    Tile,
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

MOST_KEYS = 4096
LEAST_POOLING = 8  # at least so many positions per key on average, for small images
REFINED = 512  # positions of the squares that matter most to a tile of queries, which it meets one by one
LARGEST_REFINED = 64  # positions of such a square; larger ones are plain, and would take the place of many
CLOSE = 2  # positions
ROUGH_SHARE = 2  # times fewer keys for queries that are not close to the unknown region
DEFAULT_BUDGET = 2**30


class Scene(NamedTuple):
    """An image, as all tiles of its queries need it."""

    grid: Tensor  # (h + 2, w + 2, C), padded features
    blocks: Tensor  # (h + 1, w + 1, 4 A), of alpha
    key_scale: Tensor  # (h, w)
    own_penalty: Tensor  # (h, w)
    close: Tensor  # (h, w) bool, which queries are close to the unknown region
    rough: Tensor  # (h, w) bool, which of the others are needed
    keys: Keys  # of those that are close
    rough_keys: Keys  # of the others


def attend_near(feature: Tensor, alpha: Tensor, key_scale: Tensor, own_penalty: Tensor,
                memory_budget: int | None = None, report: Report = unreported,
                needed: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """`attention_chunked.attend`, approximately; arguments as there.

    Args:
        memory_budget: bytes for the tiles of queries that are computed at once; one is, in any case.

    Returns:
        The message, of alpha's shape, and the flat indices (N, h * w) of the strongest keys, or None; of a square that
        the query does not meet position by position, the centre.
    """
    grid = F.pad(feature, (1, 1, 1, 1), mode="reflect").permute(0, 2, 3, 1).contiguous()
    blocks = to_blocks(alpha) / 4  # up to four patches overlap
    if torch.is_grad_enabled() and (feature.requires_grad or alpha.requires_grad):
        raise RuntimeError("near attention has no gradients")
    budget = DEFAULT_BUDGET if memory_budget is None else memory_budget
    images = [_attend_image(*tensors, budget, part_of(report, i, len(grid)), needed)
              for i, tensors in enumerate(zip(grid, blocks, key_scale, own_penalty, strict=True))]
    output, strongest = (batched(parts) for parts in zip(*images, strict=True))
    return to_pixels(output), strongest if needed is None else None


def keys_met(positions: int) -> int:
    """The most keys that a query meets in an image of so many positions."""
    return min(MOST_KEYS, positions // LEAST_POOLING)


def _attend_image(grid: Tensor, blocks: Tensor, key_scale: Tensor, own_penalty: Tensor,
                  memory_budget: int, report: Report, needed: Tensor | None) -> tuple[Tensor, Tensor]:
    h, w = key_scale.shape
    most = keys_met(h * w)
    keys, rough_keys = (pooled_keys(grid, blocks, key_scale, sides) for sides in
                        square_sides(grid, key_scale, own_penalty, (most, most // ROUGH_SHARE)))
    close = F.max_pool2d((own_penalty < 0).to(grid)[None], 2 * CLOSE + 1, stride=1, padding=CLOSE)[0] > 0
    if needed is None:
        needed = torch.ones_like(close)
    scene = Scene(grid, blocks, key_scale, own_penalty, close, needed & ~close, keys, rough_keys)
    # Of one shape, whatever the memory and the device: which positions a tile meets one by one depends on it.
    query_tiles = tiles(h, w, tile_shape(h, w, CPU_QUERIES, math.prod(CPU_QUERIES) * 2))
    query_tiles = [tile for tile in query_tiles if needed[tile].any()]
    per_query = 3 * (len(keys.counts) + REFINED) + keys.vectors.shape[1] + 2 * len(QUARTERS) * blocks.shape[2]
    most_workers = torch.get_num_threads() if grid.device.type == "cpu" else 1
    workers = max(1, min(most_workers, memory_budget // (math.prod(CPU_QUERIES) * per_query * FLOAT_BYTES)))

    output, strongest = torch.zeros_like(blocks), torch.empty_like(keys.of_position)
    for tile, (message, chosen) in on_cores(lambda tile: _attend_tile(scene, tile), query_tiles, workers, report):
        strongest[tile] = chosen
        for quarter, part in zip(QUARTERS, message.unbind(2), strict=True):
            output[shifted(tile, *quarter)] += part
    return output, strongest.flatten()


@torch.inference_mode()  # here, since inference mode is per thread
def _attend_tile(scene: Scene, tile: Tile) -> tuple[Tensor, Tensor]:
    """The blocks (r, c, 4, 4 A) that the patches of r x c queries receive, and their strongest keys (r, c), flat.

    Those of close queries though they may not be needed: what the others meet one by one depends on them. Zeros for
    queries that are neither.
    """
    vectors = patches(scene.grid[extended(tile, 2)])
    close, rough = scene.close[tile].flatten(), scene.rough[tile].flatten()
    message = vectors.new_zeros(len(close), len(QUARTERS), scene.blocks.shape[2])
    strongest = scene.keys.of_position.new_zeros(len(close))
    if close.any():
        rows, columns = (torch.arange(side.start, side.stop, device=close.device) for side in tile)
        itself = (rows[:, None] * scene.close.shape[1] + columns).flatten()[close]
        message[close], strongest[close] = _attend_closely(scene, vectors[close], itself)
    if rough.any():
        message[rough], strongest[rough] = _attend_roughly(scene.rough_keys, vectors[rough])
    return message.unflatten(0, scene.close[tile].shape), strongest.view(scene.close[tile].shape)


def _attend_closely(scene: Scene, queries: Tensor, itself: Tensor) -> tuple[Tensor, Tensor]:
    """The messages (Q, 4, 4 A) to queries (Q, 9 C) at flat indices (Q,), and their strongest keys (Q,), flat."""
    keys, w, key_scale = scene.keys, scene.close.shape[1], scene.key_scale.flatten()
    penalty = scene.own_penalty.flatten()[itself]
    logits = _mean_logits(keys, queries, key_scale[itself], penalty < 0, keys.of_position.flatten()[itself])
    highest, places = logits.max(dim=1)
    strongest, corners = keys.centres[places], keys.corners[places]
    strongest = torch.where((strongest == itself) & (penalty < 0), corners, strongest)
    logits += keys.counts.log()

    members = _members_of_strongest(keys, logits)
    rows, columns = members // w, members % w
    member_logits = queries @ (patches_at(scene.grid, rows, columns) * key_scale[members][:, None]).T
    member_logits += (members == itself[:, None]) * penalty[:, None]
    if len(members):
        logits[:, keys.of_position.flatten()[members]] = -torch.inf
        highest_member, place = member_logits.max(dim=1)
        strongest = torch.where(highest_member > highest, members[place], strongest)
    singles, pooled, refined = (torch.cat([logits, member_logits], dim=1).softmax(dim=1)
                                .split([len(keys.single), len(keys.counts) - len(keys.single), len(members)], dim=1))
    quarters = quarters_at(scene.blocks, rows, columns).flatten(1)
    message = torch.addmm(refined @ quarters, singles, keys.single.flatten(1)).unflatten(1, (len(QUARTERS), -1))
    return message.add_((pooled @ keys.means[len(keys.single):])[:, None]), strongest


def _attend_roughly(keys: Keys, queries: Tensor) -> tuple[Tensor, Tensor]:
    """The mean blocks (Q, 1, 4 A) for all of the patches of known queries (Q, 9 C), and their strongest keys (Q,)."""
    logits = queries @ keys.vectors.T
    strongest = keys.centres[logits.argmax(dim=1)]
    return (logits.add_(keys.counts.log()).softmax(dim=1) @ keys.means)[:, None], strongest


def _mean_logits(keys: Keys, queries: Tensor, scale: Tensor, unknown: Tensor, own: Tensor) -> Tensor:
    """Mean logits (Q, M) of the keys' positions, of an unknown query's own key those of the others, less their number.

    Args:
        queries: (Q, 9 C), patches.
        scale: (Q,), their scales as keys.
        unknown: (Q,) bool, whether a query may not attend to itself.
        own: (Q,), the keys that stand for them.
    """
    logits, own = queries @ keys.vectors.T, own[:, None]
    counts, mean = keys.counts[own], logits.gather(1, own)
    others = (counts - 1).clamp_min(1)
    mean_of_others = (counts * mean - (queries.square().sum(dim=1) * scale)[:, None]) / others + (others / counts).log()
    mean_of_others.masked_fill_(counts < 2, -torch.inf)
    return logits.scatter_(1, own, torch.where(unknown[:, None], mean_of_others, mean))


def _members_of_strongest(keys: Keys, logits: Tensor) -> Tensor:
    """The positions (P,) of the squares that matter most to some queries, at most `REFINED`."""
    singles = len(keys.single)
    mass = logits.softmax(dim=1)[:, singles:].sum(dim=0)
    order = singles + mass.argsort(descending=True)
    order = order[keys.counts[order] <= LARGEST_REFINED]
    counts = keys.counts[order].long()
    chosen, counts = (values[counts.cumsum(0) <= REFINED] for values in (order, counts))
    before = counts.cumsum(0) - counts
    shifts = (keys.starts[chosen] - before).repeat_interleave(counts)
    return keys.positions[torch.arange(len(shifts), device=logits.device) + shifts]
