"""Photographed subjects: regions of similar colour in a photograph, or cut-outs.

They keep the texture and lighting of a photograph. A *view* is a square part of one, (h, h, 3) uint8 RGB.
"""

from typing import NamedTuple

import cv2
import numpy as np

from dataloader.synthetic.drawing import SUPERSAMPLING, to_uint8

SIDE = 96  # resolution at which views are segmented
AREAS = (0.12, 0.5)  # range of a subject's initial area, as a share of the view
LEAST_AREA = 0.05  # minimum area of the largest component after morphological smoothing
NEARNESS = (0.3, 1.2)  # range of the weight of distance from the seed, relative to colour difference
FRAMES = (1.0, 1.7)  # range of the crop's side, relative to the subject's longer side
SMOOTHING = 1.6  # sigma of the blur that rounds its outline, in pixels of the segmentation
CUTOUT_FRAMES = (0.55, 1.25)  # range of a cut-out's crop, relative to its longer side
MOST_ENLARGED = 2.5  # largest enlargement of a cut-out
CUTOUT_TURN = 10  # standard deviation of a cut-out's rotation, in degrees
LEAST_SHOWN = 0.04  # minimum share of the image covered by a cut-out
SOLID = 127  # alpha above which a cut-out counts as solid
INSET = 1 / 40  # share of the side: colours are taken this far inside the outline, free of background


class Subject(NamedTuple):
    """A subject; its mask is `SUPERSAMPLING` times as large as its colours."""

    solid: np.ndarray  # (2 S, 2 S) uint8, 255 inside and 0 outside
    colours: np.ndarray  # (S, S, 3) uint8, extended beyond the outline


def find_subject(rng: np.random.Generator, view: np.ndarray, size: int) -> Subject | None:
    """Segments a subject in a view, at (size, size): the region similar in colour to a random central pixel.

    None if no connected region is large enough.
    """
    small = cv2.resize(np.ascontiguousarray(view), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    solid = _similar_region(rng, small)
    if solid is None:
        return None
    solid, view = _framed(rng, solid, view)
    side = size * SUPERSAMPLING
    soft = cv2.GaussianBlur(solid * np.float32(1), (0, 0), SMOOTHING)
    soft = cv2.resize(soft, (side, side), interpolation=cv2.INTER_CUBIC)
    solid = (soft > 0.5).view(np.uint8) * np.uint8(255)
    colours = cv2.resize(np.ascontiguousarray(view), (size, size), interpolation=cv2.INTER_LINEAR)
    return Subject(solid, continued(colours, cv2.resize(solid, (size, size), interpolation=cv2.INTER_AREA)))


def cutout_subject(rng: np.random.Generator, cutout: np.ndarray, size: int) -> Subject | None:
    """A cut-out (h, w, 4) uint8 RGBA, or a part of it, as a solid subject at (size, size); slightly rotated.

    None if it covers too little of the image.
    """
    solid, colours = cutout_view(rng, cutout, size, SUPERSAMPLING)
    solid = (solid > SOLID).view(np.uint8) * np.uint8(255)
    if np.count_nonzero(solid) < LEAST_SHOWN * solid.size:
        return None
    return Subject(solid, continued(colours, cv2.resize(solid, (size, size), interpolation=cv2.INTER_AREA)))


def cutout_view(rng: np.random.Generator, cutout: np.ndarray, size: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """A random square of a cut-out, sometimes mirrored: alpha at `scale` times (size, size), colours (size, size, 3).

    Colours are black where the square is empty.
    """
    if rng.random() < 0.5:
        cutout = cutout[:, ::-1]
    height, width = cutout.shape[:2]
    side = max(max(height, width) * rng.uniform(*CUTOUT_FRAMES), size / MOST_ENLARGED)
    middle = [length / 2 + rng.uniform(-0.5, 0.5) * max(0.0, length - side) for length in (width, height)]
    turn = rng.normal(0, CUTOUT_TURN)
    weight = cutout[..., 3:] * np.float32(1 / 255)
    seen = _shown(np.dstack([cutout[..., :3] * weight, weight]), middle, side, turn, size)
    colours = np.clip(seen[..., :3] / np.maximum(seen[..., 3:], 1e-6), 0, 255).astype(np.uint8)
    if scale == 1:
        alpha = to_uint8(seen[..., 3])
        colours[alpha == 0] = 0
        return alpha, colours
    alpha = _shown(np.ascontiguousarray(cutout[..., 3]), middle, side, turn, scale * size)
    return cv2.GaussianBlur(alpha, (0, 0), max(1.0, scale * size / side / 2)), colours


def _shown(image: np.ndarray, middle: list[float], side: float, turn: float, size: int) -> np.ndarray:
    """The square around a point (x, y) of an image, rotated by `turn` degrees, at (size, size); 0 beyond the image."""
    factor = size / side
    if factor < 1:
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / factor)
    to_view = cv2.getRotationMatrix2D(middle, turn, factor)
    to_view[:, 2] += size / 2 - np.array(middle)
    return cv2.warpAffine(image, to_view, (size, size), flags=cv2.INTER_LINEAR)


def _similar_region(rng: np.random.Generator, image: np.ndarray) -> np.ndarray | None:
    """Mask (S, S) uint8, 0 or 1, of the region similar in colour around a random pixel of an image (S, S, 3)."""
    colours = cv2.GaussianBlur(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), (0, 0), 1.5)
    x, y = (int(at) for at in rng.uniform(0.25, 0.75, 2) * SIDE)
    difference = np.linalg.norm((colours - colours[y, x]) / (colours.std(axis=(0, 1)) + 3), axis=-1)
    rows, columns = np.ogrid[:SIDE, :SIDE]
    distance = np.hypot(columns - x, (rows - y) * rng.uniform(0.6, 1.6)) / SIDE
    field = cv2.GaussianBlur(difference + 4 * rng.uniform(*NEARNESS) * distance.astype(np.float32), (0, 0), 1.5)
    region = (field < np.quantile(field, rng.uniform(*AREAS))).view(np.uint8)
    for change, side in ((cv2.MORPH_OPEN, 5), (cv2.MORPH_CLOSE, 9), (cv2.MORPH_OPEN, 7)):
        region = cv2.morphologyEx(region, change, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    curves, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not curves:
        return None
    curve = max(curves, key=cv2.contourArea)
    if cv2.contourArea(curve) < LEAST_AREA * region.size:
        return None
    return cv2.drawContours(np.zeros_like(region), [curve], -1, 1, cv2.FILLED)


def _framed(rng: np.random.Generator, solid: np.ndarray, view: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Crops region (h, h) and view to a square that the region mostly fills."""
    left, top, width, height = cv2.boundingRect(solid)
    side = min(SIDE, round(max(width, height) * rng.uniform(*FRAMES)))
    left, top = (int(np.clip(start + (length - side) * rng.uniform(0.3, 0.7), 0, SIDE - side))
                 for start, length in ((left, width), (top, height)))
    scale = len(view) / SIDE
    rows, columns = (slice(round(start * scale), max(round(start * scale) + 1, round((start + side) * scale)))
                     for start in (top, left))
    return solid[top:top + side, left:left + side], view[rows, columns]


def continued(colours: np.ndarray, solid: np.ndarray) -> np.ndarray:
    """Extends the colours (S, S, 3) inside a solid region (S, S) uint8 to its edge and beyond.

    Each pixel takes the colour of the nearest one well inside, smoothed, so that hair matches the body it grows on.
    """
    depth = cv2.distanceTransform((solid > 127).view(np.uint8), cv2.DIST_L2, 3)
    inset = min(len(solid) * INSET, 0.7 * float(depth.max()))
    outside = (depth <= inset).view(np.uint8)
    if outside.all():
        return colours
    _, labels = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL)
    nearest = np.zeros(labels.max() + 1, int)
    nearest[labels[outside == 0]] = np.flatnonzero(outside == 0)
    filled = colours.reshape(-1, 3)[nearest[labels]]
    soft = cv2.GaussianBlur(filled, (0, 0), max(1.0, len(solid) / 150))
    share = np.clip((inset - depth) / max(1.0, inset), 0, 1).astype(np.float32)
    return cv2.blendLinear(soft, filled, share, 1 - share)
