"""Reference: training samples from whole images, step by step in the published order. The fast version must match it.

It uses only the random draws of the project's code.
"""

import cv2
import numpy as np

from dataloader.sample import Sample, SampleDraws

UNKNOWN = 1


def oracle_sample(draws: SampleDraws, foregrounds: list[np.ndarray], background: np.ndarray, crop_size: int,
                  rng: np.random.Generator, corner: tuple[int, int] | None = None) -> Sample:
    """A sample from RGBA foregrounds, cropped at a given top left corner or at a random one."""
    colours, alpha = join(foregrounds, draws)
    colours, alpha = (cv2.resize(image, draws.canvas[::-1], interpolation=resampling)
                      for image, resampling in ((colours, draws.filters.colours), (alpha, draws.filters.alpha)))
    colours, alpha = warp(colours, alpha, draws)
    trimap = whole_trimap(alpha, draws.kernel_sizes)
    height, width = alpha.shape
    background = cv2.resize(background, (width, height), interpolation=draws.filters.background)
    if min(height, width) < crop_size + 1:
        ratio = 1.1 * crop_size / min(height, width)
        size = int(width * ratio), int(height * ratio)
        colours = cv2.resize(colours, size, interpolation=draws.filters.colours)
        alpha, trimap = (cv2.resize(image, size, interpolation=cv2.INTER_NEAREST) for image in (alpha, trimap))
        background = cv2.resize(background, size, interpolation=draws.filters.background)
    top, left = corner if corner is not None else draw_corner(trimap, crop_size, rng)
    crop = np.s_[top:top + crop_size, left:left + crop_size]
    colours, alpha, trimap, background = colours[crop], alpha[crop], trimap[crop], background[crop]
    colours = colours.astype(np.float32)
    if draws.jitter:
        colours = jitter(colours, alpha, *draws.jitter)
    background = background.astype(np.float32)
    image = colours * alpha[:, :, None] + background * (1 - alpha[:, :, None])
    return Sample(image, trimap, alpha, colours, background)


def join(foregrounds: list[np.ndarray], draws: SampleDraws) -> tuple[np.ndarray, np.ndarray]:
    """Colours and alpha (0..1) of one foreground, or of one over another."""
    colours, alpha = split(foregrounds[0])
    for other in foregrounds[1:]:
        size = alpha.shape[::-1]
        other_colours, other_alpha = (
            cv2.resize(image, size, interpolation=resampling)
            for image, resampling in zip(split(other), draws.filters[:2], strict=True))
        joint = 1 - (1 - alpha) * (1 - other_alpha)
        if np.any(joint < 1):
            colours = colours * alpha[:, :, None] + other_colours * (1 - alpha[:, :, None])
            alpha = joint
    return colours, alpha


def split(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours uint8 and alpha float32 in 0..1 of an RGBA image."""
    return cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB), cv2.extractChannel(pixels, 3).astype(np.float32) / 255


def warp(colours: np.ndarray, alpha: np.ndarray, draws: SampleDraws) -> tuple[np.ndarray, np.ndarray]:
    """Colours and alpha, warped on their own canvas."""
    colours, alpha = (
        cv2.warpAffine(image, draws.affine, alpha.shape[::-1], flags=resampling | cv2.WARP_INVERSE_MAP)
        for image, resampling in ((colours, draws.filters.colours), (alpha, draws.filters.alpha)))
    return np.clip(colours, 0, 255), np.clip(alpha, 0, 1)


def whole_trimap(alpha: np.ndarray, kernel_sizes: tuple[int, int]) -> np.ndarray:
    """Labels: 0 background, 1 unknown, 2 foreground."""
    masks = (alpha == 1).astype(np.uint8), (alpha == 0).astype(np.uint8)
    foreground, background = (cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
                              for mask, size in zip(masks, kernel_sizes, strict=True))
    trimap = np.full(alpha.shape, UNKNOWN, np.uint8)
    trimap[foreground == 1] = 2
    trimap[background == 1] = 0
    return trimap


def corners(trimap: np.ndarray, crop_size: int) -> np.ndarray:
    """The top left corners (row, column) of all crops centred on an unknown pixel of the grid."""
    half = crop_size // 2
    height, width = trimap.shape
    inner = trimap[half:height - half + 1, half:width - half + 1]
    return np.argwhere(inner[::4, ::4] == UNKNOWN) * 4


def draw_corner(trimap: np.ndarray, crop_size: int, rng: np.random.Generator) -> tuple[int, int]:
    """One of the crops centred on unknown pixels, or any crop if there are fewer than 10."""
    unknown = corners(trimap, crop_size)
    if len(unknown) < 10:
        return tuple(rng.integers(np.array(trimap.shape) - crop_size + 1))
    return tuple(unknown[rng.integers(len(unknown))])


def jitter(colours: np.ndarray, alpha: np.ndarray, hue: float, saturation: float, value: float) -> np.ndarray:
    """Shifts colours: hue in degrees; saturation and value in -1..1 of the largest shift."""
    if np.all(alpha == 0):
        return colours
    hsv = cv2.cvtColor(colours / 255, cv2.COLOR_RGB2HSV)
    hsv[:, :, 0] = np.remainder(hsv[:, :, 0] + hue, 360)
    for channel, amount in ((1, saturation), (2, value)):
        mean = hsv[:, :, channel][alpha > 0].mean()
        shifted = np.abs(hsv[:, :, channel] + amount * (1.1 - mean) / 10)
        shifted[shifted > 1] = 2 - shifted[shifted > 1]
        hsv[:, :, channel] = shifted
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255
