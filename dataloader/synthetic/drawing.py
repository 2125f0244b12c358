"""Primitives shared by the alpha families: noise, outlines, supersampled strokes.

A *family* is a function `family(rng, size) -> Drawing`; all randomness comes from `rng`. Points are (x, y) in pixels of
their canvas, with pixel centres at integers.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

NEUTRAL = 128  # shade that leaves colours unchanged
SUPERSAMPLING = 2  # scale of canvases for fine structures, which `reduced` downsamples
_SUBPIXEL_BITS = 4  # of OpenCV's fixed-point coordinates


class Drawing(NamedTuple):
    """An alpha and the shade that lights its colours."""

    alpha: np.ndarray  # (S, S) uint8
    shade: np.ndarray | None = None  # (S, S) uint8: 0 black, 128 unchanged, 255 white; None: all 128


Family = Callable[[np.random.Generator, int], Drawing]


def noise(rng: np.random.Generator, size: int, period: float, octaves: int = 1) -> np.ndarray:
    """Smooth noise (size, size) float32, mean 0, standard deviation about 1, with a period of about `period` pixels.

    Args:
        octaves: each has half the period and half the amplitude of the previous one.
    """
    total = np.zeros((size, size), np.float32)
    height, squares = 1.0, 0.0
    for octave in range(octaves):
        cells = min(size, max(2, round(size / (period / 2**octave)) + 1))
        grid = rng.standard_normal((cells, cells), np.float32) * np.float32(height)
        total += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        squares += (0.75 * height) ** 2  # cubic interpolation keeps about 3/4 of the deviation
        height /= 2
    return np.divide(total, np.float32(squares**0.5), out=total)


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Values in 0..1, clipped, as (S, S) uint8 in 0..255."""
    return cv2.convertScaleAbs(np.clip(values, 0, 1), alpha=255)


def outline(rng: np.random.Generator, size: int, roughness: float = 0.1, points: int = 128) -> np.ndarray:
    """A random closed, smooth curve, (points, 2) float32, ordered by angle.

    Its centre lies in the middle half of the canvas; its mean radius is 0.12 to 0.38 of the canvas's side.

    Args:
        roughness: relative standard deviation of the radius; 0 gives ellipses, 0.3 ragged shapes.
    """
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    orders = np.arange(2, 12)
    strengths = rng.normal(0, roughness / orders**0.8)
    phases = rng.uniform(0, 2 * np.pi, len(orders))
    radius = 1 + (strengths[:, None] * np.cos(orders[:, None] * angles + phases[:, None])).sum(axis=0)
    axes = rng.uniform(0.12, 0.38) * size * np.array([1, rng.uniform(0.5, 1.6)]).clip(0.5, 1.3)
    curve = np.maximum(radius, 0.2)[:, None] * np.column_stack([np.cos(angles), np.sin(angles)]) * axes
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return (curve @ rotation.T + rng.uniform(0.25, 0.75, 2) * size).astype(np.float32)


def fill(canvas: np.ndarray, curve: np.ndarray, level: int = 255) -> None:
    """Fills a closed curve (n, 2), anti-aliased."""
    cv2.fillPoly(canvas, [_fixed_point(curve)], level, cv2.LINE_AA, _SUBPIXEL_BITS)


def stroke(canvas: np.ndarray, paths: np.ndarray | list[np.ndarray], widths: np.ndarray, levels: np.ndarray,
           line: int = cv2.LINE_AA) -> None:
    """Draws lines in order of increasing level, so that a later line never lowers the level of an earlier one.

    Args:
        paths: n paths (m, 2).
        widths: (n,), in pixels of the canvas; rounded to integers, at least 1.
        levels: (n,) in 0..255; rounded to multiples of 8, except 255.
        line: cv2.LINE_8 for shades, which must not blend with their surroundings.
    """
    widths = np.maximum(1, np.rint(widths)).astype(int)
    levels = np.minimum(255, np.rint(np.asarray(levels) / 8) * 8).astype(int)
    for level, width in sorted(set(zip(levels.tolist(), widths.tolist(), strict=True))):
        chosen = np.flatnonzero((levels == level) & (widths == width))
        whole = isinstance(paths, np.ndarray)
        points = _fixed_point(paths[chosen]) if whole else [_fixed_point(paths[i]) for i in chosen]
        cv2.polylines(canvas, list(points), False, level, width, line, _SUBPIXEL_BITS)


def reduced(canvas: np.ndarray, size: int) -> np.ndarray:
    """Downsamples a canvas to (size, size) by averaging."""
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)


def _fixed_point(path: np.ndarray) -> np.ndarray:
    return np.rint(np.asarray(path) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
