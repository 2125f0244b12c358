"""Distances to regions, for many masks at once, and what comes of them."""

import torch
import torch.nn.functional as F
from torch import Tensor


def squared_distances(region: Tensor, reach: int) -> Tensor:
    """Squared Euclidean distance of each pixel to the nearest of a region, exact up to `reach` pixels.

    Args:
        region: (n, h, w) bool; beyond its border nothing belongs to it.
        reach: 1 or more.

    Returns:
        (n, h, w) whole numbers; (reach + 1)^2 where the region is farther.
    """
    far = reach + 1
    along = torch.where(region, 0, far).to(torch.int16 if 2 * far**2 < 2**15 else torch.int32)
    step = 1
    while step <= reach:  # after steps of 1, 2, 4, ... the distances along rows are right
        before = along.clone()
        torch.minimum(along[..., step:], before[..., :-step] + step, out=along[..., step:])
        torch.minimum(along[..., :-step], before[..., step:] + step, out=along[..., :-step])
        step *= 2
    squares = along.clamp_max(far).square()
    nearest = squares.clone()
    for step in range(1, min(far, squares.shape[1])):
        above, below = nearest[:, step:], nearest[:, :-step]
        torch.minimum(above, squares[:, :-step] + step**2, out=above)
        torch.minimum(below, squares[:, step:] + step**2, out=below)
    return nearest.clamp_max(far**2)


def distances(region: Tensor, reach: int) -> Tensor:
    """`squared_distances` as float32 distances; `reach` + 1 where the region is farther."""
    return squared_distances(region, reach).float().sqrt()


def enlarged(field: Tensor, size: int) -> Tensor:
    """A smooth field (n, h, w) at (n, size, size)."""
    return F.interpolate(field[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0]


def any_of_cells(region: Tensor, side: int) -> Tensor:
    """Whether a region (n, h, w) bool has any pixel in each cell of `side` x `side`, (n, h / side, w / side)."""
    return F.max_pool2d(region[:, None].float(), side)[:, 0] > 0
