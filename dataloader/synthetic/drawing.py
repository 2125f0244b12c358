"""What the families of generated alphas share: noise, outlines, strokes drawn at a higher resolution.

A *family* is a function `family(rng, size) -> Drawing`; everything random comes from `rng`. Points are (x, y) in
pixels of the canvas they are drawn on, pixel centres at whole numbers.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

NEUTRAL = 128  # of a shade
SUPERSAMPLING = 2  # of canvases for fine structures, which `reduced` brings to size
_SUBPIXEL_BITS = 4  # of OpenCV's fixed-point coordinates


class Drawing(NamedTuple):
    """An alpha and how its colours are lit."""

    alpha: np.ndarray  # (S, S) uint8
    shade: np.ndarray | None = None  # (S, S) uint8: 128 leaves a colour, 0 makes it black, 255 white; None: all 128


Family = Callable[[np.random.Generator, int], Drawing]


def noise(rng: np.random.Generator, size: int, period: float, octaves: int = 1) -> np.ndarray:
    """Smooth noise (size, size) float32 of mean 0 and deviation about 1, whose waves are about `period` pixels long.

    Args:
        octaves: each after the first has half the period and half the height of the one before.
    """
    total = np.zeros((size, size), np.float32)
    height, squares = 1.0, 0.0
    for octave in range(octaves):
        cells = min(size, max(2, round(size / (period / 2**octave)) + 1))
        grid = rng.standard_normal((cells, cells), np.float32) * np.float32(height)
        total += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        squares += (0.75 * height) ** 2  # cubic interpolation leaves about three quarters of the deviation
        height /= 2
    return np.divide(total, np.float32(squares**0.5), out=total)


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Values in 0..1, clipped, as (S, S) uint8 in 0..255."""
    return cv2.convertScaleAbs(np.clip(values, 0, 1), alpha=255)


def outline(rng: np.random.Generator, size: int, roughness: float = 0.1, points: int = 128) -> np.ndarray:
    """A closed, smooth curve somewhere on the canvas, (points, 2) float32, in the order of increasing angle.

    Its middle lies within the middle half of the canvas, its mean radius is 0.12 to 0.38 of the canvas.

    Args:
        roughness: deviation of the radius, as a share of it; 0 makes ellipses, 0.3 ragged shapes.
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
    """Fills a closed curve (n, 2) anti-aliased."""
    cv2.fillPoly(canvas, [_fixed_point(curve)], level, cv2.LINE_AA, _SUBPIXEL_BITS)


def stroke(canvas: np.ndarray, paths: np.ndarray | list[np.ndarray], widths: np.ndarray, levels: np.ndarray,
           line: int = cv2.LINE_AA) -> None:
    """Draws lines, the palest first, so that a line drawn later never lightens what lies under it.

    Args:
        paths: n of (m, 2).
        widths: (n,), in pixels of the canvas; rounded to whole ones, at least 1.
        levels: (n,) in 0..255; rounded to steps of 8, except that 255 stays.
        line: cv2.LINE_8 for shades, which must not mix with what is beside them.
    """
    widths = np.maximum(1, np.rint(widths)).astype(int)
    levels = np.minimum(255, np.rint(np.asarray(levels) / 8) * 8).astype(int)
    for level, width in sorted(set(zip(levels.tolist(), widths.tolist(), strict=True))):
        chosen = np.flatnonzero((levels == level) & (widths == width))
        whole = isinstance(paths, np.ndarray)
        points = _fixed_point(paths[chosen]) if whole else [_fixed_point(paths[i]) for i in chosen]
        cv2.polylines(canvas, list(points), False, level, width, line, _SUBPIXEL_BITS)


def reduced(canvas: np.ndarray, size: int) -> np.ndarray:
    """A canvas drawn larger, brought to (size, size) by averaging."""
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)


def _fixed_point(path: np.ndarray) -> np.ndarray:
    return np.rint(np.asarray(path) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
