"""Families of objects with patterns of holes: nets, woven cloth, sieves, perforated sheets, fences, fringes, wicker."""

import cv2
import numpy as np

from dataloader.synthetic.drawing import NEUTRAL, SUPERSAMPLING, Drawing, fill, outline, reduced, stroke
from dataloader.synthetic.lace import doily, fixed, hemmed, lace, mesh
from dataloader.synthetic.warping import bent, cut, drape, log_uniform


def net(rng: np.random.Generator, size: int) -> Drawing:
    """A knotted net with square or hexagonal meshes, slack and distorted."""
    scale = SUPERSAMPLING
    cell = log_uniform(rng, max(6, size / 42), size / 6) * scale
    width = max(1, cell * log_uniform(rng, 0.04, 0.16))
    paths = mesh(size * scale, cell, bool(rng.random() < 0.4))
    places = np.cumsum([len(path) for path in paths[:-1]])
    points = np.concatenate(paths)
    strength = log_uniform(rng, 0.005, 0.04)
    points = bent(rng, points + rng.normal(0, rng.uniform(0, 0.06) * cell, points.shape), size * scale, strength)
    level = 255 if rng.random() < 0.6 else rng.uniform(120, 255)
    canvas = np.zeros((size * scale,) * 2, np.uint8)
    paths = np.split(points, places)
    stroke(canvas, paths, np.full(len(paths), width), np.full(len(paths), level))
    if width > 3 and rng.random() < 0.5:
        for x, y in np.rint(points).astype(int).tolist():
            cv2.circle(canvas, (x, y), round(width), 255, -1, cv2.LINE_AA)
    drawing = Drawing(reduced(canvas, size), _tinted(rng, size))
    return cut(rng, drawing, rng.uniform(1, size / 50)) if rng.random() < 0.7 else _with_thing(rng, drawing)


def weave(rng: np.random.Generator, size: int) -> Drawing:
    """Cloth with gaps between its threads, frayed at cut edges."""
    pitch = log_uniform(rng, 3, max(5, size / 24))
    height, width = np.rint(rng.uniform(0.6, 1.4, 2) * size).astype(int)
    share = rng.uniform(0.3, 1)
    fray = min(rng.uniform(0, 6) * pitch, rng.uniform(0, size / 16))
    along, alternate = _threads(rng, width, pitch, share)
    across, alternate_across = _threads(rng, height, pitch, share)
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    down = _within(rng, y, width, height, pitch, fray) * along
    over = (_within(rng, x[:, None], height, width, pitch, fray) * across).T
    level = np.float32(255 if rng.random() < 0.8 else rng.uniform(130, 240))
    sheet = cv2.convertScaleAbs(cv2.max(down, over), alpha=float(level))
    top = (alternate[None] ^ alternate_across[:, None]).astype(np.float32)
    shade = cv2.convertScaleAbs(down * top + over * (1 - top), alpha=rng.uniform(10, 50), beta=rng.uniform(90, 115))
    drawing = drape(rng, size, sheet, shade)
    return cut(rng, drawing, rng.uniform(1, size / 60)) if rng.random() < 0.3 else drawing


def sieve(rng: np.random.Generator, size: int) -> Drawing:
    """Fine wire gauze in a ring with a handle."""
    pitch = log_uniform(rng, 4, max(5, size / 30))
    share = rng.uniform(0.15, 0.5)
    wires = cv2.max(*(np.broadcast_to(w, (size, size)).copy()
                      for w in (_threads(rng, size, pitch, share)[0], _threads(rng, size, pitch, share)[0][:, None])))
    alpha = cv2.convertScaleAbs(wires, alpha=255)
    middle, radius = size * rng.uniform(0.35, 0.65, 2), size * rng.uniform(0.2, 0.42)
    centre, axes = fixed(middle), fixed([radius, radius * rng.uniform(0.4, 1)])
    turn, rim = rng.uniform(0, 360), max(2, round(size * rng.uniform(0.01, 0.04)))
    inside = np.zeros_like(alpha)
    cv2.ellipse(inside, centre, axes, turn, 0, 360, 255, -1, cv2.LINE_AA, 4)
    alpha = cv2.min(alpha, inside)
    shade = np.full_like(alpha, NEUTRAL)
    way = np.radians(turn)
    handle = middle + radius * np.outer([0.95, 2.4], [np.cos(way), np.sin(way)])
    for width, lightness in ((rim, 90), (rim // 2, 150), (rim // 6, 240)):
        if width:
            cv2.line(shade, fixed(handle[0]), fixed(handle[1]), lightness, 2 * width, cv2.LINE_8, 4)
            cv2.ellipse(shade, centre, axes, turn, 0, 360, lightness, width, cv2.LINE_8, 4)
    outside = np.zeros_like(alpha)
    cv2.line(outside, fixed(handle[0]), fixed(handle[1]), 255, 2 * rim, cv2.LINE_AA, 4)
    alpha = cv2.max(alpha, cv2.subtract(outside, inside))
    cv2.ellipse(alpha, centre, axes, turn, 0, 360, 255, rim, cv2.LINE_AA, 4)
    return Drawing(alpha, shade)


def perforated(rng: np.random.Generator, size: int) -> Drawing:
    """A sheet of metal, plastic or leather with rows of punched holes."""
    period = round(log_uniform(rng, max(6, size / 50), size / 5))
    side, radius = 4 * period, 4 * period * rng.uniform(0.15, 0.44)
    tile = np.full((side, side), 255, np.uint8)
    corners = int(rng.choice([4, 6, 64]))
    angles = np.arange(corners) * 2 * np.pi / corners + np.pi / corners
    hole = radius * np.column_stack([np.cos(angles), np.sin(angles) * rng.uniform(0.5, 1)])
    staggered = rng.random() < 0.5
    scale = 0.7 if staggered else 1
    for centre in [(0, 0), (0, 1), (1, 0), (1, 1)] if staggered else []:
        fill(tile, scale * hole + np.array(centre) * side - 0.5, 0)
    fill(tile, scale * hole + side / 2 - 0.5, 0)
    lit = np.roll(tile, (max(1, side // 24),) * 2, (0, 1))
    shade = np.where(lit < tile, 70, NEUTRAL).astype(np.uint8)
    repeats = np.maximum(1, np.rint(rng.uniform(0.7, 1.5, 2) * size / period).astype(int))
    sheet, shade = (np.tile(reduced(each, period), repeats) for each in (tile, shade))
    drawing = drape(rng, size, hemmed(sheet, max(2, period // 6)), shade, stiff=bool(rng.random() < 0.7))
    return cut(rng, drawing, rng.uniform(1, period / 2)) if rng.random() < 0.6 else drawing


def fence(rng: np.random.Generator, size: int) -> Drawing:
    """A chain-link fence: interlocked zigzag wires, with posts and rails."""
    side = size * SUPERSAMPLING
    cell = log_uniform(rng, max(10, size / 24), size / 5) * SUPERSAMPLING
    width = max(2, cell * rng.uniform(0.04, 0.14))
    steps = np.arange(-int(0.75 * side / cell) * 2, int(0.75 * side / cell) * 2 + 1)
    sway = np.where(steps % 2, 0.28, -0.28) * cell
    wires = np.stack([np.column_stack([side / 2 + k * cell / 2 + sway * (1 if k % 2 else -1),
                                       side / 2 + steps * cell / 2]) for k in steps])
    wires = bent(rng, wires + rng.normal(0, 0.02 * cell, wires.shape), side, rng.uniform(0, 0.012))
    bars = [np.array([[rng.uniform(0, side), -9], [rng.uniform(-0.1, 0.1) * side, 2 * side]]).cumsum(axis=0)
            for _ in range(int(rng.integers(0, 3)))]
    bars = [bar if rng.random() < 0.6 else bar[:, ::-1] for bar in bars]
    alpha, shade = np.zeros((side, side), np.uint8), np.full((side, side), NEUTRAL, np.uint8)
    for paths, thickness in ((list(wires), width), (bars, width * rng.uniform(1.5, 5))):
        stroke(alpha, paths, np.full(len(paths), thickness), np.full(len(paths), 255))
        stroke(shade, paths, np.full(len(paths), thickness * 1.3), np.full(len(paths), 80), cv2.LINE_8)
        lit = [path - thickness / 5 for path in paths]
        stroke(shade, lit, np.full(len(paths), thickness / 3), np.full(len(paths), 184), cv2.LINE_8)
    return _with_thing(rng, Drawing(reduced(alpha, size), reduced(shade, size)))


def fringe(rng: np.random.Generator, size: int) -> Drawing:
    """Cords or tassels hanging from an opaque band."""
    side = size * SUPERSAMPLING
    count = int(log_uniform(rng, 20, 160))
    left, right = side * rng.uniform(-0.2, 0.3), side * rng.uniform(0.7, 1.2)
    top, length = side * rng.uniform(0, 0.3), side * rng.uniform(0.2, 0.6)
    band = side * rng.uniform(0.03, 0.2)
    start = np.linspace(left, right, count)
    down = np.linspace(0, 1, 14)
    bunches = np.sin(start[:, None] / side * rng.uniform(10, 120)) * down * rng.uniform(0, 0.02) * side
    waves = np.cumsum(rng.normal(0, 0.004 * side, (count, 14)), axis=1) * down
    x = start[:, None] + bunches + waves + rng.normal(0, 0.01, (count, 1)) * side * down
    y = top + band / 2 + (length * rng.uniform(0.85, 1, (count, 1)) + band / 2) * down
    width = max(1.5, (right - left) / count * rng.uniform(0.2, 0.9))
    cords = _sagging(np.stack([x, y], axis=-1), side, curl := rng.uniform(-0.3, 0.6))
    alpha, shade = np.zeros((side, side), np.uint8), np.full((side, side), NEUTRAL, np.uint8)
    widths = width * rng.uniform(0.6, 1.1, count)
    stroke(alpha, list(cords), widths, np.where(rng.random(count) < 0.7, 255, 180))
    stroke(shade, list(cords), widths, rng.uniform(80, 160, count), cv2.LINE_8)
    across = np.linspace(left, right, 24)
    edge = np.column_stack([np.append(across, across[::-1]), np.repeat([top, top + band], len(across))])
    fill(alpha, _sagging(edge, side, curl))
    return Drawing(reduced(alpha, size), reduced(shade, size))


def wicker(rng: np.random.Generator, size: int) -> Drawing:
    """Basketwork: rods woven around stakes, with small gaps."""
    period = round(log_uniform(rng, max(12, size / 20), size / 4))
    side = 4 * period
    alpha, shade = np.zeros((side, side), np.uint8), np.full((side, side), 40, np.uint8)
    stake = max(1, round(side * rng.uniform(0.08, 0.14)))
    for x in (side / 4, 3 * side / 4):
        cv2.line(alpha, fixed((x, -9)), fixed((x, side + 9)), 255, stake, 8, 4)
    rows = int(rng.integers(3, 7)) * 2
    plump = rng.uniform(0.42, 0.52)
    for row in range(rows):
        for k in range(-1, 3):
            centre = fixed((side * (0.25 + 0.5 * k + 0.25 * (row % 2) * 2), side * (row + 0.5) / rows))
            for grow, lightness in ((1, 80), (0.8, 120), (0.5, 150), (0.25, 170)):
                axes = fixed((side * 0.3 * (0.6 + 0.4 * grow), side / rows * plump * grow))
                cv2.ellipse(shade, centre, axes, 0, 0, 360, lightness, -1, cv2.LINE_8, 4)
                cv2.ellipse(alpha, centre, axes, 0, 0, 360, 255, -1, cv2.LINE_AA, 4)
    repeats = np.maximum(1, np.rint(rng.uniform(0.6, 1.3, 2) * size / period).astype(int))
    sheet, shade = (np.tile(reduced(each, period), repeats) for each in (alpha, shade))
    drawing = drape(rng, size, hemmed(sheet, max(2, period // 8)), shade, stiff=True)
    return cut(rng, drawing, rng.uniform(2, period / 4)) if rng.random() < 0.6 else drawing


def _threads(rng: np.random.Generator, length: int, pitch: float, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Parallel threads along a line: coverage per pixel, (length,) float32 in 0..1, and a mask of every other thread.

    Args:
        share: a thread's width, relative to the pitch.
    """
    middles = np.arange(0.5, length / pitch + 1) * pitch
    middles += rng.normal(0, 0.05 * pitch, len(middles))
    widths = pitch * share * rng.uniform(0.8, 1.2, len(middles))
    pixels = np.arange(length)
    nearest = np.clip(np.searchsorted((middles[1:] + middles[:-1]) / 2, pixels), 0, len(middles) - 1)
    cover = (widths[nearest] / 2 + 0.5 - np.abs(pixels - middles[nearest])).clip(0, 1)
    return cover.astype(np.float32), nearest % 2 == 1


def _within(rng: np.random.Generator, at: np.ndarray, count: int, length: int, pitch: float,
            fray: float) -> np.ndarray:
    """Mask of the threads' extent, (length, count) float32: each ends about `fray` pixels outside the cloth's body."""
    threads = (np.arange(count) / pitch).astype(int)
    ends = np.abs(rng.normal(0, max(fray, 0.01), (2, threads[-1] + 1))).astype(np.float32)[:, threads]
    start = np.float32(2.5 * fray) - ends[0]
    stop = np.float32(length - 1 - 2.5 * fray) + ends[1]
    return ((at >= start) & (at <= stop)).astype(np.float32)


def _with_thing(rng: np.random.Generator, drawing: Drawing) -> Drawing:
    """The drawing, half of the time with an opaque shape added in place."""
    if rng.random() < 0.5:
        curve = outline(rng, len(drawing.alpha), 0.1)
        fill(drawing.alpha, (curve - curve.mean(axis=0)) * np.float32(0.5) + curve.mean(axis=0))
    return drawing


def _tinted(rng: np.random.Generator, size: int) -> np.ndarray:
    """A smoothly varying shade."""
    return cv2.resize(rng.uniform(90, 170, (3, 3)).astype(np.uint8), (size, size), interpolation=cv2.INTER_LINEAR)


def _sagging(points: np.ndarray, side: int, depth: float) -> np.ndarray:
    """Points (..., 2) lowered towards the middle of the canvas, as in a cloth hung between two nails."""
    x = points[..., 0] / side - 0.5
    return np.stack([points[..., 0], points[..., 1] + depth * side * (0.25 - x * x)], axis=-1)


FAMILIES = (lace, doily, net, weave, sieve, perforated, fence, fringe)
HELD_OUT = (wicker,)
