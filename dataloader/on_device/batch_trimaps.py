"""Trimaps for batches: eroded as published, as wide as those of test sets, or in hand-drawn styles.

Trimaps are labels (n, h, w) uint8, `BACKGROUND`, `UNKNOWN` and `FOREGROUND`. Known labels stay correct. The styles are
those of `dataloader.synthetic.trimap_styles`, computed here on cells of 4 x 4 pixels.
"""

import torch
from torch import Tensor

from dataloader.augment import LARGEST_KERNEL
from dataloader.on_device.distances import any_of_cells, distances, enlarged, squared_distances
from dataloader.on_device.draws import Draws, in_groups
from utils.preprocessing import BACKGROUND, FOREGROUND, UNKNOWN

TRIMAP_MARGIN = 16  # pixels of alpha needed around a crop
WIDEST_BAND = 4  # the largest erosion kernel in small crops is their side divided by this
COARSE_CELL = 4
UNCHANGED_SHARE = 0.45
WIDEST = 0.3  # largest growth of the unknown region, as a share of the trimap's side
USUAL_RADII = (8, 11, 16)  # pixels, of the test trimaps of alphamatting.com
DABBED_SHARE = 0.35  # share of these trimaps drawn with a brush along the unknown region
WAYS = (0.4, 0.25, 0.15, 0.12, 0.08)  # shares of: widened, brushed, coarse, without islands, scribbled
FEWEST_DABS, MOST_DABS = 5, 40
STROKES = 4  # maximum per label


def draw_trimaps(draws: Draws, alpha: Tensor, crop: int, usual_share: float) -> Tensor:
    """Trimaps (n, crop, crop) of alphas (n, S, S) in 0..255 with a margin of `TRIMAP_MARGIN` pixels around the crop.

    A style is not applied if it would leave no known foreground or no known background.

    Args:
        usual_share: share of trimaps whose unknown region is that of alpha between 0 and 1, widened by 8, 11 or 16
            pixels, or by brush dabs along it.
    """
    n = len(alpha)
    inside = slice(TRIMAP_MARGIN, TRIMAP_MARGIN + crop)
    squares = [squared_distances(region, TRIMAP_MARGIN)[:, inside, inside] for region in (alpha < 255, alpha > 0)]
    radii = draws.whole(min(LARGEST_KERNEL, crop // WIDEST_BAND), 2, n) / 2  # of kernels of 1 to 29 pixels
    usual = draws.chance(usual_share, n)
    trimap = _eroded(squares, torch.where(usual, 0.0, radii))
    trimap = torch.where((trimap == UNKNOWN).flatten(1).any(1)[:, None, None], trimap, _eroded(squares, radii * 0))
    ways = torch.tensor(WAYS, device=alpha.device).cumsum(0)
    way = torch.bucketize(draws.uniform(0, 1, n), ways[:-1])
    changed = ~draws.chance(UNCHANGED_SHARE, n) & (trimap == UNKNOWN).flatten(1).any(1)
    drawn = [(usual, _as_test_sets), *((~usual & changed & (way == i), draw) for i, draw in enumerate(
        (_widened, _brushed, _coarse, _without_islands, _scribbled)))]
    for chosen, draw in drawn:
        chosen = chosen.nonzero().flatten()
        if len(chosen):
            before = trimap[chosen]
            after = torch.where(draw(draws, before), UNKNOWN, before)
            lost = (_has_both(before) & ~_has_both(after))[:, None, None]
            trimap[chosen] = torch.where(lost, before, after)
    return trimap


def _has_both(trimap: Tensor) -> Tensor:
    """Whether a trimap has both known foreground and known background, (n,) bool."""
    return (trimap == FOREGROUND).flatten(1).any(1) & (trimap == BACKGROUND).flatten(1).any(1)


def _eroded(squares: list[Tensor], radii: Tensor) -> Tensor:
    """Labels from the squared distances (n, h, w) to alpha < 1 and to alpha > 0, and kernel radii (2, n)."""
    solid, empty = (square > (radius**2)[:, None, None] for square, radius in zip(squares, radii, strict=True))
    return torch.where(solid, FOREGROUND, torch.where(empty, BACKGROUND, UNKNOWN)).to(torch.uint8)


def _as_test_sets(draws: Draws, trimap: Tensor) -> Tensor:
    n, size = len(trimap), trimap.shape[1]
    radius = torch.tensor(USUAL_RADII, device=trimap.device)[draws.whole(len(USUAL_RADII), n)]
    radius = radius * draws.uniform(0.7, 1.3, n) * min(1, size / 128)
    near = squared_distances(trimap == UNKNOWN, 2 * TRIMAP_MARGIN) <= (radius**2)[:, None, None]
    dabs = _dabs(draws, trimap, (radius * 1.3)[:, None].expand(-1, 2 * MOST_DABS), radius * 0.7)
    dabbed = draws.chance(DABBED_SHARE, n) & _has_both(torch.where(dabs, UNKNOWN, trimap))
    return torch.where(dabbed[:, None, None], dabs, near)


def _widened(draws: Draws, trimap: Tensor) -> Tensor:
    """Pixels within a random distance of an unknown one."""
    widest = WIDEST * trimap.shape[1]
    radius = 1 + widest * draws.uniform(0, 1, len(trimap)) ** 2
    field = COARSE_CELL * distances(any_of_cells(trimap == UNKNOWN, COARSE_CELL), int(widest / COARSE_CELL) + 2)
    return enlarged(field, trimap.shape[1]) <= radius[:, None, None]


def _brushed(draws: Draws, trimap: Tensor) -> Tensor:
    """Dabs of a round brush of varying size along the unknown region."""
    widest = WIDEST * trimap.shape[1]
    n = len(trimap)
    radii = widest * draws.uniform(0.1, 0.7, n, MOST_DABS)
    number = FEWEST_DABS + draws.whole(MOST_DABS - FEWEST_DABS, n, 1)
    radii = torch.where(torch.arange(MOST_DABS, device=trimap.device) < number, radii, 0)
    return _dabs(draws, trimap, radii, torch.full((n,), widest / 6, device=trimap.device))


def _dabs(draws: Draws, trimap: Tensor, radii: Tensor, deviation: Tensor) -> Tensor:
    """Pixels inside discs of radii (n, k) around unknown pixels, centres shifted by Gaussian noise of sigma (n,)."""
    n, size = len(trimap), trimap.shape[1]
    cells = any_of_cells(trimap == UNKNOWN, COARSE_CELL)
    side = cells.shape[1]
    weights = cells.flatten(1).float() + 1e-6 * ~cells.flatten(1).any(1, keepdim=True)
    places = torch.multinomial(weights, radii.shape[1], replacement=True, generator=draws.generator)
    middles = torch.stack([places % side, places // side], dim=-1) * COARSE_CELL + COARSE_CELL / 2
    middles = middles + draws.normal(n, radii.shape[1], 2) * deviation[:, None, None]
    at = (torch.arange(side, device=trimap.device) + 0.5) * COARSE_CELL
    across = (at - middles[..., :1]).square()[:, :, None, :] + (at - middles[..., 1:]).square()[..., None]
    field = (across.sqrt() - radii[..., None, None]).amin(dim=1)
    return enlarged(field, size) <= 0


def _coarse(draws: Draws, trimap: Tensor) -> Tensor:
    """Blocks that contain an unknown pixel, as if drawn at low resolution."""
    most = max(1, min(4, (trimap.shape[1] // 16).bit_length() - 1))

    def blocks(draws: Draws, trimap: Tensor) -> Tensor:
        side = 2 ** (1 + int(draws.whole(most)))
        return any_of_cells(trimap == UNKNOWN, side).repeat_interleave(side, 1).repeat_interleave(side, 2)

    return in_groups(draws, trimap, blocks)


def _without_islands(draws: Draws, trimap: Tensor) -> Tensor:
    """Known regions into which no disc fits: holes and gaps."""
    n, size = len(trimap), trimap.shape[1]
    widest = WIDEST * size
    radius = (widest * draws.uniform(0.05, 0.7, n))[:, None, None]
    reach = int(widest * 0.7 / COARSE_CELL) + 2
    unknown = torch.zeros_like(trimap, dtype=torch.bool)
    for label in (BACKGROUND, FOREGROUND):
        known = trimap == label
        holds_disc = COARSE_CELL * distances(any_of_cells(~known, COARSE_CELL), reach) > radius
        unknown |= known & (enlarged(COARSE_CELL * distances(holds_disc, reach), size) > radius + COARSE_CELL)
    return unknown


def _scribbled(draws: Draws, trimap: Tensor) -> Tensor:
    """Everything except a few strokes in the known regions."""
    n, size = len(trimap), trimap.shape[1]
    width = (size * draws.uniform(0.01, 0.08, n) / 2).clamp_min(1)[:, None, None]
    at = torch.arange(size, device=trimap.device)
    unknown = torch.ones_like(trimap, dtype=torch.bool)
    for label in (BACKGROUND, FOREGROUND):
        known = (trimap == label).flatten(1).float()
        ends = torch.multinomial(known + 1e-9, 2 * STROKES, replacement=True, generator=draws.generator)
        ends = torch.stack([ends % size, ends // size], dim=-1).float().view(n, STROKES, 2, 2)
        number = 1 + draws.whole(STROKES, n)
        near = torch.zeros_like(unknown)
        for i in range(STROKES):
            start, way = ends[:, i, 0], ends[:, i, 1] - ends[:, i, 0]
            x, y = at - start[:, :1], at - start[:, 1:]  # (n, size) each
            along = x[:, None] * way[:, :1, None] + y[:, :, None] * way[:, 1:, None]
            along = (along / way.square().sum(1).clamp_min(1)[:, None, None]).clamp(0, 1)
            gap = (x[:, None] - along * way[:, :1, None]).square() + (y[:, :, None] - along * way[:, 1:, None]).square()
            near |= (gap <= width**2) & (number > i)[:, None, None]
        unknown &= ~(near & (trimap == label))
    return unknown
