"""Realistic colours for foregrounds, lit by a shade, and for backgrounds."""

import cv2
import numpy as np

from dataloader.synthetic.drawing import NEUTRAL, noise, stroke

Colour = tuple[float, float, float]

# RGB colours of typical matting subjects; colours are drawn around and between them.
_THINGS = np.array([
    (28, 22, 20), (62, 40, 28), (105, 72, 48), (160, 120, 78), (214, 182, 130), (150, 70, 40),  # hair, fur, wood
    (232, 190, 160), (190, 135, 105), (110, 70, 50),  # skin
    (60, 90, 40), (110, 140, 60), (160, 170, 90), (40, 60, 45),  # plants
    (245, 245, 242), (200, 200, 200), (128, 130, 134), (30, 32, 36),  # white, metal, black
    (180, 40, 45), (220, 120, 40), (230, 200, 70), (50, 120, 170), (40, 60, 120), (120, 60, 130), (220, 150, 180),
], np.float32)
_SMALL = 64  # resolution at which smooth gradients are computed
_LARGEST_SHARE = 1 / 25  # largest sigma of a background blur, as a share of the shorter side


def thing_colour(rng: np.random.Generator) -> np.ndarray:
    """A random RGB colour (3,) float32 in 0..255, mostly near one of the palette."""
    if rng.random() < 0.25:
        return rng.uniform(5, 250, 3).astype(np.float32)
    return (_THINGS[rng.integers(len(_THINGS))] + rng.normal(0, 14, 3)).clip(3, 252).astype(np.float32)


def foreground_colours(rng: np.random.Generator, size: int, shade: np.ndarray,
                       photograph: np.ndarray | None = None) -> np.ndarray:
    """Colours of an object, (size, size, 3) uint8 RGB.

    Args:
        shade: (size, size) uint8, as in `Drawing`.
        photograph: (h, w, 3) uint8 RGB used as the texture; None: one is generated.
    """
    if photograph is not None:
        colours = cv2.resize(np.ascontiguousarray(photograph), (size, size), interpolation=cv2.INTER_LINEAR)
    else:
        colours = _painted(rng, size, size)
        chance = rng.random()
        if chance < 0.12:
            _add_stripes(rng, colours)
        elif chance < 0.2:
            _add_spots(rng, colours)
    return apply_shade(colours, shade)


def pale_colours(rng: np.random.Generator, size: int) -> np.ndarray:
    """Colours of glass, film, water, smoke or gauze, (size, size, 3) uint8 RGB: white or grey with a slight tint."""
    middle = 255 - rng.gamma(1.5, 40) + rng.normal(0, 8, 3)
    small = (middle + rng.normal(0, 10, (4, 4, 1)) + rng.normal(0, 3, (4, 4, 3))).clip(0, 255).astype(np.uint8)
    return cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)


def apply_shade(colours: np.ndarray, shade: np.ndarray) -> np.ndarray:
    """Lights colours (H, W, 3) uint8 by a shade (H, W) uint8: 0 black, 128 unchanged, 255 white."""
    below, above = cv2.min(shade, NEUTRAL), cv2.subtract(shade, NEUTRAL)
    dark = cv2.multiply(colours, cv2.merge([below] * 3), scale=1 / NEUTRAL)
    rest = cv2.subtract(np.full_like(dark, 255), dark)
    return cv2.add(dark, cv2.multiply(rest, cv2.merge([above] * 3), scale=1 / (255 - NEUTRAL)))


def generated_background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A generated background, (height, width, 3) uint8 RGB: surfaces, rooms, foliage, lights; often defocused."""
    image = _painted(rng, height, width)
    for _ in range(rng.integers(0, 3)):
        _DECORATIONS[rng.integers(len(_DECORATIONS))](rng, image)
    return defocus_background(rng, image) if rng.random() < 0.5 else image


def defocus_background(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Defocuses an image (H, W, 3) uint8, sigma up to 1/25 of its shorter side; wide blurs run at lower resolution."""
    height, width = image.shape[:2]
    sigma = 0.6 * (max(1.0, min(height, width) * _LARGEST_SHARE) / 0.6) ** rng.random()
    factor = max(1, int(sigma / 2))
    size = (max(2, width // factor), max(2, height // factor))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if factor > 1 else image
    if rng.random() < 0.5:  # disc kernel, as of an aperture
        radius = max(1, round(1.6 * sigma / factor))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2).astype(np.float32)
        small = cv2.filter2D(small, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT)
    else:
        small = cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_REFLECT)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR) if factor > 1 else small


def near_colours(rng: np.random.Generator, colours: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Moves foreground colours (H, W, 3) uint8 30 to 100 % towards the background's mean and standard deviation."""
    share = rng.uniform(0.3, 1)
    means, deviations = zip(*(cv2.meanStdDev(each) for each in (colours, background)), strict=True)
    gain = 1 + share * (np.clip(deviations[1] / np.maximum(deviations[0], 1), 0.3, 2) - 1)
    mean = means[0] + share * (means[1] - means[0])
    table = (np.arange(256)[None] - means[0]) * gain + mean  # (3, 256)
    return cv2.LUT(colours, table.T.clip(0, 255).astype(np.uint8)[None])


def _painted(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth gradients between two or three colours, with texture, (height, width, 3) uint8."""
    first, *others = (thing_colour(rng) for _ in range(rng.integers(2, 4)))
    if rng.random() < 0.5:  # shades of one colour
        others = [first + rng.normal(0, 25) + rng.normal(0, 6, 3) for _ in others]
    small = np.broadcast_to(first, (_SMALL, _SMALL, 3)).astype(np.float32)
    for other in others:
        share = np.clip(0.5 + 0.5 * noise(rng, _SMALL, rng.uniform(8, 90), 2), 0, 1)[..., None]
        small = small + share * (np.float32(other) - small)
    image = cv2.resize(small.clip(0, 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    strength = rng.gamma(1.5, 6)
    if strength > 1:
        side = max(height, width)
        texture = noise(rng, side, rng.uniform(2, side / 8), int(rng.integers(1, 4)))[:height, :width]
        image = cv2.add(image, cv2.merge([texture * np.float32(strength)] * 3), dtype=cv2.CV_8U)
    return image


def _add_stripes(rng: np.random.Generator, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    angle, period = rng.uniform(0, np.pi), rng.uniform(3, 40) * max(height, width) / 512 + 3
    y, x = np.ogrid[:height, :width]
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)).astype(np.float32) * np.float32(2 * np.pi / period))
    cv2.copyTo(_flat(rng, image), (wave > rng.uniform(-0.5, 0.7)).view(np.uint8), image)


def _add_spots(rng: np.random.Generator, image: np.ndarray) -> None:
    side = max(image.shape[:2])
    spots = noise(rng, side, rng.uniform(0.02, 0.15) * side)[:image.shape[0], :image.shape[1]]
    cv2.copyTo(_flat(rng, image), (spots > rng.uniform(0.3, 1)).view(np.uint8), image)


def _add_panels(rng: np.random.Generator, image: np.ndarray) -> None:
    """Straight edges, as of walls, windows, furniture, tiles."""
    height, width = image.shape[:2]
    for _ in range(rng.integers(2, 14)):
        start, end = (rng.uniform(-0.1, 1.1, 2) * (width, height) for _ in range(2))
        lean = rng.normal(0, 0.03, 4) * side_of(image)
        corners = np.array([(start[0], start[1] + lean[0]), (end[0], start[1] + lean[1]),
                            (end[0], end[1] + lean[2]), (start[0], end[1] + lean[3])])
        cv2.fillPoly(image, [corners.astype(np.int32)], _colour(rng), cv2.LINE_AA)


def _add_lights(rng: np.random.Generator, image: np.ndarray) -> None:
    """Out-of-focus lights (bokeh)."""
    layer = image.copy()
    height, width = image.shape[:2]
    radius = rng.uniform(0.008, 0.06) * side_of(image)
    for _ in range(rng.integers(5, 50)):
        place = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(layer, place, max(1, int(radius * rng.uniform(0.7, 1.3))), _colour(rng), -1, cv2.LINE_AA)
    cv2.addWeighted(layer, rng.uniform(0.3, 0.9), image, 0.3, 0, dst=image)


def _add_foliage(rng: np.random.Generator, image: np.ndarray) -> None:
    """Leaves or grass: many small patches of related colours."""
    height, width = image.shape[:2]
    base = thing_colour(rng)
    size = rng.uniform(0.006, 0.04) * side_of(image)
    for _ in range(rng.integers(60, 260)):
        place = (int(rng.integers(width)), int(rng.integers(height)))
        colour = tuple((base * rng.uniform(0.4, 1.5) + rng.normal(0, 8, 3)).clip(0, 255).tolist())
        axes = (max(1, int(size * rng.uniform(0.6, 2.5))), max(1, int(size * rng.uniform(0.2, 0.8))))
        cv2.ellipse(image, place, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)


def _add_strokes(rng: np.random.Generator, image: np.ndarray) -> None:
    """Thin dark or light lines: cables, twigs, writing."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    count = int(rng.integers(3, 40))
    starts = rng.uniform(0, 1, (count, 1, 2)) * (width, height)
    steps = rng.normal(0, rng.uniform(0.01, 0.08) * side_of(image), (count, 6, 2))
    stroke(mask, np.concatenate([starts, starts + steps.cumsum(axis=1)], axis=1), rng.uniform(1, 4, count),
           np.full(count, 255))
    share = mask.astype(np.float32) / 255
    image[:] = cv2.blendLinear(_flat(rng, image), image, share, 1 - share)


def _add_print(rng: np.random.Generator, image: np.ndarray) -> None:
    """Lines of letters, as on books, boxes and signs."""
    height, width = image.shape[:2]
    scale = rng.uniform(0.0015, 0.006) * side_of(image)
    colour, thickness = _colour(rng), max(1, round(scale * rng.uniform(1, 3)))
    left, top, step = rng.uniform(0, 0.6) * width, rng.uniform(0.05, 0.7) * height, scale * rng.uniform(28, 45)
    for line in range(int(rng.integers(1, 7))):
        text = bytes(rng.integers(48, 123, int(rng.integers(4, 24)), dtype=np.uint8)).decode("ascii")
        cv2.putText(image, text, (int(left), int(top + line * step)), int(rng.integers(0, 5)), scale, colour, thickness,
                    cv2.LINE_AA)


def _flat(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    return np.full_like(image, thing_colour(rng).astype(np.uint8))


def _colour(rng: np.random.Generator) -> Colour:
    return tuple(thing_colour(rng).tolist())


def side_of(image: np.ndarray) -> int:
    """The longer side of an image."""
    return max(image.shape[:2])


_DECORATIONS = (_add_panels, _add_lights, _add_foliage, _add_stripes, _add_strokes, _add_print)
