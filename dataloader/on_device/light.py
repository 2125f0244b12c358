"""Colour and lighting changes of foregrounds and backgrounds before compositing, in batches.

Colours are (n, 3, h, w) float32 in 0..255, alpha is (n, 1, h, w) in 0..1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from dataloader.on_device.draws import Draws, per_sample

PLAIN_DISTANCE = 90  # minimum distance between plain colours, in RGB 0..255
PLAIN_CELLS = 3
PARTS = 4  # along a background's side; a foreground may be moved towards one of these PARTS x PARTS
SPILL_CELLS = 16  # pixels over which background colours are averaged
GREATEST_GAIN = 2.5  # of exposure matching
_GREY_AXIS = 3**-0.5


def jitter_colours(draws: Draws, colours: Tensor, alpha: Tensor, hue: float, saturation: tuple[float, float]) -> Tensor:
    """Rotates hue about the grey axis, scales saturation, and shifts value by at most (1.1 - mean) / 10, as in 0..1.

    Args:
        hue: maximum angle in either direction, in degrees.
        saturation: minimum and maximum factor.
    """
    n = len(colours)
    angle = torch.deg2rad(draws.uniform(-hue, hue, n))
    cos, sin = torch.cos(angle), torch.sin(angle) * _GREY_AXIS
    rest = (1 - cos) / 3
    turn = torch.stack([rest + cos, rest - sin, rest + sin,
                        rest + sin, rest + cos, rest - sin,
                        rest - sin, rest + sin, rest + cos], dim=-1).view(n, 3, 3)
    colours = (turn @ colours.flatten(2)).view_as(colours)
    seen = alpha > 0
    mean = (colours.amax(1, keepdim=True) * seen).sum((1, 2, 3)) / seen.sum((1, 2, 3)).clamp_min(1)
    shift = draws.uniform(-1, 1, n) * (1.1 * 255 - mean) / 10
    grey = colours.mean(dim=1, keepdim=True)
    factor = per_sample(draws.uniform(*saturation, n))
    return (grey + (colours - grey) * factor + per_sample(shift)).clamp(0, 255)


def move_towards(draws: Draws, colours: Tensor, background: Tensor) -> Tensor:
    """Moves colours by 0.3 to 1 of the way to the background's deviation and its mean, or the mean of a part of it."""
    n = len(colours)
    share = per_sample(draws.uniform(0.3, 1, n))
    mean, mean_behind = (each.mean((2, 3), keepdim=True) for each in (colours, background))
    parts = F.adaptive_avg_pool2d(background, PARTS).flatten(2)
    one = parts[torch.arange(n, device=parts.device), :, draws.whole(PARTS**2, n)][..., None, None]
    mean_behind = torch.where(per_sample(draws.chance(0.5, n)), one, mean_behind)
    deviation, behind = (each.std((2, 3), keepdim=True) for each in (colours, background))
    gain = 1 + share * ((behind / deviation.clamp_min(1)).clamp(0.3, 2) - 1)
    return ((colours - mean) * gain + mean + share * (mean_behind - mean)).clamp(0, 255)


def match_exposure(draws: Draws, colours: Tensor, background: Tensor, alpha: Tensor) -> Tensor:
    """Moves exposure, and to a lesser degree white balance, part of the way to the background's means."""
    weight = alpha.sum((2, 3), keepdim=True).clamp_min(1)
    mean = ((colours * alpha).sum((2, 3), keepdim=True) / weight).clamp_min(4)
    behind = background.mean((2, 3), keepdim=True).clamp_min(4)
    exposure = behind.mean(1, keepdim=True) / mean.mean(1, keepdim=True)
    balance = (behind / mean / exposure)
    gain = exposure ** per_sample(draws.uniform(0.2, 0.9, len(colours))) \
        * balance ** per_sample(draws.uniform(0, 0.6, len(colours)))
    return (colours * gain.clamp(1 / GREATEST_GAIN, GREATEST_GAIN)).clamp(0, 255)


def add_spill(draws: Draws, colours: Tensor, background: Tensor, alpha: Tensor) -> Tensor:
    """Adds blurred background light to colours, in proportion to the local mean of 1 - alpha, so mostly at edges."""
    size = colours.shape[-1]
    cells = min(SPILL_CELLS, size // 4)
    light, solid = (F.interpolate(F.avg_pool2d(each, cells), size=(size, size), mode="bilinear", align_corners=False)
                    for each in (background, alpha))
    strength = per_sample(draws.uniform(0.1, 0.8, len(colours)))
    return torch.lerp(colours, light, (strength * (1 - solid)).clamp(0, 0.6))


def plain_layers(draws: Draws, n: int, size: int) -> tuple[Tensor, Tensor]:
    """Foregrounds and backgrounds in nearly uniform colours that differ clearly."""
    first = draws.uniform(20, 235, n, 3)
    second = draws.uniform(20, 235, n, 3)
    difference = second - first
    length = difference.norm(dim=1, keepdim=True).clamp_min(1)
    second = torch.where(length < PLAIN_DISTANCE, first + difference / length * PLAIN_DISTANCE, second)
    second = torch.where((second < 0) | (second > 255), 2 * first - second, second)
    layers = [F.interpolate(middle[..., None, None] + 12 * draws.normal(n, 3, PLAIN_CELLS, PLAIN_CELLS),
                            size=(size, size), mode="bilinear", align_corners=False).clamp(0, 255)
              for middle in (first, second)]
    return layers[0], layers[1]
