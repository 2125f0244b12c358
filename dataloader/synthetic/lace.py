"""Lace and its ground, a flat net."""

from itertools import pairwise

import cv2
import numpy as np

from dataloader.synthetic.drawing import SUPERSAMPLING, Drawing, reduced, stroke
from dataloader.synthetic.warping import cut, drape, log_uniform


def lace(rng: np.random.Generator, size: int) -> Drawing:
    """Rosettes with holes on a ground of fine threads, with a scalloped border."""
    period = round(log_uniform(rng, max(16, size / 16), size / 3))
    tile = _lace_tile(rng, period)
    repeats = np.maximum(2, np.rint(rng.uniform(0.6, 1.5, 2) * size / period).astype(int))
    sheet = np.tile(tile, repeats)
    scallops = np.tile(_scallop(rng, period), repeats[1])
    if rng.random() < 0.7:
        sheet = np.vstack([scallops[::-1], sheet, scallops])
    drawing = drape(rng, size, hemmed(sheet, max(1, period // 16)))
    return cut(rng, drawing, rng.uniform(1, size / 60)) if rng.random() < 0.3 else drawing


def doily(rng: np.random.Generator, size: int) -> Drawing:
    """A round piece of lace: rings of petals, chains and holes around a centre."""
    side = size * SUPERSAMPLING
    canvas = np.zeros((side, side), np.uint8)
    _rosette(rng, canvas, np.full(2, side / 2), rng.uniform(0.3, 0.46) * side, int(rng.integers(4, 9)))
    return drape(rng, size, reduced(canvas, size))


def mesh(size: int, cell: float, hexagonal: bool = False) -> list[np.ndarray]:
    """The threads of a flat net that extends beyond the canvas: paths (m, 2), in pixels.

    Square meshes have a thread at every multiple of `cell` in x and y; hexagonal ones are equally wide.
    """
    reach = int(np.ceil(0.75 * size / cell))
    steps = np.arange(-reach, reach + 1)
    middle = round(size / 2 / cell) * cell
    at = middle + steps * cell
    if not hexagonal:
        ends = np.full_like(at, 1)
        return [np.column_stack(p) for c in at for p in ((c * ends, at), (at, c * ends))]
    rise = cell * 0.29
    half = middle + np.arange(-2 * reach, 2 * reach + 1) * cell / 2
    paths = []
    for row in steps:
        y = middle + row * cell * 0.87
        zigzag = y + rise / 2 * np.where(np.arange(len(half)) % 2 ^ (row & 1), 1, -1)
        paths.append(np.column_stack([half, zigzag]))
        low = np.flatnonzero(np.arange(len(half)) % 2 ^ (row & 1))
        paths += [np.array([[half[i], y + rise / 2], [half[i], y + cell * 0.87 - rise / 2]]) for i in low]
    return paths


def hemmed(sheet: np.ndarray, width: int) -> np.ndarray:
    """Makes the left and right edges of a sheet opaque, in place."""
    sheet[:, :width] = sheet[:, -width:] = 255
    return sheet


def fixed(point) -> tuple[int, int]:
    """A point or two lengths in OpenCV's fixed-point coordinates with 4 fractional bits."""
    return round(float(point[0]) * 16), round(float(point[1]) * 16)


def _lace_tile(rng: np.random.Generator, period: int) -> np.ndarray:
    """One period of lace, (period, period) uint8."""
    side = period * SUPERSAMPLING
    tile = np.zeros((side, side), np.uint8)
    strings = side / (2 * int(rng.integers(2, max(3, min(7, period // 10)))))  # even, so that the diagonal ground tiles
    grid = mesh(side, strings)
    if rng.random() < 0.5:
        grid = [path @ np.array([[1, 1], [-1, 1]]) for path in mesh(2 * side, strings)]
    level, width = rng.uniform(90, 255), 1 if rng.random() < 0.7 else 2
    stroke(tile, grid, np.full(len(grid), width), np.full(len(grid), level))
    centres = [np.full(2, side / 2)]
    radius = rng.uniform(0.3, 0.5) * side
    _rosette(rng, tile, centres[0], radius, int(rng.integers(1, 4)))
    if rng.random() < 0.6:
        corner = np.zeros((side, side), np.uint8)
        _rosette(rng, corner, centres[0], (0.707 - radius / side) * side, int(rng.integers(1, 3)))
        tile = cv2.max(tile, np.roll(corner, (side // 2, side // 2), (0, 1)))
    return reduced(tile, period)


def _rosette(rng: np.random.Generator, canvas: np.ndarray, middle: np.ndarray, radius: float, rings: int) -> None:
    """Draws rings of petals, chains and openwork around a centre, on a cleared disc."""
    cv2.circle(canvas, fixed(middle), round(radius * 16), 0, -1, cv2.LINE_AA, 4)
    edges = radius * np.sqrt(np.linspace(0.03, 1, rings + 1))
    fold = int(rng.integers(5, 11))
    thread = max(1, round(radius / rings * rng.uniform(0.06, 0.2)))
    cv2.circle(canvas, fixed(middle), round(edges[0] * 16), 255, -1, cv2.LINE_AA, 4)
    for inner, outer in pairwise(edges):
        kind, centre = rng.integers(4), (inner + outer) / 2
        count = fold * max(1, round(2 * np.pi * centre / (outer - inner) / fold * rng.uniform(0.6, 1.3)))
        count = min(count, 96)
        length, breadth = (outer - inner) / 2, min((outer - inner) * 0.5, np.pi * centre / count * 0.95)
        solid = rng.random() < 0.4
        for angle in np.arange(count) * 2 * np.pi / count:
            way = np.array([np.cos(angle), np.sin(angle)])
            at, axes = fixed(middle + centre * way), fixed((length, breadth))
            if kind < 2:  # petals, or links of a chain
                cv2.ellipse(canvas, at, axes, np.degrees(angle), 0, 360, 255, -1 if solid else thread, cv2.LINE_AA, 4)
                if solid:
                    axes = fixed((length * 0.55, breadth * 0.45))
                    cv2.ellipse(canvas, at, axes, np.degrees(angle), 0, 360, 0, -1, cv2.LINE_AA, 4)
            elif kind == 2:  # spokes
                ends = (fixed(middle + reach * way) for reach in (inner, outer))
                cv2.line(canvas, *ends, 255, thread, cv2.LINE_AA, 4)
        if kind == 3:  # cloth, with holes
            cv2.circle(canvas, fixed(middle), round(centre * 16), 255, max(1, round(outer - inner)), cv2.LINE_AA, 4)
            for angle in np.arange(count) * 2 * np.pi / count:
                hole = middle + centre * np.array([np.cos(angle), np.sin(angle)])
                cv2.circle(canvas, fixed(hole), round(breadth * 0.6 * 16), 0, -1, cv2.LINE_AA, 4)
        cv2.circle(canvas, fixed(middle), round(outer * 16), 255, thread, cv2.LINE_AA, 4)


def _scallop(rng: np.random.Generator, period: int) -> np.ndarray:
    """One scallop of the border below a sheet, (period // 2, period) uint8."""
    side = period * SUPERSAMPLING
    bow = np.zeros((side, side), np.uint8)
    thread = max(1, round(side * rng.uniform(0.02, 0.08)))
    for radius in np.linspace(0.5, 0.2, int(rng.integers(1, 4))) * side - thread / 2:
        cv2.circle(bow, fixed((side / 2, 0)), round(radius * 16), 255, thread, cv2.LINE_AA, 4)
    holes = int(rng.integers(5, 12))
    for angle in (np.arange(holes) + 0.5) * np.pi / holes:
        at = np.array([side / 2, 0]) + 0.36 * side * np.array([np.cos(angle), np.sin(angle)])
        cv2.circle(bow, fixed(at), round(0.9 * side / holes * 0.5 * 16), 255, thread, cv2.LINE_AA, 4)
    return reduced(bow, period)[:period // 2]
