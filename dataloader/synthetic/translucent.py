"""Families of translucent objects: smoke, cloud, glass, plastic, water, a veil, bubbles."""

import cv2
import numpy as np

from dataloader.synthetic.drawing import NEUTRAL, Drawing, fill, noise, outline, stroke, to_uint8
from dataloader.synthetic.focus import gaussian_blur, motion_blur
from dataloader.synthetic.growth import grow, headings, stacked_alpha, tapered
from dataloader.synthetic.shapes import ellipse_curve
from dataloader.synthetic.warping import bent, cut, warped

_SOFT = 192  # resolution at which content without sharp edges is computed


def smoke(rng: np.random.Generator, size: int) -> Drawing:
    """A widening plume with swirled wisps, dense at its root, perhaps with something solid there."""
    side = min(size, _SOFT)
    plume = np.zeros((side, side), np.uint8)
    for _ in range(rng.integers(1, 4)):
        root, angle = rng.uniform(0.3, 0.7, 2) * side, rng.uniform(0, 2 * np.pi)
        path = grow(rng, root[None] - 0.4 * side * headings(np.array([angle])), np.array([angle]),
                    np.array([side * rng.uniform(0.7, 1.1)]), rng.normal(0, 0.4, 2), 0.5, 1, 12)[0]
        radii = side * (rng.uniform(0.02, 0.06) + rng.uniform(0.05, 0.2) * np.linspace(0, 1, 12))
        for i in range(12):
            fill(plume, ellipse_curve(path[i], (radii[i], radii[i])), int(255 - 110 * i / 11))
    plume = warped(rng, gaussian_blur(plume, side * rng.uniform(0.02, 0.04)), side * 0.3, side * 0.04)
    folds = noise(rng, side, side * rng.uniform(0.1, 0.4), 4)
    # The zero crossings of noise are lines, like wisps of stirred smoke.
    wisps = 1 - np.abs(folds) if rng.random() < 0.6 else 0.5 + 0.4 * folds
    wisps = warped(rng, wisps, side * rng.uniform(0.15, 0.5), side * rng.uniform(0.02, 0.08))
    density = plume.astype(np.float32) / 255
    density = density * (wisps + 1.2 * density**3 - 0.3) * np.float32(rng.uniform(0.5, 1.5))
    alpha = cv2.resize(to_uint8(1.05 * density), (size, size), interpolation=cv2.INTER_CUBIC)
    shade = _lit(rng, wisps, size, rng.uniform(0, 40))
    if rng.random() < 0.6:
        solid = np.zeros_like(alpha)
        fill(solid, (outline(rng, size, 0.1) - size / 2) * 0.5 + path[0] * size / side)
        alpha = stacked_alpha(solid, alpha)
    return Drawing(alpha, shade)


def cloud(rng: np.random.Generator, size: int) -> Drawing:
    """Billows, opaque in the middle, that dissolve into tufts and haze at their edges."""
    side = min(size, _SOFT)
    body = np.zeros((side, side), np.uint8)
    curve = outline(rng, side, rng.uniform(0.05, 0.2))
    fill(body, curve)
    for point in curve[::8]:
        radius = side * rng.uniform(0.03, 0.14)
        fill(body, ellipse_curve(point, (radius, radius)))
    relief = noise(rng, side, side * rng.uniform(0.1, 0.3), 5)
    soft = gaussian_blur(body, side * rng.uniform(0.02, 0.08)).astype(np.float32) / 255
    gain = np.clip(rng.uniform(1.5, 4) + 1.5 * noise(rng, side, side * 0.4), 1, 7)
    density = (soft - 0.55 + 0.2 * relief * soft) * gain + 0.5
    density = np.clip(density, 0, 1) * (soft > 0.01)
    alpha = cv2.resize(to_uint8(density), (size, size), interpolation=cv2.INTER_CUBIC)
    return Drawing(alpha, _lit(rng, relief, size, rng.uniform(10, 50)))


def glass(rng: np.random.Generator, size: int) -> Drawing:
    """A tumbler, a wine glass or a bottle: nearly clear inside, with thick edges, glints, perhaps a filling."""
    t = np.linspace(0, 1, 40)
    kind = rng.integers(0, 3)
    if kind == 0:
        widths = rng.uniform(0.25, 0.5) * (1 + rng.uniform(-0.3, 0.1) * t)
    elif kind == 1:
        bowl, stem = rng.uniform(0.45, 0.6), rng.uniform(0.02, 0.04)
        below = (np.maximum(t, 0.2) - 0.2) / (bowl - 0.2)  # 0 at its widest level, 1 at the stem
        widths = rng.uniform(0.25, 0.4) * np.sqrt(np.clip(1 - below**2, 0, 1))
        widths = np.maximum(widths, stem + 0.25 * np.clip((t - 0.93) / 0.07, 0, 1) ** 2)
    else:
        neck, body = rng.uniform(0.06, 0.1), rng.uniform(0.16, 0.3)
        widths = neck + (body - neck) / (1 + np.exp(-(t - rng.uniform(0.3, 0.45)) * rng.uniform(15, 40)))
    height, centre, tilt = size * rng.uniform(0.65, 1), rng.uniform(0.4, 0.6, 2) * size, rng.normal(0, 0.15)
    down, right = headings(np.array([np.pi / 2, 0]) + tilt)

    def at(share: np.ndarray, across: float) -> np.ndarray:
        level = np.interp(share, t, widths)
        return centre + height * ((share[:, None] - 0.5) * down + (across * level)[:, None] * right)

    contour = np.concatenate([at(t, 1), at(t[::-1], -1)])
    mask = np.zeros((size, size), np.uint8)
    fill(mask, contour)
    base, thick = rng.uniform(0.02, 0.25), size * rng.uniform(0.004, 0.03)
    alpha = _rimmed(mask, base, thick, rng.uniform(0.6, 1))
    shade = np.full_like(mask, NEUTRAL)
    stroke(shade, [contour], np.array([thick * rng.uniform(0.5, 2)]), np.array([rng.choice([60, 200])]), cv2.LINE_8)
    if rng.random() < 0.6:  # a filling, or a label
        start = rng.uniform(0.2, bowl - 0.1 if kind == 1 else 0.7)
        part = np.linspace(start, bowl if kind == 1 else rng.uniform(start + 0.1, 0.97), 12)
        filling = np.zeros_like(mask)
        level = int(rng.choice([255, rng.uniform(80, 250)]))
        fill(filling, np.concatenate([at(part, 0.94), at(part[::-1], -0.94)]), level)
        alpha = stacked_alpha(cv2.min(filling, mask), alpha)
    foot = np.linspace(rng.uniform(0.94, 0.99), 1, 4)
    fill(alpha, np.concatenate([at(foot, 1), at(foot[::-1], -1)]), int(rng.uniform(150, 255)))
    radius = widths[0] * height
    brim = ellipse_curve(at(np.zeros(1), 0)[0], (radius, radius * rng.uniform(0.02, 0.15)), tilt)
    stroke(alpha, [np.concatenate([brim, brim[:1]])], np.array([max(1, thick / 2)]), np.array([255]))
    glints = [at(np.linspace(*np.sort(rng.uniform(0.05, 0.9, 2)), 10), across) for across in rng.uniform(-0.9, 0.9, 4)]
    _glint(rng, alpha, shade, glints, size * rng.uniform(0.003, 0.02, 4))
    return Drawing(alpha, shade)


def plastic_bag(rng: np.random.Generator, size: int) -> Drawing:
    """Thin crumpled film with bright creases, overlapping layers, opaque seams, perhaps handles."""
    side = min(size, 3 * _SOFT // 2)
    creases, at = np.zeros((side, side), np.float32), np.arange(side, dtype=np.float32)
    for waves in (2, 3, 5, 8, 12):
        way = headings(rng.uniform(0, 2 * np.pi, 1))[0].astype(np.float32) * np.float32(waves / side)
        phase = at * way[0] + (at * way[1])[:, None] + np.float32(0.4) * noise(rng, side, side / 2)
        creases += np.float32(2 / waves) * np.abs(phase - 2 * np.floor(phase / 2) - 1)
    slope_x, slope_y = (cv2.Sobel(creases, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
    light = headings(rng.uniform(0, 2 * np.pi, 1))[0].astype(np.float32)
    lit = slope_x * light[0] + slope_y * light[1]
    lit /= np.float32(lit.std())
    thickness = rng.uniform(0.2, 0.6) + 0.12 * np.abs(lit) + 0.1 * noise(rng, side, side * 0.3)
    glints = np.clip(lit - rng.uniform(1.3, 2.2), 0, 1)
    film = cv2.resize(to_uint8(np.clip(thickness, 0.15, 0.9) + glints), (size, size))
    shade = cv2.resize(to_uint8(0.5 + 0.1 * lit + 0.5 * glints), (size, size))
    curve = outline(rng, size, rng.uniform(0.03, 0.12))
    curve = (curve - curve.mean(axis=0)) * np.float32(1.2) + np.float32(size / 2)
    mask = np.zeros((size, size), np.uint8)
    seam = max(1, size * rng.uniform(0.003, 0.012))
    if rng.random() < 0.6:
        top = curve[np.argsort(curve[:, 1])[:24]].mean(axis=0)
        loops = [ellipse_curve(top + np.array([x * size, 0]), (size * 0.1, size * 0.05), np.pi / 2)
                 for x in (-0.09, 0.09)]
        stroke(mask, loops, np.full(2, size * 0.03), np.full(2, 255))
    fill(mask, curve)
    alpha = cv2.multiply(film, mask, scale=1 / 255)
    roots = curve[rng.integers(0, len(curve), 5)]
    folds = grow(rng, roots, rng.uniform(0, 2 * np.pi, 5), size * rng.uniform(0.2, 0.6, 5))
    lines = np.zeros_like(mask)
    tapered(lines, folds, np.full(5, seam), rng.uniform(0.4, 1, 5))
    stroke(lines, [np.concatenate([curve, curve[:1]])], np.array([seam]), np.array([255]))
    return Drawing(stacked_alpha(cv2.min(lines, mask), alpha), shade)


def water(rng: np.random.Generator, size: int) -> Drawing:
    """A splash: a pool with jets that break up into drops, dark and bright at the edges, clear inside."""
    mask = np.zeros((size, size), np.uint8)
    n, middle = int(rng.integers(5, 22)), rng.uniform(0.35, 0.65)
    level = rng.uniform(0.65, 0.95) * size
    spread = np.linspace(-1, 1, n) + rng.normal(0, 0.1, n)
    roots = np.column_stack([(middle + 0.25 * spread) * size, np.full(n, level)])
    angles = -np.pi / 2 + rng.uniform(0.3, 1) * spread + rng.normal(0, 0.15, n)
    jets = grow(rng, roots, angles, size * rng.uniform(0.15, 0.65, n), (0, rng.uniform(0.2, 1.5)), 0.1)
    tapered(mask, jets, size * rng.uniform(0.015, 0.1, n), tip=0.25, pieces=6)
    waves = np.cumsum(rng.normal(0, 0.01 * size, 24)) + level
    surface = np.column_stack([np.linspace(-0.05, 1.05, 24) * size, waves - waves.mean() + level])
    fill(mask, np.vstack([surface, [[1.1 * size, 1.1 * size], [-0.1 * size, 1.1 * size]]]))
    drops = int(rng.integers(20, 120))
    places = jets[rng.integers(0, n, drops), rng.integers(6, 16, drops)] + rng.normal(0, 0.07, (drops, 2)) * size
    for place, radius in zip(places, size * rng.uniform(0.08, 0.17, drops) ** 2, strict=True):
        fill(mask, ellipse_curve(place, (radius * rng.uniform(1, 1.8), radius), rng.uniform(0, np.pi), 16))
    mask = warped(rng, mask, size * 0.12, size * 0.012)
    alpha = _rimmed(mask, rng.uniform(0.1, 0.45), size * rng.uniform(0.004, 0.02), rng.uniform(0.6, 1))
    side = min(size, _SOFT)
    ripples = noise(rng, side, side * rng.uniform(0.06, 0.2), 4)
    foam = cv2.resize(to_uint8(0.8 * ripples - rng.uniform(0.7, 1.4)), (size, size), interpolation=cv2.INTER_CUBIC)
    foam = cv2.min(foam, mask)
    shade = cv2.add(_lit(rng, ripples, size, rng.uniform(10, 50)), cv2.convertScaleAbs(foam, alpha=0.5))
    alpha = stacked_alpha(foam, alpha)
    return Drawing(motion_blur(rng, alpha, size * 0.02) if rng.random() < 0.2 else alpha, shade)


def veil(rng: np.random.Generator, size: int) -> Drawing:
    """Sheer cloth in folds, less transparent where it overlaps itself, with an opaque hem."""
    side = min(size, 2 * _SOFT)
    rows, columns = int(rng.integers(2, 5)), int(rng.integers(6, 30))
    # Strong variation across the cloth and little along it: hanging folds.
    grid = np.cumsum(rng.normal(0, 0.5, (rows, columns)), axis=0) + rng.standard_normal(columns)
    drape = cv2.resize(grid.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.6:
        turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(-60, 60), 1.5)
        drape = cv2.warpAffine(drape, turn, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    slope = cv2.Sobel(drape, cv2.CV_32F, 1, 0) + cv2.Sobel(drape, cv2.CV_32F, 0, 1) * np.float32(0.5)
    # The slope is taken before warping, else it would show the warp's control grid.
    folds = warped(rng, np.dstack([drape, gaussian_blur(slope, 1.5)]), side * 0.5, side * rng.uniform(0, 0.04))
    drape, slope = folds[..., 0], folds[..., 1]
    slope /= np.float32(slope.std() + 1e-6)
    single = np.float32(rng.uniform(0.15, 0.6))
    # Slanted cloth is thicker by its slope; the transmittances of layers multiply.
    layers = np.sqrt(1 + slope * slope) + rng.uniform(0.5, 3) * np.clip(drape - 0.6, 0, 1)
    alpha = cv2.resize(to_uint8(1.02 - 1.02 * (1 - single) ** layers), (size, size))
    shade = cv2.resize(to_uint8(0.5 + slope * np.float32(rng.uniform(0.03, 0.12))), (size, size))
    if rng.random() < 0.4:
        edge = np.linspace([-0.1, rng.uniform(0.5, 1)], [1.1, rng.uniform(0.5, 1)], 40) * size
        edge = bent(rng, edge, size, 0.02) if rng.random() < 0.5 else edge
        mask = np.zeros_like(alpha)
        fill(mask, np.vstack([edge, [[1.1 * size, -size], [-0.1 * size, -size]]]))
        alpha = cv2.min(alpha, mask)
        stroke(alpha, [edge], np.array([size * rng.uniform(0.004, 0.02)]), np.array([255]))
        return Drawing(alpha, shade)
    return cut(rng, Drawing(alpha, shade), size * rng.uniform(0.002, 0.02))


def bubbles(rng: np.random.Generator, size: int) -> Drawing:
    """Soap bubbles: thin bright edges, almost clear inside, with window reflections."""
    alpha, shade = np.zeros((size, size), np.uint8), np.full((size, size), NEUTRAL, np.uint8)
    n = int(rng.integers(2, 26))
    rim, base, bright = rng.uniform(0.01, 0.08), rng.uniform(0, 0.12), rng.uniform(0.5, 1)
    middle, apart = rng.uniform(0.3, 0.7, 2), rng.choice([0.1, 0.3])
    for _ in range(n):
        radius = size * rng.uniform(0.05, 0.45) / n**0.4
        centre = (middle + rng.normal(0, apart, 2)).clip(0, 1) * size
        disc = np.zeros_like(alpha)
        around = ellipse_curve(centre, (radius, radius * rng.uniform(0.93, 1)), rng.uniform(0, np.pi), 64)
        fill(disc, around, round(255 * base))
        for width, share in ((3, 0.25), (1.6, 0.5), (0.7, 1)):
            shrunk = centre + (around - centre) * (1 - width * rim / 2)
            closed, level = np.vstack([shrunk, shrunk[:1]]), 255 * bright * share
            stroke(disc, [closed], np.array([width * rim * radius]), np.array([level]))
        alpha = stacked_alpha(disc, alpha)
        angle, reach = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.6, 0.8)
        arcs = [centre + reach * headings(angle + turn + np.linspace(-0.3, 0.3, 8)) for turn in (0, np.pi)]
        _glint(rng, alpha, shade, arcs, radius * rng.uniform(0.04, 0.16, 2))
    return Drawing(alpha, shade)


def _lit(rng: np.random.Generator, relief: np.ndarray, size: int, strength: float) -> np.ndarray:
    """A shade (size, size) of a relief of standard deviation about 1: lit from one side, brighter where higher."""
    light = headings(rng.uniform(0, 2 * np.pi, 1))[0] * 0.15 * strength
    slope = cv2.Sobel(relief, cv2.CV_32F, 1, 0) * light[0] + cv2.Sobel(relief, cv2.CV_32F, 0, 1) * light[1]
    return cv2.resize(to_uint8((NEUTRAL + 0.4 * strength * relief + slope) / 255), (size, size))


def _rimmed(mask: np.ndarray, base: float, thick: float, edge: float) -> np.ndarray:
    """The alpha of a clear body: `edge` (0..1) at its outline, falling to `base` over about `thick` pixels."""
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    body = cv2.exp(depth * np.float32(-1 / thick)) * np.float32(edge - base) + np.float32(base)
    return cv2.multiply(to_uint8(body), mask, scale=1 / 255)


def _glint(rng: np.random.Generator, alpha: np.ndarray, shade: np.ndarray, paths: list[np.ndarray],
           widths: np.ndarray) -> None:
    """Draws reflections of a lamp or a window: opaque and white."""
    levels = rng.choice([160, 255, 255], len(paths))
    lines = np.zeros_like(alpha)
    stroke(lines, paths, widths, levels)
    np.copyto(alpha, stacked_alpha(lines, alpha))
    stroke(shade, paths, widths + 2, np.full(len(paths), 255), cv2.LINE_8)


FAMILIES = (smoke, cloud, glass, plastic_bag, water, veil)
HELD_OUT = (bubbles,)
