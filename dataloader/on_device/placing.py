"""Placing crops in the images of banks and reading them: foregrounds, single or stacked, and backgrounds."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dataloader.on_device.bank import Bank
from dataloader.on_device.draws import Draws, in_groups, per_sample
from dataloader.on_device.recipe import Recipe

ENLARGED_SHARE, ENLARGEMENT = 0.25, 1.25  # like the published augmentation, which resizes images to 640 pixels
STRETCH = 0.11  # half the logarithm of the largest ratio between the scales along x and y
ROTATION, SHEAR = 10, 10  # degrees, in either direction
CANDIDATES = 8  # crop positions tested for both opaque and transparent areas
TEST_POINTS = 8  # points along a crop's side at which candidates are tested
KNOWN_SHARE = 1 / 10  # minimum share of these points that is opaque, and that is transparent
OPAQUE, CLEAR = 250, 5  # alpha thresholds of these, in 0..255


def draw_scales(draws: Draws, n: int, recipe: Recipe) -> Tensor:
    """Random matrices (n, 2, 2) that map crop pixels to foreground pixels."""
    scale = draws.log_uniform(*recipe.zoom, n) * torch.where(draws.chance(ENLARGED_SHARE, n), ENLARGEMENT, 1.0)
    stretch = torch.exp(draws.uniform(-STRETCH, STRETCH, n))
    angle, shear = (torch.deg2rad(draws.uniform(-most, most, n)) for most in (ROTATION, SHEAR))
    flip_x, flip_y = (torch.where(draws.chance(0.5, n), -1.0, 1.0) for _ in range(2))
    along = torch.stack([torch.cos(angle), torch.sin(angle + shear)], dim=-1) * (flip_x / (scale * stretch))[:, None]
    across = torch.stack([-torch.sin(angle), torch.cos(angle + shear)], dim=-1) * (flip_y * stretch / scale)[:, None]
    return torch.stack([along, across], dim=1)


def fitted(matrices: Tensor, crop: int, size: int) -> tuple[Tensor, Tensor]:
    """Matrices scaled so that no crop exceeds its image, and half the crops' extents in x and y, (n, 2)."""
    half = matrices.abs().sum(dim=2) * crop / 2
    factor = (size / (2 * half.amax(dim=1))).clamp_max(1)[:, None]
    return matrices * factor[..., None], half * factor


def around(matrices: Tensor, middles: Tensor, side: int, spacing: float = 1) -> Tensor:
    """Maps (n, 2, 3) from crop pixels to image points, as `Bank.read` takes them.

    Args:
        middles: (n, 2), the image point (x, y) at the centre of a crop.
        side: of the crop, in pixels.
        spacing: of these pixels, in input units of `matrices`.
    """
    matrices = matrices * spacing
    shift = middles[..., None] - matrices.sum(dim=2, keepdim=True) * (side - 1) / 2
    return torch.cat([matrices, shift], dim=2)


def place_foregrounds(draws: Draws, bank: Bank, crop: int, margin: int, recipe: Recipe, n: int) -> Tensor:
    """Crops of foregrounds (n, 4, S, S) in 0..255, S = crop + 2 margin, around pixels of partial alpha.

    Each is the first of eight candidates that has both opaque and transparent areas, or else the last.
    """
    items = draws.whole(len(bank), n)
    matrices, half = fitted(draw_scales(draws, n, recipe), crop, bank.size)
    places = bank.places[items[:, None], draws.whole(bank.places.shape[1], n, CANDIDATES)]
    places = places + draws.normal(n, CANDIDATES, 2) * crop / 12
    lowest = half[:, None]
    places = torch.minimum(torch.maximum(places, lowest - 0.5), bank.size - 0.5 - lowest)
    chosen = _first_known(bank, items, matrices, places, crop)
    middles = places[torch.arange(n, device=items.device), chosen]
    level = _level(matrices, len(bank.levels))
    side = crop + 2 * margin
    return read_levels(bank, items, around(matrices, middles, side), side, level)


def _first_known(bank: Bank, items: Tensor, matrices: Tensor, places: Tensor, crop: int) -> Tensor:
    """Index (n,) of the first candidate whose crop has opaque and transparent areas, or else of the last."""
    n, candidates = places.shape[:2]
    coarse = min(len(bank.levels) - 1, max(0, round(math.log2(max(1, crop / TEST_POINTS)))))
    maps = around(matrices.repeat_interleave(candidates, 0), places.flatten(0, 1), TEST_POINTS, crop / TEST_POINTS)
    alpha = bank.read(items.repeat_interleave(candidates), maps, TEST_POINTS, coarse)[:, 3].flatten(1)
    both = ((alpha >= OPAQUE).float().mean(1) >= KNOWN_SHARE) & ((alpha <= CLEAR).float().mean(1) >= KNOWN_SHARE)
    both = both.view(n, candidates).int()
    return torch.where(both.any(1), both.argmax(1), candidates - 1)


def _level(matrices: Tensor, levels: int) -> Tensor:
    """The level (n,) whose pixel spacing is about that of the crop."""
    scale = (matrices[:, 0, 0] * matrices[:, 1, 1] - matrices[:, 0, 1] * matrices[:, 1, 0]).abs().sqrt()
    return torch.log2(scale).floor().clamp(0, levels - 1).long()


def read_levels(bank: Bank, items: Tensor, maps: Tensor, side: int, levels: Tensor) -> Tensor:
    """`Bank.read` with a separate level (n,) for each image."""
    values = torch.empty(len(items), 4, side, side, device=maps.device)
    for level in range(len(bank.levels)):
        chosen = (levels == level).nonzero().flatten()
        if len(chosen) == len(items) > 0:
            return bank.read(items, maps, side, level)
        if len(chosen):
            values[chosen] = bank.read(items[chosen], maps[chosen], side, level)
    return values


def composite_foregrounds(upper: Tensor, lower: Tensor) -> Tensor:
    """Foregrounds (n, 4, S, S) over others; their joint alpha 1 - (1 - a)(1 - b) is rounded to integers in 0..255.

    A lower one is dropped if both together would be opaque everywhere, but the upper one is not.
    """
    a, b = upper[:, 3:] / 255, lower[:, 3:] / 255
    covered = (torch.maximum(a, b) >= 1).flatten(1).all(1) & (a < 1).flatten(1).any(1)
    b = b * per_sample(~covered)
    joint = a + b - a * b
    share = torch.where(joint > 0, a / joint.clamp_min(1e-6), 1)
    return torch.cat([torch.lerp(lower[:, :3], upper[:, :3], share), (joint * 255).round()], dim=1)


def place_backgrounds(draws: Draws, bank: Bank, crop: int, recipe: Recipe, n: int) -> Tensor:
    """Backgrounds (n, 3, crop, crop) in 0..255, some defocused.

    Defocused ones are read at a lower resolution and upsampled step by step, which approximates a Gaussian blur with a
    sigma of 0.6 times the downsampling factor.
    """
    items = draws.whole(len(bank), n)
    scale = 1 / draws.log_uniform(*recipe.background_zoom, n)
    flip = torch.where(draws.chance(0.5, n), -1.0, 1.0)
    matrices, half = fitted(torch.diag_embed(torch.stack([scale * flip, scale], dim=1)), crop, bank.size)
    middles = half - 0.5 + draws.uniform(0, 1, n, 2) * (bank.size - 2 * half)
    most = min(len(bank.levels) - 1, crop.bit_length() - 2)
    blur = torch.where(draws.chance(recipe.defocused_share, n), 1 + draws.whole(most, n), 0)
    source = _level(matrices, len(bank.levels))

    def read(chosen: Tensor, level: int) -> Tensor:
        side = crop >> level
        maps = around(matrices[chosen], middles[chosen], side, crop / side)
        return read_levels(bank, items[chosen], maps, side, (source[chosen] + level).clamp_max(len(bank.levels) - 1))

    image = torch.empty(n, 3, crop, crop, device=items.device)
    sharp = (blur == 0).nonzero().flatten()
    image[sharp] = read(sharp, 0)[:, :3]
    order = blur.argsort(descending=True)[:n - len(sharp)]  # most blurred first: each step upsamples all previous ones
    if len(order):
        soft = image.new_empty(0, 3, crop >> most, crop >> most)
        for level in range(most, -1, -1):
            size = (crop >> level,) * 2
            soft = F.interpolate(soft, size, mode="bilinear", align_corners=False) if len(soft) else image.new_empty(
                0, 3, *size)
            own = order[blur[order] == level]
            if len(own):
                soft = torch.cat([soft, read(own, level)[:, :3]])
        image[order] = soft
    return image


def softened(draws: Draws, foregrounds: Tensor) -> Tensor:
    """Foregrounds (n, 4, S, S) defocused as a whole: edges and hair become soft; opaque areas stay opaque inside."""
    return in_groups(draws, foregrounds, _softened)


def _softened(draws: Draws, foregrounds: Tensor) -> Tensor:
    factor = int(2 ** draws.whole(3).item()) + 1  # 2, 3 or 5
    side = foregrounds.shape[-1]
    small = F.avg_pool2d(foregrounds, factor, ceil_mode=True, count_include_pad=False)
    soft = F.interpolate(small, scale_factor=factor, mode="bilinear", align_corners=False)[..., :side, :side]
    solid = (F.max_pool2d(255 - foregrounds[:, 3:], 3, 1, 1) == 0) & (soft[:, 3:] > 254)
    soft[:, 3:] = torch.where(solid, 255, soft[:, 3:].round())
    return soft
