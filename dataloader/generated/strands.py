"""Families with strands: hair long, curly or blown by wind, fur, bristles, feathers."""

import cv2
import numpy as np

from dataloader.generated.drawing import SUPERSAMPLING, Drawing, outline, reduced
from dataloader.generated.focus import blurred, focused
from dataloader.generated.growth import clumped, grow, headings, modelled, over, strand_shade, tapered
from dataloader.generated.shapes import ellipse, silhouette

_DENSITY = 512  # size at which the numbers of strands below are meant


class Coat:
    """A body and its strands while they are drawn: alpha on a larger canvas, shade at the picture's size."""

    def __init__(self, rng: np.random.Generator, size: int, body: np.ndarray):
        self.rng, self.size, self.body = rng, size, body
        self.strands = np.zeros((size * SUPERSAMPLING,) * 2, np.uint8)
        self.shade = modelled(rng, body, size)

    def add(self, paths: np.ndarray, width: float, opacity: tuple[float, float], tip: float = 0.3,
            contrast: float = 22) -> None:
        """Draws strands of about `width` pixels of the picture, their opacities between the two."""
        widths = width * SUPERSAMPLING * self.rng.uniform(0.6, 1.4, len(paths))
        tapered(self.strands, paths, widths, self.rng.uniform(*opacity, len(paths)), tip)
        strand_shade(self.rng, self.shade, paths, np.maximum(widths, SUPERSAMPLING), contrast)

    def drawing(self, softest: float = 1.2) -> Drawing:
        """The strands before the body, whose own edge is soft and lies below them, up to `softest` pixels."""
        edge = blurred(self.body, self.rng.uniform(0.4, max(0.5, softest)))
        alpha = over(reduced(self.strands, self.size), reduced(edge, self.size))
        return Drawing(focused(self.rng, alpha), self.shade)


def long_hair(rng: np.random.Generator, size: int) -> Drawing:
    """A head whose hair falls or is blown, dense at the root, fraying into single strands."""
    side, scale = size * SUPERSAMPLING, rng.uniform(0.5, 1.6)
    head = rng.uniform(0.12, 0.24) * side
    centre = np.array([rng.uniform(0.35, 0.65), rng.uniform(0.25, 0.5)]) * side
    coat = Coat(rng, size, _head(rng, side, centre, head))
    wind = np.array([rng.normal(0, 1.2), rng.uniform(-0.3, 1.6)])
    count = _count(size, rng.uniform(40, 90))
    around = rng.uniform(np.pi * 0.8, np.pi * 2.2, count)  # over the top of the head, from ear to ear
    roots = centre + headings(around) * head * rng.uniform(0.8, 1.05, (count, 1))
    guides = grow(rng, roots, around + rng.normal(0, 0.35, count), head * rng.gamma(4, rng.uniform(0.25, 0.7), count),
                  wind, curl=rng.uniform(0, 0.7), turns=rng.uniform(0.5, 2.5))
    width = rng.uniform(0.35, 1.1) * scale
    lock = head * rng.uniform(0.06, 0.25)
    if rng.random() < 0.7:  # the mass of the hair, opaque
        reach = int(rng.integers(4, 11))
        coat.add(clumped(rng, guides, _count(size, 150), lock, lock)[:, :reach], head / size * rng.uniform(1.5, 5),
                 (0.9, 1.0), tip=0.5, contrast=12)
    coat.add(clumped(rng, guides, _count(size, rng.uniform(500, 1500)), lock, lock * rng.uniform(0.1, 1.2),
                     lock * 0.1), width, (0.55, 1.0))
    _stray(coat, centre, head, wind, width)
    return coat.drawing()


def curly_hair(rng: np.random.Generator, size: int) -> Drawing:
    """A head of frizzy or curly hair, whose outline dissolves into loops."""
    side = size * SUPERSAMPLING
    head = rng.uniform(0.14, 0.26) * side
    centre = np.array([rng.uniform(0.35, 0.65), rng.uniform(0.35, 0.6)]) * side
    coat = Coat(rng, size, _head(rng, side, centre, head))
    around = rng.uniform(np.pi * 0.75, np.pi * 2.25, _count(size, 160))
    roots = centre + headings(around) * head * rng.uniform(0.7, 1.05, (len(around), 1))
    guides = grow(rng, roots, around + rng.normal(0, 0.5, len(around)), head * rng.uniform(0.3, 1.3, len(around)),
                  (0, rng.uniform(-0.2, 0.5)), curl=rng.uniform(0.9, 2.2), turns=rng.uniform(2, 6), points=28)
    width = rng.uniform(0.4, 1.0)
    coat.add(clumped(rng, guides, _count(size, rng.uniform(350, 900)), head * 0.06, head * rng.uniform(0.03, 0.2),
                     head * 0.02), width, (0.5, 1.0))
    _stray(coat, centre, head, np.zeros(2), width, curl=1.5)
    return coat.drawing()


def fur(rng: np.random.Generator, size: int) -> Drawing:
    """A body covered with short strands, combed along its outline, in clumps."""
    return _coated(rng, size, length=rng.uniform(0.02, 0.1), width=rng.uniform(0.35, 1.2), count=rng.uniform(600, 1600),
                   comb=rng.uniform(-1.2, 1.2), spread=rng.uniform(0.1, 0.6))


def fluff(rng: np.random.Generator, size: int) -> Drawing:
    """Down or wool: fine fibres in all directions that make the edge a veil."""
    return _coated(rng, size, length=rng.uniform(0.02, 0.07), width=rng.uniform(0.25, 0.5),
                   count=rng.uniform(1200, 2200), comb=0, spread=rng.uniform(0.8, 1.5), curl=rng.uniform(0.4, 1.5),
                   opacity=(0.15, 0.7))


def bristles(rng: np.random.Generator, size: int) -> Drawing:
    """A body with few thick hairs: whiskers, lashes, spines, a beard of some days."""
    return _coated(rng, size, length=rng.uniform(0.05, 0.25), width=rng.uniform(0.7, 2.5), count=rng.uniform(15, 120),
                   comb=rng.uniform(-0.8, 0.8), spread=rng.uniform(0.1, 0.5), opacity=(0.8, 1.0), tip=0.15)


def close_up(rng: np.random.Generator, size: int) -> Drawing:
    """The edge of hair from near: single strands of several pixels, those far from the focus soft."""
    side = size * SUPERSAMPLING
    curve = outline(rng, side, 0.08)
    curve = (curve - curve.mean(axis=0)) * 1.5 + rng.uniform(0, 1, 2) * side
    body = np.zeros((side, side), np.uint8)
    cv2.fillPoly(body, [curve.astype(np.int32)], 255)
    coat = Coat(rng, size, body)
    roots, normals = _edge(rng, curve, _count(size, rng.uniform(25, 60)))
    guides = grow(rng, roots, normals + rng.normal(rng.uniform(-0.8, 0.8), 0.3, len(roots)),
                  side * rng.uniform(0.15, 0.6, len(roots)), rng.normal(0, 0.8, 2), curl=rng.uniform(0, 0.6),
                  turns=rng.uniform(0.5, 2), points=20)
    coat.add(clumped(rng, guides, _count(size, rng.uniform(80, 350)), side * 0.03, side * rng.uniform(0.01, 0.06)),
             rng.uniform(1.0, 3.5), (0.7, 1.0), tip=rng.uniform(0.3, 0.8))
    return coat.drawing(softest=6)


def feather(rng: np.random.Generator, size: int) -> Drawing:
    """Feathers: barbs along a bent shaft, with gaps where they part."""
    side = size * SUPERSAMPLING
    coat = Coat(rng, size, np.zeros((side, side), np.uint8))
    for _ in range(rng.integers(1, 4)):
        angle = rng.uniform(0, 2 * np.pi)
        start = (0.5 - 0.35 * headings(np.array(angle)) + rng.normal(0, 0.08, 2)) * side
        length = side * rng.uniform(0.5, 0.85)
        shaft = grow(rng, start[None], np.array([angle]), np.array([length]), rng.normal(0, 0.4, 2), points=120)
        along = np.sort(rng.uniform(0.12, 1, _count(size, 420)))
        points = shaft[0][(along * 119).astype(int)]
        tangent = np.gradient(shaft[0], axis=0)[(along * 119).astype(int)]
        side_of = np.where(rng.random(len(along)) < 0.5, -1, 1)
        parted = 0.25 * np.sin(along * rng.uniform(15, 40) + side_of) ** 9
        directions = np.arctan2(tangent[:, 1], tangent[:, 0]) + side_of * (0.7 + parted)
        lengths = length * rng.uniform(0.1, 0.22) * np.sin(np.pi * np.clip(along * 0.9 + 0.08, 0, 1)) ** 0.5
        barbs = grow(rng, points, directions, np.maximum(lengths, 1) * rng.uniform(0.85, 1.05, len(along)),
                     headings(np.array(angle)) * 0.6, points=8)
        coat.add(barbs, rng.uniform(0.9, 1.8), (0.5, 1.0), tip=0.5, contrast=12)
        coat.add(shaft[:, ::8], size / 130, (1.0, 1.0), tip=0.2)
    return coat.drawing()


def _coated(rng: np.random.Generator, size: int, length: float, width: float, count: float, comb: float, spread: float,
            curl: float = 0.2, opacity: tuple[float, float] = (0.5, 1.0), tip: float = 0.3) -> Drawing:
    """A body with strands all along its outline.

    Args:
        length: of strands, as a share of the picture's side.
        comb: the angle, in radians, by which strands lean away from the outline's normal.
        spread: the deviation of that angle.
    """
    side = size * SUPERSAMPLING
    body = silhouette(rng, side)
    coat = Coat(rng, size, body)
    curves, _ = cv2.findContours(body, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    curve = max(curves, key=len)[:, 0].astype(np.float32)
    count = _count(size, count)
    roots, normals = _edge(rng, curve, max(8, count // 6))
    lengths = side * length * rng.gamma(6, 1 / 6, len(roots))
    guides = grow(rng, roots, normals + comb + rng.normal(0, spread, len(roots)), lengths,
                  (0, rng.uniform(0, 0.5)), curl, turns=rng.uniform(0.5, 2.5), points=10)
    lock = side * length * rng.uniform(0.05, 0.3)
    coat.add(clumped(rng, guides, count, lock, lock * rng.uniform(0.2, 1.5)), width, opacity, tip)
    if rng.random() < 0.6:
        single = max(3, count // 30)
        far = grow(rng, *_edge(rng, curve, single), side * length * rng.uniform(1, 2.5, single), curl=curl + 0.2,
                   points=12)
        coat.add(far, width * 0.7, (0.3, 0.9), tip)
    return coat.drawing()


def _stray(coat: Coat, centre: np.ndarray, head: float, wind: np.ndarray, width: float, curl: float = 0.5) -> None:
    """Single hairs that stand off a head."""
    rng = coat.rng
    count = int(rng.gamma(2, 14)) + 2
    around = rng.uniform(np.pi * 0.7, np.pi * 2.3, count)
    paths = grow(rng, centre + headings(around) * head, around + rng.normal(0, 0.6, count),
                 head * rng.uniform(0.5, 2.2, count), wind + rng.normal(0, 0.7, (count, 2)), curl,
                 turns=rng.uniform(0.5, 3), points=24)
    coat.add(paths, width * rng.uniform(0.6, 1.0), (0.3, 0.9), contrast=35)


def _head(rng: np.random.Generator, side: int, centre: np.ndarray, head: float) -> np.ndarray:
    """A head and shoulders, or a head alone, (side, side) uint8."""
    body = np.zeros((side, side), np.uint8)
    face = ellipse(centre, (head * rng.uniform(1.0, 1.25), head), np.pi / 2)
    cv2.fillPoly(body, [face.astype(np.int32)], 255)
    if rng.random() < 0.75:
        width, top = head * rng.uniform(1.6, 2.6), centre[1] + head * rng.uniform(1.3, 1.7)
        shoulders = ellipse((centre[0], top + side * 0.5), (width, side * 0.5))
        neck = [[centre[0] - head * 0.45, centre[1]], [centre[0] + head * 0.45, centre[1]],
                [centre[0] + head * 0.6, top + head], [centre[0] - head * 0.6, top + head]]
        for part in (shoulders, np.array(neck)):
            cv2.fillPoly(body, [part.astype(np.int32)], 255)
    return body


def _edge(rng: np.random.Generator, curve: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random points (count, 2) just inside a closed curve, and the angles (count,) of the outward normals there."""
    places = rng.integers(0, len(curve), count)
    step = max(1, len(curve) // 100)
    along = curve[(places + step) % len(curve)] - curve[(places - step) % len(curve)]
    normals = np.arctan2(along[:, 1], along[:, 0]) - np.pi / 2
    inwards = np.sum((curve.mean(axis=0) - curve[places]) * headings(normals), axis=1) > 0
    if inwards.mean() > 0.5:  # the curve runs the other way round
        normals = normals + np.pi
    return curve[places] - headings(normals) * 2 * SUPERSAMPLING, normals


def _count(size: int, count: float) -> int:
    """A number of strands, fewer in smaller pictures, which show fewer."""
    return max(6, round(count * min(1.5, size / _DENSITY)))


FAMILIES = (long_hair, curly_hair, fur, fluff, bristles, close_up)
HELD_OUT = (feather,)
