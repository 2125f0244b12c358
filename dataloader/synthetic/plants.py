"""Families of plants and webs: grass, leaves on twigs, fern, needles, a spider web, a seed head."""

import cv2
import numpy as np

from dataloader.synthetic.drawing import NEUTRAL, SUPERSAMPLING, Drawing, fill, reduced, stroke
from dataloader.synthetic.focus import focused
from dataloader.synthetic.growth import grow, headings, strand_shade, tapered
from dataloader.synthetic.shapes import ellipse_curve


def grass(rng: np.random.Generator, size: int) -> Drawing:
    """Tufts of tapered blades bent by gravity and wind, sometimes with ears."""
    side, alpha, shade = _canvases(size)
    tufts = int(rng.integers(1, 5))
    n = int(rng.integers(25, 160))
    which = rng.integers(0, tufts, n)
    middles = np.column_stack([rng.uniform(0.15, 0.85, tufts), rng.uniform(0.8, 1.1, tufts)]) * side
    breadth = rng.uniform(0.01, 0.12 if tufts > 1 else 0.4) * side
    roots = middles[which] + rng.normal(0, 1, (n, 2)) * (breadth, 0.01 * side)
    lean = (roots[:, 0] - middles[which, 0]) / breadth * rng.uniform(0, 0.25)
    angles = -np.pi / 2 + lean + rng.normal(0, rng.uniform(0.1, 0.4), n)
    lengths = side * rng.uniform(0.35, 0.95) * rng.uniform(0.35, 1, n)
    pull = np.column_stack([rng.normal(rng.normal(0, 0.3), 0.3, n), rng.uniform(0, 0.9, n)])
    paths = grow(rng, roots, angles, lengths, pull, points=14)
    widths = side * rng.uniform(0.003, 0.022) * rng.uniform(0.5, 1.2, n)
    _lay(rng, alpha, shade, paths, _blades(paths, widths, 0.15), rib=bool(rng.random() < 0.5))
    if rng.random() < 0.4:
        _ears(rng, alpha, paths[rng.random(n) < 0.2])
    return Drawing(focused(rng, reduced(alpha, size)), shade)


def _ears(rng: np.random.Generator, alpha: np.ndarray, stalks: np.ndarray) -> None:
    """Draws bristly ears at the tips of stalks."""
    if not len(stalks):
        return
    which, t = np.repeat(np.arange(len(stalks)), 24), np.tile(np.linspace(0.8, 1, 24), len(stalks))
    points, angles = _along(stalks, which, t)
    length = len(alpha) * rng.uniform(0.02, 0.06)
    sides = np.tile([-1, 1], len(which) // 2) * rng.uniform(0.15, 0.7, len(which))
    tapered(alpha, grow(rng, points, angles + sides, np.full(len(which), length), points=3),
            np.full(len(which), max(1.2, length / 12)), rng.uniform(0.4, 1), pieces=2)


def leaves_and_twigs(rng: np.random.Generator, size: int) -> Drawing:
    """A branch or crown that forks into twigs with many leaves and gaps between them."""
    side, alpha, shade = _canvases(size)
    boughs = int(rng.integers(1, 4))
    border = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.3, boughs)
    roots = side * (0.5 - 0.55 * headings(border) + rng.normal(0, 0.08, (boughs, 2)))
    paths = grow(rng, roots, border + rng.normal(0, 0.2, boughs), side * rng.uniform(0.5, 1, boughs), (0, 0.1), 0.3)
    width = side * rng.uniform(0.005, 0.025)
    tapered(alpha, paths, np.full(boughs, width), tip=0.3)
    strand_shade(rng, shade, paths, np.full(boughs, width))
    for fork, share in ((int(rng.integers(4, 9)), 0.4), (int(rng.integers(2, 6)), 0.18)):
        which = np.repeat(np.arange(len(paths)), fork)
        points, angles = _along(paths, which, rng.uniform(0.25, 1, len(which)))
        turns = rng.choice([-1, 1], len(which)) * rng.uniform(0.3, 1, len(which))
        lengths = side * share * rng.uniform(0.4, 1, len(which))
        paths = grow(rng, points, angles + turns, lengths, (0, rng.uniform(-0.3, 0.3)), 0.2, points=10)
        width = max(1.2, 0.4 * width)
        tapered(alpha, paths, np.full(len(paths), width), tip=0.5, pieces=2)
        strand_shade(rng, shade, paths, np.full(len(paths), width), pieces=2)
    n = int(rng.integers(60, 600))
    points, angles = _along(paths, rng.integers(0, len(paths), n), rng.uniform(0.1, 1, n))
    length = side * rng.uniform(0.025, 0.1) * (100 / n) ** 0.25
    turns = rng.choice([-1, 1], n) * rng.uniform(0.2, 1.3, n)
    leaves = grow(rng, points, angles + turns, length * rng.uniform(0.5, 1.2, n), (0, rng.uniform(0, 0.6)), points=7)
    # A leaf seen edge-on is narrow.
    widths = length * rng.uniform(0.2, 0.7) * rng.uniform(0.25, 1, n)
    _lay(rng, alpha, shade, leaves, _blades(leaves, widths, rng.uniform(0.3, 0.55)), rib=length > 30)
    return Drawing(focused(rng, reduced(alpha, size)), shade)


def fern(rng: np.random.Generator, size: int) -> Drawing:
    """One to three fronds, their leaflets whole or divided once more."""
    side, alpha, shade = _canvases(size)
    fronds = int(rng.integers(1, 4))
    direction = rng.uniform(0, 2 * np.pi)
    roots = side * (0.5 - 0.45 * headings(np.full(fronds, direction)) + rng.normal(0, 0.06, (fronds, 2)))
    spread = direction + np.linspace(-0.5, 0.5, fronds) * rng.uniform(0.6, 1.6) * (fronds > 1)
    lengths = side * rng.uniform(0.65, 1, fronds)
    stems = grow(rng, roots, spread, lengths, rng.normal(0, 0.5, 2), points=24)
    pairs = int(rng.integers(12, 30))
    t = np.tile(np.repeat(np.linspace(0.12, 0.99, pairs), 2), fronds)
    which = np.repeat(np.arange(fronds), 2 * pairs)
    points, angles = _along(stems, which, t)
    slant = rng.uniform(0.7, 1.3)
    sides = np.tile([-1, 1], pairs * fronds)
    turns = sides * (slant - 0.4 * t) + rng.normal(0, 0.05, len(t))
    reach = lengths[which] * rng.uniform(0.14, 0.3) * np.minimum(1, 4 * t) * (1 - t) ** 0.7 + 0.004 * side
    leaflets = grow(rng, points, angles + turns, reach, headings(np.array(direction)) * 0.5, points=9)
    gap = side * 0.8 / pairs
    if rng.random() < 0.45 or size < 128:
        _lay(rng, alpha, shade, leaflets, _blades(leaflets, np.minimum(gap * rng.uniform(0.5, 1), reach * 0.5), 0.25))
    else:
        _divided(rng, alpha, shade, leaflets, reach, gap)
    width = np.full(fronds, max(2, side * rng.uniform(0.003, 0.01)))
    tapered(alpha, stems, width, tip=0.3)
    strand_shade(rng, shade, stems, width)
    return Drawing(focused(rng, reduced(alpha, size)), shade)


def _divided(rng: np.random.Generator, alpha: np.ndarray, shade: np.ndarray, leaflets: np.ndarray, reach: np.ndarray,
             gap: float) -> None:
    """Draws leaflets (n, m, 2), `reach` (n,) long, each divided into smaller leaflets."""
    pairs = int(rng.integers(5, 10))
    which = np.repeat(np.arange(len(leaflets)), 2 * pairs)
    t = np.tile(np.repeat(np.linspace(0.08, 0.98, pairs), 2), len(leaflets))
    points, angles = _along(leaflets, which, t)
    turns = np.tile([-1, 1], len(which) // 2) * rng.uniform(0.7, 1.2)
    lengths = np.minimum(gap * 0.7, reach[which] * 0.4) * (1.05 - t)
    paths = grow(rng, points, angles + turns, lengths, points=3)
    widths = np.maximum(1, reach[which] / pairs * rng.uniform(0.5, 0.9))
    tapered(alpha, paths, widths, tip=0.4, pieces=2)
    strand_shade(rng, shade, paths, widths, 12, pieces=1)
    tapered(alpha, leaflets, np.full(len(leaflets), max(1.5, gap / 14)), pieces=1)


def needles(rng: np.random.Generator, size: int) -> Drawing:
    """Conifer twigs with stiff needles."""
    side, alpha, shade = _canvases(size)
    direction = rng.uniform(0, 2 * np.pi)
    main = grow(rng, side * (0.5 - 0.5 * headings(np.array([direction]))), np.array([direction]),
                np.array([side * rng.uniform(0.7, 1)]), rng.normal(0, 0.3, 2), 0.15)
    forks = int(rng.integers(0, 7))
    points, angles = _along(main, np.zeros(forks, int), rng.uniform(0.1, 0.8, forks))
    turns = np.resize([-1, 1], forks) * rng.uniform(0.5, 1, forks)
    twigs = np.concatenate([main, grow(rng, points, angles + turns, side * rng.uniform(0.2, 0.45, forks), curl=0.15)])
    n = int(rng.integers(250, 900))
    lengths = np.linalg.norm(np.diff(twigs, axis=1), axis=-1).sum(axis=1)
    which = rng.choice(len(twigs), n, p=lengths / lengths.sum())
    points, angles = _along(twigs, which, rng.uniform(0.03, 1, n) ** 0.8)
    spread = rng.uniform(0.4, 1.2)
    turns = rng.uniform(-1, 1, n) * spread if rng.random() < 0.4 else rng.choice([-1, 1], n) * spread
    length = side * rng.uniform(0.05, 0.16)
    paths = grow(rng, points, angles + turns + rng.normal(0, 0.12, n), length * rng.uniform(0.6, 1.1, n),
                 (0, rng.uniform(0, 0.4)), points=5)
    widths = np.full(n, max(1.3, min(length / 10, side * rng.uniform(0.0015, 0.006))))
    tapered(alpha, paths, widths, tip=0.4, pieces=2)
    strand_shade(rng, shade, paths, widths, pieces=2)
    wood = np.full(len(twigs), side * rng.uniform(0.006, 0.02))
    tapered(alpha, twigs, wood, tip=0.4)
    strand_shade(rng, shade, twigs, wood)
    return Drawing(focused(rng, reduced(alpha, size)), shade)


def spider_web(rng: np.random.Generator, size: int) -> Drawing:
    """An orb web: spokes and a sagging spiral, torn in places; perhaps with dew, a spider and supporting twigs."""
    side, alpha, shade = _canvases(size)
    spokes, turns = int(rng.integers(14, 34)), int(rng.integers(8, 34))
    angles = (np.arange(spokes) + rng.uniform(-0.3, 0.3, spokes)) * 2 * np.pi / spokes
    centre = rng.uniform(0.4, 0.6, 2) * side
    reach = side * rng.uniform(0.3, 0.65) * rng.uniform(0.85, 1.15, spokes)
    rim = centre + headings(angles) * reach[:, None]
    outer = centre + headings(angles) * (reach * rng.uniform(1.05, 1.6, spokes))[:, None]
    strength = rng.uniform(70, 230)
    width = max(1, side * rng.uniform(0.0008, 0.0035))
    stroke(alpha, np.stack([np.broadcast_to(centre, rim.shape), outer], axis=1), np.full(spokes, width),
           np.full(spokes, strength))
    # (turns, spokes) vertices of the spiral, each joined to the one on the next spoke by a sagging thread.
    rows = 2 + np.arange(turns)[:, None] + np.arange(spokes) / spokes + rng.normal(0, 0.1, (turns, spokes))
    following = np.roll(rows, -1, axis=1)
    following[:, -1] = np.append(rows[1:, 0], rows[-1, 0] + 1)
    start = centre + (rim - centre) * rows[..., None] / (turns + 2)
    end = centre + (np.roll(rim, -1, axis=0) - centre) * following[..., None] / (turns + 2)
    middle = (start + end) / 2
    middle = middle + (centre - middle) * rng.uniform(0.02, 0.12) + (0, rng.uniform(0, 0.1) * side / spokes)
    threads = np.stack([start, 0.25 * (start + end) + 0.5 * middle, 0.25 * (start + end) + 0.5 * middle, end], axis=2)
    threads[:, :, 1] += (start - end) * 0.17
    threads[:, :, 2] += (end - start) * 0.17
    threads = threads[rng.random((turns, spokes)) > rng.uniform(0, 0.15)]
    stroke(alpha, threads, np.full(len(threads), width), np.full(len(threads), strength * rng.uniform(0.5, 1)))
    if rng.random() < 0.35:
        for x, y in np.rint(threads.reshape(-1, 2)).astype(int).tolist():
            cv2.circle(alpha, (x, y), round(width + 0.5), 255, -1, cv2.LINE_AA)
    if rng.random() < 0.85:
        _twig(rng, alpha, shade)
    if rng.random() < 0.6:
        _spider(rng, alpha, shade, centre)
    return Drawing(focused(rng, reduced(alpha, size)), shade)


def _twig(rng: np.random.Generator, alpha: np.ndarray, shade: np.ndarray) -> None:
    """Draws twigs across the canvas's outer parts."""
    side, n = len(alpha), int(rng.integers(1, 4))
    heading = rng.uniform(0, 2 * np.pi, n)
    roots = side * (0.5 - 0.7 * headings(heading) + rng.uniform(0.25, 0.45, (n, 1)) * headings(heading + np.pi / 2))
    paths = grow(rng, roots, heading, np.full(n, 1.5 * side), curl=0.12)
    widths = side * rng.uniform(0.008, 0.05, n)
    tapered(alpha, paths, widths, tip=0.6)
    strand_shade(rng, shade, paths, widths)


def _spider(rng: np.random.Generator, alpha: np.ndarray, shade: np.ndarray, centre: np.ndarray) -> None:
    """Draws a spider on an alpha and its shade."""
    length, angle = len(alpha) * rng.uniform(0.012, 0.05), rng.uniform(0, 2 * np.pi)
    legs = angle + np.array([0.5, 1, 2, 2.6, -0.5, -1, -2, -2.6])
    paths = grow(rng, np.tile(centre, (8, 1)), legs, np.full(8, 2.6 * length), curl=0.5, turns=0.5, points=6)
    tapered(alpha, paths, np.full(8, max(1.5, length / 6)), pieces=2)
    for canvas, scale, level in ((alpha, 1, 255), (shade, SUPERSAMPLING, 70)):
        fill(canvas, ellipse_curve(centre / scale, (length / scale, 0.65 * length / scale), angle), level)


def dandelion(rng: np.random.Generator, size: int) -> Drawing:
    """A seed head: a ball of fine parachutes on a stem, complete or partly blown away."""
    side, alpha, shade = _canvases(size)
    centre, radius = rng.uniform([0.35, 0.3], [0.65, 0.55]) * side, rng.uniform(0.2, 0.36) * side
    stem = grow(rng, centre[None], np.array([np.pi / 2 + rng.normal(0, 0.2)]), np.array([1.3 * side]), curl=0.1)
    seeds, hairs = int(rng.integers(35, 110)), int(rng.integers(9, 15))
    ways = rng.normal(0, 1, (seeds, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    if rng.random() < 0.4:
        ways = ways[ways[:, :2] @ headings(rng.uniform(0, 2 * np.pi, 1))[0] < rng.uniform(-0.2, 0.8)]
    knots = ways * rng.uniform(0.62, 0.72) * radius
    across = rng.normal(0, 1, (len(ways), hairs, 3))
    across -= (across * ways[:, None]).sum(axis=-1, keepdims=True) * ways[:, None]
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    across *= rng.uniform(0.19, 0.26, (len(ways), hairs, 1))
    tips = knots[:, None] + (0.32 * ways[:, None] + across) * radius
    lines = np.stack([np.broadcast_to(knots[:, None], tips.shape), tips], axis=2)[..., :2].reshape(-1, 2, 2) + centre
    stalks = np.stack([ways * 0.12 * radius, knots], axis=1)[..., :2] + centre
    width = max(1, side * rng.uniform(0.0006, 0.0025))
    stroke(alpha, lines, np.full(len(lines), width), np.full(len(lines), rng.uniform(60, 200)))
    stroke(alpha, stalks, np.full(len(stalks), width * 1.3), np.full(len(stalks), rng.uniform(130, 255)))
    tapered(alpha, stem, np.array([radius * rng.uniform(0.05, 0.13)]), tip=1)
    core = ellipse_curve(centre, (radius * 0.14, radius * rng.uniform(0.1, 0.14)))
    fill(alpha, core)
    strand_shade(rng, shade, stem, np.array([radius * 0.1]))
    fill(shade, core / SUPERSAMPLING, 80)
    return Drawing(focused(rng, reduced(alpha, size)), shade)


def _canvases(size: int) -> tuple[int, np.ndarray, np.ndarray]:
    """The side of a supersampled canvas, the empty canvas, and a neutral shade (size, size)."""
    side = size * SUPERSAMPLING
    return side, np.zeros((side, side), np.uint8), np.full((size, size), NEUTRAL, np.uint8)


def _along(paths: np.ndarray, which: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (k, 2) at fractions `t` (k,) along paths[which], and the directions there, (k,) in radians."""
    at = np.asarray(t) * (paths.shape[1] - 1)
    low = np.minimum(at.astype(int), paths.shape[1] - 2)
    start = paths[which, low]
    ahead = paths[which, low + 1] - start
    return start + ahead * (at - low)[:, None], np.arctan2(ahead[:, 1], ahead[:, 0])


def _blades(paths: np.ndarray, widths: np.ndarray, widest: float) -> np.ndarray:
    """Outlines (n, 2m, 2) of pointed blades along paths (n, m, 2), reaching `widths` at the fraction `widest`."""
    t = np.linspace(0, 1, paths.shape[1])
    profile = (t / widest) ** (widest / (1 - widest)) * (1 - t) / (1 - widest)
    ahead = np.gradient(paths, axis=1)
    across = np.stack([-ahead[..., 1], ahead[..., 0]], axis=-1)
    across /= np.maximum(1e-6, np.linalg.norm(across, axis=-1, keepdims=True))
    offset = across * (profile * widths[:, None] / 2)[..., None]
    return np.concatenate([paths + offset, (paths - offset)[:, ::-1]], axis=1)


def _lay(rng: np.random.Generator, alpha: np.ndarray, shade: np.ndarray, paths: np.ndarray, outlines: np.ndarray,
         rib: bool = False) -> None:
    """Draws overlapping blades, each with its own shade, optionally with a midrib."""
    levels = np.clip(rng.normal(NEUTRAL, rng.uniform(10, 35), len(paths)), 30, 225).astype(int).tolist()
    large, small, ribs = (np.rint(p * s).astype(np.int32) for p, s in ((outlines, 16), (outlines, 8), (paths, 8)))
    for i, level in enumerate(levels):
        cv2.fillPoly(alpha, [large[i]], 255, cv2.LINE_AA, 4)
        cv2.fillPoly(shade, [small[i]], level, cv2.LINE_8, 4)
        if rib:
            cv2.polylines(shade, [ribs[i]], False, level + 24, 1, cv2.LINE_8, 4)


FAMILIES = (grass, leaves_and_twigs, fern, needles, spider_web)
HELD_OUT = (dandelion,)
