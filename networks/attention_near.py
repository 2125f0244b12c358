"""Guided contextual attention whose cost grows with the image, not with its square: keys that are alike are pooled.

`networks.attention_chunked` compares each of N queries with each of N keys. Here a query meets at most `MOST_KEYS`:
single positions where that matters, and squares of 2 x 2 to 32 x 32 positions elsewhere. A square stands for its n
positions by the mean of their vectors (patches times scales), whose score is exactly the mean of theirs, plus log n:

    sum over k in the square of exp(logit(q, k))  ~  n exp(mean over k of logit(q, k))

The right side is never the larger (Jensen's inequality). What it lacks, relative to all that a query attends to and
summed over a sample of queries, is the square's error; it is 0 where all keys are equal, as in a plain background.
Starting with the largest squares, those with the largest errors are split into four, until `MOST_KEYS` are reached. The
error of a square is at least the sum of its parts' (but for the query's own square), so that this is the order in which
a priority queue would split.

Values: a single position has its own 4 x 4 patch of alpha; a square has the mean of its 2 x 2 blocks, the same for each
quarter of the patch.

Each tile of queries then meets the positions of those smaller squares one by one that it attends to most, at most
`REFINED`: with sharp attention, to few keys, these are most of what matters. For inference only.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from networks.attention_tiles import (
    CPU_QUERIES,
    FLOAT_BYTES,
    Report,
    Tile,
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
SIDES = (2, 4, 8, 16, 32)  # of squares, in positions; each twice the one before
SAMPLED, AT_ONCE = 256, 32  # queries by which errors are judged, half of them unknown; and how many at once
QUARTERS = ((0, 0), (0, 1), (1, 0), (1, 1))  # of a 4 x 4 patch: rows, columns, in blocks of 2 x 2
DEFAULT_BUDGET = 2**30


class Keys(NamedTuple):
    """M keys, of which the first S are single positions."""

    vectors: Tensor  # (M, 9 C): patches times scales, means
    counts: Tensor  # (M,), positions
    corners: Tensor  # (M,), flat indices of the positions at the squares' corners
    centres: Tensor  # (M,), of those at their centres
    single: Tensor  # (S, 4, 4 A): the blocks of their patches
    pooled: Tensor  # (M - S, 4 A): mean blocks
    of_position: Tensor  # (h, w): the key that stands for each position
    positions: Tensor  # (h w,), flat indices of all positions, those of a key one after the other
    starts: Tensor  # (M,): where those of each key start


def attend_near(feature: Tensor, alpha: Tensor, key_scale: Tensor, own_penalty: Tensor,
                memory_budget: int | None = None, report: Report = unreported) -> tuple[Tensor, Tensor]:
    """`attention_chunked.attend`, approximately; arguments as there.

    Args:
        memory_budget: bytes for the tiles of queries that are computed at once; one is, in any case.

    Returns:
        The message, of alpha's shape, and the flat indices (N, h * w) of the strongest keys; of a square that the query
        does not meet position by position, the centre.
    """
    grid = F.pad(feature, (1, 1, 1, 1), mode="reflect").permute(0, 2, 3, 1).contiguous()
    blocks = to_blocks(alpha / 4)  # up to four patches overlap
    if torch.is_grad_enabled() and (feature.requires_grad or alpha.requires_grad):
        raise RuntimeError("near attention has no gradients")
    budget = DEFAULT_BUDGET if memory_budget is None else memory_budget
    images = [_attend_image(*tensors, budget, part_of(report, i, len(grid)))
              for i, tensors in enumerate(zip(grid, blocks, key_scale, own_penalty, strict=True))]
    output, strongest = (torch.stack(parts) for parts in zip(*images, strict=True))
    return to_pixels(output), strongest


def keys_met(positions: int) -> int:
    """The most keys that a query meets in an image of so many positions."""
    return min(MOST_KEYS, positions // LEAST_POOLING)


def _attend_image(grid: Tensor, blocks: Tensor, key_scale: Tensor, own_penalty: Tensor,
                  memory_budget: int, report: Report) -> tuple[Tensor, Tensor]:
    h, w = key_scale.shape
    sides = square_sides(grid, key_scale, own_penalty, keys_met(h * w))
    keys = _pooled_keys(grid, blocks, key_scale, sides)
    # Of one shape, whatever the memory and the device: which positions a tile meets one by one depends on it.
    query_tiles = tiles(h, w, tile_shape(h, w, CPU_QUERIES, math.prod(CPU_QUERIES) * 2))
    per_query = 3 * (len(keys.counts) + REFINED) + keys.vectors.shape[1] + 2 * len(QUARTERS) * blocks.shape[2]
    most_workers = torch.get_num_threads() if grid.device.type == "cpu" else 1
    workers = max(1, min(most_workers, memory_budget // (math.prod(CPU_QUERIES) * per_query * FLOAT_BYTES)))

    def stream(queries: Tile) -> tuple[Tensor, Tensor]:
        return _attend_tile(keys, grid, blocks, key_scale, own_penalty, queries)

    output, strongest = torch.zeros_like(blocks), torch.empty_like(keys.of_position)
    for tile, (message, chosen) in on_cores(stream, query_tiles, workers, report):
        strongest[tile] = chosen
        for quarter, part in zip(QUARTERS, message.unbind(2), strict=True):
            output[shifted(tile, *quarter)] += part
    return output, strongest.flatten()


@torch.inference_mode()  # here, since inference mode is per thread
def _attend_tile(keys: Keys, grid: Tensor, blocks: Tensor, key_scale: Tensor, own_penalty: Tensor,
                 queries: Tile) -> tuple[Tensor, Tensor]:
    """The blocks (r, c, 4, 4 A) that the patches of r x c queries receive, and their strongest keys (r, c), flat."""
    shape, w = key_scale[queries].shape, key_scale.shape[1]
    rows, columns = (torch.arange(side.start, side.stop, device=grid.device) for side in queries)
    itself = (rows[:, None] * w + columns).flatten()
    patches, penalty = _patches(grid[extended(queries, 2)]), own_penalty.flatten()[itself]
    logits = _logits(keys, patches, key_scale.flatten()[itself], penalty < 0, keys.of_position.flatten()[itself])
    highest, places = logits.max(dim=1)
    strongest, corners = keys.centres[places], keys.corners[places]
    strongest = torch.where((strongest == itself) & (penalty < 0), corners, strongest)
    logits += keys.counts.log()

    members = _members_of_strongest(keys, logits)
    member_rows, member_columns = members // w, members % w
    vectors = _patches_at(grid, member_rows, member_columns) * key_scale.flatten()[members][:, None]
    member_logits = patches @ vectors.T
    member_logits += (members == itself[:, None]) * penalty[:, None]
    if len(members):
        logits[:, keys.of_position.flatten()[members]] = -torch.inf
        highest_member, place = member_logits.max(dim=1)
        strongest = torch.where(highest_member > highest, members[place], strongest)
    singles, pooled, refined = (torch.cat([logits, member_logits], dim=1).softmax(dim=1)
                                .split([len(keys.single), len(keys.pooled), len(members)], dim=1))
    quarters = _quarters_at(blocks, member_rows, member_columns).flatten(1)
    message = torch.addmm(refined @ quarters, singles, keys.single.flatten(1)).unflatten(1, (len(QUARTERS), -1))
    message += (pooled @ keys.pooled)[:, None]
    return message.unflatten(0, shape), strongest.view(shape)


def _logits(keys: Keys, patches: Tensor, scale: Tensor, unknown: Tensor, own: Tensor) -> Tensor:
    """Mean logits (Q, M) of the keys' positions, of an unknown query's own key those of the others, less their number.

    Args:
        patches: (Q, 9 C), the queries'.
        scale: (Q,), their scales as keys.
        unknown: (Q,) bool, whether a query may not attend to itself.
        own: (Q,), the keys that stand for them.
    """
    logits, own = patches @ keys.vectors.T, own[:, None]
    counts, mean = keys.counts[own], logits.gather(1, own)
    others = (counts - 1).clamp_min(1)
    mean_of_others = (counts * mean - (patches.square().sum(dim=1) * scale)[:, None]) / others + (others / counts).log()
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


def _pooled_keys(grid: Tensor, blocks: Tensor, key_scale: Tensor, sides: Tensor) -> Keys:
    """The keys, given the side (h, w) of the square that each position is pooled in."""
    h, w = sides.shape
    rows, columns = (torch.arange(size, device=grid.device) for size in (h, w))
    corners = rows[:, None] // sides * sides * w + columns // sides * sides
    labels, of_position = (corners + h * w * (sides > 1)).unique(return_inverse=True)  # single positions first
    counts = of_position.flatten().bincount().to(grid.dtype)
    vectors = grid.new_zeros(len(labels), 9 * grid.shape[2])
    means = blocks.new_zeros(len(labels), blocks.shape[2])
    for tile in tiles(h, w, (CPU_QUERIES[0], w)):
        patches = _patches(grid[extended(tile, 2)]) * key_scale[tile].flatten()[:, None]
        vectors.index_add_(0, of_position[tile].flatten(), patches)
        around = sum(blocks[shifted(tile, *quarter)] for quarter in QUARTERS)
        means.index_add_(0, of_position[tile].flatten(), around.flatten(0, 1))
    vectors /= counts[:, None]
    means /= len(QUARTERS) * counts[:, None]

    singles = int((labels < h * w).sum())
    corners = labels % (h * w)
    top, left, side = corners // w, corners % w, sides.flatten()[corners]
    centres = (top + side.minimum(h - top) // 2) * w + left + side.minimum(w - left) // 2
    return Keys(vectors, counts, corners, centres, _quarters_at(blocks, top[:singles], left[:singles]), means[singles:],
                of_position, of_position.flatten().argsort(), counts.long().cumsum(0) - counts.long())


def _patches(grid: Tensor) -> Tensor:
    """The flattened 3 x 3 patches (r c, 9 C) of (r + 2, c + 2, C)."""
    r, c = grid.shape[0] - 2, grid.shape[1] - 2
    return torch.cat([grid[down:down + r, right:right + c] for down in range(3) for right in range(3)], 2).flatten(0, 1)


def _patches_at(grid: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The flattened 3 x 3 patches (P, 9 C) of a padded grid at P positions."""
    window = torch.arange(3, device=grid.device)
    return grid[rows[:, None, None] + window[:, None], columns[:, None, None] + window].flatten(1)


def _quarters_at(blocks: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The blocks (P, 4, 4 A) that make up the 4 x 4 patches at P positions."""
    return torch.stack([blocks[rows + down, columns + right] for down, right in QUARTERS], dim=1)


def square_sides(grid: Tensor, key_scale: Tensor, own_penalty: Tensor, most: int) -> Tensor:
    """The side (h, w) of the square that each position is pooled in; at most so many squares, or all of the largest.

    Args:
        grid: (h + 2, w + 2, C), padded.
        key_scale, own_penalty: (h, w), as for `attention_chunked.attend`.
    """
    h, w = key_scale.shape
    areas = [key_scale.new_ones(1, h, w)]
    for _ in SIDES:
        areas.append(_sums(areas[-1]))
    errors = _square_errors(grid, key_scale, own_penalty, areas)
    parts = [_sums(torch.ones_like(area)) for area in areas[:-1]]  # fewer than 4 at the lower and right border
    largest, order = torch.cat([error.flatten() for error in errors]).sort(descending=True)
    added = torch.cat([part.flatten() - 1 for part in parts])[order]
    affordable = int((areas[-1].numel() + added.cumsum(0) <= most).sum())
    least = largest[affordable] if affordable < len(largest) else -1
    sides = torch.full((h, w), SIDES[-1], device=grid.device)
    for side, error in reversed(list(zip(SIDES, errors, strict=True))):
        split = (error[0] > least).repeat_interleave(side, 0).repeat_interleave(side, 1)[:h, :w]
        sides[(sides == side) & split] = side // 2
    return sides


def _sums(values: Tensor) -> Tensor:
    """Sums of values (s, h, w) over 2 x 2, fewer at the border if a side is odd: (s, ceil(h / 2), ceil(w / 2))."""
    return F.avg_pool2d(values, 2, ceil_mode=True, divisor_override=1)


def _square_errors(grid: Tensor, key_scale: Tensor, own_penalty: Tensor, areas: list[Tensor]) -> list[Tensor]:
    """What squares of `SIDES` lack, each (1, ceil(h / side), ceil(w / side)), summed over a sample of queries.

    Args:
        areas: the numbers of positions of squares of 1 and `SIDES`.
    """
    keys = grid.permute(2, 0, 1)[None]
    errors = [torch.zeros_like(area) for area in areas[1:]]
    for rows, columns in zip(*(part.split(AT_ONCE) for part in _sampled(own_penalty)), strict=True):
        patches = _patches_at(grid, rows, columns).view(-1, 3, 3, grid.shape[2])
        logits = F.conv2d(keys, patches.permute(0, 3, 1, 2))[0] * key_scale  # (s, h, w)
        weights = logits.clone()
        weights[torch.arange(len(rows), device=grid.device), rows, columns] += own_penalty[rows, columns]
        total = weights.flatten(1).logsumexp(dim=1)[:, None, None]
        logits -= total
        weights.sub_(total).exp_()
        for area, error in zip(areas[1:], errors, strict=True):
            weights, logits = _sums(weights), _sums(logits)
            lacking = weights - area * (logits / area).exp_()
            error += lacking.clamp_min_(0).sum(dim=0, keepdim=True)  # below 0 in the query's own square
    return errors


def _sampled(own_penalty: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of queries, the same whenever the image is."""
    generator = torch.Generator().manual_seed(0)
    everywhere = torch.arange(own_penalty.numel(), device=own_penalty.device)
    unknown = everywhere[own_penalty.flatten() < 0]
    drawn = torch.cat([some[torch.randint(len(some), (SAMPLED // 2,), generator=generator).to(some.device)]
                       for some in (unknown, everywhere) if len(some)])
    return drawn // own_penalty.shape[1], drawn % own_penalty.shape[1]
