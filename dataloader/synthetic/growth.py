"""Paths of strands and plants: growing them, drawing them tapered and lit, stacking layers.

Paths are (n, m, 2): n paths of m points each, from root to tip, in pixels of their canvas.
"""

import cv2
import numpy as np

from dataloader.synthetic.drawing import NEUTRAL, SUPERSAMPLING, noise, stroke, to_uint8
from dataloader.synthetic.focus import gaussian_blur


def headings(angles: np.ndarray) -> np.ndarray:
    """Unit vectors (..., 2) of angles in radians, clockwise from the x axis as y points down."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def grow(rng: np.random.Generator, roots: np.ndarray, angles: np.ndarray, lengths: np.ndarray,
         pull: np.ndarray | tuple[float, float] = (0, 0), curl: float = 0, turns: float = 2,
         points: int = 16) -> np.ndarray:
    """Paths (n, points, 2) that start at roots (n, 2) in the directions `angles` (n,).

    Args:
        pull: (2,) or (n, 2), force that bends a path (gravity, wind), relative to its stiffness.
        curl: amplitude, in radians, of a path's oscillation, about `turns` periods over its length.
    """
    n = len(roots)
    t = np.linspace(0, 1, points, dtype=np.float32)[None]
    pull = np.broadcast_to(np.asarray(pull, np.float32), (n, 2))
    steps = headings(angles)[:, None] + pull[:, None] * t[..., None]
    direction = np.arctan2(steps[..., 1], steps[..., 0])
    if curl:
        phase, speed = rng.uniform(0, 2 * np.pi, (n, 1)), rng.uniform(0.6, 1.4, (n, 1)) * turns * 2 * np.pi
        direction = direction + curl * np.minimum(1, 2 * t + 0.2) * np.sin(speed * t + phase)
    steps = headings(direction) * (np.asarray(lengths) / (points - 1))[:, None, None]
    steps[:, 0] = roots
    return np.cumsum(steps, axis=1).astype(np.float32)


def clumped(rng: np.random.Generator, guides: np.ndarray, n: int, root: float, tip: float,
            waver: float = 0) -> np.ndarray:
    """`n` paths (n, m, 2) scattered around `guides`, by `root` pixels at the root and `tip` at the tip.

    Args:
        waver: amplitude, in pixels, of each path's own oscillation.
    """
    m = guides.shape[1]
    paths = guides[rng.integers(0, len(guides), n)]
    t = np.linspace(0, 1, m, dtype=np.float32)[:, None]
    # Strands of a clump differ in length, else its tip looks cut.
    reach = rng.uniform(0.6, 1, (n, 1, 1)).astype(np.float32)
    paths = paths[:, :1] + (paths - paths[:, :1]) * reach
    start, end = rng.standard_normal((2, n, 1, 2), np.float32)
    paths = paths + start * (root * (1 - t)) + end * (tip * t**1.5)
    if waver:
        phases = rng.uniform(0, 2 * np.pi, (n, 1, 2)).astype(np.float32)
        speeds = rng.uniform(2, 7, (n, 1, 2)).astype(np.float32)
        paths = paths + waver * np.sqrt(t) * np.sin(speeds * t * np.pi + phases)
    return paths


def tapered(canvas: np.ndarray, paths: np.ndarray, widths: np.ndarray, opacities: np.ndarray | float = 1.0,
            tip: float = 0.3, pieces: int = 4) -> None:
    """Draws paths on an alpha, each tapering from its width (n,) to `tip` times that.

    Strokes overwrite, so the alpha must be empty below those that are not opaque. Paths thinner than a pixel are drawn
    one pixel wide and less opaque.

    Args:
        opacities: (n,) or scalar, 0..1.
        pieces: number of width steps along a path.
    """
    t = (np.arange(pieces) + 0.5) / pieces
    width = np.asarray(widths)[:, None] * (1 + (tip - 1) * t)
    level = 255 * np.broadcast_to(opacities, len(paths))[:, None] * np.minimum(1, width / np.maximum(1, np.rint(width)))
    level = np.where(level > 243, 255, np.rint(level / 24) * 24)  # fewer levels, fewer OpenCV calls
    stroke(canvas, _pieces(paths, pieces), width.ravel(), np.maximum(level, 24).ravel())


def haze(paths: np.ndarray, widths: np.ndarray, size: int, strength: float, cells: int = 128) -> np.ndarray:
    """The alpha (size, size) uint8 of strands too numerous to draw, distributed like the given paths.

    Args:
        widths: (n,), in pixels of the paths' canvas, `SUPERSAMPLING` times as large.
        strength: number of strands that each path stands for.
        cells: per side of the grid on which their density is computed.
    """
    cells = min(cells, size)
    cell = size * SUPERSAMPLING / cells
    m = paths.shape[1]
    between = max(1, int(np.ceil(np.abs(np.diff(paths[:, :: m - 1], axis=1)).max() / (m * cell))))
    t = (np.arange(between, dtype=np.float32) / between)[:, None]
    points = paths[:, :-1, None] * (1 - t) + paths[:, 1:, None] * t
    places = np.floor(points.reshape(-1, 2) / cell + 0.5).astype(np.int32)
    step = np.linalg.norm(np.diff(paths, axis=1), axis=2) / between
    area = np.repeat(step * np.asarray(widths)[:, None], between)
    inside = ((places >= 0) & (places < cells)).all(axis=1)
    index = places[inside, 1] * cells + places[inside, 0]
    cover = np.bincount(index, area[inside], cells * cells).reshape(cells, cells).astype(np.float32) / cell**2
    alpha = 1 - np.exp(-strength * cv2.GaussianBlur(cover, (0, 0), 0.8))
    # Single strands leave no haze; where hardly any light passes, it is opaque.
    return to_uint8(cv2.resize(np.clip(1.35 * alpha - 0.25, 0, 1), (size, size), interpolation=cv2.INTER_LINEAR))


def _pieces(paths: np.ndarray, pieces: int) -> np.ndarray:
    """Splits paths (n, m, 2) into `pieces` that meet or overlap, (n * pieces, k, 2)."""
    n, m = paths.shape[:2]
    steps = -(-(m - 1) // pieces)
    # Equal lengths, so that one array holds them; some overlap.
    starts = np.linspace(0, m - 1 - steps, pieces).round().astype(int)
    return paths[:, starts[:, None] + np.arange(steps + 1)].reshape(n * pieces, steps + 1, 2)


def stacked_alpha(*layers: np.ndarray) -> np.ndarray:
    """Joint alpha of layers (S, S) uint8 behind each other: 1 minus the product of their 1 - alpha."""
    clear = cv2.bitwise_not(layers[0])
    for layer in layers[1:]:
        clear = cv2.multiply(clear, cv2.bitwise_not(layer), scale=1 / 255)
    return cv2.bitwise_not(clear)


def modelled(rng: np.random.Generator, alpha: np.ndarray, size: int) -> np.ndarray:
    """A shade (size, size) uint8 of a rounded body with this alpha (any square), lit from one side, mottled."""
    small = 64
    solid = cv2.resize(alpha, (small, small), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    relief = gaussian_blur(solid, rng.uniform(3, 9))
    slope = np.stack([cv2.Sobel(relief, cv2.CV_32F, 1, 0), cv2.Sobel(relief, cv2.CV_32F, 0, 1)], axis=-1)
    slope /= max(1e-6, float(np.abs(slope).max()))
    light = headings(rng.uniform(0, 2 * np.pi)) * rng.uniform(10, 70)
    shade = slope @ light.astype(np.float32) + NEUTRAL + rng.uniform(0, 12) * noise(rng, small, rng.uniform(8, 40), 2)
    shade = cv2.resize(shade, (size, size), interpolation=cv2.INTER_LINEAR)
    return cv2.convertScaleAbs(np.clip(shade, 20, 235))


def strand_shade(rng: np.random.Generator, shade: np.ndarray, paths: np.ndarray, widths: np.ndarray,
                 contrast: float = 20, pieces: int = 3) -> None:
    """Draws strands on a shade, each with its own level, a dark root and a glossy band.

    Paths and widths are in pixels of a canvas `SUPERSAMPLING` times as large.
    """
    own = NEUTRAL + rng.normal(0, contrast, len(paths))
    band, gloss, root = rng.uniform(0.2, 0.8), rng.uniform(0, 2.5) * contrast, rng.uniform(0, 2) * contrast
    t = (np.arange(pieces) + 0.5) / pieces
    level = own[:, None] + gloss * np.exp(-((t - band) / 0.15) ** 2) - root * (1 - t) ** 2
    level = np.rint(np.clip(level, 16, 240) / 16).ravel() * 16
    width = np.repeat(np.asarray(widths) / SUPERSAMPLING + 0.4, pieces)
    stroke(shade, _pieces(paths / SUPERSAMPLING, pieces), width, level, cv2.LINE_8)
