"""Random augmentations of training samples: small functions that draw parameters, and pure ones that apply them.

Functions named `draw_...` take a generator and return parameters; all others are pure. Distributions are
those of the published code (Li and Lu, AAAI 2020). Colours are RGB in 0..255, alpha is in 0..1. Matrices are
(2, 3) float64 and map an output pixel (x, y, 1) to its source pixel; pixel centres are at integers.
"""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from utils.preprocessing import BACKGROUND, FOREGROUND, UNKNOWN

SECOND_FOREGROUND_SHARE = 0.5
SMALL_SHARE = 0.25  # share of samples whose foreground is resized to SMALL_SIDE x SMALL_SIDE
SMALL_SIDE = 640
ROTATION = 30  # degrees, in either direction
ROTATION_MIN_SIDE = 1024  # smaller images are not rotated
SCALE = (0.8, 1.25)
SHEAR = 10  # degrees, in either direction
LARGEST_KERNEL = 29
HUE = 40  # degrees, in either direction
FILTERS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)

_MATRIX_STEP = 1 / 1024
_NO_REFLECTION = 10_000.0  # for hue, which is below 720 here and wraps around instead


class Filters(NamedTuple):
    """Resampling filters, as OpenCV constants."""

    colours: int = cv2.INTER_NEAREST
    alpha: int = cv2.INTER_NEAREST
    background: int = cv2.INTER_CUBIC


class Jitter(NamedTuple):
    """A colour change: hue in degrees; saturation and value in -1..1, relative to their maximum shift."""

    hue: int
    saturation: float
    value: float


def draw_filters(rng: np.random.Generator, random: bool) -> Filters:
    """The default filters, or each drawn from nearest, linear, cubic and Lanczos."""
    return Filters(*(FILTERS[i] for i in rng.integers(len(FILTERS), size=3))) if random else Filters()


def draw_affine(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """The matrix of a random rotation, scale, shear and flip about the image centre."""
    angle = rng.uniform(-ROTATION, ROTATION)
    scale = rng.uniform(*SCALE, size=2)
    shear = rng.uniform(-SHEAR, SHEAR)
    flip = rng.random(2) < 0.5
    if max(height, width) < ROTATION_MIN_SIDE:
        angle = 0.0
    return affine_matrix(height, width, angle, scale, shear, flip)


def affine_matrix(height: int, width: int, angle: float, scale: np.ndarray, shear: float,
                  flip: np.ndarray) -> np.ndarray:
    """The matrix of flips and scaling, then shear and rotation, about the image centre.

    Args:
        angle, shear: degrees.
        scale: (2,), in x and y; above 1 enlarges.
        flip: (2,) bool, along x and y.
    """
    angle, shear = np.radians((angle, shear))
    turn = np.array([[np.cos(angle), np.sin(angle + shear)], [-np.sin(angle), np.cos(angle + shear)]]) / np.cos(shear)
    linear = np.diag(np.where(flip, -1, 1) / scale) @ turn
    middle = np.array([width - 1, height - 1]) / 2
    return np.column_stack([linear, middle - linear @ middle])


def resize_matrix(size: tuple[int, int], source_size: tuple[int, int]) -> np.ndarray:
    """The matrix of a resize to `size` from `source_size`, both (height, width)."""
    scale = np.array(source_size[::-1]) / np.array(size[::-1])
    return np.column_stack([np.diag(scale), (scale - 1) / 2])


def compose_matrices(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The matrix that applies `inner` to an output pixel and `outer` to the result."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def rounded_matrix(matrix: np.ndarray) -> np.ndarray:
    """The matrix rounded to multiples of 1/1024, which moves pixels of a photograph by about one at most.

    OpenCV computes positions in such steps. With a rounded matrix, warping a window of an image gives exactly
    that window of the warped image.
    """
    return np.round(matrix / _MATRIX_STEP) * _MATRIX_STEP


def joint_alpha(alphas: list[np.ndarray]) -> np.ndarray:
    """Alpha (H, W) float32 of stacked foregrounds, 1 - (1 - a1)(1 - a2), from 8-bit alphas.

    Exactly 1 where any is 255, exactly 0 where all are 0.
    """
    alpha, *others = (layer.astype(np.float32) / np.float32(255) for layer in alphas)
    for other in others:
        alpha = 1 - (1 - alpha) * (1 - other)
    return alpha


def draw_kernel_sizes(rng: np.random.Generator) -> tuple[int, int]:
    """Sizes of the elliptic kernels that erode foreground and background, each 1 to 29."""
    foreground, background = rng.integers(1, LARGEST_KERNEL + 1, size=2)
    return int(foreground), int(background)


@lru_cache(maxsize=LARGEST_KERNEL)
def ellipse(size: int) -> np.ndarray:
    """An elliptic kernel, (size, size) uint8 of 0 and 1."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))


def make_trimap(alpha: np.ndarray, kernel_sizes: tuple[int, int]) -> np.ndarray:
    """Labels (H, W) uint8: the eroded regions alpha = 1 and alpha = 0 are known. The image border does not erode.

    Args:
        alpha: (H, W) float32.
        kernel_sizes: for the foreground and for the background.
    """
    foreground, background = (cv2.erode(region.view(np.uint8), ellipse(size))
                              for region, size in zip((alpha >= 1, alpha <= 0), kernel_sizes, strict=True))
    trimap = np.full(alpha.shape, UNKNOWN, np.uint8)
    trimap[foreground > 0] = FOREGROUND
    trimap[background > 0] = BACKGROUND
    return trimap


def draw_jitter(rng: np.random.Generator) -> Jitter:
    """Hue within +-40 degrees, an integer; saturation and value over their full range."""
    return Jitter(int(rng.integers(-HUE, HUE + 1)), *rng.uniform(-1, 1, size=2).tolist())


def jitter_colours(colours: np.ndarray, alpha: np.ndarray, jitter: Jitter) -> np.ndarray:
    """The foreground (H, W, 3) float32 with hue rotated, saturation and value shifted.

    The maximum shift is (1.1 - mean) / 10, with the mean over alpha > 0; values beyond 0 or 1 are reflected.
    Colours of a fully transparent foreground are unchanged.

    Args:
        colours: (H, W, 3) uint8 or float32 in 0..255.
        alpha: (H, W) float32.
    """
    if not alpha.any():
        return colours.astype(np.float32)
    hsv = cv2.cvtColor(np.multiply(colours, 1 / 255, dtype=np.float32), cv2.COLOR_RGB2HSV)
    _, mean_saturation, mean_value, _ = cv2.mean(hsv, mask=(alpha > 0).view(np.uint8))
    shift = (jitter.hue % 360, jitter.saturation * (1.1 - mean_saturation) / 10, jitter.value * (1.1 - mean_value) / 10)
    hsv = np.abs(cv2.add(hsv, (*shift, 0)))
    reflected = cv2.subtract((_NO_REFLECTION, 2, 2, 0), hsv)
    rgb = cv2.cvtColor(np.minimum(hsv, reflected, out=hsv), cv2.COLOR_HSV2RGB)  # also accepts hues from 360 on
    return np.multiply(rgb, np.float32(255), out=rgb)


def composite(foreground: np.ndarray, background: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """alpha foreground + (1 - alpha) background, (H, W, 3) float32 in the range of the inputs.

    Also composites one foreground over another.
    """
    weight = cv2.merge([alpha, alpha, alpha])  # three times as fast as broadcasting along the last axis
    image = foreground * weight
    np.subtract(1, weight, out=weight)
    image += np.multiply(background, weight, out=weight)
    return image
