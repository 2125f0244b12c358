"""Hand-drawn trimap styles: wide, sloppy, coarse, or hardly anything known. Known labels stay correct.

Trimaps are labels (H, W) uint8: `BACKGROUND`, `UNKNOWN` and `FOREGROUND` of `utils.preprocessing`.
"""

import cv2
import numpy as np

from utils.preprocessing import UNKNOWN

UNCHANGED_SHARE = 0.45
WIDEST = 0.3  # largest growth of the unknown region, as a share of the trimap's shorter side


def redraw_trimap(rng: np.random.Generator, trimap: np.ndarray) -> np.ndarray:
    """A trimap in a random style, whose unknown region contains that of the given one."""
    if rng.random() < UNCHANGED_SHARE or not (trimap == UNKNOWN).any():
        return trimap
    widest = max(2.0, WIDEST * min(trimap.shape))
    way = rng.random()
    if way < 0.4:
        redrawn = widened(trimap, 1 + widest * rng.random() ** 2)
    elif way < 0.65:
        redrawn = brushed(rng, trimap, widest)
    elif way < 0.8:
        redrawn = coarse(trimap, int(rng.integers(2, max(3, widest / 2))))
    elif way < 0.92:
        redrawn = without_islands(trimap, widest * rng.uniform(0.05, 0.7))
    else:
        redrawn = scribbled(rng, trimap)
    return redrawn if (redrawn != UNKNOWN).any() else trimap


def widened(trimap: np.ndarray, radius: float) -> np.ndarray:
    """Known pixels at most `radius` pixels from an unknown one become unknown."""
    return _set_unknown(trimap, _distance_to(trimap == UNKNOWN) <= radius)


def brushed(rng: np.random.Generator, trimap: np.ndarray, widest: float) -> np.ndarray:
    """Extends the unknown region by dabs of a round brush of varying size."""
    dabs = np.zeros_like(trimap)
    rows, columns = np.nonzero(trimap == UNKNOWN)
    for i in rng.integers(len(rows), size=int(rng.integers(5, 40))):
        shift = rng.normal(0, widest / 6, 2)
        centre = (int(columns[i] + shift[0]), int(rows[i] + shift[1]))
        cv2.circle(dabs, centre, max(1, int(widest * rng.uniform(0.1, 0.7))), 1, -1)
    return _set_unknown(trimap, dabs > 0)


def coarse(trimap: np.ndarray, block: int) -> np.ndarray:
    """Only entirely known blocks of `block` x `block` pixels stay known, as if drawn at low resolution."""
    height, width = trimap.shape
    unknown = cv2.dilate((trimap == UNKNOWN).view(np.uint8), np.ones((block, block), np.uint8), anchor=(0, 0),
                         borderType=cv2.BORDER_CONSTANT, borderValue=0)[::block, ::block]
    return _set_unknown(trimap, unknown.repeat(block, axis=0).repeat(block, axis=1)[:height, :width] > 0)


def without_islands(trimap: np.ndarray, radius: float) -> np.ndarray:
    """Known regions into which no disc of `radius` pixels fits become unknown: holes and gaps are filled."""
    keep = np.zeros(trimap.shape, bool)
    for label in set(np.unique(trimap)) - {UNKNOWN}:
        inside = _distance_to(trimap != label) > radius
        keep |= (trimap == label) & (_distance_to(inside) <= radius + 1)
    return _set_unknown(trimap, ~keep)


def scribbled(rng: np.random.Generator, trimap: np.ndarray) -> np.ndarray:
    """Only a few strokes stay known."""
    strokes = np.zeros_like(trimap)
    for label in set(np.unique(trimap)) - {UNKNOWN}:
        rows, columns = np.nonzero(trimap == label)
        for _ in range(rng.integers(1, 5)):
            ends = rng.integers(len(rows), size=2)
            start, end = ((int(columns[i]), int(rows[i])) for i in ends)
            cv2.line(strokes, start, end, 1, max(2, int(min(trimap.shape) * rng.uniform(0.01, 0.08))))
    return _set_unknown(trimap, strokes == 0)


def _set_unknown(trimap: np.ndarray, where: np.ndarray) -> np.ndarray:
    redrawn = trimap.copy()
    redrawn[where] = UNKNOWN
    return redrawn


def _distance_to(region: np.ndarray) -> np.ndarray:
    """Each pixel's distance in pixels to the region, (H, W) float32; infinite if the region is empty."""
    if not region.any():
        return np.full(region.shape, np.inf, np.float32)
    return cv2.distanceTransform((~region).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
