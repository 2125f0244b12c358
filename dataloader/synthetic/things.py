"""Families of everyday objects: toys, cloth, string, brooms, cages, wrapped objects."""

import cv2
import numpy as np

from dataloader.synthetic.drawing import (
    NEUTRAL,
    SUPERSAMPLING,
    Drawing,
    fill,
    noise,
    outline,
    reduced,
    stroke,
    to_uint8,
)
from dataloader.synthetic.focus import focused, gaussian_blur
from dataloader.synthetic.growth import grow, headings, modelled, stacked_alpha, strand_shade, tapered
from dataloader.synthetic.shapes import ellipse_curve, limb, rounded, silhouette
from dataloader.synthetic.warping import log_uniform

_RELIEF = 192  # resolution at which smooth surfaces are lit


def toy(rng: np.random.Generator, size: int) -> Drawing:
    """Rounded parts of different tones, each lit like a ball, sometimes glossy."""
    side = size * SUPERSAMPLING
    alpha, shade = np.zeros((side, side), np.uint8), np.full((size, size), NEUTRAL, np.uint8)
    light = headings(rng.uniform(-np.pi, 0))
    gloss = rng.uniform(0, 120) * (rng.random() < 0.6)
    middle, scale = rng.uniform(0.35, 0.65, 2) * side, rng.uniform(0.2, 0.42) * side
    places = [middle]
    for _ in range(int(rng.integers(3, 9))):
        place = places[int(rng.integers(len(places)))]
        radii = scale * rng.uniform(0.25, 1, 2) * rng.uniform(0.6, 1)
        angle = rng.uniform(0, 2 * np.pi)
        part = np.zeros_like(alpha)
        fill(part, ellipse_curve(place, tuple(radii), angle))
        if rng.random() < 0.3:
            limb(part, place, place + headings(angle) * scale * rng.uniform(0.8, 1.6), tuple(radii * 0.6))
        tone = NEUTRAL + rng.normal(0, 35)
        mask = reduced(part, size)
        np.copyto(shade, _ball(mask, light, tone, rng.uniform(20, 60), gloss), where=mask > 127)
        alpha = cv2.max(alpha, part)
        places.append(place + headings(rng.uniform(0, 2 * np.pi)) * radii.mean() * rng.uniform(0.7, 1.3))
    return Drawing(reduced(alpha, size), shade)


def _ball(mask: np.ndarray, light: np.ndarray, tone: float, contrast: float, gloss: float) -> np.ndarray:
    """The shade of a round body with this alpha (S, S): bright towards the light, with a highlight."""
    side = min(_RELIEF, len(mask))
    small = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
    depth = cv2.distanceTransform((small > 127).view(np.uint8), cv2.DIST_L2, 3)
    depth = np.sqrt(depth / max(1.0, float(depth.max())))
    depth = cv2.GaussianBlur(depth.astype(np.float32), (0, 0), 2)
    slope = np.stack([cv2.Sobel(depth, cv2.CV_32F, 1, 0), cv2.Sobel(depth, cv2.CV_32F, 0, 1)], axis=-1) * (side / 24)
    facing = np.clip(-slope @ light.astype(np.float32), -1, 1)
    highlight = np.exp(-((facing - 0.45) / 0.12) ** 2) * depth
    shade = tone + contrast * facing + gloss * highlight**2
    return cv2.resize(np.clip(shade, 10, 250).astype(np.uint8), mask.shape[::-1], interpolation=cv2.INTER_LINEAR)


def cloth(rng: np.random.Generator, size: int) -> Drawing:
    """A piece of cloth in folds, with cut, frayed or fringed edges."""
    side = size * SUPERSAMPLING
    n = int(rng.integers(4, 9))
    corners = side / 2 + headings(np.sort(rng.uniform(0, 2 * np.pi, n))) * side * rng.uniform(0.22, 0.52, (n, 1))
    curve = rounded(corners, 2)
    along = np.linspace(0, 1, len(curve), endpoint=False)[:, None] * 2 * np.pi
    curve = curve + side * 0.012 * np.sin(along * rng.integers(3, 12, (1, 2)) + rng.uniform(0, 6, (1, 2)))
    canvas = np.zeros((side, side), np.uint8)
    fill(canvas, curve)
    relief = noise(rng, _RELIEF, rng.uniform(25, 90), 3)
    angle = rng.uniform(0, 180)
    turn = cv2.getRotationMatrix2D((_RELIEF / 2, _RELIEF / 2), angle, 1)
    turn[:, 0] *= 0.3  # stretches the folds in one direction
    relief = cv2.warpAffine(relief, turn, (_RELIEF, _RELIEF), borderMode=cv2.BORDER_REFLECT_101)
    slope = cv2.Sobel(relief, cv2.CV_32F, 1, 0) + cv2.Sobel(relief, cv2.CV_32F, 0, 1) * rng.uniform(-1, 1)
    slope /= float(slope.std()) + 1e-6
    shade = cv2.resize(to_uint8(0.5 + rng.uniform(0.04, 0.13) * slope + 0.03 * relief), (size, size))
    if rng.random() < 0.6:
        chosen = rng.integers(0, len(curve), int(rng.integers(20, 300)))
        outwards = curve[chosen] - curve.mean(axis=0)
        angles = np.arctan2(outwards[:, 1], outwards[:, 0]) + rng.normal(0, 0.4, len(chosen))
        threads = grow(rng, curve[chosen] - 0.01 * outwards, angles, side * rng.uniform(0.01, 0.12) * rng.random(
            len(chosen)) ** rng.uniform(0, 2), (0, rng.uniform(0, 2)), rng.uniform(0, 1), 2, 10)
        tapered(canvas, threads, np.full(len(chosen), rng.uniform(0.8, 3)), rng.uniform(0.6, 1), 0.6)
    return Drawing(focused(rng, reduced(canvas, size)), shade)


def string(rng: np.random.Generator, size: int) -> Drawing:
    """Rope, yarn or cable in loops, with visible twist, loose ends and fuzz; sometimes around a body."""
    side = size * SUPERSAMPLING
    canvas, shade = np.zeros((side, side), np.uint8), np.full((size, size), NEUTRAL, np.uint8)
    if rng.random() < 0.5:
        fill(canvas, outline(rng, side, 0.05))
        shade = modelled(rng, canvas, size)
    n = int(rng.integers(1, 7))
    t = np.linspace(0, 1, 160)[:, None]
    for _ in range(n):
        path = np.full((1, 2), side / 2) + rng.normal(0, 0.15, 2) * side
        for order in range(1, 6):
            swing = rng.normal(0, 0.22 * side / order**0.7, (1, 2))
            path = path + swing * np.sin(np.pi * order * t * rng.uniform(0.7, 1.4) + rng.uniform(0, 6, (1, 2)))
        path = path.astype(np.float32)
        width = side * log_uniform(rng, 0.003, 0.03)
        stroke(canvas, [path], np.array([width]), np.array([255]))
        level = NEUTRAL + rng.normal(0, 25)
        stroke(shade, [path / SUPERSAMPLING], np.array([width / SUPERSAMPLING]), np.array([level]), cv2.LINE_8)
        stroke(shade, [path / SUPERSAMPLING - width / 6], np.array([width / SUPERSAMPLING / 3]), np.array([level + 40]),
               cv2.LINE_8)
        if width > 8:
            _twist(rng, shade, path / SUPERSAMPLING, width / SUPERSAMPLING, level)
        if rng.random() < 0.5:
            fuzz = path[rng.integers(0, len(path), int(rng.integers(30, 200)))]
            hairs = grow(rng, fuzz, rng.uniform(0, 2 * np.pi, len(fuzz)), width * rng.uniform(0.5, 2.5, len(fuzz)),
                         curl=0.8, points=6)
            tapered(canvas, hairs, np.full(len(fuzz), 0.9), rng.uniform(0.4, 1), 0.5)
    return Drawing(focused(rng, reduced(canvas, size)), shade)


def _twist(rng: np.random.Generator, shade: np.ndarray, path: np.ndarray, width: float, level: float) -> None:
    """Draws the dark grooves between a rope's strands across its path."""
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.arange(0, lengths[-1], max(3.0, width * rng.uniform(0.5, 1)))
    points = np.column_stack([np.interp(at, lengths, path[:, i]) for i in (0, 1)])
    if len(points) < 3:
        return
    ahead = np.gradient(points, axis=0)
    angle = np.arctan2(ahead[:, 1], ahead[:, 0]) + rng.uniform(0.6, 1.1)
    ends = headings(angle) * width * 0.45
    stroke(shade, np.stack([points - ends, points + ends], axis=1).astype(np.float32), np.full(len(points), 1.0),
           np.full(len(points), max(20, level - 45)), cv2.LINE_8)


def broom(rng: np.random.Generator, size: int) -> Drawing:
    """A broom, brush or mop: a handle, a head, and straws that fan out and cross."""
    side = size * SUPERSAMPLING
    canvas, shade = np.zeros((side, side), np.uint8), np.full((size, size), NEUTRAL, np.uint8)
    angle = rng.uniform(0, 2 * np.pi)
    way, across = headings(np.array([angle, angle + np.pi / 2]))
    head = np.array([0.5, 0.5]) * side - way * side * rng.uniform(-0.05, 0.15)
    breadth = side * rng.uniform(0.05, 0.25)
    limb(canvas, head - way * side, head, (side * rng.uniform(0.015, 0.05),) * 2)
    limb(canvas, head - across * breadth, head + across * breadth, (side * rng.uniform(0.03, 0.08),) * 2)
    shade = modelled(rng, canvas, size)
    n = int(rng.integers(80, 700))
    place = rng.uniform(-1, 1, n)
    roots = head + place[:, None] * across * breadth
    angles = angle + place * rng.uniform(0, 0.7) + rng.normal(0, rng.uniform(0.03, 0.3), n)
    lengths = side * rng.uniform(0.15, 0.45) * rng.uniform(0.6, 1.1, n)
    curl = rng.uniform(0, 0.5) * (rng.random() < 0.4)
    straws = grow(rng, roots, angles, lengths, (0, rng.uniform(0, 0.6)), curl, 1, 10)
    widths = np.maximum(0.6, side * log_uniform(rng, 0.0006, 0.006)) * rng.lognormal(0, 0.3, n)
    tapered(canvas, straws, widths, rng.uniform(0.8, 1), rng.uniform(0.3, 0.9))
    strand_shade(rng, shade, straws, np.maximum(1, widths), rng.uniform(10, 35))
    return Drawing(focused(rng, reduced(canvas, size)), shade)


def cage(rng: np.random.Generator, size: int) -> Drawing:
    """A cage, basket or rack of wire: two rows of bars, hoops, a base; sometimes with something inside."""
    side = size * SUPERSAMPLING
    canvas = np.zeros((side, side), np.uint8)
    inside = silhouette(rng, side) if rng.random() < 0.4 else None
    left, right = side * rng.uniform(0.1, 0.3), side * rng.uniform(0.7, 0.9)
    top, bottom = side * rng.uniform(0.08, 0.3), side * rng.uniform(0.75, 0.95)
    middle, wire = (left + right) / 2, side * log_uniform(rng, 0.003, 0.015)
    domed = rng.random() < 0.5
    for squash, lean in ((0.12, 0), (-0.12, rng.normal(0, 0.02) * side)):  # the front and the back
        turns = np.linspace(0, np.pi, int(rng.integers(6, 18)))
        x = middle + (left - right) / 2 * np.cos(turns)
        foot = bottom + squash * (right - left) * np.sin(turns) / 2
        peak = np.full_like(x, top) if domed else top + squash * (right - left) * np.sin(turns) / 2
        height = np.linspace(0, 1, 24)[:, None]
        narrow = np.sqrt(np.clip(1 - np.clip(height - 0.6, 0, 1) ** 2 / 0.16, 0, 1)) if domed else 1
        bars = np.stack([middle + lean * height + (x - middle) * narrow, foot + (peak - foot) * height], axis=-1)
        stroke(canvas, list(bars.transpose(1, 0, 2).astype(np.float32)), np.full(len(x), wire), np.full(len(x), 255))
    for level in np.linspace(0.02, 0.6 if domed else 1, int(rng.integers(2, 5))):
        centre = np.array([middle, bottom + (top - bottom) * level])
        hoop = ellipse_curve(centre, ((right - left) / 2, (right - left) * 0.06))
        stroke(canvas, [np.vstack([hoop, hoop[:1]])], np.array([wire * 1.3]), np.array([255]))
    if rng.random() < 0.6:
        fill(canvas, ellipse_curve(np.array([middle, bottom]), ((right - left) * 0.53, (right - left) * 0.09)))
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.normal(0, 12), rng.uniform(0.85, 1.15))
    canvas = cv2.warpAffine(canvas, turn, (side, side), flags=cv2.INTER_AREA)
    shade = modelled(rng, canvas, size)
    alpha = reduced(canvas, size)
    return Drawing(focused(rng, alpha if inside is None else stacked_alpha(alpha, reduced(inside, size))), shade)


def wrapped(rng: np.random.Generator, size: int) -> Drawing:
    """A solid body in clear film. Complete foregrounds have `film_around` as a separate layer with its own colours."""
    canvas = silhouette(rng, size * SUPERSAMPLING)
    body = Drawing(reduced(canvas, size), modelled(rng, canvas, size))
    film = film_around(rng, body.alpha)
    shade = cv2.addWeighted(body.shade, 0.6, film.shade, 0.4, 0)
    return Drawing(stacked_alpha(film.alpha, body.alpha), shade)


def film_around(rng: np.random.Generator, body: np.ndarray) -> Drawing:
    """Loose clear film around a body (S, S) uint8: creases, white highlights, tied or sealed at the top."""
    size = len(body)
    solid = (body > 127).view(np.uint8) * np.uint8(255)
    around = cv2.dilate(solid, np.ones((3, 3), np.uint8), iterations=max(1, int(size * rng.uniform(0.02, 0.1))))
    film = (gaussian_blur(around, size * rng.uniform(0.01, 0.04)) > 100).view(np.uint8) * np.uint8(255)
    rows, columns = np.nonzero(film)
    peak = np.array([columns[0], rows[0]], float) if len(rows) else np.full(2, size / 2)
    spread = size * rng.uniform(0.08, 0.3)
    fill(film, np.array([peak + [0, spread * 0.6], peak + [-spread, -spread], peak + [spread, -spread]]))
    side = min(size, 2 * _RELIEF)
    slope, nearness = _gathered(rng, side, peak * side / size)
    glint = np.clip(slope - rng.uniform(0.9, 1.8), 0, 1)
    thickness = rng.uniform(0.08, 0.45) + 0.1 * np.abs(slope) + glint + rng.uniform(0, 1.2) * nearness
    clear = cv2.multiply(cv2.resize(to_uint8(thickness), (size, size)), gaussian_blur(film, 0.7), scale=1 / 255)
    rim = cv2.morphologyEx(film, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    alpha = stacked_alpha(cv2.convertScaleAbs(rim, alpha=rng.uniform(0.2, 0.8)), clear)
    return Drawing(alpha, cv2.resize(to_uint8(0.5 + 0.08 * slope + 0.5 * glint), (size, size)))


def _gathered(rng: np.random.Generator, side: int, knot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Film tied at a point (x, y): slope of its creases (deviation 1) and nearness to the knot, each (side, side)."""
    at = np.arange(side, dtype=np.float32)
    creases = np.zeros((side, side), np.float32)
    for waves in (3, 5, 9, 15):
        way = headings(rng.uniform(0, 2 * np.pi)) * waves / side
        phase = at * np.float32(way[0]) + (at * np.float32(way[1]))[:, None] + 0.4 * noise(rng, side, side / 2)
        creases += np.float32(2 / waves) * np.abs(phase - 2 * np.floor(phase / 2) - 1)
    slope = cv2.Sobel(creases, cv2.CV_32F, 1, 0) + cv2.Sobel(creases, cv2.CV_32F, 0, 1) * np.float32(rng.uniform(-1, 1))
    x, y = at - np.float32(knot[0]), (at - np.float32(knot[1]))[:, None]
    distance, angle = np.hypot(x, y), np.arctan2(y, x) + 0.15 * noise(rng, side, side / 3)
    rays = sum(rng.normal() * np.sin(angle * k + rng.uniform(0, 2 * np.pi)) for k in rng.integers(6, 45, 8))
    slope = slope / (float(slope.std()) + 1e-6) + rng.uniform(0, 2.5) * rays / (float(rays.std()) + 1e-6) * np.exp(
        -distance / (0.5 * side))
    return (slope / (float(slope.std()) + 1e-6)).astype(np.float32), np.exp(-(distance / (side * 0.12)) ** 2)


FAMILIES = (toy, cloth, string, broom, cage, wrapped)
