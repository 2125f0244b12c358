"""Test images of Composition-1K's sizes and unknown share, drawn in a fraction of a second each.

The real set's 1000 images have 2.3 megapixels and 26 % unknown pixels on average. Most measure 1080-1300 x 1300-2000;
a few are smaller, a few much larger, up to 6000 pixels long.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from utils.file_writing import write_png
from utils.preprocessing import trimap_grey

SEED = 9
MEAN_PIXELS = 2.3e6
UNKNOWN_SHARE = 0.26
LARGEST_SHARE, SMALLEST_SHARE = 0.1, 0.04  # of all images
LARGEST_PIXELS = 6e6  # the published formulation takes 10 GiB for them
STRANDS = 150


class Example(NamedTuple):
    """A drawn test image."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    alpha: np.ndarray  # (H, W) uint8
    trimap: np.ndarray  # (H, W) uint8 holding 0, 128 and 255


def draw_sizes(count: int, seed: int = SEED) -> list[tuple[int, int]]:
    """Heights and widths of `count` images, the same for the same seed; 50 or more average about `MEAN_PIXELS`."""
    rng = np.random.default_rng(seed)
    large, small = round(count * LARGEST_SHARE), round(count * SMALLEST_SHARE)
    long = np.concatenate([rng.uniform(2600, 6000, large), rng.uniform(700, 1100, small),
                           rng.uniform(1300, 2000, count - large - small)])
    short = np.concatenate([rng.uniform(5.2e6, 5.9e6, large) / long[:large], rng.uniform(600, 700, small),
                            rng.uniform(1080, 1300, count - large - small)])
    sides = np.stack([short, long], axis=1).round().astype(int)
    upright = rng.random(count) < 0.5
    return [(long, short) if tall else (short, long)
            for (short, long), tall in zip(rng.permutation(sides).tolist(), upright, strict=True)]


def draw_example(height: int, width: int, seed: int, unknown: float = UNKNOWN_SHARE) -> Example:
    """A subject with a wavy, soft edge and fine strands over another background.

    Args:
        unknown: share of pixels that are unknown in the trimap: those nearest to mixed ones.
    """
    rng = np.random.default_rng(seed)
    inside = _subject(rng, height, width)
    soft = rng.uniform(0.002, 0.01) * min(height, width)
    alpha = np.clip(inside / soft + 0.5, 0, 1)
    alpha = np.maximum(alpha, _strands(rng, height, width, inside))
    alpha = (alpha * 255).round().astype(np.uint8)
    foreground, background = (_colours(rng, height, width) for _ in range(2))
    weight = alpha[..., None] / np.float32(255)
    image = (weight * foreground + (1 - weight) * background).round().astype(np.uint8)
    return Example(image, alpha, _trimap(alpha, unknown))


def _colours(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth noise and a camera's, (H, W, 3) float32 in 0..255."""
    coarse = rng.uniform(0, 255, (max(2, height // 64), max(2, width // 64), 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + 3 * rng.standard_normal(smooth.shape, np.float32), 0, 255)


def _subject(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Roughly the distance to the edge of an ellipse with a wavy edge, (H, W) float32, positive inside."""
    y, x = np.ogrid[:height, :width]
    distance = 0.3 - np.hypot((y + 0.5) / height - 0.5, (x + 0.5) / width - 0.5).astype(np.float32)
    waves = cv2.resize(rng.uniform(-0.1, 0.1, (8, 8)).astype(np.float32), (width, height),
                       interpolation=cv2.INTER_CUBIC)
    return (distance + waves) * min(height, width)


def _strands(rng: np.random.Generator, height: int, width: int, inside: np.ndarray) -> np.ndarray:
    """Blurred curves that begin at the edge of the subject, (H, W) float32 in 0..1."""
    canvas = np.zeros((height, width), np.uint8)
    edge = np.argwhere(np.abs(inside) < 2)
    length = 0.04 * min(height, width)
    for start in edge[rng.integers(len(edge), size=STRANDS)][:, ::-1]:
        turns = rng.uniform(0, 2 * np.pi) + rng.uniform(-0.2, 0.2) * np.arange(12)
        steps = np.stack([np.cos(turns), np.sin(turns)], axis=1).cumsum(axis=0) * length / 12
        cv2.polylines(canvas, [(start + steps).round().astype(np.int32)], False, 255, 1, cv2.LINE_AA)
    return cv2.GaussianBlur(canvas, (3, 3), 0) / np.float32(255)


def _trimap(alpha: np.ndarray, unknown: float) -> np.ndarray:
    mixed = (alpha > 0) & (alpha < 255)
    distance = cv2.distanceTransform((~mixed).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    rank = round(unknown * alpha.size)
    nearest = distance <= np.partition(distance, rank, axis=None)[rank]
    return trimap_grey(np.where(nearest, 1, np.where(alpha == 255, 2, 0)))


def write_examples(folder: Path, sizes: list[tuple[int, int]]) -> None:
    """Writes an example of each size to merged, alpha and trimap below a folder."""
    for number, size in enumerate(sizes):
        example = draw_example(*size, seed=number)
        for kind, pixels in (("merged", example.image), ("alpha", example.alpha), ("trimap", example.trimap)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            write_png(folder / kind / f"{number:04}.png", pixels)
