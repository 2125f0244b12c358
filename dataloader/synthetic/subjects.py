"""Photographed subjects: what the colours of a photograph hold together, or what a cut-out shows.

They have the texture and the light of a photograph. A *view* is a square part of one, (h, h, 3) uint8 RGB.
"""

from typing import NamedTuple

import cv2
import numpy as np

from dataloader.synthetic.drawing import SUPERSAMPLING, to_uint8

SIDE = 96  # pixels at which views are segmented
AREAS = (0.12, 0.5)  # shares of a view that a subject's outline is first drawn around
LEAST_AREA = 0.05  # of what is left of it, connected and rounded
NEARNESS = (0.3, 1.2)  # how much distance from the subject's middle counts beside differences of colour
FRAMES = (1.0, 1.7)  # sides of what is then shown, as parts of the subject's longer side
SMOOTHING = 1.6  # deviation of the blur that rounds its outline, in pixels of the segmentation
CUTOUT_FRAMES = (0.55, 1.25)  # sides of what is shown of a cut-out, as parts of its longer side
MOST_ENLARGED = 2.5  # pixels of the picture for one of a cut-out
CUTOUT_TURN = 10  # degrees: deviation of the angle by which it is turned
LEAST_SHOWN = 0.04  # of the picture, that a cut-out covers
SOLID = 127  # alpha above which a cut-out is
INSET = 1 / 40  # of the view: colours are taken from that far inside the outline, where nothing behind shines through


class Subject(NamedTuple):
    """A subject on a canvas `SUPERSAMPLING` times as large as its colours."""

    solid: np.ndarray  # (2 S, 2 S) uint8, 255 inside and 0 outside
    colours: np.ndarray  # (S, S, 3) uint8, continued beyond the outline


def find_subject(rng: np.random.Generator, view: np.ndarray, size: int) -> Subject | None:
    """A thing in a view: what is like a random place near the middle in its colours, and around it, at (size, size).

    None where no connected region of some size is alike.
    """
    small = cv2.resize(np.ascontiguousarray(view), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    solid = _alike(rng, small)
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
    """What a cut-out (h, w, 4) uint8 RGBA shows, solid, or a part of it, at (size, size); turned a little.

    None where hardly anything of it is seen.
    """
    solid, colours = cutout_view(rng, cutout, size, SUPERSAMPLING)
    solid = (solid > SOLID).view(np.uint8) * np.uint8(255)
    if np.count_nonzero(solid) < LEAST_SHOWN * solid.size:
        return None
    return Subject(solid, continued(colours, cv2.resize(solid, (size, size), interpolation=cv2.INTER_AREA)))


def cutout_view(rng: np.random.Generator, cutout: np.ndarray, size: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """A square part of a cut-out, mirrored at times: alpha at `scale` times (size, size), and colours (size, size, 3).

    Where nothing is shown colours are black.
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
    """The square of an image about a point (x, y), turned by degrees, at (size, size); nothing beyond the image."""
    factor = size / side
    if factor < 1:
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / factor)
    to_view = cv2.getRotationMatrix2D(middle, turn, factor)
    to_view[:, 2] += size / 2 - np.array(middle)
    return cv2.warpAffine(image, to_view, (size, size), flags=cv2.INTER_LINEAR)


def _alike(rng: np.random.Generator, image: np.ndarray) -> np.ndarray | None:
    """The region (S, S) uint8 of 0 and 1 around a place of an image (S, S, 3) that is like it, its holes filled."""
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
    """The square around a region (h, h) in which it fills much of the picture, cut from region and view."""
    left, top, width, height = cv2.boundingRect(solid)
    side = min(SIDE, round(max(width, height) * rng.uniform(*FRAMES)))
    left, top = (int(np.clip(start + (length - side) * rng.uniform(0.3, 0.7), 0, SIDE - side))
                 for start, length in ((left, width), (top, height)))
    scale = len(view) / SIDE
    rows, columns = (slice(round(start * scale), max(round(start * scale) + 1, round((start + side) * scale)))
                     for start in (top, left))
    return solid[top:top + side, left:left + side], view[rows, columns]


def continued(colours: np.ndarray, solid: np.ndarray) -> np.ndarray:
    """Colours (S, S, 3) whose pixels outside a solid region (S, S) uint8, or near its edge, have those inside it.

    Each is that of the nearest pixel well inside, softened, so that hair has the colours of what it grows on.
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
