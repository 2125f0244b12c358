"""Distance transforms of batches of masks, and resampling of masks and distances."""

import torch
import torch.nn.functional as F
from torch import Tensor


def squared_distances(region: Tensor, reach: int) -> Tensor:
    """Squared Euclidean distance of each pixel to the nearest one in a region, exact up to `reach` pixels.

    Args:
        region: (n, h, w) bool; pixels beyond the border are not part of it.
        reach: 1 or more.

    Returns:
        (n, h, w) integers; (reach + 1)^2 where the region is farther away.
    """
    far = reach + 1
    along = torch.where(region, 0, far).to(torch.int16 if 2 * far**2 < 2**15 else torch.int32)
    step = 1
    while step <= reach:  # after steps of 1, 2, 4, ... distances along rows are exact
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
    """`squared_distances` as float32 distances; `reach` + 1 where the region is farther away."""
    return squared_distances(region, reach).float().sqrt()


def enlarged(field: Tensor, size: int) -> Tensor:
    """A smooth field (n, h, w) upsampled to (n, size, size)."""
    return F.interpolate(field[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0]


def any_of_cells(region: Tensor, side: int) -> Tensor:
    """Which cells of `side` x `side` pixels contain a pixel of a region (n, h, w) bool, (n, h / side, w / side)."""
    return F.max_pool2d(region[:, None].float(), side)[:, 0] > 0
