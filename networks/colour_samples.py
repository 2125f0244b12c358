"""Known colours around each pixel as additional network input: the estimates of sampling-based matting.

Given foreground and background colours F and B, alpha follows from a pixel's colour I = alpha F + (1 - alpha) B. F and
B are estimated from the known regions of the trimap in two ways: filled colours, and samples in four directions
(`networks.known_colours`).

Pairs: for each pixel of a cell, each of the 4 x 4 pairs (F, B) of its samples gives an alpha. The pixel gets their
mean, weighted by 1 / (r^2 + 0.005), r = |I - alpha F - (1 - alpha) B|: pairs that explain its colour dominate, as in
Gastal and Oliveira, "Shared Sampling for Real-Time Alpha Matting" (Eurographics 2010).

Alpha of a pair is the projection of I onto the line from B to F, after Wang and Cohen, "Optimized Color Sampling for
Robust Matting" (CVPR 2007): clip(1/2 + (I - (F + B) / 2) (F - B) / max(|F - B|^2, 0.05), 0, 1).

All colours are normalised like the network's input. Filled colours are interpolated bilinearly between cell centres.
Channels:

    0..2    F - I, filled; about -5..5; 0 on known foreground, and if the image has none
    3..5    B - I, filled; likewise for background
    6       the trimap, filled likewise from all known pixels: -1 background, 1 foreground; 0 if nothing is known
    7       2 alpha - 1 of the filled colours, -1..1
    8       mean of the channels of |I - alpha F - (1 - alpha) B|, 0..5
    9       2 alpha - 1, mean over pairs, -1..1
    10      r of the pairs, 0..8: the root of the mean of r^2 over them

On known pixels channels 6, 7 and 9 are 1 for foreground and -1 for background, 8 and 10 are 0. On unknown pixels of
images without known foreground or without known background, 7 to 10 are 0.

The channels depend on image and trimap only, in single precision and without gradients. They are equivariant to
mirroring and to shifts by multiples of 32 pixels, except that the widest means end at the image's border, which can
show if no known pixel is in view in some direction.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from networks.known_colours import GRID, PartColours, cell_means, full_precision_no_grad, known_colours, known_masks

CHANNELS = 11
ESTIMATES = 4  # the last channels, needed by unknown pixels only

LEAST_SQUARED_CONTRAST = 0.05
SQUARED_RESIDUAL = 0.005  # added to r^2, so that small residuals count as none
CPU_CELLS, GPU_CELLS = 2**11, 2**16  # cells whose pairs are computed at once, to fit into caches or memory


@full_precision_no_grad
def colour_channels(image: Tensor, trimap: Tensor, part: PartColours | None = None) -> Tensor:
    """The channels (N, 11, H, W) float32 of the table above.

    Args:
        image: (N, 3, H, W), normalised; H and W multiples of 32.
        trimap: (N, 3, H, W) one-hot (background, unknown, foreground), or (N, 1, H, W) holding 0, 1, 2.
        part: `KnownColours.of` of a part of an image, H and W multiples of `GRID`. Default: image and trimap are
            complete.
    """
    image, (foreground, background) = image.float(), known_masks(trimap)
    part = part or known_colours(cell_means(image, trimap)).of_all
    if part.estimates is None:
        part = part._replace(estimates=estimates(image, trimap, part))
    wanted = (1 - torch.stack([foreground, background], dim=1)) * part.known[..., None]  # (N, 2, 1, H, W)
    differences = (part.filled[:, :6].unflatten(1, (2, 3)) - image[:, None]).mul_(wanted)
    trimap = torch.where(foreground + background > 0, foreground - background, 2 * part.filled[:, 6:] - 1)
    return torch.cat([differences.flatten(1, 2), trimap, part.estimates], dim=1)


@full_precision_no_grad
def estimates(image: Tensor, trimap: Tensor, part: PartColours) -> Tensor:
    """The last four channels (N, 4, H, W), the expensive part of `colour_channels`; arguments as there.

    Compute them once and pass them in `PartColours` if the channels of a part are needed more than once.
    """
    foreground, background = known_masks(trimap)
    wanted = (foreground + background == 0) & part.known.all(dim=1, keepdim=True)
    n, _, h, w = image.shape
    image, filled, samples = image.float(), part.filled[:, :6], part.samples.movedim(0, 3).flatten(3)
    if torch.compiler.is_compiling():  # compiled graphs need shapes that do not depend on the content
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
    return torch.where(wanted, found, known_estimates(trimap))


def known_estimates(trimap: Tensor) -> Tensor:
    """What `estimates` (N, 4, H, W) are where the trimap is known: of both kinds -1 or 1, and no residual."""
    foreground, background = known_masks(trimap)
    opacity = foreground - background
    nothing = torch.zeros_like(opacity)
    return torch.cat([opacity, nothing, opacity, nothing], dim=1)


def _projection(foreground: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    """Alpha of I (16, P) and |I - alpha F - (1 - alpha) B| (3, 16, P), given F - I and B - I (3, 16, P)."""
    contrast = _squared(foreground - background, 0).clamp_min_(LEAST_SQUARED_CONTRAST)
    nearer = _squared(background, 0) - _squared(foreground, 0)
    alpha = nearer.div_(contrast.mul_(2)).add_(0.5).clamp_(0, 1)
    return alpha, torch.lerp(background, foreground, alpha).abs_()


def _by_cells(x: Tensor) -> Tensor:
    """(N, C, H, W) as (C, 16, cells), the longest dimension last."""
    return F.pixel_unshuffle(x, GRID).transpose(0, 1).flatten(1).unflatten(0, (-1, GRID**2))


def _pixels(cells: Tensor, width: int) -> Tensor:
    """Flat pixel indices (16, P) of P flat cell indices, both row-major over all images of this width."""
    columns = width // GRID
    corners = cells // columns * (GRID * width) + cells % columns * GRID
    sides = torch.arange(GRID, device=cells.device)
    return (sides[:, None] * width + sides).flatten()[:, None] + corners


def _cell_estimates(image: Tensor, filled: Tensor, samples: Tensor) -> Tensor:
    """`estimates` (4, 16, P) of the pixels of P cells, all treated as unknown.

    Args:
        image: (3, 16, P).
        filled: (6, 16, P), F and B.
        samples: (2, K, 3, P).
    """
    alpha, residual = _projection(*(filled.unflatten(0, (2, 3)) - image).unbind())
    return torch.cat([torch.stack([2 * alpha - 1, residual.mean(dim=0)]), _pair_means(image, samples)])


def _pair_means(image: Tensor, samples: Tensor) -> Tensor:
    """2 alpha - 1 and r (2, 16, P) of the pixels of P cells, averaged over pairs.

    Args:
        image: (3, 16, P).
        samples: (2, K, 3, P).
    """
    differences = samples[:, :, :, None] - image  # (2, K, 3, 16, P): F - I and B - I
    squares = _squared(differences, 2)
    half = image.new_full((), 0.5)
    weight_sum = alpha_sum = left_sum = 0
    for i in range(samples.shape[1]):  # a foreground sample with all background samples
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
