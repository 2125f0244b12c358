"""The keys that near attention compares with (`networks.attention_near`): single positions, and squares of pooled ones.

A square stands for its n positions by the mean of their vectors (patches times scales), whose score is exactly the mean
of theirs, plus log n:

    sum over k in the square of exp(logit(q, k))  ~  n exp(mean over k of logit(q, k))

The right side is never the larger (Jensen's inequality). What it lacks, relative to all that a query attends to and
summed over a sample of queries, is the square's error; it is 0 where all keys are equal, as in a plain background.
Starting with the largest squares, those with the largest errors are split into four, until there are as many keys as
wanted. The error of a square is at least the sum of its parts' (but for the query's own square), so that this is the
order in which a priority queue would split.

Values: a single position has its own 4 x 4 patch of alpha; a square has the mean of its 2 x 2 blocks, the same for each
quarter of the patch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from networks.attention_tiles import CPU_QUERIES, extended, shifted, tiles

SIDES = (2, 4, 8, 16, 32)  # of squares, in positions; each twice the one before
SAMPLED, AT_ONCE = 256, 32  # queries by which errors are judged, half of them unknown; and how many at once
QUARTERS = ((0, 0), (0, 1), (1, 0), (1, 1))  # of a 4 x 4 patch: rows, columns, in blocks of 2 x 2


class Keys(NamedTuple):
    """M keys, of which the first S are single positions."""

    vectors: Tensor  # (M, 9 C): patches times scales, means
    counts: Tensor  # (M,), positions
    corners: Tensor  # (M,), flat indices of the positions at the squares' corners
    centres: Tensor  # (M,), of those at their centres
    single: Tensor  # (S, 4, 4 A): the blocks of their patches
    means: Tensor  # (M, 4 A): mean blocks
    of_position: Tensor  # (h, w): the key that stands for each position
    positions: Tensor  # (h w,), flat indices of all positions, those of a key one after the other
    starts: Tensor  # (M,): where those of each key start


def pooled_keys(grid: Tensor, blocks: Tensor, key_scale: Tensor, sides: Tensor) -> Keys:
    """The keys, given the side (h, w) of the square that each position is pooled in."""
    h, w = sides.shape
    rows, columns = (torch.arange(size, device=grid.device) for size in (h, w))
    corners = rows[:, None] // sides * sides * w + columns // sides * sides
    labels, of_position = (corners + h * w * (sides > 1)).unique(return_inverse=True)  # single positions first
    counts = of_position.flatten().bincount().to(grid.dtype)
    vectors = grid.new_zeros(len(labels), 9 * grid.shape[2])
    means = blocks.new_zeros(len(labels), blocks.shape[2])
    for tile in tiles(h, w, (CPU_QUERIES[0], w)):
        scaled = patches(grid[extended(tile, 2)]) * key_scale[tile].flatten()[:, None]
        vectors.index_add_(0, of_position[tile].flatten(), scaled)
        around = sum(blocks[shifted(tile, *quarter)] for quarter in QUARTERS)
        means.index_add_(0, of_position[tile].flatten(), around.flatten(0, 1))
    vectors /= counts[:, None]
    means /= len(QUARTERS) * counts[:, None]

    singles = int((labels < h * w).sum())
    corners = labels % (h * w)
    top, left, side = corners // w, corners % w, sides.flatten()[corners]
    centres = (top + side.minimum(h - top) // 2) * w + left + side.minimum(w - left) // 2
    return Keys(vectors, counts, corners, centres, quarters_at(blocks, top[:singles], left[:singles]), means,
                of_position, of_position.flatten().argsort(), counts.long().cumsum(0) - counts.long())


def patches(grid: Tensor) -> Tensor:
    """The flattened 3 x 3 patches (r c, 9 C) of (r + 2, c + 2, C)."""
    r, c = grid.shape[0] - 2, grid.shape[1] - 2
    return torch.cat([grid[down:down + r, right:right + c] for down in range(3) for right in range(3)], 2).flatten(0, 1)


def patches_at(grid: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The flattened 3 x 3 patches (P, 9 C) of a padded grid at P positions."""
    window = torch.arange(3, device=grid.device)
    return grid[rows[:, None, None] + window[:, None], columns[:, None, None] + window].flatten(1)


def quarters_at(blocks: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The blocks (P, 4, 4 A) that make up the 4 x 4 patches at P positions."""
    return torch.stack([blocks[rows + down, columns + right] for down, right in QUARTERS], dim=1)


def square_sides(grid: Tensor, key_scale: Tensor, own_penalty: Tensor, most: Sequence[int]) -> list[Tensor]:
    """The side (h, w) of the square that each position is pooled in, for each of some limits.

    Args:
        grid: (h + 2, w + 2, C), padded.
        key_scale, own_penalty: (h, w), as for `attention_chunked.attend`.
        most: how many keys at most; where that is less than there are squares of the largest side, all of these.
    """
    h, w = key_scale.shape
    areas = [key_scale.new_ones(1, h, w)]
    for _ in SIDES:
        areas.append(_sums(areas[-1]))
    errors = _square_errors(grid, key_scale, own_penalty, areas)
    parts = [_sums(torch.ones_like(area)) for area in areas[:-1]]  # fewer than 4 at the lower and right border
    largest, order = torch.cat([error.flatten() for error in errors]).sort(descending=True)
    keys = areas[-1].numel() + torch.cat([part.flatten() - 1 for part in parts])[order].cumsum(0)
    limits = [largest[affordable] if affordable < len(largest) else -1
              for affordable in (int((keys <= limit).sum()) for limit in most)]
    return [_split(errors, limit, h, w) for limit in limits]


def _split(errors: list[Tensor], least: Tensor | int, h: int, w: int) -> Tensor:
    """`square_sides`, if the squares with larger errors than `least` are split."""
    sides = torch.full((h, w), SIDES[-1], device=errors[0].device)
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
        queries = patches_at(grid, rows, columns).view(-1, 3, 3, grid.shape[2])
        logits = F.conv2d(keys, queries.permute(0, 3, 1, 2))[0] * key_scale  # (s, h, w)
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
