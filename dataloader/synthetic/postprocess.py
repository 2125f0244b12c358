"""The last steps of a generated sample, on its crop: what backgrounds, cameras and people add."""

import cv2
import numpy as np

from dataloader.augment import LARGEST_KERNEL, composite, make_trimap
from dataloader.sample import Crop
from dataloader.synthetic.camera import photograph
from dataloader.synthetic.colours import defocused, near_colours
from dataloader.synthetic.trimap_styles import redraw_trimap
from utils.preprocessing import UNKNOWN

DEFOCUSED_SHARE = 0.35  # samples whose background is out of focus
NEAR_SHARE = 0.25  # samples whose foreground has colours near the background's
WIDEST_BAND = 4  # the widest erosion in small crops is this part of their side
PLAIN_DISTANCE = 90  # least distance of plain colours, in RGB of 0..255
_PLAIN_CELLS = 3


def finish(rng: np.random.Generator, crop: Crop, plain_share: float = 0.0) -> Crop:
    """A crop whose composite looks like a photograph and whose trimap is drawn as people draw them.

    Args:
        plain_share: the share of samples in plain colours that differ instead, from which a network learns first
            that colours tell what is opaque.
    """
    crop = crop._replace(trimap=fitting_trimap(rng, crop))
    if rng.random() < plain_share:
        return plain(rng, crop)
    crop = as_photographed(rng, crop)
    return crop._replace(trimap=redraw_trimap(rng, crop.trimap))


def fitting_trimap(rng: np.random.Generator, crop: Crop) -> np.ndarray:
    """The crop's trimap; in small crops one that is narrower in proportion, and where all is unknown a tight one.

    What nothing known is near to could as well be foreground as background: nothing is to be learned from it.
    """
    trimap = crop.trimap
    widest = trimap.shape[0] // WIDEST_BAND
    if widest < LARGEST_KERNEL:
        trimap = make_trimap(crop.alpha, rng.integers(1, widest + 1, size=2).tolist())
    return trimap if (trimap != UNKNOWN).any() else make_trimap(crop.alpha, (1, 1))


def as_photographed(rng: np.random.Generator, crop: Crop) -> Crop:
    """The crop composited anew: at times before a background out of focus, or in colours near it; seen by a camera."""
    foreground, background = _to_uint8(crop.foreground), _to_uint8(crop.background)
    if rng.random() < DEFOCUSED_SHARE:
        background = defocused(rng, background)
    if rng.random() < NEAR_SHARE:
        foreground = near_colours(rng, foreground, background)
    image = photograph(rng, cv2.blendLinear(foreground, background, crop.alpha, 1 - crop.alpha))
    return crop._replace(image=image, foreground=foreground, background=background)


def plain(rng: np.random.Generator, crop: Crop) -> Crop:
    """The crop in colours that hardly change over it and differ clearly between foreground and background."""
    while True:
        middles = rng.uniform(20, 235, (2, 3))
        if np.linalg.norm(middles[0] - middles[1]) >= PLAIN_DISTANCE:
            break
    size = crop.alpha.shape[::-1]
    foreground, background = (
        cv2.resize(np.float32(middle + rng.normal(0, 12, (_PLAIN_CELLS, _PLAIN_CELLS, 3))), size).clip(0, 255)
        for middle in middles)
    return crop._replace(image=composite(foreground, background, crop.alpha), foreground=foreground,
                         background=background)


def _to_uint8(colours: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(colours)  # saturates; nothing is below 0
