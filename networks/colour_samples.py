"""Known colours around each pixel, as further input of the network: where sampling-based matting methods end.

Alpha follows from a pixel's colour I once the colours F and B of its foreground and background are given,
I = alpha F + (1 - alpha) B. Both are known near by, where the trimap is, and guessed from there in two steps.

Filled colours flow from the known pixels into the rest, the near ones counting most (pull-push: Gortler et al., "The
Lumigraph", SIGGRAPH 1996). Means over cells of 4 x 4 pixels are halved to 1/32 of the size; six wider ones follow on
that grid, each the one before blurred by (1 2 1) / 4 along rows and columns at a distance of 1, 2, 4, ..., 32 places.
Each level v is made of the wider one above it, the widest of the mean over all that is known:

    v = (mean of I m + e v') / (mean of m + e),     m: the mask of known pixels, e = 0.02

with v' between the places (bilinear) where the level above has half the size. Beyond the image's border nothing is
known.

Pairs: each cell looks left, right, up and down. What it sees of known foreground in a direction makes one sample of F,
likewise for B, the nearest counting most: the colours of a level flow from one step ahead, and from the mean
(1 2 1) / 4 of the three that lie two steps ahead, one step apart, so that the view widens with the distance. At each
level the equation above takes first the farther of both, then the nearer. A step is one place, on the wider levels the
distance of the level's blur. Where nothing is to be seen, the wider levels tell, whose means reach around. For each
pixel of the cell each of the 4 x 4 pairs (F, B) says what alpha is. The pixel gets the mean over all of them, weighted
by 1 / (r^2 + 0.005), r = |I - alpha F - (1 - alpha) B|: those count that explain its colour, as in Gastal and
Oliveira, "Shared Sampling for Real-Time Alpha Matting" (Eurographics 2010).

Alpha of a pair is the projection of I onto the line from B to F, after Wang and Cohen, "Optimized Color Sampling for
Robust Matting" (CVPR 2007): clip(1/2 + (I - (F + B) / 2) (F - B) / max(|F - B|^2, 0.05), 0, 1).

All colours are as the network takes them (RGB less ImageNet's mean, divided by its deviation). Filled colours are
interpolated between the middles of the cells (bilinear). The channels:

    0..2    F - I, filled; about -5..5; 0 on known foreground, and where the image has none
    3..5    B - I, filled; likewise for background
    6       the trimap, filled likewise from all known pixels: -1 background, 1 foreground; 0 where nothing is known
    7       2 alpha - 1 of the filled colours, -1..1
    8       mean of the channels of |I - alpha F - (1 - alpha) B|, 0..5
    9       2 alpha - 1, mean over pairs, -1..1
    10      r of the pairs, 0..8: the root of the mean of r^2 over them

On known pixels 6, 7 and 9 are 1 for foreground and -1 for background, 8 and 10 are 0. On unknown pixels of images
without known foreground or without known background 7 to 10 are 0.

Everything depends on image and trimap alone, without gradients, in single precision. If image and trimap are mirrored,
or both shifted by multiples of 32 pixels, the channels are too (but that the widest means end at the image's border,
which can show where nothing known is seen in some direction).
"""

from collections.abc import Callable
from functools import wraps
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

CHANNELS = 11
ESTIMATES = 4  # of them, the last, which only unknown pixels need
GRID = 4  # pixels; cells are 4 x 4

PULL = 0.02  # e: how much known share of a place equals the colours from around it
HALVINGS = 3  # of the cells, to 1/32
SPREADS = 6  # wider means beyond them, each twice as wide as the one before
NOTHING = 1e-12  # less than any known share

DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))  # rows, columns

LEAST_SQUARED_CONTRAST = 0.05
SQUARED_RESIDUAL = 0.005  # what is as good as none
CPU_CELLS, GPU_CELLS = 2**11, 2**16  # at once, of which pairs are compared: what caches, or memory, suit

Result = TypeVar("Result")


class PartColours(NamedTuple):
    """The known colours as a part of an image needs them, of H x W pixels."""

    filled: Tensor  # (N, 7, H, W): F, B, and the trimap from 0 to 1
    samples: Tensor  # (N, 2, K, 3, H/4, W/4): K samples of F and of B; 0 where the image has none
    known: Tensor  # (N, 2, 1, 1) bool: whether the image has known foreground, background
    estimates: Tensor | None = None  # (N, 4, H, W), what `estimates` gives; None: still to be computed


class KnownColours(NamedTuple):
    """What a whole image's known colours are, h x w cells of it: all that parts need to know of the rest."""

    filled: Tensor  # (N, 7, h, w)
    samples: Tensor  # (N, 2, K, 3, h, w)
    known: Tensor  # (N, 2, 1, 1) bool
    estimates: Tensor | None = None  # (N, 4, GRID h, GRID w)

    def of(self, top: int, bottom: int, left: int, right: int) -> PartColours:
        """Of rows top to bottom and columns left to right of pixels, all multiples of `GRID`."""
        first_row, last_row, first_column, last_column = (side // GRID for side in (top, bottom, left, right))
        above, before = min(1, first_row), min(1, first_column)  # a cell around, where the image has one
        around = self.filled[:, :, first_row - above:last_row + 1, first_column - before:last_column + 1]
        filled = F.interpolate(around, scale_factor=GRID, mode="bilinear")
        filled = filled[:, :, GRID * above:][:, :, :bottom - top, GRID * before:][..., :right - left]
        samples = self.samples[..., first_row:last_row, first_column:last_column]
        ready = None if self.estimates is None else self.estimates[:, :, top:bottom, left:right]
        return PartColours(filled, samples, self.known, ready)

    @property
    def of_all(self) -> PartColours:
        """Of the whole image."""
        filled = F.interpolate(self.filled, scale_factor=GRID, mode="bilinear")
        return PartColours(filled, self.samples, self.known, self.estimates)


def _exact(function: Callable[..., Result]) -> Callable[..., Result]:
    """Without gradients, and in single precision also under autocast; the first argument is a tensor."""
    @wraps(function)
    def exact(first: Tensor, /, *others, **named) -> Result:
        with torch.no_grad(), torch.autocast(first.device.type, enabled=False):
            return function(first, *others, **named)

    return exact


@_exact
def colour_channels(image: Tensor, trimap: Tensor, part: PartColours | None = None) -> Tensor:
    """The channels (N, 11, H, W) float32 of the table above.

    Args:
        image: (N, 3, H, W), normalised; H and W multiples of 32.
        trimap: (N, 3, H, W) one-hot (background, unknown, foreground), or (N, 1, H, W) holding 0, 1, 2.
        part: where this is a part of an image, H and W multiples of `GRID`, what `KnownColours.of` gives for it.
            By default this is all of the image, of which it is computed.
    """
    image, (foreground, background) = image.float(), _masks(trimap)
    part = part or known_colours(cell_means(image, trimap)).of_all
    if part.estimates is None:
        part = part._replace(estimates=estimates(image, trimap, part))
    wanted = (1 - torch.stack([foreground, background], dim=1)) * part.known[..., None]  # (N, 2, 1, H, W)
    differences = (part.filled[:, :6].unflatten(1, (2, 3)) - image[:, None]).mul_(wanted)
    trimap = torch.where(foreground + background > 0, foreground - background, 2 * part.filled[:, 6:] - 1)
    return torch.cat([differences.flatten(1, 2), trimap, part.estimates], dim=1)


@_exact
def estimates(image: Tensor, trimap: Tensor, part: PartColours) -> Tensor:
    """The last four of the channels (N, 4, H, W), the costly part of `colour_channels`, whose arguments it takes.

    To be computed once and given with the known colours, where the channels of a part are needed more than once.
    """
    foreground, background = _masks(trimap)
    wanted = (foreground + background == 0) & part.known.all(dim=1, keepdim=True)
    n, _, h, w = image.shape
    image, filled, samples = image.float(), part.filled[:, :6], part.samples.movedim(0, 3).flatten(3)
    if torch.compiler.is_compiling():  # a graph does without lists whose length depends on the content
        found = _cell_estimates(_by_cells(image), _by_cells(filled), samples)
        found = F.pixel_shuffle(found.view(-1, n, h // GRID, w // GRID).transpose(0, 1), GRID)
    else:
        image, filled = (x.transpose(0, 1).flatten(1) for x in (image, filled))
        found = image.new_empty(ESTIMATES, image.shape[1])
        cells = F.max_pool2d(wanted.float(), GRID).flatten().nonzero()[:, 0]
        for some in cells.split(CPU_CELLS if image.device.type == "cpu" else GPU_CELLS):
            pixels = _pixels(some, w)
            found[:, pixels] = _cell_estimates(image[:, pixels], filled[:, pixels], samples[..., some])
        found = found.view(-1, n, h, w).transpose(0, 1)
    found = found.unflatten(1, (2, 2))
    opacity = foreground - background
    otherwise = torch.stack([opacity, torch.zeros_like(opacity)], dim=2)
    return torch.where(wanted[:, None], found, otherwise).flatten(1, 2)


@_exact
def cell_means(image: Tensor, trimap: Tensor) -> Tensor:
    """The means (N, 8, H/4, W/4) over cells of I m and m, for known foreground (4) and background (4)."""
    image = image.float()
    return torch.cat([F.avg_pool2d(x, GRID) for mask in _masks(trimap) for x in (image * mask, mask)], dim=1)


@_exact
def known_colours(means: Tensor) -> KnownColours:
    """What is known of a whole image, from the `cell_means` of all of it."""
    known = means[:, 3::4].amax(dim=(2, 3), keepdim=True) > 0
    levels = _levels(means)
    return KnownColours(_filled(levels), _samples(levels), known)


def _masks(trimap: Tensor) -> tuple[Tensor, Tensor]:
    """Known foreground and known background, each (N, 1, H, W) float32."""
    if trimap.shape[1] == 3:
        return trimap[:, 2:].float(), trimap[:, :1].float()
    return (trimap == 2).float(), (trimap == 0).float()


def _levels(means: Tensor) -> list[Tensor]:
    """The means (N, 8, h, w) over cells, then over ever wider places."""
    levels = [means]
    for _ in range(HALVINGS):
        levels.append(F.avg_pool2d(levels[-1], 2))
    for i in range(SPREADS):
        levels.append(_blurred(levels[-1], 2**i))
    return levels


def _layers(means: Tensor) -> tuple[Tensor, Tensor]:
    """Means of I m and m as what is filled, (N, 7, h, w): F, B and trimap, times their weights; and these weights."""
    colours = torch.cat([means[:, :3], means[:, 4:7], means[:, 3:4]], dim=1)
    foreground, background = means[:, 3:4], means[:, 7:8]
    return colours, torch.cat([foreground.expand(-1, 3, -1, -1), background.expand(-1, 3, -1, -1),
                               foreground + background], dim=1)


def _filled(levels: list[Tensor]) -> Tensor:
    """(N, 7, H/4, W/4); 0 where there is nothing to fill with, the trimap 1/2."""
    values, weights = _layers(levels[HALVINGS].mean(dim=(2, 3), keepdim=True))
    colours, trimap = (values / weights.clamp_min(NOTHING)).split([6, 1], dim=1)
    filled = torch.cat([colours, torch.where(weights[:, 6:] > 0, trimap, 0.5)], dim=1)
    for i in reversed(range(len(levels))):
        filled = _blend(*_layers(levels[i]), _finer(filled, i))
    return filled


def _samples(levels: list[Tensor]) -> Tensor:
    """(N, 2, K, 3, h, w), what each cell sees of foreground and of background in the K directions."""
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
    """`x` of the level above at the size of this one."""
    return F.interpolate(x, scale_factor=2, mode="bilinear") if level < HALVINGS else x


def _shifted(x: Tensor, down: int, right: int) -> Tensor:
    """What lies so many places below and to the right; zeros beyond the border."""
    h, w = x.shape[2:]
    x = F.pad(x, (max(0, -right), max(0, right), max(0, -down), max(0, down)))
    return x[:, :, max(0, down):, max(0, right):][:, :, :h, :w]


def _widened(x: Tensor, distance: int, dim: int) -> Tensor:
    """(1 2 1) / 4 along a dimension, at a distance; zeros beyond the border."""
    size = x.shape[dim]
    padded = F.pad(x, (0, 0, distance, distance) if dim == 2 else (distance, distance))
    return (padded.narrow(dim, 0, size) + padded.narrow(dim, 2 * distance, size)).mul_(0.25).add_(x, alpha=0.5)


def _blurred(x: Tensor, distance: int) -> Tensor:
    return _widened(_widened(x, distance, 2), distance, 3)


def _blend(values: Tensor, weights: Tensor, around: Tensor) -> Tensor:
    return torch.add(values, around, alpha=PULL).div_(weights + PULL)


def _projection(foreground: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    """Alpha of I (16, P) and |I - alpha F - (1 - alpha) B| (3, 16, P), given F - I and B - I (3, 16, P)."""
    contrast = _squared(foreground - background, 0).clamp_min_(LEAST_SQUARED_CONTRAST)
    nearer = _squared(background, 0) - _squared(foreground, 0)
    alpha = nearer.div_(contrast.mul_(2)).add_(0.5).clamp_(0, 1)
    return alpha, torch.lerp(background, foreground, alpha).abs_()


def _by_cells(x: Tensor) -> Tensor:
    """(N, C, H, W) as (C, 16, cells): the longest side comes last."""
    return F.pixel_unshuffle(x, GRID).transpose(0, 1).flatten(1).unflatten(0, (-1, GRID**2))


def _pixels(cells: Tensor, width: int) -> Tensor:
    """The numbers (16, P) of the pixels of P cells, both counted along rows, through all images of this width."""
    columns = width // GRID
    corners = cells // columns * (GRID * width) + cells % columns * GRID
    sides = torch.arange(GRID, device=cells.device)
    return (sides[:, None] * width + sides).flatten()[:, None] + corners


def _cell_estimates(image: Tensor, filled: Tensor, samples: Tensor) -> Tensor:
    """What `estimates` gives (4, 16, P) for unknown pixels of P cells.

    Args:
        image: (3, 16, P).
        filled: (6, 16, P), F and B.
        samples: (2, K, 3, P).
    """
    alpha, residual = _projection(*(filled.unflatten(0, (2, 3)) - image).unbind())
    return torch.cat([torch.stack([2 * alpha - 1, residual.mean(dim=0)]), _pair_means(image, samples)])


def _pair_means(image: Tensor, samples: Tensor) -> Tensor:
    """2 alpha - 1 and r (2, 16, P) of the pixels of P cells, means over pairs.

    Args:
        image: (3, 16, P).
        samples: (2, K, 3, P).
    """
    differences = samples[:, :, :, None] - image  # (2, K, 3, 16, P): F - I and B - I
    squares = _squared(differences, 2)
    half = image.new_full((), 0.5)
    weight_sum = alpha_sum = left_sum = 0
    for i in range(samples.shape[1]):  # a sample of the foreground with all of the background
        contrast = _squared(samples[0, i] - samples[1], 1).clamp_min_(LEAST_SQUARED_CONTRAST)  # (K, P)
        alpha = torch.addcmul(half, squares[1] - squares[0, i], (0.5 / contrast)[:, None]).clamp_(0, 1)  # (K, 16, P)
        left = _squared(torch.lerp(differences[1], differences[0, i], alpha[:, None]), 1)
        weight = (left + SQUARED_RESIDUAL).reciprocal_()
        weight_sum = weight_sum + weight.sum(dim=0)
        alpha_sum = alpha_sum + alpha.mul_(weight).sum(dim=0)
        left_sum = left_sum + left.mul_(weight).sum(dim=0)
    return torch.stack([2 * alpha_sum / weight_sum - 1, (left_sum / weight_sum).sqrt_()])


def _squared(x: Tensor, dim: int) -> Tensor:
    """The sum of the squares of three channels."""
    red, green, blue = x.unbind(dim)
    return red.square().addcmul_(green, green).addcmul_(blue, blue)
