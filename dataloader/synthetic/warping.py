"""Places flat, patterned sheets in an image: rotation, perspective, bending, folds and lighting."""

import cv2
import numpy as np

from dataloader.synthetic.drawing import Drawing, fill, noise, outline, to_uint8

_CONTROL_CELLS = 24  # per side of a warp's control grid


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A log-uniform random number: all scales are equally likely."""
    return float(np.exp(rng.uniform(np.log(low), np.log(max(low, high)))))


def spread(grid: np.ndarray, size: int) -> np.ndarray:
    """Upsamples a control grid (n + 2, n + 2) float32 smoothly to (size, size); its outermost points lie outside.

    Planes stay planes, whereas OpenCV's cubic interpolation adds ripples of 5 % of a cell, visible in patterns.
    """
    cells = len(grid) - 2
    step = -(-size // cells)
    fine = cv2.resize(grid, ((cells + 2) * step,) * 2, interpolation=cv2.INTER_LINEAR)
    fine = cv2.blur(fine, (step | 1,) * 2)
    start = ((cells + 2) * step - size) // 2
    return fine[start:start + size, start:start + size]


def control_points(size: int, cells: int = _CONTROL_CELLS) -> tuple[np.ndarray, np.ndarray]:
    """Positions of a control grid's points, x and y in pixels, each (cells + 2, cells + 2) float32."""
    step = -(-size // cells)
    along = (np.arange(cells + 2, dtype=np.float32) + 0.5) * step - 0.5 - ((cells + 2) * step - size) // 2
    return np.meshgrid(along, along)


def warped(rng: np.random.Generator, image: np.ndarray, period: float, strength: float) -> np.ndarray:
    """Warps an image (S, S) by smooth noise.

    Args:
        period: of the noise, in pixels.
        strength: standard deviation of the displacements, in pixels.
    """
    size = len(image)
    x, y = control_points(size)
    cells = max(1.5, period * _CONTROL_CELLS / size)
    maps = [spread(at + np.float32(strength) * noise(rng, len(at), cells, 2), size) for at in (x, y)]
    return cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def bent(rng: np.random.Generator, points: np.ndarray, size: float, strength: float = 0.02) -> np.ndarray:
    """Rotates, tilts and bends points (..., 2) of a flat sheet about the centre of a canvas `size` wide.

    Args:
        strength: of the bending, as a share of the canvas.
    """
    turn = rng.uniform(0, 2 * np.pi)
    x, y = (points[..., 0] / size - 0.5).astype(np.float32), (points[..., 1] / size - 0.5).astype(np.float32)
    x, y = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
    dx, dy = np.zeros_like(x), np.zeros_like(y)
    for _ in range(4):
        wave, phase = rng.normal(0, 8, 2), rng.uniform(0, 2 * np.pi)
        swing = np.sin(np.float32(wave[0]) * x + np.float32(wave[1]) * y + np.float32(phase))
        push = rng.normal(0, strength, 2)
        dx += np.float32(push[0]) * swing
        dy += np.float32(push[1]) * swing
    tilt = rng.uniform(-0.45, 0.45, 2)
    depth = 1 / (1 + np.float32(tilt[0]) * x + np.float32(tilt[1]) * y)
    return (np.stack([(x + dx) * depth, (y + dy) * depth], axis=-1) + 0.5) * np.float32(size)


def drape(rng: np.random.Generator, size: int, sheet: np.ndarray, sheet_shade: np.ndarray | None = None,
         stiff: bool = False) -> Drawing:
    """A flat sheet as a camera sees it, at about one sheet pixel per image pixel.

    Args:
        sheet: (h, w) uint8 alpha; empty outside.
        sheet_shade: (h, w) uint8.
        stiff: without folds.
    """
    height, width = sheet.shape
    x, y = (at / size - 0.5 for at in control_points(size))
    turn = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else rng.normal(0, 0.15)
    zoom = rng.uniform(0.95, 1.2)
    tilt = rng.uniform(-0.4, 0.4, 2)
    depth = 1 / (1 + np.float32(tilt[0]) * x + np.float32(tilt[1]) * y)
    folds = noise(rng, len(x), rng.uniform(3, 12), 2) * np.float32(0 if stiff else rng.uniform(0.1, 1))
    bend = [noise(rng, len(x), rng.uniform(12, 40)) * np.float32(rng.uniform(0, 0.04)) for _ in range(2)]
    u = zoom * depth * (np.cos(turn) * x - np.sin(turn) * y) + bend[0] + 0.012 * folds
    v = zoom * depth * (np.sin(turn) * x + np.cos(turn) * y) + bend[1]
    centre = np.array([width, height]) / 2 + rng.uniform(-0.15, 0.15, 2) * size
    maps = [spread((size * at + middle).astype(np.float32), size) for at, middle in ((u, centre[0]), (v, centre[1]))]
    alpha = cv2.remap(sheet, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    shade = spread(0.5 + np.gradient(folds, axis=1) * np.float32(rng.uniform(0.1, 0.4)), size)
    shade = to_uint8(np.clip(shade, 0.25, 0.8))
    if sheet_shade is not None:
        own = cv2.remap(sheet_shade, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        shade = cv2.add(cv2.subtract(own, 128), cv2.subtract(shade, cv2.subtract(128, own)))
    return Drawing(alpha, shade)


def cut(rng: np.random.Generator, drawing: Drawing, rim: float = 0) -> Drawing:
    """Cuts a drawing along a random outline.

    Args:
        rim: width of the opaque seam along the outline, in pixels; 0 for none.
    """
    size = len(drawing.alpha)
    curve = outline(rng, size, rng.uniform(0, 0.12))
    curve = (curve - curve.mean(axis=0)) * np.float32(rng.uniform(1, 1.4)) + curve.mean(axis=0)
    mask = np.zeros_like(drawing.alpha)
    fill(mask, curve)
    alpha = cv2.min(drawing.alpha, mask)
    if rim:
        seam = np.rint(curve * 16).astype(np.int32)
        cv2.polylines(alpha, [seam], True, 255, max(1, round(rim)), cv2.LINE_AA, 4)
    return Drawing(alpha, drawing.shade)
