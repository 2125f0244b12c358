"""Drawn pictures and masks for tests of trimaps."""

import cv2
import numpy as np


def disc(size: int, radius: float, inner: int = 255) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size // 2
    return np.where(np.hypot(x, y) <= radius, inner, 0).astype(np.uint8)


def hairy_picture(tips: int = 135) -> tuple[np.ndarray, np.ndarray]:
    """A dark disc before a bright ground, with thin strands on its right half; its mask without them.

    Args:
        tips: distance of the strands' ends from the centre of the disc, whose radius is 100.
    """
    size, centre = 400, 200
    image = np.full((size, size, 3), 200, np.uint8)
    for angle in np.arange(-70, 71, 3) * np.pi / 180:
        root, tip = (tuple(int(centre + r * f(angle)) for f in (np.cos, np.sin)) for r in (95, tips))
        cv2.line(image, root, tip, (40, 40, 40), 1, cv2.LINE_AA)
    cv2.circle(image, (centre, centre), 100, (40, 40, 40), -1, cv2.LINE_AA)
    return image, disc(size, 100)


def photo(size: int) -> np.ndarray:
    """An orange disc of a radius of a quarter, before blue."""
    rng = np.random.default_rng(1)
    image = np.where(disc(size, size / 4)[..., None] == 255, (230, 130, 20), (30, 60, 160))
    return (image + rng.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8)
