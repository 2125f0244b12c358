"""Families of solid objects: sharp, defocused or motion-blurred; composed of parts, with holes; people and animals."""

import numpy as np

from dataloader.synthetic.drawing import SUPERSAMPLING, Drawing, fill, outline, reduced, stroke
from dataloader.synthetic.focus import gaussian_blur, mix_by_noise, motion_blur
from dataloader.synthetic.growth import grow, headings, modelled


def ellipse_curve(centre: np.ndarray, radii: tuple[float, float], angle: float = 0, points: int = 48) -> np.ndarray:
    """An ellipse as a closed curve (points, 2); the first radius lies along `angle`, in radians."""
    around = headings(np.linspace(0, 2 * np.pi, points, endpoint=False)) * radii
    along, across = headings(np.array([angle, angle + np.pi / 2]))
    return (np.asarray(centre) + around[:, :1] * along + around[:, 1:] * across).astype(np.float32)


def rounded(curve: np.ndarray, times: int = 3) -> np.ndarray:
    """A closed curve (n, 2) after Chaikin's corner cutting, applied `times` times, (n * 2 ** times, 2)."""
    for _ in range(times):
        following = np.roll(curve, -1, axis=0)
        curve = np.stack([0.75 * curve + 0.25 * following, 0.25 * curve + 0.75 * following], axis=1).reshape(-1, 2)
    return curve


def limb(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, widths: tuple[float, float]) -> None:
    """Fills a tapered bar with round ends of the given widths."""
    angle = np.arctan2(*(np.asarray(end) - start)[::-1])
    turns = np.linspace(-np.pi / 2, np.pi / 2, 12)
    fill(canvas, np.concatenate([np.asarray(end) + headings(turns + angle) * widths[1] / 2,
                                 np.asarray(start) + headings(turns + angle + np.pi) * widths[0] / 2]))


def bust(rng: np.random.Generator, canvas: np.ndarray, centre: np.ndarray, head: float) -> None:
    """Fills a head of radius `head` around `centre`, a neck, and shoulders that reach the lower border."""
    side = canvas.shape[0]
    x, y = centre
    lean = rng.uniform(-0.3, 0.3) * head
    fill(canvas, ellipse_curve(centre, (head * rng.uniform(1.1, 1.35), head), np.pi / 2 + rng.uniform(-0.2, 0.2)))
    top, width = y + head * rng.uniform(1.5, 1.9), head * rng.uniform(1.7, 2.7)
    neck = head * rng.uniform(0.4, 0.6)
    below = max(side, top + head) + head
    right = np.array([[neck, top - head], [neck, top - 0.15 * head], [neck * 1.5, top], [width * 0.8, top + 0.3 * head],
                      [width, top + 0.8 * head], [width * 1.1, below]])
    left = right[::-1] * (-1, 1)
    fill(canvas, rounded(np.concatenate([right, left])) + np.array([x + lean, 0]))


def animal(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Fills a body with a head, ears, legs and a tail, floating or standing on the lower border."""
    side = canvas.shape[0]
    scale = rng.uniform(0.16, 0.4) * side
    body = np.array([rng.uniform(0.35, 0.65), rng.uniform(0.4, 0.8)]) * side
    tilt = rng.uniform(-0.5, 0.5)
    fill(canvas, ellipse_curve(body, (scale * rng.uniform(1, 1.5), scale * rng.uniform(0.6, 0.9)), tilt))
    facing = rng.choice([-1, 1])
    head = body + np.array([facing * rng.uniform(0.8, 1.3), -rng.uniform(0.3, 1)]) * scale
    size = scale * rng.uniform(0.35, 0.6)
    limb(canvas, body + np.array([facing * scale * 0.5, 0]), head, (scale, size))
    fill(canvas, ellipse_curve(head, (size * rng.uniform(1, 1.3), size), rng.uniform(0, np.pi)))
    for x in (-0.55, 0.55):
        ear = rng.uniform(0.6, 1.6) * size
        fill(canvas, head + np.array([[x - 0.3, -0.5], [x * 1.3, -1], [x + 0.3, -0.5]]) * (size, ear))
    for x in (-0.8, -0.5, 0.5, 0.8):
        hip = body + np.array([x * scale, 0])
        foot = hip + np.array([rng.normal(0, 0.2), rng.uniform(0.9, 1.5)]) * scale
        limb(canvas, hip, foot, (scale * 0.4, scale * 0.2))
    tail = grow(rng, body[None] - (facing * scale, 0), np.array([np.pi / 2 + facing * np.pi / 2 + rng.normal(0, 0.5)]),
                np.array([scale]), (0, rng.uniform(-2, 2)))
    stroke(canvas, tail, np.array([scale * rng.uniform(0.08, 0.25)]), np.array([255]))


def silhouette(rng: np.random.Generator, size: int) -> np.ndarray:
    """A solid body, (size, size) uint8: a smooth or ragged blob, several touching ones, a bust or an animal."""
    canvas = np.zeros((size, size), np.uint8)
    kind = rng.integers(0, 4)
    if kind == 0:
        fill(canvas, outline(rng, size, rng.uniform(0, 0.25)))
    elif kind == 1:
        middle = np.full(2, size / 2)
        for _ in range(rng.integers(2, 5)):
            blob = outline(rng, size, 0.1)
            fill(canvas, (blob - blob.mean(axis=0)) * 0.7 + middle)
            middle = middle + rng.normal(0, 0.13, 2) * size
    elif kind == 2:
        head = rng.uniform(0.1, 0.26) * size
        bust(rng, canvas, np.array([rng.uniform(0.3, 0.7), rng.uniform(0.25, 0.55)]) * size, head)
    else:
        animal(rng, canvas)
    return canvas


def crisp(rng: np.random.Generator, size: int) -> Drawing:
    """A body with a sharp edge, perhaps with a hole."""
    side = size * SUPERSAMPLING
    canvas = np.zeros((side, side), np.uint8)
    curve = outline(rng, side, rng.uniform(0, 0.3))
    if rng.random() < 0.3:
        curve = curve[np.sort(rng.choice(len(curve), rng.integers(3, 10), replace=False))]
    fill(canvas, curve)
    if rng.random() < 0.3:
        fill(canvas, (outline(rng, side, 0.1) - side / 2) * 0.25 + curve.mean(axis=0), 0)
    return Drawing(reduced(canvas, size), modelled(rng, canvas, size))


def figure(rng: np.random.Generator, size: int, solid: np.ndarray | None = None) -> Drawing:
    """A person or an animal with a sharp or slightly soft edge.

    Args:
        solid: (2 size, 2 size) uint8, the body, also in other families with this argument; None: one is drawn.
    """
    canvas = silhouette(rng, size * SUPERSAMPLING) if solid is None else solid
    alpha = reduced(canvas, size)
    if rng.random() < 0.5:
        alpha = gaussian_blur(alpha, rng.uniform(0.4, 0.4 + size / 300))
    return Drawing(alpha, modelled(rng, canvas, size))


def defocused(rng: np.random.Generator, size: int, solid: np.ndarray | None = None) -> Drawing:
    """A body out of focus; the amount of blur mostly varies along its outline."""
    if solid is None:
        solid = silhouette(rng, size) if rng.random() < 0.6 else crisp(rng, size).alpha
    else:
        solid = reduced(solid, size)
    largest = size / 20
    alpha = gaussian_blur(solid, 0.5 * (largest / 0.5) ** rng.random())
    if rng.random() < 0.7:
        alpha = mix_by_noise(rng, gaussian_blur(solid, rng.uniform(0.4, 1.5)), alpha)
    return Drawing(alpha, modelled(rng, solid, size))


def motion_blurred(rng: np.random.Generator, size: int, solid: np.ndarray | None = None) -> Drawing:
    """A body with motion blur, entirely or in part."""
    if solid is None:
        solid = silhouette(rng, size) if rng.random() < 0.6 else crisp(rng, size).alpha
    else:
        solid = reduced(solid, size)
    alpha = motion_blur(rng, solid, max(2, size * rng.uniform(0.01, 0.1)))
    if rng.random() < 0.4:
        alpha = mix_by_noise(rng, solid, alpha)
    return Drawing(alpha, modelled(rng, solid, size))


def structure(rng: np.random.Generator, size: int) -> Drawing:
    """A man-made structure: bars, rings, a frame with holes or a spoked wheel, with a solid part."""
    side = size * SUPERSAMPLING
    canvas = np.zeros((side, side), np.uint8)
    rng.choice([_bars, _rings, _frame, _wheel])(rng, canvas)
    return Drawing(reduced(canvas, size), modelled(rng, canvas, size))


def _bars(rng: np.random.Generator, canvas: np.ndarray) -> None:
    side = canvas.shape[0]
    n = int(rng.integers(3, 14))
    along, across = headings(np.array([0, np.pi / 2]) + rng.uniform(0, np.pi))
    starts = side / 2 + np.linspace(-0.45, 0.45, n)[:, None] * side * across
    paths = np.stack([starts - along * side, starts + along * side], axis=1).astype(np.float32)
    widths = np.full(n, side / n * rng.uniform(0.05, 0.5))
    stroke(canvas, paths, widths, np.full(n, 255))
    beams = side / 2 + np.array([[-1, -1], [-1, 1]]) * (across * side)[:, None].T
    beams = beams + along * side * rng.uniform(-0.3, 0.3)
    stroke(canvas, beams[None], np.array([side * rng.uniform(0.05, 0.2)]), np.array([255]))


def _rings(rng: np.random.Generator, canvas: np.ndarray) -> None:
    side = canvas.shape[0]
    for _ in range(rng.integers(1, 5)):
        centre, radius = rng.uniform(0.25, 0.75, 2) * side, rng.uniform(0.08, 0.35) * side
        ring = ellipse_curve(centre, (radius, radius * rng.uniform(0.4, 1)), rng.uniform(0, np.pi), 72)
        stroke(canvas, [np.concatenate([ring, ring[:1]])], np.array([radius * rng.uniform(0.03, 0.5)]), np.array([255]))


def _frame(rng: np.random.Generator, canvas: np.ndarray) -> None:
    side = canvas.shape[0]
    left, right = np.sort(rng.uniform(0.1, 0.9, 2)) * side + (-0.08 * side, 0.08 * side)
    top, seat = rng.uniform(0.05, 0.3) * side, rng.uniform(0.45, 0.65) * side
    skew = rng.uniform(-0.1, 0.1) * side
    thick = rng.uniform(0.01, 0.05) * side
    below = seat + 3 * thick
    fill(canvas, np.array([[left, seat], [right, seat], [right - skew, below], [left + skew, below]]))
    legs = [np.array([[x, seat], [x + skew * share, 1.1 * side]]) for x, share in ((left, -1), (right, 1), (left, 0.5))]
    posts = [np.array([[x, seat], [x + skew, top]]) for x in np.linspace(left, right, rng.integers(3, 9))]
    rails = [np.array([[left + skew * share, y], [right + skew * share, y]])
             for share, y in ((1, top), (0.5, (top + seat) / 2))]
    lines = legs + posts + rails
    stroke(canvas, lines, thick * rng.uniform(0.4, 1.2, len(lines)), np.full(len(lines), 255))


def _wheel(rng: np.random.Generator, canvas: np.ndarray) -> None:
    side = canvas.shape[0]
    centre, radius = rng.uniform(0.4, 0.6, 2) * side, rng.uniform(0.25, 0.42) * side
    squeeze, turn = rng.uniform(0.5, 1), rng.uniform(0, np.pi)
    rim = ellipse_curve(centre, (radius, radius * squeeze), turn, 120)
    tyre = radius * rng.uniform(0.05, 0.2)
    stroke(canvas, [np.concatenate([rim, rim[:1]])], np.array([tyre]), np.array([255]))
    hub = ellipse_curve(centre, (radius * 0.12, radius * 0.12 * squeeze), turn, 120)
    fill(canvas, hub)
    n = int(rng.integers(8, 40))
    ends = np.arange(n) * 120 // n
    spokes = np.stack([hub[(ends + rng.integers(-20, 20)) % 120], rim[ends]], axis=1)
    stroke(canvas, spokes, np.full(n, rng.uniform(1, 0.012 * side + 1)), np.full(n, 255))
    limb(canvas, centre, centre + rng.normal(0, 1, 2) * side, (radius * 0.1, radius * rng.uniform(0.1, 0.4)))


FAMILIES = (crisp, figure, defocused, motion_blurred, structure)
