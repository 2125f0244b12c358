"""The known colours of a whole image: filled into the unknown region, and seen from it in four directions.

Filled colours flow from the known pixels into the rest, near ones weighing most (pull-push: Gortler et al., "The
Lumigraph", SIGGRAPH 1996). Means over cells of 4 x 4 pixels are downsampled to 1/32 of the size; six wider ones follow
on that grid, each the previous one blurred by (1 2 1) / 4 along rows and columns at a distance of 1, 2, 4, ..., 32.
Each level v is computed from the next wider one v', and the widest from the mean over all known pixels:

    v = (mean of I m + e v') / (mean of m + e),     m: mask of known pixels, e = 0.02

with v' interpolated bilinearly where the wider level has half the size. Nothing is known beyond the image's border.

Samples: each cell looks left, right, up and down. The known foreground in view in a direction is one sample of F, and
likewise for B, near colours weighing most: those of a level come from one step ahead, and from the mean (1 2 1) / 4 of
the three positions two steps ahead, one step apart, so that the view widens with distance. At each level the equation
above is applied first to the farther of the two, then to the nearer. A step is one position, on the wider levels the
distance of the level's blur. If nothing is in view, the wider levels decide, whose means cover all directions.
"""

from collections.abc import Callable
from functools import wraps
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

GRID = 4  # pixels; cells are 4 x 4

PULL = 0.02  # e: the known share of a position that weighs as much as its surroundings
HALVINGS = 3  # downsampled levels of the cells, to 1/32
SPREADS = 6  # wider means after them, each twice as wide as the previous one
NOTHING = 1e-12  # less than any known share

DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))  # rows, columns

Result = TypeVar("Result")


class PartColours(NamedTuple):
    """The known colours for a part of an image, of H x W pixels."""

    filled: Tensor  # (N, 7, H, W): F, B, and the trimap from 0 to 1
    samples: Tensor | None  # (N, 2, K, 3, H/4, W/4): K samples of F and of B; 0 if the image has none
    known: Tensor  # (N, 2, 1, 1) bool: whether the image has known foreground, background
    estimates: Tensor | None = None  # (N, 4, H, W), of `colour_samples.estimates`; None: still to be computed


class KnownColours(NamedTuple):
    """The known colours of a whole image of h x w cells: all that its parts need from the rest."""

    filled: Tensor  # (N, 7, h, w)
    samples: Tensor | None  # (N, 2, K, 3, h, w); None: no longer needed, as estimates are known
    known: Tensor  # (N, 2, 1, 1) bool

    def of(self, top: int, bottom: int, left: int, right: int) -> PartColours:
        """For pixel rows top to bottom and columns left to right, all multiples of `GRID`."""
        first_row, last_row, first_column, last_column = (side // GRID for side in (top, bottom, left, right))
        above, before = min(1, first_row), min(1, first_column)  # a cell of margin, if inside the image
        around = self.filled[:, :, first_row - above:last_row + 1, first_column - before:last_column + 1]
        filled = F.interpolate(around, scale_factor=GRID, mode="bilinear")
        filled = filled[:, :, GRID * above:][:, :, :bottom - top, GRID * before:][..., :right - left]
        samples = None if self.samples is None else self.samples[..., first_row:last_row, first_column:last_column]
        return PartColours(filled, samples, self.known)

    @property
    def of_all(self) -> PartColours:
        """For the whole image."""
        filled = F.interpolate(self.filled, scale_factor=GRID, mode="bilinear")
        return PartColours(filled, self.samples, self.known)


def full_precision_no_grad(function: Callable[..., Result]) -> Callable[..., Result]:
    """Decorator: no gradients, and single precision also under autocast. The first argument must be a tensor."""
    @wraps(function)
    def wrapped(first: Tensor, /, *others, **named) -> Result:
        with torch.no_grad(), torch.autocast(first.device.type, enabled=False):
            return function(first, *others, **named)

    return wrapped


@full_precision_no_grad
def cell_means(image: Tensor, trimap: Tensor) -> Tensor:
    """The means (N, 8, H/4, W/4) over cells of I m and m, for known foreground (4) and background (4)."""
    image = image.float()
    return torch.cat([F.avg_pool2d(x, GRID) for mask in known_masks(trimap) for x in (image * mask, mask)], dim=1)


@full_precision_no_grad
def known_colours(means: Tensor) -> KnownColours:
    """The known colours of a whole image, from its `cell_means`."""
    known = means[:, 3::4].amax(dim=(2, 3), keepdim=True) > 0
    levels = _levels(means)
    return KnownColours(_filled(levels), _samples(levels), known)


def known_masks(trimap: Tensor) -> tuple[Tensor, Tensor]:
    """Known foreground and known background, each (N, 1, H, W) float32."""
    if trimap.shape[1] == 3:
        return trimap[:, 2:].float(), trimap[:, :1].float()
    return (trimap == 2).float(), (trimap == 0).float()


def _levels(means: Tensor) -> list[Tensor]:
    """The means (N, 8, h, w) over cells, then over ever wider regions."""
    levels = [means]
    for _ in range(HALVINGS):
        levels.append(F.avg_pool2d(levels[-1], 2))
    for i in range(SPREADS):
        levels.append(_blurred(levels[-1], 2**i))
    return levels


def _layers(means: Tensor) -> tuple[Tensor, Tensor]:
    """Values to fill (N, 7, h, w), given means of I m and m: F, B and trimap, times their weights; and the weights."""
    colours = torch.cat([means[:, :3], means[:, 4:7], means[:, 3:4]], dim=1)
    foreground, background = means[:, 3:4], means[:, 7:8]
    return colours, torch.cat([foreground.expand(-1, 3, -1, -1), background.expand(-1, 3, -1, -1),
                               foreground + background], dim=1)


def _filled(levels: list[Tensor]) -> Tensor:
    """Filled colours and trimap (N, 7, H/4, W/4); colours are 0, the trimap 1/2, if nothing is known."""
    values, weights = _layers(levels[HALVINGS].mean(dim=(2, 3), keepdim=True))
    colours, trimap = (values / weights.clamp_min(NOTHING)).split([6, 1], dim=1)
    filled = torch.cat([colours, torch.where(weights[:, 6:] > 0, trimap, 0.5)], dim=1)
    for i in reversed(range(len(levels))):
        filled = _blend(*_layers(levels[i]), _finer(filled, i))
    return filled


def _samples(levels: list[Tensor]) -> Tensor:
    """(N, 2, K, 3, h, w), the foreground and background that each cell sees in the K directions."""
    means = [level.unflatten(1, (2, 4)).flatten(0, 1) for level in levels]  # (2 N, 4, h, w)
    whole = means[HALVINGS].mean(dim=(2, 3), keepdim=True)
    samples = [whole[:, :3] / whole[:, 3:].clamp_min(NOTHING)] * len(DIRECTIONS)
    for i, level in reversed(list(enumerate(means))):
        step = 2**max(0, i - HALVINGS - 1)
        wide = [_widened(level, step, dim) for dim in (2, 3)]
        for k, (down, right) in enumerate(DIRECTIONS):
            samples[k] = _finer(samples[k], i)
            for seen, distance in ((wide[0 if right else 1], 2 * step), (level, step)):
                ahead = _shifted(seen, down * distance, right * distance)
                samples[k] = _blend(ahead[:, :3], ahead[:, 3:], samples[k])
    return torch.stack(samples, dim=1).unflatten(0, (-1, 2))


def _finer(x: Tensor, level: int) -> Tensor:
    """`x` of the wider level at the size of this one."""
    return F.interpolate(x, scale_factor=2, mode="bilinear") if level < HALVINGS else x


def _shifted(x: Tensor, down: int, right: int) -> Tensor:
    """x shifted up and left, so that each position gets the value below and to the right; zeros beyond the border."""
    h, w = x.shape[2:]
    x = F.pad(x, (max(0, -right), max(0, right), max(0, -down), max(0, down)))
    return x[:, :, max(0, down):, max(0, right):][:, :, :h, :w]


def _widened(x: Tensor, distance: int, dim: int) -> Tensor:
    """x filtered by (1 2 1) / 4 along a dimension, taps `distance` apart; zero padding."""
    size = x.shape[dim]
    padded = F.pad(x, (0, 0, distance, distance) if dim == 2 else (distance, distance))
    return (padded.narrow(dim, 0, size) + padded.narrow(dim, 2 * distance, size)).mul_(0.25).add_(x, alpha=0.5)


def _blurred(x: Tensor, distance: int) -> Tensor:
    return _widened(_widened(x, distance, 2), distance, 3)


def _blend(values: Tensor, weights: Tensor, around: Tensor) -> Tensor:
    return torch.add(values, around, alpha=PULL).div_(weights + PULL)
