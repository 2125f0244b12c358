"""Decoys: things in the background that have the foreground's colours, so that only form and sharpness tell them apart.

A dark tower behind dark hair, letters of the hair's colour on a book. Colours alone take them for the foreground.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from dataloader.on_device.draws import Draws, for_some, in_groups, per_sample

FINEST = 4  # pixels: a decoy has no hair of its own, which nothing would tell from the foreground's
BLURS = 6  # forms are sharp, or blurred over 2, 4, ... 32 pixels
FEWEST_CELLS = 16  # along a side, over which forms are blurred
COLOUR_CELLS = 8  # along a side: colours are those of the foreground in each
NEARLY_EMPTY = 0.25  # mean alpha of a cell below which its colour becomes that of the whole foreground
BRIGHTNESS, TINGE = 12, 8  # largest difference from these colours, in 0..255, of all channels and of each
MOST_TEXTURE = 0.6  # share of the background's own texture that is left
PRINT_SHARE = 0.25  # forms that are filled with lines of print
LEAST_LINE = 6  # pixels from one line to the next


def add_decoys(draws: Draws, backgrounds: Tensor, colours: Tensor, alpha: Tensor, forms: Tensor) -> Tensor:
    """Backgrounds (n, 3, S, S) in 0..255 with a decoy each.

    Args:
        colours: of the foregrounds before them, (n, 3, S, S) in 0..255.
        alpha: of these, (n, 1, S, S) in 0..1.
        forms: of the decoys, (n, 1, S, S) in 0..1, such as alphas of other foregrounds.
    """
    return in_groups(draws, torch.cat([backgrounds, colours, alpha, forms], dim=1), _with_decoys)


def _with_decoys(draws: Draws, layers: Tensor) -> Tensor:
    backgrounds, colours, alpha, forms = layers.split([3, 3, 1, 1], dim=1)
    size = layers.shape[-1]
    factor = min(2 ** int(draws.whole(BLURS).item()), size // FEWEST_CELLS)
    forms = _enlarged(F.max_pool2d(forms, max(factor, FINEST)), size)
    if factor > 1:
        forms = _enlarged(F.avg_pool2d(forms, factor), size)
    forms = for_some(draws, PRINT_SHARE, forms, _printed)
    own = _enlarged(_nearby_colours(colours, alpha), size)
    own = own + draws.uniform(-BRIGHTNESS, BRIGHTNESS, len(own), 1, 1, 1)
    own = own + draws.uniform(-TINGE, TINGE, len(own), 3, 1, 1)
    texture = backgrounds - _enlarged(F.adaptive_avg_pool2d(backgrounds, FEWEST_CELLS), size)
    own = (own + per_sample(draws.uniform(0, MOST_TEXTURE, len(own))) * texture).clamp(0, 255)
    return torch.lerp(backgrounds, own, forms)


def _nearby_colours(colours: Tensor, alpha: Tensor) -> Tensor:
    """Mean colours of foregrounds (n, 3, S, S) in each of `COLOUR_CELLS` x `COLOUR_CELLS` cells."""
    seen = colours * alpha
    mean = seen.sum((2, 3), keepdim=True) / alpha.sum((2, 3), keepdim=True).clamp_min(1)
    share = F.adaptive_avg_pool2d(alpha, COLOUR_CELLS)
    local = F.adaptive_avg_pool2d(seen, COLOUR_CELLS) / share.clamp_min(1e-3)
    return torch.lerp(mean.expand_as(local), local, (share / NEARLY_EMPTY).clamp_max(1))


def _printed(draws: Draws, forms: Tensor) -> Tensor:
    """Forms (n, 1, S, S) of which lines of something like letters are left, the same for all."""
    size = forms.shape[-1]
    line = LEAST_LINE + int(draws.whole(max(1, size // 12)).item())
    lines = -(-size // line)
    marks = draws.chance(0.5, lines * 4 * 3 * lines).float().view(1, 1, lines, 4, 3 * lines)
    marks[..., 3, :] = 0  # between lines
    letters = _enlarged(marks.flatten(2, 3), lines * line)[..., :size, :size]
    return forms * (3 * letters - 1).clamp(0, 1)


def _enlarged(values: Tensor, size: int) -> Tensor:
    return F.interpolate(values, size=(size, size), mode="bilinear", align_corners=False)
