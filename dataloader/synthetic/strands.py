"""Families of thin strands with something solid: hair, fur, whiskers, bristles and feathers.

They are drawn on a canvas `SUPERSAMPLING` times as large; widths are in its pixels.
"""

import cv2
import numpy as np

from dataloader.synthetic.drawing import NEUTRAL, SUPERSAMPLING, Drawing, reduced, stroke
from dataloader.synthetic.focus import focused
from dataloader.synthetic.growth import clumped, grow, haze, headings, modelled, stacked_alpha, strand_shade, tapered
from dataloader.synthetic.shapes import bust, silhouette


def long_hair(rng: np.random.Generator, size: int) -> Drawing:
    """Long hair, straight or wavy, hanging or blown by the wind, with flyaway strands."""
    wind = rng.normal(0, 0.7) if rng.random() < 0.65 else rng.choice([-1, 1]) * rng.uniform(2, 7)
    pull = np.array([wind, rng.uniform(2, 8) if abs(wind) < 2 else rng.uniform(0, 4)])
    return _head_of_hair(rng, size, length=rng.uniform(1, 4), pull=pull, curl=rng.uniform(0, 0.5),
                         turns=rng.uniform(1, 4), looseness=rng.uniform(0.05, 0.35))


def curly_hair(rng: np.random.Generator, size: int) -> Drawing:
    """Curls or frizz that stand away from the head."""
    pull = np.array([rng.normal(0, 0.3), rng.uniform(-0.2, 1)])
    return _head_of_hair(rng, size, length=rng.uniform(0.5, 1.6), pull=pull, curl=rng.uniform(0.7, 1.7),
                         turns=rng.uniform(1.5, 5), looseness=rng.uniform(0.12, 0.45))


def fur(rng: np.random.Generator, size: int, solid: np.ndarray | None = None) -> Drawing:
    """A furry body: short, dense strands along its whole outline, combed in one direction, in tufts."""
    side = size * SUPERSAMPLING
    solid = silhouette(rng, side) if solid is None else solid
    roots, normals = _edge(solid)
    length = side * 0.012 * 8 ** rng.random()
    # At most about one strand per 1.5 pixels of outline: more would cost time without being visible.
    n = int(np.clip(len(roots) * rng.uniform(0.25, 0.6), 60, 2.4 * size))
    comb = rng.normal(0, 0.8) + rng.normal(0, 0.5) * np.cos(normals * rng.integers(1, 4) + rng.uniform(0, 6))
    # Tufts are dense enough that a strand starting off its tuft's centre still follows it.
    tufts = max(12, n // int(rng.integers(4, 20)), int(len(roots) / (0.7 * length)))
    places = np.linspace(0, len(roots), tufts, endpoint=False).astype(int)
    angles = (normals + comb)[places] + rng.normal(0, rng.uniform(0.05, 0.3), len(places))
    uneven = rng.lognormal(0, 0.3, len(places)) * (1 + 0.5 * np.cos(normals[places] * 2 + rng.uniform(0, 6)))
    inside = roots[places] - headings(normals[places]) * length * 0.35
    guides = grow(rng, inside, angles, 1.5 * length * uneven, (rng.normal(0, 0.4), rng.uniform(0, 0.8)),
                  rng.uniform(0, 0.4), 1, 8)
    spread = min(len(roots) / tufts, 0.4 * length)
    paths = clumped(rng, guides, n, spread * 0.6, length * rng.uniform(0.05, 0.4),
                    length * rng.uniform(0, 0.05))
    widths = np.maximum(0.5, length * rng.uniform(0.015, 0.06)) * rng.lognormal(0, 0.3, n)
    front, back = np.zeros((2, side, side), np.uint8)
    tapered(front, paths[n // 3:], widths[n // 3:], rng.uniform(0.6, 1), pieces=3)
    tapered(back, paths[:n // 3], widths[:n // 3], rng.uniform(0.4, 1), pieces=3)
    undercoat = haze(paths[:, :6], np.maximum(widths, 1.5), size, 0.1 * 20 ** rng.random(), 256)
    shade = modelled(rng, solid, size)
    _coat(rng, shade, length / SUPERSAMPLING, comb=rng.uniform(0, 2 * np.pi))
    strand_shade(rng, shade, paths[:: max(1, n // 500)], widths[:: max(1, n // 500)], rng.uniform(5, 30), 2)
    alpha = stacked_alpha(*(reduced(layer, size) for layer in (solid, front, back)), undercoat)
    return Drawing(focused(rng, alpha), shade)


def whiskers(rng: np.random.Generator, size: int, solid: np.ndarray | None = None) -> Drawing:
    """A few long, stiff strands on a smooth or short-haired body."""
    side = size * SUPERSAMPLING
    canvas = silhouette(rng, side) if solid is None else solid.copy()
    roots, normals = _edge(canvas)
    n, spots = int(rng.integers(8, 50)), rng.integers(0, len(roots), rng.integers(1, 4))
    at = (rng.choice(spots, n) + rng.normal(0, 0.04 * len(roots), n).astype(int)) % len(roots)
    angles = normals[at] + rng.normal(0, 0.3, n) + rng.normal(0, 0.3)
    lengths = side * rng.uniform(0.08, 0.4) * rng.uniform(0.4, 1, n)
    inside = roots[at] - headings(normals[at]) * side * 0.01
    paths = grow(rng, inside, angles, lengths, (rng.normal(0, 0.3), rng.uniform(-0.3, 0.9)))
    widths = np.full(n, rng.uniform(0.8, 0.008 * side + 0.8)) * rng.uniform(0.7, 1.2, n)
    shade = modelled(rng, canvas, size)
    strand_shade(rng, shade, paths, widths, 25)
    strands = np.zeros_like(canvas)
    tapered(strands, paths, widths, 1, 0.15)
    if rng.random() < 0.5:
        _stubble(rng, strands, roots, normals, side * rng.uniform(0.005, 0.02))
    return Drawing(focused(rng, stacked_alpha(reduced(canvas, size), reduced(strands, size))), shade)


def bristles(rng: np.random.Generator, size: int, solid: np.ndarray | None = None) -> Drawing:
    """Lashes, a beard or a brush: strands of similar length along part of an outline."""
    side = size * SUPERSAMPLING
    canvas = silhouette(rng, side) if solid is None else solid.copy()
    roots, normals = _edge(canvas)
    share = rng.uniform(0.1, 0.5)
    n = int(np.clip(len(roots) * share * rng.uniform(0.05, 0.4), 15, 1.5 * size))
    place = rng.beta(2, 2, n)
    at = (rng.integers(0, len(roots)) + place * share * len(roots)).astype(int) % len(roots)
    length = side * 0.02 * 10 ** rng.random()
    angles = normals[at] + rng.normal(0, rng.uniform(0.05, 0.35), n) + (place - 0.5) * rng.uniform(0, 1.5)
    lengths = length * rng.uniform(0.6, 1.2, n) * (0.3 + np.sin(place * np.pi))
    inside = roots[at] - headings(normals[at]) * length * 0.1
    paths = grow(rng, inside, angles, lengths, headings(rng.uniform(0, 2 * np.pi)) * rng.uniform(0, 1),
                 rng.uniform(0, 0.6) * (rng.random() < 0.5), 1, 10)
    widths = np.maximum(0.6, length * rng.uniform(0.01, 0.06)) * rng.lognormal(0, 0.2, n)
    shade = modelled(rng, canvas, size)
    strand_shade(rng, shade, paths, widths, rng.uniform(5, 30))
    strands = np.zeros_like(canvas)
    tapered(strands, paths, widths, rng.uniform(0.7, 1), rng.uniform(0.1, 0.8))
    return Drawing(focused(rng, stacked_alpha(reduced(canvas, size), reduced(strands, size))), shade)


def feathers(rng: np.random.Generator, size: int) -> Drawing:
    """One to four feathers: a quill, two vanes of barbs that split, loose down near the root."""
    side = size * SUPERSAMPLING
    canvas, shade = np.zeros((side, side), np.uint8), np.full((size, size), NEUTRAL, np.uint8)
    count = int(rng.choice([1, 1, 2, 4]))
    for _ in range(count):
        length = side * rng.uniform(0.5, 1)
        angle, middle = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.65, 2) * side
        quill = grow(rng, (middle - headings(angle) * length / 2)[None], np.array([angle]), np.array([length]),
                     rng.normal(0, 0.6, 2), points=64)[0]
        n, breadth = int(np.clip(length * 0.35 / count**0.5, 30, 260)), length * rng.uniform(0.08, 0.2)
        for hand in (-1, 1):
            barbs, widths = _vane(rng, quill, n, breadth * rng.uniform(0.6, 1.2), hand)
            strand_shade(rng, shade, barbs, widths, rng.uniform(5, 20), 2)
            tapered(canvas, barbs, widths, 1, 0.35, 3)
        tapered(canvas, quill[None], np.array([length * rng.uniform(0.008, 0.02)]), 1, 0.15, 12)
    return Drawing(focused(rng, reduced(canvas, size)), cv2.GaussianBlur(shade, (0, 0), 0.7))


def _vane(rng: np.random.Generator, quill: np.ndarray, n: int, breadth: float,
          hand: int) -> tuple[np.ndarray, np.ndarray]:
    """The barbs of one side of a feather, (2n, 10, 2), and their widths (2n,): a closed vane and fine strands."""
    along = np.sort(rng.uniform(0.08, 0.99, n))
    at = along * (len(quill) - 1)
    roots = np.column_stack([np.interp(at, np.arange(len(quill)), quill[:, i]) for i in (0, 1)])
    slope = np.gradient(quill, axis=0)
    angles = np.arctan2(slope[:, 1], slope[:, 0])[at.astype(int)]
    # Barbs interlock in groups of one angle; the vane splits between groups.
    group = np.cumsum(rng.random(n) < rng.uniform(0.01, 0.12))
    lean = rng.uniform(0.5, 0.9) + rng.normal(0, rng.uniform(0.02, 0.25), group.max() + 1)[group]
    loose = np.clip(1 - along / rng.uniform(0.15, 0.4), 0, 1)
    lengths = 1.4 * breadth * np.sin(np.pi * along**0.8) ** 0.5 * rng.normal(1, 0.03, n)
    angles = angles + hand * (lean + loose * rng.normal(0.2, 0.5, n))
    paths = grow(rng, roots, angles, np.maximum(2, lengths), headings(angles.mean() - hand * 0.6) * 0.5, 0.05, 1, 10)
    spacing = np.linalg.norm(quill[-1] - quill[0]) / n
    closed = np.where(loose > 0.1, 0.6, spacing * rng.uniform(0.7, 1.3))
    fine = paths + (rng.normal(0, spacing, (n, 1, 2)) + np.linspace(0, 1, 10)[None, :, None] * rng.normal(
        0, breadth * 0.04, (n, 1, 2)) * (1 + 4 * loose[:, None, None]))
    return np.concatenate([paths, fine.astype(np.float32)]), np.concatenate([closed, np.full(n, rng.uniform(0.4, 1.2))])


def _head_of_hair(rng: np.random.Generator, size: int, length: float, pull: np.ndarray, curl: float, turns: float,
                  looseness: float) -> Drawing:
    """Hair on a head and shoulders.

    Args:
        length: of the hair, in radii of the head.
        pull: (2,), gravity and wind, relative to the hair's stiffness.
        curl, turns: see `grow`.
        looseness: spread of the strands of a lock at its tip, in radii of the head.
    """
    side = size * SUPERSAMPLING
    head = side * rng.uniform(0.1, 0.3)
    centre = np.array([rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.55)]) * side
    body, front, back = np.zeros((3, side, side), np.uint8)
    bust(rng, body, centre, head)
    shade = modelled(rng, body, size)
    locks = int(rng.integers(50, 160))
    angles = np.linspace(-1.15, 0.15, locks) * np.pi + rng.normal(0, 0.1, locks) + rng.normal(0, 0.25)
    roots = centre + headings(angles) * (1, 1.15) * head * rng.uniform(0.5, 0.95, (locks, 1))
    lengths = head * length * rng.lognormal(0, 0.25, locks)
    combed = angles + rng.normal(0, 0.3, locks) + rng.uniform(0, 0.9) * np.cos(angles)
    # With fewer points per turn a curl looks broken.
    points = int(np.clip(max(size // 24, 7 * turns * min(1, curl + 0.3)), 10, 40))
    guides = grow(rng, roots, combed, lengths, pull, curl, turns, points)
    n = int(size * rng.uniform(0.8, 2.2))
    strand = np.clip(head * 0.003 * 6 ** rng.random(), 0.45, 5)
    paths = clumped(rng, guides, n, head * 0.12, head * looseness, head * rng.uniform(0, 0.06))
    widths = strand * rng.lognormal(0, 0.3, n)
    stray = int(n * rng.uniform(0.01, 0.08)) + 1
    chosen = rng.integers(0, locks, stray)
    strays = grow(rng, roots[chosen], angles[chosen] + rng.normal(0, 0.5, stray),
                  lengths[chosen] * rng.uniform(0.7, 1.4, stray), pull * rng.uniform(0.2, 1, (stray, 1)),
                  curl + rng.uniform(0, 0.4), turns * 0.7, points)
    behind = np.concatenate([paths[:n // 2], strays])
    tapered(front, paths[n // 2:], widths[n // 2:], rng.uniform(0.7, 1), rng.uniform(0.15, 0.5))
    tapered(back, behind, np.concatenate([widths[:n // 2], strand * rng.uniform(0.5, 1, stray)]), rng.uniform(0.5, 1))
    # Real heads have 100 times as many hairs; most are visible only as a haze, opaque near the scalp.
    crowd = haze(paths, np.linspace(1.5, 0.3, n) * head * 0.02, size, 0.12 * 20 ** rng.random())
    contrast = rng.uniform(5, 35)
    strand_shade(rng, shade, guides, np.full(locks, head * 0.08), contrast * 0.5)
    strand_shade(rng, shade, paths, np.maximum(1, widths), contrast)
    alpha = stacked_alpha(*(reduced(layer, size) for layer in (body, front, back)), crowd)
    return Drawing(focused(rng, alpha), shade)


def _edge(solid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outline of a body (S, S): points (n, 2) a pixel apart, in order, and outward normals (n,) in radians."""
    curves, _ = cv2.findContours((solid > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    curve = max(curves, key=len)[:, 0].astype(np.float32)
    ahead = max(1, len(curve) // 60)
    along = np.roll(curve, -ahead, axis=0) - np.roll(curve, ahead, axis=0)
    # OpenCV traces contours anticlockwise as seen on screen (y down).
    normals = np.arctan2(along[:, 0], -along[:, 1])
    return curve, normals


def _coat(rng: np.random.Generator, shade: np.ndarray, length: float, comb: float) -> None:
    """Draws short strokes all over a shade, combed in roughly one direction."""
    size = shade.shape[0]
    n = int(np.clip((size / max(2, length)) ** 2 * 6, 50, 3 * size))
    roots = rng.uniform(-0.05, 1, (n, 2)) * size
    angles = comb + 0.6 * np.sin(roots @ rng.normal(0, 6 / size, 2)) + rng.normal(0, 0.15, n)
    paths = grow(rng, roots, angles, np.full(n, max(3, length)), points=2)
    levels = np.rint(np.clip(rng.normal(NEUTRAL, rng.uniform(5, 25), n), 16, 240) / 16) * 16
    stroke(shade, paths, np.full(n, max(1, length * 0.08)), levels, cv2.LINE_8)


def _stubble(rng: np.random.Generator, canvas: np.ndarray, roots: np.ndarray, normals: np.ndarray,
             length: float) -> None:
    n = min(len(roots) // 4, canvas.shape[0])
    at = rng.integers(0, len(roots), n)
    paths = grow(rng, roots[at], normals[at] + rng.normal(0.4, 0.4, n), length * rng.uniform(0.4, 1, n), points=4)
    tapered(canvas, paths, np.full(n, 0.9), 1, 0.4, 2)


FAMILIES = (long_hair, curly_hair, fur, whiskers, bristles)
HELD_OUT = (feathers,)
