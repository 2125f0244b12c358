"""Known colours around each pixel, as further input of the network: where sampling-based matting methods end.

Alpha follows from a pixel's colour I once the colours F and B of its foreground and background are given,
I = alpha F + (1 - alpha) B. Both are known near by, where the trimap is, and guessed from there in two steps.

Filled colours flow from the known pixels into the rest, the near ones counting most (pull-push: Gortler et al., "The
Lumigraph", SIGGRAPH 1996). Means over cells of 4 x 4 pixels are halved to 1/32 of the size; wider means follow on that
grid. From the widest on, each level v is made of the one above it:

    v = (mean of I m + e up(v')) / (mean of m + e),     m: the mask of known pixels, e = 0.02

Pairs: from each cell rays go left, right, up and down, for 511 cells at most. Where a ray first meets a cell with known
foreground, the mean of it there is a sample of F, likewise for B; the cell's filled colours join them, with the length
of the shortest ray (0 where none meets anything). Each of the 5 x 5 pairs (F, B) costs what speaks against it, after
Gastal and Oliveira, "Shared Sampling for Real-Time Alpha Matting" (Eurographics 2010):

    cost = r / 0.09 + 0.7 (d_F + d_B) / (least d_F + least d_B + 1) - 0.68 min(|F - B|, 1.33)

with r the largest of the three channels of |I - alpha F - (1 - alpha) B|, d the rays' lengths in cells, |F - B| a mean
of the channels. What a pixel gets is the mean over all pairs, weighted by exp(-cost).

Alpha of a pair is the projection of I onto the line from B to F, after Wang and Cohen, "Optimized Color Sampling for
Robust Matting" (CVPR 2007): clip(1/2 + (I - (F + B) / 2) (F - B) / max(|F - B|^2, 0.05), 0, 1).

All colours are as the network takes them (RGB less ImageNet's mean, divided by its deviation). The channels:

    0..2    F - I, filled; about -5..5; 0 on known foreground, and where the image has none
    3..5    B - I, filled; likewise for background
    6       2 alpha - 1 of the filled colours, -1..1; 0 where one of them is missing
    7       mean of the channels of |I - alpha F - (1 - alpha) B|, 0..5; 0 where one of them is missing
    8       the trimap, filled likewise from all known pixels: -1 background, 1 foreground; 0 where nothing is known
    9       2 alpha - 1, mean over pairs; 0 where one of the colours is missing
    10      r, mean over pairs; 0..5; likewise

On known pixels 6, 8 and 9 are 1 for foreground and -1 for background, 7 and 10 are 0.

Everything depends on image and trimap alone, without gradients, in single precision. If image and trimap are mirrored,
or both shifted by multiples of 32 pixels, the channels are too (but that the widest means end at the image's border,
which can show where nothing known is near).
"""

from collections.abc import Callable
from functools import wraps
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

CHANNELS = 11
FILLED_CHANNELS = 9  # of them, the first
GRID = 4  # pixels; what `KnownColours` holds is on a grid of cells of 4 x 4

PULL = 0.02  # e: how much known share of a place equals the colours from around it
COARSEST = 32  # pixels, the last of the levels that halve
SPREADS = 6  # wider means beyond it, each twice as wide as the one before
NOTHING = 1e-12  # less than any known share

DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))  # rows, columns
REACH = 9  # rays are 2^9 - 1 cells long at most, 2,044 pixels
FAR = 1e8  # cells: there is none; so far that no residual makes up for it

LEAST_SQUARED_CONTRAST = 0.05
RESIDUAL_UNIT = 0.09
MOST_EXPONENT = 80.0  # of weights, so that they stay normal numbers: exp is slow where they do not
DISTANCE_WEIGHT = 0.7
CONTRAST_WEIGHT, MOST_CONTRAST = 0.68, 1.33
CPU_CELLS, GPU_CELLS = 2**11, 2**16  # at once, of which pairs are compared: what caches, or memory, suit

Result = TypeVar("Result")


class PartColours(NamedTuple):
    """The known colours as a part of an image needs them, of H x W pixels."""

    filled: Tensor  # (N, 7, H, W): F, B, and the trimap from 0 to 1, between the middles of the cells
    samples: Tensor  # (N, 2, K, 4, H/4, W/4): K samples of F and of B, each a colour and a ray's length; FAR: none
    known: Tensor  # (N, 2, 1, 1) bool: whether the image has known foreground, background
    pairs: Tensor | None = None  # (N, 2, H, W), what `pair_channels` gives; None: still to be computed


class KnownColours(NamedTuple):
    """What a whole image's known colours are, on its grid of h x w cells: all that parts need to know of the rest."""

    filled: Tensor  # (N, 7, h, w)
    samples: Tensor  # (N, 2, K, 4, h, w)
    known: Tensor  # (N, 2, 1, 1) bool
    pairs: Tensor | None = None  # (N, 2, GRID h, GRID w)

    def of(self, top: int, bottom: int, left: int, right: int) -> PartColours:
        """Of rows top to bottom and columns left to right of pixels, all multiples of `GRID`."""
        first_row, last_row, first_column, last_column = (side // GRID for side in (top, bottom, left, right))
        above, before = min(1, first_row), min(1, first_column)  # a cell around, where the image has one
        around = self.filled[:, :, first_row - above:last_row + 1, first_column - before:last_column + 1]
        filled = F.interpolate(around, scale_factor=GRID, mode="bilinear")
        filled = filled[:, :, GRID * above:][:, :, :bottom - top, GRID * before:][..., :right - left]
        pairs = None if self.pairs is None else self.pairs[:, :, top:bottom, left:right]
        return PartColours(filled, self.samples[..., first_row:last_row, first_column:last_column], self.known, pairs)

    @property
    def of_all(self) -> PartColours:
        """Of the whole image."""
        filled = F.interpolate(self.filled, scale_factor=GRID, mode="bilinear")
        return PartColours(filled, self.samples, self.known, self.pairs)


def _exact(function: Callable[..., Result]) -> Callable[..., Result]:
    """Without gradients, and in single precision also under autocast; the first argument is a tensor."""
    @wraps(function)
    def exact(first: Tensor, *others, **named) -> Result:
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
    image, masks = image.float(), torch.stack(_masks(trimap), dim=1)
    part = part or known_colours(cell_means(image, trimap)).of_all
    unknown = masks.sum(dim=1) == 0
    opacity = masks[:, 0] - masks[:, 1]
    mixed = unknown & part.known.all(dim=1, keepdim=True)
    differences = (part.filled[:, :6].unflatten(1, (2, 3)) - image[:, None]).masked_fill_(
        (masks > 0) | ~part.known[..., None], 0)  # (N, 2, 3, H, W)
    alpha, residual = _projection(*differences.unbind(1))
    trimap = 2 * part.filled[:, 6:] - 1
    pairs = _pair_channels(image, unknown, part.samples) if part.pairs is None else part.pairs
    return torch.cat([differences.flatten(1, 2), torch.where(mixed, 2 * alpha - 1, opacity),
                      torch.where(mixed, residual, 0.0), torch.where(unknown, trimap, opacity),
                      torch.where(mixed, pairs[:, :1], opacity), torch.where(mixed, pairs[:, 1:], 0.0)], dim=1)


@_exact
def pair_channels(image: Tensor, trimap: Tensor, part: PartColours) -> Tensor:
    """2 alpha - 1 and r (N, 2, H, W), means over pairs, the costly part of `colour_channels`, whose arguments it takes.

    To be computed once and given with the known colours, where the channels of a part are needed more than once.
    """
    foreground, background = _masks(trimap)
    return _pair_channels(image.float(), foreground + background == 0, part.samples)


@_exact
def cell_means(image: Tensor, trimap: Tensor) -> Tensor:
    """The means (N, 8, H/4, W/4) over cells of I m and m, for known foreground (4) and background (4)."""
    image = image.float()
    return torch.cat([F.avg_pool2d(x, GRID) for mask in _masks(trimap) for x in (image * mask, mask)], dim=1)


@_exact
def known_colours(means: Tensor) -> KnownColours:
    """What is known of a whole image, from the `cell_means` of all of it."""
    values, weights = _layers(means)
    known = weights[:, [0, 3]].amax(dim=(2, 3), keepdim=True) > 0
    filled = _fill_cells(values, weights)
    samples = torch.stack([_samples(means[:, :4], filled[:, :3]), _samples(means[:, 4:], filled[:, 3:6])], dim=1)
    return KnownColours(filled, samples, known)


def _masks(trimap: Tensor) -> tuple[Tensor, Tensor]:
    """Known foreground and known background, each (N, 1, H, W) float32."""
    if trimap.shape[1] == 3:
        return trimap[:, 2:].float(), trimap[:, :1].float()
    return (trimap == 2).float(), (trimap == 0).float()


def _layers(means: Tensor) -> tuple[Tensor, Tensor]:
    """Means of I m and m as what is filled, (N, 7, h, w): F, B and trimap, times their weights; and these weights."""
    colours = torch.cat([means[:, :3], means[:, 4:7], means[:, 3:4]], dim=1)
    foreground, background = means[:, 3:4], means[:, 7:8]
    return colours, torch.cat([foreground.expand(-1, 3, -1, -1), background.expand(-1, 3, -1, -1),
                               foreground + background], dim=1)


def _fill_cells(values: Tensor, weights: Tensor) -> Tensor:
    """(N, 7, H/4, W/4), filled; 0 where there is nothing to fill with, the trimap 1/2."""
    levels = [(values, weights)]
    for _ in range((COARSEST // GRID).bit_length() - 1):
        levels.append(tuple(F.avg_pool2d(x, 2) for x in levels[-1]))
    spread = [levels.pop()]
    for i in range(SPREADS):
        spread.append(tuple(_blurred(x, 2**i) for x in spread[-1]))
    values, weights = (x.mean(dim=(2, 3), keepdim=True) for x in spread[0])
    nothing = torch.tensor([0.0] * 6 + [0.5], device=values.device).view(1, 7, 1, 1)
    filled = torch.where(weights > 0, values / weights.clamp_min(NOTHING), nothing)
    for values, weights in reversed(spread):
        filled = _blend(values, weights, filled)
    for values, weights in reversed(levels):
        filled = _blend(values, weights, F.interpolate(filled, scale_factor=2, mode="bilinear"))
    return filled


def _blurred(x: Tensor, distance: int) -> Tensor:
    """(1 2 1) / 4 along rows and columns at a distance, zeros beyond the border."""
    h, w = x.shape[2:]
    rows = F.pad(x, (0, 0, distance, distance))
    x = (rows[:, :, :h] + rows[:, :, 2 * distance:]) / 4 + x / 2
    columns = F.pad(x, (distance, distance))
    return (columns[..., :w] + columns[..., 2 * distance:]) / 4 + x / 2


def _blend(values: Tensor, weights: Tensor, around: Tensor) -> Tensor:
    return (values + PULL * around) / (weights + PULL)


def _samples(means: Tensor, filled: Tensor) -> Tensor:
    """Samples (N, K, 4, h, w) of foreground or of background: colours, and their rays' lengths in cells.

    Args:
        means: (N, 4, h, w), of I m and m.
        filled: (N, 3, h, w), the last of the samples, whose length is the shortest; 0 where no ray meets anything.
    """
    h, w = means.shape[2:]
    rows = torch.arange(h, device=means.device)[:, None]
    columns = torch.arange(w, device=means.device)
    here = torch.where(means[:, 3] > 0, 0.0, FAR)
    colours = (means[:, :3] / means[:, 3:].clamp_min(NOTHING)).flatten(2)
    samples, lengths = [], []
    for direction in DIRECTIONS:
        length = _ray_lengths(here, direction)
        steps = torch.where(length < FAR, length, 0.0).long()
        met = (rows + direction[0] * steps) * w + columns + direction[1] * steps
        samples.append(colours.gather(2, met.flatten(1)[:, None].expand(-1, 3, -1)).view(-1, 3, h, w))
        lengths.append(length)
    shortest = torch.stack(lengths).amin(dim=0)
    lengths.append(torch.where(shortest < FAR, shortest, 0.0))
    samples = torch.stack([*samples, filled], dim=1)
    return torch.cat([samples, torch.stack(lengths, dim=1)[:, :, None]], dim=2)


def _ray_lengths(here: Tensor, direction: tuple[int, int]) -> Tensor:
    """The cells (N, h, w) from each one to the first along a direction where `here` is 0; `FAR` where there is none.

    Each turn doubles how far rays have looked.
    """
    h, w = here.shape[1:]
    down, right = (max(0, step) for step in direction)
    up, left = (max(0, -step) for step in direction)
    lengths = here
    for i in range(REACH):
        ahead = F.pad(lengths, [2**i * side for side in (left, right, up, down)], value=FAR)
        rows, columns = 2**i * down, 2**i * right
        lengths = torch.minimum(lengths, ahead[:, rows:rows + h, columns:columns + w] + 2**i)
    return lengths.clamp_max(FAR)


def _projection(foreground: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    """Alpha of I and the mean residual (N, 1, H, W), given F - I and B - I (N, 3, H, W)."""
    contrast = (foreground - background).square_().sum(dim=1, keepdim=True).clamp_min_(LEAST_SQUARED_CONTRAST)
    nearer = background.square().sum(dim=1, keepdim=True) - foreground.square().sum(dim=1, keepdim=True)
    alpha = nearer.div_(contrast.mul_(2)).add_(0.5).clamp_(0, 1)
    return alpha, torch.lerp(background, foreground, alpha).abs_().mean(dim=1, keepdim=True)


def _pair_channels(image: Tensor, unknown: Tensor, samples: Tensor) -> Tensor:
    """2 alpha - 1 and r (N, 2, H, W), means over pairs; of no meaning where pixels are known.

    Args:
        unknown: (N, 1, H, W) bool.
        samples: (N, 2, K, 4, H/4, W/4), see `PartColours`.
    """
    n, _, h, w = image.shape
    # Cells come last, as the longest side: pixels are (3, 16, cells), samples (2, K, 4, cells).
    pixels = F.pixel_unshuffle(image, GRID).transpose(0, 1).flatten(1).unflatten(0, (3, GRID**2))
    samples = samples.movedim(0, 3).flatten(3)
    if torch.compiler.is_compiling():  # a graph does without lists whose length depends on the content
        means = _pair_means(pixels, samples)
    else:
        cells = F.max_pool2d(unknown.float(), GRID).flatten().nonzero()[:, 0]
        means = pixels.new_empty(CHANNELS - FILLED_CHANNELS, *pixels.shape[1:])
        for part in cells.split(CPU_CELLS if image.device.type == "cpu" else GPU_CELLS):
            means[..., part] = _pair_means(pixels[..., part], samples[..., part])
    return F.pixel_shuffle(means.view(-1, n, h // GRID, w // GRID).transpose(0, 1), GRID)


def _pair_means(image: Tensor, samples: Tensor) -> Tensor:
    """2 alpha - 1 and r (2, 16, P) of the pixels of P cells, means over pairs.

    Args:
        image: (3, 16, P).
        samples: (2, K, 4, P), see `PartColours`.
    """
    colours, lengths = samples[:, :, :3], samples[:, :, 3]
    differences = colours[:, :, :, None] - image  # (2, K, 3, 16, P): F - I and B - I
    red, green, blue = differences.unbind(2)
    squares = red.square().addcmul_(green, green).addcmul_(blue, blue)
    backgrounds = differences[1].unbind(1)
    shortest = lengths[:, -1].sum(dim=0) + 1
    half = image.new_tensor(0.5)
    own_cost, total, alpha_sum, residual_sum = None, 0, 0, 0
    for i in reversed(range(samples.shape[1])):  # a sample of the foreground with all of the background
        contrast = colours[0, i] - colours[1]  # (K, 3, P)
        slope = 0.5 / contrast.square().sum(dim=1).clamp_min(LEAST_SQUARED_CONTRAST)
        alpha = torch.addcmul(half, squares[1] - squares[0, i], slope[:, None]).clamp_(0, 1)  # (K, 16, P)
        residual = None
        for foreground, background in zip(differences[0, i], backgrounds, strict=True):
            left = torch.lerp(background, foreground, alpha).abs_()
            residual = left if residual is None else torch.maximum(residual, left)
        fixed_cost = (DISTANCE_WEIGHT * (lengths[0, i] + lengths[1]) / shortest
                      - CONTRAST_WEIGHT * contrast.abs().mean(dim=1).clamp_max(MOST_CONTRAST))
        if own_cost is None:  # the last of both; costs count relative to its own, so that one weight is 1
            own_cost = residual[-1] / RESIDUAL_UNIT + fixed_cost[-1]
        weight = (own_cost - fixed_cost[:, None]).sub_(residual, alpha=1 / RESIDUAL_UNIT)
        weight = weight.clamp_(-MOST_EXPONENT, MOST_EXPONENT).exp_()
        total = total + weight.sum(dim=0)
        alpha_sum = alpha_sum + (weight * alpha).sum(dim=0)
        residual_sum = residual_sum + (weight * residual).sum(dim=0)
    return torch.stack([2 * alpha_sum - total, residual_sum]) / total
